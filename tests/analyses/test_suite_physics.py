"""Physics-informed networks of the suite: exact solutions have no loss, and what is not one has."""

from __future__ import annotations

import functools
import math

import pytest
import torch
from torch import nn

from tests.analyses.suite import module, tasks

physics = module("problems.physics")


class Exact(nn.Module):
    """A model that is the solution."""

    def __init__(self, solution):
        super().__init__()
        self.solution = solution
        self.unused = nn.Parameter(torch.zeros((), dtype=torch.float64))

    def forward(self, points):
        return self.solution(points) + 0 * self.unused


def test_the_exact_solution_of_burgers_has_no_loss(generator):
    """Residual, start and edges at once; inside the shock the solution falls by 2 within 0.02."""
    model = Exact(physics.burgers_solution)
    points = physics.burgers_points(200, 50, generator, torch.device("cpu"))
    assert physics.burgers_loss(model, points).item() < 1e-20
    near_the_shock = torch.tensor([[-0.01, 0.99], [0.01, 0.99]], dtype=torch.float64)
    left, right = physics.burgers_solution(near_the_shock).flatten().tolist()
    assert left == pytest.approx(-right) and left > 0.3
    assert physics.relative_error(model, solution=physics.burgers_solution, x_range=(-1.0, 1.0)) == 0.0


def test_the_exact_solution_of_the_convection_has_no_loss(generator):
    solution = functools.partial(physics.convection_solution, beta=tasks.SPEED)
    points = physics.convection_points(200, 50, generator, torch.device("cpu"))
    assert physics.convection_loss(Exact(solution), points, tasks.SPEED).item() < 1e-24
    assert physics.convection_loss(Exact(solution), points, tasks.SPEED + 1).item() > 0.1


@pytest.mark.parametrize("name", ["burgers", "convection"])
def test_the_error_of_a_network_that_is_zero_is_one(name):
    task = tasks.TASKS[name].tiny()
    problem, _ = task.make_problem(0)
    assert problem.layout.dtype == torch.float64
    problem.set_params(torch.zeros_like(problem.params()))
    assert task.error(problem.model) == 1.0


def test_the_exact_solution_of_the_helmholtz_equation_has_no_loss(generator):
    points = physics.helmholtz_points(200, 20, generator, torch.device("cpu"))
    assert points["edge"].abs().amax(dim=1).eq(1.0).all() and points["edge"].shape == (80, 2)
    exact = Exact(physics.helmholtz_solution)
    assert physics.helmholtz_loss(exact, points, 1.0).item() < 1e-20
    larger = physics.helmholtz_loss(Exact(lambda at: 1.1 * physics.helmholtz_solution(at)), points, 3.0)
    source = (9.0 - 5 * math.pi**2) * physics.helmholtz_solution(points["inside"])
    assert larger.item() == pytest.approx(0.01 * source.square().mean().item()), "the residual is linear in u"
