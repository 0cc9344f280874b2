from __future__ import annotations

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from landscape.optim.line_search import StrongWolfe
from landscape.optim.line_search.interpolation import cubic_minimum, parabola_minimum, slope_zero
from landscape.status import Status
from tests.optim.known_lines import (
    BARRIERS,
    FUNCTIONS,
    MORE_THUENTE,
    ScalarLine,
    is_hidden,
    rounded,
    satisfies_wolfe,
)


@pytest.mark.parametrize("name", [*FUNCTIONS, *MORE_THUENTE, *BARRIERS])
@given(initial_step=st.floats(1e-4, 1e4), c2=st.sampled_from([0.1, 0.4, 0.9]))
@settings(max_examples=40, deadline=None)
def test_what_is_accepted_satisfies_the_strong_conditions_and_was_evaluated_last(name, initial_step, c2):
    test = MORE_THUENTE.get(name)
    function, derivative = (test.function, test.derivative) if test else {**FUNCTIONS, **BARRIERS}[name][:2]
    line = ScalarLine(function, derivative)

    result = StrongWolfe(c2=c2, max_evaluations=80)(line, initial_step)

    assert result.status is Status.ACCEPTED
    trial = line.trials[result.step_size]
    assert result.step_size == line.gradients[-1] > 0.0
    assert abs(trial.slope) <= c2 * -line.slope_at_start
    assert is_hidden(line, trial) or satisfies_wolfe(line, trial, 1e-4, c2, strong=True)


@pytest.mark.parametrize("name", ["parabola", "far_parabola", "near_parabola"])
@pytest.mark.parametrize("factor", [0.2, 0.95, 1.7, 50.0])
def test_it_is_exact_on_a_parabola(name, factor):
    function, derivative, minimum = FUNCTIONS[name]
    line = ScalarLine(function, derivative)
    result = StrongWolfe(c2=1e-3)(line, factor * minimum)
    assert result.status is Status.ACCEPTED
    assert result.step_size == pytest.approx(minimum, rel=1e-3)
    if 0.1 <= factor < 1.0 / 1.1 or 1.0 / 0.9 < factor < 1.0 / 0.1:
        assert line.num_gradients == 2


@pytest.mark.parametrize("name", MORE_THUENTE)
@pytest.mark.parametrize("initial_step", [1e-3, 0.1, 10.0, 1e3])
def test_difficult_functions_are_solved_with_their_published_tolerances(name, initial_step):
    test = MORE_THUENTE[name]
    line = ScalarLine(test.function, test.derivative)
    result = StrongWolfe(c1=test.decrease, c2=test.curvature, max_evaluations=25)(line, initial_step)
    assert result.status is Status.ACCEPTED
    assert satisfies_wolfe(line, line.trials[result.step_size], test.decrease, test.curvature, strong=True)
    assert line.num_forwards == 0


def test_a_long_first_step_on_a_flat_tail_is_not_taken_for_rounding():
    """Its slope is small and its loss is lower than at the start, but not by enough: Armijo's condition is in earnest."""
    test = MORE_THUENTE["concave_beyond"]
    line = ScalarLine(test.function, test.derivative)
    result = StrongWolfe(c1=test.decrease, c2=test.curvature)(line, 1e3)
    assert abs(line.trials[1e3].slope) < test.curvature * abs(line.slope_at_start)
    assert line.trials[1e3].loss < line.start.loss
    assert result.step_size == pytest.approx(37.0, abs=0.5)  # as More and Thuente (1994) report


@given(digits=st.integers(7, 12), depth=st.floats(0.01, 0.5), initial_step=st.floats(0.01, 100.0))
@settings(max_examples=100, deadline=None)
def test_slopes_find_the_minimum_where_rounding_hides_the_decrease(digits, depth, initial_step):
    scale = depth * 10.0**-digits
    line = ScalarLine(rounded(lambda a: 1.0 + scale * (a - 1.0) ** 2, digits), lambda a: 2.0 * scale * (a - 1.0))
    result = StrongWolfe()(line, initial_step)
    assert result.status is Status.ACCEPTED
    assert result.step_size == pytest.approx(1.0, abs=0.1001)


def test_a_kink_where_no_slope_is_small_is_left_to_the_optimiser():
    line = ScalarLine(lambda a: abs(a - 1.0), lambda a: math.copysign(1.0, a - 1.0))
    result = StrongWolfe()(line, 0.3)
    assert result.status is Status.SEARCH_FAILED
    assert line.best.loss < 1e-3


@given(
    a=st.floats(-3.0, 3.0),
    b=st.floats(0.1, 3.0),
    position=st.floats(0.0, 1.0),
)
@settings(max_examples=100, deadline=None)
def test_interpolation_reproduces_the_cubic_that_it_is_given(a, b, position):
    """f(t) = a (t - p)^3 / 3 + b (t - p)^2 / 2 has its minimum at p."""

    def value(t):
        return a * (t - position) ** 3 / 3.0 + b * (t - position) ** 2 / 2.0

    def slope(t):
        return a * (t - position) ** 2 + b * (t - position)

    found = cubic_minimum(slope(0.0), slope(1.0), value(1.0) - value(0.0))
    assert found == pytest.approx(position, abs=1e-6)


@given(curvature=st.floats(0.1, 10.0), position=st.floats(0.0, 1.0))
@settings(max_examples=50, deadline=None)
def test_all_interpolations_agree_on_a_parabola(curvature, position):
    slopes = -curvature * position, curvature * (1.0 - position)
    rise = 0.5 * curvature * ((1.0 - position) ** 2 - position**2)
    assert parabola_minimum(slopes[0], rise) == pytest.approx(position, abs=1e-12)
    assert slope_zero(*slopes) == pytest.approx(position, abs=1e-12)
    assert cubic_minimum(*slopes, rise) == pytest.approx(position, abs=1e-6)


@pytest.mark.parametrize("settings_given", [{"c1": 0.0}, {"c1": 0.2}, {"c2": 1.0}, {"c2": math.nan}])
def test_constants_that_no_step_can_satisfy_are_refused(settings_given):
    name, value = next(iter(settings_given.items()))
    with pytest.raises(ValueError, match=f"{name}={value!r}.*0 < c1 <= c2 < 1"):
        StrongWolfe(**settings_given)


def test_a_search_without_trials_is_refused():
    with pytest.raises(ValueError, match="max_evaluations=0"):
        StrongWolfe(max_evaluations=0)
