from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from landscape.optim.capped_cg import DirectionKind, capped_conjugate_gradient
from landscape.vectors import norm
from tests.optim.known_losses import positive_definite


class CountedMatrix:
    """Products with a dense matrix, counted."""

    def __init__(self, matrix: torch.Tensor) -> None:
        self.matrix, self.num_products = matrix, 0

    def __call__(self, vector: torch.Tensor) -> torch.Tensor:
        self.num_products += 1
        return self.matrix @ vector


def of_spectrum(eigenvalues: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    basis, _ = torch.linalg.qr(
        torch.randn(len(eigenvalues), len(eigenvalues), dtype=torch.float64, generator=generator)
    )
    return (basis * eigenvalues) @ basis.T


def quotient(matrix: torch.Tensor, vector: torch.Tensor) -> float:
    return float(vector @ matrix @ vector / (vector @ vector))


@pytest.mark.parametrize("is_preconditioned", [False, True])
def test_a_convex_equation_is_solved_as_a_dense_solver_does(is_preconditioned):
    generator = torch.Generator().manual_seed(0)
    H, g = positive_definite(30, 1e4, generator), torch.randn(30, dtype=torch.float64, generator=generator)
    P = torch.linalg.inv(H + 0.1 * positive_definite(30, 10.0, generator)) if is_preconditioned else None
    product = CountedMatrix(H)
    result = capped_conjugate_gradient(
        product,
        g,
        damping=0.05,
        tolerance=1e-12,
        max_products=200,
        preconditioner=None if P is None else lambda v: P @ v,
    )
    assert result.kind is DirectionKind.NEWTON
    torch.testing.assert_close(result.direction, torch.linalg.solve(H + 0.1 * torch.eye(30), -g), rtol=1e-8, atol=1e-10)
    assert result.curvature == pytest.approx(quotient(H, result.direction), rel=1e-6)
    assert result.num_products == product.num_products
    assert 1.0 <= result.lowest_curvature <= result.curvature
    assert result.largest_curvature <= 1e4 * (1.0 + 1e-9)


def test_every_truncated_iterate_minimises_the_damped_quadratic_on_its_krylov_space():
    generator = torch.Generator().manual_seed(1)
    H, g = positive_definite(20, 100.0, generator), torch.randn(20, dtype=torch.float64, generator=generator)
    damped = H + 0.02 * torch.eye(20)
    for num_products in (1, 3, 7):
        result = capped_conjugate_gradient(lambda v: H @ v, g, damping=0.01, tolerance=0.0, max_products=num_products)
        powers = [g]
        for _ in range(num_products - 1):
            powers.append(damped @ powers[-1])
        K, _ = torch.linalg.qr(torch.stack(powers, dim=1))
        expected = -K @ torch.linalg.solve(K.T @ damped @ K, K.T @ g)
        assert result.kind is DirectionKind.TRUNCATED
        torch.testing.assert_close(result.direction, expected, rtol=1e-8, atol=1e-10)
        residual = float((damped @ expected + g).norm() / g.norm())
        assert result.residual == pytest.approx(residual, rel=1e-6)


@given(
    seed=st.integers(0, 10_000),
    num_negative=st.integers(1, 5),
    log_damping=st.floats(-6.0, -1.0),
    is_preconditioned=st.booleans(),
)
@settings(max_examples=60, deadline=None)
def test_negative_curvature_is_met_within_n_products_and_certified(seed, num_negative, log_damping, is_preconditioned):
    """A gradient with a part in every eigenspace makes the Krylov space everything, so it holds the negative ones."""
    generator = torch.Generator().manual_seed(seed)
    damping = 10.0**log_damping
    positive = torch.rand(15 - num_negative, dtype=torch.float64, generator=generator) + 0.1
    negative = -damping * (2.0 + torch.rand(num_negative, dtype=torch.float64, generator=generator))
    H = of_spectrum(torch.cat([negative, positive]), generator)
    g = torch.randn(15, dtype=torch.float64, generator=generator)
    scale = torch.rand(15, dtype=torch.float64, generator=generator) + 0.5
    product = CountedMatrix(H)
    result = capped_conjugate_gradient(
        product,
        g,
        damping=damping,
        tolerance=0.0,
        max_products=60,
        preconditioner=(lambda v: scale * v) if is_preconditioned else None,
    )
    assert result.kind is DirectionKind.NEGATIVE_CURVATURE
    assert product.num_products == result.num_products <= 60
    assert quotient(H, result.direction) == pytest.approx(result.curvature, rel=1e-6)
    assert result.curvature <= -damping * (1.0 - 1e-6)
    assert float(negative.min()) * (1.0 + 1e-6) <= result.lowest_curvature <= result.curvature
    # Until then all was convex: the iterate that was reached descends.
    assert float(result.solution @ g) < 0.0 or norm(result.solution) == 0.0


def test_negative_curvature_along_the_gradient_is_met_by_the_first_product():
    H, g = torch.diag(torch.tensor([-2.0, 1.0])), torch.tensor([1.0, 0.1])
    result = capped_conjugate_gradient(lambda v: H @ v, g, damping=0.1, tolerance=0.1, max_products=9)
    assert (result.kind, result.num_products) == (DirectionKind.NEGATIVE_CURVATURE, 1)
    assert result.curvature == pytest.approx(quotient(H, g))
    assert norm(result.solution) == 0.0


def test_weak_negative_curvature_within_the_damping_is_solved_over():
    """Eigenvalues above -damping leave the damped matrix above +damping."""
    generator = torch.Generator().manual_seed(3)
    H = of_spectrum(torch.linspace(-0.09, 5.0, 12, dtype=torch.float64), generator)
    g = torch.randn(12, dtype=torch.float64, generator=generator)
    result = capped_conjugate_gradient(lambda v: H @ v, g, damping=0.1, tolerance=1e-10, max_products=40)
    assert result.kind is DirectionKind.NEWTON
    torch.testing.assert_close(result.direction, torch.linalg.solve(H + 0.2 * torch.eye(12), -g))


def test_a_slow_residual_asks_for_one_product_more_and_believes_only_that():
    """A skew part leaves every curvature at 1 and lets the residual grow, which no symmetric matrix above 0 allows."""
    K = torch.randn(12, 12, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    A, g = torch.eye(12) + K - K.T, torch.ones(12, dtype=torch.float64)
    calls: list[torch.Tensor] = []

    def product(vector: torch.Tensor, concave_at: int = 0) -> torch.Tensor:
        calls.append(vector.clone())
        return -2.0 * vector if len(calls) == concave_at else A @ vector

    def solve(max_products: int, concave_at: int = 0):
        calls.clear()
        return capped_conjugate_gradient(
            lambda v: product(v, concave_at), g, damping=1.0, tolerance=0.0, max_products=max_products
        )

    iterates = [solve(number).direction for number in range(1, 31)]
    plain = solve(40)
    assert (plain.kind, plain.num_products, len(calls)) == (DirectionKind.TRUNCATED, 40, 40)
    # Of all products one is no search direction: the difference of the iterate then and an earlier one.
    asked = next(
        number
        for number, vector in enumerate(calls[:30], start=1)
        if any(torch.equal(vector, iterates[number - 2] - earlier) for earlier in iterates[: number - 2])
    )

    result = solve(40, concave_at=asked)

    assert (result.kind, result.num_products) == (DirectionKind.NEGATIVE_CURVATURE, asked)
    assert result.curvature == pytest.approx(-2.0)
    assert torch.equal(result.direction, calls[-1])
    assert plain.lowest_curvature == pytest.approx(1.0)


def test_curvature_within_rounding_is_not_called_negative():
    g = torch.tensor([1.0, 1.0], dtype=torch.float32)
    H = torch.tensor([[1.0, -1.0], [-1.0, 1.0]]) - 1e-7 * torch.eye(2)
    result = capped_conjugate_gradient(lambda v: H @ v + 1e-30, g, damping=0.0, tolerance=0.0, max_products=5)
    assert result.kind is not DirectionKind.NEGATIVE_CURVATURE or result.curvature < -5e-6 * result.largest_curvature

    flat = capped_conjugate_gradient(torch.zeros_like, g, damping=0.0, tolerance=0.0, max_products=5)
    assert (flat.kind, flat.curvature) == (DirectionKind.FLAT, 0.0)
    assert torch.equal(flat.direction, -g)


@pytest.mark.parametrize("call", [1, 2, 3])
@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_product_that_is_not_finite_ends_at_the_last_iterate(call, value):
    generator = torch.Generator().manual_seed(4)
    H, g = positive_definite(10, 50.0, generator), torch.randn(10, dtype=torch.float64, generator=generator)
    product = CountedMatrix(H)
    result = capped_conjugate_gradient(
        lambda v: product(v) + (value if product.num_products == call else 0.0),
        g,
        damping=1e-3,
        tolerance=0.0,
        max_products=9,
    )
    assert (result.kind, result.num_products) == (DirectionKind.NONFINITE, call)
    assert torch.isfinite(result.direction).all()
    if call > 1:
        before = capped_conjugate_gradient(lambda v: H @ v, g, damping=1e-3, tolerance=0.0, max_products=call - 1)
        assert torch.equal(result.direction, before.direction)
    else:
        assert norm(result.direction) == 0.0


def test_a_gradient_of_zeros_is_solved_by_zeros_at_no_product():
    result = capped_conjugate_gradient(lambda v: v, torch.zeros(3), damping=0.1, tolerance=0.1, max_products=3)
    assert (result.kind, result.num_products) == (DirectionKind.NEWTON, 0)
    assert result.direction.tolist() == [0.0, 0.0, 0.0]
    assert math.isnan(result.curvature)


@pytest.mark.parametrize(
    ("changed", "match"),
    [
        ({"damping": -1.0}, "damping=-1.0"),
        ({"tolerance": math.nan}, "tolerance=nan"),
        ({"max_products": 0}, "max_products=0"),
        ({"curvature_bound": math.inf}, "curvature_bound=inf"),
    ],
)
def test_numbers_out_of_range_are_refused(changed, match):
    numbers = {"damping": 0.1, "tolerance": 0.1, "max_products": 3, **changed}
    with pytest.raises(ValueError, match=match):
        capped_conjugate_gradient(lambda v: v, torch.ones(3), **numbers)


def test_a_gradient_that_is_no_flat_vector_is_refused():
    with pytest.raises(ValueError, match=r"shape \(2, 2\)"):
        capped_conjugate_gradient(lambda v: v, torch.ones(2, 2), damping=0.1, tolerance=0.1, max_products=3)
