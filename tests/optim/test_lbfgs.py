from __future__ import annotations

import copy
import io
import math
import pickle

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from landscape.optim.lbfgs import LBFGS
from landscape.optim.line_search import LINE_SEARCHES, GoldenSection, QuadraticSearch
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

PROBLEMS = {
    "rosenbrock": (rosenbrock, [-1.2, 1.0], [1.0, 1.0]),
    "beale": (beale, [1.0, 1.0], [3.0, 0.5]),
    "wood": (wood, [-3.0, -1.0, -3.0, -1.0], [1.0, 1.0, 1.0, 1.0]),
}


def test_with_exact_searches_a_quadratic_sees_the_steps_of_linear_conjugate_gradients():
    """Nocedal, Wright (2006), section 7.2: each direction is a multiple of that of conjugate gradients."""
    generator = torch.Generator().manual_seed(2)
    A, b = positive_definite(15, 50.0, generator), torch.randn(15, dtype=torch.float64, generator=generator)
    x = parameter(torch.zeros(15))
    optimizer = LBFGS([x], line_search="quadratic")
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

        torch.testing.assert_close(x.detach(), solution, rtol=1e-6, atol=1e-8)


def test_a_quadratic_of_n_parameters_is_solved_in_n_exact_steps():
    generator = torch.Generator().manual_seed(1)
    A, b = positive_definite(8, 20.0, generator), torch.randn(8, dtype=torch.float64, generator=generator)
    x = parameter(torch.zeros(8))
    run(LBFGS([x], line_search=GoldenSection(xtol=1e-9)), Counting(lambda x: 0.5 * x @ A @ x - b @ x, x), 8)
    # Golden section by values sees a step size to the root of the precision.
    torch.testing.assert_close(x.detach(), torch.linalg.solve(A, b), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("line_search", LINE_SEARCHES)
@pytest.mark.parametrize("problem", PROBLEMS)
def test_known_minima_are_reached(problem, line_search):
    loss, start, minimum = PROBLEMS[problem]
    x = parameter(start)
    optimizer = LBFGS([x], line_search=line_search, xtol=0.01)
    run(optimizer, Counting(loss, x), 300, until=1e-8)
    assert optimizer.last.gradient_norm <= 1e-8
    torch.testing.assert_close(x.detach(), torch.tensor(minimum, dtype=x.dtype), rtol=1e-6, atol=1e-6)


def test_an_accepted_unit_step_costs_one_gradient_and_no_forward_pass():
    x = parameter([-1.2, 1.0, 0.4])
    optimizer, closure = LBFGS([x]), Counting(rosenbrock, x)
    unit_steps = 0
    for _ in range(40):
        optimizer.step(closure)
        if optimizer.last.step_size == 1.0 and optimizer.last.restart is None:
            unit_steps += 1
            assert (optimizer.last.num_gradients, optimizer.last.num_forwards) == (1, 0)
    assert unit_steps >= 20


@given(
    seed=st.integers(0, 10_000),
    dtype=st.sampled_from([torch.float32, torch.float64]),
    line_search=st.sampled_from(sorted(LINE_SEARCHES)),
    history=st.integers(1, 6),
    scale=st.sampled_from([1e-12, 1.0, 1e12]),
)
@settings(max_examples=30, deadline=None)
def test_the_loss_never_rises_beyond_its_rounding(seed, dtype, line_search, history, scale):
    """Over random smooth, non-convex functions of any scale; what is reported is what is there."""
    generator = torch.Generator().manual_seed(seed)
    weights = torch.randn(6, 4, dtype=torch.float64, generator=generator).to(dtype) * 2.0
    targets = torch.randn(6, dtype=torch.float64, generator=generator).to(dtype)
    x = parameter(torch.randn(4, dtype=torch.float64, generator=generator), dtype)
    closure = Counting(
        lambda x: scale * (torch.sin(weights @ x) - targets + 0.1 * (weights @ x) ** 2).square().sum(), x
    )
    optimizer = LBFGS([x], history, line_search)
    for _ in range(15):
        optimizer.step(closure)
        last = optimizer.last
        assert last.loss <= last.loss_before + max(1e-6, 4 * torch.finfo(dtype).eps) * abs(last.loss_before)
        assert last.loss == float(closure.loss(x).detach())
        assert last.status in (Status.ACCEPTED, Status.SEARCH_FAILED, Status.STALLED, Status.CONVERGED)


@given(exponent=st.integers(-60, 60))
@settings(max_examples=8, deadline=None)
def test_nothing_but_the_first_trial_depends_on_the_unit_of_the_loss(exponent):
    """Scaling the loss by a power of two leaves every point bit for bit the same, given the same first step."""
    ends = []
    for scale in (1.0, 2.0**exponent):
        x = parameter([-1.2, 1.0, 0.3])
        optimizer = LBFGS([x], line_search=FixedFirstStep(scale))
        run(optimizer, Counting(lambda x, scale=scale: scale * (rosenbrock(x) + 1.0), x), 15)
        ends.append(x.detach().clone())
    assert torch.equal(*ends)


class FixedFirstStep:
    """The quadratic search, with a first step that scales as step sizes along steepest descent do."""

    warm_start = True

    def __init__(self, scale: float) -> None:
        self.first: float | None = 2.0**-10 / scale

    def __call__(self, line, initial_step):
        initial_step, self.first = self.first or initial_step, None
        return QuadraticSearch()(line, initial_step)


def test_a_preconditioned_run_is_a_plain_run_in_scaled_variables():
    """With P = S S, H begins as a multiple of P: the points in x are S times those in z."""
    root = torch.tensor([0.1, 1.0, 30.0, 0.5], dtype=torch.float64)
    x, z = parameter([-3.0, -1.0, -3.0, -1.0]), parameter(torch.tensor([-3.0, -1.0, -3.0, -1.0]).double() / root)
    in_x, in_z = LBFGS([x], precond=root**2), LBFGS([z], precond=None)
    closures = Counting(wood, x), Counting(lambda z: wood(root * z), z)
    for _ in range(12):
        in_x.step(closures[0])
        in_z.step(closures[1])
        torch.testing.assert_close(x.detach(), root * z.detach(), rtol=1e-6, atol=1e-8)


def test_a_step_along_negative_curvature_is_reported_and_teaches_nothing():
    x = parameter([0.1])
    optimizer = LBFGS([x], line_search="quadratic", precond=0.05 * torch.ones(1, dtype=torch.float64))
    closure = Counting(lambda x: -torch.cos(x + 2.5).sum(), x)  # concave until x = -0.93
    optimizer.step(closure)
    assert optimizer.last.curvature < 0.0
    optimizer.step(closure)
    assert optimizer.last.restart is Restart.NOTHING_LEARNED
    run(optimizer, closure, 60, until=1e-8)
    assert math.cos(x.item() + 2.5) == pytest.approx(1.0, abs=1e-12)


def test_a_loss_replaced_by_a_similar_one_keeps_the_pairs():
    generator = torch.Generator().manual_seed(7)
    A, b = positive_definite(10, 30.0, generator), torch.randn(10, dtype=torch.float64, generator=generator)
    x = parameter(torch.zeros(10))
    optimizer = LBFGS([x], line_search="quadratic")
    run(optimizer, Counting(lambda x: 0.5 * x @ A @ x - b @ x, x), 10)
    similar = Counting(lambda x: 0.5 * x @ A @ x - 1.1 * b @ x, x)
    optimizer.loss_changed()
    optimizer.step(similar)
    assert optimizer.last.restart is None
    assert optimizer.last.num_gradients == 2
    # Ten exact steps have taught all there is to know: the first direction is Newton's.
    assert (A @ x.detach() - 1.1 * b).norm() < 1e-3 * (0.1 * b).norm()


def test_a_failed_search_forgets_the_pairs_and_descends_again():
    x = parameter([-1.2, 1.0])
    blocked = [False]
    here = [x.detach().clone()]

    def loss(x):
        return rosenbrock(x) + (math.nan if blocked[0] and not torch.equal(x.detach(), here[0]) else 0.0)

    optimizer, closure = LBFGS([x]), Counting(loss, x)
    run(optimizer, closure, 8)
    blocked[0], here[0] = True, x.detach().clone()
    optimizer.step(closure)
    assert optimizer.last.status is Status.SEARCH_FAILED
    assert torch.equal(x, here[0])
    blocked[0] = False
    optimizer.step(closure)
    assert optimizer.last.restart is Restart.FAILED_SEARCH
    run(optimizer, closure, 60, until=1e-9)
    torch.testing.assert_close(x.detach(), torch.ones(2, dtype=torch.float64), rtol=1e-8, atol=1e-8)


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
    optimizer, closure = LBFGS([x], line_search=line_search), FaultyAt(call, fault, x)
    for _ in range(25):
        optimizer.step(closure)
        assert torch.isfinite(x).all()
        assert math.isfinite(optimizer.last.loss)
        assert optimizer.last.loss == rosenbrock(x).item() <= optimizer.last.loss_before * (1 + 1e-6)
    assert closure.calls > call


def test_a_barrier_is_never_crossed_and_its_minimum_is_found():
    x = parameter([0.0, -0.9, 0.5])
    optimizer, closure = LBFGS([x]), Counting(log_barrier, x)
    for _ in range(60):
        optimizer.step(closure)
        assert torch.isfinite(x).all()
    residual = 0.02 * x / (1 - x**2) + 2 * (x - 2)
    assert residual.abs().max().item() < 1e-6


def loss_of_two(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    return rosenbrock(torch.cat([x, y.reshape(-1)]))


def two_tensors(dtype: torch.dtype) -> list[torch.Tensor]:
    return [parameter([-1.2, 1.0, 0.3], dtype), parameter([[-0.7, 2.0]], dtype)]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
@pytest.mark.parametrize("num_steps", [1, 3, 12])
@pytest.mark.parametrize("line_search", ["hager-zhang", "quadratic"])
@pytest.mark.parametrize("precond", [None, [torch.tensor([0.1, 1.0, 2.0]), torch.tensor([[1.0, 0.5]])]])
def test_a_resumed_run_is_bit_identical(num_steps, dtype, line_search, precond):
    """K steps, a file, and more steps; before and after the history of four is full."""
    if precond is not None:
        precond = [part.to(dtype) for part in precond]
    params = two_tensors(dtype)
    optimizer = LBFGS(params, 4, line_search, precond=precond)
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
    resumed = LBFGS(twins, precond=precond)
    resumed.load_state_dict(content["optimizer"])
    assert resumed.param_groups[0]["history"] == 4
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
    optimizer = LBFGS([x], 3)
    run(optimizer, Counting(rosenbrock, x), 7)
    other = duplicate(optimizer)
    (y,) = other.param_groups[0]["params"]
    run(other, Counting(rosenbrock, y), 7)
    run(optimizer, Counting(rosenbrock, x), 7)
    assert torch.equal(x, y)


def test_a_state_that_was_loaded_can_be_saved_before_the_next_step():
    x = parameter([-1.2, 1.0, 0.3])
    optimizer = LBFGS([x])
    run(optimizer, Counting(rosenbrock, x), 7)
    y = parameter(x.detach())
    between, resumed = LBFGS([parameter(x.detach())]), LBFGS([y])
    between.load_state_dict(copy.deepcopy(optimizer.state_dict()))
    resumed.load_state_dict(copy.deepcopy(between.state_dict()))
    optimizer.step(Counting(rosenbrock, x))
    resumed.step(Counting(rosenbrock, y))
    assert repr(resumed.last) == repr(optimizer.last)
    assert torch.equal(x, y)


@pytest.mark.parametrize("history", [0, -3, 2.5, None, "all", True])
def test_a_history_that_is_no_number_of_pairs_is_refused(history):
    with pytest.raises(ValueError, match=r"history=.* was given; it has to be"):
        LBFGS([parameter([1.0])], history)


def test_a_state_of_another_optimiser_is_refused():
    x = parameter([1.0, 2.0])
    with pytest.raises(ValueError, match="another optimiser than LBFGS"):
        LBFGS([x]).load_state_dict(torch.optim.Adam([x]).state_dict())
