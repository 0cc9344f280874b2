"""Whether the loss looks convex from the points that training visited."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from landscape.cost import FORWARD_IN_GRADIENTS
from landscape.tracking.history import Value
from landscape.tracking.snapshot import Snapshot
from landscape.tracking.tracker import Measurement
from landscape.tracking.trackers.values import GradientMeasurement
from landscape.vectors import dot


@dataclass(frozen=True)
class SecantCurvature(GradientMeasurement):
    """The mean curvature from the checkpoint before: 1 gradient. Checkpoints are the rows in which this was measured.

    Memory: two vectors.
    """

    name: ClassVar[str] = "secant-curvature"
    records: ClassVar[frozenset[str]] = frozenset({"secant_curvature"})

    def measure(self, snapshot: Snapshot) -> Mapping[str, Value]:
        """The quotient; nothing at the first checkpoint, NaN where it has not moved."""
        point, gradient = self.kept("point", snapshot.params), self.kept("gradient", snapshot.params)
        self._state.update(point=snapshot.params, gradient=snapshot.gradient)
        if point is None or gradient is None:
            return {}
        step = snapshot.params.double() - point.double()
        square = dot(step, step)
        change = snapshot.gradient.double() - gradient.double()
        return {"secant_curvature": dot(change, step) / square if square != 0 else math.nan}


@dataclass(frozen=True)
class LowerBoundGap(GradientMeasurement):
    """Whether the tangent at one checkpoint lies above the loss at another, over all pairs of a window: 1 gradient.

    Parameters
    ----------
    window : int
        Checkpoints that are kept, this row's among them; 2 at least. Pairs that are far apart hardly ever look convex.

    Notes
    -----
    Memory: two vectors for each checkpoint.

    References
    ----------
    Carmon, Duchi, Hinder, Sidford (2017), "Convex until proven guilty", arXiv:1705.02766.
    """

    window: int = 5

    name: ClassVar[str] = "lower-bound-gap"
    records: ClassVar[frozenset[str]] = frozenset({"lower_bound_gap"})

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.window < 2:
            raise ValueError(f"window={self.window} was given; a pair takes at least 2 checkpoints.")

    def measure(self, snapshot: Snapshot) -> Mapping[str, Value]:
        """The smallest gap; nothing at the first checkpoint."""
        device = snapshot.params.device
        gradient, loss = snapshot.gradient, snapshot.loss
        visited = [*self._state.get("visited", []), {"point": snapshot.params, "gradient": gradient, "loss": loss}]
        visited = self._state["visited"] = visited[-self.window :]
        # In float64 and away from one of them, where tangents and losses nearly agree.
        moved = [entry["point"].to(device).double() - snapshot.params.double() for entry in visited]
        slopes = [entry["gradient"].to(device).double() for entry in visited]
        gaps = [
            visited[y]["loss"] - visited[x]["loss"] - dot(slopes[x], moved[y] - moved[x])
            for x, y in itertools.permutations(range(len(visited)), 2)
        ]
        if not gaps:
            return {}
        return {"lower_bound_gap": math.nan if any(map(math.isnan, gaps)) else min(gaps)}


@dataclass(frozen=True)
class SegmentSecondDifference(Measurement):
    """The smallest second difference of the loss on the way from the checkpoint before.

    Parameters
    ----------
    num_points : int
        Points between the two checkpoints.

    Notes
    -----
    Cost: a third of a gradient for each point, and for the loss at this row where it is not known; once 2 gradients to
    verify that losses can be taken elsewhere. Memory: one vector.

    References
    ----------
    Goodfellow, Vinyals, Saxe (2015), arXiv:1412.6544 (linear interpolation).
    """

    num_points: int = 3

    name: ClassVar[str] = "segment-second-difference"
    records: ClassVar[frozenset[str]] = frozenset({"segment_second_difference"})
    needs: ClassVar[frozenset[str]] = frozenset({"loss", "other points"})

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.num_points < 1:
            raise ValueError(f"num_points={self.num_points} was given; it must be at least 1.")

    def estimated_cost(self, snapshot: Snapshot) -> float:
        """The points between; only the loss at the first checkpoint."""
        if "point" not in self._state:
            return snapshot.loss_cost
        return snapshot.loss_cost + snapshot.other_points_cost + FORWARD_IN_GRADIENTS * self.num_points

    def measure(self, snapshot: Snapshot) -> Mapping[str, Value]:
        """The smallest of ``num_points`` differences; nothing at the first checkpoint."""
        start, start_loss = self.kept("point", snapshot.params), self._state.get("loss", math.nan)
        self._state.update(point=snapshot.params, loss=snapshot.loss)
        if start is None:
            return {}
        if not (snapshot.is_finite and math.isfinite(start_loss)):
            return {"segment_second_difference": math.nan}
        snapshot.verify_other_points()
        step = snapshot.params - start
        shares = [i / (self.num_points + 1) for i in range(1, self.num_points + 1)]
        inner = [float(snapshot.problem.loss(start + share * step)) for share in shares]
        losses = [start_loss, *inner, snapshot.loss]
        differences = [a - 2 * b + c for a, b, c in zip(losses, losses[1:], losses[2:], strict=False)]
        return {"segment_second_difference": math.nan if any(map(math.isnan, differences)) else min(differences)}
