"""The Hessian by differences of gradients, with an estimate of its error."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from landscape.objective import Objective
from landscape.operators.base import LinearOperator
from landscape.operators.curvature import CurvatureOperator
from landscape.vectors import dot, norm

#: Steps tried, in units of eps^(1/3) * max(1, ‖x‖ / sqrt(n)): central differences balance rounding (eps / h) against
#: truncation (h^2) at eps^(1/3) (Nocedal and Wright 2006, section 8.1); where exactly depends on the model.
_TRIAL_FACTORS = (0.125, 0.25, 0.5, 1.0, 2.0, 4.0, 8.0)


@dataclass(frozen=True)
class DifferenceStep:
    """The distance along a unit vector at which gradients are compared.

    Parameters
    ----------
    length : float
        h.
    error : float
        Estimated error of a product with a unit vector.
    scale : float
        Norm of the largest product seen while h was chosen.
    """

    length: float
    error: float
    scale: float


class FiniteDifferenceHessian(CurvatureOperator):
    r"""The Hessian by central differences, :math:`Hv \approx \|v\| (g(x + h\hat v) - g(x - h\hat v)) / 2h`.

    Made by ``problem.hessian(method="finite-difference")``: for losses that torch cannot differentiate twice. It sees
    the kinks of piecewise linear activations, which double backward does not.

    Notes
    -----
    The step is chosen once, on a random direction and on the gradient's: of several, each twice the one before, the one
    whose products differ least from those at half the step. That difference is the error estimate that
    :attr:`product_error` carries into every verdict.

    Cost: 2 gradients a product, and 29 once for the step.
    """

    matrix_name = "Hessian"
    by = "central differences of gradients"

    def __init__(self, objective: Objective, params: Tensor | None = None) -> None:
        super().__init__(objective, params)
        self._step: DifferenceStep | None = None

    @property
    def step(self) -> DifferenceStep:
        """The step in use, chosen at the first product."""
        if self._step is None:
            self._step = self._choose_step()
        return self._step

    @property
    def product_error(self) -> float:
        """Estimated error relative to the norm of the matrix, by which it is understated at most."""
        step = self.step
        if step.error == 0:
            return super().product_error
        return math.inf if step.scale == 0 else max(super().product_error, step.error / step.scale)

    def restrict(self, which: str | Sequence[str] | Tensor | slice) -> LinearOperator:
        """The principal submatrix on some parameters, with a step and an error estimate of its own if by name."""
        part = super().restrict(which)
        if isinstance(part, FiniteDifferenceHessian):
            part._step = None
        return part

    def quadratic_forms(self, direction: Tensor) -> tuple[Tensor, Tensor]:
        """Only the whole: differences are taken of the gradient over all data."""
        self._check(direction)
        curvature = torch.dot((self @ direction).double(), direction.double())
        return curvature.cpu().reshape(1), torch.ones(1, dtype=torch.float64)

    def _products(self, vectors: Sequence[Tensor]) -> list[Tensor]:
        self._check_point()
        return [self._chosen_part(self._product(self._whole(vector))) for vector in vectors]

    def _product(self, direction: Tensor) -> Tensor:
        length = norm(direction)
        if length == 0:
            return torch.zeros_like(direction)
        return self._difference(direction / length, self.step.length) * length

    def _difference(self, unit: Tensor, step: float) -> Tensor:
        ahead, behind = self._point + step * unit, self._point - step * unit
        gradients = [self.objective.loss_and_gradient(point)[1] for point in (ahead, behind)]
        # The distance that was really gone: adding a small step to a large coordinate rounds.
        return (gradients[0] - gradients[1]) / (dot(ahead - behind, unit) or 2 * step)

    def _choose_step(self) -> DifferenceStep:
        point = self._point
        unit = torch.finfo(self.dtype).eps ** (1 / 3) * max(1.0, norm(point) / math.sqrt(point.numel()))
        generator = torch.Generator().manual_seed(0)
        noise = torch.randn(self.size, generator=generator, dtype=torch.float64).to(point)
        directions = [noise / norm(noise)]
        gradient = self._chosen_part(self.objective.loss_and_gradient(point)[1])
        slope = norm(gradient)
        if math.isfinite(slope) and slope > 0:
            directions.append(gradient / slope)
        lengths = [factor * unit for factor in _TRIAL_FACTORS]
        products = [
            [self._chosen_part(self._difference(self._whole(direction), length)) for direction in directions]
            for length in lengths
        ]
        best = DifferenceStep(unit, math.inf, 0.0)
        for length, finer, coarser in zip(lengths[1:], products, products[1:], strict=False):
            error = max(norm(a - b) for a, b in zip(finer, coarser, strict=True))
            if error < best.error:
                best = DifferenceStep(length, error, max(norm(product) for product in coarser))
        return best

    def _whole(self, vector: Tensor) -> Tensor:
        """A vector over the chosen parameters as one over all, zero elsewhere."""
        if self.size == self._point.numel():
            return vector
        whole = torch.zeros_like(self._point)
        for piece, part in zip(self._pieces_of(whole), self._split(vector), strict=True):
            piece.copy_(part)
        return whole

    def _chosen_part(self, whole: Tensor) -> Tensor:
        return torch.cat([piece.reshape(-1) for piece in self._pieces_of(whole)])

    def _pieces_of(self, whole: Tensor) -> list[Tensor]:
        pieces = self.objective.layout.split(whole)
        return [pieces[index] for index in self._chosen]
