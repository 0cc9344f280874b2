"""The two-phase trainer: a first optimiser until a policy says swap, then a second one."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor

from landscape.policies.base import SwapPolicy
from landscape.policies.combinations import WithSwapBack
from landscape.policies.gradient_norm import GradientNormPeak
from landscape.policies.search import SearchFailures
from landscape.problem import Problem
from landscape.tracking.tracker import Tracker
from landscape.training.interruption import Interruption
from landscape.training.listener import Listener
from landscape.training.phases import FullBatch, MiniBatches, PhaseFactory, as_phase
from landscape.training.point import load_point
from landscape.training.recording import Record, Recording, as_trackers, by_phase
from landscape.training.registry import build_first, build_second
from landscape.training.result import TrainingResult
from landscape.training.run import Run
from landscape.training.run_directory import RunDirectory, RunDirectoryError

Metric = Callable[[Any, Any], Tensor | float]


class Trainer:
    """Train with one optimiser until a policy detects the swap point, and finish with another.

    Parameters
    ----------
    first : MiniBatches, FullBatch, optimiser factory or str, optional
        The first phase. Default: Adam at 1e-3 with mini-batches of 512, as in the seed paper. An optimiser factory
        such as ``functools.partial(torch.optim.Adam, lr=1e-2)`` gets mini-batches of 512. A text names one, with settings:
        ``"adam:lr=0.01,batch_size=128"``.
    second : FullBatch, MiniBatches, optimiser factory or str, optional
        The second phase. Default: :class:`landscape.ConjugateGradient` on full batches, which takes over Adam's second moment
        as its preconditioner. By name: ``"cg"``, ``"lbfgs"``, ``"ssbroyden"``, ``"newton-cg"``, and as controls
        ``"adam-cosine"``, ``"adam-constant"``, ``"adam-full-batch"``.
    second_batch : "full", int or "norm-test", optional
        What a full-batch second phase computes its loss on: all data, samples of a fixed size, or samples that grow. Default:
        what ``second`` says.
    second_dtype : "float64", optional
        Let a full-batch second phase compute in float64, where float32 hides what its steps gain; the model keeps its dtype.
    policy : SwapPolicy, optional
        Decides after every first-phase epoch. Default: the seed paper's rule in its faithful reading,
        ``GradientNormPeak(norm="mean_batch", min_epochs=2)``. A :class:`landscape.policies.WithSwapBack` brings ``swap_back``
        along.
    swap_back : SwapPolicy or None
        Decides after every second-phase epoch whether the first phase goes on, as the safe resort. Default:
        ``SearchFailures(patience=3)``, where the second phase searches lines. None: never.
    max_swap_backs : int
        How often it may do so.
    epochs : int, optional
        Epochs of both phases together, at least 1: passes over the data, then full-batch steps.
    budget : float, optional
        Gradient equivalents to spend, probing included; the run ends with the epoch that reaches it. At least one of
        ``epochs`` and ``budget`` is needed.
    record : {"norms", "loss", "free", "all"}
        What to measure at the end of each first-phase epoch: loss and gradient norm over all data (1 GE), the loss
        alone (1/3 GE), only what the mini-batches give, or everything that a policy could read, as often as ``max_overhead``
        allows, so that the run can be replayed with any policy. What the policies need is measured in any case.
    trackers : sequence of Tracker or str, optional
        What else to record, in both phases: trackers, or their names with settings, such as
        ``"extreme-eigenvalues:every=5"`` (:func:`landscape.tracking.trackers.names`).
    max_overhead : float
        What trackers may cost that no policy needs, as a share of what training has cost so far. One that does not fit is
        skipped: its columns are None in that row. What policies need comes on top, and so do "norms" and "loss".
    metrics : mapping of str to callable, optional
        ``metric(output, target) -> mean over a batch``, evaluated at the start, at swaps and at the end.
    seed : int
        Orders the mini-batches. The model is the caller's to initialise.
    run_dir : Path or str, optional
        Keep the run there: history, checkpoints, weights. Without it nothing is written.
    checkpoint_seconds : float
        At most so much work is lost when the process is killed (more where writing a checkpoint takes longer than 5 %
        of it; 0 saves after every step). Checkpoints are also made at swaps and at the end.
    listeners : sequence of Listener
        Told of progress.
    keep_points : callable, optional
        ``keep_points(epoch) -> bool``: whether to keep where the first phase stands after an epoch, 0 for the start, as a file
        in ``run_dir`` from which other runs can begin (:meth:`fit`).

    Raises
    ------
    ValueError
        If a setting is out of range.
    MissingColumnError
        If a policy reads a column that nothing can record; from ``fit``, ``UnavailableColumnError`` if it cannot be measured
        on this problem.

    Notes
    -----
    A run that is killed at any moment and resumed gives bit-identical parameters and history on the same machine
    with the same number of threads (the ``seconds`` column excepted). Random augmentation in DataLoader workers is
    repeated only from the beginning of an epoch.

    References
    ----------
    Hrycej et al. (2025), arXiv:2510.25366, Algorithm 1.

    Examples
    --------
    >>> import torch.nn.functional as F
    >>> from landscape.policies import AfterEpochs
    >>> _ = torch.manual_seed(0)
    >>> inputs = torch.linspace(-1, 1, 64).unsqueeze(1)
    >>> model = torch.nn.Sequential(torch.nn.Linear(1, 8), torch.nn.Tanh(), torch.nn.Linear(8, 1))
    >>> problem = Problem(model, F.mse_loss, (inputs, inputs.sin()))
    >>> result = Trainer(policy=AfterEpochs(3), epochs=12).fit(problem)
    >>> result.swap_epoch, [segment.phase for segment in result.segments]
    (3, ['first', 'second'])
    """

    def __init__(
        self,
        *,
        first: PhaseFactory | Callable[..., torch.optim.Optimizer] | str | None = None,
        second: PhaseFactory | Callable[..., torch.optim.Optimizer] | str | None = None,
        second_batch: int | Literal["full", "norm-test"] | None = None,
        second_dtype: Literal["float64"] | None = None,
        policy: SwapPolicy | None = None,
        swap_back: SwapPolicy | None = SearchFailures(),  # noqa: B008 - frozen and stateless
        max_swap_backs: int = 3,
        epochs: int | None = None,
        budget: float | None = None,
        record: Record = "norms",
        trackers: Sequence[Tracker | str] | str = (),
        max_overhead: float = 0.1,
        metrics: Mapping[str, Metric] | None = None,
        seed: int = 0,
        run_dir: Path | str | None = None,
        checkpoint_seconds: float = 10.0,
        listeners: Sequence[Listener] = (),
        keep_points: Callable[[int], bool] | None = None,
    ) -> None:
        self.first = as_phase(build_first(first) if isinstance(first, str) else first, MiniBatches)
        second = as_phase(build_second(second) if isinstance(second, str) else second, FullBatch)
        self.second = _with_settings(second, batch=second_batch, dtype=second_dtype)
        policy = policy if policy is not None else GradientNormPeak(norm="mean_batch", min_epochs=2)
        self.policy, self.swap_back = _two_ways(policy, swap_back)
        if isinstance(self.swap_back, SearchFailures) and "status" not in self.second.records:
            self.swap_back = None  # a second phase without line searches has none that could fail
        self.max_swap_backs = max_swap_backs
        self.epochs = epochs
        self.budget = budget
        given = {"first": self.first.records, "second": self.second.records}
        policies = by_phase(self.policy, self.swap_back)
        self.recording = Recording(record, as_trackers(trackers), policies, given, max_overhead)
        self.metrics = dict(metrics or {})
        self.seed = seed
        self.directory = None if run_dir is None else RunDirectory(run_dir)
        self.checkpoint_seconds = checkpoint_seconds
        self.listeners = tuple(listeners)
        self.keep_points = keep_points
        self._check()

    def _check(self) -> None:
        if self.epochs is None and self.budget is None:
            raise ValueError(
                "neither epochs nor budget was given, so the run would never end. Give epochs=... or budget=..."
            )
        if self.epochs is not None and self.epochs < 1:
            raise ValueError(f"epochs={self.epochs} was given; it must be at least 1.")
        if self.budget is not None and not self.budget > 0:
            raise ValueError(f"budget={self.budget} was given; it must be more than 0 gradient equivalents.")
        if self.max_swap_backs < 0:
            raise ValueError(f"max_swap_backs={self.max_swap_backs} was given; it must be 0 or more.")
        if self.keep_points is not None and self.directory is None:
            raise ValueError("keep_points was given without run_dir; points are files of a run: give run_dir=...")
        if self.checkpoint_seconds < 0:
            raise ValueError(f"checkpoint_seconds={self.checkpoint_seconds} was given; it must be 0 or more.")
        self.recording.check()

    def policy_in(self, phase: str) -> SwapPolicy | None:
        """The policy that is asked in a phase."""
        return self.policy if phase == "first" else self.swap_back

    def settings(self) -> dict[str, str]:
        """What decides the course of a run, as text that is the same in every process.

        ``epochs`` and ``budget`` are left out: they only say where it ends, so a run may be resumed with more.
        """
        return {
            "first": self.first.describe(),
            "second": self.second.describe(),
            "policy": repr(self.policy),
            "swap_back": repr(self.swap_back),
            "max_swap_backs": str(self.max_swap_backs),
            **self.recording.settings(),
            "seed": str(self.seed),
        }

    def fit(
        self,
        problem: Problem,
        validation: Problem | None = None,
        *,
        resume: bool = False,
        data_id: str = "",
        point: Path | None = None,
    ) -> TrainingResult:
        """Run to the end, to the budget, or until a stop is requested.

        Parameters
        ----------
        problem : Problem
            Trained in place: the model ends at the last point.
        validation : Problem, optional
            The same model on other data, evaluated at the start, at swaps and at the end.
        resume : bool
            Go on with the run in ``run_dir`` from its last checkpoint. The problem and the trainer must be made as they
            were then.
        data_id : str
            A fingerprint of the data, kept in checkpoints so that a run is not resumed on other data.
        point : Path, optional
            Begin where another run's first phase stood, in a file that ``keep_points`` has made; what that cost counts towards
            the budget. The policy is asked at once. A run that is resumed needs none.

        Returns
        -------
        TrainingResult
            After Ctrl-C or a termination signal too, with ``Status.INTERRUPTED``.

        Raises
        ------
        RunDirectoryError
            If the directory holds another run, is in use by another process, or cannot be written.
        CheckpointError
            If the checkpoint is damaged or belongs to another run.
        """
        run = Run(self, problem, validation, data_id)
        if self.directory is None:
            if resume:
                raise ValueError("resume=True was given without run_dir, so there is nothing to go on with.")
            return self._conduct(run, resume=False, point=point)
        with self.directory.hold():
            if self.directory.has_run and not resume:
                raise RunDirectoryError(
                    f"{self.directory.path} already holds a run. Go on with it (resume=True, `landscape train --resume "
                    f"{self.directory.path}`) or choose another directory."
                )
            return self._conduct(run, resume=resume and self.directory.checkpoint_file.exists(), point=point)

    def _tell_stopping(self) -> None:
        for listener in self.listeners:
            listener.stopping()

    def _conduct(self, run: Run, *, resume: bool, point: Path | None) -> TrainingResult:
        beginning = None if resume or point is None else load_point(point)
        try:
            with Interruption(self._tell_stopping) as interruption:
                if resume:
                    run.load()
                for listener in self.listeners:
                    listener.started(run.state.history, self.epochs, self.budget)
                if not resume:
                    run.begin(beginning)
                run.go_on(interruption)
            result = run.result()
            for listener in self.listeners:
                listener.ended(result)
        finally:
            for listener in self.listeners:
                listener.close()
        return result


def _with_settings(second: PhaseFactory, **settings: Any) -> PhaseFactory:
    """The second phase with the settings that were given beside it."""
    given = {name: value for name, value in settings.items() if value is not None}
    if not given:
        return second
    if not isinstance(second, FullBatch):
        listed = ", ".join(f"second_{name}={value!r}" for name, value in given.items())
        raise ValueError(
            f"{listed} was given, but the second phase is {second.describe()}, which has no such setting. It belongs to "
            "FullBatch phases: 'cg', 'lbfgs', 'ssbroyden'."
        )
    return dataclasses.replace(second, **given)


def _two_ways(policy: SwapPolicy, swap_back: SwapPolicy | None) -> tuple[SwapPolicy, SwapPolicy | None]:
    """Take a policy for both directions apart."""
    if not isinstance(policy, WithSwapBack):
        return policy, swap_back
    if swap_back != SearchFailures():
        raise ValueError(
            f"swap_back={swap_back!r} was given beside {policy!r}, which says itself when to swap back. Give one of both."
        )
    ways = policy.directions()
    return ways["policy"], ways["swap_back"]
