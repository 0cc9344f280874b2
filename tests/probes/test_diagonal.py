from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from landscape.operators.matrix import MatrixOperator
from landscape.probes.spectrum.diagonal import diagonal
from landscape.testing.spectra import known_spectrum

METHODS = ["xdiag", "hutchinson"]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("scale", [1e-6, -1.0, 1e6])
def test_low_ranks_are_exact(dtype, scale, generator):
    A = known_spectrum("low_rank", 100, dtype, generator, scale)
    truth = A.to_dense().diagonal()
    estimate = diagonal(A, num_matvecs=20, generator=generator)
    assert float((estimate.values - truth).abs().max()) <= 3.0 * abs(scale) * A.product_error
    assert float(estimate.standard_errors.max()) <= 3.0 * abs(scale) * A.product_error


def test_random_signs_alone_are_exact_for_a_diagonal_matrix(generator):
    entries = torch.randn(50, dtype=torch.float64, generator=generator)
    estimate = diagonal(MatrixOperator(torch.diag(entries)), num_matvecs=4, method="hutchinson")
    torch.testing.assert_close(estimate.values, entries)
    assert float(estimate.standard_errors.max()) <= 1e-14


def test_xdiag_is_the_mean_of_the_estimates_without_each_vector(generator):
    """The closed form against k separate estimates made from dense matrices."""
    from landscape.probes.spectrum.trace import random_signs

    n, k = 40, 6
    A = known_spectrum("indefinite", n, generator=generator)
    dense, state = A.to_dense(), generator.get_state()
    estimate = diagonal(A, num_matvecs=2 * k, generator=generator)
    generator.set_state(state)
    signs = random_signs(A, k, generator)
    terms = []
    for i in range(k):
        Q = torch.linalg.qr(dense @ signs[:, [j for j in range(k) if j != i]]).Q
        rest = dense - Q @ (Q.T @ dense)
        terms.append((Q @ (Q.T @ dense)).diagonal() + signs[:, i] * (rest @ signs[:, i]))
    terms = torch.stack(terms)
    torch.testing.assert_close(estimate.values, terms.mean(dim=0))
    torch.testing.assert_close(estimate.standard_errors, terms.std(dim=0) / k**0.5)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("name", ["indefinite", "negative_definite", "neural_network", "decaying"])
def test_entries_are_unbiased_and_their_standard_errors_honest(method, name, generator):
    """Over 100 estimates of 60 entries: z-scores of the means have size 1, and 2 standard errors cover 9 in 10."""
    A = known_spectrum(name, 60, generator=generator)
    truth = A.to_dense().diagonal()
    found = [diagonal(A, num_matvecs=30, method=method, generator=generator) for _ in range(100)]
    values = torch.stack([e.values for e in found])
    errors = torch.stack([e.standard_errors for e in found])
    scores = (values.mean(dim=0) - truth) / (values.std(dim=0) / 10)
    assert float(scores.square().mean().sqrt()) <= 1.5
    assert float(((values - truth).abs() <= 2 * errors).double().mean()) >= (0.80 if method == "xdiag" else 0.90)


@pytest.mark.parametrize("name", ["decaying", "one_outlier", "neural_network"])
def test_where_eigenvalues_decay_xdiag_is_far_better_at_equal_products(name, generator):
    A = known_spectrum(name, 100, generator=generator)
    truth = A.to_dense().diagonal()
    rms = {
        method: torch.stack(
            [diagonal(A, num_matvecs=30, method=method, generator=generator).values - truth for _ in range(20)]
        ).norm()
        for method in METHODS
    }
    assert float(rms["xdiag"]) * 5 < float(rms["hutchinson"])


@given(
    values=st.lists(st.floats(-1e3, 1e3), min_size=1, max_size=40),
    num_matvecs=st.integers(4, 50),
    method=st.sampled_from(METHODS),
)
@settings(max_examples=100)
def test_any_spectrum_gives_a_finite_diagonal_within_the_budget(values, num_matvecs, method):
    A = known_spectrum(values)
    estimate = diagonal(A, num_matvecs=num_matvecs, method=method)
    assert bool(torch.isfinite(estimate.values).all()) and bool((estimate.standard_errors >= 0).all())
    assert estimate.num_matvecs == A.num_matvecs <= num_matvecs
    if num_matvecs >= len(values):
        torch.testing.assert_close(estimate.values, A.to_dense().diagonal(), rtol=0, atol=1e-300)
        assert estimate.method == "exact"


@pytest.mark.parametrize("method", METHODS)
def test_nan_stays_nan(method):
    A = MatrixOperator(torch.eye(50))
    A.matrix[2, 2] = float("nan")
    estimate = diagonal(A, num_matvecs=12, method=method)
    assert bool(torch.isnan(estimate.values[2])) and "unknown" in str(estimate)


def test_the_sentence_says_range_error_and_cost():
    sentence = str(diagonal(known_spectrum("indefinite", 50), num_matvecs=12))
    assert "50 entries" in sentence and "standard error" in sentence and "12 products" in sentence


@pytest.mark.parametrize(("arguments", "message"), [({"method": "bks"}, "'xdiag'"), ({"num_matvecs": 3}, "at least 4")])
def test_settings_that_leave_no_standard_error_are_refused(arguments, message):
    A = known_spectrum("indefinite", 50)
    with pytest.raises(ValueError, match=message):
        diagonal(A, **arguments)
    assert A.num_matvecs == 0
