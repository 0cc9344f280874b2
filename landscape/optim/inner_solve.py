"""Parts of one truncated Newton step: its products, the numbers it leaves to the next, and the direction it takes."""

from __future__ import annotations

import math
import struct
from collections.abc import Callable
from dataclasses import astuple, dataclass, replace

import torch
from torch import Tensor

from landscape.operators.base import ROUNDING_EPSILONS, LinearOperator
from landscape.optim.capped_cg import CappedCGResult, DirectionKind, Product
from landscape.optim.nystrom import NystromApproximation
from landscape.optim.preconditioner import Preconditioner
from landscape.vectors import dot, norm

# Eisenstat, Walker (1996), Choosing the forcing terms in an inexact Newton method, SIAM J. Sci. Comput. 17(1): choice 2
# and its safeguard.
FORCING_FACTOR = 0.9
FORCING_POWER = 0.5 * (1.0 + math.sqrt(5.0))
FORCING_SAFEGUARD = 0.1
# Martens (2010), Deep learning via Hessian-free optimization, ICML, section 4.1.
DAMPING_FACTOR = 1.5
POOR_MODEL, GOOD_MODEL = 0.25, 0.75


@dataclass(frozen=True)
class InnerSolve:
    """How the Newton equation of one step was solved.

    Attributes
    ----------
    kind : DirectionKind
        What the direction is.
    num_products : int
        Products with the curvature, those of a sketch included.
    residual : float
        Relative, of the iterate that the direction is made of.
    tolerance : float
        What was asked of it.
    damping : float
        What was added to the diagonal, in scaled variables.
    lowest_curvature : float
        The smallest d'Hd / d'd of all vectors multiplied with, in the parameters' own variables; NaN if none was finite.
    rounding : float
        How far that may be off.
    """

    kind: DirectionKind
    num_products: int
    residual: float
    tolerance: float
    damping: float
    lowest_curvature: float
    rounding: float

    @property
    def is_indefinite(self) -> bool:
        """Whether a negative curvature beyond rounding was met."""
        return self.lowest_curvature < -self.rounding

    def __str__(self) -> str:
        return (
            f"{self.num_products} products, relative residual {self.residual:.2e} of {self.tolerance:.2e} asked, damping "
            f"{self.damping:.2e}, lowest curvature {self.lowest_curvature:.3e}. {self.kind}"
        )


@dataclass(frozen=True)
class NewtonNumbers:
    """What one step leaves to the next besides vectors; NaN where nothing is known yet."""

    damping: float = math.nan
    largest_curvature: float = 0.0
    forcing: float = math.nan
    gradient_norm: float = math.nan
    step_norm: float = math.nan
    num_solves: float = 0.0

    def as_tensor(self, like: Tensor) -> Tensor:
        """The bytes of the numbers, which a tensor of any dtype holds exactly."""
        return like.new_tensor(list(struct.pack("<6d", *astuple(self))), requires_grad=False)

    @classmethod
    def from_tensor(cls, tensor: Tensor) -> NewtonNumbers:
        """Undo :meth:`as_tensor`."""
        return cls(*struct.unpack("<6d", bytes(int(number) for number in tensor.tolist())))

    def forcing_term(self, gradient_norm: float, largest: float) -> float:
        """How exactly to solve: the better, the faster the gradient norm falls."""
        if not 0.0 < self.gradient_norm < math.inf:
            return largest
        forcing = FORCING_FACTOR * math.pow(gradient_norm / self.gradient_norm, FORCING_POWER)
        safeguard = FORCING_FACTOR * math.pow(self.forcing, FORCING_POWER)
        return min(largest, max(forcing, safeguard) if safeguard > FORCING_SAFEGUARD else forcing)

    def with_damping_for(self, gain: float, promised: float, rounding: float) -> NewtonNumbers:
        """Damp more if a step gained little of what the model promised, less if it gained most; Martens' rule."""
        ratio = gain / promised if promised < 0.0 else -math.inf
        factor = DAMPING_FACTOR if ratio < POOR_MODEL else 1.0 / DAMPING_FACTOR if ratio > GOOD_MODEL else 1.0
        largest = self.largest_curvature
        return replace(self, damping=min(max(self.damping * factor, rounding * largest), largest))


@dataclass(frozen=True)
class PendingSolve:
    """What a solved equation has taught, until its step is taken; ``model`` is g'd and d'Hd of its direction, if known."""

    numbers: NewtonNumbers
    pairs: list[tuple[Tensor, Tensor]]
    sketch: NystromApproximation | None
    loss: float
    model: tuple[float, float] | None


class ScaledProduct:
    """Products with S'HS that count themselves, remember their pairs, and know the curvature in parameters.

    Parameters
    ----------
    curvature : LinearOperator or callable
        H, multiplied with by ``@``, or by a call.
    scaling : Preconditioner or None
        S.
    keep_pairs : bool
        Remember vectors and images.
    """

    def __init__(
        self, curvature: LinearOperator | Product, scaling: Preconditioner | None, *, keep_pairs: bool
    ) -> None:
        self._multiply: Callable[[Tensor], Tensor] = curvature if callable(curvature) else curvature.__matmul__
        self._scaling = scaling
        self._keep_pairs = keep_pairs
        self._first: tuple[Tensor, Tensor] | None = None
        self.pairs: list[tuple[Tensor, Tensor]] = []
        self.num_products = 0
        self.lowest = math.nan
        self.largest = 0.0

    def __call__(self, vector: Tensor) -> Tensor:
        """S'HS v."""
        if self._first is not None and torch.equal(vector, -self._first[0]):
            (_, image), self._first = self._first, None
            image = -image
        else:
            image = self._product(vector)
        if self._keep_pairs:
            self.pairs.append((vector.clone(), image))
        return image

    def stretch(self, vector: Tensor) -> float:
        """``||S'HS v|| / ||v||``; a following product with -v costs nothing."""
        image = self._product(vector)
        self._first = vector, image
        return norm(image) / norm(vector)

    def _product(self, vector: Tensor) -> Tensor:
        moved = vector if self._scaling is None else self._scaling.scale(vector)
        image = self._multiply(moved)
        self.num_products += 1
        squared = dot(moved, moved)
        if squared > 0.0:
            self.lowest = min(
                dot(moved, image) / squared, self.lowest
            )  # a NaN on the left passes, one on the right not
            self.largest = max(self.largest, norm(image) / math.sqrt(squared))
        return image if self._scaling is None else self._scaling.scale_transposed(image)


def step_along(result: CappedCGResult, gradient: Tensor, step_norm: float) -> tuple[Tensor, tuple[float, float] | None]:
    """The direction of a step, and its g'd and d'Hd where the quadratic model describes it.

    Where the curvature is negative: the iterate reached before, plus the direction found, as long as that iterate; or as
    long as the last step, or as its curvature (Royer, O'Neill, Wright 2020, algorithm 2), where there is no iterate.
    """
    if result.kind is not DirectionKind.NEGATIVE_CURVATURE:
        direction = result.direction
        squared = dot(direction, direction)
        return direction, (dot(gradient, direction), result.curvature * squared) if squared > 0.0 else None
    length = norm(result.solution)
    if length == 0.0:
        length = step_norm if 0.0 < step_norm < math.inf else abs(result.curvature)
    slope = dot(gradient, result.direction)
    return result.solution + result.direction * (-math.copysign(length, slope) / norm(result.direction)), None


def rounding_of(vector: Tensor) -> float:
    """How far a product may be off, relative to the norms of matrix and vector."""
    return ROUNDING_EPSILONS * float(torch.finfo(vector.dtype).eps)
