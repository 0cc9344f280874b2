"""Curvature along single directions: the gradient, the update, Adam's step, trial directions, symmetries."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from landscape.cost import FORWARD_IN_GRADIENTS, PRODUCT_IN_GRADIENTS
from landscape.probes.symmetry.action import Symmetry
from landscape.probes.symmetry.directions import promising_directions
from landscape.probes.symmetry.symmetry import symmetries
from landscape.problem import Problem
from landscape.tracking.columns import COLUMNS
from landscape.tracking.history import Value
from landscape.tracking.snapshot import Snapshot
from landscape.tracking.tracker import Measurement
from landscape.vectors import dot, norm


@dataclass(frozen=True)
class HessianMeasurement(Measurement):
    """What takes Hessian products; at a point that is not finite its numbers are NaN, and nothing is computed."""

    needs: ClassVar[frozenset[str]] = frozenset({"hessian"})

    def measure(self, snapshot: Snapshot) -> Mapping[str, Value]:
        """Measure, where there is anything to be measured."""
        if snapshot.is_finite:
            return self._measured(snapshot)
        return {name: math.nan for name in sorted(self.records) if COLUMNS[name].kind == "float"}

    @abstractmethod
    def _measured(self, snapshot: Snapshot) -> Mapping[str, Value]:
        """At a finite point."""


@dataclass(frozen=True)
class GradientCurvature(HessianMeasurement):
    """The curvature along the gradient: 1 product, 1 gradient, 1 gradient for the graphs; all shared."""

    name: ClassVar[str] = "gradient-curvature"
    records: ClassVar[frozenset[str]] = frozenset({"curvature_gradient"})
    needs: ClassVar[frozenset[str]] = frozenset({"gradient", "hessian"})

    def estimated_cost(self, snapshot: Snapshot) -> float:
        """The product with the gradient."""
        return snapshot.gradient_product_cost

    def _measured(self, snapshot: Snapshot) -> Mapping[str, Value]:
        unit, product = snapshot.hessian_times_gradient()
        square = dot(unit, unit)
        return {"curvature_gradient": dot(unit, product) / square if square > 0 else math.nan}


@dataclass(frozen=True)
class UpdateCurvature(HessianMeasurement):
    """The curvature along the way from the row before: 1 product, and the graphs. Memory: one vector."""

    name: ClassVar[str] = "update-curvature"
    records: ClassVar[frozenset[str]] = frozenset({"curvature_update"})

    def estimated_cost(self, snapshot: Snapshot) -> float:
        """One product; none in row 0."""
        return snapshot.hessian_cost + PRODUCT_IN_GRADIENTS if "point" in self._state else 0.0

    def _measured(self, snapshot: Snapshot) -> Mapping[str, Value]:
        before = self.kept("point", snapshot.params)
        if before is None:
            return {}
        return {"curvature_update": snapshot.curvature_along(snapshot.params.double() - before.double())}

    def after_row(self, snapshot: Snapshot) -> None:
        """Keep the point."""
        self._state["point"] = snapshot.params


@dataclass(frozen=True)
class AdamCurvature(HessianMeasurement):
    """The curvature along Adam's direction q = Pg, and g'Hq: 1 product, 1 gradient, and the graphs."""

    name: ClassVar[str] = "adam-curvature"
    records: ClassVar[frozenset[str]] = frozenset({"curvature_adam", "gradient_hessian_adam"})
    needs: ClassVar[frozenset[str]] = frozenset({"gradient", "hessian"})

    def estimated_cost(self, snapshot: Snapshot) -> float:
        """One product, where there is an Adam."""
        if snapshot.adam_preconditioner is None:
            return 0.0
        return snapshot.gradient_cost + snapshot.hessian_cost + PRODUCT_IN_GRADIENTS

    def _measured(self, snapshot: Snapshot) -> Mapping[str, Value]:
        scale = snapshot.adam_preconditioner
        if scale is None:
            return {}
        step = scale.double() * snapshot.gradient.double()
        length = norm(step)
        if not 0 < length < math.inf:
            nothing = 0.0 if length == 0 else math.nan
            return {"curvature_adam": math.nan, "gradient_hessian_adam": nothing}
        unit = (step / length).to(snapshot.params.dtype)
        product = snapshot.hessian() @ unit
        return {
            "curvature_adam": dot(unit, product) / dot(unit, unit),
            "gradient_hessian_adam": length * dot(snapshot.gradient, product),
        }


@dataclass(frozen=True)
class GaussNewtonGap(HessianMeasurement):
    """How far Hessian and Gauss-Newton matrix are apart along the gradient: one product of each, and their graphs."""

    name: ClassVar[str] = "gauss-newton-gap"
    records: ClassVar[frozenset[str]] = frozenset({"gauss_newton_gap"})
    needs: ClassVar[frozenset[str]] = frozenset({"gradient", "hessian"})

    def unavailable(self, problem: Problem) -> str | None:
        """Closures hide what the outputs are."""
        if problem.loss_fn is None:
            return (
                "the problem was made from a closure, so the model's outputs and the Gauss-Newton matrix are not known."
            )
        return None

    def estimated_cost(self, snapshot: Snapshot) -> float:
        """Two products, two sets of graphs."""
        return snapshot.gradient_product_cost + 1.0 + PRODUCT_IN_GRADIENTS

    def _measured(self, snapshot: Snapshot) -> Mapping[str, Value]:
        unit, product = snapshot.hessian_times_gradient()
        if not bool(unit.count_nonzero()):
            return {"gauss_newton_gap": math.nan}
        operator = snapshot.problem.gauss_newton()
        other = dot(unit, operator @ unit)
        operator.release()
        return {"gauss_newton_gap": abs(dot(unit, product) - other) / other if other != 0 else math.nan}


@dataclass(frozen=True)
class TrialCGCurvature(HessianMeasurement):
    """The smallest curvature that linear conjugate gradients meet on their way to a damped Newton step.

    Parameters
    ----------
    num_steps : int
        Directions at most.
    eps : float
        Damping, relative to ||Hg|| / ||g||, which is at most ||H||.
    rtol : float
        The trial ends once the residual is at most this part of the gradient.

    Notes
    -----
    It also ends where p'(H + 2 eps I)p < eps p'p: negative curvature is met, and further directions mean nothing. Cost:
    1 product a direction, the first of them shared with other trackers; the gradient and the graphs.

    References
    ----------
    Royer, O'Neill, Wright (2020), arXiv:1803.02924 (capped conjugate gradients).
    """

    num_steps: int = 10
    eps: float = 1e-3
    rtol: float = 1e-2

    name: ClassVar[str] = "trial-cg-curvature"
    records: ClassVar[frozenset[str]] = frozenset({"trial_cg_curvature"})
    needs: ClassVar[frozenset[str]] = frozenset({"gradient", "hessian"})

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.num_steps < 1:
            raise ValueError(f"num_steps={self.num_steps} was given; it must be at least 1.")
        for name, value in (("eps", self.eps), ("rtol", self.rtol)):
            if not 0 <= value < 1:
                raise ValueError(f"{name}={value} was given; it must be 0 or more, and below 1.")

    def estimated_cost(self, snapshot: Snapshot) -> float:
        """As many directions as last time, and half as many again."""
        return snapshot.gradient_product_cost + PRODUCT_IN_GRADIENTS * (self._limit(snapshot) - 1)

    def _limit(self, snapshot: Snapshot) -> int:
        return min(allowed(self._state, self.num_steps, least=2), snapshot.problem.num_params)

    def _measured(self, snapshot: Snapshot) -> Mapping[str, Value]:
        unit, product = snapshot.hessian_times_gradient()
        if not bool(unit.count_nonzero()):
            return {"trial_cg_curvature": math.nan}
        operator, eps, limit = snapshot.hessian(), self.eps * norm(product), self._limit(snapshot)
        residual, direction = -unit.double(), -unit.double()
        square, lowest, steps = dot(residual, residual), math.inf, 0
        image = -product.double()
        while True:
            steps += 1
            length = dot(direction, direction)
            curvature = dot(direction, image) / length
            lowest = curvature if math.isnan(curvature) else min(lowest, curvature)
            damped = curvature + 2 * eps
            if steps >= limit or not damped >= eps or damped == 0:
                break
            residual = residual - square / (damped * length) * (image + 2 * eps * direction)
            before, square = square, dot(residual, residual)
            if not square > self.rtol**2:
                break
            direction = residual + square / before * direction
            size = norm(direction)
            image = (operator @ (direction / size).to(unit.dtype)).double() * size
        self._state["used"] = steps
        return {"trial_cg_curvature": lowest}


@dataclass(frozen=True)
class SymmetryCurvature(Measurement):
    """The smallest curvature along directions that the model's symmetries give, in closed form: 1 gradient, no product.

    Symmetries are looked for once a run (some forwards over 64 samples).
    """

    name: ClassVar[str] = "symmetry-curvature"
    records: ClassVar[frozenset[str]] = frozenset({"symmetry_curvature"})
    needs: ClassVar[frozenset[str]] = frozenset({"gradient"})

    def estimated_cost(self, snapshot: Snapshot) -> float:
        """The search once, then the gradient where there are symmetries."""
        if "symmetries" in snapshot.facts.known:
            return snapshot.gradient_cost if snapshot.facts.symmetries(snapshot.problem) else 0.0
        return search_cost(snapshot.problem) + snapshot.gradient_cost

    def measure(self, snapshot: Snapshot) -> Mapping[str, Value]:
        """The minimum; left out where no symmetry is known."""
        if not snapshot.is_finite:
            return {"symmetry_curvature": math.nan}
        known = snapshot.facts.symmetries(snapshot.problem)
        curvatures = [c for symmetry in known for c in _curvatures(symmetry, snapshot.params, snapshot.gradient)]
        return {"symmetry_curvature": min(curvatures)} if curvatures else {}


def _curvatures(symmetry: Symmetry, params: Tensor, gradient: Tensor) -> list[float]:
    """U'Hu / u'u along the symmetry's most promising directions; those of length 0 are left out."""
    found = []
    for B in promising_directions(symmetry, params, gradient):
        direction, image = symmetry.generator(params, B), symmetry.image(gradient, B)
        square = dot(direction, direction)
        if square > 0:
            found.append(dot(direction, image) / square)
    return found


def search_cost(problem: Problem) -> float:
    """What looking for symmetries will cost, roughly: 8 forwards over 64 samples for each that the structure shows."""
    candidates = 2 + len(symmetries(problem.model))
    few = min(64, problem.num_samples) / problem.num_samples
    return 8 * FORWARD_IN_GRADIENTS * few * candidates


def allowed(state: Mapping[str, object], most: int, least: int = 5) -> int:
    """Products that an iteration may take: half as many again as it took last time, so that its price is known before."""
    used = state.get("used")
    return most if not isinstance(used, int) else min(most, max(least, math.ceil(1.5 * used)))
