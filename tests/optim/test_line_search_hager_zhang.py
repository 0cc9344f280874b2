from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from landscape.optim.line_search import HagerZhang
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


@pytest.mark.parametrize("name", [*FUNCTIONS, *MORE_THUENTE, *BARRIERS])
@given(initial_step=st.floats(1e-4, 1e4), sigma=st.sampled_from([0.1, 0.4, 0.9]))
@settings(max_examples=40, deadline=None)
def test_what_is_accepted_satisfies_one_of_the_two_pairs_of_conditions_and_was_evaluated_last(
    name, initial_step, sigma
):
    test = MORE_THUENTE.get(name)
    function, derivative = (test.function, test.derivative) if test else {**FUNCTIONS, **BARRIERS}[name][:2]
    line = ScalarLine(function, derivative)

    result = HagerZhang(sigma=sigma, max_evaluations=60)(line, initial_step)

    assert result.status is Status.ACCEPTED
    trial = line.trials[result.step_size]
    assert result.step_size == line.gradients[-1] > 0.0
    is_exact = satisfies_wolfe(line, trial, 0.1, sigma) and trial.loss < line.start.loss
    assert is_exact or satisfies_approximate_wolfe(line, trial, 0.1, sigma)


@pytest.mark.parametrize("name", ["parabola", "far_parabola", "near_parabola"])
@pytest.mark.parametrize("factor", [0.2, 0.9, 1.0, 1.9, 20.0])
def test_a_secant_step_is_exact_on_a_parabola(name, factor):
    function, derivative, minimum = FUNCTIONS[name]
    line = ScalarLine(function, derivative)
    result = HagerZhang(sigma=0.1)(line, factor * minimum)
    assert result.status is Status.ACCEPTED
    if 0.9 <= factor <= 1.1:
        assert line.gradients == [factor * minimum]
    else:
        assert result.step_size == pytest.approx(minimum, rel=1e-6)
        assert line.num_gradients == 2


def test_the_first_trial_costs_one_gradient_and_nothing_else_when_it_is_accepted():
    function, derivative, _ = FUNCTIONS["hyperbolic"]
    line = ScalarLine(function, derivative)
    assert HagerZhang()(line, 0.5).step_size == 0.5
    assert (line.forwards, line.gradients) == ([], [0.5])


@pytest.mark.parametrize("name", MORE_THUENTE)
@pytest.mark.parametrize("initial_step", [1e-3, 0.1, 10.0, 1e3])
def test_difficult_functions_are_solved_with_their_published_tolerances(name, initial_step):
    test = MORE_THUENTE[name]
    line = ScalarLine(test.function, test.derivative)
    search = HagerZhang(delta=test.decrease, sigma=test.curvature)
    result = search(line, initial_step)
    assert result.status is Status.ACCEPTED
    assert search.accepts(line, line.trials[result.step_size])
    assert line.num_forwards == 0


def test_shrinks_away_from_a_first_trial_that_is_not_finite_compute_no_gradients():
    line = ScalarLine(lambda a: math.nan if a > 0.5 else (a - 0.2) ** 2, lambda a: 2.0 * (a - 0.2))
    result = HagerZhang(max_evaluations=1)(line, 300.0)
    assert result.status is Status.ACCEPTED
    assert line.gradients == [300.0, pytest.approx(0.3)]
    assert line.forwards == pytest.approx([30.0, 3.0, 0.3])


def test_a_gradient_that_is_not_finite_where_the_loss_is_turns_the_step_back():
    line = ScalarLine(lambda a: (a - 1.0) ** 2, lambda a: math.nan if a > 0.5 else 2.0 * (a - 1.0))
    result = HagerZhang()(line, 1.0)
    assert result.status is Status.ACCEPTED
    assert 0.0 < result.step_size <= 0.5


@pytest.mark.parametrize("sigma", [0.1, 0.9])
@given(minimum=st.floats(0.1, 10.0), initial_step=st.floats(1e-2, 1e2), steepness=st.floats(1e-5, 1e-3))
@settings(max_examples=60, deadline=None)
def test_in_float32_the_minimum_is_found_where_the_loss_is_all_rounding(sigma, minimum, initial_step, steepness):
    """The whole valley is 1e-7 of the loss or less deep, under the spacing of float32 numbers: only slopes tell."""

    def function(a):
        return float(np.float32(1.0) + np.float32(steepness**2 * (a / minimum - 1.0) ** 2 * 1e-1))

    line = ScalarLine(function, lambda a: 0.2 * steepness**2 / minimum * (a / minimum - 1.0), eps=2.0**-23)
    assert line.start.loss <= 1.0 + 2e-7
    result = HagerZhang(sigma=sigma)(line, initial_step)
    assert result.status is Status.ACCEPTED
    assert abs(line.trials[result.step_size].slope) <= max(sigma, 0.8) * abs(line.slope_at_start)
    assert 0.0 < result.step_size < 2.0 * minimum


def test_wolfe_alone_would_fail_where_rounding_hides_the_decrease():
    line = ScalarLine(rounded(lambda a: 1.0 + (a - 1e-6) ** 2, 9), lambda a: 2.0 * (a - 1e-6))
    result = HagerZhang()(line, 1e-6)
    trial = line.trials[result.step_size]
    assert result.status is Status.ACCEPTED
    assert not satisfies_wolfe(line, trial, 0.1, 0.9)
    assert satisfies_approximate_wolfe(line, trial, 0.1, 0.9)


def test_a_step_of_no_effect_is_none():
    line = ScalarLine(lambda a: 1.0, lambda a: -1e-12)
    result = HagerZhang()(line, 1.0)
    assert result.status is Status.SEARCH_FAILED


@pytest.mark.parametrize(
    "settings_given", [{"delta": 0.0}, {"delta": 0.5}, {"sigma": 0.05}, {"sigma": 1.0}, {"delta": math.nan}]
)
def test_constants_that_no_step_can_satisfy_are_refused(settings_given):
    name, value = next(iter(settings_given.items()))
    with pytest.raises(ValueError, match=f"{name}={value!r}.*0 < delta < 0.5 and delta <= sigma < 1"):
        HagerZhang(**settings_given)


def test_a_search_without_trials_is_refused():
    with pytest.raises(ValueError, match="max_evaluations=0"):
        HagerZhang(max_evaluations=0)
