"""Comparing swap criteria fairly."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from landscape.comparison.comparison import Comparison
from landscape.comparison.conduct import Progress, conduct
from landscape.comparison.estimate import Estimate, estimate
from landscape.comparison.evaluation import Metric
from landscape.comparison.running.executor import Executor
from landscape.comparison.running.processes import ProcessExecutor
from landscape.comparison.running.serial import SerialExecutor
from landscape.comparison.running.store import Store
from landscape.comparison.setting import MakeProblem
from landscape.comparison.study import Study, grid_for
from landscape.cost import GradientEquivalents
from landscape.diagnosis.bar import progress_of
from landscape.policies.every import Every
from landscape.replaying.choice import Choice, Policies, choose
from landscape.training.phases import FullBatch, MiniBatches, PhaseFactory, as_phase
from landscape.training.registry import build_first, build_second

Phase = PhaseFactory | Callable[..., torch.optim.Optimizer] | str
Finishers = Phase | Iterable[Phase] | Mapping[str, Phase]

DEFAULT_CONTROLS = ("adam-cosine", "adam-full-batch")


def compare(
    make_problem: MakeProblem,
    *,
    policies: Policies = "all",
    finishers: Finishers = "cg",
    seeds: int | Sequence[int] = 10,
    budget: GradientEquivalents | float = GradientEquivalents(300),  # noqa: B008 - frozen
    first: Phase | None = None,
    grid: Sequence[int] | None = None,
    controls: Finishers | None = None,
    control_epochs: Sequence[int] | None = None,
    from_start: Finishers = ("adam-cosine",),
    metrics: Mapping[str, Metric] | None = None,
    metric: str = "train_loss",
    floor: float | None = None,
    target: float | None = None,
    swap_every: int = 1,
    max_signal_cost: float = 5.0,
    store: Path | str | None = None,
    executor: Executor | int = 1,
    progress: bool | Progress | None = None,
    announce: Callable[[Estimate], None] | None = None,
    retry: bool = False,
    title: str = "",
) -> Comparison:
    """Compare swap criteria: does it matter when training leaves its first optimiser, and which criterion knows when.

    For each seed one first phase is run to the end of the budget, with all policies asked along it, each charged for what it
    alone would have measured. The second phase is run once for each *distinct* swap point, and at a grid of fixed epochs; every
    policy's outcome is read off the branch of its swap point where its share of the budget is spent. That is what a run of its
    own with ``record="free"`` and without swap backs would have come to, bit for bit.

    Parameters
    ----------
    make_problem : callable
        ``make_problem(seed)`` gives the problem, freshly initialised; or a pair of it and the same model on validation data.
        Let the seed decide everything that chance decides: weights, sample, split (Bouthillier et al. 2021).
    policies : str, SwapPolicy, sequence or mapping
        As for :func:`landscape.replay`; by default all with their defaults.
    finishers : str, PhaseFactory, optimiser factory, sequence or mapping
        Second phases that policies swap to, by names such as ``"cg"`` and ``"lbfgs"``; a mapping names those that are objects.
    seeds : int or sequence of int
        So many, or these.
    budget : GradientEquivalents or float
        Of every arm: both phases, line searches and the policy's measurements together.
    first : MiniBatches, FullBatch, optimiser factory or str, optional
        The first phase. Default: Adam at 1e-3 with mini-batches of 512.
    grid : sequence of int, optional
        Fixed swap epochs; 0 is no first phase at all. Default: nine, from 0 to 0.8 of the budget.
    controls : as finishers, optional
        Second phases tried from ``control_epochs`` only: what else could have made the difference. Default: Adam with a
        rate that falls to 0, and on full batches, unless policies swap to them anyway.
    control_epochs : sequence of int, optional
        Default: every second epoch of the grid but 0.
    from_start : as finishers
        Second phases tried without any first phase, such as ``"adam-cosine:lr=0.01"``: the tuned baseline.
    metrics : mapping of str to callable, optional
        ``metric(output, target) -> mean over a batch``, evaluated for training and validation data.
    metric : {"train_loss", "validation_loss"}
        What decides.
    floor : float, optional
        Losses below count as this one. Default: the loss at the start times the precision of its floating-point numbers.
    target : float, optional
        Training loss to be reached, for the time to target. Default: for each seed what the first phase alone comes to.
    swap_every : int
        Let policies swap after multiples of so many epochs only (:class:`landscape.policies.Every`): fewer distinct swap
        points, so that more policies share a branch.
    max_signal_cost : float
        Signals are measured at grid epochs, for their rank correlation with the benefit of swapping there, if that is estimated
        to cost at most so many gradient equivalents; nobody is charged.
    store : Path or str, optional
        Folder of results. What is there is not done again: not after an interruption, and not when policies, finishers, grid
        points or seeds are added. Default: a temporary one, deleted in the end.
    executor : Executor or int
        What runs the jobs: so many local processes with one torch thread each, or a
        :class:`landscape.comparison.running.cluster.ClusterExecutor`.
    progress : bool or callable, optional
        A progress bar over all arms, or ``progress(what, share)``. Default: a bar if standard error is a terminal.
    announce : callable, optional
        Told of the estimated cost before anything is run.
    retry : bool
        Try again what crashed before.
    title : str
        Of the results.

    Returns
    -------
    Comparison

    Raises
    ------
    TypeError, ValueError
        If a setting is wrong, or ``make_problem`` gives something else than problems.
    StoreError
        If another process holds the store.
    KeyboardInterrupt
        After Ctrl-C, when all processes have stopped; what was done is kept in ``store``.

    Notes
    -----
    Cost: per seed one budget for the first phase, the measurements of each policy up to its swap, and what is left of the
    budget for each distinct swap point and finisher. A policy that is out of budget before it fires ends earlier than "never":
    measurements are paid for. An arm that diverges or crashes is recorded as such and counts as infinitely bad.

    Policies that try the second phase (``race``, ``trial-search``) try the finisher of their arm. Arms do not swap back.

    References
    ----------
    Hrycej et al. (2025), arXiv:2510.25366. Bouthillier et al. (2021), Accounting for variance in machine learning benchmarks,
    arXiv:2103.03098. Agarwal et al. (2021), Deep reinforcement learning at the edge of the statistical precipice,
    arXiv:2108.13264.

    Examples
    --------
    >>> from landscape.problem import Problem
    >>> def make_problem(seed):
    ...     generator = torch.Generator().manual_seed(seed)
    ...     inputs = torch.rand(64, 1, generator=generator)
    ...     model = torch.nn.Sequential(torch.nn.Linear(1, 8), torch.nn.Tanh(), torch.nn.Linear(8, 1))
    ...     for parameter in model.parameters():
    ...         _ = torch.nn.init.normal_(parameter, generator=generator)
    ...     return Problem(model, torch.nn.functional.mse_loss, (inputs, (6 * inputs).sin()))
    >>> found = compare(make_problem, policies=["gradient-norm-peak", "never"], seeds=3, budget=40, grid=[0, 10], controls=())
    >>> [result.swap_epoch for result in found.of(found.arms("policy")[1])]
    [None, None, None]
    """
    amount = float(budget) if isinstance(budget, GradientEquivalents) else float(GradientEquivalents(float(budget)))
    epochs = grid_for(amount) if grid is None else tuple(sorted(set(grid)))
    swapped_to = named_phases(finishers)
    study = Study(
        title=title,
        make_problem=make_problem,
        first=as_phase(build_first(first) if isinstance(first, str) else first, MiniBatches),
        choices=_held_back(choose(policies), swap_every),
        finishers=swapped_to,
        controls=_controls(controls, swapped_to),
        from_start=named_phases(from_start),
        grid=epochs,
        control_epochs=tuple(e for e in epochs if e > 0)[::2] if control_epochs is None else tuple(control_epochs),
        seeds=tuple(range(seeds)) if isinstance(seeds, int) else tuple(seeds),
        budget=amount,
        metrics=dict(metrics or {}),
        metric=metric,
        floor=floor,
        target=target,
        max_signal_cost=max_signal_cost,
    )
    if announce is not None:
        announce(estimate(study))
    runner = executor
    if isinstance(runner, int):
        runner = SerialExecutor() if runner == 1 else ProcessExecutor(runner)
    shown = progress_of(progress)
    try:
        if store is not None:
            return conduct(study, Store(store), runner, shown, retry=retry)
        with tempfile.TemporaryDirectory(prefix="landscape-compare-") as folder:
            return conduct(study, Store(folder), runner, shown, retry=retry)
    finally:
        if shown is not None:
            shown("", 1.0)


def _controls(given: Finishers | None, finishers: Mapping[str, PhaseFactory]) -> dict[str, PhaseFactory]:
    return named_phases([name for name in DEFAULT_CONTROLS if name not in finishers] if given is None else given)


def _held_back(choices: Sequence[Choice], swap_every: int) -> tuple[Choice, ...]:
    """The policies under their names, listened to in every so many epochs only."""
    if swap_every == 1:
        return tuple(choices)
    return tuple(
        choice if choice.policy is None else replace(choice, policy=Every(choice.policy, swap_every))
        for choice in choices
    )


def named_phases(given: Any) -> dict[str, PhaseFactory]:
    """Second phases by name: a text names itself, everything else is described.

    Raises
    ------
    ValueError
        If a name or a setting is not known, or two have one name.

    Examples
    --------
    >>> sorted(named_phases(["cg", "lbfgs:history=5"]))
    ['cg', 'lbfgs:history=5']
    """
    if isinstance(given, Mapping):
        pairs = list(given.items())
    else:
        listed = [given] if isinstance(given, str) or not isinstance(given, Iterable) else list(given)
        pairs = [(item if isinstance(item, str) else "", item) for item in listed]
    found: dict[str, PhaseFactory] = {}
    for name, item in pairs:
        phase = as_phase(build_second(item) if isinstance(item, str) else item, FullBatch)
        label = name or phase.describe()
        if label in found:
            raise ValueError(
                f"two finishers are called {label!r}; leave one out, or give a mapping of names to finishers."
            )
        found[label] = phase
    return found
