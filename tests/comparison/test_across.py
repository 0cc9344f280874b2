"""Several comparisons together, with medians and worst cases that are known."""

from __future__ import annotations

import math

import pytest

from landscape.comparison.across import across
from tests.comparison import made
from tests.comparison.made import MadePolicy

#: On the second task never is nearly as good as the best epoch, on the third better than all.
TASKS = {
    "valley": made.comparison(8),
    "shallow": made.comparison(8, never=1.5),
    "hopeless": made.comparison(8, never=0.5),
}


def test_the_median_is_over_tasks_of_the_median_over_seeds():
    found = across(TASKS)

    assert found["at-best"].regrets == {"valley": 0.0, "shallow": 0.0, "hopeless": 1.0}
    assert found["at-best"].median_regret == 0.0
    assert found["never"].regrets == {"valley": 7.0, "shallow": 0.5, "hopeless": 0.0}
    assert found["never"].median_regret == 0.5


def test_the_worst_ratio_to_never_comes_with_its_task():
    found = across(TASKS)

    assert found["at-best"].ratios == {"valley": 1 / 8, "shallow": pytest.approx(2 / 3), "hopeless": 2.0}
    assert (found["at-best"].worst_against_never, found["at-best"].worst_task) == (2.0, "hopeless")
    assert (found["crashes"].worst_against_never, found["crashes"].worst_task) == (math.inf, "valley")


def test_tasks_are_counted_where_it_is_better_and_worse_after_holm():
    found = across(TASKS)

    assert (found["at-best"].num_better, found["at-best"].num_worse) == (2, 1)
    assert (found["never"].num_better, found["never"].num_worse) == (0, 0)
    assert (found["crashes"].num_better, found["crashes"].num_worse) == (0, 3)


def test_a_policy_that_cannot_be_measured_counts_as_never_and_says_where():
    found = across(TASKS)

    assert found["blind"].regrets == found["never"].regrets
    assert found["blind"].as_never == ("valley", "shallow", "hopeless")
    assert "not measurable on valley, shallow, hopeless, where it counts as never" in str(found["blind"])
    assert found["never"].as_never == ()


def test_a_policy_that_was_not_compared_on_a_task_is_left_out_there():
    tasks = {**TASKS, "other": made.comparison(8, policies={"new": MadePolicy([1.0], [8])})}

    found = across(tasks)

    assert found["new"].regrets == {"other": 0.0} and found["new"].num_tasks == 1
    assert found["late"].num_tasks == 3 and found["never"].num_tasks == 4


def test_policies_come_with_the_least_median_regret_first_and_never_among_them():
    names = [score.name for score in across(TASKS).policies]

    assert names[0] == "at-best" and names[-1] == "crashes"
    assert sorted(names) == sorted(["never", *made.POLICIES])


def test_the_best_fixed_epoch_stands_beside_them():
    found = across(TASKS)

    assert found.best_fixed is not None
    assert found.best_fixed.regrets == {"valley": 0.0, "shallow": 0.0, "hopeless": 1.0}
    assert across({**TASKS, "no grid": made.comparison(8, grid={})}).best_fixed is None


def test_tasks_weigh_alike_however_many_seeds_they_have():
    few = {"valley": made.comparison(2), "shallow": made.comparison(8, never=1.5)}
    many = {"valley": made.comparison(9), "shallow": made.comparison(2, never=1.5)}

    assert across(few)["never"].median_regret == across(many)["never"].median_regret == 3.75


def test_the_finisher_is_the_first_of_each_comparison_or_the_one_asked_for():
    tasks = {"a": made.comparison(3, finishers=("cg", "lbfgs")), "b": made.comparison(3, finishers=("lbfgs",))}

    assert across(tasks).finishers == {"a": "cg", "b": "lbfgs"}
    assert across(tasks, "lbfgs").finishers == {"a": "lbfgs", "b": "lbfgs"}
    with pytest.raises(ValueError, match=r"finisher='cg' was given, but on 'b' policies swap to 'lbfgs'"):
        across(tasks, "cg")


def test_an_unknown_policy_is_answered_with_those_there_are():
    with pytest.raises(KeyError, match="no policy 'race'; there are at-best"):
        across(TASKS)["race"]
