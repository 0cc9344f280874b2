"""Whatever torch.nn offers: products are right, or what stands in their way is named, never silently wrong."""

from __future__ import annotations

import warnings

import pytest
import torch

from landscape import Problem
from landscape.autodiff.twice import SecondDerivativeError
from landscape.operators.choose import FiniteDifferenceWarning
from tests.operators.layers import LAYERS, LOSSES, layer_problem, loss_problem
from tests.operators.references import vector

#: What torch 2.13 cannot differentiate twice on a CPU, and the module that is to be named.
NOT_TWICE = {
    "EmbeddingBag": "'layer' (EmbeddingBag)",
    "Hardsigmoid": "'layer' (Hardsigmoid)",
    "cdist": "the model itself (Call)",
    **dict.fromkeys(("CTC", "MultiMargin", "MultiLabelMargin"), "look at the loss function"),
}


def difference_of_gradients(problem: Problem, direction: torch.Tensor, step: float = 1e-5) -> torch.Tensor:
    point = problem.params()
    ahead, behind = (problem.gradient(point + sign * step * direction) for sign in (1, -1))
    return (ahead - behind) / (2 * step)


@pytest.mark.parametrize("name", [*LAYERS, *LOSSES])
def test_products_are_the_differences_of_gradients_or_what_forbids_them_is_named(name):
    problem = layer_problem(name) if name in LAYERS else loss_problem(name)
    direction = vector(problem.num_params, 7)
    direction /= direction.norm()
    expected = difference_of_gradients(problem, direction)

    if name in NOT_TWICE:
        with pytest.raises(SecondDerivativeError) as caught:
            problem.hessian()
        assert NOT_TWICE[name] in str(caught.value)
        with pytest.warns(FiniteDifferenceWarning, match="differences of gradients"):
            operator = problem.hessian(method="auto")
        tolerance = max(1e-6, 10 * operator.product_error)
        assert tolerance < 1e-4
    else:
        operator = problem.hessian()
        assert problem.verify().ok
        tolerance = 1e-6

    error = (operator @ direction - expected).norm()
    assert error <= tolerance * expected.norm() + 1e-9


@pytest.mark.parametrize("name", sorted(set(LAYERS) - set(NOT_TWICE)))
def test_every_layer_passes_verification_in_float32(name):
    report = layer_problem(name, torch.float32).verify()
    assert report.ok, str(report)


def test_auto_does_not_warn_where_double_backward_works():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert layer_problem("attention").hessian(method="auto").by == "double backward"
