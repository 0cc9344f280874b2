"""Problems 6, 8 to 12 and 15 to 19: curves with a few parameters fitted to data, most of which no curve fits exactly.

Numbers, functions, data, start points and minima: Moré, Garbow, Hillstrom (1981), section 3. The paper prints minima
to six digits; the further ones are from Newton's method in float64.
"""

from __future__ import annotations

import torch
from torch import Tensor

from landscape.testing.more_garbow_hillstrom.standard_problem import StandardProblem, count, vector


def jennrich_sampson() -> StandardProblem:
    """Problem 6 with m = 10: at the minimum both exponentials are the same; overflows in long steps."""
    i = count(1, 10)

    def residuals(x: Tensor) -> Tensor:
        return 2.0 + 2.0 * i - torch.exp(i * x[0]) - torch.exp(i * x[1])

    return StandardProblem("Jennrich and Sampson", 6, residuals, vector(0.3, 0.4), (124.362182355615,))


def bard() -> StandardProblem:
    """Problem 8: a rational curve; the second value is reached where x2 and x3 go to minus infinity."""
    data = vector(0.14, 0.18, 0.22, 0.25, 0.29, 0.32, 0.35, 0.39, 0.37, 0.58, 0.73, 0.96, 1.34, 2.10, 4.39)
    u, v = count(1, 15), 16.0 - count(1, 15)
    w = torch.minimum(u, v)

    def residuals(x: Tensor) -> Tensor:
        return data - x[0] - u / (v * x[1] + w * x[2])

    return StandardProblem("Bard", 8, residuals, vector(1.0, 1.0, 1.0), (8.21487730657898e-3, 17.4286933333333))


def gaussian() -> StandardProblem:
    """Problem 9: a bell curve; the start is close, and the loss small all over."""
    half = (0.0009, 0.0044, 0.0175, 0.0540, 0.1295, 0.2420, 0.3521)
    data = vector(*half, 0.3989, *reversed(half))
    t = (8.0 - count(1, 15)) / 2.0

    def residuals(x: Tensor) -> Tensor:
        return x[0] * torch.exp(-x[1] * (t - x[2]) ** 2 / 2.0) - data

    return StandardProblem("Gaussian", 9, residuals, vector(0.4, 1.0, 0.0), (1.12793276961873e-8,))


def meyer() -> StandardProblem:
    """Problem 10: the resistance of a thermistor; the condition number is about 1e14."""
    data = vector(
        *(34780.0, 28610.0, 23650.0, 19630.0, 16370.0, 13720.0, 11540.0, 9744.0),
        *(8261.0, 7030.0, 6005.0, 5147.0, 4427.0, 3820.0, 3307.0, 2872.0),
    )
    t = 45.0 + 5.0 * count(1, 16)

    def residuals(x: Tensor) -> Tensor:
        return x[0] * torch.exp(x[1] / (t + x[2])) - data

    return StandardProblem("Meyer", 10, residuals, vector(0.02, 4000.0, 250.0), (87.9458551706737,))


def gulf() -> StandardProblem:
    """Problem 11 with m = 99, Gulf research and development: a Weibull curve, very flat around the start.

    The paper's formula has a misprint; this is that of its program (ACM Algorithm 566).
    """
    t = count(1, 99) / 100.0
    y = 25.0 + (-50.0 * torch.log(t)) ** (2.0 / 3.0)

    def residuals(x: Tensor) -> Tensor:
        return torch.exp(-((y - x[1]).abs() ** x[2]) / x[0]) - t

    return StandardProblem("Gulf", 11, residuals, vector(5.0, 2.5, 0.15), (0.0,), ((50.0, 25.0, 1.5),))


def box() -> StandardProblem:
    """Problem 12 with m = 10: a difference of exponentials; also solved wherever x1 = x2 and x3 = 0."""
    t = 0.1 * count(1, 10)

    def residuals(x: Tensor) -> Tensor:
        return torch.exp(-t * x[0]) - torch.exp(-t * x[1]) - x[2] * (torch.exp(-t) - torch.exp(-10.0 * t))

    minimisers = ((1.0, 10.0, 1.0), (10.0, 1.0, -1.0), (2.0, 2.0, 0.0))
    return StandardProblem("Box three-dimensional", 12, residuals, vector(0.0, 10.0, 20.0), (0.0,), minimisers)


def kowalik_osborne() -> StandardProblem:
    """Problem 15: a rational curve; the second value is a limit towards infinity."""
    data = vector(0.1957, 0.1947, 0.1735, 0.1600, 0.0844, 0.0627, 0.0456, 0.0342, 0.0323, 0.0235, 0.0246)
    u = vector(4.0, 2.0, 1.0, 0.5, 0.25, 0.167, 0.125, 0.1, 0.0833, 0.0714, 0.0625)

    def residuals(x: Tensor) -> Tensor:
        return data - x[0] * (u**2 + u * x[1]) / (u**2 + u * x[2] + x[3])

    start = vector(0.25, 0.39, 0.415, 0.39)
    return StandardProblem("Kowalik and Osborne", 15, residuals, start, (3.07505603849237e-4, 1.0273430486955e-3))


def brown_dennis() -> StandardProblem:
    """Problem 16 with m = 20: large residuals at the minimum."""
    t = count(1, 20) / 5.0

    def residuals(x: Tensor) -> Tensor:
        return (x[0] + t * x[1] - torch.exp(t)) ** 2 + (x[2] + x[3] * torch.sin(t) - torch.cos(t)) ** 2

    return StandardProblem("Brown and Dennis", 16, residuals, vector(25.0, 5.0, -5.0, -1.0), (85822.2016263563,))


def osborne_1() -> StandardProblem:
    """Problem 17: a constant and two exponentials."""
    data = vector(
        *(0.844, 0.908, 0.932, 0.936, 0.925, 0.908, 0.881, 0.850, 0.818, 0.784, 0.751),
        *(0.718, 0.685, 0.658, 0.628, 0.603, 0.580, 0.558, 0.538, 0.522, 0.506, 0.490),
        *(0.478, 0.467, 0.457, 0.448, 0.438, 0.431, 0.424, 0.420, 0.414, 0.411, 0.406),
    )
    t = 10.0 * (count(1, 33) - 1.0)

    def residuals(x: Tensor) -> Tensor:
        return data - (x[0] + x[1] * torch.exp(-t * x[3]) + x[2] * torch.exp(-t * x[4]))

    return StandardProblem("Osborne 1", 17, residuals, vector(0.5, 1.5, -1.0, 0.01, 0.02), (5.4648946974825e-5,))


def biggs_exp6() -> StandardProblem:
    """Problem 18 with m = 13: three exponentials, two of which start as the same.

    The second value is the lowest with x1 = x5 and x3 = x6. The start has that symmetry, which no gradient breaks, so
    that all but rounding leads there; the paper lists it as a minimum, though the Hessian is indefinite there.
    """
    t = 0.1 * count(1, 13)
    data = torch.exp(-t) - 5.0 * torch.exp(-10.0 * t) + 3.0 * torch.exp(-4.0 * t)

    def residuals(x: Tensor) -> Tensor:
        a, b, c = (torch.exp(-t * x[k]) for k in (0, 1, 4))
        return x[2] * a - x[3] * b + x[5] * c - data

    minimisers = ((1.0, 10.0, 1.0, 5.0, 4.0, 3.0),)
    return StandardProblem(
        "Biggs EXP6", 18, residuals, vector(1.0, 2.0, 1.0, 1.0, 1.0, 1.0), (0.0, 5.65564992551139e-3), minimisers
    )


def osborne_2() -> StandardProblem:
    """Problem 19: an exponential and three bell curves."""
    data = vector(
        *(1.366, 1.191, 1.112, 1.013, 0.991, 0.885, 0.831, 0.847, 0.786, 0.725, 0.746, 0.679, 0.608),
        *(0.655, 0.616, 0.606, 0.602, 0.626, 0.651, 0.724, 0.649, 0.649, 0.694, 0.644, 0.624, 0.661),
        *(0.612, 0.558, 0.533, 0.495, 0.500, 0.423, 0.395, 0.375, 0.372, 0.391, 0.396, 0.405, 0.428),
        *(0.429, 0.523, 0.562, 0.607, 0.653, 0.672, 0.708, 0.633, 0.668, 0.645, 0.632, 0.591, 0.559),
        *(0.597, 0.625, 0.739, 0.710, 0.729, 0.720, 0.636, 0.581, 0.428, 0.292, 0.162, 0.098, 0.054),
    )
    t = (count(1, 65) - 1.0) / 10.0

    def residuals(x: Tensor) -> Tensor:
        bells = torch.exp(-((t[:, None] - x[8:11]) ** 2) * x[5:8]) @ x[1:4]
        return data - (x[0] * torch.exp(-t * x[4]) + bells)

    start = vector(1.3, 0.65, 0.65, 0.7, 0.6, 3.0, 5.0, 7.0, 2.0, 4.5, 5.5)
    return StandardProblem("Osborne 2", 19, residuals, start, (4.01377362935478e-2,))
