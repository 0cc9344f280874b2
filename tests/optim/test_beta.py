from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from landscape.optim.beta import (
    BETAS,
    dai_kou,
    dai_yuan,
    fletcher_reeves,
    hager_zhang,
    hestenes_stiefel,
    hestenes_stiefel_dai_yuan,
    polak_ribiere,
    polak_ribiere_plus,
)
from landscape.vectors import CHUNK, dot
from tests.optim.known_losses import positive_definite


def three_vectors(seed: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """A new gradient, an old one, and a direction that descends at the old point with positive curvature to the new."""
    generator = torch.Generator().manual_seed(seed)
    gradient, gradient_prev, noise = torch.randn(3, 9, dtype=torch.float64, generator=generator)
    direction = noise - gradient_prev
    direction -= max(0.0, float(direction @ gradient_prev)) * 1.5 * gradient_prev / (gradient_prev @ gradient_prev)
    if direction @ (gradient - gradient_prev) <= 0:
        gradient = gradient - 2.0 * direction * (direction @ (gradient - gradient_prev)) / (direction @ direction)
    return gradient, gradient_prev, direction


@pytest.mark.parametrize("name", BETAS)
@pytest.mark.parametrize("condition", [3.0, 100.0])
def test_every_beta_equals_fletcher_reeves_on_a_quadratic(name, condition):
    """With exact line searches on a quadratic, all formulas are the same number."""
    generator = torch.Generator().manual_seed(0)
    A = positive_definite(12, condition, generator)
    x = torch.randn(12, dtype=torch.float64, generator=generator)
    gradient = A @ x
    direction = -gradient
    for _ in range(6):
        x = x - (gradient @ direction) / (direction @ A @ direction) * direction
        gradient_prev, gradient = gradient, A @ x
        expected = fletcher_reeves(gradient, gradient_prev, direction)
        assert BETAS[name](gradient, gradient_prev, direction) == pytest.approx(expected, rel=1e-8)
        direction = -gradient + expected * direction


@given(seed=st.integers(0, 10_000))
@settings(max_examples=50, deadline=None)
def test_the_hestenes_stiefel_direction_is_conjugate_to_the_last_one(seed):
    """Y'd = 0 for d = -g + beta d_prev is what defines the formula."""
    gradient, gradient_prev, direction = three_vectors(seed)
    new = -gradient + hestenes_stiefel(gradient, gradient_prev, direction) * direction
    change = gradient - gradient_prev
    assert abs(float(new @ change)) <= 1e-9 * float(new.norm() * change.norm())


@given(seed=st.integers(0, 10_000))
@settings(max_examples=50, deadline=None)
def test_the_dai_yuan_beta_is_the_ratio_of_the_new_slope_to_the_old_one(seed):
    """Dai and Yuan (1999), eq. 2.4: beta = g'd_new / (g_prev'd_prev)."""
    gradient, gradient_prev, direction = three_vectors(seed)
    beta = dai_yuan(gradient, gradient_prev, direction)
    new = -gradient + beta * direction
    slope, slope_prev = float(new @ gradient), float(direction @ gradient_prev)
    assert slope == pytest.approx(beta * slope_prev, rel=1e-6, abs=1e-9 * float(new.norm() * gradient.norm()))


@pytest.mark.parametrize(("formula", "part"), [(hager_zhang, 7 / 8), (dai_kou, 3 / 4)])
@given(seed=st.integers(0, 10_000))
@settings(max_examples=50, deadline=None)
def test_hager_zhang_and_dai_kou_always_descend(formula, part, seed):
    """G'd <= -7/8 |g|^2 (Hager, Zhang 2005, theorem 1.1) and -3/4 |g|^2 (Dai, Kou 2013), unless the bound is active."""
    gradient, gradient_prev, direction = three_vectors(seed)
    beta = formula(gradient, gradient_prev, direction)
    lowest = 0.4 * float(direction @ gradient_prev) if formula is hager_zhang else 0.5 * float(direction @ gradient)
    if beta > lowest / float(direction @ direction):
        slope = float(gradient @ (-gradient + beta * direction))
        assert slope <= -part * float(gradient @ gradient) * (1 - 1e-9)


def test_the_bounds_of_hager_zhang_and_dai_kou_hold():
    bounded = {hager_zhang: 0, dai_kou: 0}
    for seed in range(300):
        gradient, gradient_prev, direction = three_vectors(seed)
        for formula, bound in [
            (hager_zhang, 0.4 * float(direction @ gradient_prev) / float(direction @ direction)),
            (dai_kou, 0.5 * float(direction @ gradient) / float(direction @ direction)),
        ]:
            beta = formula(gradient, gradient_prev, direction)
            assert beta >= bound - 1e-12 * abs(bound)
            bounded[formula] += beta == pytest.approx(bound, rel=1e-12)
    assert all(bounded.values())


@given(seed=st.integers(0, 10_000))
@settings(max_examples=50, deadline=None)
def test_the_hybrid_lies_between_zero_and_both_its_parents(seed):
    vectors = three_vectors(seed)
    hybrid = hestenes_stiefel_dai_yuan(*vectors)
    assert hybrid == max(0.0, min(hestenes_stiefel(*vectors), dai_yuan(*vectors)))
    assert polak_ribiere_plus(*vectors) == max(0.0, polak_ribiere(*vectors))


@pytest.mark.parametrize("name", BETAS)
def test_a_formula_without_a_value_returns_nan_or_infinity_and_does_not_raise(name):
    zero = torch.zeros(3)
    assert not math.isfinite(BETAS[name](torch.ones(3), zero, zero))
    assert math.isnan(BETAS[name](torch.full((3,), math.nan), torch.ones(3), -torch.ones(3)))


@pytest.mark.parametrize("name", BETAS)
def test_the_scale_of_float32_gradients_does_not_matter(name):
    """Beta is homogeneous of degree zero; |g|^2 = 1e50 would overflow, 1e-50 underflow, if summed in float32."""
    gradient, gradient_prev, direction = (vector.float() for vector in three_vectors(3))
    expected = BETAS[name](gradient, gradient_prev, direction)
    for scale in (2.0**83, 2.0**-83):
        scaled = BETAS[name](gradient * scale, gradient_prev * scale, direction * scale)
        assert scaled == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("num_parts", [0.0, 0.5, 1.0, 2.3])
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_a_dot_product_in_parts_equals_the_whole_in_float64(num_parts, dtype):
    a, b = torch.randn(2, int(num_parts * CHUNK), generator=torch.Generator().manual_seed(0)).to(dtype)
    assert dot(a, b) == pytest.approx(float((a.double() * b.double()).sum()), rel=1e-10, abs=1e-10)
