"""The two kinds of phases: mini-batches with a first-order optimiser, full batches with one that calls a closure."""

from __future__ import annotations

import dataclasses
import functools
import re
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal, Protocol

import torch
from torch import Tensor

from landscape.optim.conjugate_gradient import ConjugateGradient
from landscape.problem import Problem
from landscape.status import Status
from landscape.tracking.history import Value
from landscape.tracking.tracker import Step, StepPart
from landscape.training.epoch_sums import EpochSums

OptimizerFactory = Callable[[Iterable[torch.nn.Parameter]], torch.optim.Optimizer]
#: Called after every step with the share of the epoch that is done; says True to stop here.
Tick = Callable[[float], bool]
#: Called right after every step.
Observe = Callable[[Step], None]


class Phase(Protocol):
    """An optimiser at work on a problem, epoch by epoch, that can be stopped and saved between any two steps.

    Two methods may be left out. ``watch(parts, observe)`` asks for a :class:`~landscape.tracking.tracker.Step` with these
    parts after every update; without it, trackers of steps measure nothing. ``full_gradient()`` gives the gradient over
    all data where the model stands, if the phase has it already; without it, trackers that need it compute it.
    """

    num_steps: int

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
    """A phase of full-data steps: one epoch is one ``step(closure)``.

    Parameters
    ----------
    optimizer : callable
        ``optimizer(params) -> torch.optim.Optimizer`` whose ``step`` takes a closure. Default: conjugate gradients.
    """

    optimizer: OptimizerFactory = ConjugateGradient

    @property
    def records(self) -> frozenset[str]:
        """What an optimiser with a ``last`` result tells; for others the trainer measures."""
        return frozenset({"loss", "gradient_norm", "step_size", "status"})

    def start(self, problem: Problem, generator: torch.Generator) -> FullBatchPhase:
        """Make the optimiser on the problem's parameters."""
        return FullBatchPhase(problem, self.optimizer(problem.parameters))

    def describe(self) -> str:
        """The settings as text."""
        return describe_callable(self.optimizer)


class MiniBatchPhase:
    """A running :class:`MiniBatches` phase."""

    def __init__(
        self, problem: Problem, optimizer: torch.optim.Optimizer, settings: MiniBatches, generator: torch.Generator
    ) -> None:
        self.problem = problem
        self.optimizer = optimizer
        self.settings = settings
        self.generator = generator
        self.num_steps = 0
        self._parameters = problem.parameters
        # Where a filter leaves trainable parameters out, backward must not fill their gradients.
        others = sum(parameter.requires_grad for parameter in problem.model.parameters()) > len(self._parameters)
        self._inputs = list(self._parameters) if others else None
        self._sums = EpochSums(problem.layout)
        self._watch: _Watch | None = None
        self._order = self.generator.get_state()

    def watch(self, parts: frozenset[StepPart], observe: Observe) -> None:
        """Show every step to ``observe``."""
        self._watch = _Watch(self.problem, parts, observe)

    def run_epoch(self, tick: Tick) -> bool:
        """One pass over the data, or what is left of it."""
        self.generator.set_state(self._order)
        batches = self.problem.minibatches(self.settings.batch_size, self.generator, start=len(self._sums.sizes))
        seen = sum(self._sums.sizes)
        with _train_mode(self.problem.model, self.settings.mode):
            for batch in batches:
                self._step(batch)
                seen += batch.num_samples
                del batch  # or two of them would be held while the next one is made
                if tick(seen / self.problem.num_samples) and seen < self.problem.num_samples:
                    return False
        return True

    def _step(self, batch: Any) -> None:
        for parameter in self._parameters:  # what zero_grad() does, at a tenth of its price for a small model
            parameter.grad = None
        loss = self.problem.minibatch_loss(batch)
        loss.backward(inputs=self._inputs)
        self._sums.add(loss, batch.num_samples)
        if self._watch is None:
            self.optimizer.step()
        else:
            self._watch.begin()
            self.optimizer.step()
            self._watch.end(batch.num_samples, self._sums.gradient, loss.detach())
        self.num_steps += 1

    def finish_epoch(self) -> dict[str, Value]:
        """Running loss, mean of the norms, norm of the mean gradient."""
        columns = self._sums.columns()
        self._sums.clear()
        self._order = self.generator.get_state()
        return columns

    def state_dict(self) -> dict[str, Any]:
        """Optimiser, order of the data, and the epoch in progress."""
        return {
            "optimizer": self.optimizer.state_dict(),
            "num_steps": self.num_steps,
            "order": self._order,
            **self._sums.state_dict(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on where :meth:`state_dict` was taken."""
        self.optimizer.load_state_dict(state["optimizer"])
        self.num_steps = state["num_steps"]
        self._sums.load_state_dict(state)
        # A pass that has not begun draws its order from here; one that has, draws it again and skips.
        self._order = state["order"]
        self.generator.set_state(self._order)


class FullBatchPhase:
    """A running :class:`FullBatch` phase."""

    def __init__(self, problem: Problem, optimizer: torch.optim.Optimizer) -> None:
        self.problem = problem
        self.optimizer = optimizer
        self.num_steps = 0
        self._closure = problem.closure()
        self._watch: _Watch | None = None

    def watch(self, parts: frozenset[StepPart], observe: Observe) -> None:
        """Show every step to ``observe``."""
        self._watch = _Watch(self.problem, parts, observe)

    def run_epoch(self, tick: Tick) -> bool:
        """One step over all data."""
        if self._watch is None:
            self.optimizer.step(self._closure)  # type: ignore[arg-type]  # torch types the closure as returning float
        else:
            self._step_watched(self._watch)
        self.num_steps += 1
        tick(1.0)
        return True

    def _step_watched(self, watch: _Watch) -> None:
        """A step whose gradient at its start is kept: known before, or the first that the optimiser asks for there."""
        layout = self.problem.layout
        start = self.problem.params()
        gradients = [gradient for gradient in (self.full_gradient(),) if gradient is not None]

        def closure() -> Any:
            loss = self._closure()
            if not gradients and torch.is_grad_enabled() and torch.equal(self.problem.params(), start):
                gradients.append(layout.flatten(_gradient_of(parameter) for parameter in layout.parameters))
            return loss

        watch.begin()
        loss = self.optimizer.step(closure)
        watch.end(self.problem.num_samples, gradients[0] if gradients else None, loss)

    def full_gradient(self) -> Tensor | None:
        """The gradient that conjugate gradients have kept, if the model stands where they left it."""
        if not isinstance(self.optimizer, ConjugateGradient):
            return None
        layout, state = self.problem.layout, self.optimizer.state
        kept = [state.get(parameter, {}) for parameter in layout.parameters]
        if not all("point" in part for part in kept):
            return None
        if not all(torch.equal(part["point"], p) for part, p in zip(kept, layout.parameters, strict=True)):
            return None
        return layout.flatten(part["gradient"] for part in kept)

    def finish_epoch(self) -> dict[str, Value]:
        """What the optimiser's ``last`` result says, if it has one.

        The one batch of a full-batch epoch is all data, so the three norms are one number.
        """
        last = getattr(self.optimizer, "last", None)
        if last is None:
            return {}
        value = float(last.gradient_norm)
        status: Status = last.status
        return {
            "loss": float(last.loss),
            "gradient_norm": value,
            "gradient_norm_mean_batch": value,
            "gradient_norm_batch_mean": value,
            "step_size": float(last.step_size),
            "status": status.name,
        }

    def state_dict(self) -> dict[str, Any]:
        """The optimiser's."""
        return {"optimizer": self.optimizer.state_dict(), "num_steps": self.num_steps}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on where :meth:`state_dict` was taken."""
        self.optimizer.load_state_dict(state["optimizer"])
        self.num_steps = state["num_steps"]


class _Watch:
    """Makes, for somebody who asked, what is to be seen of a step; without reading anything from the device."""

    def __init__(self, problem: Problem, parts: frozenset[StepPart], observe: Observe) -> None:
        self._parameters = problem.layout.parameters
        self._parts = parts
        self._observe = observe
        self._before, self._after = (
            torch.empty(problem.num_params, dtype=problem.layout.dtype, device=problem.layout.device)
            if part in parts
            else None
            for part in ("before", "after")
        )

    def begin(self) -> None:
        """Before the update."""
        self._copy_params(self._before)

    def end(self, num_samples: int, gradient: Tensor | None, loss: Any) -> None:
        """After it."""
        self._copy_params(self._after)
        gradient = gradient if "gradient" in self._parts else None
        loss = loss.detach() if "loss" in self._parts and isinstance(loss, Tensor) else None
        self._observe(Step(num_samples, gradient, self._before, self._after, loss))

    def _copy_params(self, buffer: Tensor | None) -> None:
        if buffer is not None:
            torch.cat([parameter.detach().reshape(-1) for parameter in self._parameters], out=buffer)


def _gradient_of(parameter: Tensor) -> Tensor:
    return torch.zeros_like(parameter) if parameter.grad is None else parameter.grad


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


@contextmanager
def _train_mode(model: torch.nn.Module, mode: str) -> Iterator[None]:
    """Train mode for the steps of an epoch; every module's own flag afterwards."""
    if mode == "keep":
        yield
        return
    in_eval = [module for module in model.modules() if not module.training]
    if in_eval:
        model.train()
    try:
        yield
    finally:
        for module in in_eval:
            module.training = False
