"""How far rounding may put the loss off."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import torch

from landscape.cost import FORWARD_IN_GRADIENTS
from landscape.tracking.history import Value
from landscape.tracking.snapshot import Snapshot
from landscape.tracking.tracker import Measurement


@dataclass(frozen=True)
class RoundingFloor(Measurement):
    """The rounding error of the loss, measured against a copy of the model in float64 (none for models in float64).

    Notes
    -----
    Cost: the loss, and 1 forward of the copy. Where the model cannot be copied, the unit roundoff alone counts.
    """

    every: int = 5

    name: ClassVar[str] = "rounding-floor"
    records: ClassVar[frozenset[str]] = frozenset({"rounding_floor"})
    needs: ClassVar[frozenset[str]] = frozenset({"loss"})

    def estimated_cost(self, snapshot: Snapshot) -> float:
        """One or two forwards."""
        is_exact = snapshot.problem.layout.dtype == torch.float64
        return snapshot.loss_cost + (0.0 if is_exact else FORWARD_IN_GRADIENTS)

    def measure(self, snapshot: Snapshot) -> Mapping[str, Value]:
        """The larger of both estimates."""
        dtype = snapshot.problem.layout.dtype
        relative = torch.finfo(dtype).eps / 2 * abs(snapshot.loss)
        exact = None if dtype == torch.float64 else snapshot.problem.objective.copied(torch.float64)
        apart = 0.0 if exact is None else abs(snapshot.loss - float(exact.loss()))
        return {"rounding_floor": math.nan if math.isnan(apart) else max(relative, apart)}
