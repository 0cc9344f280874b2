"""Conjugate gradients for the Newton equation that stop, with proof, where the curvature is negative."""

from __future__ import annotations

import enum
import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from landscape.operators.base import ROUNDING_EPSILONS
from landscape.vectors import dot, norm

#: Multiplies a vector of shape (n,) with a symmetric matrix.
Product = Callable[[Tensor], Tensor]


class DirectionKind(str, enum.Enum):
    """What the direction of a :class:`CappedCGResult` is; the value is the sentence that a user reads."""

    NEWTON = "It solves the damped Newton equation to the tolerance."
    TRUNCATED = "The products allowed were used up: the last iterate, on which the damped quadratic is lowest so far."
    NEGATIVE_CURVATURE = "The curvature along it is negative beyond the damping and beyond rounding: not convex here."
    FLAT = "The curvature met is zero to rounding: the last iterate, or the gradient's direction if there is none."
    NONFINITE = "A product holds NaN or infinite entries: the last iterate, or zero if there is none."

    def __str__(self) -> str:
        return self.value


@dataclass(frozen=True)
class CappedCGResult:
    """A direction for a minimiser, and what is known about it.

    Attributes
    ----------
    direction : Tensor of shape (n,)
        A descent direction unless it is zero, except with ``NEGATIVE_CURVATURE``, whose length and sign mean nothing.
    kind : DirectionKind
    curvature : float
        d'Hd / d'd along it, without the damping; NaN for a direction of zeros.
    lowest_curvature : float
        The smallest d'Hd / d'd of all the vectors met (at least lambda_min, up to rounding).
    largest_curvature : float
        The largest ||Hd|| / ||d|| met (at most ||H||).
    num_products : int
    residual : float
        ``||(H + 2 damping I) y + g|| / ||g||`` of the last iterate y, as carried by the recurrence.
    solution : Tensor of shape (n,)
        That iterate: ``direction`` itself, or what was reached before negative curvature was met (zero at once).
    """

    direction: Tensor
    kind: DirectionKind
    curvature: float
    lowest_curvature: float
    largest_curvature: float
    num_products: int
    residual: float
    solution: Tensor

    def __str__(self) -> str:
        return (
            f"Direction after {self.num_products} products, relative residual {self.residual:.2e}, curvature "
            f"{self.curvature:.3e} (lowest met {self.lowest_curvature:.3e}). {self.kind}"
        )


def capped_conjugate_gradient(
    product: Product,
    gradient: Tensor,
    *,
    damping: float,
    tolerance: float,
    max_products: int,
    preconditioner: Product | None = None,
    curvature_bound: float = 0.0,
) -> CappedCGResult:
    r"""Solve :math:`(H + 2 \epsilon I)\, d = -g`, or find a direction of negative curvature on the way.

    Conjugate gradients from zero. Before any iterate is used, the curvature along it and along the search direction is
    looked at: the first one below :math:`-\epsilon` ends the iteration and is returned. If the residual decays more
    slowly than it would for a matrix above :math:`-\epsilon`, a difference of two iterates is known to have such
    curvature, and that one is returned.

    Parameters
    ----------
    product : callable
        ``v (n,) -> Hv (n,)``; H must be symmetric, which is not checked. Called at most ``max_products`` times.
    gradient : Tensor of shape (n,)
        g.
    damping : float
        :math:`\epsilon \ge 0`, in units of the curvature. The quadratic is damped by twice this number, so that every
        direction which passes as convex has a damped curvature of at least :math:`\epsilon`.
    tolerance : float
        Solved once the residual is at most this part of ``||g||``.
    max_products : int
        At least 1.
    preconditioner : callable, optional
        ``v -> P v``, symmetric and positive definite, close to the inverse of :math:`H + 2 \epsilon I`.
    curvature_bound : float
        A lower bound of ``||H||`` known before, such as the ``largest_curvature`` of an earlier result.

    Returns
    -------
    CappedCGResult

    Raises
    ------
    ValueError
        If a number is out of range, or the gradient is no vector.

    Notes
    -----
    With M the largest :math:`\|Hv\| / \|v\|` met, :math:`\kappa = (M + 2\epsilon) / \epsilon`,
    :math:`\tau = \sqrt\kappa / (\sqrt\kappa + 1)` and :math:`T = 4 \kappa^4 / (1 - \sqrt\tau)^2`, decay is slow where
    :math:`\|r_j\| > \sqrt{T}\, \tau^{j/2} \|g\|`. With exact products the search directions nearly always show the negative
    curvature first: this test is the safeguard behind the method's complexity bound.

    Differences from the paper: ``tolerance`` is compared with the residual itself (there with a third of it over
    :math:`\kappa`, for the sake of the complexity bound); the number of products is bounded; curvature within the
    rounding of a product, :math:`50\, eps\, M`, is not called negative (``FLAT``); the pair of iterates behind slow
    decay is chosen by the conjugacy of the steps and then checked by one more product. With a preconditioner, the
    curvatures are still those of H, while the test of slow decay, whose theory has none, is left out.

    Cost: one product an iteration. Memory: 6 vectors, and without a preconditioner all iterates. Dot products are
    accumulated in float64.

    References
    ----------
    Royer, O'Neill, Wright (2020), A Newton-CG algorithm with complexity guarantees for smooth unconstrained
    optimization, Math. Program. 180, algorithm 1.

    Examples
    --------
    >>> H, g = torch.diag(torch.tensor([2.0, 1.0, -1.0])), torch.tensor([1.0, 1.0, 0.1])
    >>> result = capped_conjugate_gradient(lambda v: H @ v, g, damping=0.01, tolerance=1e-3, max_products=3)
    >>> result.kind.name, result.curvature < -0.01
    ('NEGATIVE_CURVATURE', True)
    """
    _check(gradient, damping, tolerance, max_products, curvature_bound)
    solver = _Solver(product, gradient, damping, preconditioner, curvature_bound)
    if solver.gradient_norm == 0.0 or not math.isfinite(solver.gradient_norm):
        kind = DirectionKind.NEWTON if solver.gradient_norm == 0.0 else DirectionKind.NONFINITE
        return solver.result(kind, torch.zeros_like(gradient), math.nan)
    while solver.num_products < max_products:
        curvature = solver.look_along_search_direction()
        if not math.isfinite(curvature):
            return solver.at_iterate(DirectionKind.NONFINITE)
        if curvature <= -damping:
            return solver.not_convex_along(solver.search, curvature)
        is_slow = solver.decays_slowly()
        curvature = solver.advance()
        if curvature < -damping:
            return solver.not_convex_along(solver.iterate, curvature)
        if solver.residual_norm <= tolerance * solver.gradient_norm:
            return solver.at_iterate(DirectionKind.NEWTON)
        if is_slow and solver.num_products < max_products:
            hidden = solver.between_iterates()
            if hidden is not None:
                return hidden
        solver.turn()
    return solver.at_iterate(DirectionKind.TRUNCATED)


class _Solver:
    """The vectors and numbers of one run. ``Hy = r - g - 2 eps y`` gives the iterate's curvature without a product."""

    def __init__(
        self, product: Product, gradient: Tensor, damping: float, preconditioner: Product | None, bound: float
    ) -> None:
        self.product, self.gradient, self.damping, self.preconditioner = product, gradient, damping, preconditioner
        self.rounding = ROUNDING_EPSILONS * float(torch.finfo(gradient.dtype).eps)
        self.num_products = 0
        self.lowest, self.largest = math.inf, bound
        self.gradient_norm = self.residual_norm = norm(gradient)
        self.iterate = torch.zeros_like(gradient)
        self.iterate_curvature = math.nan
        self.residual = gradient.clone()
        preconditioned = self._precondition()
        self.alignment = dot(self.residual, preconditioned)
        self.search = -preconditioned
        self.image = self.search
        self.image_prev: Tensor | None = None
        self.energies: list[float] = []  # p'(H + 2 eps I)p alpha^2 of each step
        self.iterates: list[Tensor] | None = [] if preconditioner is None and damping > 0.0 else None
        self.beta = 0.0

    def look_along_search_direction(self) -> float:
        """Multiply with the search direction p; its curvature p'Hp / p'p."""
        self.image_prev, self.image = self.image, self.product(self.search)
        self.num_products += 1
        self.squared = dot(self.search, self.search)
        curvature = dot(self.search, self.image) / self.squared if self.squared > 0.0 else math.nan
        self._see(curvature, norm(self.image) / math.sqrt(self.squared) if self.squared > 0.0 else math.nan)
        self.search_curvature = curvature
        return curvature

    def advance(self) -> float:
        """One step of conjugate gradients; the curvature along the new iterate."""
        energy = (self.search_curvature + 2.0 * self.damping) * self.squared
        step = self.alignment / energy
        if self.iterates is not None:
            self.iterates.append(self.iterate.clone())
        self.energies.append(step * self.alignment)
        self.iterate.add_(self.search, alpha=step)
        self.residual.add_(self.image, alpha=step).add_(self.search, alpha=2.0 * self.damping * step)
        self.residual_norm = norm(self.residual)
        applied = self.residual - self.gradient
        applied.sub_(self.iterate, alpha=2.0 * self.damping)
        squared = dot(self.iterate, self.iterate)
        self.iterate_curvature = dot(self.iterate, applied) / squared
        self._see(self.iterate_curvature, norm(applied) / math.sqrt(squared))
        return self.iterate_curvature

    def turn(self) -> None:
        """The next search direction."""
        preconditioned = self._precondition()
        before, self.alignment = self.alignment, dot(self.residual, preconditioned)
        self.beta = self.alignment / before
        self.search = self.search.mul_(self.beta).sub_(preconditioned)

    def decays_slowly(self) -> bool:
        """Whether no matrix above -damping allows a residual as large as this one."""
        if self.iterates is None or not self.energies:
            return False
        assert self.image_prev is not None
        # H r_j = beta H p_{j-1} - H p_j, as p_j = beta p_{j-1} - r_j.
        self._see(math.inf, norm(self.image_prev.mul_(self.beta).sub_(self.image)) / self.residual_norm)
        root = math.sqrt((self.largest + 2.0 * self.damping) / self.damping)
        tau = root / (root + 1.0)
        log_bound = math.log(2.0) + 4.0 * math.log(root) - math.log1p(-math.sqrt(tau))
        log_bound += 0.5 * len(self.energies) * math.log(tau)
        return math.log(self.residual_norm) - math.log(self.gradient_norm) > log_bound

    def between_iterates(self) -> CappedCGResult | None:
        """The difference of two iterates that slow decay promises, if a product confirms it."""
        assert self.iterates is not None
        energy, lowest, chosen = 0.0, math.inf, self.iterate
        for earlier, gained in zip(reversed(self.iterates), reversed(self.energies), strict=True):
            energy += gained
            difference = self.iterate - earlier
            quotient = energy / dot(difference, difference)
            if quotient < lowest:
                lowest, chosen = quotient, difference
        self.num_products += 1
        curvature = dot(chosen, self.product(chosen)) / dot(chosen, chosen)
        self._see(curvature, 0.0)
        if curvature < -self.damping:
            return self.not_convex_along(chosen, curvature)
        self.iterates = None  # the products are not those of a symmetric matrix to rounding: do not ask again
        return None

    def not_convex_along(self, direction: Tensor, curvature: float) -> CappedCGResult:
        """The end at a direction whose curvature is not above -damping."""
        if curvature < -self.rounding * self.largest:
            return self.result(DirectionKind.NEGATIVE_CURVATURE, direction.clone(), curvature)
        if self.energies and self.iterate_curvature > -self.damping:
            return self.at_iterate(DirectionKind.FLAT)
        return self.result(DirectionKind.FLAT, direction.clone(), curvature)

    def at_iterate(self, kind: DirectionKind) -> CappedCGResult:
        """The end at the last iterate."""
        return self.result(kind, self.iterate, self.iterate_curvature)

    def result(self, kind: DirectionKind, direction: Tensor, curvature: float) -> CappedCGResult:
        """What is handed back."""
        return CappedCGResult(
            direction=direction,
            kind=kind,
            curvature=curvature,
            lowest_curvature=self.lowest if math.isfinite(self.lowest) else math.nan,
            largest_curvature=self.largest,
            num_products=self.num_products,
            residual=self.residual_norm / self.gradient_norm if self.gradient_norm > 0.0 else 0.0,
            solution=self.iterate,
        )

    def _see(self, curvature: float, stretch: float) -> None:
        if curvature < self.lowest:
            self.lowest = curvature
        if stretch > self.largest:
            self.largest = stretch

    def _precondition(self) -> Tensor:
        return self.residual if self.preconditioner is None else self.preconditioner(self.residual)


def _check(gradient: Tensor, damping: float, tolerance: float, max_products: int, bound: float) -> None:
    if gradient.dim() != 1 or not gradient.is_floating_point():
        raise ValueError(
            f"the gradient has shape {tuple(gradient.shape)} and dtype {gradient.dtype}; one flat vector of real numbers "
            "is needed: flatten it with torch.cat([part.reshape(-1) for part in parts])."
        )
    for name, value in (("damping", damping), ("tolerance", tolerance), ("curvature_bound", bound)):
        if not 0.0 <= value < math.inf:
            raise ValueError(f"{name}={value!r} was given; it has to be a finite number of at least 0.")
    if max_products < 1:
        raise ValueError(f"max_products={max_products!r} was given; it has to be at least 1.")
