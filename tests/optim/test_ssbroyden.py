from __future__ import annotations

import copy
import io
import math
import pickle

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from landscape.optim.broyden_family import UPDATES, Member, Mismatch
from landscape.optim.lbfgs import LBFGS
from landscape.optim.line_search import LINE_SEARCHES
from landscape.optim.ssbroyden import SelfScaledBroyden
from landscape.optim.step_result import Restart
from landscape.status import Status
from tests.optim.known_losses import (
    Counting,
    beale,
    log_barrier,
    parameter,
    positive_definite,
    rosenbrock,
    run,
    wood,
)

EVERY_UPDATE = pytest.mark.parametrize("update", UPDATES)
PROBLEMS = {
    "rosenbrock": (rosenbrock, [-1.2, 1.0], [1.0, 1.0]),
    "beale": (beale, [1.0, 1.0], [3.0, 0.5]),
    "wood": (wood, [-3.0, -1.0, -3.0, -1.0], [1.0, 1.0, 1.0, 1.0]),
}


@EVERY_UPDATE
def test_with_exact_searches_a_quadratic_sees_the_steps_of_linear_conjugate_gradients(update):
    """Every member of the Broyden class then goes the same way (Dixon 1972), however it is scaled."""
    generator = torch.Generator().manual_seed(2)
    A, b = positive_definite(12, 50.0, generator), torch.randn(12, dtype=torch.float64, generator=generator)
    x = parameter(torch.zeros(12))
    optimizer = SelfScaledBroyden([x], update, line_search="quadratic")
    closure = Counting(lambda x: 0.5 * x @ A @ x - b @ x, x)
    solution, residual = torch.zeros_like(b), b.clone()
    direction = residual
    for _ in range(8):
        step_size = (residual @ residual) / (direction @ A @ direction)
        solution = solution + step_size * direction
        following = residual - step_size * A @ direction
        direction = following + (following @ following) / (residual @ residual) * direction
        residual = following

        optimizer.step(closure)

        torch.testing.assert_close(x.detach(), solution, rtol=1e-5, atol=1e-6)
    run(optimizer, closure, 4)
    torch.testing.assert_close(x.detach(), torch.linalg.solve(A, b), rtol=1e-4, atol=1e-5)


@EVERY_UPDATE
@pytest.mark.parametrize("line_search", LINE_SEARCHES)
@pytest.mark.parametrize("problem", PROBLEMS)
def test_known_minima_are_reached(problem, line_search, update):
    loss, start, minimum = PROBLEMS[problem]
    x = parameter(start)
    optimizer = SelfScaledBroyden([x], update, line_search, xtol=0.01)
    run(optimizer, Counting(loss, x), 300, until=1e-8)
    assert optimizer.last.gradient_norm <= 1e-8
    torch.testing.assert_close(x.detach(), torch.tensor(minimum, dtype=x.dtype), rtol=1e-6, atol=1e-6)


def test_the_second_step_of_bfgs_is_that_of_lbfgs():
    """They differ in the multiple of the identity that H begins with: the first one for ever, or a new one each step."""
    ends = []
    for update_or_history, optimizer_class in (("bfgs", SelfScaledBroyden), (10, LBFGS)):
        x = parameter([-1.2, 1.0, 0.5])
        run(optimizer_class([x], update_or_history), Counting(rosenbrock, x), 2)
        ends.append(x.detach().clone())
    torch.testing.assert_close(*ends, rtol=1e-12, atol=1e-12)


@given(
    seed=st.integers(0, 10_000),
    dtype=st.sampled_from([torch.float32, torch.float64]),
    line_search=st.sampled_from(sorted(LINE_SEARCHES)),
    update=st.sampled_from(sorted(UPDATES)),
    scale=st.sampled_from([1e-12, 1.0, 1e12]),
)
@settings(max_examples=30, deadline=None)
def test_the_loss_never_rises_beyond_its_rounding(seed, dtype, line_search, update, scale):
    """Over random smooth, non-convex functions of any scale; what is reported is what is there."""
    generator = torch.Generator().manual_seed(seed)
    weights = torch.randn(6, 4, dtype=torch.float64, generator=generator).to(dtype) * 2.0
    targets = torch.randn(6, dtype=torch.float64, generator=generator).to(dtype)
    x = parameter(torch.randn(4, dtype=torch.float64, generator=generator), dtype)
    closure = Counting(
        lambda x: scale * (torch.sin(weights @ x) - targets + 0.1 * (weights @ x) ** 2).square().sum(), x
    )
    optimizer = SelfScaledBroyden([x], update, line_search)
    for _ in range(15):
        optimizer.step(closure)
        last = optimizer.last
        assert last.loss <= last.loss_before + max(1e-6, 4 * torch.finfo(dtype).eps) * abs(last.loss_before)
        assert last.loss == float(closure.loss(x).detach())
        assert last.status in (Status.ACCEPTED, Status.SEARCH_FAILED, Status.STALLED, Status.CONVERGED)


@EVERY_UPDATE
def test_a_preconditioned_run_is_a_plain_run_in_scaled_variables(update):
    root = torch.tensor([0.1, 1.0, 30.0, 0.5], dtype=torch.float64)
    x, z = parameter([-3.0, -1.0, -3.0, -1.0]), parameter(torch.tensor([-3.0, -1.0, -3.0, -1.0]).double() / root)
    in_x, in_z = SelfScaledBroyden([x], update, precond=root**2), SelfScaledBroyden([z], update, precond=None)
    closures = Counting(wood, x), Counting(lambda z: wood(root * z), z)
    for _ in range(12):
        in_x.step(closures[0])
        in_z.step(closures[1])
        torch.testing.assert_close(x.detach(), root * z.detach(), rtol=1e-6, atol=1e-8)


def test_a_step_along_negative_curvature_is_reported_and_teaches_nothing():
    x = parameter([0.1])
    optimizer = SelfScaledBroyden([x], line_search="quadratic", precond=0.05 * torch.ones(1, dtype=torch.float64))
    closure = Counting(lambda x: -torch.cos(x + 2.5).sum(), x)  # concave until x = -0.93
    optimizer.step(closure)
    assert optimizer.last.curvature < 0.0
    optimizer.step(closure)
    assert optimizer.last.restart is Restart.NOTHING_LEARNED
    run(optimizer, closure, 60, until=1e-8)
    assert math.cos(x.item() + 2.5) == pytest.approx(1.0, abs=1e-12)


def test_a_loss_replaced_by_a_similar_one_keeps_the_inverse_hessian():
    generator = torch.Generator().manual_seed(7)
    A, b = positive_definite(10, 30.0, generator), torch.randn(10, dtype=torch.float64, generator=generator)
    x = parameter(torch.zeros(10))
    optimizer = SelfScaledBroyden([x], "bfgs", "quadratic")
    run(optimizer, Counting(lambda x: 0.5 * x @ A @ x - b @ x, x), 10)
    similar = Counting(lambda x: 0.5 * x @ A @ x - 1.1 * b @ x, x)
    optimizer.loss_changed()
    optimizer.step(similar)
    assert optimizer.last.restart is None
    assert optimizer.last.num_gradients == 2
    # Ten exact steps have taught all there is to know: the first direction is Newton's.
    assert (A @ x.detach() - 1.1 * b).norm() < 1e-3 * (0.1 * b).norm()


class FaultyAt(Counting):
    """Adds a number to the loss at one of its calls."""

    def __init__(self, call: int, fault: float, x: torch.Tensor) -> None:
        super().__init__(rosenbrock, x)
        self.call, self.fault, self.calls = call, fault, 0

    def __call__(self) -> torch.Tensor:
        number, self.calls = self.calls, self.calls + 1
        loss = super().__call__()
        return loss + self.fault if number == self.call else loss


@pytest.mark.parametrize("line_search", ["hager-zhang", "quadratic"])
@pytest.mark.parametrize("fault", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("call", range(2, 34, 3))
def test_a_loss_that_is_not_finite_once_is_never_committed(line_search, fault, call):
    """At the first trial of a step, in the middle or at the last one."""
    x = parameter([-1.2, 1.0])
    optimizer, closure = SelfScaledBroyden([x], line_search=line_search), FaultyAt(call, fault, x)
    for _ in range(25):
        optimizer.step(closure)
        assert torch.isfinite(x).all()
        assert math.isfinite(optimizer.last.loss)
        assert optimizer.last.loss == rosenbrock(x).item() <= optimizer.last.loss_before * (1 + 1e-6)
    assert closure.calls > call


@EVERY_UPDATE
def test_a_barrier_is_never_crossed_and_its_minimum_is_found(update):
    x = parameter([0.0, -0.9, 0.5])
    optimizer, closure = SelfScaledBroyden([x], update), Counting(log_barrier, x)
    for _ in range(80):
        optimizer.step(closure)
        assert torch.isfinite(x).all()
    residual = 0.02 * x / (1 - x**2) + 2 * (x - 2)
    assert residual.abs().max().item() < 1e-6


def loss_of_two(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    return rosenbrock(torch.cat([x, y.reshape(-1)]))


def two_tensors(dtype: torch.dtype) -> list[torch.Tensor]:
    return [parameter([-1.2, 1.0, 0.3], dtype), parameter([[-0.7, 2.0]], dtype)]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("num_steps", [1, 3, 12])
@pytest.mark.parametrize("line_search", ["hager-zhang", "quadratic"])
@pytest.mark.parametrize("precond", [None, [torch.tensor([0.1, 1.0, 2.0]), torch.tensor([[1.0, 0.5]])]])
def test_a_resumed_run_is_bit_identical(num_steps, dtype, line_search, precond):
    """Some steps, a file, and more steps."""
    if precond is not None:
        precond = [part.to(dtype) for part in precond]
    params = two_tensors(dtype)
    optimizer = SelfScaledBroyden(params, "ssbfgs", line_search, precond=precond)
    closure = Counting(loss_of_two, *params)
    run(optimizer, closure, num_steps)
    file = io.BytesIO()
    torch.save({"params": [param.detach() for param in params], "optimizer": optimizer.state_dict()}, file)
    file.seek(0)
    content = torch.load(file, weights_only=True)
    twins = two_tensors(dtype)
    with torch.no_grad():
        for twin, value in zip(twins, content["params"], strict=True):
            twin.copy_(value)
    resumed = SelfScaledBroyden(twins, precond=precond)
    resumed.load_state_dict(content["optimizer"])
    twin_closure = Counting(loss_of_two, *twins)
    for _ in range(9):
        optimizer.step(closure)
        resumed.step(twin_closure)
        assert repr(resumed.last) == repr(optimizer.last)
        for param, twin in zip(params, twins, strict=True):
            assert torch.equal(param, twin)


@pytest.mark.parametrize("duplicate", [copy.deepcopy, lambda value: pickle.loads(pickle.dumps(value))])
def test_a_copy_goes_on_as_the_original(duplicate):
    x = parameter([-1.2, 1.0, 0.3])
    optimizer = SelfScaledBroyden([x])
    run(optimizer, Counting(rosenbrock, x), 7)
    other = duplicate(optimizer)
    (y,) = other.param_groups[0]["params"]
    run(other, Counting(rosenbrock, y), 7)
    run(optimizer, Counting(rosenbrock, x), 7)
    assert torch.equal(x, y)


def towards_dfp(mismatch: Mismatch) -> Member:
    return Member(theta=0.2, tau=1.0)


def test_a_function_for_the_update_is_used_and_has_to_be_given_again_with_a_checkpoint():
    x = parameter([-1.2, 1.0])
    optimizer = SelfScaledBroyden([x], towards_dfp)
    run(optimizer, Counting(rosenbrock, x), 100, until=1e-8)
    assert optimizer.last.gradient_norm <= 1e-8
    state = optimizer.state_dict()
    with pytest.raises(ValueError, match="update='towards_dfp'"):
        SelfScaledBroyden([parameter([-1.2, 1.0])]).load_state_dict(state)
    SelfScaledBroyden([parameter([-1.2, 1.0])], towards_dfp).load_state_dict(state)


def test_more_parameters_than_a_dense_matrix_is_meant_for_are_refused_with_the_memory_that_it_takes():
    with pytest.raises(ValueError, match=r"5001 parameters were given.* takes 0\.2 GB.* Use LBFGS, .*max_params"):
        SelfScaledBroyden([parameter(torch.zeros(5001))])
    optimizer = SelfScaledBroyden([parameter(torch.zeros(3))], max_params=4)
    with pytest.raises(ValueError, match="5 parameters were given"):
        optimizer.add_param_group({"params": [parameter(torch.zeros(2))]})
    assert len(optimizer.param_groups) == 1
    SelfScaledBroyden([parameter(torch.zeros(5001))], max_params=6000)


@pytest.mark.parametrize("options", [{"max_params": 0}, {"max_params": None}, {"update": "dfp"}, {"line_search": "x"}])
def test_options_that_name_nothing_are_refused(options):
    with pytest.raises(ValueError, match="was given|There is no"):
        SelfScaledBroyden([parameter([1.0])], **options)


def test_a_state_of_another_optimiser_is_refused():
    x = parameter([1.0, 2.0])
    with pytest.raises(ValueError, match="another optimiser than SelfScaledBroyden"):
        SelfScaledBroyden([x]).load_state_dict(LBFGS([x]).state_dict())
