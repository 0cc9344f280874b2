"""The two kinds of phases: mini-batches with a first-order optimiser, full batches with one that calls a closure."""

from __future__ import annotations

import dataclasses
import functools
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Literal, Protocol

import torch

from landscape.optim.conjugate_gradient import ConjugateGradient
from landscape.problem import Problem
from landscape.tracking.history import Value
from landscape.training.float64_phase import check_dtype, start_in
from landscape.training.full_batch_phase import FullBatchPhase
from landscape.training.mini_batch_phase import MiniBatchPhase

OptimizerFactory = Callable[[Iterable[torch.nn.Parameter]], torch.optim.Optimizer]
#: Called after every step with the share of the epoch that is done; says True to stop here.
Tick = Callable[[float], bool]


class Phase(Protocol):
    """An optimiser at work on a problem, epoch by epoch, that can be stopped and saved between any two steps.

    Three methods may be left out. ``watch(parts, observe)`` asks for a :class:`~landscape.tracking.tracker.Step` with these
    parts after every update; without it, trackers of steps measure nothing. ``full_gradient()`` gives the gradient over
    all data where the model stands, if the phase has it already; without it, trackers that need it compute it.
    ``take_over(first, remaining)`` is called when the phase begins its work after the phase ``first``, with what is left of the
    run; without it, the phase starts afresh.
    """

    @property
    def num_steps(self) -> int:
        """Optimiser updates so far."""
        ...

    def run_epoch(self, tick: Tick) -> bool:
        """Go on to the end of the epoch, or until ``tick`` says stop; True if the epoch is complete."""
        ...

    def finish_epoch(self) -> dict[str, Value]:
        """The columns that the complete epoch gave for free; what comes next is a new epoch."""
        ...

    def state_dict(self) -> dict[str, Any]:
        """Everything needed to go on, also in the middle of an epoch; loads with ``weights_only=True``."""
        ...

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from a saved state."""
        ...


class PhaseFactory(Protocol):
    """Starts a phase on a problem."""

    def start(self, problem: Problem, generator: torch.Generator) -> Phase:
        """Set up the optimiser; ``generator`` orders mini-batches."""
        ...

    @property
    def records(self) -> frozenset[str]:
        """Columns that the phase's epochs give for free."""
        ...

    def describe(self) -> str:
        """The settings as text, the same in every process."""
        ...


def _adam(params: Iterable[torch.nn.Parameter]) -> torch.optim.Optimizer:
    return torch.optim.Adam(params, lr=1e-3)


@dataclass(frozen=True)
class MiniBatches:
    """A phase of shuffled mini-batches: one epoch is one pass over the data.

    Parameters
    ----------
    optimizer : callable
        ``optimizer(params) -> torch.optim.Optimizer`` whose ``step()`` needs no closure. Default: Adam, rate 1e-3.
    batch_size : int
        Samples per step. The seed paper found 512 best.
    mode : {"train", "keep"}
        "train" puts the model in train mode for the steps, as usual; "keep" leaves every module as it is.

    Examples
    --------
    >>> MiniBatches(functools.partial(torch.optim.AdamW, lr=3e-4), batch_size=64).batch_size
    64
    """

    optimizer: OptimizerFactory = _adam
    batch_size: int = 512
    mode: Literal["train", "keep"] = "train"

    def __post_init__(self) -> None:
        if self.batch_size < 1:
            raise ValueError(f"batch_size={self.batch_size} was given; it must be at least 1.")
        if self.mode not in ("train", "keep"):
            raise ValueError(f"mode={self.mode!r} was given; it is 'train' or 'keep'.")

    @property
    def records(self) -> frozenset[str]:
        """The mini-batches' own norms and losses."""
        return frozenset({"loss_running", "gradient_norm_mean_batch", "gradient_norm_batch_mean"})

    def start(self, problem: Problem, generator: torch.Generator) -> MiniBatchPhase:
        """Make the optimiser on the problem's parameters."""
        return MiniBatchPhase(problem, self.optimizer(problem.parameters), self, generator)

    def describe(self) -> str:
        """The settings as text."""
        return f"{describe_callable(self.optimizer)}, batch_size={self.batch_size}, mode={self.mode}"


@dataclass(frozen=True)
class FullBatch:
    """A phase of steps that each search a line on one deterministic loss: one epoch is one ``step(closure)``.

    Parameters
    ----------
    optimizer : callable
        ``optimizer(params) -> torch.optim.Optimizer`` whose ``step`` takes a closure. Default: conjugate gradients.
    batch : "full", int or "norm-test"
        The loss over all data, or over samples of them, of a fixed or of a growing size: see
        :class:`landscape.training.sampled_phase.SampledBatch`, which has more settings.
    dtype : {None, "float64"}
        "float64": the phase computes in float64 on a copy of the model, and the model itself, in its own dtype, follows
        rounded. For losses so low that float32 hides what steps gain. Costs twice the memory, and more time.
    ritz_pairs : int
        Leading curvatures to measure at the swap and to make equal, on top of Adam's scale; 5 to 20 helped where it was
        measured, see :func:`landscape.optim.preconditioner.measure.ritz_preconditioner`. Costs 2.5 GE each. 0: none.
    """

    optimizer: OptimizerFactory = ConjugateGradient
    batch: int | Literal["full", "norm-test"] = "full"
    dtype: Literal["float64"] | None = None
    ritz_pairs: int = 0

    def __post_init__(self) -> None:
        if self.ritz_pairs < 0 or (self.ritz_pairs and self.batch != "full"):
            raise ValueError(
                f"ritz_pairs={self.ritz_pairs} was given with batch={self.batch!r}; it is 0 or more, and 0 unless batch='full'."
            )
        check_dtype(self.dtype)
        if self.batch != "full":
            self._sampled()

    def _sampled(self) -> PhaseFactory:
        from landscape.training.sampled_phase import SampledBatch  # it builds on this module

        assert self.batch != "full"
        return SampledBatch(self.optimizer, self.batch)

    @property
    def records(self) -> frozenset[str]:
        """What an optimiser with a ``last`` result tells; for others the trainer measures."""
        if self.batch != "full":
            return self._sampled().records
        return frozenset({"loss", "gradient_norm", "step_size", "step_curvature", "status"})

    def start(self, problem: Problem, generator: torch.Generator) -> Phase:
        """Make the optimiser on the problem's parameters."""
        return start_in(self.dtype, problem, lambda chosen: self._start(chosen, generator))

    def _start(self, problem: Problem, generator: torch.Generator) -> Phase:
        if self.batch != "full":
            return self._sampled().start(problem, generator)
        return FullBatchPhase(problem, self.optimizer(problem.parameters), self.ritz_pairs)

    def describe(self) -> str:
        """The settings as text."""
        text = describe_callable(self.optimizer) if self.batch == "full" else self._sampled().describe()
        text = text if not self.ritz_pairs else f"{text}, ritz_pairs={self.ritz_pairs}"
        return text if self.dtype is None else f"{text}, dtype={self.dtype}"


@dataclass(frozen=True)
class Remaining:
    """What is left of a run when a phase begins; None where the run has no such limit.

    Parameters
    ----------
    epochs : int or None
        Epochs.
    gradient_equivalents : float or None
        Of the budget.
    """

    epochs: int | None
    gradient_equivalents: float | None


def as_phase(given: Any, kind: type[MiniBatches] | type[FullBatch]) -> PhaseFactory:
    """Take a phase factory as it is, and wrap an optimiser factory in the kind that is usual in its place."""
    if given is None:
        return kind()
    if hasattr(given, "start") and hasattr(given, "describe"):
        factory: PhaseFactory = given
        return factory
    if callable(given):
        return kind(given)
    raise ValueError(
        f"a phase is {given!r}; needed is MiniBatches(...), FullBatch(...), or a function that makes an optimiser from "
        "parameters, such as functools.partial(torch.optim.Adam, lr=1e-3)."
    )


def describe_callable(function: Any) -> str:
    """Text for a factory that is the same in every process: name and keywords, no memory addresses."""
    if isinstance(function, functools.partial):
        settings = [repr(a) for a in function.args] + [f"{k}={_plain(v)}" for k, v in sorted(function.keywords.items())]
        return f"{describe_callable(function.func)}({', '.join(settings)})"
    name = getattr(function, "__qualname__", None)
    return f"{getattr(function, '__module__', '')}.{name}" if name else _plain(function)


def _plain(value: Any) -> str:
    if callable(value) and not dataclasses.is_dataclass(value):
        return (
            describe_callable(value) if hasattr(value, "__qualname__") else re.sub(r" at 0x[0-9a-f]+", "", repr(value))
        )
    return re.sub(r" at 0x[0-9a-f]+", "", repr(value))
