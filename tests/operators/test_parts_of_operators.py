"""Submatrices, sums, blocks, SciPy and curvature by parts of the data."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse.linalg
import torch
import torch.nn.functional as F

from landscape import Problem
from landscape.testing.operators import check_operator
from tests.operators.references import dense_hessian, small_mlp, vector
from tests.problems import regression_data

KINDS = ["hessian", "gauss_newton", "fisher"]


def problem_of(**settings) -> Problem:
    return Problem(small_mlp(), F.mse_loss, regression_data(), **settings)


@pytest.mark.parametrize("kind", [*KINDS, "differences"])
@pytest.mark.parametrize("globs", ["0.*", "*.bias", ["2.weight", "0.bias"]])
def test_a_restriction_by_name_is_the_principal_submatrix(kind, globs):
    problem = problem_of(batch_size=4)
    make = problem.hessian if kind == "differences" else getattr(problem, kind)
    operator = make(method="finite-difference") if kind == "differences" else make()
    where = operator.coordinates(globs)
    part = operator.restrict(globs)
    assert part.size == len(where)
    torch.testing.assert_close(part.to_dense(), operator.to_dense()[where][:, where], rtol=1e-7, atol=1e-8)
    nested = part.restrict("0.bias") if globs != "*.bias" else part.restrict("2.bias")
    assert list(nested.blocks) == ["0.bias" if globs != "*.bias" else "2.bias"]
    check_operator(part)


@pytest.mark.parametrize("kind", KINDS)
def test_a_restriction_by_name_shares_the_graphs(kind):
    problem = problem_of()
    operator = getattr(problem, kind)()
    operator @ vector(23)
    spent, counted = problem.cost.copy(), operator.num_matvecs
    part = operator.restrict("2.*")
    part @ vector(part.size)
    used = problem.cost.since(spent)
    assert (used.forwards, used.gradients, used.hessian_products) == (0, 0, 1)
    assert (operator.num_matvecs, part.num_matvecs) == (counted, 1)
    assert "in 2 of its tensors" in part.description


def test_a_restricted_difference_estimates_the_error_of_the_submatrix():
    """Relative to its own norm, which may be far below that of the whole."""
    inputs, targets = regression_data()
    problem = Problem(small_mlp(), F.mse_loss, (inputs * torch.tensor([1e3, 1.0, 1.0, 1.0]).double(), targets))
    with torch.no_grad():
        problem.parameters[0][:, 0] *= 1e-3
    operator = problem.hessian(method="finite-difference")
    part = operator.restrict("2.bias")
    exact = dense_hessian(problem)[-2:, -2:]
    error = float(torch.linalg.matrix_norm(part.to_dense() - exact, 2) / torch.linalg.matrix_norm(exact, 2))
    assert error < 5 * part.product_error < 1e-6
    assert part.product_error != operator.product_error


def test_a_restriction_to_coordinates_is_the_submatrix():
    problem = problem_of()
    dense = dense_hessian(problem)
    where = torch.tensor([3, 11, 20])
    torch.testing.assert_close(problem.hessian().restrict(where).to_dense(), dense[where][:, where])


def test_names_that_match_nothing_are_refused_with_the_names_that_there_are():
    with pytest.raises(ValueError, match=r"matches none of the names: 0.weight, 0.bias, 2.weight, 2.bias"):
        problem_of().hessian().restrict("head.*")


def test_sums_and_scales_are_those_of_the_matrices():
    problem = problem_of()
    H, G = problem.hessian(), problem.gauss_newton()
    expected = H.to_dense() - 0.5 * G.to_dense()
    torch.testing.assert_close((H - 0.5 * G).to_dense(), expected)
    part = (H - 0.5 * G).restrict("2.*")
    torch.testing.assert_close(part.to_dense(), expected[15:, 15:])


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("max_memory", [None, 1.0])
def test_a_block_gives_the_products_of_its_columns(kind, max_memory):
    operator = getattr(problem_of(batch_size=4), kind)(max_memory=max_memory)
    block = torch.stack([vector(23, seed) for seed in range(5)], dim=1)
    columns = torch.stack([operator @ column for column in block.T], dim=1)
    torch.testing.assert_close(operator @ block, columns, rtol=1e-13, atol=1e-14)


def test_scipy_finds_the_ends_of_the_dense_spectrum():
    problem = problem_of()
    expected = torch.linalg.eigvalsh(dense_hessian(problem)).numpy()
    found = scipy.sparse.linalg.eigsh(problem.hessian().to_scipy(), k=4, which="BE", return_eigenvectors=False)
    np.testing.assert_allclose(np.sort(found), [*expected[:2], *expected[-2:]], rtol=1e-7)


@pytest.mark.parametrize("reduction", ["mean", "sum"])
@pytest.mark.parametrize("kind", KINDS)
def test_curvatures_by_parts_average_to_the_whole(kind, reduction):
    data = regression_data()
    model = small_mlp()
    cut = [tuple(t[where] for t in data) for where in (slice(0, 2), slice(2, 7), slice(7, 11))]
    operator = getattr(Problem(model, torch.nn.MSELoss(reduction=reduction), cut), kind)()
    values, weights = operator.quadratic_forms(vector(23))
    assert float(weights.sum()) == pytest.approx(1.0, abs=1e-15)
    torch.testing.assert_close(weights, torch.tensor([2, 5, 4]).double() / 11)
    assert float(values @ weights) == pytest.approx(float(vector(23) @ (operator @ vector(23))), rel=1e-12)
    if kind == "hessian":
        first = Problem(model, torch.nn.MSELoss(reduction=reduction), cut[:1]).hessian()
        assert float(values[0]) == pytest.approx(float(vector(23) @ (first @ vector(23))), rel=1e-12)


def test_curvature_by_parts_of_differences_is_the_whole():
    operator = problem_of().hessian(method="finite-difference")
    values, weights = operator.quadratic_forms(vector(23))
    assert weights.tolist() == [1.0]
    assert float(values[0]) == pytest.approx(float(vector(23) @ (operator @ vector(23))))
