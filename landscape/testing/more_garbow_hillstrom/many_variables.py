"""Problems 20 to 35: defined for any number of variables n.

Numbers, functions, start points and minima: Moré, Garbow, Hillstrom (1981), section 3. The paper prints minima to six
digits; the further ones are from Newton's method in float64. Where a minimum depends on n, it is known for a few n only:
those of the paper and, for the two penalty functions, 100.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from landscape.testing.more_garbow_hillstrom.standard_problem import (
    StandardProblem,
    check_size,
    count,
    repeated,
    vector,
)


def watson(n: int = 6) -> StandardProblem:
    """Problem 20, n from 2 to 31: a polynomial that solves a differential equation; worse conditioned with every n."""
    check_size(n, 2, 31)
    powers = (count(1, 29) / 29.0)[:, None] ** count(0, n - 1)

    def residuals(x: Tensor) -> Tensor:
        slopes = powers[:, :-1] @ (count(1, n - 1) * x[1:])
        return torch.cat([slopes - (powers @ x) ** 2 - 1.0, x[:1], x[1:2] - x[:1] ** 2 - 1.0])

    known = {6: 2.28767005355237e-3, 9: 1.39976013809e-6, 12: 4.7223811049e-10}
    return StandardProblem("Watson", 20, residuals, torch.zeros(n).double(), _minima(known, n))


def extended_rosenbrock(n: int = 10) -> StandardProblem:
    """Problem 21, n even: n / 2 copies of Rosenbrock's function."""

    def residuals(x: Tensor) -> Tensor:
        odd, even = x[0::2], x[1::2]
        return torch.cat([10.0 * (even - odd**2), 1.0 - odd])

    return StandardProblem("Extended Rosenbrock", 21, residuals, repeated((-1.2, 1.0), n), (0.0,), (_constant(1.0, n),))


def extended_powell_singular(n: int = 12) -> StandardProblem:
    """Problem 22, n a multiple of 4: n / 4 copies of Powell's singular function."""

    def residuals(x: Tensor) -> Tensor:
        a, b, c, d = x.view(-1, 4).unbind(1)
        lines = [a + 10.0 * b, math.sqrt(5.0) * (c - d)]
        return torch.cat([*lines, (b - 2.0 * c) ** 2, math.sqrt(10.0) * (a - d) ** 2])

    start = repeated((3.0, -1.0, 0.0, 1.0), n)
    return StandardProblem("Extended Powell singular", 22, residuals, start, (0.0,), (_constant(0.0, n),))


def penalty_1(n: int = 10) -> StandardProblem:
    """Problem 23: close to a sphere by a penalty 1e5 times as strong as the pull along it."""
    check_size(n, 1)

    def residuals(x: Tensor) -> Tensor:
        return torch.cat([math.sqrt(1e-5) * (x - 1.0), x.square().sum()[None] - 0.25])

    known = {4: 2.24997750089994e-5, 10: 7.08765146709037e-5, 100: 9.02490976804297e-4}
    return StandardProblem("Penalty I", 23, residuals, count(1, n), _minima(known, n))


def penalty_2(n: int = 10) -> StandardProblem:
    """Problem 24: the same with a weighted sphere and exponentials; very flat along it."""
    check_size(n, 2)
    root = math.sqrt(1e-5)
    data = torch.exp(count(2, n) / 10.0) + torch.exp(count(1, n - 1) / 10.0)
    weights = count(1, n).flip(0)

    def residuals(x: Tensor) -> Tensor:
        grown = torch.exp(x / 10.0)
        pairs, singles = grown[1:] + grown[:-1] - data, grown[1:] - math.exp(-0.1)
        return torch.cat([x[:1] - 0.2, root * pairs, root * singles, (weights @ x**2)[None] - 1.0])

    known = {4: 9.37629300735544e-6, 10: 2.93660537456746e-4, 100: 97096.083954688}
    return StandardProblem("Penalty II", 24, residuals, torch.full((n,), 0.5).double(), _minima(known, n))


def variably_dimensioned(n: int = 10) -> StandardProblem:
    """Problem 25: one direction is quartic and starts very high, all others are the identity's."""
    check_size(n, 1)
    j = count(1, n)

    def residuals(x: Tensor) -> Tensor:
        total = (j @ (x - 1.0))[None]
        return torch.cat([x - 1.0, total, total**2])

    return StandardProblem("Variably dimensioned", 25, residuals, 1.0 - j / n, (0.0,), (_constant(1.0, n),))


def trigonometric(n: int = 10) -> StandardProblem:
    """Problem 26: many minima; most descents from the start with n = 10 end in the second.

    That value is not in the paper; it is widely known.
    """
    check_size(n, 1)
    i = count(1, n)

    def residuals(x: Tensor) -> Tensor:
        return n - torch.cos(x).sum() + i * (1.0 - torch.cos(x)) - torch.sin(x)

    minima = (0.0, 2.79505612187815e-5) if n == 10 else (0.0,)
    start = torch.full((n,), 1.0 / n).double()
    return StandardProblem("Trigonometric", 26, residuals, start, minima, (_constant(0.0, n),))


def brown_almost_linear(n: int = 10) -> StandardProblem:
    """Problem 27: linear but for one product of all variables; a second minimum of value 1."""
    check_size(n, 2)

    def residuals(x: Tensor) -> Tensor:
        return torch.cat([x[:-1] + x.sum() - (n + 1.0), x.prod()[None] - 1.0])

    start = torch.full((n,), 0.5).double()
    return StandardProblem("Brown almost-linear", 27, residuals, start, (0.0, 1.0), (_constant(1.0, n),))


def discrete_boundary_value(n: int = 10) -> StandardProblem:
    """Problem 28: finite differences of a boundary value problem; the condition number grows as the fourth power of n."""
    check_size(n, 1)
    h = 1.0 / (n + 1.0)
    t = h * count(1, n)

    def residuals(x: Tensor) -> Tensor:
        return 2.0 * x - _shifted(x, -1) - _shifted(x, 1) + h**2 * (x + t + 1.0) ** 3 / 2.0

    return StandardProblem("Discrete boundary value", 28, residuals, t * (t - 1.0), (0.0,))


def discrete_integral_equation(n: int = 10) -> StandardProblem:
    """Problem 29: the same differential equation as an integral equation, well conditioned."""
    check_size(n, 1)
    h = 1.0 / (n + 1.0)
    t = h * count(1, n)
    # Green's function of the second derivative: t_j (1 - t_i) where j <= i, t_i (1 - t_j) beyond.
    green = torch.minimum(t[:, None], t) * (1.0 - torch.maximum(t[:, None], t))

    def residuals(x: Tensor) -> Tensor:
        return x + h / 2.0 * (green @ (x + t + 1.0) ** 3)

    return StandardProblem("Discrete integral equation", 29, residuals, t * (t - 1.0), (0.0,))


def broyden_tridiagonal(n: int = 10) -> StandardProblem:
    """Problem 30: every equation has three neighbouring variables."""
    check_size(n, 1)

    def residuals(x: Tensor) -> Tensor:
        return (3.0 - 2.0 * x) * x - _shifted(x, -1) - 2.0 * _shifted(x, 1) + 1.0

    return StandardProblem("Broyden tridiagonal", 30, residuals, -torch.ones(n).double(), (0.0,))


def broyden_banded(n: int = 10) -> StandardProblem:
    """Problem 31: every equation has up to seven neighbouring variables."""
    check_size(n, 1)

    def residuals(x: Tensor) -> Tensor:
        terms = x * (1.0 + x)
        neighbours = sum(_shifted(terms, offset) for offset in (-5, -4, -3, -2, -1, 1))
        return x * (2.0 + 5.0 * x**2) + 1.0 - neighbours

    return StandardProblem("Broyden banded", 31, residuals, -torch.ones(n).double(), (0.0,))


def linear_full_rank(n: int = 10, m: int = 20) -> StandardProblem:
    """Problem 32 with m residuals: a quadratic with a single eigenvalue."""
    _check_residuals(n, m)

    def residuals(x: Tensor) -> Tensor:
        return torch.cat([x, torch.zeros(m - n).double()]) - 2.0 / m * x.sum() - 1.0

    return StandardProblem(
        "Linear, full rank", 32, residuals, torch.ones(n).double(), (float(m - n),), (_constant(-1.0, n),)
    )


def linear_rank_1(n: int = 10, m: int = 20) -> StandardProblem:
    """Problem 33 with m residuals: a quadratic with a single direction, and a minimum that is not 0."""
    _check_residuals(n, m)
    i, j = count(1, m), count(1, n)

    def residuals(x: Tensor) -> Tensor:
        return i * (j @ x) - 1.0

    minimum = m * (m - 1.0) / (2.0 * (2.0 * m + 1.0))
    return StandardProblem("Linear, rank 1", 33, residuals, torch.ones(n).double(), (minimum,))


def linear_rank_1_zeros(n: int = 10, m: int = 20) -> StandardProblem:
    """Problem 34 with m residuals: the same where the first and last variable and residual have no part in it."""
    _check_residuals(n, m, lowest=3)
    inner, j = torch.cat([vector(0.0), count(1, m - 2), vector(0.0)]), count(2, n - 1)

    def residuals(x: Tensor) -> Tensor:
        return inner * (j @ x[1:-1]) - 1.0

    minimum = (m**2 + 3.0 * m - 6.0) / (2.0 * (2.0 * m - 3.0))
    return StandardProblem("Linear, rank 1 with zeros", 34, residuals, torch.ones(n).double(), (minimum,))


def chebyquad(n: int = 8) -> StandardProblem:
    """Problem 35 with m = n: the abscissas of Chebyshev's quadrature, which do not exist for n = 8 and n > 9.

    The lower value of n = 10 is not in the paper; it is widely known.
    """
    check_size(n, 1)
    i = count(1, n)
    integrals = torch.where(i % 2 == 0, -1.0 / (i**2 - 1.0), torch.zeros_like(i))

    def residuals(x: Tensor) -> Tensor:
        last, polynomial = torch.ones_like(x), 2.0 * x - 1.0
        means = [polynomial.mean()]
        for _ in range(n - 1):
            last, polynomial = polynomial, 2.0 * (2.0 * x - 1.0) * polynomial - last
            means.append(polynomial.mean())
        return torch.stack(means) - integrals

    known = {8: (3.51687372567792e-3,), 10: (4.772713696375e-3, 6.50395480088231e-3)}
    minima = (0.0,) if n <= 7 or n == 9 else known.get(n, ())
    return StandardProblem("Chebyquad", 35, residuals, i / (n + 1.0), minima)


def _constant(value: float, n: int) -> tuple[float, ...]:
    return (value,) * n


def _minima(known: dict[int, float], n: int) -> tuple[float, ...]:
    return (known[n],) if n in known else ()


def _shifted(x: Tensor, offset: int) -> Tensor:
    """Entry i + offset in place i, 0 where there is none."""
    if abs(offset) >= x.numel():
        return torch.zeros_like(x)
    gap = torch.zeros(abs(offset), dtype=x.dtype)
    return torch.cat([x[offset:], gap]) if offset > 0 else torch.cat([gap, x[:offset]])


def _check_residuals(n: int, m: int, lowest: int = 1) -> None:
    check_size(n, lowest)
    if m < n:
        raise ValueError(f"n={n} and m={m} were given; this problem needs at least as many residuals m as variables n.")
