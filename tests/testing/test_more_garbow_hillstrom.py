"""The standard problems are the published ones: written a second time in plain Python, and solved by SciPy."""

from __future__ import annotations

import math
from math import cos, exp, sin, sqrt

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import landscape.testing.more_garbow_hillstrom as mgh
from landscape.testing.more_garbow_hillstrom import STANDARD_PROBLEMS, StandardProblem

NAMES = list(STANDARD_PROBLEMS)
EPS = float(np.finfo(np.float64).eps)

# The loss at the start, entry by entry as the paper prints the residuals, indices from 1: x[0] is not used.
BARD = [0.14, 0.18, 0.22, 0.25, 0.29, 0.32, 0.35, 0.39, 0.37, 0.58, 0.73, 0.96, 1.34, 2.10, 4.39]
GAUSSIAN = [0.0009, 0.0044, 0.0175, 0.0540, 0.1295, 0.2420, 0.3521, 0.3989]
MEYER = [34780, 28610, 23650, 19630, 16370, 13720, 11540, 9744, 8261, 7030, 6005, 5147, 4427, 3820, 3307, 2872]
KOWALIK_Y = [0.1957, 0.1947, 0.1735, 0.1600, 0.0844, 0.0627, 0.0456, 0.0342, 0.0323, 0.0235, 0.0246]
KOWALIK_U = [4.0, 2.0, 1.0, 0.5, 0.25, 0.167, 0.125, 0.1, 0.0833, 0.0714, 0.0625]


def _rosenbrock(x):
    return sum(100 * (x[i + 1] - x[i] ** 2) ** 2 + (1 - x[i]) ** 2 for i in range(1, len(x), 2))


def _freudenstein_roth(x):
    first = -13 + x[1] + ((5 - x[2]) * x[2] - 2) * x[2]
    return first**2 + (-29 + x[1] + ((x[2] + 1) * x[2] - 14) * x[2]) ** 2


def _powell_badly_scaled(x):
    return (1e4 * x[1] * x[2] - 1) ** 2 + (exp(-x[1]) + exp(-x[2]) - 1.0001) ** 2


def _brown_badly_scaled(x):
    return (x[1] - 1e6) ** 2 + (x[2] - 2e-6) ** 2 + (x[1] * x[2] - 2) ** 2


def _beale(x):
    return sum((y - x[1] * (1 - x[2] ** i)) ** 2 for i, y in enumerate((1.5, 2.25, 2.625), start=1))


def _jennrich_sampson(x):
    return sum((2 + 2 * i - exp(i * x[1]) - exp(i * x[2])) ** 2 for i in range(1, 11))


def _helical_valley(x):
    theta = math.atan(x[2] / x[1]) / (2 * math.pi) + (0.5 if x[1] < 0 else 0.0)
    return 100 * ((x[3] - 10 * theta) ** 2 + (sqrt(x[1] ** 2 + x[2] ** 2) - 1) ** 2) + x[3] ** 2


def _bard(x):
    return sum((y - (x[1] + u / ((16 - u) * x[2] + min(u, 16 - u) * x[3]))) ** 2 for u, y in enumerate(BARD, start=1))


def _gaussian(x):
    return sum(
        (x[1] * exp(-x[2] * ((8 - i) / 2 - x[3]) ** 2 / 2) - GAUSSIAN[min(i, 16 - i) - 1]) ** 2 for i in range(1, 16)
    )


def _meyer(x):
    return sum((x[1] * exp(x[2] / (45 + 5 * i + x[3])) - y) ** 2 for i, y in enumerate(MEYER, start=1))


def _gulf(x):
    y = [25 + (-50 * math.log(i / 100)) ** (2 / 3) for i in range(1, 100)]
    return sum((exp(-(abs(y[i - 1] - x[2]) ** x[3]) / x[1]) - i / 100) ** 2 for i in range(1, 100))


def _box(x):
    return sum((exp(-i * x[1] / 10) - exp(-i * x[2] / 10) - x[3] * (exp(-i / 10) - exp(-i))) ** 2 for i in range(1, 11))


def _powell_singular(x):
    return sum(
        (a + 10 * b) ** 2 + 5 * (c - d) ** 2 + (b - 2 * c) ** 4 + 10 * (a - d) ** 4
        for a, b, c, d in zip(x[1::4], x[2::4], x[3::4], x[4::4], strict=True)
    )


def _wood(x):
    valleys = 100 * (x[2] - x[1] ** 2) ** 2 + (1 - x[1]) ** 2 + 90 * (x[4] - x[3] ** 2) ** 2 + (1 - x[3]) ** 2
    return valleys + 10 * (x[2] + x[4] - 2) ** 2 + 0.1 * (x[2] - x[4]) ** 2


def _kowalik_osborne(x):
    data = zip(KOWALIK_Y, KOWALIK_U, strict=True)
    return sum((y - x[1] * (u**2 + u * x[2]) / (u**2 + u * x[3] + x[4])) ** 2 for y, u in data)


def _brown_dennis(x):
    first = [(x[1] + i / 5 * x[2] - exp(i / 5)) ** 2 for i in range(1, 21)]
    second = [(x[3] + x[4] * sin(i / 5) - cos(i / 5)) ** 2 for i in range(1, 21)]
    return sum((a + b) ** 2 for a, b in zip(first, second, strict=True))


def _biggs_exp6(x):
    def residual(t):
        data = exp(-t) - 5 * exp(-10 * t) + 3 * exp(-4 * t)
        return x[3] * exp(-t * x[1]) - x[4] * exp(-t * x[2]) + x[6] * exp(-t * x[5]) - data

    return sum(residual(i / 10) ** 2 for i in range(1, 14))


def _watson(x):
    n = len(x) - 1

    def residual(t):
        slope = sum((j - 1) * x[j] * t ** (j - 2) for j in range(2, n + 1))
        return slope - sum(x[j] * t ** (j - 1) for j in range(1, n + 1)) ** 2 - 1

    return sum(residual(i / 29) ** 2 for i in range(1, 30)) + x[1] ** 2 + (x[2] - x[1] ** 2 - 1) ** 2


def _penalty_1(x):
    return 1e-5 * sum((xi - 1) ** 2 for xi in x[1:]) + (sum(xi**2 for xi in x[1:]) - 0.25) ** 2


def _penalty_2(x):
    n = len(x) - 1
    loss = (x[1] - 0.2) ** 2 + (sum((n - j + 1) * x[j] ** 2 for j in range(1, n + 1)) - 1) ** 2
    for i in range(2, n + 1):
        loss += 1e-5 * (exp(x[i] / 10) + exp(x[i - 1] / 10) - exp(i / 10) - exp((i - 1) / 10)) ** 2
    for i in range(n + 1, 2 * n):
        loss += 1e-5 * (exp(x[i - n + 1] / 10) - exp(-1 / 10)) ** 2
    return loss


def _variably_dimensioned(x):
    total = sum(j * (x[j] - 1) for j in range(1, len(x)))
    return sum((xi - 1) ** 2 for xi in x[1:]) + total**2 + total**4


def _trigonometric(x):
    n = len(x) - 1
    cosines = sum(cos(xj) for xj in x[1:])
    return sum((n - cosines + i * (1 - cos(x[i])) - sin(x[i])) ** 2 for i in range(1, n + 1))


def _brown_almost_linear(x):
    n = len(x) - 1
    return sum((x[i] + sum(x[1:]) - (n + 1)) ** 2 for i in range(1, n)) + (math.prod(x[1:]) - 1) ** 2


def _discrete_boundary_value(x):
    n = len(x) - 1
    h, padded = 1 / (n + 1), [*x, 0.0]
    padded[0] = 0.0
    terms = ((x[i] + i * h + 1) ** 3 for i in range(1, n + 1))
    return sum(
        (2 * x[i] - padded[i - 1] - padded[i + 1] + h**2 * term / 2) ** 2 for i, term in enumerate(terms, start=1)
    )


def _discrete_integral_equation(x):
    n = len(x) - 1
    h = 1 / (n + 1)

    def residual(i):
        before = sum(j * h * (x[j] + j * h + 1) ** 3 for j in range(1, i + 1))
        after = sum((1 - j * h) * (x[j] + j * h + 1) ** 3 for j in range(i + 1, n + 1))
        return x[i] + h * ((1 - i * h) * before + i * h * after) / 2

    return sum(residual(i) ** 2 for i in range(1, n + 1))


def _broyden_tridiagonal(x):
    padded = [0.0, *x[1:], 0.0]
    return sum(((3 - 2 * x[i]) * x[i] - padded[i - 1] - 2 * padded[i + 1] + 1) ** 2 for i in range(1, len(padded) - 1))


def _broyden_banded(x):
    n = len(x) - 1

    def residual(i):
        near = [j for j in range(max(1, i - 5), min(n, i + 1) + 1) if j != i]
        return x[i] * (2 + 5 * x[i] ** 2) + 1 - sum(x[j] * (1 + x[j]) for j in near)

    return sum(residual(i) ** 2 for i in range(1, n + 1))


def _linear_full_rank(x, m=20):
    n, total = len(x) - 1, sum(x[1:])
    return sum((x[i] - 2 / m * total - 1) ** 2 for i in range(1, n + 1)) + (m - n) * (2 / m * total + 1) ** 2


def _linear_rank_1(x, m=20):
    return sum((i * sum(j * x[j] for j in range(1, len(x))) - 1) ** 2 for i in range(1, m + 1))


def _linear_rank_1_zeros(x, m=20):
    inner = sum(j * x[j] for j in range(2, len(x) - 1))
    return 2.0 + sum(((i - 1) * inner - 1) ** 2 for i in range(2, m))


def _chebyquad(x):
    n = len(x) - 1

    def residual(i):
        integral = 0.0 if i % 2 else -1 / (i**2 - 1)
        return sum(_chebyshev(i, 2 * xj - 1) for xj in x[1:]) / n - integral

    return sum(residual(i) ** 2 for i in range(1, n + 1))


def _chebyshev(i, z):
    """Its definition, T_i(cos a) = cos(i a), continued beyond [-1, 1] by the hyperbolic cosine."""
    if abs(z) <= 1:
        return cos(i * math.acos(z))
    return (math.copysign(1.0, z)) ** i * math.cosh(i * math.acosh(abs(z)))


WRITTEN_AGAIN = {
    **{name: globals()[f"_{name}"] for name in NAMES if f"_{name}" in globals()},
    "extended_rosenbrock": _rosenbrock,
    "extended_powell_singular": _powell_singular,
}
# Osborne's two functions have long tables of data; that the minimum is the published one shows that they are right.
assert set(NAMES) - set(WRITTEN_AGAIN) == {"osborne_1", "osborne_2"}

# Minima with all the digits that the paper prints; two are by its formulas, that of the trigonometric function is not in it.
PUBLISHED = {
    "freudenstein_roth": 48.9842,
    "jennrich_sampson": 124.362,
    "bard": 8.21487e-3,
    "gaussian": 1.12793e-8,
    "meyer": 87.9458,
    "kowalik_osborne": 3.07505e-4,
    "brown_dennis": 85822.2,
    "osborne_1": 5.46489e-5,
    "osborne_2": 4.01377e-2,
    "watson": 2.28767e-3,
    "penalty_1": 7.08765e-5,
    "penalty_2": 2.93660e-4,
    "trigonometric": 2.79506e-5,
    "linear_full_rank": 10.0,
    "linear_rank_1": 20 * 19 / (2 * 41),
    "linear_rank_1_zeros": (400 + 60 - 6) / (2 * 37),
    "chebyquad": 3.51687e-3,
}


def least_squares(problem: StandardProblem, start: np.ndarray | None = None) -> float:
    """Where SciPy's Levenberg-Marquardt ends."""
    from scipy.optimize import least_squares

    def jacobian(x: np.ndarray) -> np.ndarray:
        point = torch.from_numpy(x).requires_grad_()
        residuals = problem.residuals(point)
        unit_vectors = torch.eye(len(residuals), dtype=torch.float64)
        return torch.autograd.grad(residuals, point, unit_vectors, is_grads_batched=True)[0].numpy()

    done = least_squares(
        lambda x: problem.residuals(torch.from_numpy(x)).numpy(),
        problem.start.numpy() if start is None else start,
        jacobian,
        method="lm",
        **dict.fromkeys(("xtol", "ftol", "gtol"), 1e-15),
        max_nfev=1000,
    )
    return 2.0 * done.cost


def test_all_35_are_there_in_the_papers_order():
    assert [make().number for make in STANDARD_PROBLEMS.values()] == list(range(1, 36))
    assert len({make().name for make in STANDARD_PROBLEMS.values()}) == 35


@pytest.mark.parametrize("name", NAMES)
def test_a_problem_is_float64_and_its_closure_gives_loss_and_gradient(name):
    problem = STANDARD_PROBLEMS[name]()
    params = problem.params()
    loss = problem.closure(params)()
    assert loss.dtype == params.grad.dtype == torch.float64 and loss.shape == ()
    assert params.shape == (problem.num_params,) and torch.isfinite(params.grad).all()
    with torch.no_grad():
        assert problem.closure(params)() == loss and params.grad is None
        params += 1.0
    assert not torch.equal(params, problem.start)  # the start itself was not written to
    assert list(problem.minima) == sorted(problem.minima) and problem.minima


@pytest.mark.parametrize("name", WRITTEN_AGAIN)
def test_the_function_is_the_one_written_again_in_plain_python(name):
    problem = STANDARD_PROBLEMS[name]()
    generator = torch.Generator().manual_seed(1)
    for _ in range(3):
        x = problem.start + 0.01 * torch.randn(problem.num_params, generator=generator, dtype=torch.float64)
        expected = WRITTEN_AGAIN[name]([math.nan, *x.tolist()])
        assert problem.function(x).item() == pytest.approx(expected, rel=1e-9)
    assert problem.function(problem.start).item() == pytest.approx(
        WRITTEN_AGAIN[name]([math.nan, *problem.start.tolist()]), rel=1e-9
    )


# Losses at the start that follow by hand.
@pytest.mark.parametrize(
    ("name", "loss"),
    [
        ("rosenbrock", 24.2),
        ("freudenstein_roth", 400.5),
        ("brown_badly_scaled", (1e6 - 1) ** 2 + (1 - 2e-6) ** 2 + 1),
        ("beale", 1.5**2 + 2.25**2 + 2.625**2),
        ("helical_valley", 2500.0),
        ("powell_singular", 7**2 + 5 + 1 + 10 * 2**4),
        ("wood", 19192.0),
        ("watson", 30.0),
        ("extended_rosenbrock", 5 * 24.2),
        ("extended_powell_singular", 3 * 215.0),
        ("broyden_tridiagonal", 8 * 1.0 + 2**2 + 3**2),
        ("broyden_banded", 10 * 36.0),
        ("linear_full_rank", 10 * 1.0 + 10 * 2.0**2),
    ],
)
def test_the_loss_at_the_start_is_as_computed_by_hand(name, loss):
    problem = STANDARD_PROBLEMS[name]()
    assert problem.function(problem.start).item() == pytest.approx(loss, rel=1e-14)


@pytest.mark.parametrize("name", [name for name in NAMES if STANDARD_PROBLEMS[name]().minimisers])
def test_a_minimiser_in_closed_form_has_the_lowest_value_and_no_gradient(name):
    problem = STANDARD_PROBLEMS[name]()
    for minimiser in problem.minimisers:
        x = torch.tensor(minimiser, dtype=torch.float64, requires_grad=True)
        loss = problem.closure(x)()
        assert loss.item() == pytest.approx(problem.minima[0], abs=1e-25, rel=1e-14)
        assert x.grad.abs().max() < 1e-12


@pytest.mark.parametrize("name", NAMES)
def test_least_squares_ends_at_a_known_minimum(name):
    problem = STANDARD_PROBLEMS[name]()
    found = least_squares(problem)
    assert any(found == pytest.approx(minimum, rel=1e-9, abs=1e-24) for minimum in problem.minima)


@pytest.mark.parametrize("name", PUBLISHED)
def test_a_minimum_is_the_published_one_to_the_printed_digits(name):
    assert any(minimum == pytest.approx(PUBLISHED[name], rel=5e-6) for minimum in STANDARD_PROBLEMS[name]().minima)


@pytest.mark.parametrize(
    ("problem", "published"),
    [
        (mgh.watson(9), 1.39976e-6),
        (mgh.watson(12), 4.72238e-10),
        (mgh.penalty_1(4), 2.24997e-5),
        (mgh.penalty_2(4), 9.37629e-6),
        (mgh.penalty_2(100), 97096.08395),
        (mgh.chebyquad(10), 6.50395e-3),
        (mgh.chebyquad(9), 0.0),
    ],
    ids=lambda value: f"{value.name} {value.num_params}" if isinstance(value, StandardProblem) else "",
)
def test_other_sizes_have_their_published_minima(problem, published):
    assert any(minimum == pytest.approx(published, rel=5e-6) for minimum in problem.minima)
    found = least_squares(problem)
    assert any(found == pytest.approx(minimum, rel=1e-8, abs=1e-24) for minimum in problem.minima)


def test_the_limits_towards_infinity_are_the_listed_values():
    far = torch.tensor([float(np.mean(BARD)), -1e9, -1e9], dtype=torch.float64)
    assert mgh.bard().function(far).item() == pytest.approx(mgh.bard().minima[1], rel=1e-7)
    # With x1, x3 and x4 growing in proportion, the curve tends to a u (u + x2) / (u + b).
    u, y = torch.tensor([KOWALIK_U, KOWALIK_Y], dtype=torch.float64)
    limit = StandardProblem(
        "limit", 15, lambda z: y - z[0] * u * (u + z[1]) / (u + z[2]), torch.zeros(3).double(), (0.0,)
    )
    assert least_squares(limit, np.array([-0.02, -14.0, 0.6])) == pytest.approx(
        mgh.kowalik_osborne().minima[1], rel=1e-9
    )


def test_a_second_minimum_is_found_from_elsewhere():
    assert least_squares(mgh.freudenstein_roth(), np.array([6.0, 3.0])) == pytest.approx(0.0, abs=1e-24)
    assert least_squares(mgh.trigonometric(), np.full(10, 0.01)) == pytest.approx(0.0, abs=1e-24)
    chebyquad = mgh.chebyquad(10)
    inner = np.array([0.033, 0.155, 0.200, 0.383, 0.383, 0.529, 0.640, 0.714, 0.828, 0.925])
    assert least_squares(chebyquad, inner) == pytest.approx(chebyquad.minima[0], rel=1e-9)
    at_infinity = torch.tensor([0.0] * 9 + [11.0], dtype=torch.float64, requires_grad=True)
    assert mgh.brown_almost_linear().closure(at_infinity)() == 1.0 and not at_infinity.grad.any()


def test_the_second_value_of_biggs_is_the_minimum_under_its_symmetry_and_a_saddle():
    """With x1 = x5 and x3 = x6 the gradient has the same symmetry."""
    biggs = mgh.biggs_exp6()
    spread = torch.tensor([[1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1], [1, 0, 0, 0], [0, 0, 1, 0]]).double()
    symmetric = StandardProblem("Biggs", 18, lambda z: biggs.residuals(spread @ z), biggs.start[:4], (0.0,))
    assert torch.equal(spread @ symmetric.start, biggs.start)
    assert least_squares(symmetric) == pytest.approx(biggs.minima[1], rel=1e-9)
    x = spread @ torch.tensor([1.711416, 17.6831975, 1.16314365, 5.18656], dtype=torch.float64)
    curvatures = torch.linalg.eigvalsh(torch.autograd.functional.hessian(biggs.function, x))
    assert torch.autograd.functional.jacobian(biggs.function, x).abs().max() < 1e-6 and curvatures[0] < -1e-3


@pytest.mark.parametrize("n", [4, 10, 100])
def test_the_minimum_of_penalty_1_has_equal_entries_that_solve_a_cubic(n):
    """The gradient is zero where a (c - 1) + 2 c (n c^2 - 1/4) = 0, with a = 1e-5."""
    roots = np.roots([2.0 * n, 0.0, 1e-5 - 0.5, -1e-5])
    losses = [mgh.penalty_1(n).function(torch.full((n,), float(c)).double()).item() for c in roots if c.imag == 0]
    assert min(losses) == pytest.approx(mgh.penalty_1(n).minima[0], rel=1e-12)


@pytest.mark.parametrize("name", NAMES)
@settings(max_examples=10)
@given(seed=st.integers(0, 10**6), spread=st.floats(1e-3, 0.1))
def test_the_gradient_is_the_limit_of_differences(name, seed, spread):
    """Central differences at h and 2h bound each other's truncation error; the rest is rounding, of the loss over h."""
    problem = STANDARD_PROBLEMS[name]()
    generator = torch.Generator().manual_seed(seed)
    noise, direction = torch.randn(2, problem.num_params, generator=generator, dtype=torch.float64)
    scale = problem.start.abs().clamp(min=0.1)
    x = (problem.start + spread * scale * noise).requires_grad_()
    if name == "helical_valley":
        x = (problem.start - spread * noise.abs()).requires_grad_()  # not across its jump
    direction = scale * direction / direction.norm()

    def difference(h):
        high, low = (problem.function(x.detach() + sign * h * direction).item() for sign in (1, -1))
        return (high - low) / (2 * h), max(high, low) / h

    problem.closure(x)()
    (near, rounding), (far, _) = difference(1e-6), difference(2e-6)
    slope = (x.grad @ direction).item()
    size = (x.grad.abs() @ direction.abs()).item()
    assert abs(near - slope) <= 2.0 * abs(far - near) + 1000.0 * EPS * rounding + 1e-8 * size


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: mgh.extended_rosenbrock(3), "positive multiple of 2"),
        (lambda: mgh.extended_powell_singular(6), "positive multiple of 4"),
        (lambda: mgh.watson(1), "from 2 to 31"),
        (lambda: mgh.watson(32), "from 2 to 31"),
        (lambda: mgh.chebyquad(0), "at least 1"),
        (lambda: mgh.linear_full_rank(10, 9), "at least as many residuals"),
    ],
)
def test_sizes_without_a_problem_are_refused(make, said):
    with pytest.raises(ValueError, match=said):
        make()


def test_sizes_without_a_known_minimum_have_none():
    assert mgh.watson(7).minima == mgh.penalty_2(5).minima == mgh.chebyquad(11).minima == ()
