from __future__ import annotations

import math

import pytest
import scipy.optimize
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from landscape.optim.line_search import NR_XTOL, GoldenSection
from landscape.status import Status
from tests.optim.known_lines import FUNCTIONS, Function, ScalarLine


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
