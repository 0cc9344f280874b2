"""What an arm came to, read off runs that are written by hand."""

from __future__ import annotations

import math

import pytest

from landscape.comparison.arm import Arm
from landscape.comparison.asked import Settled
from landscape.comparison.outcomes import Way, not_run, outcome, thinned, way_of

LOSSES = ("train_loss", "validation_loss")


def run(begin, spent, losses, validation=None):
    rows = [
        {
            "epoch": float(begin + i),
            "gradient_equivalents": g,
            "seconds": 2.0 * g,
            "train_loss": loss,
            "validation_loss": v,
        }
        for i, (g, loss, v) in enumerate(zip(spent, losses, validation or losses, strict=True))
    ]
    return {"rows": rows, "final": {"train_loss": losses[-1], "validation_loss": (validation or losses)[-1]}}


FIRST = run(0, [0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0], [64.0, 32.0, 16.0, 8.0, 4.0, 2.0, 1.0])
BRANCH = run(2, [2.0, 3.5, 5.0, 6.5], [16.0, 1.0, 0.5, 0.25])


def came_to(way, branch=None, first=FIRST, target=4.0):
    return outcome(Arm("policy", "cg", policy="p"), 0, way, first, branch, 6.0, target, LOSSES)


@pytest.mark.parametrize(
    ("probing", "spent", "loss"), [(0.0, 6.5, 0.25), (1.0, 6.0, 0.5), (2.5, 6.0, 1.0), (3.75, 7.25, 1.0)]
)
def test_measurements_end_a_branch_earlier(probing, spent, loss):
    """The branch ends with the first row that reaches the budget, measurements included."""
    result = came_to(Way(2, probing), BRANCH)
    assert (result.gradient_equivalents, result.values["train_loss"]) == (spent, loss)
    assert result.values["swap_train_loss"] == 16.0
    assert result.seconds == 2.0 * (spent - probing)
    assert result.status == "finished" and result.swap_epoch == 2


def test_a_policy_that_is_out_of_budget_before_it_fires_ends_there():
    result = came_to(way_of(Settled("never", 4, 2.25, "not yet")))
    assert (result.swap_epoch, result.gradient_equivalents, result.values["train_loss"]) == (None, 6.25, 4.0)


def test_a_policy_that_fires_when_all_is_spent_ends_where_it_fires():
    """The epoch before had not spent the budget, whatever the last measurements cost."""
    result = came_to(way_of(Settled("fired", 3, 5.5, "now")))
    assert (result.swap_epoch, result.gradient_equivalents) == (3, 8.5)
    assert result.values["train_loss"] == result.values["swap_train_loss"] == 8.0


def test_never_goes_on_to_the_end():
    result = came_to(Way(None))
    assert (result.swap_epoch, result.gradient_equivalents, result.values["train_loss"]) == (None, 6.0, 1.0)
    assert "swap_train_loss" not in result.values


def test_the_target_is_reached_where_the_curve_is_first_below_it():
    assert came_to(Way(2, 0.25), BRANCH).target_equivalents == 3.75
    assert came_to(Way(None), target=0.5).target_equivalents is None


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("which", ["train", "validation"])
def test_a_loss_that_is_not_finite_is_a_divergence_and_infinite(bad, which):
    losses = [16.0, bad]
    lost = run(2, [2.0, 3.5], [16.0, 1.0], losses) if which == "validation" else run(2, [2.0, 3.5], losses)
    result = came_to(Way(2), lost)
    assert result.status == "diverged"
    assert result.values["train_loss"] == result.values["validation_loss"] == math.inf


def test_crashes_are_infinite_and_what_cannot_be_asked_has_no_value():
    arm = Arm("never")
    assert not_run(arm, 0, "crashed", "why", LOSSES).values == dict.fromkeys(LOSSES, math.inf)
    assert not_run(arm, 0, "unavailable", "why", LOSSES).values == {}


def test_curves_keep_their_ends_when_they_are_thinned():
    path = [(float(i) ** 2, 1.0 / (i + 1)) for i in range(500)]
    kept = thinned(path)
    assert len(kept) <= 80 and kept[0] == path[0] and kept[-1] == path[-1] and set(kept) <= set(path)
