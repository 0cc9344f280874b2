r"""How much of the last direction a conjugate-gradient step keeps: :math:`d = -g + \beta\, d_{prev}`.

Every function maps ``(gradient, gradient_prev, direction_prev)``, flat vectors of shape (n,), to a Python float. Dot
products are accumulated in float64. In the formulas below g is the new gradient, :math:`\bar g` the previous one, d the
previous direction and :math:`y = g - \bar g`. With exact line searches on a quadratic all of them are the same number.

A formula that divides by zero returns NaN or infinity; the optimiser takes that as 0, which restarts from steepest
descent, and says so.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from types import MappingProxyType

from torch import Tensor

from landscape.vectors import dot

BetaFormula = Callable[[Tensor, Tensor, Tensor], float]


def fletcher_reeves(gradient: Tensor, gradient_prev: Tensor, direction_prev: Tensor) -> float:  # noqa: ARG001
    r""":math:`g^\top g / \bar g^\top \bar g`.

    References
    ----------
    Fletcher, Reeves (1964), Function minimization by conjugate gradients, Computer Journal 7.

    Examples
    --------
    >>> import torch
    >>> fletcher_reeves(torch.tensor([1.0, 1.0]), torch.tensor([2.0, 0.0]), torch.tensor([-2.0, 0.0]))
    0.5
    """
    return _ratio(dot(gradient, gradient), dot(gradient_prev, gradient_prev))


def polak_ribiere(gradient: Tensor, gradient_prev: Tensor, direction_prev: Tensor) -> float:  # noqa: ARG001
    r""":math:`g^\top y / \bar g^\top \bar g`; may be negative. The formula of Numerical Recipes' ``frprmn``.

    References
    ----------
    Polak, Ribière (1969), Revue française d'informatique et de recherche opérationnelle 16.
    Press et al. (1992), Numerical Recipes in C, 2nd ed., section 10.6.
    """
    return _ratio(dot(gradient, gradient - gradient_prev), dot(gradient_prev, gradient_prev))


def polak_ribiere_plus(gradient: Tensor, gradient_prev: Tensor, direction_prev: Tensor) -> float:
    r""":math:`\max(0, \beta^{PR})`: forgets the last direction by itself when progress is poor.

    References
    ----------
    Gilbert, Nocedal (1992), Global convergence properties of conjugate gradient methods for optimization, SIAM J.
    Optim. 2(1).
    """
    return _at_least(0.0, polak_ribiere(gradient, gradient_prev, direction_prev))


def hestenes_stiefel(gradient: Tensor, gradient_prev: Tensor, direction_prev: Tensor) -> float:
    r""":math:`g^\top y / d^\top y`; may be negative.

    References
    ----------
    Hestenes, Stiefel (1952), Methods of conjugate gradients for solving linear systems, J. Res. Natl. Bur. Stand. 49.
    """
    change = gradient - gradient_prev
    return _ratio(dot(gradient, change), dot(direction_prev, change))


def dai_yuan(gradient: Tensor, gradient_prev: Tensor, direction_prev: Tensor) -> float:
    r""":math:`g^\top g / d^\top y`.

    References
    ----------
    Dai, Yuan (1999), A nonlinear conjugate gradient method with a strong global convergence property, SIAM J. Optim.
    10(1).
    """
    return _ratio(dot(gradient, gradient), dot(direction_prev, gradient - gradient_prev))


def hestenes_stiefel_dai_yuan(gradient: Tensor, gradient_prev: Tensor, direction_prev: Tensor) -> float:
    r""":math:`\max(0, \min(\beta^{HS}, \beta^{DY}))`: the speed of one with the convergence theory of the other.

    References
    ----------
    Dai, Yuan (2001), An efficient hybrid conjugate gradient method for unconstrained optimization, Ann. Oper. Res. 103.
    """
    change = gradient - gradient_prev
    curvature = dot(direction_prev, change)
    hs, dy = _ratio(dot(gradient, change), curvature), _ratio(dot(gradient, gradient), curvature)
    return math.nan if math.isnan(hs) or math.isnan(dy) else max(0.0, min(hs, dy))


def hager_zhang(gradient: Tensor, gradient_prev: Tensor, direction_prev: Tensor) -> float:
    r""":math:`(y - 2 d\, \|y\|^2 / d^\top y)^\top g / d^\top y`, at least :math:`0.4\, d^\top \bar g / \|d\|^2`.

    Gives a descent direction, :math:`g^\top d_{new} \le -\tfrac78 \|g\|^2`, whatever the line search, as long as the
    bound is not active. The bound (negative, since d was a descent direction) is the one of 2013, where
    :math:`\eta = 0.4`; that of 2005 compares with an absolute constant.

    References
    ----------
    Hager, Zhang (2005), A new conjugate gradient method with guaranteed descent and an efficient line search, SIAM J.
    Optim. 16(1), eq. 1.3. Hager, Zhang (2013), The limited memory conjugate gradient method, SIAM J. Optim. 23(4).
    """
    change = gradient - gradient_prev
    curvature = dot(direction_prev, change)
    correction = 2.0 * _ratio(dot(change, change), curvature) * dot(direction_prev, gradient)
    beta = _ratio(dot(change, gradient) - correction, curvature)
    return _at_least(0.4 * _ratio(dot(direction_prev, gradient_prev), dot(direction_prev, direction_prev)), beta)


def dai_kou(gradient: Tensor, gradient_prev: Tensor, direction_prev: Tensor) -> float:
    r""":math:`g^\top y / d^\top y - \|y\|^2 g^\top d / (d^\top y)^2`, at least :math:`0.5\, g^\top d / \|d\|^2`.

    The direction closest to the one of a scaled memoryless BFGS method, with the scaling
    :math:`\tau = s^\top y / \|s\|^2`.

    References
    ----------
    Dai, Kou (2013), A nonlinear conjugate gradient algorithm with an optimal property and an improved Wolfe line
    search, SIAM J. Optim. 23(1).
    """
    change = gradient - gradient_prev
    curvature = dot(direction_prev, change)
    slope = dot(direction_prev, gradient)
    beta = _ratio(dot(change, gradient) - _ratio(dot(change, change), curvature) * slope, curvature)
    return _at_least(0.5 * _ratio(slope, dot(direction_prev, direction_prev)), beta)


BETAS: Mapping[str, BetaFormula] = MappingProxyType(
    {
        "pr+": polak_ribiere_plus,
        "pr": polak_ribiere,
        "fr": fletcher_reeves,
        "hs": hestenes_stiefel,
        "dy": dai_yuan,
        "hs-dy": hestenes_stiefel_dai_yuan,
        "hz": hager_zhang,
        "dai-kou": dai_kou,
    }
)
"""Short names of the formulas, as ``ConjugateGradient(beta=...)`` takes them."""


def _ratio(numerator: float, denominator: float) -> float:
    """Divide as floating-point hardware does: Python raises where IEEE 754 returns NaN or infinity."""
    if denominator == 0.0:
        return math.nan if numerator == 0.0 or math.isnan(numerator) else math.copysign(math.inf, numerator)
    return numerator / denominator


def _at_least(bound: float, value: float) -> float:
    """``max`` that keeps NaN: Python's ``max(0.0, nan)`` is 0.0."""
    return math.nan if math.isnan(value) or math.isnan(bound) else max(bound, value)
