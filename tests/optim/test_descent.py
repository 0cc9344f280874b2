"""What every second-phase optimiser promises, whatever directions it chooses."""

from __future__ import annotations

import copy
import io
import math
import pickle
from collections.abc import Callable, Iterable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from landscape.autodiff.guards import NonRepeatableError
from landscape.optim.conjugate_gradient import ConjugateGradient
from landscape.optim.descent import MAX_SHRINKS, DescentOptimizer
from landscape.optim.lbfgs import LBFGS
from landscape.optim.newton_cg import NewtonCG
from landscape.optim.ssbroyden import SelfScaledBroyden
from landscape.optim.step_result import Restart
from landscape.status import Status
from tests.optim.known_losses import Counting, parameter, rosenbrock, run


class HessianOfRosenbrock:
    """The curvature for Newton's method where some parameters are; an object, so that copies refer to copies of them."""

    def __init__(self, params: list[Tensor]) -> None:
        self.params = params

    def __call__(self) -> Callable[[Tensor], Tensor]:
        point = torch.cat([param.detach().reshape(-1) for param in self.params])
        H = torch.autograd.functional.hessian(rosenbrock, point)
        return lambda vector: H @ vector


def newton_cg(params: Iterable[Any], **settings: Any) -> NewtonCG:
    entries = list(params)
    tensors = [t for entry in entries for t in (entry["params"] if isinstance(entry, dict) else [entry])]
    return NewtonCG(entries, HessianOfRosenbrock(tensors), **settings)


OPTIMIZERS: dict[str, Callable[..., DescentOptimizer]] = {
    "cg": ConjugateGradient,
    "lbfgs": LBFGS,
    "ssbroyden": SelfScaledBroyden,
    "newton-cg": newton_cg,
}
EVERY_OPTIMIZER = pytest.mark.parametrize("make", OPTIMIZERS.values(), ids=OPTIMIZERS)
EVERY_SEARCH = pytest.mark.parametrize("line_search", ["quadratic", "hager-zhang", "golden"])
START = [-1.2, 1.0, 0.5]


class Faulty(Counting):
    """Goes wrong at one call: a number is added to the loss, or an exception is raised."""

    def __init__(self, x: Tensor) -> None:
        super().__init__(rosenbrock, x)
        self.calls, self.fault_at = 0, -1
        self.fault: float | BaseException = 0.0

    def __call__(self) -> Tensor:
        number, self.calls = self.calls, self.calls + 1
        if number == self.fault_at and isinstance(self.fault, BaseException):
            raise self.fault
        loss = super().__call__()
        return loss + self.fault if number == self.fault_at else loss


def faulty_step(
    make: Callable[..., DescentOptimizer], line_search: str, which: str, fault: float | BaseException
) -> tuple[DescentOptimizer, Faulty, Tensor]:
    """Four steps, and a closure that will go wrong at the first, middle or last evaluation of the fifth."""
    x = parameter(START)
    optimizer = make([x], line_search=line_search)
    closure = Faulty(x)
    run(optimizer, closure, 4)
    twin_x, twin = copy.deepcopy((x, optimizer))
    rehearsal = Faulty(twin_x)
    twin.step(rehearsal)
    closure.fault_at = closure.calls + {"first": 0, "middle": rehearsal.calls // 2, "last": rehearsal.calls - 1}[which]
    closure.fault = fault
    return optimizer, closure, x


# -- numerical outcomes -----------------------------------------------------------------------------------------------


@EVERY_OPTIMIZER
def test_a_zero_gradient_at_the_start_converges_and_moves_nothing(make):
    x = parameter([1.0, 1.0, 1.0])
    optimizer, closure = make([x]), Counting(rosenbrock, x)
    for _ in range(2):
        assert float(optimizer.step(closure)) == 0.0
        assert optimizer.last.status is Status.CONVERGED and optimizer.last.step_size == 0.0
        assert x.tolist() == [1.0, 1.0, 1.0]
    assert (closure.num_gradients, closure.num_forwards) == (1, 1)  # the start, and the check that it repeats


@EVERY_OPTIMIZER
@EVERY_SEARCH
@pytest.mark.parametrize("which", ["first", "middle", "last"])
@pytest.mark.parametrize("fault", [math.nan, -math.inf])
def test_a_trial_that_is_not_finite_is_never_left_in_the_model(make, line_search, which, fault):
    optimizer, closure, x = faulty_step(make, line_search, which, fault)
    start = rosenbrock(x).item()
    optimizer.step(closure)
    assert closure.calls > closure.fault_at, "the fault was met"
    assert optimizer.last.status in (Status.ACCEPTED, Status.SEARCH_FAILED)
    assert optimizer.last.loss == rosenbrock(x).item() <= start
    assert torch.isfinite(x.grad).all() and math.isfinite(optimizer.last.gradient_norm)
    run(optimizer, closure, 25)
    assert optimizer.last.loss < 0.9 * start


@EVERY_OPTIMIZER
def test_a_loss_that_is_nowhere_lower_stalls_at_the_start_bit_for_bit(make):
    x = parameter([-0.0, 1.0 / 3.0, 1e-310])
    start = x.detach().clone()
    closure = Counting(lambda x: (x + 1.0).square().sum() + (0.0 if torch.equal(x, start) else math.nan), x)
    optimizer = make([x])
    statuses = []
    while Status.STALLED not in statuses:
        optimizer.step(closure)
        statuses.append(optimizer.last.status)
        assert x.detach().numpy().tobytes() == start.numpy().tobytes()
    # Steepest descent at full length, and as often shorter; before it, a Newton direction.
    num_failures = MAX_SHRINKS + isinstance(optimizer, NewtonCG)
    assert statuses == [Status.SEARCH_FAILED] * num_failures + [Status.STALLED]
    optimizer.step(closure)
    assert optimizer.last.status is Status.STALLED and optimizer.last.gradient_equivalents == 0.0


@pytest.mark.parametrize("make", [ConjugateGradient, LBFGS, SelfScaledBroyden])  # Newton's method tells of its products
@pytest.mark.parametrize("line_search", ["quadratic", "strong-wolfe"])
def test_the_curvature_along_a_step_is_the_mean_of_that_on_the_way_and_its_sign_is_told(make, line_search):
    """-|x|^2 / 2 + |x|^4 / 4 is concave around 0 and convex around its minima, where |x| = 1."""
    x = parameter([1e-3, -2e-3])
    optimizer = make([x], line_search=line_search)
    closure = Counting(lambda x: -0.5 * x @ x + 0.25 * (x @ x) ** 2, x)
    curvatures = []
    for _ in range(25):
        before = x.detach().clone()
        optimizer.step(closure)
        after = x.detach().clone()
        if float((after - before).norm()) < 1e-4:  # the rest is rounding
            break
        # Hessian (|x|^2 - 1) I + 2 x x', quadratic along the way: Simpson's rule is exact.
        unit, values = (after - before) / (after - before).norm(), []
        for point in (before, 0.5 * (before + after), after):
            values.append(float(point @ point - 1 + 2 * (point @ unit) ** 2))
        mean = (values[0] + 4 * values[1] + values[2]) / 6
        assert optimizer.last.curvature == pytest.approx(mean, rel=1e-6, abs=1e-9)
        curvatures.append(optimizer.last.curvature)
    assert curvatures[-1] > 0
    if line_search == "quadratic":  # Wolfe's conditions do not allow a step that ends in concave ground
        assert curvatures[0] < 0


# -- interruptions ----------------------------------------------------------------------------------------------------


@EVERY_OPTIMIZER
@EVERY_SEARCH
@pytest.mark.parametrize("which", ["first", "middle", "last"])
def test_an_interrupted_search_leaves_the_lowest_point_found_and_the_next_step_goes_on(make, line_search, which):
    optimizer, closure, x = faulty_step(make, line_search, which, KeyboardInterrupt())
    start, seen = rosenbrock(x).item(), len(closure.losses)
    with pytest.raises(KeyboardInterrupt):
        optimizer.step(closure)
    lowest = min([start, *closure.losses[seen:]])
    assert rosenbrock(x).item() == lowest
    optimizer.step(closure)
    assert optimizer.last.loss < lowest
    run(optimizer, closure, 25)
    assert optimizer.last.loss < 0.9 * start


# -- a loss that changes ----------------------------------------------------------------------------------------------


def learned(optimizer: DescentOptimizer) -> object:
    """What the methods know of the curvature."""
    if isinstance(optimizer, (LBFGS, NewtonCG)):
        return optimizer._pairs.num_pairs
    return None if not isinstance(optimizer, SelfScaledBroyden) else optimizer._inverse is not None


@EVERY_OPTIMIZER
def test_after_loss_changed_the_next_step_sees_the_new_loss_and_keeps_what_still_holds(make):
    x, factor = parameter(START), [1.0]
    closure = Counting(lambda x: factor[0] * rosenbrock(x), x)
    optimizer = make([x])
    run(optimizer, closure, 8)
    before = learned(optimizer)
    factor[0] = 1.1
    optimizer.loss_changed()
    optimizer.step(closure)
    assert optimizer.last.loss_before == closure.losses[-optimizer.last.num_gradients - optimizer.last.num_forwards]
    assert optimizer.last.loss == 1.1 * rosenbrock(x).item() < optimizer.last.loss_before
    if isinstance(optimizer, ConjugateGradient):
        assert optimizer.last.restart is Restart.LOSS_CHANGED
    else:
        assert optimizer.last.restart is None
        assert learned(optimizer) is True if before is True else learned(optimizer) > before


@EVERY_OPTIMIZER
def test_after_restart_nothing_is_known(make):
    x = parameter(START)
    optimizer, closure = make([x], precond=torch.tensor([1.0, 0.1, 0.01], dtype=torch.float64)), Counting(rosenbrock, x)
    run(optimizer, closure, 6)
    optimizer.restart()
    assert not optimizer.state and learned(optimizer) in (None, False, 0)
    fresh_x = parameter(x.detach())
    fresh = make([fresh_x], precond=torch.tensor([1.0, 0.1, 0.01], dtype=torch.float64))  # which is kept
    fresh_closure = Counting(rosenbrock, fresh_x)
    for _ in range(5):
        optimizer.step(closure)
        fresh.step(fresh_closure)
        assert repr(optimizer.last) == repr(fresh.last)
    assert torch.equal(x, fresh_x)


@EVERY_OPTIMIZER
def test_loss_changed_before_the_first_step_changes_nothing(make):
    ends = []
    for is_told in (False, True):
        x = parameter(START)
        optimizer = make([x])
        if is_told:
            optimizer.loss_changed()
        run(optimizer, Counting(rosenbrock, x), 5)
        ends.append(x.detach())
    assert torch.equal(*ends)


# -- what is refused --------------------------------------------------------------------------------------------------


@EVERY_OPTIMIZER
def test_a_step_without_a_closure_is_refused(make):
    x = parameter(START)
    with pytest.raises(TypeError, match=r"\.step\(\) was called without a closure.*step\(closure\)"):
        make([x]).step()


@EVERY_OPTIMIZER
def test_a_gradient_scaler_is_refused(make):
    x = parameter(START, torch.float32)
    optimizer, scaler = make([x]), torch.amp.GradScaler("cpu")
    scaler.scale(rosenbrock(x)).backward()
    with pytest.raises(TypeError, match="GradScaler cannot drive it"):
        scaler.step(optimizer)
    assert x.tolist() == parameter(START, torch.float32).tolist()


@EVERY_OPTIMIZER
def test_a_closure_that_does_not_repeat_is_refused_before_anything_moves(make):
    x = parameter(START)
    optimizer, closure = make([x]), Faulty(x)
    closure.fault_at, closure.fault = 1, 0.01
    with pytest.raises(NonRepeatableError, match=r"at the same parameters.*model\.eval\(\).*check_repeatable=False"):
        optimizer.step(closure)
    assert x.tolist() == START
    make([x], check_repeatable=False).step(closure)  # on the user's word


@EVERY_OPTIMIZER
def test_sparse_gradients_are_refused(make):
    table = nn.Embedding(5, 2, sparse=True)
    optimizer = make(table.parameters())

    def closure():
        optimizer.zero_grad()
        loss = table(torch.tensor([1, 3])).square().sum()
        if loss.requires_grad:
            loss.backward()
        return loss

    with pytest.raises(TypeError, match=r"gradient of layout torch.sparse_coo.*dense.*sparse=False"):
        optimizer.step(closure)


@EVERY_OPTIMIZER
@pytest.mark.parametrize(
    ("groups", "error", "message"),
    [
        ([torch.zeros(2, dtype=torch.complex64)], TypeError, r"dtype torch.complex64.*view_as_real"),
        ([torch.zeros(2), torch.zeros(2, dtype=torch.float64)], TypeError, "all have to share one dtype"),
        (
            [{"params": [torch.zeros(2)]}, {"params": [torch.zeros(1)], "tol_grad": 0.5}],
            ValueError,
            "group 1 has tol_grad=0.5, group 0 has 0.0",
        ),
        ([], ValueError, "empty parameter list"),
    ],
    ids=["complex", "two dtypes", "groups", "none"],
)
def test_parameters_that_cannot_be_one_vector_are_refused(make, groups, error, message):
    with pytest.raises(error, match=message):
        make(groups)


@EVERY_OPTIMIZER
def test_groups_with_the_same_options_are_one_vector(make):
    pair, whole = [parameter(START[:1]), parameter(START[1:])], parameter(START)
    grouped = make([{"params": pair[:1]}, {"params": pair[1:]}])
    single = make([whole])
    run(grouped, Counting(lambda a, b: rosenbrock(torch.cat([a, b])), *pair), 10)
    run(single, Counting(rosenbrock, whole), 10)
    assert torch.equal(torch.cat(pair), whole)


# -- copies -----------------------------------------------------------------------------------------------------------


def pickled(content: object) -> object:
    return pickle.loads(pickle.dumps(content))


def saved(content: object) -> object:
    file = io.BytesIO()
    torch.save(content, file)
    file.seek(0)
    return torch.load(file, weights_only=False)


@EVERY_OPTIMIZER
@pytest.mark.parametrize("duplicate", [copy.deepcopy, pickled, saved])
@pytest.mark.parametrize("num_steps", [0, 7])
def test_a_copy_takes_the_same_steps_and_shares_nothing(make, duplicate, num_steps):
    x = parameter(START)
    optimizer = make([x], precond=torch.tensor([1.0, 0.1, 0.01], dtype=torch.float64))
    closure = Counting(rosenbrock, x)
    run(optimizer, closure, num_steps)
    twin_x, twin = duplicate((x, optimizer))
    assert repr(twin.last) == repr(optimizer.last)
    twin_closure = Counting(rosenbrock, twin_x)
    results = []
    for _ in range(6):
        twin.step(twin_closure)
        results.append(repr(twin.last))
    for result in results:
        optimizer.step(closure)
        assert repr(optimizer.last) == result
    assert torch.equal(twin_x, x)
