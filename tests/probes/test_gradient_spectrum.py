from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from landscape.operators.matrix import MatrixOperator
from landscape.probes.spectrum.gradient_spectrum import gradient_spectrum
from landscape.status import Status
from landscape.testing.problems import KNOWN_PROBLEMS, saddle
from landscape.testing.spectra import known_spectrum
from tests.probes.test_density import Interrupting


@given(values=st.lists(st.floats(-10, 10), min_size=1, max_size=25), seed=st.integers(0, 1000))
@settings(max_examples=100)
def test_a_full_run_gives_the_exact_shares_and_curvature(values, seed):
    """All n steps exhaust the Krylov space: the mass below a threshold is the sum of squared parts of the gradient."""
    generator = torch.Generator().manual_seed(seed)
    A = known_spectrum(values, generator=generator)
    gradient = torch.randn(A.size, dtype=torch.float64, generator=generator)
    seen = gradient_spectrum(A, gradient)
    assert seen.is_exact and seen.num_matvecs <= A.size
    assert float(seen.weights.sum()) == pytest.approx(1.0, abs=1e-12)
    quotient = float(gradient @ (A @ gradient) / (gradient @ gradient))
    largest = max(map(abs, values))
    assert seen.curvature == pytest.approx(quotient, abs=1e-12 * largest + 1e-300)
    parts = torch.stack([A.eigenvector(i) @ gradient for i in range(A.size)]).square()
    for threshold in (-1.234567, 0.0, 2.345678):
        if float((A.eigenvalues - threshold).abs().min()) > 1e-9 * largest:
            expected = float(parts[A.eigenvalues < threshold].sum() / parts.sum())
            assert seen.negative_mass(threshold).value == pytest.approx(expected, abs=1e-8)


@pytest.mark.parametrize("num_steps", [1, 5, 20])
def test_the_curvature_is_exact_after_any_number_of_steps_and_equals_the_mean_node(num_steps, generator):
    A = known_spectrum("neural_network", 500, generator=generator)
    gradient = 1e-4 * torch.randn(500, dtype=torch.float64, generator=generator)
    seen = gradient_spectrum(A, gradient, num_steps=num_steps)
    assert seen.curvature == pytest.approx(float(gradient @ (A @ gradient) / (gradient @ gradient)), rel=1e-12)
    assert float((seen.weights * seen.nodes).sum()) == pytest.approx(seen.curvature, rel=1e-10)
    assert seen.gradient_norm == pytest.approx(float(gradient.norm())) and seen.num_matvecs == num_steps
    assert not seen.is_exact and seen.status is Status.COMPLETED


@pytest.mark.parametrize("share", [0.0, 0.25, 1.0])
def test_the_share_in_negative_curvature_is_found(share, generator):
    """A gradient made of two eigenvectors: the Krylov space has two dimensions, and the answer is exact."""
    A = known_spectrum("indefinite", 200, generator=generator)
    gradient = math.sqrt(share) * A.eigenvector(0) + math.sqrt(1 - share) * A.eigenvector(-1)
    seen = gradient_spectrum(A, gradient)
    mass = seen.negative_mass()
    assert mass.value == pytest.approx(share, abs=1e-9)
    assert mass.lower == mass.upper == mass.value and mass.standard_error == 0.0
    assert seen.is_exact and seen.num_matvecs == (2 if 0 < share < 1 else 1)


def test_what_the_gradient_does_not_point_along_stays_unseen_and_the_sentence_says_so(generator):
    """The matrix has lambda_min = -1, but a gradient without a part of it sees positive curvature only."""
    A = known_spectrum("indefinite", 60, generator=generator)
    gradient = sum(A.eigenvector(i) for i in range(30, 60))
    seen = gradient_spectrum(A, gradient, num_steps=10)
    assert seen.negative_mass().value == 0.0 and float(seen.nodes[0]) > 0 > A.lambda_min
    assert "never certifies lambda_min" in str(seen)


def test_bounds_hold_when_steps_are_few(generator):
    A = known_spectrum("neural_network", 400, generator=generator)
    gradient = torch.randn(400, dtype=torch.float64, generator=generator)
    parts = torch.stack([A.eigenvector(i) @ gradient for i in range(400)]).square()
    for num_steps in (1, 2, 4, 8, 16, 32):
        mass = gradient_spectrum(A, gradient, num_steps=num_steps).negative_mass(-0.02)
        truth = float(parts[A.eigenvalues < -0.02].sum() / parts.sum())
        assert mass.lower - 1e-9 <= truth <= mass.upper + 1e-9
        assert mass.lower - 1e-9 <= mass.value <= mass.upper + 1e-9
    assert mass.upper - mass.lower < 0.01


@pytest.mark.parametrize("name", KNOWN_PROBLEMS)
def test_convex_problems_show_no_negative_curvature(name):
    known = KNOWN_PROBLEMS[name]()
    seen = gradient_spectrum(MatrixOperator(known.hessian), known.problem.gradient())
    if known.is_convex:
        assert seen.negative_mass().value == 0.0
    else:
        assert 0.0 < seen.negative_mass().value < 1.0


@pytest.mark.parametrize("scale", [1e-6, 1.0, 1e6])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_shares_do_not_depend_on_the_scale_of_matrix_or_gradient(scale, dtype, generator):
    A = known_spectrum("neural_network", 200, dtype, scale=scale)
    gradient = torch.randn(200, dtype=dtype, generator=generator) / scale
    reference = gradient_spectrum(known_spectrum("neural_network", 200), gradient.double(), num_steps=30)
    seen = gradient_spectrum(A, gradient, num_steps=30)
    assert seen.negative_mass().value == pytest.approx(reference.negative_mass().value, abs=1e-3)
    assert seen.negative_threshold == pytest.approx(-0.02 * scale, rel=1e-4)


def test_a_zero_gradient_has_no_spectrum():
    A = known_spectrum("indefinite", 20)
    with pytest.raises(ValueError, match=r"exactly 0.*stationary point.*random start"):
        gradient_spectrum(A, torch.zeros(20, dtype=torch.float64))
    with pytest.raises(ValueError, match="finite"):
        gradient_spectrum(A, torch.full((20,), float("nan"), dtype=torch.float64))
    with pytest.raises(ValueError, match=r"start|gradient"):
        gradient_spectrum(A, torch.ones(21, dtype=torch.float64))
    with pytest.raises(ValueError, match="num_steps=0"):
        gradient_spectrum(A, torch.ones(20, dtype=torch.float64), num_steps=0)
    assert A.num_matvecs == 0


def test_an_interrupt_keeps_the_steps_taken():
    seen = gradient_spectrum(Interrupting(8), torch.ones(300, dtype=torch.float64))
    assert seen.status is Status.CUT_SHORT and len(seen.nodes) == 7
    with pytest.raises(KeyboardInterrupt):
        gradient_spectrum(Interrupting(1), torch.ones(300, dtype=torch.float64))


def test_a_product_that_is_not_finite_gives_nan_and_a_status():
    A = MatrixOperator(torch.eye(30, dtype=torch.float64))
    A.matrix[3, 3] = float("inf")
    seen = gradient_spectrum(A, torch.ones(30, dtype=torch.float64))
    assert seen.status is Status.NONFINITE_PRODUCT and "unknown" in str(seen)
    assert math.isnan(seen.curvature) and math.isnan(seen.negative_mass().value)


def test_near_a_saddle_the_gradient_turns_into_negative_curvature():
    """Steepest descent loses the positive part first: the share rises along it, as conjugate gradients would meet it."""
    known = saddle(12, 3)
    params, shares = known.problem.params(), []
    for _ in range(6):
        gradient = known.problem.gradient(params)
        shares.append(gradient_spectrum(MatrixOperator(known.hessian_at(params)), gradient).negative_mass().value)
        params = params - 0.2 * gradient
    assert shares[-1] > 0.9 > shares[0]
