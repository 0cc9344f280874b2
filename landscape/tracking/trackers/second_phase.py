"""What the second phase would do from here: tried on a copy, not taken."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from landscape.cost import PRODUCT_IN_GRADIENTS
from landscape.status import Status
from landscape.tracking.history import Value
from landscape.tracking.snapshot import Snapshot
from landscape.tracking.tracker import Measurement
from landscape.tracking.trackers.curvature import HessianMeasurement
from landscape.vectors import dot, norm


@dataclass(frozen=True)
class TrialSearch(Measurement):
    """Whether the second phase's first line search would be accepted: 1 gradient and one trial step.

    Left out for an optimiser that does not tell how its line search ended.
    """

    name: ClassVar[str] = "trial-search"
    records: ClassVar[frozenset[str]] = frozenset({"trial_search"})
    needs: ClassVar[frozenset[str]] = frozenset({"trial"})

    def estimated_cost(self, snapshot: Snapshot) -> float:
        """One trial step."""
        return snapshot.trial_cost(1)

    def measure(self, snapshot: Snapshot) -> Mapping[str, Value]:
        """1 or 0."""
        if not snapshot.is_finite:
            return {"trial_search": 0}
        trial = snapshot.trial()
        trial.advance_to(1)
        status = trial.statuses[0]
        return {} if status is None else {"trial_search": int(status in (Status.ACCEPTED, Status.CONVERGED))}


@dataclass(frozen=True)
class Race(Measurement):
    """How fast the second phase would lower the loss for its cost.

    Parameters
    ----------
    num_steps : int
        m: trial steps.

    Notes
    -----
    Cost: for conjugate gradients 4 (1 + m) / 3 gradients, the first step shared with other trackers.
    """

    every: int = 5
    num_steps: int = 5

    name: ClassVar[str] = "race"
    records: ClassVar[frozenset[str]] = frozenset({"race_rate"})
    needs: ClassVar[frozenset[str]] = frozenset({"trial"})

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.num_steps < 1:
            raise ValueError(f"num_steps={self.num_steps} was given; it must be at least 1.")

    def estimated_cost(self, snapshot: Snapshot) -> float:
        """The trial steps."""
        return snapshot.trial_cost(self.num_steps)

    def measure(self, snapshot: Snapshot) -> Mapping[str, Value]:
        """The loss lost, over what it cost."""
        if not snapshot.is_finite:
            return {"race_rate": math.nan}
        trial = snapshot.trial()
        trial.advance_to(self.num_steps)
        spent = trial.equivalents[self.num_steps]
        return {"race_rate": (trial.losses[0] - trial.losses[self.num_steps]) / spent if spent > 0 else math.nan}


@dataclass(frozen=True)
class FirstPhaseRate(Measurement):
    """How fast the first phase has lowered the loss for its cost.

    Parameters
    ----------
    window : int
        w: epochs to look back.

    Notes
    -----
    Cost: the loss in every row of the first phase, a third of a gradient where it is not known. Nothing in its first row.
    """

    window: int = 5

    name: ClassVar[str] = "first-phase-rate"
    records: ClassVar[frozenset[str]] = frozenset({"first_phase_rate"})
    needs: ClassVar[frozenset[str]] = frozenset({"loss"})

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.window < 1:
            raise ValueError(f"window={self.window} was given; it must be at least 1.")

    def estimated_cost(self, snapshot: Snapshot) -> float:
        """The loss, in the first phase."""
        return snapshot.loss_cost if snapshot.phase == "first" else 0.0

    def measure(self, snapshot: Snapshot) -> Mapping[str, Value]:
        """The loss lost since the oldest row of the window, over what training has cost since."""
        if snapshot.phase != "first":
            return {}
        now = [snapshot.epoch, snapshot.loss, snapshot.training_equivalents]
        rows = [row for row in self._state.get("rows", []) if snapshot.epoch - row[0] <= self.window]
        self._state["rows"] = [*rows, now]
        if not rows:
            return {}
        spent = now[2] - rows[0][2]
        return {"first_phase_rate": (rows[0][1] - now[1]) / spent if spent > 0 else math.nan}

    def after_row(self, snapshot: Snapshot) -> None:
        """A second phase ends the window."""
        if snapshot.phase != "first":
            self._state.pop("rows", None)


@dataclass(frozen=True)
class ModelAgreement(HessianMeasurement):
    """Whether the quadratic model foretells what a trial step does to the loss: 1 product, the step, gradient and graphs."""

    name: ClassVar[str] = "model-agreement"
    records: ClassVar[frozenset[str]] = frozenset({"model_agreement"})
    needs: ClassVar[frozenset[str]] = frozenset({"gradient", "hessian", "trial"})

    def estimated_cost(self, snapshot: Snapshot) -> float:
        """All of it."""
        own = snapshot.gradient_cost + snapshot.hessian_cost + PRODUCT_IN_GRADIENTS
        verified_twice = snapshot.other_points_cost if snapshot.hessian_cost > 1.0 else 0.0
        return own + snapshot.trial_cost(1) - verified_twice

    def _measured(self, snapshot: Snapshot) -> Mapping[str, Value]:
        gradient, operator = snapshot.gradient, snapshot.hessian()
        trial = snapshot.trial()
        trial.advance_to(1)
        step = trial.points[1].double() - snapshot.params.double()
        length = norm(step)
        if not 0 < length < math.inf:
            return {"model_agreement": math.nan}
        unit = (step / length).to(snapshot.params.dtype)
        foretold = -dot(gradient.double(), step) - length**2 * dot(unit, operator @ unit) / 2
        return {"model_agreement": (trial.losses[0] - trial.losses[1]) / foretold if foretold != 0 else math.nan}
