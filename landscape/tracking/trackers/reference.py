"""How the loss looks towards a reference point, which somebody has to know: the end of an earlier run, say."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

import torch
from torch import Tensor

from landscape.cost import FORWARD_IN_GRADIENTS
from landscape.problem import Problem
from landscape.tracking.history import Value
from landscape.tracking.snapshot import Snapshot
from landscape.tracking.trackers.values import GradientMeasurement
from landscape.vectors import dot, norm


@dataclass(frozen=True)
class ReferencePoint(GradientMeasurement):
    """Convexity, restricted secant and error bound towards a reference point y: 1 gradient, once the loss at y.

    Parameters
    ----------
    point : Tensor of shape (n,), or mapping of names to tensors, or path, optional
        y: a vector as ``problem.params()`` gives it, a model's ``state_dict()``, or a file that ``torch.save`` wrote either
        to. Without it nothing can be measured.

    References
    ----------
    Tran et al. (2024), arXiv:2407.01825. Guille-Escuret et al. (2023), arXiv:2306.11922.
    """

    point: Tensor | Mapping[str, Tensor] | Path | str | None = field(default=None, repr=False, compare=False)

    name: ClassVar[str] = "reference-point"
    records: ClassVar[frozenset[str]] = frozenset({"reference_gap", "restricted_secant", "error_bound"})
    needs: ClassVar[frozenset[str]] = frozenset({"gradient", "other points"})

    def __post_init__(self) -> None:
        super().__post_init__()
        given = self.point
        if isinstance(given, (str, Path)):
            given = torch.load(Path(given), map_location="cpu", weights_only=True)
        if not (given is None or isinstance(given, (Tensor, Mapping))):
            raise ValueError(
                f"point holds a {type(given).__name__}; needed is a vector, a state dict, or a file of one."
            )
        object.__setattr__(self, "point", given)

    def __repr__(self) -> str:
        return f"ReferencePoint(every={self.every}, point={_fingerprint(self.point)})"

    def unavailable(self, problem: Problem) -> str | None:
        """There must be a point, and it must fit."""
        if self.point is None:
            return "no reference point was given: make the tracker with reference-point:point=FILE."
        try:
            _vector(self.point, problem)
        except (ValueError, KeyError) as error:
            return f"the reference point does not fit: {error}"
        return None

    def estimated_cost(self, snapshot: Snapshot) -> float:
        """The gradient, and once the loss at the reference point."""
        once = 0.0 if "loss" in self._state else snapshot.other_points_cost + FORWARD_IN_GRADIENTS
        return snapshot.gradient_cost + once

    def measure(self, snapshot: Snapshot) -> Mapping[str, Value]:
        """All three; the last two are NaN at the reference point itself."""
        if self.point is None:
            return {}
        y = _vector(self.point, snapshot.problem)
        if "loss" not in self._state:
            snapshot.verify_other_points()
            self._state["loss"] = float(snapshot.problem.loss(y))
        away = snapshot.params.double() - y.double()
        gradient = snapshot.gradient.double()
        slope, distance = dot(gradient, away), norm(away)
        return {
            "reference_gap": snapshot.loss - self._state["loss"] - slope,
            "restricted_secant": slope / distance**2 if distance > 0 else math.nan,
            "error_bound": norm(gradient) / distance if distance > 0 else math.nan,
        }


def _vector(point: Tensor | Mapping[str, Tensor] | Path | str, problem: Problem) -> Tensor:
    """Y as one vector of the problem's."""
    layout = problem.layout
    if isinstance(point, Mapping):
        missing = [name for name in layout.names if name not in point]
        if missing:
            raise ValueError(f"it has no parameter {missing[0]!r}.")
        point = torch.cat([point[name].detach().reshape(-1) for name in layout.names])
    assert isinstance(point, Tensor)
    vector = point.detach().to(device=layout.device, dtype=layout.dtype)
    layout.check_vector(vector)
    return vector


def _fingerprint(point: Tensor | Mapping[str, Tensor] | Path | str | None) -> str:
    """A few characters that tell one point from another, the same in every process."""
    if not isinstance(point, (Tensor, Mapping)):
        return repr(point)
    tensors = [point] if isinstance(point, Tensor) else [point[name] for name in sorted(point)]
    digest = hashlib.sha256()
    for tensor in tensors:
        digest.update(tensor.detach().double().cpu().contiguous().numpy().tobytes())
    return f"<{digest.hexdigest()[:12]}>"
