from __future__ import annotations

import dataclasses
import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from landscape.operators.matrix import MatrixOperator
from landscape.probes.lanczos.ends import FLOOR
from landscape.probes.lanczos.lanczos import lanczos
from landscape.status import Status
from tests.probes.known_spectra import (
    BrokenOperator,
    DiagonalOperator,
    InterruptedOperator,
    matrix_with,
    operator_with,
    spectra,
    vision_transformer_like,
)

KINDS = spectra()
VIT = vision_transformer_like()


def allowed(eigenvalues, value, rtol=1e-2):
    """The tolerance as documented."""
    return rtol * max(abs(value), FLOOR * float(eigenvalues.abs().max()))


def is_right(result, eigenvalues, rtol=1e-2):
    eigenvalues = eigenvalues.double()
    low, high = float(eigenvalues.min()), float(eigenvalues.max())
    return abs(result.smallest.value - low) <= allowed(eigenvalues, low, rtol) and abs(
        result.largest.value - high
    ) <= allowed(eigenvalues, high, rtol)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("kind", KINDS)
def test_both_ends_are_found_to_the_tolerance(kind, dtype, generator):
    eigenvalues = KINDS[kind].to(dtype)
    operator = operator_with(eigenvalues, generator)
    result = lanczos(operator)
    assert result.status in (Status.SETTLED, Status.BREAKDOWN)
    assert is_right(result, eigenvalues)
    assert result.smallest.converged
    assert result.largest.converged
    assert result.num_matvecs == operator.num_matvecs == len(result.alphas) == len(result.ritz_values)


def test_a_hard_spectrum_needs_45_products_and_is_right():
    """Bottom gap of 6 %, ends of 29.4 and -0.8. At most one start in ten may stop at a wrong eigenvalue."""
    right, products = 0, []
    for seed in range(20):
        result = lanczos(DiagonalOperator(VIT), generator=torch.Generator().manual_seed(seed))
        right += is_right(result, VIT)
        products.append(result.num_matvecs)
    assert right >= 18
    assert max(products) <= 47
    assert sorted(products)[10] <= 45


def test_the_bound_holds_back_what_the_residual_alone_would_let_pass():
    """From a start with little of the last eigenvector the Ritz value rests at the last but one, residual and all."""
    start = torch.randn(3000, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    start[5] *= 1e-3
    misled = lanczos(DiagonalOperator(VIT), start=start)
    assert misled.smallest.converged
    assert misled.smallest.value == pytest.approx(-0.75231, rel=1e-2)
    assert math.isnan(misled.smallest.bound)
    honest = lanczos(DiagonalOperator(VIT))
    assert honest.smallest.bound <= -0.80037 <= honest.smallest.value + 1e-2


@given(
    n=st.integers(1, 40),
    seed=st.integers(0, 10**6),
    exponent=st.integers(-6, 6),
    power=st.integers(1, 7),
    shift=st.floats(-1, 1),
)
def test_ritz_values_stay_inside_the_spectrum_and_residuals_are_true(n, seed, exponent, power, shift):
    """At any size, scale and clustering: no Ritz value outside, the vectors give the values and residuals stated."""
    generator = torch.Generator().manual_seed(seed)
    eigenvalues = (torch.rand(n, dtype=torch.float64, generator=generator) ** power + shift) * 10.0**exponent
    matrix = matrix_with(eigenvalues, generator)
    result = lanczos(MatrixOperator(matrix), max_matvecs=15, generator=generator)
    norm = float(eigenvalues.abs().max())
    assert result.ritz_values[0] >= eigenvalues.min() - 1e-12 * norm
    assert result.ritz_values[-1] <= eigenvalues.max() + 1e-12 * norm
    assert result.num_matvecs <= min(n, 15)
    for pair in (result.smallest, result.largest):
        assert pair.gap_error <= pair.residual_norm
        assert float(pair.vector.norm()) == pytest.approx(1.0)
        off = (matrix @ pair.vector - pair.value * pair.vector).norm()
        assert float(off) == pytest.approx(pair.residual_norm, rel=1e-6, abs=1e-12 * norm)


@pytest.mark.parametrize("n", [1, 2, 3])
def test_tiny_operators_are_known_exactly(n):
    eigenvalues = torch.arange(1.0, n + 1, dtype=torch.float64)
    result = lanczos(DiagonalOperator(eigenvalues))
    assert result.status is Status.BREAKDOWN
    assert result.num_matvecs == n
    assert (result.smallest.value, result.largest.value) == pytest.approx((1.0, n))
    assert result.smallest.converged


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_zero_operator_and_the_identity_take_one_product(dtype):
    for value in (0.0, 1.0):
        result = lanczos(DiagonalOperator(torch.full((500,), value, dtype=dtype)))
        assert (result.status, result.num_matvecs) == (Status.BREAKDOWN, 1)
        assert result.smallest.value == pytest.approx(value)
        assert result.smallest.converged
        assert result.largest.converged


def test_one_end_alone_takes_fewer_products():
    largest = lanczos(DiagonalOperator(VIT), ends="largest")
    both = lanczos(DiagonalOperator(VIT))
    assert largest.largest.value == pytest.approx(29.3571, rel=1e-2)
    assert largest.num_matvecs < both.num_matvecs / 2
    smallest = lanczos(DiagonalOperator(-VIT), ends="smallest")
    assert smallest.smallest.value == pytest.approx(-29.3571, rel=1e-2)
    assert smallest.num_matvecs == largest.num_matvecs


def test_the_mirrored_operator_has_the_mirrored_result():
    there, back = (lanczos(DiagonalOperator(sign * VIT)) for sign in (1.0, -1.0))
    torch.testing.assert_close(there.ritz_values, -back.ritz_values.flip(0), rtol=1e-9, atol=1e-9)
    assert there.smallest.bound == pytest.approx(-back.largest.bound, rel=1e-6)


@pytest.mark.parametrize("rows", [8, 12, 20, 30])
def test_restarts_in_bounded_memory_agree_with_the_full_basis(rows):
    eigenvalues = KINDS["indefinite"].repeat(5)[:180]
    limit = rows * 180 * 8
    full = lanczos(DiagonalOperator(eigenvalues), rtol=1e-6, max_matvecs=400)
    restarted = lanczos(DiagonalOperator(eigenvalues), rtol=1e-6, max_matvecs=400, basis="restart", max_memory=limit)
    assert restarted.status is Status.SETTLED
    assert restarted.num_restarts > 0
    assert restarted.smallest.value == pytest.approx(full.smallest.value, rel=1e-5)
    assert restarted.largest.value == pytest.approx(full.largest.value, rel=1e-5)
    assert abs(float(restarted.smallest.vector @ full.smallest.vector)) == pytest.approx(1.0, abs=1e-3)
    assert restarted.orthogonality_defect < 1e-12
    assert restarted.alphas.numel() == 0


def test_automatic_memory_is_the_full_basis_until_the_limit():
    limited = lanczos(DiagonalOperator(VIT), max_memory=60 * 3000 * 8)
    free = lanczos(DiagonalOperator(VIT))
    assert torch.equal(limited.ritz_values, free.ritz_values)
    short = lanczos(DiagonalOperator(VIT), max_memory=20 * 3000 * 8)
    assert short.num_restarts > 0
    assert len(short.ritz_values) < 20
    assert short.largest.value == pytest.approx(29.3571, rel=1e-2)


def test_two_passes_agree_with_the_full_basis():
    operator = DiagonalOperator(VIT)
    result = lanczos(operator, basis="two-pass", max_matvecs=400, miss_probability=0.01)
    full = lanczos(DiagonalOperator(VIT))
    assert result.status is Status.SETTLED
    assert result.largest.value == pytest.approx(full.largest.value, rel=1e-2)
    for pair in (result.smallest, result.largest):
        off = (VIT * pair.vector - pair.value * pair.vector).norm()
        assert float(off) == pytest.approx(pair.residual_norm, rel=1e-9)
    assert result.num_matvecs == operator.num_matvecs <= 400
    assert math.isnan(result.orthogonality_defect)


@pytest.mark.parametrize("budget", [1, 2, 3, 10])
@pytest.mark.parametrize("options", [{}, {"basis": "two-pass"}, {"max_memory": 8 * 3000 * 8}])
def test_the_budget_is_never_exceeded(budget, options):
    operator = DiagonalOperator(VIT)
    result = lanczos(operator, max_matvecs=budget, **options)
    assert result.status is Status.MAX_MATVECS
    assert result.num_matvecs == operator.num_matvecs <= budget
    assert not result.smallest.converged
    assert result.smallest.vector is not None


def test_a_block_finds_a_double_eigenvalue_and_a_single_start_does_not():
    eigenvalues = torch.cat([torch.tensor([20.0, 20.0, -1.0, -1.0]), torch.linspace(0, 5, 200)]).double()
    single = lanczos(DiagonalOperator(eigenvalues))
    double = lanczos(DiagonalOperator(eigenvalues), block_size=2, rtol=1e-4)
    count = [int(((result.ritz_values - 20).abs() < 1e-4).sum()) for result in (single, double)]
    assert count == [1, 2]
    assert int(((double.ritz_values + 1).abs() < 1e-3).sum()) == 2
    assert double.status is Status.SETTLED
    assert double.num_matvecs % 2 == 0


def test_a_block_as_wide_as_the_matrix_gives_all_of_it(generator):
    operator = operator_with(KINDS["indefinite"], generator)
    result = lanczos(operator, block_size=40)
    assert result.status is Status.BREAKDOWN
    torch.testing.assert_close(result.ritz_values, KINDS["indefinite"])


def test_a_warm_start_takes_a_third_of_the_products(generator):
    eigenvalues = vision_transformer_like(500)
    cold = lanczos(DiagonalOperator(eigenvalues))
    turn, _ = torch.linalg.qr(
        torch.eye(500).double() + 0.05 * torch.randn(500, 500, dtype=torch.float64, generator=generator) / 500**0.5
    )
    moved = (turn * eigenvalues) @ turn.T
    warm = lanczos(MatrixOperator((moved + moved.T) / 2), start=cold)
    assert (cold.start, warm.start) == ("random", "warm")
    assert is_right(warm, eigenvalues)
    assert warm.num_matvecs <= cold.num_matvecs / 3
    assert math.isnan(warm.smallest.bound)
    block = lanczos(DiagonalOperator(eigenvalues), start=cold, block_size=3)
    assert is_right(block, eigenvalues)


def test_the_same_generator_gives_the_same_result_and_the_global_one_is_left_alone():
    state = torch.get_rng_state()
    first, second = (lanczos(DiagonalOperator(VIT), generator=torch.Generator().manual_seed(3)) for _ in range(2))
    assert torch.equal(first.ritz_values, second.ritz_values)
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize("options", [{}, {"basis": "two-pass"}, {"max_memory": 8 * 3000 * 8}])
@pytest.mark.parametrize("at", [1, 2, 20])
def test_ctrl_c_returns_what_is_known(at, options):
    result = lanczos(InterruptedOperator(VIT, at=at), **options)
    assert result.status is Status.INTERRUPTED
    assert math.isnan(result.smallest.value) == (at == 1)
    assert result.num_matvecs == at
    if at > 1:
        assert -0.81 < result.smallest.value <= result.largest.value < 29.4
    str(result)


def test_ctrl_c_in_the_second_pass_keeps_the_values():
    products = lanczos(DiagonalOperator(VIT), basis="two-pass").num_matvecs
    result = lanczos(InterruptedOperator(VIT, at=products // 2 + 5), basis="two-pass")
    assert result.status is Status.INTERRUPTED
    assert result.largest.value == pytest.approx(29.3571, rel=1e-2)
    assert result.largest.vector is None


def test_ctrl_c_in_a_block_returns_what_is_known():
    result = lanczos(InterruptedOperator(VIT, at=6), block_size=2)
    assert result.status is Status.INTERRUPTED
    assert len(result.ritz_values) == 4


@pytest.mark.parametrize("at", [1, 5])
def test_a_product_with_nan_is_a_status(at):
    result = lanczos(BrokenOperator(VIT, at=at))
    assert result.status is Status.NONFINITE_PRODUCT
    assert len(result.ritz_values) == at - 1
    assert math.isnan(result.smallest.value) == (at == 1)


def test_a_callback_sees_every_check_and_may_stop():
    seen = []
    result = lanczos(DiagonalOperator(VIT), callback=lambda spent, ritz: seen.append((spent, len(ritz.values))))
    assert seen == [(k, k) for k in range(1, result.num_matvecs + 1)]
    stopped = lanczos(DiagonalOperator(VIT), callback=lambda spent, ritz: spent == 7)
    assert (stopped.status, stopped.num_matvecs) == (Status.INTERRUPTED, 7)


def test_the_result_is_frozen_and_speaks():
    result = lanczos(DiagonalOperator(VIT))
    with pytest.raises(dataclasses.FrozenInstanceError):
        result.status = Status.RUNNING
    assert str(result).startswith("Spectrum from -0.80")
    assert str(Status.SETTLED) in str(result)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"ends": "top"}, "ends='top'.*'both', 'smallest', 'largest'"),
        ({"basis": "none"}, "basis='none'.*'two-pass'"),
        ({"rtol": 0.0}, "rtol=0.0"),
        ({"rtol": math.nan}, "rtol=nan"),
        ({"max_matvecs": 0}, "max_matvecs=0"),
        ({"block_size": 0}, "block_size=0"),
        ({"block_size": 41}, "block_size=41.*40 coordinates"),
        ({"block_size": 2, "basis": "restart"}, "basis='full'"),
        ({"block_size": 5, "max_matvecs": 4}, "5 products"),
        ({"basis": "restart"}, "max_memory"),
        ({"max_memory": 7 * 320}, "2560 bytes"),
        ({"basis": "full", "max_memory": 30 * 320}, "13120 bytes"),
        ({"miss_probability": 1.0}, "miss_probability=1.0"),
        ({"start": torch.ones(3)}, r"shape \(3,\)"),
        ({"start": torch.zeros(40).double()}, "length 0"),
    ],
)
def test_wrong_input_is_refused_before_any_product(options, message):
    operator = DiagonalOperator(KINDS["indefinite"])
    with pytest.raises(ValueError, match=message):
        lanczos(operator, **options)
    assert operator.num_matvecs == 0


def test_results_that_do_not_fit_are_refused_as_a_start():
    other = lanczos(DiagonalOperator(VIT))
    with pytest.raises(ValueError, match="3000 coordinates.*40"):
        lanczos(DiagonalOperator(KINDS["indefinite"]), start=other)
    empty = lanczos(InterruptedOperator(KINDS["indefinite"], at=1))
    with pytest.raises(ValueError, match="without end vectors"):
        lanczos(DiagonalOperator(KINDS["indefinite"]), start=empty)
    with pytest.raises(TypeError, match="MatrixOperator"):
        lanczos(torch.eye(3))


@pytest.mark.parametrize("options", [{}, {"max_memory": 9}, {"basis": "two-pass"}])
@pytest.mark.parametrize("kind", KINDS)
def test_looking_every_few_steps_finds_the_same(kind, options, monkeypatch):
    """As on a device where looking means waiting."""
    monkeypatch.setattr("landscape.probes.lanczos.krylov.steps_between_looks", lambda device: 5)
    limit = {"max_memory": 9 * 40 * 8} if "max_memory" in options else options
    result = lanczos(DiagonalOperator(KINDS[kind]), max_matvecs=400, **limit)
    assert result.status in (Status.SETTLED, Status.BREAKDOWN)
    assert is_right(result, KINDS[kind])
