"""An operator belongs to its point, and nothing shows that it was there."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from landscape import Problem
from landscape.autodiff.twice import SecondDerivativeError
from tests.autodiff.test_leave_no_trace import Boom, assert_same, traces
from tests.operators.references import small_mlp, vector
from tests.problems import MODELS, regression_data

MATRICES = {
    "hessian": lambda problem, **settings: problem.hessian(**settings),
    "gauss_newton": lambda problem, **settings: problem.gauss_newton(**settings),
    "fisher": lambda problem, **settings: problem.fisher(**settings),
    "differences": lambda problem, **settings: problem.hessian(method="finite-difference"),
    "forward": lambda problem, **settings: problem.hessian(method="forward-over-reverse", verify=False),
}


def optimizer_step(model: nn.Module) -> None:
    next(model.parameters()).grad = torch.ones_like(next(model.parameters()))
    torch.optim.SGD(model.parameters(), lr=0.1).step()


def data_edit(model: nn.Module) -> None:
    next(model.parameters()).data[0] += 1e-3


MOVES = {"optimizer": optimizer_step, "data": data_edit}


def smooth_l1(output, target):  # forward mode fails for mse_loss (pytorch#123996)
    return F.smooth_l1_loss(output, target)


@pytest.mark.parametrize("move", sorted(MOVES))
@pytest.mark.parametrize("kind", sorted(MATRICES))
def test_it_refuses_to_work_once_the_model_has_moved_on(kind, move):
    problem = Problem(small_mlp(), F.mse_loss if kind != "forward" else smooth_l1, regression_data())
    operator = MATRICES[kind](problem)
    operator @ vector(23)
    MOVES[move](problem.model)
    with pytest.raises(RuntimeError, match="parameters have changed since this operator was made"):
        operator @ vector(23)
    with pytest.raises(RuntimeError, match="parameters have changed"):
        operator.quadratic_forms(vector(23))


@pytest.mark.parametrize("kind", ["hessian", "gauss_newton", "fisher"])
def test_at_a_fixed_point_it_goes_on_when_the_model_moves(kind):
    problem = Problem(small_mlp(), F.mse_loss, regression_data())
    operator = getattr(problem, kind)(problem.params())
    expected = operator @ vector(23)
    optimizer_step(problem.model)
    assert torch.equal(operator @ vector(23), expected)


def test_it_refuses_to_work_once_a_buffer_or_a_fixed_parameter_has_changed():
    inputs, _ = regression_data()
    normed = MODELS["batch_norm_and_dropout"]().double()
    frozen = MODELS["frozen"]().double()

    def move_frozen() -> None:
        with torch.no_grad():
            frozen[0].weight += 1.0

    for model, change, name in (
        (normed, lambda: normed.train()(inputs), "1.running_mean, 1.running_var"),
        (frozen, move_frozen, "0.weight"),
    ):
        problem = Problem(model, F.mse_loss, regression_data())
        for make in (problem.hessian, lambda problem=problem: problem.hessian(problem.params())):
            operator = make()
            operator @ vector(problem.num_params)
            change()
            with pytest.raises(RuntimeError, match=f"another function than when this operator was made: {name}"):
                operator @ vector(problem.num_params)


def test_nan_parameters_are_not_taken_for_a_move():
    problem = Problem(small_mlp(), F.mse_loss, regression_data())
    with torch.no_grad():
        problem.parameters[0][0, 0] = torch.nan
    operator = problem.hessian(verify=False)
    assert (operator @ vector(23)).isnan().any()
    data_edit(problem.model)
    with pytest.raises(RuntimeError, match="parameters have changed"):
        operator @ vector(23)


@settings(max_examples=60)
@given(
    name=st.sampled_from(sorted(MODELS)),
    kind=st.sampled_from(sorted(MATRICES)),
    elsewhere=st.booleans(),
    max_memory=st.sampled_from([None, 1.0]),
    raises_at=st.sampled_from([None, 1, 5, 9]),
)
def test_products_and_verification_leave_no_trace(name, kind, elsewhere, max_memory, raises_at):
    torch.manual_seed(0)
    model, calls = MODELS[name]().double(), 0
    for index, parameter in enumerate(model.parameters()):
        if index % 2 and parameter.requires_grad:
            parameter.grad = torch.ones_like(parameter)

    def loss_fn(output, target):
        nonlocal calls
        calls += 1
        torch.rand(1)
        if raises_at is not None and calls >= raises_at:
            raise Boom
        return smooth_l1(output, target)

    problem = Problem(model, loss_fn, regression_data(), batch_size=4, reduction="mean")
    before = traces(model)
    try:
        options = {"params": problem.params() + 0.1} if elsewhere else {}
        if kind == "fisher":
            options["sampler"] = lambda output, target, generator: output + 1.0
        operator = MATRICES[kind](problem, max_memory=max_memory, **options)
        operator @ vector(problem.num_params)
        operator @ torch.ones(problem.num_params, 2).double()
        operator.quadratic_forms(vector(problem.num_params))
    except Boom:
        assert raises_at is not None
    except SecondDerivativeError:
        assert (kind, name) == ("forward", "self_counting")  # it refuses to write a buffer
    assert_same(before, traces(model))


def test_a_graph_that_the_user_keeps_still_works():
    model, (inputs, targets) = small_mlp(), regression_data()
    problem = Problem(model, F.mse_loss, (inputs, targets))
    loss = F.mse_loss(model(inputs), targets)
    gradients = torch.autograd.grad(loss, problem.parameters, create_graph=True)
    operator = problem.hessian()
    product = operator @ vector(23)
    problem.verify(), problem.gauss_newton() @ vector(23), operator @ vector(23)
    again = torch.autograd.grad(gradients, problem.parameters, problem.layout.split(vector(23)), retain_graph=True)
    torch.testing.assert_close(torch.cat([piece.reshape(-1) for piece in again]), product)
    loss.backward()
    assert all(p.grad is not None for p in problem.parameters)
    assert torch.equal(operator @ vector(23), product)


def test_params_is_a_copy():
    problem = Problem(small_mlp(), F.mse_loss, regression_data())
    point = problem.params()
    for operator in (problem.hessian(), problem.hessian(point)):
        operator.params.zero_()
        expected = operator @ vector(23)
        operator.release()
        point.zero_()
        assert torch.equal(operator @ vector(23), expected)
        assert operator.params.any()
