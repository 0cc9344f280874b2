from __future__ import annotations

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from landscape.optim.line_search import HagerZhang, QuadraticSearch, Trial
from landscape.optim.line_search.quadratic import is_acceptable
from landscape.status import Status
from tests.optim.known_lines import (
    BARRIERS,
    FUNCTIONS,
    MORE_THUENTE,
    ScalarLine,
    rounded,
    satisfies_approximate_wolfe,
    satisfies_wolfe,
)


@pytest.mark.parametrize("initial_step", [1e-9, 1e-3, 0.299, 1.0, 30.0, 1e6])
@pytest.mark.parametrize("name", ["parabola", "far_parabola", "near_parabola"])
def test_it_is_exact_on_a_parabola(name, initial_step):
    function, derivative, minimum = FUNCTIONS[name]
    line = ScalarLine(function, derivative)

    result = QuadraticSearch(max_evaluations=20)(line, initial_step)

    assert result.status is Status.ACCEPTED
    assert result.step_size == pytest.approx(minimum, rel=1e-6)
    assert line.num_gradients == 1
    if 0.011 * initial_step < minimum < 9.9 * initial_step:
        assert line.num_forwards == 1


@pytest.mark.parametrize("name", FUNCTIONS)
@given(initial_step=st.floats(1e-6, 1e6))
@settings(max_examples=40, deadline=None)
def test_what_is_accepted_passes_the_test_and_was_evaluated_last(name, initial_step):
    function, derivative, _ = FUNCTIONS[name]
    line = ScalarLine(function, derivative)
    result = QuadraticSearch(max_evaluations=30)(line, initial_step)
    assert result.status is Status.ACCEPTED
    assert result.step_size == line.gradients[-1] > 0.0
    trial = line.trials[result.step_size]
    assert is_acceptable(line, trial)
    is_lower = satisfies_wolfe(line, trial, 1e-4, math.inf) and trial.loss < line.start.loss
    assert is_lower or satisfies_approximate_wolfe(line, trial, 0.1, 0.9)


def test_rounding_noise_is_resolved_by_slopes_where_values_no_longer_can():
    """Values rounded to 1e-9 hide a decrease of 1e-12; the approximate Wolfe test uses the slopes."""
    line = ScalarLine(rounded(lambda a: 1.0 + (a - 1e-6) ** 2, 9), lambda a: 2.0 * (a - 1e-6))
    result = QuadraticSearch()(line, 1e-6)
    assert result.status is Status.ACCEPTED
    assert abs(line.trials[result.step_size].slope) <= 0.9 * abs(line.slope_at_start)


class Eager(ScalarLine):
    """A closure that calls backward regardless."""

    def _evaluate(self, step_size: float, *, gradient: bool) -> Trial:
        return super()._evaluate(step_size, gradient=True)


def test_a_trial_whose_slope_is_known_is_accepted_at_once_when_it_is_near_the_minimum():
    function, derivative, minimum = FUNCTIONS["parabola"]
    line = Eager(function, derivative)
    assert QuadraticSearch(xtol=0.1)(line, 1.05 * minimum).step_size == 1.05 * minimum
    assert line.num_gradients == 1


@pytest.mark.parametrize("name", MORE_THUENTE)
@pytest.mark.parametrize("initial_step", [1e-3, 0.1, 10.0, 1e3])
def test_difficult_functions_cost_two_gradients_at_most(name, initial_step):
    test = MORE_THUENTE[name]
    line = ScalarLine(test.function, test.derivative)
    assert QuadraticSearch()(line, initial_step).status is Status.ACCEPTED
    assert line.num_gradients <= 2
    assert line.num_forwards <= 6


@pytest.mark.parametrize("name", [*BARRIERS, *MORE_THUENTE])
def test_it_costs_less_than_a_search_by_gradients_alone(name):
    test = MORE_THUENTE.get(name)
    function, derivative = (test.function, test.derivative) if test else BARRIERS[name]
    costs = []
    for search in (QuadraticSearch(), HagerZhang()):
        cost = 0.0
        for exponent in range(-12, 13):
            line = ScalarLine(function, derivative)
            search(line, 10.0 ** (exponent / 3))
            cost += line.num_gradients + line.num_forwards / 3
        costs.append(cost)
    assert costs[0] < costs[1]


def test_an_extrapolation_that_fails_falls_back_on_the_trial_that_it_was_made_from():
    """The trial at 1 is low enough; its parabola has the minimum at 3.3, where the loss is high."""
    line = ScalarLine(
        lambda a: -a + 0.15 * a**2 + (10.0 * (a - 2.0) ** 2 if a > 2.0 else 0.0),
        lambda a: -1.0 + 0.3 * a + (20.0 * (a - 2.0) if a > 2.0 else 0.0),
    )
    result = QuadraticSearch()(line, 1.0)
    assert result.step_size == 1.0
    assert line.forwards == [1.0]
    assert line.gradients == pytest.approx([1.0 / 0.3, 1.0])
