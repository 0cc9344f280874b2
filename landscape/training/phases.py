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
from landscape.vectors import norm
from landscape.problem import Problem
from landscape.status import Status
from landscape.tracking.history import Value

OptimizerFactory = Callable[[Iterable[torch.nn.Parameter]], torch.optim.Optimizer]
#: Called after every step with the share of the epoch that is done; says True to stop here.
Tick = Callable[[float], bool]


class Phase(Protocol):
    """An optimiser at work on a problem, epoch by epoch, that can be stopped and saved between any two steps."""

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
    """A running :class:`MiniBatches` phase.

    The gradients' norms are taken from ``.grad`` between ``backward`` and ``step``, on the device, and read once per
    epoch: recording them costs no synchronisation.
    """

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
        self._gradient = torch.empty(problem.num_params, dtype=problem.layout.dtype, device=problem.layout.device)
        self._begin_epoch()

    def _begin_epoch(self) -> None:
        self._order = self.generator.get_state()
        self._losses: list[Tensor] = []
        self._norms: list[Tensor] = []
        self._sizes: list[int] = []
        self._gradient_sum = torch.zeros_like(self._gradient)

    def run_epoch(self, tick: Tick) -> bool:
        """One pass over the data, or what is left of it."""
        self.generator.set_state(self._order)
        batches = self.problem.minibatches(self.settings.batch_size, self.generator, start=len(self._sizes))
        seen = sum(self._sizes)
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
        parts = [p.new_zeros(p.numel()) if p.grad is None else p.grad.reshape(-1) for p in self._parameters]
        gradient = torch.cat(parts, out=self._gradient)
        self._norms.append(torch.linalg.vector_norm(gradient))
        self._losses.append(loss.detach())
        self._gradient_sum.add_(gradient, alpha=batch.num_samples)
        self._sizes.append(batch.num_samples)
        self.optimizer.step()
        self.num_steps += 1

    def finish_epoch(self) -> dict[str, Value]:
        """Running loss (by samples), mean of the norms (by batches), norm of the mean gradient (by samples)."""
        # One read from the device for the whole epoch; the sums are then taken in Python's float64.
        losses, norms = torch.stack([*self._losses, *self._norms]).view(2, -1).tolist()
        num_samples = sum(self._sizes)
        columns: dict[str, Value] = {
            "loss_running": sum(loss * size for loss, size in zip(losses, self._sizes, strict=True)) / num_samples,
            "gradient_norm_mean_batch": sum(norms) / len(norms),
            "gradient_norm_batch_mean": norm(self._gradient_sum) / num_samples,
        }
        self._begin_epoch()
        return columns

    def state_dict(self) -> dict[str, Any]:
        """Optimiser, order of the data, and the epoch in progress."""
        return {
            "optimizer": self.optimizer.state_dict(),
            "num_steps": self.num_steps,
            "order": self._order,
            "sizes": list(self._sizes),
            "losses": [loss.clone() for loss in self._losses],
            "norms": [value.clone() for value in self._norms],
            "gradient_sum": self._gradient_sum.clone(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on where :meth:`state_dict` was taken."""
        self.optimizer.load_state_dict(state["optimizer"])
        self.num_steps = state["num_steps"]
        self._order = state["order"]
        self._sizes = list(state["sizes"])
        device = self.problem.layout.device
        self._losses = [loss.to(device) for loss in state["losses"]]
        self._norms = [value.to(device) for value in state["norms"]]
        self._gradient_sum = state["gradient_sum"].to(device)
        # A pass that has not begun draws its order from here; one that has, draws it again and skips.
        self.generator.set_state(self._order)


class FullBatchPhase:
    """A running :class:`FullBatch` phase."""

    def __init__(self, problem: Problem, optimizer: torch.optim.Optimizer) -> None:
        self.problem = problem
        self.optimizer = optimizer
        self.num_steps = 0
        self._closure = problem.closure()

    def run_epoch(self, tick: Tick) -> bool:
        """One step over all data."""
        self.optimizer.step(self._closure)  # type: ignore[arg-type]  # torch types the closure as returning float
        self.num_steps += 1
        tick(1.0)
        return True

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
