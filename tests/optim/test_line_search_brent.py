from __future__ import annotations

import math

import pytest
import scipy.optimize
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from landscape.optim.line_search import NR_XTOL, Brent, GoldenSection
from landscape.status import Status
from tests.optim.known_lines import BARRIERS, FUNCTIONS, Function, ScalarLine


@pytest.mark.parametrize("name", FUNCTIONS)
@pytest.mark.parametrize("xtol", [0.1, NR_XTOL, 1e-6])
def test_the_known_minimum_is_found_within_the_tolerance(name, xtol):
    function, derivative, minimum = FUNCTIONS[name]
    line = ScalarLine(function, derivative)
    result = Brent(xtol=xtol)(line, 1.0)
    assert result.status is Status.ACCEPTED
    assert abs(result.step_size - minimum) <= 2.0 * xtol * minimum
    assert line.num_gradients == 0


def scipys_brent(function: Function, xtol: float) -> tuple[float, float, int]:
    """SciPy has the same two algorithms. Minimum, its loss, and the evaluations that remain if none is done twice."""
    xa, xb, xc, *_, num_bracket = scipy.optimize.bracket(function, 0.0, 1.0, grow_limit=100.0)
    minimum, loss, _, num_brent = scipy.optimize.brent(function, brack=(xa, xb, xc), tol=xtol, full_output=True)
    # Known already: the start; three points of the bracket, checked again.
    return minimum, loss, num_bracket - 1 + num_brent - 3


@pytest.mark.parametrize("name", FUNCTIONS)
@pytest.mark.parametrize("xtol", [0.1, 0.01, NR_XTOL])
def test_the_points_are_those_of_scipys(name, xtol):
    function, derivative, _ = FUNCTIONS[name]
    line = ScalarLine(function, derivative)
    result = Brent(xtol=xtol)(line, 1.0)
    minimum, loss, num_calls = scipys_brent(function, xtol)
    assert result.step_size == pytest.approx(minimum, rel=1e-6)
    assert line.trials[result.step_size].loss == pytest.approx(loss, rel=1e-9, abs=1e-18)
    assert line.num_forwards == num_calls


@given(shift=st.floats(0.01, 1e3), power=st.sampled_from([2.0, 4.0, 1.5]), tilt=st.floats(0.0, 0.5))
@settings(max_examples=100, deadline=None)
def test_the_minimum_is_that_of_scipys_on_random_functions(shift, power, tilt):
    def function(a: float) -> float:
        return abs(a / shift - 1.0) ** power + tilt * math.sin(a / shift)

    assume(function(0.0) != function(1.0))  # SciPy refuses a bracket with two equal values
    line = ScalarLine(function, lambda a: -1.0)
    result = Brent(xtol=0.01)(line, 1.0)
    minimum, loss, num_calls = scipys_brent(function, 0.01)
    assert loss < function(0.0)
    assert result.step_size == pytest.approx(minimum, rel=1e-4)
    assert line.trials[result.step_size].loss == pytest.approx(loss, rel=1e-3, abs=1e-12)
    assert abs(line.num_forwards - num_calls) <= 1


@pytest.mark.parametrize("name", FUNCTIONS)
def test_it_costs_less_than_golden_section_at_the_same_fine_tolerance(name):
    function, derivative, _ = FUNCTIONS[name]
    lines = ScalarLine(function, derivative), ScalarLine(function, derivative)
    for search, line in zip((Brent(NR_XTOL), GoldenSection(NR_XTOL)), lines, strict=True):
        search(line, 1.0)
    assert lines[0].num_forwards < lines[1].num_forwards


def test_no_parabola_passes_through_a_point_that_is_not_finite():
    """The bracket's far end is at infinity until the golden section has replaced it."""
    line = ScalarLine(*BARRIERS["log"])
    result = Brent(xtol=1e-4)(line, 0.7)
    assert any(not trial.is_finite for trial in line.trials.values())
    assert result.step_size == pytest.approx(0.999, abs=1e-3)
