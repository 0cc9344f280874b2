from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from landscape.optim.broyden_family import (
    UPDATES,
    Member,
    Mismatch,
    bfgs,
    self_scaled_bfgs,
    self_scaled_broyden,
    update_inverse_,
)
from tests.optim.known_losses import positive_definite

EVERY_UPDATE = pytest.mark.parametrize("update", UPDATES.values(), ids=UPDATES.keys())
N = 9


def case(seed: int, condition: float = 100.0, unit: float = 1.0) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """A Hessian B, its inverse, and a step with a change of gradient that another Hessian caused."""
    generator = torch.Generator().manual_seed(seed)
    B = positive_definite(N, condition, generator)
    step = torch.randn(N, dtype=torch.float64, generator=generator)
    change = unit * positive_definite(N, condition, generator) @ step
    H = torch.linalg.inv(B)
    return B, 0.5 * (H + H.T), step, change


def mismatch_of(B: Tensor, H: Tensor, step: Tensor, change: Tensor) -> Mismatch:
    found = step @ change
    return Mismatch(float(step @ B @ step / found), float(change @ H @ change / found), len(H))


def updated(B: Tensor, H: Tensor, step: Tensor, change: Tensor, update) -> tuple[Tensor, Member]:
    result = H.clone()
    return result, update_inverse_(result, step, change, float(step @ B @ step), update)


@EVERY_UPDATE
@given(seed=st.integers(0, 10_000), exponent=st.integers(-6, 6))
@settings(max_examples=40, deadline=None)
def test_the_updated_matrix_maps_the_change_to_the_step_and_stays_symmetric_positive_definite(update, seed, exponent):
    """Whether it expected far too much curvature, or far too little."""
    B, H, step, change = case(seed, unit=10.0**exponent)
    result, member = updated(B, H, step, change, update)
    assert member.tau > 0.0
    size = float(result.norm())
    # The update moves numbers of the size of H and of the result.
    noise = 1e-11 * max(size, float(H.norm()) / member.tau) * float(change.norm())
    torch.testing.assert_close(result @ change, step, rtol=0.0, atol=noise)
    assert (result - result.T).abs().max() <= 1e-14 * max(size, float(H.norm()) / member.tau)
    assert torch.linalg.eigvalsh(result)[0] > 0.0


@EVERY_UPDATE
@given(seed=st.integers(0, 10_000), exponent=st.integers(-2, 2))
@settings(max_examples=40, deadline=None)
def test_the_inverse_is_that_of_the_direct_formula(update, seed, exponent):
    B, H, step, change = case(seed, unit=10.0**exponent)
    result, member = updated(B, H, step, change, update)

    image, found = B @ step, step @ change
    expected = step @ image
    w = expected.sqrt() * (change / found - image / expected)
    direct = member.tau * (B - torch.outer(image, image) / expected + member.theta * torch.outer(w, w))
    direct = direct + torch.outer(change, change) / found

    torch.testing.assert_close(result @ direct, torch.eye(N, dtype=torch.float64), rtol=0.0, atol=1e-7)


@EVERY_UPDATE
@given(seed=st.integers(0, 10_000))
@settings(max_examples=30, deadline=None)
def test_the_determinant_changes_by_the_factor_that_the_scaling_accounts_for(update, seed):
    r""":math:`\det B_+ = \tau^{n-1} (1 + a \theta) \det B / b`."""
    B, H, step, change = case(seed)
    result, member = updated(B, H, step, change, update)
    mismatch = mismatch_of(B, H, step, change)
    factor = (N - 1) * math.log(member.tau) + math.log(mismatch.sigma(member.theta) / mismatch.b)
    assert float(torch.logdet(H) - torch.logdet(result)) == pytest.approx(factor, rel=1e-6, abs=1e-6)


def test_bfgs_is_the_textbook_product_form():
    """Nocedal, Wright (2006), eq. 6.17."""
    B, H, step, change = case(4)
    result, _ = updated(B, H, step, change, bfgs)
    left = torch.eye(N, dtype=torch.float64) - torch.outer(step, change) / (step @ change)
    expected = left @ H @ left.T + torch.outer(step, step) / (step @ change)
    torch.testing.assert_close(result, expected, rtol=1e-12, atol=1e-12)


@EVERY_UPDATE
def test_a_matrix_that_is_exact_along_the_step_is_left_alone(update):
    B, H, step, _ = case(5)
    result, member = updated(B, H, step, B @ step, update)
    assert member.tau == pytest.approx(1.0, abs=1e-6)
    torch.testing.assert_close(result, H, rtol=1e-6, atol=1e-6)


@given(log_b=st.floats(-30.0, 30.0), log_a=st.floats(-40.0, 60.0), num_params=st.integers(1, 10_000))
@settings(max_examples=300, deadline=None)
def test_every_member_is_well_defined_and_never_takes_curvature_for_granted(log_b, log_a, num_params):
    """Over sixty powers of ten: theta in its interval, a scaling between 0 and 1, no division by zero."""
    b = 10.0**log_b
    mismatch = Mismatch(b, (1.0 + 10.0**log_a) / b, num_params)
    for update in UPDATES.values():
        member = update(mismatch)
        assert math.isfinite(member.theta)
        assert member.theta >= mismatch.least_theta
        assert member.tau > 0.0
        assert math.isfinite((1.0 - member.theta) / mismatch.sigma(member.theta))
    assert self_scaled_bfgs(mismatch).tau == min(1.0, 1.0 / b)
    theta = self_scaled_broyden(mismatch).theta
    assert theta == pytest.approx(max(mismatch.least_theta, min(1.0 / mismatch.rho, (1.0 - b) / b)))


@EVERY_UPDATE
@pytest.mark.parametrize("unit", [1e-120, 1e-30, 1e30, 1e120])
def test_units_of_the_parameters_pass_through_exactly(update, unit):
    """Parameters in units ``1 / unit``: steps and changes scale inversely, H with the square."""
    B, H, step, change = case(6)
    expected, member = updated(B, H, step, change, update)
    scaled = H * unit * unit
    other = update_inverse_(scaled, step * unit, change / unit, float(step @ B @ step), update)
    assert other.theta == pytest.approx(member.theta, rel=1e-9)
    assert other.tau == pytest.approx(member.tau, rel=1e-9)
    torch.testing.assert_close(scaled / unit / unit, expected, rtol=1e-8, atol=1e-10)


@EVERY_UPDATE
def test_a_change_of_variables_passes_through(update):
    r"""In :math:`x = S z` the matrix is :math:`S^{-1} H S^{-\top}`, before and after: quasi-Newton methods do not see S."""
    B, H, step, change = case(7)
    S = positive_definite(N, 10.0, torch.Generator().manual_seed(8))
    expected, _ = updated(B, H, step, change, update)
    in_z, _ = updated(
        S @ B @ S, torch.linalg.solve(S, torch.linalg.solve(S, H).T), torch.linalg.solve(S, step), S @ change, update
    )
    torch.testing.assert_close(S @ in_z @ S, expected, rtol=1e-8, atol=1e-9)


@EVERY_UPDATE
def test_exact_steps_of_a_quadratic_end_in_n_steps_with_its_inverse(update):
    """Finite termination of the Broyden class, which scaling keeps for the minimum but not for the matrix."""
    generator = torch.Generator().manual_seed(11)
    A, x = positive_definite(N, 30.0, generator), torch.randn(N, dtype=torch.float64, generator=generator)
    H, length = torch.eye(N, dtype=torch.float64), float(x.norm())
    for _ in range(N):
        gradient = A @ x
        direction = -H @ gradient
        step_size = float(-(gradient @ direction) / (direction @ A @ direction))
        step = step_size * direction
        update_inverse_(H, step, A @ step, float(-step_size * gradient @ step), update)
        x = x + step
    assert float(x.norm()) < 1e-6 * length
    if update is bfgs:
        torch.testing.assert_close(H, torch.linalg.inv(A), rtol=1e-5, atol=1e-6)


def test_symmetry_does_not_drift_over_many_updates():
    generator = torch.Generator().manual_seed(12)
    A, x = positive_definite(40, 1e4, generator), torch.randn(40, dtype=torch.float64, generator=generator)
    H = torch.eye(40, dtype=torch.float64)
    for _ in range(300):
        gradient = A @ x + 0.1 * torch.sin(x)
        direction = -H @ gradient
        step_size = 0.7 * float(-(gradient @ direction) / (direction @ A @ direction))
        step = step_size * direction
        change = A @ (x + step) + 0.1 * torch.sin(x + step) - gradient
        if float(step @ change) <= 1e-8 * float(step.norm() * change.norm()):
            break
        update_inverse_(H, step, change, float(-step_size * gradient @ step), self_scaled_broyden)
        x = x + step
    assert (H - H.T).abs().max() <= 1e-12 * H.abs().max()
