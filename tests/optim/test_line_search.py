"""What every search by name has to do."""

from __future__ import annotations

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from landscape.optim.line_search import LINE_SEARCHES
from landscape.status import Status
from tests.optim.known_lines import BARRIERS, EDGES, FUNCTIONS, MORE_THUENTE, Function, ScalarLine

EACH = pytest.mark.parametrize("name", LINE_SEARCHES)
# These accept a point for its slope, so they find none where all slopes are as steep as at the start.
NEEDS_SLOPE = ("hager-zhang", "strong-wolfe")


@EACH
@pytest.mark.parametrize("function_name", FUNCTIONS)
@given(initial_step=st.floats(1e-3, 1e3))
@settings(max_examples=30, deadline=None)
def test_a_step_is_accepted_and_lower_than_the_start_wherever_the_search_begins(name, function_name, initial_step):
    function, derivative, _ = FUNCTIONS[function_name]
    line = ScalarLine(function, derivative)
    result = LINE_SEARCHES[name](max_evaluations=40)(line, initial_step)
    assert result.status is Status.ACCEPTED
    assert line.trials[result.step_size].loss < line.start.loss


@EACH
@pytest.mark.parametrize("initial_step", [1e-4, 0.5, 1.0, 50.0, 1e12])
@pytest.mark.parametrize("barrier", BARRIERS)
def test_a_search_goes_down_and_never_ends_where_the_loss_is_not_finite(name, barrier, initial_step):
    function, derivative = BARRIERS[barrier]
    line = ScalarLine(function, derivative)
    result = LINE_SEARCHES[name]()(line, initial_step)
    assert result.status is Status.ACCEPTED
    assert line.trials[result.step_size].is_finite
    assert line.trials[result.step_size].loss < line.start.loss


@EACH
@pytest.mark.parametrize("initial_step", [1e-4, 0.5, 1.0, 50.0, 1e12])
@pytest.mark.parametrize("edge", EDGES)
def test_a_search_comes_close_to_an_edge_that_is_the_lowest_point(name, edge, initial_step):
    function, derivative = EDGES[edge]
    line = ScalarLine(function, derivative)
    result = LINE_SEARCHES[name]()(line, initial_step)
    assert result.status is (Status.SEARCH_FAILED if name in NEEDS_SLOPE else Status.ACCEPTED)
    assert line.best.loss < -0.001
    if result.status is Status.ACCEPTED:
        assert line.trials[result.step_size].loss < line.start.loss


@EACH
@given(
    data=st.data(),
    function_name=st.sampled_from(sorted(FUNCTIONS)),
    initial_step=st.floats(1e-3, 1e3),
    fault=st.sampled_from([math.nan, math.inf, -math.inf]),
)
@settings(max_examples=100, deadline=None)
def test_a_trial_that_is_not_finite_is_never_taken_whichever_it_is(name, data, function_name, initial_step, fault):
    """The first one, one in the middle, or the last: the fault comes at a number of the search's own evaluations."""
    function, derivative, _ = FUNCTIONS[function_name]
    clean = ScalarLine(function, derivative)
    LINE_SEARCHES[name]()(clean, initial_step)
    number = data.draw(st.integers(0, clean.num_forwards + clean.num_gradients - 1))
    line = FaultyAt(number, fault, function, derivative)

    result = LINE_SEARCHES[name]()(line, initial_step)

    assert not line.trials[line.edge].is_finite
    assert line.best.loss <= line.start.loss
    if result.status is Status.ACCEPTED:
        assert result.step_size != line.edge
        assert math.isfinite(line.trials[result.step_size].loss)
        assert line.trials[result.step_size].loss <= line.start.loss


class FaultyAt(ScalarLine):
    """Its ``number``-th evaluation is not finite, and what lies beyond that point is not either."""

    def __init__(self, number: int, fault: float, function: Function, derivative: Function) -> None:
        self.number, self.edge = number, math.inf
        super().__init__(lambda a: fault if a >= self.edge else function(a), derivative)

    def _evaluate(self, step_size, *, gradient):
        if self.num_forwards + self.num_gradients == self.number:
            self.edge = step_size
        return super()._evaluate(step_size, gradient=gradient)


@pytest.mark.parametrize("name", ["quadratic", *NEEDS_SLOPE])
def test_nothing_is_tried_beyond_a_point_known_not_to_be_finite(name):
    """In contrast to the bracket of Numerical Recipes, which closes on such a point from both sides."""
    function, derivative = BARRIERS["log"]
    for initial_step in (0.01, 0.3, 3.0, 700.0):
        line = ScalarLine(function, derivative)
        LINE_SEARCHES[name]()(line, initial_step)
        order = list(dict.fromkeys(sorted([*line.forwards, *line.gradients], key=list(line.trials).index)))
        barrier = math.inf
        for step in order:
            assert step < barrier
            if not line.trials[step].is_finite:
                barrier = step


@EACH
def test_a_search_fails_within_its_limit_where_there_is_nothing_lower(name):
    line = ScalarLine(lambda a: abs(a) + 1.0, lambda a: math.copysign(1.0, a), slope=-1.0)
    result = LINE_SEARCHES[name](max_evaluations=25)(line, 1.0)
    assert result.status is Status.SEARCH_FAILED
    assert result.step_size == 0.0
    assert line.num_trials <= 25
    assert line.best is line.start


@EACH
def test_a_search_gives_up_where_no_point_is_finite(name):
    """log2(1/eps) = 52 shrinks by a tenth, and the first trial."""
    line = ScalarLine(lambda a: math.nan if a else 1.0, lambda a: -1.0)
    assert LINE_SEARCHES[name]()(line, 1.0).status is Status.SEARCH_FAILED
    assert line.num_forwards + line.num_gradients == 53
    assert line.num_gradients <= 1


@EACH
def test_a_search_of_an_unbounded_function_stops_at_its_limit(name):
    line = ScalarLine(lambda a: -a, lambda a: -1.0)
    result = LINE_SEARCHES[name](max_evaluations=12)(line, 1.0)
    assert result.status is (Status.SEARCH_FAILED if name in NEEDS_SLOPE else Status.ACCEPTED)
    assert line.num_trials <= 12
    assert line.best.loss < -100.0


@EACH
@pytest.mark.parametrize("function_name", MORE_THUENTE)
@given(initial_step=st.floats(1e-6, 1e6), max_evaluations=st.integers(1, 12))
@settings(max_examples=40, deadline=None)
def test_no_more_trials_are_made_than_allowed_and_none_twice(name, function_name, initial_step, max_evaluations):
    test = MORE_THUENTE[function_name]
    line = ScalarLine(test.function, test.derivative)  # it refuses to evaluate anything twice
    result = LINE_SEARCHES[name](max_evaluations=max_evaluations)(line, initial_step)
    # Numerical Recipes' bracket has its third point before it can look at a limit.
    assert line.num_trials <= max(max_evaluations, 2)
    assert line.trials[result.step_size].loss <= line.start.loss + 1e-6 * abs(line.start.loss)


@EACH
@pytest.mark.parametrize("initial_step", [0.0, 5e-324, 1e-200, 1e308])
def test_a_search_survives_extreme_first_steps(name, initial_step):
    line = ScalarLine(lambda a: (a - 1.0) ** 2 if abs(a) < 1e100 else math.inf, lambda a: 2.0 * (a - 1.0))
    result = LINE_SEARCHES[name]()(line, initial_step)
    assert line.trials[result.step_size].loss <= line.start.loss


@EACH
def test_an_exception_in_the_loss_goes_on(name):
    class Interrupted(ScalarLine):
        def _evaluate(self, step_size, *, gradient):
            if self.num_forwards + self.num_gradients == 1:
                raise KeyboardInterrupt
            return super()._evaluate(step_size, gradient=gradient)

    function, derivative, _ = FUNCTIONS["quartic"]
    line = Interrupted(function, derivative)
    with pytest.raises(KeyboardInterrupt):
        LINE_SEARCHES[name]()(line, 0.01)
    assert line.num_trials == 1


@EACH
def test_the_settings_that_optimisers_pass_are_taken_by_every_search(name):
    search = LINE_SEARCHES[name](xtol=0.01, max_evaluations=7)
    assert search.max_evaluations == 7
    assert getattr(search, "xtol", 0.01) == 0.01
    assert isinstance(search.warm_start, bool)
