"""What of a curvature is left over finite distances, and what of that is kinks."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Tensor

from landscape.objective import Objective
from landscape.operators.base import ROUNDING_EPSILONS
from landscape.operators.choose import HessianMethod, make_hessian
from landscape.operators.curvature import CurvatureOperator
from landscape.vectors import dot, norm

#: Distances tried by default, in units of max(1, ‖x‖).
RELATIVE_STEPS = tuple(10.0 ** (-2 - i / 2) for i in range(6))
#: What kinks add is told from the quadrature error of the smooth part when it is this share of the curvatures there.
_KINK_SHARE = 0.25
#: Gauss-Legendre with three nodes on [-1, 1], of which the middle one is where the model stands.
_NODE, _OUTER, _INNER = math.sqrt(0.6), 5.0 / 18.0, 8.0 / 18.0


@dataclass(frozen=True)
class StepRow:
    r"""Curvature along a unit direction v over the distance from x - hv to x + hv.

    Attributes
    ----------
    step : float
        h.
    loss_curvature, loss_rounding : float
        :math:`(f(x+hv) - 2 f(x) + f(x-hv)) / h^2`, and how far it may be off: about :math:`4 \epsilon |f| / h^2`.
    gradient_curvature, gradient_rounding : float
        :math:`\langle g(x+hv) - g(x-hv), v \rangle / 2h`, and how far it may be off.
    smooth : float
        Mean over that distance of :math:`v^\top H v` where it exists, by quadrature. NaN if products are themselves
        differences.
    largest : float
        Largest magnitude among the curvatures that went into ``smooth``.
    """

    step: float
    loss_curvature: float
    loss_rounding: float
    gradient_curvature: float
    gradient_rounding: float
    smooth: float
    largest: float

    @property
    def kinks(self) -> float:
        """What kinks add: the curvature that the gradient's change shows and the Hessian does not."""
        return self.gradient_curvature - self.smooth

    @property
    def has_kinks(self) -> bool:
        """Whether that is more than rounding and the error of the quadrature."""
        scale = max(self.largest, abs(self.gradient_curvature))
        return abs(self.kinks) > self.gradient_rounding + _KINK_SHARE * scale

    @property
    def sign(self) -> int:
        """Of the curvature that the gradient's change shows: -1, 1, or 0 within rounding (also for NaN)."""
        beyond = abs(self.gradient_curvature) > self.gradient_rounding
        return int(math.copysign(1, self.gradient_curvature)) if beyond else 0

    def __str__(self) -> str:
        return (
            f"h = {self.step:.2g}: from losses {self.loss_curvature:.4g} (rounding {self.loss_rounding:.1g}), from gradients "
            f"{self.gradient_curvature:.4g} (rounding {self.gradient_rounding:.1g}), smooth part {self.smooth:.4g}, kinks "
            f"{self.kinks:.3g}"
        )


@dataclass(frozen=True)
class Place:
    """A loss at a point: where the model stands (``params`` None) or another."""

    objective: Objective
    params: Tensor | None
    method: HessianMethod

    def hessian(self, params: Tensor | None = None) -> CurvatureOperator:
        """The Hessian here, or elsewhere."""
        return make_hessian(self.objective, self.params if params is None else params, self.method, None)

    def point(self) -> Tensor:
        """Where it is, as a vector."""
        layout = self.objective.layout
        return self.params if self.params is not None else layout.flatten(p.detach() for p in layout.parameters)


def default_steps(point: Tensor) -> list[float]:
    """From a hundredth of ‖x‖ down to a few 1e-5 of it."""
    size = max(1.0, norm(point))
    return [factor * size for factor in RELATIVE_STEPS]


def difference_table(
    place: Place, unit: Tensor, curvature: float, norm_estimate: float, steps: Iterable[float]
) -> tuple[StepRow, ...]:
    r"""Compare the Hessian's curvature with what losses and gradients show over several distances.

    Parameters
    ----------
    place : Place
        The loss and the point.
    unit : Tensor of shape (n,)
        A unit vector v.
    curvature : float
        v'Hv at the point.
    norm_estimate : float
        About ‖H‖, by which rounded coordinates move the gradient.
    steps : iterable of float
        Distances h.

    Returns
    -------
    tuple of StepRow
        Largest distance first.

    Notes
    -----
    With :math:`\varphi(t) = f(x + tv)` the change of slope over the distance is
    :math:`\varphi'(h) - \varphi'(-h) = \int_{-h}^{h} v^\top H(x + tv)\, v\, dt + \sum \text{jumps of the slope at kinks}`,
    so what is left after taking away the mean of :math:`v^\top H v` (Gauss-Legendre, three nodes, exact for polynomials
    :math:`\varphi` up to degree 7) is kinks. A second difference alone would not tell them from fourth derivatives.

    Cost: 1 gradient, and for each distance 2 gradients and 2 products with graphs of their own: 8 GE.
    """
    objective, point = place.objective, place.point()
    centre, gradient = objective.loss_and_gradient(place.params)
    eps = float(torch.finfo(point.dtype).eps)
    rows = []
    for step in sorted(steps, reverse=True):
        (ahead, up), (behind, down) = (objective.loss_and_gradient(point + s * step * unit) for s in (1.0, -1.0))
        slopes = max(norm(up), norm(down), norm(gradient))
        moved = eps * norm(point)  # coordinates are rounded when a step is added to them
        loss_error = ROUNDING_EPSILONS * eps * float(torch.stack([centre, ahead, behind]).abs().max()) + moved * slopes
        slope_error = ROUNDING_EPSILONS * eps * slopes + moved * norm_estimate
        smooth, largest = _smooth_part(place, point, unit, curvature, step)
        rows.append(
            StepRow(
                step=step,
                loss_curvature=float(ahead - 2 * centre + behind) / step**2,
                loss_rounding=4 * loss_error / step**2,
                gradient_curvature=(dot(up, unit) - dot(down, unit)) / (2 * step),
                gradient_rounding=slope_error / step,
                smooth=smooth,
                largest=largest,
            )
        )
    return tuple(rows)


def _smooth_part(place: Place, point: Tensor, unit: Tensor, curvature: float, step: float) -> tuple[float, float]:
    """Mean of v'Hv over the distance, and the largest magnitude that it is made of."""
    if place.method == "finite-difference":
        return math.nan, math.nan
    outer = [dot(unit, place.hessian(point + s * _NODE * step * unit) @ unit) for s in (1.0, -1.0)]
    mean = _OUTER * sum(outer) + _INNER * curvature
    return mean, max(abs(value) for value in (*outer, curvature))
