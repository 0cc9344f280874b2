"""A second phase on samples of the data, which are redrawn, and grow once their noise hides the gradient."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Literal

import torch
from torch import Tensor

from landscape.cost import FORWARD_IN_GRADIENTS, Cost
from landscape.optim.conjugate_gradient import ConjugateGradient
from landscape.optim.descent import DescentOptimizer
from landscape.optim.step_result import StepResult
from landscape.problem import Problem
from landscape.status import Status
from landscape.tracking.history import Value
from landscape.tracking.tracker import StepPart
from landscape.training.full_batch_phase import FullBatchPhase
from landscape.training.norm_test import DEFAULT_THETA, NormTest, grown_size, norm_test
from landscape.training.phases import OptimizerFactory, Phase, Remaining, Tick, describe_callable
from landscape.training.sample import SampledLoss
from landscape.training.step_watch import Observe

BatchSize = int | Literal["norm-test"]

#: The loss over all data is recorded at most so often that it costs this share of the steps.
RECORDING_SHARE = 0.05
#: The sample that a norm test begins with: a sixteenth of the data, but not fewer than this, for its spread to mean something.
FIRST_SHARE, FIRST_SIZE = 1 / 16, 64
#: After these there is nothing more to be gained on a sample.
_EXHAUSTED = (Status.CONVERGED, Status.STALLED)


@dataclass(frozen=True)
class SampledBatch:
    """A phase of deterministic steps on a sample of the data that is exchanged for another one from time to time.

    Within a line search, and for ``redraw_every`` steps, the loss is the one over the same sample, so that differences of
    gradients are differences of one function. Then a fresh sample is drawn, the optimiser is told (``loss_changed()``),
    and goes on with what it has learned.

    Parameters
    ----------
    optimizer : callable
        ``optimizer(params) -> torch.optim.Optimizer`` whose ``step`` takes a closure; with a ``loss_changed()``, like every
        :class:`~landscape.optim.descent.DescentOptimizer`. Default: conjugate gradients.
    batch : int or "norm-test"
        Samples per step. "norm-test": ``first_size`` at first, more once :func:`~landscape.training.norm_test.norm_test` fails
        on a fresh sample; all data in the end, if need be.
    theta : float
        Of the norm test: standard error that the gradient may have, as a share of its norm.
    redraw_every : int
        Steps on one sample.
    first_size : int, optional
        Samples that "norm-test" begins with. Default: a sixteenth of the data, at least 64.

    Notes
    -----
    *Epochs.* One epoch is as many steps as cost 1 GE, at least one: a row of the history costs about the same everywhere.
    *Recording.* The loss over all data is measured in epochs that are at least 6.7 GE of steps apart (5 % of their cost), and
    is skipped in the others, which have ``loss_running``, the mean of the samples' losses after each step. Once the sample
    holds all data, steps and rows are those of :class:`landscape.training.phases.FullBatch`.

    *Cost* of a fresh sample of size k: k gradients, which the next step needs anyway where the last one has not given them;
    of a growing one, its new samples.

    *Why redraw.* Steps on a sample that stays fit the sample, and its norm test passes because they do. A ViT with 156,000
    parameters, 4,000 images and L-BFGS: the nested sample stopped growing at 1846 images, on which the loss fell to .0004,
    while that over all data stayed at .0023. On fresh samples the test is unbiased (Byrd et al. 2012 draw one in every step;
    so do Bollapragada et al. 2018, who then pay for a second gradient in each for their curvature pairs).

    *What to expect.* Steps are cheaper, but more of them are needed: on that problem, after 15 GE from one start, L-BFGS was at
    .00148 with full batches; with 1000 samples, redrawn every 1, 5, 20 steps, at .00145, .00144, .00207; with norm tests at
    .00146 to .00161; Adam with mini-batches and a decaying rate at .00100. Samples pay where a full gradient is out of reach.

    References
    ----------
    Byrd, Chin, Nocedal, Wu (2012), Sample size selection in optimization methods for machine learning, Math. Program. 134.
    Bollapragada, Mudigere, Nocedal, Shi, Tang (2018), A progressive batching L-BFGS method for machine learning, ICML.

    Examples
    --------
    >>> SampledBatch(batch=1024).describe()
    'landscape.optim.conjugate_gradient.ConjugateGradient, batch=1024, redraw_every=5'
    """

    optimizer: OptimizerFactory = ConjugateGradient
    batch: BatchSize = "norm-test"
    theta: float = DEFAULT_THETA
    redraw_every: int = 5
    first_size: int | None = None

    def __post_init__(self) -> None:
        if self.batch != "norm-test" and not (type(self.batch) is int and self.batch >= 1):
            raise ValueError(f"batch={self.batch!r} was given; it is a number of samples, at least 1, or 'norm-test'.")
        if not self.theta > 0:
            raise ValueError(f"theta={self.theta} was given; it must be more than 0. Usual values are 0.5 to 0.9.")
        if self.redraw_every < 1:
            raise ValueError(f"redraw_every={self.redraw_every} was given; it must be at least 1 step.")
        if self.first_size is not None and self.first_size < 1:
            raise ValueError(f"first_size={self.first_size} was given; it must be at least 1 sample.")

    @property
    def records(self) -> frozenset[str]:
        """What the steps tell."""
        steps = {"loss_running", "gradient_norm_mean_batch", "step_size", "step_curvature", "status"}
        return frozenset(steps | {"sample_size", "sample_noise"})

    def start(self, problem: Problem, generator: torch.Generator) -> SampledBatchPhase:
        """Make the optimiser on the problem's parameters; the samples are drawn in orders that the generator's seed gives."""
        return SampledBatchPhase(problem, self.optimizer(problem.parameters), self, generator.initial_seed())

    def describe(self) -> str:
        """The settings as text."""
        text = f"{describe_callable(self.optimizer)}, batch={self.batch}, redraw_every={self.redraw_every}"
        return text if self.batch != "norm-test" else f"{text}, theta={self.theta}, first_size={self.first_size}"

    def first_size_of(self, problem: Problem) -> int:
        """Samples to begin with."""
        if self.batch != "norm-test":
            return self.batch
        return self.first_size or max(FIRST_SIZE, round(FIRST_SHARE * problem.num_samples))


class SampledBatchPhase(FullBatchPhase):
    """A running :class:`SampledBatch` phase: the steps of a full-batch phase, on a loss that is exchanged in between."""

    def __init__(self, problem: Problem, optimizer: torch.optim.Optimizer, settings: SampledBatch, seed: int) -> None:
        if not isinstance(optimizer, DescentOptimizer):
            raise ValueError(
                f"the optimiser of a phase on samples is a {type(optimizer).__name__}; needed is one that can be told that its "
                "loss has changed: ConjugateGradient, LBFGS or another DescentOptimizer. Use batch='full' for this one."
            )
        super().__init__(problem, optimizer)
        self._descent = optimizer
        self.settings = settings
        self._seeds = torch.Generator().manual_seed(seed)
        self.sample = SampledLoss(problem, settings.first_size_of(problem), self._next_seed())
        self._closure = self.sample.closure()
        self._progress = _Progress()
        self._spent = Cost(problem.num_samples)  # in this epoch
        self._is_stepping = False

    def take_over(self, first: Phase, remaining: Remaining, sources: Sequence[Tensor] | None = None) -> None:
        """Begin after another phase, on a fresh sample if there was one before."""
        super().take_over(first, remaining, sources)
        self._progress.is_used_up = self._progress.steps_on_sample > 0

    def watch(self, parts: frozenset[StepPart], observe: Observe) -> None:
        """Show every step to ``observe``, with the samples that it was made from."""
        super().watch(parts, lambda step: observe(replace(step, num_samples=self._progress.last_size)))

    def run_epoch(self, tick: Tick) -> bool:
        """Steps worth one gradient over all data."""
        complete = False
        while not complete:
            before = self.problem.cost.copy()
            self._exchange_if_due()
            self._step()
            self._spent.add(self.problem.cost.since(before))
            share = self._spent.gradient_equivalents
            complete = share >= 1.0 or self._at_the_end
            if tick(1.0 if complete else share) and not complete:
                return False
        return True

    def finish_epoch(self) -> dict[str, Value]:
        """What the epoch's steps tell; the loss over all data where it is known, or where it is cheap by now."""
        progress, last = self._progress, self._last
        columns: dict[str, Value] = {
            "loss_running": sum(progress.losses) / len(progress.losses),
            "gradient_norm_mean_batch": sum(progress.norms) / len(progress.norms),
            "sample_size": progress.last_size,
            "sample_noise": progress.noise,
        }
        if self._last_was_full:
            columns.update(super().finish_epoch(), sample_noise=0.0)
        else:
            columns.update(loss=self._loss_if_cheap(), gradient_norm=None)
            columns.update(step_size=float(last.step_size), step_curvature=float(last.curvature))
            # A sample that has nothing more to give is exchanged: the run goes on.
            columns["status"] = (Status.SEARCH_FAILED if last.status in _EXHAUSTED else last.status).name
        progress.losses, progress.norms = [], []
        self._spent = Cost(self.problem.num_samples)
        return columns

    def full_gradient(self) -> Tensor | None:
        """The gradient that the optimiser has kept, if it is one over all data."""
        # At the start of a step, what is asked for is the gradient that the step is made from.
        is_known = self._progress.steps_on_sample > 0 if self._is_stepping else self._last_was_full
        return super().full_gradient() if is_known else None

    def state_dict(self) -> dict[str, Any]:
        """The optimiser's, the sample's, and the epoch in progress."""
        return {
            **super().state_dict(),
            "sample": self.sample.state_dict(),
            "seeds": self._seeds.get_state(),
            "progress": asdict(self._progress),
            "spent": self._spent.state_dict(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on where :meth:`state_dict` was taken."""
        super().load_state_dict(state)
        self.sample.load_state_dict(state["sample"])
        self._seeds.set_state(state["seeds"])
        self._progress = _Progress(**state["progress"])
        self._progress.losses, self._progress.norms = list(self._progress.losses), list(self._progress.norms)
        self._spent.load_state_dict(state["spent"])

    @property
    def _last(self) -> StepResult:
        assert self._descent.last is not None
        return self._descent.last

    @property
    def _last_was_full(self) -> bool:
        return self._progress.last_size >= self.problem.num_samples

    @property
    def _at_the_end(self) -> bool:
        """Whether further steps would change nothing."""
        return self._last.status is Status.NONFINITE or (self._last_was_full and self._last.status in _EXHAUSTED)

    def _exchange_if_due(self) -> None:
        """Once the sample is used up, draw a fresh one; judge it before the first step on it."""
        progress = self._progress
        if self.sample.is_full or not (progress.steps_on_sample == 0 or progress.is_used_up):
            return
        if progress.is_used_up:
            self.sample.redraw(self._next_seed())
            self._descent.loss_changed()
        self.sample.loss_and_gradient()  # which the next step need not evaluate again
        self._judge()
        progress.steps_on_sample = 0
        progress.is_used_up = progress.is_exhausted = False

    def _step(self) -> None:
        progress = self._progress
        progress.last_size = self.sample.size
        self._is_stepping = True
        try:
            super().run_epoch(lambda _: False)
        finally:
            self._is_stepping = False
        status = self._last.status
        progress.steps_on_sample += 1
        progress.is_exhausted = status in _EXHAUSTED
        progress.is_used_up = progress.steps_on_sample >= self.settings.redraw_every or status is not Status.ACCEPTED
        progress.losses.append(float(self._last.loss))
        progress.norms.append(float(self._last.gradient_norm))

    def _judge(self) -> None:
        """Test the fresh sample where the model stands, and let it grow if it fails."""
        size, num_samples = self.sample.size, self.problem.num_samples
        spread = self.sample.spread()
        if spread is None:  # a redrawn sample of whole batches has become all data
            return
        test = norm_test(*spread, size, num_samples, self.settings.theta)
        self._progress.noise = test.ratio
        if self.settings.batch == "norm-test":
            if self._progress.is_exhausted:
                test = NormTest(False, test.ratio, num_samples)
            self.sample.grow(grown_size(test, size, num_samples))

    def _loss_if_cheap(self) -> float | None:
        """The loss over all data, if all steps since it was last known cost so much more that it does not matter."""
        self._progress.since_loss += self._spent.gradient_equivalents
        if RECORDING_SHARE * self._progress.since_loss < FORWARD_IN_GRADIENTS:
            return None
        self._progress.since_loss = 0.0
        return float(self.problem.loss())

    def _next_seed(self) -> int:
        return int(torch.randint(2**62, (), generator=self._seeds))


@dataclass
class _Progress:
    """Where a phase stands, in plain numbers."""

    last_size: int = 0  # samples of the last step
    steps_on_sample: int = 0
    is_used_up: bool = False  # another sample is due
    is_exhausted: bool = False  # on this one, nothing is to be gained any more
    noise: float = math.nan  # of the last fresh sample
    since_loss: float = 0.0  # GE of steps since the loss over all data was recorded
    losses: list[float] = field(default_factory=list)  # over the sample, after each step of this epoch
    norms: list[float] = field(default_factory=list)
