"""What is added up over the optimiser steps of an epoch, on the device, and read once at its end."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

from landscape.tracking.history import Value
from landscape.tracking.snapshot import Snapshot
from landscape.tracking.tracker import Measurement, Step, StepPart, inner
from landscape.vectors import norm


@dataclass(frozen=True)
class StepSums(Measurement):
    """A tracker of steps: scalars that stay on the device until the row is made, and then begin anew."""

    #: Vectors of the state that outlive the row.
    _lasting: ClassVar[frozenset[str]] = frozenset()

    def after_row(self, snapshot: Snapshot) -> None:
        """The next row's sums begin at nothing."""
        for name in self._state.keys() - self._lasting:
            del self._state[name]

    def _add(self, name: str, value: Tensor) -> None:
        """Add to the mean of an epoch's values."""
        before = self._state.get(name)
        # Not in place: a state that was taken stays as it was.
        self._state[name] = value if before is None else before.to(value.device) + value
        self._state[f"{name}_count"] = self._state.get(f"{name}_count", 0) + 1

    def _means(self, *names: str) -> dict[str, Value]:
        """Means of what was added up; what was not seen is left out."""
        seen = [name for name in names if name in self._state]
        return {name: float(self._state[name]) / self._state[f"{name}_count"] for name in seen}


@dataclass(frozen=True)
class LastStep(StepSums):
    """The epoch's last step: its length, and its product with the gradient that it was made from."""

    name: ClassVar[str] = "last-step"
    records: ClassVar[frozenset[str]] = frozenset({"update_norm", "step_dot_step", "step_dot_gradient"})
    step_parts: ClassVar[frozenset[StepPart]] = frozenset({"gradient", "before", "after"})

    def observe_step(self, step: Step) -> None:
        """Keep the products of this step, in place of the last one's."""
        if step.move is None or step.move_square is None:
            return
        self._state["square"] = step.move_square
        self._state.pop("slope", None)
        if step.gradient is not None:
            self._state["slope"] = inner(step.move, step.gradient)

    def measure(self, snapshot: Snapshot) -> Mapping[str, Value]:
        """Read them; nothing in row 0."""
        row: dict[str, Value] = {}
        if "square" in self._state:
            square = float(self._state["square"])
            row = {"update_norm": square**0.5, "step_dot_step": square}
        if "slope" in self._state:
            row["step_dot_gradient"] = float(self._state["slope"])
        return row


@dataclass(frozen=True)
class GradientAutocorrelation(StepSums):
    """How the mini-batch gradients of consecutive steps point, on average. Memory: one vector."""

    _lasting: ClassVar[frozenset[str]] = frozenset({"gradient"})
    name: ClassVar[str] = "gradient-autocorrelation"
    records: ClassVar[frozenset[str]] = frozenset({"gradient_autocorrelation"})
    step_parts: ClassVar[frozenset[StepPart]] = frozenset({"gradient"})

    def observe_step(self, step: Step) -> None:
        """Multiply with the gradient of the step before."""
        if step.gradient is None:  # after a gap, consecutive no longer means consecutive
            self._state.pop("gradient", None)
            return
        previous = self.kept("gradient", step.gradient)
        if previous is not None:
            self._add("gradient_autocorrelation", inner(step.gradient, previous))
        self._state["gradient"] = step.gradient.clone()

    def measure(self, snapshot: Snapshot) -> Mapping[str, Value]:
        """The mean over the epoch's pairs."""
        return self._means("gradient_autocorrelation")


@dataclass(frozen=True)
class Stationarity(StepSums):
    """The two means that Yaida's relation compares: x'g before each step, and the squared length of each step.

    References
    ----------
    Yaida (2018), Fluctuation-dissipation relations for stochastic gradient descent, arXiv:1810.00004.
    """

    name: ClassVar[str] = "stationarity"
    records: ClassVar[frozenset[str]] = frozenset({"position_dot_gradient", "update_square"})
    step_parts: ClassVar[frozenset[StepPart]] = frozenset({"gradient", "before", "after"})

    def observe_step(self, step: Step) -> None:
        """Add both up."""
        if step.before is not None and step.gradient is not None:
            self._add("position_dot_gradient", inner(step.before, step.gradient))
        if step.move_square is not None:
            self._add("update_square", step.move_square)

    def measure(self, snapshot: Snapshot) -> Mapping[str, Value]:
        """Both means."""
        return self._means("position_dot_gradient", "update_square")


@dataclass(frozen=True)
class BatchNorms(StepSums):
    """Running loss and mini-batch gradient norms, for loops of one's own; a trainer's phases give these by themselves."""

    name: ClassVar[str] = "batch-norms"
    records: ClassVar[frozenset[str]] = frozenset(
        {"loss_running", "gradient_norm_mean_batch", "gradient_norm_batch_mean"}
    )
    step_parts: ClassVar[frozenset[StepPart]] = frozenset({"gradient", "loss"})

    def observe_step(self, step: Step) -> None:
        """Add up the loss and the gradient by samples, the norm by steps."""
        if step.loss is not None:
            self._weigh("loss", step.loss.detach().double().reshape(()), step.num_samples)
        if step.gradient is not None:
            self._weigh("gradient", step.gradient, step.num_samples)
            self._add("gradient_norm_mean_batch", torch.linalg.vector_norm(step.gradient, dtype=torch.float64))

    def _weigh(self, name: str, value: Tensor, num_samples: int) -> None:
        before: Any = self._state.get(name)
        self._state[name] = value * num_samples if before is None else before.to(value.device) + value * num_samples
        self._state[f"{name}_samples"] = self._state.get(f"{name}_samples", 0) + num_samples

    def measure(self, snapshot: Snapshot) -> Mapping[str, Value]:
        """Means by samples, by steps, and the norm of the mean."""
        row = self._means("gradient_norm_mean_batch")
        if "loss" in self._state:
            row["loss_running"] = float(self._state["loss"]) / self._state["loss_samples"]
        if "gradient" in self._state:
            row["gradient_norm_batch_mean"] = norm(self._state["gradient"]) / self._state["gradient_samples"]
        return row
