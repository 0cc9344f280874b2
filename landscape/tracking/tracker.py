"""What a tracker is: something that measures columns of a history, every few epochs."""

from __future__ import annotations

import functools
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar, Literal, Protocol, TypeVar, runtime_checkable

import torch
from torch import Tensor

from landscape.problem import Problem
from landscape.tracking.history import Value
from landscape.tracking.snapshot import Snapshot

#: What of a step an observer reads: phases make only what somebody asks for.
StepPart = Literal["gradient", "before", "after", "loss"]


@dataclass(frozen=True)
class Step:
    """One optimiser update, as a phase shows it to observers right after it.

    Tensors are flat, of shape (n,), on the model's device. They may be buffers that the next step writes into: copy what
    is kept. Parts that no observer asked for may be None, and so is the gradient of an optimiser that does not show it.

    Attributes
    ----------
    num_samples : int
        b: samples that the gradient is a mean over.
    gradient : Tensor or None
        Of the mini-batch, at ``before``.
    before, after : Tensor or None
        The parameters.
    loss : Tensor of shape () or None
        Of the mini-batch, at ``before``.
    """

    num_samples: int
    gradient: Tensor | None = None
    before: Tensor | None = None
    after: Tensor | None = None
    loss: Tensor | None = None

    @functools.cached_property
    def move(self) -> Tensor | None:
        """``after - before``, made once for all observers."""
        return None if self.before is None or self.after is None else self.after - self.before

    @functools.cached_property
    def move_square(self) -> Tensor | None:
        """Squared length of the move, on the device."""
        return None if self.move is None else inner(self.move, self.move)


def inner(a: Tensor, b: Tensor) -> Tensor:
    """The dot product of two flat vectors, on the device, in their own precision: what a statistic over steps needs.

    Examples
    --------
    >>> inner(torch.tensor([1.0, 3.0]), torch.tensor([2.0, 2.0]))
    tensor(8., dtype=torch.float64)
    """
    short = a.dtype in (torch.float16, torch.bfloat16)
    return torch.dot(a.float() if short else a, b.float() if short else b).double()


class Tracker(Protocol):
    """Measures columns of a history at the end of epochs.

    A tracker is settings, which do not change, and a state, which :meth:`state_dict` gives as plain data. It decides
    nothing by chance: random numbers come from a generator of its own, seeded by its settings and the epoch. So a run that
    was resumed records the same bits. It leaves no trace in model, optimiser or global random numbers, and charges all work
    to ``snapshot.problem.cost``.
    """

    @property
    def name(self) -> str:
        """What the tracker is called in messages and specs."""
        ...

    @property
    def every(self) -> int:
        """Epochs from one measurement to the next."""
        ...

    @property
    def records(self) -> frozenset[str]:
        """Columns that it measures; ``name/*`` for a family. Not every one need be there in every row."""
        ...

    @property
    def needs(self) -> frozenset[str]:
        """What it reads off the snapshot at a price: of "loss", "gradient", "hessian", "other points", "trial", "samples"."""
        ...

    def fresh(self) -> Tracker:
        """A tracker with the same settings that has seen nothing."""
        ...

    def unavailable(self, problem: Problem) -> str | None:
        """Why nothing can be measured on this problem, as a sentence; None if something can. Free."""
        ...

    def estimated_cost(self, snapshot: Snapshot) -> float:
        """Gradient equivalents that :meth:`measure` would charge now, given what the snapshot has already."""
        ...

    def measure(self, snapshot: Snapshot) -> Mapping[str, Value]:
        """Measure. What does not exist here is left out; what has a denominator of 0 is NaN."""
        ...

    def after_row(self, snapshot: Snapshot) -> None:
        """Keep what the next measurement needs of this row; called once a row, measured or not. Free."""
        ...

    def state_dict(self) -> dict[str, Any]:
        """Tensors, numbers, text, and lists and dicts of them."""
        ...

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from what :meth:`state_dict` gave."""
        ...


@runtime_checkable
class StepObserver(Protocol):
    """A tracker that also sees every optimiser step; what it measures is of the steps since the row before."""

    @property
    def step_parts(self) -> frozenset[StepPart]:
        """What it reads of a step."""
        ...

    def observe_step(self, step: Step) -> None:
        """Add a step up, on the device: numbers are read once, by ``measure``."""
        ...


T = TypeVar("T", bound="Measurement")


@dataclass(frozen=True)
class Measurement(ABC):
    """A tracker whose state is a dict of plain values: what landscape's own trackers are.

    Parameters
    ----------
    every : int
        Epochs from one measurement to the next.
    """

    every: int = 1
    _state: dict[str, Any] = field(default_factory=dict, init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if self.every < 1:
            raise ValueError(f"every={self.every} was given; it must be at least 1 epoch.")

    #: In messages and specs.
    name: ClassVar[str]
    #: Columns.
    records: ClassVar[frozenset[str]]
    #: What is read off the snapshot at a price.
    needs: ClassVar[frozenset[str]] = frozenset()

    def fresh(self: T) -> T:
        """The same settings, nothing seen."""
        return replace(self)

    def unavailable(self, problem: Problem) -> str | None:
        """Measurable on every problem."""
        return None

    def estimated_cost(self, snapshot: Snapshot) -> float:
        """Free."""
        return 0.0

    @abstractmethod
    def measure(self, snapshot: Snapshot) -> Mapping[str, Value]:
        """Measure."""

    def after_row(self, snapshot: Snapshot) -> None:  # noqa: B027 - most trackers keep nothing
        """Keep nothing."""

    def state_dict(self) -> dict[str, Any]:
        """The state, its lists and dicts copied; its tensors are never written to."""
        return {name: _copied(value) for name, value in self._state.items()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take over a state."""
        self._state.clear()
        self._state.update({name: _copied(value) for name, value in state.items()})

    def kept(self, name: str, like: Tensor) -> Tensor | None:
        """A vector of the state, on the device of another; a checkpoint's are on the host."""
        value: Tensor | None = self._state.get(name)
        return None if value is None else value.to(like.device)


def _copied(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _copied(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return type(value)(_copied(item) for item in value)
    return value


def generator_for(seed: int, epoch: int) -> torch.Generator:
    """A generator of a tracker's own for one epoch, the same whether or not the run was resumed."""
    return torch.Generator().manual_seed((seed * 1_000_003 + epoch) % 2**63)
