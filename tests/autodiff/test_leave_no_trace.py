from __future__ import annotations

import random
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from landscape.autodiff.leave_no_trace import leave_no_trace
from landscape.problem import Problem
from tests.problems import MODELS, regression_data


def traces(model: nn.Module) -> dict[str, Any]:
    """Everything that an evaluation could disturb, by value and by identity."""
    return {
        "state": {name: (tensor.clone(), id(tensor)) for name, tensor in model.named_parameters()},
        "buffers": {name: (buffer.clone(), id(buffer), buffer._version) for name, buffer in model.named_buffers()},
        "versions": [parameter._version for parameter in model.parameters()],
        "grads": [
            None if p.grad is None else (p.grad.clone(), id(p.grad), p.grad._version) for p in model.parameters()
        ],
        "requires_grad": [parameter.requires_grad for parameter in model.parameters()],
        "modes": [module.training for module in model.modules()],
        "torch": torch.get_rng_state(),
        "numpy": np.random.get_state()[1].tolist(),  # noqa: NPY002
        "python": random.getstate(),
    }


def assert_same(before: Any, after: Any) -> None:
    if isinstance(before, torch.Tensor):
        assert torch.equal(before, after)
    elif isinstance(before, dict):
        assert before.keys() == after.keys()
        for key in before:
            assert_same(before[key], after[key])
    elif isinstance(before, (list, tuple)):
        assert len(before) == len(after)
        for one, other in zip(before, after, strict=True):
            assert_same(one, other)
    else:
        assert before == after


class Boom(Exception):
    pass


@given(
    name=st.sampled_from(sorted(MODELS)),
    evaluation=st.sampled_from(["loss", "gradient", "loss_and_gradient", "elsewhere", "closure"]),
    batch_size=st.sampled_from([None, 1, 4]),
    with_gradients=st.booleans(),
    raises_at=st.sampled_from([None, 1, 2]),
)
def test_an_evaluation_leaves_no_trace_also_when_it_raises(name, evaluation, batch_size, with_gradients, raises_at):
    model = MODELS[name]().double()
    calls = 0

    def loss_of(model: nn.Module, batch: Any) -> torch.Tensor:
        nonlocal calls
        calls += 1
        # A hostile closure: draws from every generator and flips modes and flags.
        torch.rand(1), np.random.rand(), random.random()  # noqa: NPY002
        loss = (model(batch[0]) - batch[1]).square().mean()
        model.train()
        for parameter in model.parameters():
            parameter.requires_grad_(True)
        model.eval()
        if calls == raises_at:
            raise Boom
        return loss

    problem = Problem.from_closure(model, loss_of, regression_data(), batch_size=batch_size)
    if with_gradients:
        for parameter in model.parameters():
            parameter.grad = torch.ones_like(parameter)
    point = problem.params() + 0.1
    before = traces(model)

    def evaluate() -> None:
        if evaluation == "elsewhere":
            problem.loss_and_gradient(point)
        elif evaluation == "closure":
            with torch.no_grad():
                problem.closure()()
        else:
            getattr(problem, evaluation)()

    num_batches = 1 if batch_size is None else -(-problem.num_samples // batch_size)
    if raises_at is not None and raises_at <= num_batches:
        with pytest.raises(Boom):
            evaluate()
    else:
        evaluate()
    assert calls > 0
    assert_same(before, traces(model))


def test_a_loss_that_writes_into_the_parameters_is_named():
    model = nn.Linear(2, 1)
    with (
        pytest.raises(RuntimeError, match="changed the values of weight in place"),
        leave_no_trace(model, training=False),
    ):
        model.weight.data.mul_(1.0)
        with torch.no_grad():
            model.weight.clamp_(-1, 1)


def test_a_buffer_shared_by_two_modules_stays_shared_inside():
    model = nn.Sequential(nn.BatchNorm1d(2), nn.BatchNorm1d(2))
    model[1].running_mean = model[0].running_mean
    with leave_no_trace(model, training=False):
        assert model[0].running_mean is model[1].running_mean
        model[0].running_mean += 1
    assert model[0].running_mean is model[1].running_mean
    assert model[0].running_mean.tolist() == [0.0, 0.0]
