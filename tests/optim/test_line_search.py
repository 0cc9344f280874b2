from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import scipy.optimize
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from landscape.optim.line_search import LINE_SEARCHES, NR_XTOL, GoldenSection, Line, QuadraticSearch, Trial
from landscape.optim.line_search.quadratic import is_acceptable
from landscape.status import Status

Function = Callable[[float], float]


class ScalarLine(Line):
    """A function of one variable with its derivative; domain errors count as NaN."""

    def __init__(self, function: Function, derivative: Function, *, slope: float | None = None) -> None:
        super().__init__(function(0.0), derivative(0.0) if slope is None else slope, 2.0**-52)
        self.function, self.derivative = function, derivative
        self.num_forwards = self.num_gradients = 0

    def _evaluate(self, step_size: float, *, gradient: bool) -> Trial:
        self.num_gradients += gradient
        self.num_forwards += not gradient
        try:
            loss = self.function(step_size)
            slope = self.derivative(step_size) if gradient else None
        except (ValueError, OverflowError, ZeroDivisionError):
            loss = math.nan
        if not math.isfinite(loss):
            return Trial(step_size, math.inf, math.nan if gradient else None)
        return Trial(step_size, loss, slope)


# function, derivative, minimum
FUNCTIONS = {
    "parabola": (lambda a: (a - 0.3) ** 2 + 1.0, lambda a: 2 * (a - 0.3), 0.3),
    "far_parabola": (lambda a: (a / 40.0 - 1.0) ** 2, lambda a: (a / 40.0 - 1.0) / 20.0, 40.0),
    "near_parabola": (lambda a: (900.0 * a - 1.0) ** 2, lambda a: 1800.0 * (900.0 * a - 1.0), 1 / 900),
    "quartic": (lambda a: (a - 2.0) ** 4 - a, lambda a: 4 * (a - 2.0) ** 3 - 1.0, 2.0 + 0.25 ** (1 / 3)),
    "hyperbolic": (lambda a: math.cosh(a - 0.7), lambda a: math.sinh(a - 0.7), 0.7),
    "negative": (lambda a: -3.0 / (1.0 + (a - 1.5) ** 2), lambda a: 6 * (a - 1.5) / (1 + (a - 1.5) ** 2) ** 2, 1.5),
    "sine": (lambda a: -math.sin(a), lambda a: -math.cos(a), math.pi / 2),
}


@pytest.mark.parametrize("name", FUNCTIONS)
@pytest.mark.parametrize("xtol", [0.1, NR_XTOL, 1e-6])
def test_golden_section_finds_the_known_minimum_within_its_tolerance(name, xtol):
    function, derivative, minimum = FUNCTIONS[name]
    line = ScalarLine(function, derivative)

    result = GoldenSection(xtol=xtol)(line, 1.0)

    assert result.status is Status.ACCEPTED
    assert abs(result.step_size - minimum) <= 2.0 * xtol * minimum
    assert line.num_gradients == 0


def scipys_golden(function: Function, xtol: float) -> tuple[float, float, int]:
    """SciPy has the same two algorithms. Minimum, its loss, and the evaluations that remain if none is done twice."""
    xa, xb, xc, *_, num_bracket = scipy.optimize.bracket(function, 0.0, 1.0, grow_limit=100.0)
    minimum, loss, num_golden = scipy.optimize.golden(function, brack=(xa, xb, xc), tol=xtol, full_output=True)
    # Known already: the start; three points of the bracket, checked again; its middle, again.
    return minimum, loss, num_bracket - 1 + num_golden - 3 - 1


@pytest.mark.parametrize("name", FUNCTIONS)
@pytest.mark.parametrize("xtol", [0.1, NR_XTOL])
def test_golden_section_takes_the_same_points_as_scipys(name, xtol):
    function, derivative, _ = FUNCTIONS[name]
    line = ScalarLine(function, derivative)

    result = GoldenSection(xtol=xtol)(line, 1.0)

    minimum, loss, num_calls = scipys_golden(function, xtol)
    assert result.step_size == pytest.approx(minimum, rel=1e-6)
    assert line.trials[result.step_size].loss == pytest.approx(loss, rel=1e-12)
    assert line.num_forwards == num_calls


@given(shift=st.floats(0.01, 1e3), power=st.sampled_from([2.0, 4.0, 1.5]), tilt=st.floats(0.0, 0.5))
@settings(max_examples=100, deadline=None)
def test_golden_section_and_scipys_agree_on_random_functions(shift, power, tilt):
    def function(a: float) -> float:
        return abs(a / shift - 1.0) ** power + tilt * math.sin(a / shift)

    assume(function(0.0) != function(1.0))  # SciPy refuses a bracket with two equal values
    line = ScalarLine(function, lambda a: -1.0)
    result = GoldenSection(xtol=0.01)(line, 1.0)
    minimum, loss, num_calls = scipys_golden(function, 0.01)
    assert loss < function(0.0)
    assert result.step_size == pytest.approx(minimum, rel=1e-6)
    assert line.num_forwards == num_calls


@pytest.mark.parametrize("initial_step", [1e-9, 1e-3, 0.299, 1.0, 30.0, 1e6])
@pytest.mark.parametrize("name", ["parabola", "far_parabola", "near_parabola"])
def test_the_quadratic_search_is_exact_on_a_parabola(name, initial_step):
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
def test_what_the_quadratic_search_accepts_passes_its_test(name, initial_step):
    function, derivative, _ = FUNCTIONS[name]
    line = ScalarLine(function, derivative)
    result = QuadraticSearch(max_evaluations=30)(line, initial_step)
    assert result.status is Status.ACCEPTED
    assert result.step_size > 0.0
    assert is_acceptable(line, line.trials[result.step_size])
    assert function(result.step_size) <= function(0.0) + 1e-6 * abs(function(0.0))


@pytest.mark.parametrize("initial_step", [1e-4, 0.5, 1.0, 50.0, 1e12])
@pytest.mark.parametrize("name", LINE_SEARCHES)
@pytest.mark.parametrize(
    ("function", "derivative"),
    [
        (lambda a: -a - 1e-3 * math.log(1.0 - a), lambda a: -1.0 + 1e-3 / (1.0 - a)),  # NaN from 1 on
        (lambda a: math.nan if a > 0.01 else -a, lambda a: -1.0),  # lowest at the very edge
        (lambda a: math.inf if a > 0.01 else -a, lambda a: -1.0),
        (lambda a: -math.inf if a > 0.01 else -a, lambda a: -1.0),  # not an invitation
        (lambda a: math.exp(a) - 3.0 * a, lambda a: math.exp(a) - 3.0),  # overflows
    ],
)
def test_a_search_goes_down_and_never_ends_where_the_loss_is_not_finite(name, function, derivative, initial_step):
    line = ScalarLine(function, derivative)
    result = LINE_SEARCHES[name]()(line, initial_step)
    assert result.status is Status.ACCEPTED
    assert line.trials[result.step_size].is_finite
    assert line.trials[result.step_size].loss < line.start.loss


@pytest.mark.parametrize("name", LINE_SEARCHES)
def test_a_search_fails_within_its_limit_where_there_is_nothing_lower(name):
    line = ScalarLine(lambda a: abs(a) + 1.0, lambda a: math.copysign(1.0, a), slope=-1.0)
    result = LINE_SEARCHES[name](max_evaluations=25)(line, 1.0)
    assert result.status is Status.SEARCH_FAILED
    assert result.step_size == 0.0
    assert len(line.trials) - 1 <= 25
    assert line.best is line.start


@pytest.mark.parametrize("name", LINE_SEARCHES)
def test_a_search_gives_up_where_no_point_is_finite(name):
    """log2(1/eps) = 52 shrinks by a tenth, and the first trial."""
    line = ScalarLine(lambda a: math.nan if a else 1.0, lambda a: -1.0)
    assert LINE_SEARCHES[name]()(line, 1.0).status is Status.SEARCH_FAILED
    assert line.num_forwards == 53


@pytest.mark.parametrize("name", LINE_SEARCHES)
def test_a_search_of_an_unbounded_function_stops_at_its_limit(name):
    line = ScalarLine(lambda a: -a, lambda a: -1.0)
    result = LINE_SEARCHES[name](max_evaluations=12)(line, 1.0)
    assert result.status is Status.ACCEPTED
    assert len(line.trials) - 1 <= 12
    assert line.trials[result.step_size].loss < -100.0


@pytest.mark.parametrize("name", LINE_SEARCHES)
@pytest.mark.parametrize("initial_step", [0.0, 5e-324, 1e-200, 1e308])
def test_a_search_survives_extreme_first_steps(name, initial_step):
    line = ScalarLine(lambda a: (a - 1.0) ** 2 if abs(a) < 1e100 else math.inf, lambda a: 2.0 * (a - 1.0))
    result = LINE_SEARCHES[name]()(line, initial_step)
    assert line.trials[result.step_size].loss <= line.start.loss


def test_rounding_noise_is_resolved_by_slopes_where_values_no_longer_can():
    """Values rounded to 1e-9 hide a decrease of 1e-12; the approximate Wolfe test uses the slopes."""
    line = ScalarLine(lambda a: round(1.0 + (a - 1e-6) ** 2, 9), lambda a: 2.0 * (a - 1e-6))
    result = QuadraticSearch()(line, 1e-6)
    assert result.status is Status.ACCEPTED
    assert abs(line.trials[result.step_size].slope) <= 0.9 * abs(line.slope_at_start)


def test_a_trial_whose_slope_is_known_is_accepted_at_once_when_it_is_near_the_minimum():
    class Eager(ScalarLine):
        def _evaluate(self, step_size: float, *, gradient: bool) -> Trial:
            return super()._evaluate(step_size, gradient=True)

    function, derivative, minimum = FUNCTIONS["parabola"]
    line = Eager(function, derivative)
    assert QuadraticSearch(xtol=0.1)(line, 1.05 * minimum).step_size == 1.05 * minimum
    assert line.num_gradients == 1
