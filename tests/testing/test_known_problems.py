from __future__ import annotations

import pytest
import torch

from landscape.testing.problems import (
    KNOWN_PROBLEMS,
    function_problem,
    least_squares,
    logistic_regression,
    quadratic,
    saddle,
)
from landscape.testing.spectra import known_spectrum


def differences(problem, params, step=1e-5):
    """The Hessian by central differences of the gradient."""
    columns = []
    for unit in step * torch.eye(params.numel(), dtype=params.dtype):
        columns.append((problem.gradient(params + unit) - problem.gradient(params - unit)) / (2 * step))
    return torch.stack(columns)


@pytest.mark.parametrize("name", KNOWN_PROBLEMS)
def test_the_known_hessian_is_that_of_the_loss(name, generator):
    known = KNOWN_PROBLEMS[name]()
    here = known.problem.params()
    there = here + torch.randn(here.shape, generator=generator, dtype=torch.float64)
    torch.testing.assert_close(differences(known.problem, here), known.hessian, rtol=0, atol=1e-8)
    torch.testing.assert_close(differences(known.problem, there), known.hessian_at(there), rtol=0, atol=1e-8)


@pytest.mark.parametrize("name", KNOWN_PROBLEMS)
def test_what_is_called_convex_has_no_negative_eigenvalue_anywhere_tried(name, generator):
    known = KNOWN_PROBLEMS[name]()
    points = 3.0 * torch.randn(20, known.problem.num_params, generator=generator, dtype=torch.float64)
    lowest = min(
        float(torch.linalg.eigvalsh(known.hessian_at(point))[0]) for point in [*points, known.problem.params()]
    )
    assert (lowest >= 0) == known.is_convex


@pytest.mark.parametrize("make", [least_squares, logistic_regression])
def test_batches_do_not_change_the_loss_nor_the_data(make):
    whole, ragged = make(), make(batch_size=7)
    assert float(whole.problem.loss()) == pytest.approx(float(ragged.problem.loss()), rel=1e-13)
    torch.testing.assert_close(whole.problem.gradient(), ragged.problem.gradient())


def test_the_saddle_has_the_negative_directions_asked_for_and_lower_points_beside_it():
    known = saddle(10, 4)
    origin = torch.zeros(10, dtype=torch.float64)
    eigenvalues, vectors = torch.linalg.eigh(known.hessian_at(origin))
    torch.testing.assert_close(eigenvalues[:4], torch.linspace(-2, -1, 4, dtype=torch.float64))
    assert float(known.problem.loss(0.5 * vectors[:, 0])) < float(known.problem.loss(origin)) == 0.0
    assert float(known.problem.gradient(origin).norm()) == 0.0


def test_a_quadratic_takes_a_matrix_of_known_spectrum():
    A = known_spectrum("neural_network", 12)
    known = quadratic(A.to_dense(), linear=torch.ones(12, dtype=torch.float64))
    torch.testing.assert_close(torch.linalg.eigvalsh(known.hessian), A.eigenvalues)
    assert not known.is_convex
    assert quadratic(known_spectrum("positive_definite", 12).to_dense()).is_convex


def test_making_a_problem_draws_no_global_random_numbers():
    before = torch.get_rng_state()
    for make in KNOWN_PROBLEMS.values():
        make()
    function_problem(torch.sum, torch.ones(2))
    assert torch.equal(before, torch.get_rng_state())


def test_float32_problems_stay_in_float32():
    for make in (saddle, least_squares, logistic_regression):
        known = make(dtype=torch.float32)
        assert known.problem.gradient().dtype == torch.float32
        assert known.hessian.dtype == torch.float64


def test_settings_that_would_make_the_name_a_lie_are_refused():
    with pytest.raises(ValueError, match="num_negative=6"):
        saddle(6, 6)
    with pytest.raises(ValueError, match="weight_decay=-1"):
        logistic_regression(weight_decay=-1.0)
