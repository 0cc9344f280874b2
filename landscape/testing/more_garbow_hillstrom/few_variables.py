"""Problems 1 to 5, 7, 13 and 14: two to four variables, each hard in a way of its own (curved valleys, bad scaling, ...).

Numbers, functions, start points and minima: Moré, Garbow, Hillstrom (1981), section 3.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from landscape.testing.more_garbow_hillstrom.standard_problem import StandardProblem, vector


def rosenbrock() -> StandardProblem:
    """Problem 1: a curved valley."""

    def residuals(x: Tensor) -> Tensor:
        a, b = x.unbind()
        return torch.stack([10.0 * (b - a**2), 1.0 - a])

    return StandardProblem("Rosenbrock", 1, residuals, vector(-1.2, 1.0), (0.0,), ((1.0, 1.0),))


def freudenstein_roth() -> StandardProblem:
    """Problem 2: a second local minimum, where most descents from the start end."""

    def residuals(x: Tensor) -> Tensor:
        a, b = x.unbind()
        return torch.stack([a - 13.0 + ((5.0 - b) * b - 2.0) * b, a - 29.0 + ((b + 1.0) * b - 14.0) * b])

    return StandardProblem(
        "Freudenstein and Roth", 2, residuals, vector(0.5, -2.0), (0.0, 48.98425367924), ((5.0, 4.0),)
    )


def powell_badly_scaled() -> StandardProblem:
    """Problem 3: the minimiser is about (1.098e-5, 9.106), on a hyperbola that has to be followed."""

    def residuals(x: Tensor) -> Tensor:
        a, b = x.unbind()
        return torch.stack([1e4 * a * b - 1.0, torch.exp(-a) + torch.exp(-b) - 1.0001])

    return StandardProblem("Powell badly scaled", 3, residuals, vector(0.0, 1.0), (0.0,))


def brown_badly_scaled() -> StandardProblem:
    """Problem 4: the variables differ by a factor of 5e11 at the minimum."""

    def residuals(x: Tensor) -> Tensor:
        a, b = x.unbind()
        return torch.stack([a - 1e6, b - 2e-6, a * b - 2.0])

    return StandardProblem("Brown badly scaled", 4, residuals, vector(1.0, 1.0), (0.0,), ((1e6, 2e-6),))


def beale() -> StandardProblem:
    """Problem 5."""
    targets = vector(1.5, 2.25, 2.625)

    def residuals(x: Tensor) -> Tensor:
        a, b = x.unbind()
        return targets - a * (1.0 - torch.stack([b, b**2, b**3]))

    return StandardProblem("Beale", 5, residuals, vector(1.0, 1.0), (0.0,), ((3.0, 0.5),))


def helical_valley() -> StandardProblem:
    """Problem 7: a valley that winds around an axis; the angle jumps where the first variable is 0 and the second negative."""

    def residuals(x: Tensor) -> Tensor:
        a, b, c = x.unbind()
        # The paper's arctan(b / a) / 2 pi, plus 1/2 where a < 0, in one formula that is smooth at a = 0 < b.
        turns = 0.25 + torch.atan2(-a, b) / (2.0 * math.pi)
        return torch.stack([10.0 * (c - 10.0 * turns), 10.0 * (torch.hypot(a, b) - 1.0), c])

    return StandardProblem("Helical valley", 7, residuals, vector(-1.0, 0.0, 0.0), (0.0,), ((1.0, 0.0, 0.0),))


def powell_singular() -> StandardProblem:
    """Problem 13: the Hessian at the minimum has rank 2."""

    def residuals(x: Tensor) -> Tensor:
        a, b, c, d = x.unbind()
        return torch.stack([a + 10.0 * b, math.sqrt(5.0) * (c - d), (b - 2.0 * c) ** 2, math.sqrt(10.0) * (a - d) ** 2])

    return StandardProblem(
        "Powell singular", 13, residuals, vector(3.0, -1.0, 0.0, 1.0), (0.0,), ((0.0, 0.0, 0.0, 0.0),)
    )


def wood() -> StandardProblem:
    """Problem 14: two coupled valleys, with a saddle on the way where descents linger."""

    def residuals(x: Tensor) -> Tensor:
        a, b, c, d = x.unbind()
        valleys = [10.0 * (b - a**2), 1.0 - a, math.sqrt(90.0) * (d - c**2), 1.0 - c]
        return torch.stack([*valleys, math.sqrt(10.0) * (b + d - 2.0), (b - d) / math.sqrt(10.0)])

    return StandardProblem("Wood", 14, residuals, vector(-3.0, -1.0, -3.0, -1.0), (0.0,), ((1.0, 1.0, 1.0, 1.0),))
