from __future__ import annotations

import copy
import math
import pickle

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from landscape.optim import BETAS, LINE_SEARCHES, ConjugateGradient, GoldenSection, QuadraticSearch, Restart
from landscape.optim.beta import polak_ribiere_plus
from landscape.status import Status
from tests.optim.known_losses import (
    SEARCH_AND_BETA,
    Counting,
    beale,
    parameter,
    positive_definite,
    powell_singular,
    rosenbrock,
    run,
    wood,
)

PROBLEMS = {
    "rosenbrock": (rosenbrock, [-1.2, 1.0], [1.0, 1.0]),
    "rosenbrock_10": (rosenbrock, [-1.2, 1.0] * 5, None),  # has a second local minimum
    "beale": (beale, [1.0, 1.0], [3.0, 0.5]),
    "wood": (wood, [-3.0, -1.0, -3.0, -1.0], [1.0, 1.0, 1.0, 1.0]),
}


@pytest.mark.parametrize("beta", BETAS)
def test_a_quadratic_is_solved_in_n_steps(beta):
    """Conjugate directions end in n steps; the quadratic search is exact here, up to rounding."""
    generator = torch.Generator().manual_seed(1)
    A, b = positive_definite(8, 20.0, generator), torch.randn(8, dtype=torch.float64, generator=generator)
    x = parameter(torch.zeros(8))
    optimizer = ConjugateGradient([x], beta=beta)
    closure = Counting(lambda x: 0.5 * x @ A @ x - b @ x + 10.0, x)

    run(optimizer, closure, 8)

    # Rounding of the loss (1e-16 of about 10) limits each fitted step size to about 1e-7 by the last steps.
    torch.testing.assert_close(x.detach(), torch.linalg.solve(A, b), rtol=1e-5, atol=1e-5)


def test_the_steps_on_a_quadratic_are_those_of_linear_conjugate_gradients():
    generator = torch.Generator().manual_seed(2)
    A, b = positive_definite(15, 50.0, generator), torch.randn(15, dtype=torch.float64, generator=generator)
    x = parameter(torch.zeros(15))
    optimizer = ConjugateGradient([x], beta="fr")
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
        assert optimizer.last.step_size == pytest.approx(float(step_size), rel=1e-4)


@pytest.mark.parametrize(("line_search", "beta"), SEARCH_AND_BETA)
@pytest.mark.parametrize("problem", PROBLEMS)
def test_known_minima_are_reached(problem, line_search, beta):
    loss, start, minimum = PROBLEMS[problem]
    x = parameter(start)
    optimizer = ConjugateGradient([x], beta=beta, line_search=line_search, xtol=0.01)
    run(optimizer, Counting(loss, x), 1000, until=1e-7)
    assert optimizer.last.gradient_norm <= 1e-7
    if minimum is not None:
        torch.testing.assert_close(x.detach(), torch.tensor(minimum, dtype=x.dtype), rtol=1e-5, atol=1e-5)


def test_a_minimum_with_a_singular_hessian_is_approached():
    x = parameter([3.0, -1.0, 0.0, 1.0])
    run(ConjugateGradient([x]), Counting(powell_singular, x), 300)
    assert powell_singular(x).item() < 1e-9


@pytest.mark.parametrize("line_search", LINE_SEARCHES)
def test_rosenbrock_is_solved_in_float32(line_search):
    x = parameter([-1.2, 1.0], torch.float32)
    run(ConjugateGradient([x], line_search=line_search), Counting(rosenbrock, x), 200)
    torch.testing.assert_close(x.detach(), torch.ones(2), rtol=1e-2, atol=1e-2)
    assert rosenbrock(x).item() < 1e-6


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_parameters_go_down_and_stay_finite(dtype):
    x = parameter([2.0, -3.0, 1.0], dtype)
    closure = Counting(lambda x: (x.float() ** 2 * torch.tensor([1.0, 5.0, 0.1])).sum(), x)
    optimizer = ConjugateGradient([x])
    run(optimizer, closure, 20)
    assert optimizer.last.loss < 1e-2 * closure.losses[0]


@given(
    seed=st.integers(0, 10_000),
    dtype=st.sampled_from([torch.float32, torch.float64]),
    line_search=st.sampled_from(sorted(LINE_SEARCHES)),
    beta=st.sampled_from(sorted(BETAS)),
    scale=st.sampled_from([1e-12, 1.0, 1e12]),
)
@settings(max_examples=60, deadline=None)
def test_the_loss_never_rises_beyond_its_rounding(seed, dtype, line_search, beta, scale):
    """Over random smooth, non-convex functions of any scale; what is reported is what is there."""
    generator = torch.Generator().manual_seed(seed)
    weights = torch.randn(6, 4, dtype=torch.float64, generator=generator).to(dtype) * 2.0
    targets = torch.randn(6, dtype=torch.float64, generator=generator).to(dtype)
    x = parameter(torch.randn(4, dtype=torch.float64, generator=generator), dtype)
    closure = Counting(
        lambda x: scale * (torch.sin(weights @ x) - targets + 0.1 * (weights @ x) ** 2).square().sum(), x
    )
    optimizer = ConjugateGradient([x], beta=beta, line_search=line_search)
    for _ in range(15):
        optimizer.step(closure)
        last = optimizer.last
        assert last.loss <= last.loss_before + max(1e-6, 4 * torch.finfo(dtype).eps) * abs(last.loss_before)
        assert last.loss == float(closure.loss(x).detach())
        assert last.status in (Status.ACCEPTED, Status.SEARCH_FAILED, Status.STALLED, Status.CONVERGED)


@given(exponent=st.integers(-100, 100))
@settings(max_examples=20, deadline=None)
def test_nothing_depends_on_the_unit_of_the_loss(exponent):
    """With no absolute constant, scaling the loss by a power of two leaves every point bit for bit the same.

    Except through the first trial, min(1, ...), which is why the scaled run starts where that is below 1.
    """
    ends = []
    for scale in (1.0, 2.0**exponent):
        x = parameter([-1.2, 1.0, 0.3])
        optimizer = ConjugateGradient([x], line_search=FixedFirstStep(scale))
        run(optimizer, Counting(lambda x, scale=scale: scale * (rosenbrock(x) + 1.0), x), 15)
        ends.append(x.detach().clone())
    assert torch.equal(*ends)


class FixedFirstStep:
    """The quadratic search, with a first step that scales as step sizes do."""

    warm_start = True

    def __init__(self, scale: float) -> None:
        self.first: float | None = 2.0**-10 / scale

    def __call__(self, line, initial_step):
        initial_step, self.first = self.first or initial_step, None
        return QuadraticSearch()(line, initial_step)


def test_parameters_of_several_tensors_move_as_one_vector():
    """The same problem split over tensors, shapes and groups gives the same points."""
    ends = []
    for split in (False, True):
        start = torch.linspace(-1.0, 1.0, 6, dtype=torch.float64)
        params = [parameter(start[:1].reshape(())), parameter(start[1:5].reshape(2, 2).T), parameter(start[5:])]
        whole = torch.cat([params[0].reshape(1), params[1].reshape(-1), params[2]]).detach()
        groups = [{"params": params[:1]}, {"params": params[1:]}] if split else [parameter(whole)]
        tensors = params if split else groups
        closure = Counting(lambda *parts: rosenbrock(torch.cat([part.reshape(-1) for part in parts])), *tensors)
        run(ConjugateGradient(groups), closure, 12)
        ends.append(torch.cat([tensor.detach().reshape(-1) for tensor in tensors]))
    torch.testing.assert_close(*ends, rtol=1e-12, atol=1e-12)


def test_a_parameter_without_gradient_stays():
    x, unused, frozen = parameter([-1.2, 1.0]), parameter([3.0]), torch.ones(2, dtype=torch.float64)
    optimizer = ConjugateGradient([x, unused, frozen])
    closure = Counting(lambda x, *_: rosenbrock(x), x, unused, frozen)
    run(optimizer, closure, 60)
    torch.testing.assert_close(x.detach(), torch.ones(2, dtype=torch.float64))
    assert unused.item() == 3.0
    assert frozen.tolist() == [1.0, 1.0]


def test_every_restart_has_its_reason():
    x = parameter([-1.2, 1.0, 0.5])
    optimizer = ConjugateGradient([x], restart_every=4)
    closure = Counting(rosenbrock, x)
    optimizer.step(closure)
    assert optimizer.last.restart is Restart.FIRST_STEP
    reasons = []
    for _ in range(30):
        optimizer.step(closure)
        reasons.append(optimizer.last.restart)
        assert optimizer.last.restarted == (optimizer.last.beta == 0.0)
    assert Restart.PERIOD in reasons
    longest = max(len(run) for run in "".join("r" if reason else "c" for reason in reasons).split("r"))
    assert longest <= 3


@pytest.mark.parametrize(
    ("beta", "reason"),
    [
        (lambda *_: math.nan, Restart.BETA_NONFINITE),
        (lambda *_: math.inf, Restart.BETA_NONFINITE),
        (lambda *_: 1e300, Restart.BETA_NONFINITE),  # not a float32
        (lambda *_: 0.0, Restart.BETA_ZERO),
        (lambda g, p, d: float(-1e3 * (g @ d).sign()), None),
    ],
)
def test_a_beta_that_is_no_use_restarts(beta, reason):
    x = parameter([-1.2, 1.0], torch.float32)
    optimizer = ConjugateGradient([x], beta=beta)
    closure = Counting(rosenbrock, x)
    optimizer.step(closure)
    optimizer.step(closure)
    assert optimizer.last.restart is reason
    assert optimizer.last.slope_before < 0.0
    assert optimizer.last.status is Status.ACCEPTED


def test_a_direction_that_does_not_descend_restarts():
    x = parameter([-1.2, 1.0])
    optimizer = ConjugateGradient([x], beta=lambda g, p, d: 1e6 * math.copysign(1.0, float(g @ d)))
    closure = Counting(rosenbrock, x)
    optimizer.step(closure)
    optimizer.step(closure)
    assert optimizer.last.restart is Restart.NOT_DESCENT


def test_a_function_for_beta_and_an_object_for_the_search_are_the_same_as_their_names():
    ends = []
    for beta, line_search in [("pr+", "golden"), (polak_ribiere_plus, GoldenSection(xtol=0.1))]:
        x = parameter([-1.2, 1.0])
        run(ConjugateGradient([x], beta, line_search), Counting(rosenbrock, x), 10)
        ends.append(x.detach().clone())
    assert torch.equal(*ends)


def test_xtol_nr_is_the_tolerance_of_numerical_recipes():
    assert ConjugateGradient([parameter([1.0])], xtol="nr").param_groups[0]["xtol"] == 2e-4


@pytest.mark.parametrize("change", ["data", "copy_", "adam"])
def test_parameters_changed_between_steps_are_noticed(change):
    """The run goes on exactly as a fresh one from the changed point."""
    x = parameter([-1.2, 1.0])
    optimizer, adam = ConjugateGradient([x]), torch.optim.Adam([x], lr=0.1)
    closure = Counting(rosenbrock, x)
    run(optimizer, closure, 7)
    if change == "data":
        x.data[0] = math.nextafter(x.data[0].item(), 9.0)
    elif change == "copy_":
        with torch.no_grad():
            x.copy_(torch.tensor([0.2, 0.3]))
    else:
        adam.step()
    other = parameter(x.detach())
    fresh, other_closure = ConjugateGradient([other]), Counting(rosenbrock, other)
    for number in range(10):
        optimizer.step(closure)
        fresh.step(other_closure)
        assert torch.equal(x, other)
        if number == 0:
            assert optimizer.last.restart is Restart.PARAMETERS_CHANGED
            assert optimizer.last.num_gradients == fresh.last.num_gradients >= 2


def test_unchanged_parameters_cost_no_second_gradient():
    x = parameter([-1.2, 1.0])
    optimizer = ConjugateGradient([x])
    closure = Counting(rosenbrock, x)
    optimizer.step(closure)
    assert optimizer.last.num_gradients == 2
    x.grad = None
    optimizer.step(closure)
    assert optimizer.last.num_gradients == 1


def test_restart_forgets_a_loss_that_has_changed():
    x = parameter([-1.2, 1.0])
    optimizer = ConjugateGradient([x])
    run(optimizer, Counting(rosenbrock, x), 5)
    optimizer.restart()
    optimizer.step(Counting(lambda x: rosenbrock(x) + 100.0, x))
    assert optimizer.last.restart is Restart.FIRST_STEP
    assert optimizer.last.loss_before > 100.0


def test_converged_at_the_tolerance_relative_to_the_first_gradient():
    x = parameter([-1.2, 1.0])
    optimizer = ConjugateGradient([x], tol_grad=1e-6)
    closure = Counting(rosenbrock, x)
    optimizer.step(closure)
    first = torch.autograd.grad(rosenbrock(parameter_ := parameter([-1.2, 1.0])), parameter_)[0].norm().item()
    for _ in range(200):
        optimizer.step(closure)
        if optimizer.last.status is Status.CONVERGED:
            break
    assert 0.0 < optimizer.last.gradient_norm <= 1e-6 * first
    assert (optimizer.last.num_forwards, optimizer.last.num_gradients) == (0, 0)


def test_a_zero_gradient_has_converged():
    x = parameter([0.0, 0.0])
    optimizer = ConjugateGradient([x])
    optimizer.step(Counting(lambda x: (x**2).sum() + 3.0, x))
    assert optimizer.last.status is Status.CONVERGED
    assert x.tolist() == [0.0, 0.0]


@pytest.mark.parametrize("start", [[3.0, -2.0], [0.0, 0.0]])
def test_a_loss_that_starts_at_zero_and_goes_negative_is_minimised(start):
    """The first trial cannot be relative to a loss of 0."""
    x = parameter(start)
    minimum = x.detach() + 0.5
    offset = ((x - minimum) ** 2).sum().item()
    optimizer = ConjugateGradient([x])
    run(optimizer, Counting(lambda x: ((x - minimum) ** 2).sum() - offset, x), 10)
    torch.testing.assert_close(x.detach(), minimum)


def test_a_copied_or_pickled_optimiser_still_steps():
    x = parameter([-1.2, 1.0])
    optimizer = ConjugateGradient([x], line_search=GoldenSection(xtol=0.05))
    closure = Counting(rosenbrock, x)
    run(optimizer, closure, 3)
    for other in (copy.deepcopy(optimizer), pickle.loads(pickle.dumps(optimizer))):
        (twin,) = other.param_groups[0]["params"]
        twin_closure = Counting(rosenbrock, twin)
        other.step(twin_closure)
        assert twin_closure.num_gradients == 1
        assert other.last.loss < optimizer.last.loss


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"beta": "prp"}, "'pr\\+'"),
        ({"line_search": "armijo"}, "'quadratic'"),
        ({"beta": 3}, "neither a name nor a function"),
        ({"xtol": -0.1}, "xtol=-0.1"),
        ({"xtol": "fine"}, "xtol='fine'"),
        ({"tol_grad": math.nan}, "tol_grad=nan"),
        ({"max_evaluations": 1}, "at least 2"),
        ({"restart_every": 2.5}, "restart_every=2.5"),
        ({"restart_every": True}, "restart_every=True"),
    ],
)
def test_a_wrong_option_is_refused(options, message):
    with pytest.raises((ValueError, TypeError), match=message):
        ConjugateGradient([parameter([1.0])], **options)


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ([torch.ones(2, dtype=torch.complex64)], "view_as_real"),
        ([torch.ones(2, dtype=torch.int64)], "floating-point"),
        ([torch.eye(2).to_sparse()], "dense"),
        ([torch.ones(2), torch.ones(2, dtype=torch.float64)], "one dtype"),
        ([torch.ones(2), torch.ones(2, device="meta")], "one device"),
        ([{"params": [torch.ones(2)]}, {"params": [torch.ones(2)], "beta": "fr"}], "Parameter group 1 has beta='fr'"),
    ],
)
def test_parameters_that_cannot_be_served_are_refused(params, message):
    with pytest.raises((ValueError, TypeError), match=message):
        ConjugateGradient(params)


def test_a_group_added_later_takes_part():
    x, y = parameter([-1.2]), parameter([1.0])
    optimizer = ConjugateGradient([x])
    closure = Counting(lambda x, y: rosenbrock(torch.cat([x, y])), x, y)
    run(optimizer, closure, 3)
    with pytest.raises(TypeError):
        optimizer.add_param_group({"params": [torch.ones(1)]})
    optimizer.add_param_group({"params": [y]})
    run(optimizer, closure, 60)
    torch.testing.assert_close(torch.cat([x, y]).detach(), torch.ones(2, dtype=torch.float64))
