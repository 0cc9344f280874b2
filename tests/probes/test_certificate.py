from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binom

from landscape.operators.matrix import MatrixOperator
from landscape.probes.certificate.certificate import Certificate, Verdict, certify_operator
from landscape.probes.certificate.deflation import Complement, DeflatedOperator, Deflation
from landscape.status import Status
from tests.probes.known_spectra import (
    BrokenOperator,
    DiagonalOperator,
    InterruptedOperator,
    matrix_with,
    operator_with,
    vision_transformer_like,
)

VIT = vision_transformer_like(1000)
CONVEX = torch.cat([torch.tensor([20.0, 10.0, 5.0]), torch.linspace(0.1, 1.0, 997)]).double()


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def singular(n: int, rank: int, generator: torch.Generator) -> torch.Tensor:
    """Positive semi-definite with n - rank zeros; the other eigenvalues span four decades."""
    return torch.cat([10 ** (4 * torch.rand(rank, generator=generator) - 3), torch.zeros(n - rank)]).double()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_well_conditioned_matrix_is_shown_to_be_above(dtype):
    result = certify_operator(DiagonalOperator(CONVEX.to(dtype)))
    assert result.verdict is Verdict.ABOVE
    assert result.is_above
    assert -1e-3 * result.lambda_max <= result.lower <= 0.1 <= result.upper
    assert result.num_matvecs < 40
    assert result.lambda_max <= 20.001
    assert result.lambda_max_upper >= 19.999
    assert result.failure_probability == result.delta == 1e-2


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_negative_curvature_is_shown_by_a_direction(dtype):
    operator = DiagonalOperator(VIT.to(dtype))
    result = certify_operator(operator)
    assert result.verdict is Verdict.NEGATIVE
    assert result.num_matvecs == operator.num_matvecs < 12
    direction = result.direction.double()
    curvature = float(direction @ (VIT * direction)) / float(direction @ direction)
    assert -0.80038 <= curvature <= result.upper < 0
    assert result.failure_probability == 0.0


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_going_on_makes_the_interval_as_tight_as_rounding(dtype):
    result = certify_operator(DiagonalOperator(VIT.to(dtype)), early=False)
    assert result.verdict is Verdict.NEGATIVE
    assert result.lower <= -0.80037 <= result.upper
    assert result.upper - result.lower <= 3.1 * result.error
    direction = result.direction.double()
    curvature = float(direction @ (VIT * direction)) / float(direction @ direction)
    assert curvature <= result.upper  # along the last witness, not the first
    assert result.error < 1e-4 * 29.4
    assert result.ratio == pytest.approx(-0.80037 / 29.3571, rel=1e-3)


def test_a_saddle_is_always_found():
    """120 of any size, with one to many negative eigenvalues of at least 1 % of the largest, from any start."""
    for seed in range(120):
        rng = np.random.default_rng(seed)
        n = int(rng.integers(2, 200))
        eigenvalues = rng.uniform(0, 1, n)
        eigenvalues[: rng.integers(1, n // 3 + 2)] *= -rng.uniform(0.01, 1)
        eigenvalues[0] = -abs(rng.uniform(0.01, 1)) * abs(eigenvalues).max()
        spectrum = torch.as_tensor(eigenvalues * 10.0 ** rng.integers(-6, 7)).to(
            torch.float32 if seed % 2 else torch.float64
        )
        result = certify_operator(DiagonalOperator(spectrum), eps=1e-4, generator=seeded(seed))
        assert result.verdict is Verdict.NEGATIVE, (seed, n, str(result))
        assert float(spectrum.min()) <= result.upper


def test_a_positive_semidefinite_matrix_is_never_called_negative():
    """80 exactly singular ones, dense so that products round, in both precisions, run to the end."""
    for seed in range(80):
        generator = seeded(seed)
        n = int(torch.randint(2, 80, (), generator=generator))
        rank = int(torch.randint(1, n + 1, (), generator=generator))
        factor = matrix_with(singular(n, rank, generator), generator)
        dtype = torch.float32 if seed % 2 else torch.float64
        operator = MatrixOperator(factor.to(dtype) * 10.0 ** (seed % 13 - 6))
        result = certify_operator(operator, early=False, max_matvecs=40, generator=generator)
        assert result.verdict is not Verdict.NEGATIVE, (seed, str(result))
        assert result.upper >= 0
        early = certify_operator(operator, generator=generator)
        assert early.verdict is not Verdict.NEGATIVE, (seed, str(early))


def test_the_lower_bound_fails_no_more_often_than_it_says():
    """500 random matrices, stopped at the first verdict: stopping early costs no probability."""
    delta, runs, failures, above = 0.3, 500, 0, 0
    for seed in range(runs):
        rng = np.random.default_rng(seed)
        n = int(rng.integers(3, 100))
        spectrum = np.concatenate(
            [rng.uniform(0, 1, n - 1) ** rng.integers(1, 4), [rng.choice([-0.02, 0.0, 0.01, 0.05])]]
        )
        result = certify_operator(
            DiagonalOperator(torch.as_tensor(spectrum)),
            eps=1e-2,
            delta=delta,
            negative_below=0.5,
            max_matvecs=20,
            generator=seeded(seed),
        )
        above += result.verdict is Verdict.ABOVE
        failures += result.lower > spectrum.min() + 1e-12 or result.lambda_max_upper < spectrum.max() - 1e-12
    assert failures <= binom.ppf(1 - 1e-6, runs, delta)
    assert above > 200


def test_restarts_multiply_the_probabilities_and_must_all_agree():
    one, three = (certify_operator(DiagonalOperator(CONVEX), restarts=m) for m in (1, 3))
    assert three.verdict is Verdict.ABOVE
    assert three.failure_probability == pytest.approx(1e-6)
    assert three.restarts == 3
    assert three.num_matvecs > 2 * one.num_matvecs
    assert three.lower <= one.lower
    negative = certify_operator(DiagonalOperator(VIT), restarts=3)
    assert (negative.verdict, negative.restarts) == (Verdict.NEGATIVE, 1)


def test_too_few_products_leave_it_undecided_and_say_how_many_more():
    short = certify_operator(DiagonalOperator(CONVEX), max_matvecs=6)
    assert short.verdict is Verdict.UNDECIDED
    assert short.status is Status.MAX_MATVECS
    assert short.lower < -0.02 < 0 < short.upper
    assert short.num_matvecs <= 6
    assert short.steps_needed is not None
    needed = certify_operator(DiagonalOperator(CONVEX)).num_matvecs
    assert 6 < short.steps_needed <= 4 * needed
    assert f"About {short.steps_needed} steps" in str(short)
    enough = certify_operator(DiagonalOperator(CONVEX), max_matvecs=2 * short.steps_needed)
    assert enough.verdict is Verdict.ABOVE


def test_a_tolerance_below_the_error_of_the_products_cannot_be_decided():
    eigenvalues = torch.cat([torch.zeros(10), torch.linspace(0.5, 1, 200)])
    result = certify_operator(DiagonalOperator(eigenvalues), eps=1e-8, max_matvecs=100)
    assert result.verdict is Verdict.UNDECIDED
    assert result.steps_needed is None
    assert "float64" in str(result)
    assert certify_operator(DiagonalOperator(eigenvalues.double()), eps=1e-8).verdict is Verdict.ABOVE


class CoarseOperator(DiagonalOperator):
    """Finite differences: products known to three digits only."""

    @property
    def product_error(self) -> float:
        return 1e-3


def test_the_error_of_the_products_is_part_of_the_interval():
    eigenvalues = torch.cat([torch.tensor([-0.005, 10.0]), torch.linspace(1, 5, 200)]).double()
    coarse, fine = (certify_operator(kind(eigenvalues), early=False) for kind in (CoarseOperator, DiagonalOperator))
    assert fine.verdict is Verdict.NEGATIVE
    assert coarse.verdict is Verdict.UNDECIDED
    assert coarse.lower <= -0.005 - 0.01
    assert coarse.upper >= -0.005 + 0.01


def test_an_asymmetric_product_is_part_of_the_error():
    skew = torch.randn(200, 200, dtype=torch.float64, generator=seeded(0))
    skew = 1e-2 * (skew - skew.T)

    class Asymmetric(DiagonalOperator):
        def _matvec(self, vector):
            return super()._matvec(vector) + skew @ vector

    eigenvalues = torch.linspace(0.0, 1.0, 200, dtype=torch.float64)
    crooked, honest = (certify_operator(kind(eigenvalues), max_matvecs=60) for kind in (Asymmetric, DiagonalOperator))
    assert honest.verdict is Verdict.ABOVE
    assert crooked.error > 100 * honest.error
    assert crooked.verdict is Verdict.UNDECIDED


def test_a_recurrence_that_the_products_contradict_convinces_nobody():
    """Two steps of one matrix look negative; the witness, a product of another one, says that it is not."""

    class Fickle(DiagonalOperator):
        def _matvec(self, vector):
            return super()._matvec(vector) - (0.5 * vector if self.num_matvecs <= 2 else 0.0)

    spectrum = torch.linspace(0.0, 1.0, 100, dtype=torch.float64)
    contradicted = certify_operator(Fickle(spectrum), max_matvecs=3)
    confirmed = certify_operator(DiagonalOperator(spectrum - 0.5), max_matvecs=3)
    assert (confirmed.verdict, confirmed.num_matvecs) == (Verdict.NEGATIVE, 3)
    assert (contradicted.verdict, contradicted.num_matvecs) == (Verdict.UNDECIDED, 3)


def test_negative_below_asks_for_more_than_a_sign():
    eigenvalues = torch.cat([torch.tensor([-1e-3]), torch.linspace(0.1, 1, 200)]).double()
    assert certify_operator(DiagonalOperator(eigenvalues)).verdict is Verdict.NEGATIVE
    tolerant = certify_operator(DiagonalOperator(eigenvalues), negative_below=1e-2, eps=1e-2)
    assert tolerant.verdict is Verdict.ABOVE
    both = certify_operator(DiagonalOperator(eigenvalues), eps=1e-2, early=False)
    assert both.verdict is Verdict.NEGATIVE
    assert both.is_above


def test_repeated_checks_share_one_probability():
    fifth = certify_operator(DiagonalOperator(CONVEX), delta=0.05, check_number=5)
    assert fifth.delta == fifth.failure_probability == pytest.approx(6 * 0.05 / (math.pi * 5) ** 2)
    assert fifth.lower < certify_operator(DiagonalOperator(CONVEX), delta=0.05).lower


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_operators_without_curvature_or_with_one_value_are_above(dtype):
    for value, n in ((0.0, 300), (1.0, 300), (1.0, 1), (0.0, 1), (2.0, 2)):
        result = certify_operator(DiagonalOperator(torch.full((n,), value, dtype=dtype)))
        assert result.verdict is Verdict.ABOVE
        assert result.num_matvecs == 1
        assert result.lower == pytest.approx(value, abs=2e-4)
        assert math.isnan(result.ratio) == (value == 0.0)
    negative = certify_operator(DiagonalOperator(torch.tensor([-1.0], dtype=dtype)))
    assert negative.verdict is Verdict.NEGATIVE


def test_a_limited_basis_still_finds_negative_curvature_but_bounds_only_from_its_start():
    """One weak negative direction, found after many restarts; the lower bound is that of the unrestarted part."""
    eigenvalues = torch.cat([torch.tensor([-0.01]), torch.linspace(0.0, 1.0, 500)]).double()
    rows = 12 * 501 * 8
    result = certify_operator(DiagonalOperator(eigenvalues), max_memory=rows, eps=1e-6, early=False, max_matvecs=150)
    assert result.verdict is Verdict.NEGATIVE
    assert result.upper < -0.009
    assert result.lower < -0.05
    limited = certify_operator(DiagonalOperator(CONVEX), max_memory=10 * 1000 * 8, eps=1e-6, max_matvecs=100)
    assert limited.verdict is Verdict.UNDECIDED
    assert limited.lower < 0


def test_a_basis_that_is_not_orthogonal_bounds_nothing(monkeypatch):
    monkeypatch.setattr("landscape.probes.lanczos.krylov.KrylovSpace.orthogonality_defect", lambda space: 1e-5)
    result = certify_operator(DiagonalOperator(CONVEX))
    assert result.verdict is Verdict.UNDECIDED
    assert result.lower == -math.inf
    assert result.lambda_max_upper == math.inf
    assert "orthogonality" in str(result)
    assert certify_operator(DiagonalOperator(VIT)).verdict is Verdict.NEGATIVE


@pytest.mark.parametrize("at", [1, 3])
def test_products_with_nan_leave_nothing_to_claim(at):
    result = certify_operator(BrokenOperator(CONVEX, at=at), restarts=2)
    assert (result.verdict, result.status) == (Verdict.UNDECIDED, Status.NONFINITE_PRODUCT)
    assert all(math.isnan(value) for value in (result.lower, result.upper, result.lambda_max, result.kw_lower))
    assert result.direction is None
    assert "NaN" in str(result)


@pytest.mark.parametrize("at", [1, 2, 9])
def test_ctrl_c_returns_the_interval_so_far(at):
    result = certify_operator(InterruptedOperator(CONVEX, at=at), restarts=2)
    assert (result.verdict, result.status) == (Verdict.UNDECIDED, Status.INTERRUPTED)
    assert result.num_matvecs == at
    assert result.lower < 0.1 < result.upper
    assert (result.lower == -math.inf) == (at == 1)
    str(result)


def test_a_callback_may_stop_it():
    result = certify_operator(DiagonalOperator(CONVEX), callback=lambda spent, ritz: spent == 4)
    assert (result.status, result.num_matvecs) == (Status.INTERRUPTED, 4)


def test_deflated_directions_are_left_out_of_the_question():
    """The only negative eigenvalues lie along two gauge directions: convex modulo symmetry."""
    generator = seeded(0)
    eigenvalues = torch.cat([torch.tensor([-1.0, -2.0]), torch.linspace(0.5, 10, 98)]).double()
    matrix = matrix_with(eigenvalues, generator)
    _, vectors = torch.linalg.eigh(matrix)
    project = Complement(torch.cat([vectors[:, :2].T, vectors[:, :1].T * 3]))
    assert isinstance(project.dimension, int)
    assert project.dimension == 98
    with_them, without = (certify_operator(MatrixOperator(matrix), deflate=deflate) for deflate in (None, project))
    assert with_them.verdict is Verdict.NEGATIVE
    assert without.verdict is Verdict.ABOVE
    assert "projector" in str(without)
    whole = certify_operator(MatrixOperator(matrix), deflate=project, early=False)
    assert whole.lower <= 0.5 <= whole.upper
    assert whole.upper - whole.lower < 1e-8


def test_a_deflation_that_is_no_projector_is_refused():
    class Half:
        dimension = 99

        def __call__(self, vector):
            return vector / 2

    class Oblique(Half):
        def __call__(self, vector):
            left = vector.clone()
            left[0] = left[1]
            return left

    class Large(Half):
        dimension = 101

    operator = DiagonalOperator(torch.ones(100))
    for kind, message in (
        (Half, "orthogonal projector"),
        (Oblique, "orthogonal projector"),
        (Large, "dimension is 101"),
    ):
        deflation: Deflation = kind()
        with pytest.raises(ValueError, match=message):
            certify_operator(operator, deflate=deflation)
    with pytest.raises(ValueError, match="span 3 of 3"):
        Complement(torch.eye(3))
    with pytest.raises(ValueError, match="finite rows"):
        Complement(torch.full((1, 3), torch.nan))
    assert operator.num_matvecs == 0


def test_a_deflated_operator_is_symmetric_and_counts_on_its_base():
    generator = seeded(0)
    operator = operator_with(torch.linspace(-1, 1, 30).double(), generator)
    deflated = DeflatedOperator(operator, Complement(torch.randn(3, 30, generator=generator).double()), generator)
    dense = deflated.to_dense()
    torch.testing.assert_close(dense, dense.T)
    assert int((torch.linalg.eigvalsh(dense).abs() < 1e-12).sum()) == 3
    assert operator.num_matvecs == 30


@settings(max_examples=20)
@given(exponent=st.integers(-6, 6), seed=st.integers(0, 1000))
def test_the_verdict_does_not_depend_on_the_scale(exponent, seed):
    scale = 2.0 ** (3 * exponent)
    for eigenvalues in (CONVEX[:200], VIT[:200]):
        one, other = (certify_operator(DiagonalOperator(f * eigenvalues), generator=seeded(seed)) for f in (1.0, scale))
        assert one.verdict is other.verdict
        assert other.upper == pytest.approx(scale * one.upper, rel=1e-6)
        assert other.lower == pytest.approx(scale * one.lower, rel=1e-6)


def test_the_sentence_names_all_four_conditions():
    result = certify_operator(DiagonalOperator(CONVEX))
    assert isinstance(result, Certificate)
    assert len(result.conditions) == 4
    text = str(result)
    assert text.startswith("ABOVE: lambda_min is at least")
    for words in (
        "start vector",
        "1000 coordinates in float64",
        "parameters",
        "derivative",
        f"{result.num_matvecs} products",
    ):
        assert words in text
    assert "no probability" in str(certify_operator(DiagonalOperator(VIT)))


def test_the_bound_from_the_number_of_steps_stands_beside_it():
    result = certify_operator(DiagonalOperator(CONVEX), early=False, max_matvecs=80)
    assert result.kw_lower <= result.lower <= 0.1


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"eps": 0.0}, "eps=0.0"),
        ({"eps": 1.0}, "eps=1.0"),
        ({"delta": 1.0}, "delta=1.0"),
        ({"delta": math.nan}, "delta=nan"),
        ({"restarts": 0}, "restarts=0"),
        ({"max_matvecs": 0}, "max_matvecs=0"),
        ({"negative_below": -1.0}, "negative_below=-1.0"),
        ({"check_number": 0}, "check_number=0"),
        ({"max_memory": 100}, "max_memory=100"),
    ],
)
def test_wrong_input_is_refused_before_any_product(options, message):
    operator = DiagonalOperator(CONVEX)
    with pytest.raises(ValueError, match=message):
        certify_operator(operator, **options)
    assert operator.num_matvecs == 0
    with pytest.raises(ValueError, match="MatrixOperator"):
        certify_operator(torch.eye(3), **options)


def test_looking_every_few_steps_comes_to_the_same_verdict(monkeypatch):
    """As on a device where looking means waiting: some products more, the same answers, the budget kept."""
    cases = [
        (CONVEX, {}),
        (VIT, {}),
        (VIT, {"max_memory": 9 * 1000 * 8, "early": False}),
        (torch.tensor([1.0, 1.0, 2.0]).double().repeat(20), {"max_memory": 9 * 60 * 8}),
        (torch.tensor([-1.0, 2.0]).double(), {}),
        (CONVEX, {"max_matvecs": 7}),
    ]
    each = [certify_operator(DiagonalOperator(spectrum), **options) for spectrum, options in cases]
    monkeypatch.setattr("landscape.probes.lanczos.krylov.steps_between_looks", lambda device: 5)
    for (spectrum, options), expected in zip(cases, each, strict=True):
        operator = DiagonalOperator(spectrum)
        result = certify_operator(operator, **options)
        assert result.verdict is expected.verdict
        assert (
            expected.num_matvecs
            <= operator.num_matvecs
            <= min(expected.num_matvecs + 5, options.get("max_matvecs", 200))
        )
    lost = certify_operator(BrokenOperator(CONVEX, at=3))
    assert lost.status is Status.NONFINITE_PRODUCT
