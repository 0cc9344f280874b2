"""Differences of gradients carry an error estimate that holds."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F

from landscape import Problem
from tests.operators.references import dense_hessian, small_mlp, vector
from tests.problems import regression_data


@pytest.mark.parametrize(("dtype", "expected"), [(torch.float64, 1e-8), (torch.float32, 3e-3)])
@pytest.mark.parametrize("scale", [1e-3, 1.0, 1e3])
def test_the_estimated_error_is_about_the_true_one_at_every_scale_of_the_loss(dtype, expected, scale):
    inputs, targets = regression_data()

    def loss_fn(output, target):
        return scale * F.mse_loss(output, target)

    problem = Problem(small_mlp(), loss_fn, (inputs, targets))
    exact = dense_hessian(problem)
    problem = Problem(problem.model.to(dtype), loss_fn, (inputs.to(dtype), targets.to(dtype)))
    operator = problem.hessian(method="finite-difference")
    error = torch.linalg.matrix_norm(operator.to_dense().double() - exact, 2)
    true = float(error / torch.linalg.matrix_norm(exact, 2))
    assert true < 5 * operator.product_error
    assert operator.product_error < expected


def test_products_cost_two_gradients_and_the_step_twenty_nine():
    problem = Problem(small_mlp(), F.mse_loss, regression_data())
    operator = problem.hessian(method="finite-difference", verify=False)
    operator @ vector(23)
    assert problem.cost.gradients == 31
    operator @ torch.eye(23).double()
    assert problem.cost.gradients == 31 + 46
    assert problem.cost.product_samples == 0


def test_the_zero_vector_needs_no_step_to_be_right():
    operator = Problem(small_mlp(), F.mse_loss, regression_data()).hessian(method="finite-difference")
    assert not (operator @ torch.zeros(23).double()).any()


def test_an_error_that_cannot_be_estimated_is_infinite():
    inputs, targets = regression_data()
    targets[0] = torch.nan
    operator = Problem(small_mlp(), F.mse_loss, (inputs, targets)).hessian(method="finite-difference", verify=False)
    assert (operator @ vector(23)).isnan().any()
    assert math.isinf(operator.product_error)
