from __future__ import annotations

import copy
import io

import pytest
import torch

from landscape.optim import ConjugateGradient
from landscape.optim.beta import dai_yuan
from tests.optim.known_losses import SEARCH_AND_BETA, Counting, parameter, rosenbrock, run

START = [-1.2, 1.0, 0.3, -0.7, 2.0]


def saved_and_loaded(content: object) -> dict:
    file = io.BytesIO()
    torch.save(content, file)
    file.seek(0)
    return torch.load(file, weights_only=True)


def two_tensors(dtype: torch.dtype) -> list[torch.Tensor]:
    return [parameter(START[:3], dtype), parameter([START[3:]], dtype)]


def loss(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    return rosenbrock(torch.cat([x, y.reshape(-1)]))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
@pytest.mark.parametrize(("line_search", "beta"), SEARCH_AND_BETA)
@pytest.mark.parametrize("unconditional", [False, True])
def test_a_resumed_run_is_bit_identical(beta, line_search, dtype, unconditional):
    """2k steps against k steps, a file, and k steps; the same results at the same cost."""
    params = two_tensors(dtype)
    optimizer = ConjugateGradient(params, beta=beta, line_search=line_search)
    closure = Counting(loss, *params, unconditional=unconditional)
    run(optimizer, closure, 9)
    file = saved_and_loaded({"params": [param.detach() for param in params], "optimizer": optimizer.state_dict()})

    resumed_params = two_tensors(dtype)
    resumed = ConjugateGradient(resumed_params)
    resumed.load_state_dict(file["optimizer"])
    with torch.no_grad():
        for param, value in zip(resumed_params, file["params"], strict=True):
            param.copy_(value)
    resumed_closure = Counting(loss, *resumed_params, unconditional=unconditional)
    for _ in range(9):
        optimizer.step(closure)
        resumed.step(resumed_closure)
        assert repr(resumed.last) == repr(optimizer.last)
        for param, resumed_param in zip(params, resumed_params, strict=True):
            assert torch.equal(param, resumed_param)
            assert torch.equal(param.grad, resumed_param.grad)


def test_the_state_of_every_parameter_has_its_shape():
    params = two_tensors(torch.float32)
    optimizer = ConjugateGradient(params)
    run(optimizer, Counting(loss, *params), 3)
    for param in params:
        for name in ("point", "gradient", "direction"):
            assert optimizer.state[param][name].shape == param.shape
            assert optimizer.state[param][name].dtype == param.dtype


def test_a_loaded_optimiser_shares_nothing_with_the_one_that_was_saved():
    params = two_tensors(torch.float64)
    optimizer = ConjugateGradient(params)
    closure = Counting(loss, *params)
    run(optimizer, closure, 5)
    twins = copy.deepcopy(params)
    other = ConjugateGradient(twins)
    other.load_state_dict(optimizer.state_dict())
    run(other, Counting(loss, *twins), 5)
    ends = [twin.detach().clone() for twin in twins]
    run(optimizer, closure, 5)
    for param, end in zip(params, ends, strict=True):
        assert torch.equal(param, end)


def test_a_state_of_other_parameters_is_noticed():
    params = two_tensors(torch.float64)
    optimizer = ConjugateGradient(params)
    run(optimizer, Counting(loss, *params), 5)
    state = saved_and_loaded(optimizer.state_dict())
    fresh = two_tensors(torch.float64)
    other = ConjugateGradient(fresh)
    other.load_state_dict(state)
    other.step(Counting(loss, *fresh))
    assert other.last.restarted
    assert other.last.loss_before == loss(*two_tensors(torch.float64)).item()


def test_the_state_before_the_first_step_and_after_a_stall_resume():
    x = parameter([1.0])
    optimizer = ConjugateGradient([x])
    optimizer.load_state_dict(saved_and_loaded(optimizer.state_dict()))
    closure = Counting(lambda x: x.sum() if x.item() >= 1.0 else x.sum() * torch.nan, x)
    run(optimizer, closure, 8)
    other = ConjugateGradient([x])
    other.load_state_dict(saved_and_loaded(optimizer.state_dict()))
    other.step(closure)
    assert other.last.status is optimizer.last.status
    assert other.last.gradient_equivalents == 0.0


def test_the_options_come_from_the_state_and_a_function_has_to_be_given_again():
    x = parameter(START)
    state = saved_and_loaded(ConjugateGradient([x], "dy", "golden", xtol=0.3).state_dict())
    other = ConjugateGradient([x])
    other.load_state_dict(state)
    assert (other.param_groups[0]["beta"], other.param_groups[0]["xtol"]) == ("dy", 0.3)

    state = saved_and_loaded(ConjugateGradient([x], dai_yuan).state_dict())
    with pytest.raises(ValueError, match="beta='dai_yuan'"):
        other.load_state_dict(state)
    run(other, Counting(rosenbrock, x), 2)  # the refusal has left it usable
    ConjugateGradient([x], dai_yuan).load_state_dict(state)


def test_the_state_of_another_optimiser_is_refused():
    x = parameter(START)
    with pytest.raises(ValueError, match="another optimiser"):
        ConjugateGradient([x]).load_state_dict(torch.optim.Adam([x]).state_dict())
