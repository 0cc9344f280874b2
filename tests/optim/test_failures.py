from __future__ import annotations

import math

import pytest
import torch

from landscape.autodiff.guards import NonRepeatableError
from landscape.optim import LINE_SEARCHES, ConjugateGradient
from landscape.status import Status
from tests.optim.known_losses import SEARCH_AND_BETA, Counting, log_barrier, parameter, rosenbrock, run, square_root

EITHER_SEARCH = pytest.mark.parametrize("line_search", LINE_SEARCHES)


@pytest.mark.parametrize(("line_search", "beta"), SEARCH_AND_BETA)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize(
    ("loss", "start", "minimum"),
    [
        (log_barrier, [0.0, -0.9, 0.5], None),
        (square_root, [9.0, 1e-3, 2.0], 0.25),
        (lambda x: (torch.exp(40.0 * x) - x).sum(), [3.0 / 40, 1.0, -1.0], -math.log(40.0) / 40.0),
    ],
    ids=["log", "sqrt", "exp"],
)
def test_a_barrier_is_never_crossed_and_its_minimum_is_found(loss, start, minimum, dtype, beta, line_search):
    x = parameter(start, dtype)
    optimizer = ConjugateGradient([x], beta=beta, line_search=line_search)
    closure = Counting(loss, x)
    for _ in range(150):
        optimizer.step(closure)
        assert torch.isfinite(x).all()
        assert math.isfinite(optimizer.last.loss)
        assert optimizer.last.loss <= optimizer.last.loss_before + 1e-6 * abs(optimizer.last.loss_before)
        assert torch.isfinite(x.grad).all()
    if minimum is None:
        # 0 = d/dx [-0.01 (log(1-x) + log(1+x)) + (x-2)^2]
        residual = 0.02 * x / (1 - x**2) + 2 * (x - 2)
        assert residual.abs().max().item() < (1e-4 if dtype is torch.float64 else 0.05)
    else:
        tolerance = 1e-3 if dtype is torch.float64 else 2e-2
        torch.testing.assert_close(x.detach(), torch.full_like(x, minimum), rtol=tolerance, atol=tolerance)


class FaultyAt(Counting):
    """Goes wrong at the calls numbered in ``faults``: a number is added to the loss, an exception is raised."""

    def __init__(self, faults: dict[int, float | BaseException], x: torch.Tensor) -> None:
        super().__init__(rosenbrock, x)
        self.faults, self.calls = faults, 0

    def __call__(self) -> torch.Tensor:
        number, self.calls = self.calls, self.calls + 1
        fault = self.faults.get(number)
        if isinstance(fault, BaseException):
            raise fault
        loss = super().__call__()
        return loss if fault is None else loss + fault


@EITHER_SEARCH
@pytest.mark.parametrize("fault", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("call", range(0, 40))
def test_a_loss_that_is_not_finite_once_is_never_committed(line_search, fault, call):
    x = parameter([-1.2, 1.0])
    start = x.detach().clone()
    optimizer = ConjugateGradient([x], line_search=line_search, check_repeatable=False)
    closure = FaultyAt({call: fault}, x)
    optimizer.step(closure)
    if call == 0:
        assert optimizer.last.status is Status.NONFINITE
        assert torch.equal(x, start)
        optimizer.step(closure)
    for _ in range(5):
        assert optimizer.last.status in (Status.ACCEPTED, Status.SEARCH_FAILED)
        assert math.isfinite(optimizer.last.loss)
        assert optimizer.last.loss == rosenbrock(x).item() <= optimizer.last.loss_before
        optimizer.step(closure)


@EITHER_SEARCH
def test_a_loss_that_is_finite_only_at_the_start_leaves_it_bit_for_bit_and_stalls(line_search):
    x = parameter([-0.0, 1.0 / 3.0, 1e-310])
    start = x.detach().clone()
    optimizer = ConjugateGradient([x], line_search=line_search)
    closure = Counting(lambda x: (x + 1.0).square().sum() + (0.0 if torch.equal(x, start) else math.nan), x)
    statuses = []
    for _ in range(7):
        optimizer.step(closure)
        statuses.append(optimizer.last.status)
        assert x.detach().numpy().tobytes() == start.numpy().tobytes()
        assert torch.equal(x.grad, 2.0 * (start + 1.0))
    assert statuses == [Status.SEARCH_FAILED] * 6 + [Status.STALLED]
    optimizer.step(closure)
    assert optimizer.last.status is Status.STALLED
    assert optimizer.last.gradient_equivalents == 0.0


@EITHER_SEARCH
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_end_of_what_the_precision_resolves_is_a_status(line_search, dtype):
    """Far from zero, rounding of the loss ends the descent; the parameters stay at the lowest point."""
    x = parameter([0.4, -0.3], dtype)
    closure = Counting(lambda x: 1e3 + (x[0] - 0.3) ** 2 + 10.0 * (x[1] + x[0]) ** 2, x)
    optimizer = ConjugateGradient([x], line_search=line_search)
    lowest = math.inf
    for _ in range(300):
        optimizer.step(closure)
        lowest = min(lowest, optimizer.last.loss)
        if optimizer.last.status in (Status.STALLED, Status.CONVERGED):
            break
    assert optimizer.last.loss <= lowest + 1e-6 * lowest
    assert optimizer.last.loss <= 1e3 * (1.0 + 4 * torch.finfo(dtype).eps)


def test_a_stalled_optimiser_starts_again_when_the_parameters_are_moved():
    x = parameter([1.0])
    limit = [1.0]
    closure = Counting(lambda x: x.sum() if x.item() >= limit[0] else x.sum() + math.nan, x)
    optimizer = ConjugateGradient([x])
    run(optimizer, closure, 8)
    assert optimizer.last.status is Status.STALLED
    with torch.no_grad():
        x.fill_(3.0)
    optimizer.step(closure)
    assert optimizer.last.status is Status.ACCEPTED
    assert 1.0 <= x.item() < 3.0


def test_a_search_that_fails_keeps_the_lowest_point_it_has_seen():
    """Lower by less than the acceptance tests ask for, but lower."""
    x = parameter([0.0])

    def loss(x: torch.Tensor) -> torch.Tensor:
        # The slope promises 1; the loss falls by 1e-6 of that at most.
        promised = -(x - x.detach()) if x.item() <= 0.0 else 5.0 * (x - x.detach())
        return 1.0 - 1e-6 * torch.clamp(x.detach(), 0.0, 1.0) + 2.0 * torch.relu(x.detach() - 1e-3) + promised.sum()

    closure = Counting(lambda x: loss(x).sum(), x)
    optimizer = ConjugateGradient([x])
    optimizer.step(closure)
    assert optimizer.last.status is Status.SEARCH_FAILED
    assert optimizer.last.loss < optimizer.last.loss_before
    assert optimizer.last.loss == loss(x).sum().item() == min(closure.losses)
    assert optimizer.last.step_size > 0.0


@EITHER_SEARCH
@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_start_that_is_not_finite_is_reported_and_untouched(line_search, value):
    x = parameter([1.0, value])
    optimizer = ConjugateGradient([x], line_search=line_search)
    closure = Counting(rosenbrock, x)
    for _ in range(2):
        loss = optimizer.step(closure)
        assert not math.isfinite(float(loss))
        assert optimizer.last.status is Status.NONFINITE
        assert optimizer.last.num_gradients == 1
        assert x[0].item() == 1.0
        assert str(x[1].item()) == str(value)


@EITHER_SEARCH
def test_an_infinite_gradient_at_a_finite_loss_is_not_finite(line_search):
    x = parameter([0.0])
    optimizer = ConjugateGradient([x], line_search=line_search)
    optimizer.step(Counting(lambda x: -torch.sqrt(x).sum(), x))
    assert optimizer.last.status is Status.NONFINITE
    assert x.item() == 0.0


@EITHER_SEARCH
def test_parameters_that_overflow_are_not_committed_where_the_loss_saturates(line_search):
    """The loss is lowest, finite and flat at infinity, and a step of the gradient's size comes close to it."""
    x = parameter([0.0, 5.0], torch.float32)
    closure = Counting(lambda x: -1e38 * (torch.tanh(x) + 0.5 * torch.tanh(x * 2e-39)).sum(), x)
    assert closure.loss(torch.full((2,), math.inf)).item() == pytest.approx(-3e38)
    optimizer = ConjugateGradient([x], line_search=line_search)
    for _ in range(100):
        optimizer.step(closure)
        assert torch.isfinite(x).all()
    assert optimizer.last.loss < -1.9e38


@EITHER_SEARCH
@pytest.mark.parametrize("error", [KeyboardInterrupt(), RuntimeError("out of memory")])
@pytest.mark.parametrize("call", range(0, 30))
def test_an_exception_in_the_closure_leaves_the_best_point_known_and_goes_on(line_search, error, call):
    x = parameter([-1.2, 1.0])
    optimizer = ConjugateGradient([x], line_search=line_search)
    closure = FaultyAt({call: error}, x)
    accepted = [rosenbrock(x).item()]
    with pytest.raises(type(error)):
        while True:
            before = len(closure.losses)
            optimizer.step(closure)
            accepted.append(optimizer.last.loss)
    assert rosenbrock(x).item() == min([accepted[-1], *closure.losses[before:]])
    optimizer.step(closure)
    assert optimizer.last.loss < accepted[-1]


def test_an_interrupted_step_that_found_nothing_lower_is_taken_again_as_it_was():
    """The exception comes in the first trial: the repeated step and all later ones are those of a run without it."""
    ends = []
    for is_interrupted in (False, True):
        x = parameter([-1.2, 1.0])
        optimizer, closure = ConjugateGradient([x]), FaultyAt({}, x)
        optimizer.step(closure)
        if is_interrupted:
            closure.faults[closure.calls] = KeyboardInterrupt()
            with pytest.raises(KeyboardInterrupt):
                optimizer.step(closure)
        run(optimizer, closure, 10)
        ends.append(x.detach().clone())
    assert torch.equal(*ends)


def test_an_infinity_in_a_parameter_that_nothing_depends_on_is_no_obstacle():
    """Such as a mask: it has no gradient, stays where it is, and does not hide an overflow elsewhere."""
    x, mask = parameter([-1.2, 1.0]), parameter([-math.inf, 0.0])
    optimizer = ConjugateGradient([x, mask])
    closure = Counting(lambda x, mask: rosenbrock(x) + torch.exp(mask.detach()).sum(), x, mask)
    run(optimizer, closure, 60)
    torch.testing.assert_close(x.detach(), torch.ones(2, dtype=torch.float64))
    assert mask.tolist() == [-math.inf, 0.0]


def test_an_empty_parameter_is_no_obstacle():
    x, empty = parameter([-1.2, 1.0]), parameter([])
    run(ConjugateGradient([x, empty]), Counting(lambda x, empty: rosenbrock(x) + empty.sum(), x, empty), 60)
    torch.testing.assert_close(x.detach(), torch.ones(2, dtype=torch.float64))


@pytest.mark.parametrize("fault", [1e-3, math.nan, math.inf])
def test_a_closure_with_two_losses_at_one_point_is_refused_at_the_first_step(fault):
    x = parameter([-1.2, 1.0])
    start = x.detach().clone()
    optimizer = ConjugateGradient([x])
    with pytest.raises(NonRepeatableError, match=r"the loss 24\.2.* at the same parameters.*model\.eval\(\)"):
        optimizer.step(FaultyAt({1: fault}, x))
    assert torch.equal(x, start)


def test_a_model_with_dropout_is_refused_and_the_same_in_eval_mode_is_not():
    torch.manual_seed(0)
    model = torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.Dropout(), torch.nn.Linear(8, 1))
    inputs = torch.randn(16, 4)
    optimizer = ConjugateGradient(model.parameters())

    def closure():
        optimizer.zero_grad()
        loss = model(inputs).square().mean()
        if loss.requires_grad:
            loss.backward()
        return loss

    with pytest.raises(NonRepeatableError, match="dropout"):
        optimizer.step(closure)
    model.eval()
    optimizer.step(closure)
    assert optimizer.last.status is Status.ACCEPTED


def test_a_zero_gradient_at_the_start_converges_without_moving():
    x = parameter([1.0, 1.0])  # the minimum of Rosenbrock's function
    optimizer = ConjugateGradient([x])
    optimizer.step(Counting(rosenbrock, x))
    assert optimizer.last.status is Status.CONVERGED
    assert x.tolist() == [1.0, 1.0]
