"""What is read off the model and its loss: values, norms, rates, distances."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import torch

from landscape.autodiff.flat import ParameterLayout
from landscape.tracking.history import Value
from landscape.tracking.snapshot import Snapshot
from landscape.tracking.tracker import Measurement
from landscape.vectors import dot, norm


@dataclass(frozen=True)
class Loss(Measurement):
    """The mean loss over all data: 1 forward, nothing where the gradient is taken too."""

    name: ClassVar[str] = "loss"
    records: ClassVar[frozenset[str]] = frozenset({"loss"})
    needs: ClassVar[frozenset[str]] = frozenset({"loss"})

    def estimated_cost(self, snapshot: Snapshot) -> float:
        """A forward pass."""
        return snapshot.loss_cost

    def measure(self, snapshot: Snapshot) -> Mapping[str, Value]:
        """The loss."""
        return {"loss": snapshot.loss}


@dataclass(frozen=True)
class GradientMeasurement(Measurement):
    """What follows from the full-data gradient: 1 gradient for all of them together."""

    needs: ClassVar[frozenset[str]] = frozenset({"gradient"})

    def estimated_cost(self, snapshot: Snapshot) -> float:
        """The gradient, if it is not there yet."""
        return snapshot.gradient_cost


@dataclass(frozen=True)
class GradientNorm(GradientMeasurement):
    """The norm of the full-data gradient, and the loss that comes along."""

    name: ClassVar[str] = "gradient-norm"
    records: ClassVar[frozenset[str]] = frozenset({"gradient_norm"})

    def measure(self, snapshot: Snapshot) -> Mapping[str, Value]:
        """The norm."""
        return {"gradient_norm": norm(snapshot.gradient)}


@dataclass(frozen=True)
class LayerGradientNorms(GradientMeasurement):
    """The norm of each layer's part of the full-data gradient."""

    name: ClassVar[str] = "layer-gradient-norms"
    records: ClassVar[frozenset[str]] = frozenset({"gradient_norm/*"})

    def measure(self, snapshot: Snapshot) -> Mapping[str, Value]:
        """One column a layer."""
        return layer_norms("gradient_norm", snapshot.problem.layout, snapshot.gradient)


@dataclass(frozen=True)
class LayerParameterNorms(Measurement):
    """The norm of each layer's own parameters."""

    name: ClassVar[str] = "layer-parameter-norms"
    records: ClassVar[frozenset[str]] = frozenset({"parameter_norm/*"})

    def measure(self, snapshot: Snapshot) -> Mapping[str, Value]:
        """One column a layer."""
        return layer_norms("parameter_norm", snapshot.problem.layout, snapshot.params)


def layer_norms(family: str, layout: ParameterLayout, vector: torch.Tensor) -> dict[str, Value]:
    """Norms of a flat vector's parts, by the module that each parameter belongs to.

    Examples
    --------
    >>> model = torch.nn.Sequential(torch.nn.Linear(1, 1), torch.nn.Linear(1, 1, bias=False))
    >>> layer_norms("norm", ParameterLayout(model), torch.tensor([3.0, 4.0, 2.0]))
    {'norm/0': 5.0, 'norm/1': 2.0}
    """
    squares: dict[str, float] = {}
    for name, piece in zip(layout.names, layout.split(vector), strict=True):
        layer = name.rpartition(".")[0]
        flat = piece.reshape(-1)
        squares[layer] = squares.get(layer, 0.0) + dot(flat, flat)
    return {f"{family}/{layer}": math.sqrt(square) for layer, square in squares.items()}


@dataclass(frozen=True)
class AdamGradientNorm(GradientMeasurement):
    """The gradient's norm that is dual to Adam's metric; left out without Adam's second moments."""

    name: ClassVar[str] = "adam-gradient-norm"
    records: ClassVar[frozenset[str]] = frozenset({"gradient_norm_adam"})

    def estimated_cost(self, snapshot: Snapshot) -> float:
        """The gradient, where there is a metric."""
        return 0.0 if snapshot.adam_preconditioner is None else snapshot.gradient_cost

    def measure(self, snapshot: Snapshot) -> Mapping[str, Value]:
        """sqrt(g'Pg)."""
        scale = snapshot.adam_preconditioner
        if scale is None:
            return {}
        return {
            "gradient_norm_adam": math.sqrt(
                dot(snapshot.gradient.double() * scale.double(), snapshot.gradient.double())
            )
        }


@dataclass(frozen=True)
class ParameterNorm(Measurement):
    """The norm of all parameters."""

    name: ClassVar[str] = "parameter-norm"
    records: ClassVar[frozenset[str]] = frozenset({"parameter_norm"})

    def measure(self, snapshot: Snapshot) -> Mapping[str, Value]:
        """The norm."""
        return {"parameter_norm": norm(snapshot.params)}


@dataclass(frozen=True)
class Settings(Measurement):
    """Learning rate, batch size, data set size and number format: what other columns are judged by."""

    name: ClassVar[str] = "settings"
    records: ClassVar[frozenset[str]] = frozenset({"learning_rate", "batch_size", "dataset_size", "dtype"})

    def measure(self, snapshot: Snapshot) -> Mapping[str, Value]:
        """Read them; no learning rate before the first step."""
        row: dict[str, Value] = {
            "batch_size": snapshot.batch_size,
            "dataset_size": snapshot.problem.num_samples,
            "dtype": str(snapshot.problem.layout.dtype).removeprefix("torch."),
        }
        return row if snapshot.learning_rate is None else {**row, "learning_rate": snapshot.learning_rate}


@dataclass(frozen=True)
class DistanceFromStart(Measurement):
    """How far the parameters are from where the present phase began. Memory: two vectors."""

    name: ClassVar[str] = "distance-from-start"
    records: ClassVar[frozenset[str]] = frozenset({"distance_from_start"})

    def measure(self, snapshot: Snapshot) -> Mapping[str, Value]:
        """The distance; 0 at row 0."""
        start = self.kept("last" if snapshot.phase != self._state.get("phase") else "start", snapshot.params)
        if start is None:
            return {"distance_from_start": 0.0}
        return {"distance_from_start": norm(snapshot.params.double() - start.double())}

    def after_row(self, snapshot: Snapshot) -> None:
        """Where this row stands is where the next phase will have begun, if it begins now."""
        if snapshot.phase != self._state.get("phase"):
            self._state["start"] = self._state.get("last", snapshot.params)
            self._state["phase"] = snapshot.phase
        self._state["last"] = snapshot.params
