from __future__ import annotations

import copy
import io
import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import landscape as ls
from landscape.operators.matrix import MatrixOperator
from landscape.optim.capped_cg import DirectionKind
from landscape.optim.inner_solve import NewtonNumbers
from landscape.optim.newton_cg import NewtonCG
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
    square_root,
    wood,
)


class ExactHessian:
    """The Hessian of ``loss(*params)`` where they are now, flat, as a function of a vector; counts its products."""

    def __init__(self, loss, *params: torch.Tensor) -> None:
        self.loss, self.params, self.num_products = loss, params, 0

    def __call__(self):
        with torch.enable_grad():
            gradients = torch.autograd.grad(self.loss(*self.params), self.params, create_graph=True)
        gradient = torch.cat([part.reshape(-1) for part in gradients])

        def product(vector: torch.Tensor) -> torch.Tensor:
            self.num_products += 1
            parts = torch.autograd.grad(gradient, self.params, vector, retain_graph=True)
            return torch.cat([part.reshape(-1) for part in parts])

        return product


def newton(loss, *params: torch.Tensor, **options) -> tuple[NewtonCG, Counting]:
    return NewtonCG(list(params), ExactHessian(loss, *params), **options), Counting(loss, *params)


@pytest.mark.parametrize("precond", [None, torch.linspace(0.5, 4.0, 12)])
def test_a_quadratic_is_solved_in_one_step(precond):
    generator = torch.Generator().manual_seed(0)
    A, b = positive_definite(12, 1e3, generator), torch.randn(12, dtype=torch.float64, generator=generator)
    x = parameter(torch.zeros(12))
    given = None if precond is None else precond.double()
    optimizer = NewtonCG([x], lambda: MatrixOperator(A), 40, forcing=1e-12, damping=0.0, precond=given)
    optimizer.step(Counting(lambda x: 0.5 * x @ A @ x - b @ x, x))
    torch.testing.assert_close(x.detach(), torch.linalg.solve(A, b), rtol=1e-8, atol=1e-8)
    assert optimizer.last.step_size == 1.0
    assert optimizer.last.num_gradients == 2  # at the start, and at the unit step
    assert optimizer.last_solve.kind is DirectionKind.NEWTON
    assert optimizer.last_solve.residual <= 1e-12


def test_the_direction_is_that_of_the_damped_newton_equation():
    x = parameter([-1.2, 1.0, 0.7])
    H = torch.autograd.functional.hessian(rosenbrock, x.detach())
    g = torch.autograd.functional.jacobian(rosenbrock, x.detach())
    optimizer, closure = newton(rosenbrock, x, max_products=10, forcing=1e-12, damping=0.3)
    start = x.detach().clone()
    optimizer.step(closure)
    damping = optimizer.last_solve.damping
    assert damping == pytest.approx(0.3 * float((H @ g).norm() / g.norm()))
    expected = torch.linalg.solve(H + damping * torch.eye(3), -g)
    torch.testing.assert_close((x.detach() - start) / optimizer.last.step_size, expected, rtol=1e-7, atol=1e-9)


@pytest.mark.parametrize(
    ("loss", "start", "minimum"),
    [
        (rosenbrock, [-1.2, 1.0], [1.0, 1.0]),
        (beale, [1.0, 1.0], [3.0, 0.5]),
        (wood, [-3.0, -1.0, -3.0, -1.0], [1.0, 1.0, 1.0, 1.0]),
    ],
    ids=["rosenbrock", "beale", "wood"],
)
@pytest.mark.parametrize(
    "options", [{}, {"history": 0}, {"sketch_rank": 2, "sketch_every": 3}, {"adapt_damping": False}]
)
def test_known_minima_are_reached(loss, start, minimum, options):
    x = parameter(start)
    optimizer, closure = newton(loss, x, **options)
    run(optimizer, closure, 300, until=1e-9)
    assert optimizer.last.gradient_norm <= 1e-9
    torch.testing.assert_close(x.detach(), torch.tensor(minimum, dtype=x.dtype), rtol=1e-6, atol=1e-6)


def test_convergence_is_faster_than_linear_at_the_end():
    x = parameter([-1.2, 1.0, 0.5, 2.0])
    optimizer, closure = newton(rosenbrock, x, max_products=20)
    norms = []
    for _ in range(100):
        optimizer.step(closure)
        norms.append(optimizer.last.gradient_norm)
        if norms[-1] < 1e-11:
            break
    assert norms[-1] < 1e-11
    assert min(after / before for before, after in zip(norms[-4:], norms[-3:], strict=False)) < 1e-3
    assert optimizer.last_solve.tolerance < 0.5  # the equation is solved the better, the nearer the minimum


def saddle(x: torch.Tensor) -> torch.Tensor:
    return x[0] ** 2 - x[1] ** 2 + x[1] ** 4 / 4.0


@pytest.mark.parametrize("height", [1e-6, 1e-2, 0.5])
@pytest.mark.parametrize("history", [0, 100])
@pytest.mark.parametrize("forcing", [0.0, 0.5])
def test_the_saddle_is_seen_reported_and_left_for_a_minimum(height, history, forcing):
    """The minima of x^2 - y^2 + y^4/4, of -1, are at y = +-sqrt 2; steepest descent would go by way of the saddle."""
    x = parameter([1.0, height])
    optimizer, closure = newton(saddle, x, history=history, forcing=forcing)
    optimizer.step(closure)
    if forcing == 0.0:  # a rough solution may be reached before the other coordinate is looked at
        assert optimizer.last_solve.num_products <= 3
        assert optimizer.last_solve.kind is DirectionKind.NEGATIVE_CURVATURE
        assert optimizer.last.curvature < -0.1
    seen = optimizer.last.curvature
    for _ in range(40):
        optimizer.step(closure)
        seen = min(seen, optimizer.last.curvature)
        if optimizer.last.gradient_norm <= 1e-10:
            break
    assert seen < -0.1
    torch.testing.assert_close(x.detach(), torch.tensor([0.0, math.sqrt(2.0)], dtype=x.dtype), rtol=1e-6, atol=1e-6)
    assert not optimizer.last_solve.is_indefinite
    assert optimizer.last.curvature > 0.0


@given(seed=st.integers(0, 10_000), dtype=st.sampled_from([torch.float32, torch.float64]))
@settings(max_examples=30, deadline=None)
def test_the_curvature_reported_is_at_least_the_smallest_eigenvalue(seed, dtype):
    """A Rayleigh quotient cannot lie below the spectrum: a negative one proves a negative eigenvalue."""
    generator = torch.Generator().manual_seed(seed)
    weights = torch.randn(6, 4, dtype=torch.float64, generator=generator).to(dtype)
    x = parameter(torch.randn(4, dtype=torch.float64, generator=generator), dtype)
    scaling = torch.rand(4, generator=generator, dtype=torch.float64).to(dtype) + 0.1

    def loss(x: torch.Tensor) -> torch.Tensor:
        return torch.sin(weights @ x).square().sum() + 0.01 * x.square().sum()

    optimizer, closure = newton(loss, x, precond=scaling)
    for _ in range(8):
        H = torch.autograd.functional.hessian(lambda y: loss(y.to(dtype)).double(), x.detach().double())
        lowest, largest = torch.linalg.eigvalsh(H)[[0, -1]]
        optimizer.step(closure)
        if optimizer.last_solve is None:
            continue
        slack = (1e-4 if dtype is torch.float32 else 1e-9) * float(largest.abs().max())
        assert float(lowest) - slack <= optimizer.last_solve.lowest_curvature <= float(largest) + slack
        if optimizer.last_solve.is_indefinite:
            assert float(lowest) < 0.0
            assert optimizer.last.curvature <= optimizer.last_solve.lowest_curvature


def test_no_more_products_are_taken_than_allowed_and_all_are_counted():
    x = parameter(torch.linspace(-1.0, 1.0, 20))
    optimizer, closure = newton(rosenbrock, x, max_products=4)
    total = 0
    for _ in range(10):
        optimizer.step(closure)
        assert 1 <= optimizer.last_solve.num_products <= 4
        total += optimizer.last_solve.num_products
    assert optimizer._curvature.num_products == total


def test_a_sketch_is_charged_and_taken_again_after_so_many_steps():
    x = parameter(torch.linspace(-1.0, 1.0, 20))
    optimizer, closure = newton(rosenbrock, x, max_products=2, sketch_rank=6, sketch_every=3)
    counts = []
    for _ in range(7):
        optimizer.step(closure)
        counts.append(optimizer.last_solve.num_products)
    assert [count >= 7 for count in counts] == [True, False, False, True, False, False, True]


def test_what_products_teach_saves_products_later():
    """On a quadratic the second equation is preconditioned by the first one's products."""
    generator = torch.Generator().manual_seed(2)
    A = positive_definite(40, 1e4, generator)
    residuals = []
    for history in (0, 100):
        x = parameter(torch.randn(40, dtype=torch.float64, generator=torch.Generator().manual_seed(3)))
        optimizer = NewtonCG([x], lambda: MatrixOperator(A), 10, history=history, forcing=0.0, adapt_damping=False)
        closure = Counting(lambda x: 0.5 * x @ A @ x, x)
        run(optimizer, closure, 4)
        residuals.append(optimizer.last.loss)
    assert residuals[1] < 0.1 * residuals[0]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
@pytest.mark.parametrize("options", [{}, {"history": 3}, {"history": 0}, {"sketch_rank": 2, "sketch_every": 4}])
def test_a_resumed_run_is_bit_identical(dtype, options):
    def fresh() -> tuple[list[torch.Tensor], NewtonCG, Counting]:
        params = [parameter([-1.2, 1.0, 0.3], dtype), parameter([[-0.7, 2.0]], dtype)]

        def loss(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
            return rosenbrock(torch.cat([x, y.reshape(-1)]))

        return params, *newton(loss, *params, **options)

    params, optimizer, closure = fresh()
    run(optimizer, closure, 6)
    file = io.BytesIO()
    torch.save({"params": [param.detach() for param in params], "optimizer": optimizer.state_dict()}, file)
    file.seek(0)
    saved = torch.load(file, weights_only=True)
    resumed_params, resumed, resumed_closure = fresh()
    resumed.load_state_dict(saved["optimizer"])
    with torch.no_grad():
        for param, value in zip(resumed_params, saved["params"], strict=True):
            param.copy_(value)
    for _ in range(6):
        optimizer.step(closure)
        resumed.step(resumed_closure)
        assert repr(resumed.last) == repr(optimizer.last)
        assert repr(resumed.last_solve) == repr(optimizer.last_solve)
        assert all(torch.equal(a, b) for a, b in zip(params, resumed_params, strict=True))


def test_a_copy_of_model_and_optimiser_goes_on_alike():
    x = parameter([-1.2, 1.0, 0.3])
    optimizer, closure = newton(rosenbrock, x)
    run(optimizer, closure, 4)
    twin, twin_closure, y = copy.deepcopy((optimizer, closure, x))
    run(optimizer, closure, 4)
    run(twin, twin_closure, 4)
    assert torch.equal(x, y)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_numbers_survive_in_a_tensor_of_any_dtype(dtype):
    numbers = NewtonNumbers(1.0 / 3.0, 1e300, math.nan, 5e-324, math.inf, 1e6)
    assert repr(NewtonNumbers.from_tensor(numbers.as_tensor(torch.zeros(2, dtype=dtype)))) == repr(numbers)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize(
    ("loss", "start"), [(log_barrier, [0.0, -0.9, 0.5]), (square_root, [9.0, 1e-3, 2.0])], ids=["log", "sqrt"]
)
def test_a_barrier_is_never_crossed(loss, start, dtype):
    x = parameter(start, dtype)
    optimizer, closure = newton(loss, x)
    for _ in range(60):
        optimizer.step(closure)
        assert torch.isfinite(x).all()
        assert optimizer.last.loss <= optimizer.last.loss_before + 1e-6 * abs(optimizer.last.loss_before)
    limit = 1e-5 if dtype is torch.float64 else 0.1
    assert optimizer.last.gradient_norm < limit


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_products_that_are_not_finite_leave_steepest_descent(value):
    x = parameter([-1.2, 1.0])
    optimizer = NewtonCG([x], lambda: lambda v: torch.full_like(v, value))
    closure = Counting(rosenbrock, x)
    run(optimizer, closure, 5)
    assert optimizer.last_solve.kind is DirectionKind.NONFINITE
    assert optimizer.last.restart is Restart.NOT_DESCENT
    assert optimizer.last.loss < closure.losses[0]
    assert torch.isfinite(x).all()


def test_wrong_products_never_raise_the_loss():
    """A matrix that has nothing to do with the loss gives poor directions; the search keeps what goes down."""
    A = positive_definite(5, 1e6, torch.Generator().manual_seed(0)) - 10.0 * torch.eye(5)
    x = parameter(torch.linspace(-1.0, 1.0, 5))
    optimizer, closure = NewtonCG([x], lambda: MatrixOperator(A)), Counting(rosenbrock, x)
    for _ in range(30):
        optimizer.step(closure)
        assert optimizer.last.loss <= optimizer.last.loss_before
    assert optimizer.last.loss < 0.5 * closure.losses[0]


def test_a_failed_search_costs_no_products_in_the_next_step():
    x = parameter([1.0, 2.0])
    start = x.detach().clone()
    loss = lambda x: (x + 1.0).square().sum() + (0.0 if torch.equal(x, start) else math.nan)  # noqa: E731
    optimizer = NewtonCG([x], lambda: lambda v: 2.0 * v)
    closure = Counting(loss, x)
    optimizer.step(closure)
    assert optimizer.last.status is Status.SEARCH_FAILED
    assert optimizer.last_solve.num_products >= 1
    for _ in range(7):
        optimizer.step(closure)
        assert optimizer.last_solve is None
    assert optimizer.last.status is Status.STALLED
    assert torch.equal(x, start)


def test_an_interrupted_step_is_taken_again_as_it_was():
    ends = []
    for is_interrupted in (False, True):
        x = parameter([-1.2, 1.0, 0.4])
        optimizer, closure = newton(rosenbrock, x)
        run(optimizer, closure, 3)
        if is_interrupted:

            def interrupted() -> torch.Tensor:
                raise KeyboardInterrupt

            with pytest.raises(KeyboardInterrupt):
                optimizer.step(interrupted)
        run(optimizer, closure, 5)
        ends.append(x.detach().clone())
    assert torch.equal(*ends)


@pytest.mark.parametrize("which", ["hessian", "gauss_newton"])
def test_a_problem_gives_the_products_and_its_cost_counts_them(which):
    torch.manual_seed(0)
    model = torch.nn.Sequential(torch.nn.Linear(4, 5), torch.nn.Tanh(), torch.nn.Linear(5, 2)).double()
    generator = torch.Generator().manual_seed(1)
    inputs, targets = (torch.randn(30, k, dtype=torch.float64, generator=generator) for k in (4, 2))
    problem = ls.Problem(model, torch.nn.functional.mse_loss, (inputs, targets))
    problem.verify()
    first = float(problem.loss())
    optimizer = NewtonCG(problem.parameters, getattr(problem, which))
    for _ in range(5):
        before = problem.cost.copy()
        optimizer.step(problem.closure())
        spent = problem.cost.since(before)
        assert spent.hessian_products == optimizer.last_solve.num_products
        # One gradient for the graphs of the operator, and a few samples to measure how large they are.
        assert 1.0 <= spent.gradients - optimizer.last.num_gradients < 1.5
    assert optimizer.last.loss < 0.9 * first
    if which == "gauss_newton":
        assert not optimizer.last_solve.is_indefinite


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"max_products": 0}, "max_products=0"),
        ({"history": -1}, "history=-1"),
        ({"max_products": None}, "max_products=None"),
        ({"forcing": -0.1}, "forcing=-0.1"),
        ({"damping": math.nan}, "damping=nan"),
        ({"sketch_every": 0}, "sketch_every=0"),
    ],
)
def test_options_out_of_range_are_refused(options, match):
    with pytest.raises(ValueError, match=match):
        NewtonCG([parameter([1.0])], lambda: lambda v: v, **options)


def test_an_operator_in_place_of_what_makes_it_is_refused():
    with pytest.raises(TypeError, match="problem.hessian"):
        NewtonCG([parameter([1.0])], MatrixOperator(torch.eye(1)))
