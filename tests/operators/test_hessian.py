"""Hessian products against dense matrices, at every point, however the data are cut."""

from __future__ import annotations

import functools

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from landscape import Problem
from landscape.testing.operators import check_operator
from tests.operators.references import dense_hessian, small_mlp, vector
from tests.problems import MODELS, regression_data
from tests.test_problem import LOSSES


def problem_of(name: str, **settings) -> Problem:
    return Problem(MODELS[name]().double(), F.mse_loss, regression_data(), **settings)


@pytest.mark.parametrize("name", sorted(MODELS))
def test_the_hessian_is_the_dense_one(name):
    problem = problem_of(name)
    torch.testing.assert_close(problem.hessian().to_dense(), dense_hessian(problem), rtol=1e-11, atol=1e-13)


@pytest.mark.parametrize("name", sorted(MODELS))
def test_at_another_point_it_is_the_hessian_of_a_model_that_stands_there(name):
    problem = problem_of(name)
    point = problem.params() + 0.3
    there = problem.hessian(point)
    assert torch.equal(there.params, point)
    dense = there.to_dense()
    torch.testing.assert_close(dense, dense_hessian(problem, point), rtol=1e-11, atol=1e-13)

    problem.set_params(point)

    torch.testing.assert_close(problem.hessian().to_dense(), dense, rtol=1e-12, atol=1e-14)


def test_a_parameter_filter_gives_the_principal_submatrix():
    chosen = problem_of("mlp", params=["0.*", "2.bias"])
    kept = torch.cat([torch.arange(25), torch.tensor([35, 36])])
    whole = dense_hessian(Problem(chosen.model, F.mse_loss, regression_data()))
    torch.testing.assert_close(chosen.hessian().to_dense(), whole[kept][:, kept])


@pytest.mark.parametrize("name", sorted(set(LOSSES) - {"own_mean"}))
@given(batch_size=st.integers(min_value=1, max_value=14))
def test_ragged_batches_give_the_one_batch_hessian(name, batch_size):
    torch.manual_seed(0)
    loss_fn, make_data = LOSSES[name]
    model, data = small_mlp(), make_data()
    direction = vector(23)
    whole = Problem(model, loss_fn, data).hessian(verify=False) @ direction
    cut = [tuple(t[i : i + batch_size] for t in data) for i in range(0, len(data[0]), batch_size)]
    parts = Problem(model, loss_fn, cut).hessian(verify=False) @ direction
    torch.testing.assert_close(parts, whole, rtol=1e-12, atol=1e-13)


@pytest.mark.parametrize("name", ["masked", "class_weights", "class_weights_smoothed", "probabilities", "mse_sum"])
def test_classification_and_sum_losses_give_the_dense_hessian(name):
    loss_fn, make_data = LOSSES[name]
    problem = Problem(small_mlp(), loss_fn, make_data(), batch_size=3)
    torch.testing.assert_close(problem.hessian().to_dense(), dense_hessian(problem), rtol=1e-11, atol=1e-13)


def test_ragged_batches_in_float32_agree_to_one_in_a_million():
    model = nn.Sequential(nn.Linear(4, 64), nn.Tanh(), nn.Linear(64, 2))
    data = regression_data(1000, torch.float32)
    direction = vector(450, dtype=torch.float32)
    whole = Problem(model, F.mse_loss, data).hessian() @ direction
    parts = Problem(model, F.mse_loss, data, batch_size=300).hessian(verify=False) @ direction
    assert (parts - whole).norm() < 1e-6 * whole.norm()


def test_half_precision_products_do_not_lose_what_many_batches_add():
    """Sums over 200 batches in bfloat16 would stop growing at 256 times a summand."""
    model = nn.Linear(4, 1, bias=False).bfloat16()
    inputs = torch.ones(800, 4, dtype=torch.bfloat16)
    problem = Problem(model, F.mse_loss, (inputs, inputs[:, :1]), batch_size=1)
    product = problem.hessian(verify=False) @ torch.ones(4, dtype=torch.bfloat16)
    assert product.dtype == torch.bfloat16
    assert product.tolist() == [8.0] * 4


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("name", sorted(MODELS))
def test_every_model_passes_the_contract_of_operators(name, dtype):
    problem = Problem(MODELS[name]().to(dtype), F.mse_loss, regression_data(dtype=dtype), batch_size=4)
    for operator in (problem.hessian(), problem.hessian(problem.params() + 0.1), problem.gauss_newton()):
        check_operator(operator)


def test_the_hessian_of_a_linear_least_squares_problem_is_known():
    inputs, targets = regression_data()
    problem = Problem(nn.Linear(4, 1, bias=False).double(), F.mse_loss, (inputs, targets[:, :1]))
    expected = 2 * inputs.T @ inputs / len(inputs)
    for method in ("autograd", "finite-difference", "auto"):
        torch.testing.assert_close(problem.hessian(method=method).to_dense(), expected, rtol=1e-8, atol=1e-9)


class Unused(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.used, self.unused = nn.Linear(4, 2), nn.Linear(4, 2)

    def forward(self, inputs):
        return self.used(inputs)


def test_a_parameter_that_the_loss_does_not_use_has_a_block_of_zeros():
    problem = Problem(Unused().double(), F.mse_loss, regression_data())
    for operator in (problem.hessian(), problem.gauss_newton(), problem.hessian(method="finite-difference")):
        dense = operator.to_dense()
        assert dense[:10, :10].abs().max() > 0.1
        assert not dense[10:].any() and not dense[:, 10:].any()


def test_a_loss_without_curvature_has_the_zero_hessian():
    problem = Problem(nn.Linear(4, 2).double(), lambda output, target: (output * target).mean(), regression_data())
    assert not problem.hessian().to_dense().any()
    assert problem.hessian(method="finite-difference").to_dense().abs().max() < 1e-9


def test_gradients_that_are_not_finite_give_products_that_are_not():
    inputs, targets = regression_data()
    targets[3] = torch.nan
    problem = Problem(small_mlp(), F.mse_loss, (inputs, targets))
    assert (problem.gauss_newton(verify=False) @ vector(23)).isfinite().all()  # the targets do not enter it
    assert (problem.hessian(verify=False) @ vector(23)).isnan().any()


@pytest.mark.parametrize("method", ["forward-over-reverse", "reverse-over-forward"])
def test_forward_mode_gives_the_dense_hessian_where_it_is_allowed(method):
    loss_fn = functools.partial(F.smooth_l1_loss, beta=0.5)
    problem = Problem(small_mlp(), loss_fn, regression_data(), batch_size=4)
    operator = problem.hessian(method=method)
    torch.testing.assert_close(operator.to_dense(), dense_hessian(problem), rtol=1e-10, atol=1e-12)
    check_operator(operator)


def test_it_works_under_no_grad_and_inference_mode():
    problem = Problem(small_mlp(), F.mse_loss, regression_data())
    expected = [problem.hessian() @ vector(23), problem.gauss_newton() @ vector(23)]
    data = regression_data()
    for context in (torch.no_grad, torch.inference_mode):
        with context():
            fresh = Problem(problem.model, F.mse_loss, data)
            point = fresh.params()
            assert torch.equal(fresh.hessian() @ vector(23), expected[0])
            torch.testing.assert_close(fresh.hessian(point) @ vector(23), expected[0])
            assert torch.equal(fresh.gauss_newton() @ vector(23), expected[1])
            values, weights = fresh.hessian().quadratic_forms(vector(23))
            assert float(values @ weights) == pytest.approx(float(vector(23) @ expected[0]))


def test_products_of_no_columns_and_of_vectors_with_graphs():
    problem = Problem(small_mlp(), F.mse_loss, regression_data())
    operator = problem.hessian()
    assert (operator @ torch.zeros(23, 0, dtype=torch.float64)).shape == (23, 0)
    with_graph = vector(23).requires_grad_() * 1.0
    product = operator @ with_graph
    assert not product.requires_grad
    assert torch.equal(product, operator @ vector(23))
