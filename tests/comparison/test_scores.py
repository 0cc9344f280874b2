"""Regrets, ratios and verdicts of policies whose losses are known exactly."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from landscape.comparison.arm import Arm
from landscape.comparison.comparison import Comparison
from landscape.comparison.scores import PolicyScore, policy_scores, reference_scores
from tests.comparison import made
from tests.comparison.made import MadePolicy


def scores_of(comparison: Comparison, finisher: str = "cg") -> dict[str, PolicyScore]:
    return {score.name: score for score in policy_scores(comparison, finisher)}


@pytest.mark.parametrize("num_seeds", [1, 3, 8])
@pytest.mark.parametrize(
    ("name", "regret", "ratio"),
    [
        ("at-best", 0.0, 1 / 8),
        ("late", 1.0, 1 / 4),
        ("never", 7.0, 1.0),
        ("never-fires", 7.0, 1.0),
        ("harmful", 15.0, 2.0),
        ("crashes", math.inf, math.inf),
    ],
)
def test_regret_is_relative_to_the_best_grid_point_of_each_seed(num_seeds, name, regret, ratio):
    """The best is 1 and never 8 in units of the seed, which cancel."""
    score = scores_of(made.comparison(num_seeds))[name]

    assert score.regrets == (regret,) * num_seeds
    assert (score.regret.estimate, score.ratio_to_never) == (regret, ratio)


def test_losses_swap_epochs_probing_and_the_claim_are_those_of_the_arm():
    score = scores_of(made.comparison(4))["at-best"]

    assert score.losses == (1.0, 2.0, 4.0, 1.0)
    assert score.swap_epochs == (8, 8, 8, 8)
    assert (score.probing, score.claim, score.finisher, score.num_failed) == (1.0, "B", "cg", 0)
    assert (score.median_loss, score.median_epoch, score.num_swapped, score.seconds) == (1.5, 8.0, 4, 2.5)


def test_the_target_is_reached_by_seven_of_eight_seeds_where_one_diverged():
    scores = scores_of(made.comparison(8))

    assert (scores["at-best"].target.num_reached, scores["at-best"].target.equivalents) == (8, 69.0)
    assert (scores["diverges-once"].target.num_reached, scores["diverges-once"].target.equivalents) == (7, 70.0)
    assert (scores["never"].target.num_reached, scores["never"].target.equivalents) == (0, math.inf)


def test_scores_come_with_the_least_median_regret_first_and_what_was_not_asked_last():
    scores = policy_scores(made.comparison(8), "cg")

    assert [score.name for score in scores] == [
        "at-best",
        "diverges-once",
        "late",
        "never",
        "never-fires",
        "in-turn",
        "harmful",
        "crashes",
        "blind",
    ]


def test_eight_seeds_that_agree_are_a_difference_after_holm_for_six_tests():
    """All of one sign: p = 2 / 2^8; never, never-fires and blind are not tested, so the least p is 6 times that."""
    scores = scores_of(made.comparison(8))

    for name, verdict in (("at-best", "better"), ("late", "better"), ("harmful", "worse"), ("crashes", "worse")):
        assert scores[name].against_never.p_value == 2 / 2**8
        assert scores[name].p_holm == 6 * 2 / 2**8
        assert scores[name].verdict == f"{verdict} than never"


def test_seven_seeds_cannot_show_a_difference_among_six_tests():
    verdicts = {score.verdict for score in policy_scores(made.comparison(7), "cg")}

    assert verdicts == {"no difference found", "not asked"}
    assert scores_of(made.comparison(7))["at-best"].p_holm == 6 * 2 / 2**7


def test_a_policy_that_never_swapped_and_measured_nothing_is_never_and_not_tested():
    scores = scores_of(made.comparison(8))

    for name in ("never", "never-fires"):
        assert (scores[name].p_holm, scores[name].verdict) == (1.0, "no difference found")


def test_a_policy_that_never_swapped_but_paid_for_measurements_is_tested():
    policies = {"blindfold": MadePolicy([16.0], [None], probing=50.0)}

    score = scores_of(made.comparison(8, policies=policies))["blindfold"]

    assert (score.p_holm, score.verdict) == (2 / 2**8, "worse than never")


def test_losses_that_are_better_and_worse_in_turn_even_out():
    score = scores_of(made.comparison(8))["in-turn"]

    assert score.regrets == (3.0, 15.0) * 4
    assert score.regret.estimate == 9.0
    assert (score.ratio_to_never, score.verdict, score.against_never.p_value) == (1.0, "no difference found", 1.0)


def test_one_diverged_seed_is_an_infinite_loss_that_counts():
    """Signed ranks 8, -4, ..., -4 (seven times): 8 + 4 S with S of seven signs is at least 20 in size 30 times out of 128."""
    score = scores_of(made.comparison(8))["diverges-once"]

    assert score.losses[0] == math.inf and score.regrets[0] == math.inf
    assert score.num_failed == 1 and score.reason == "the loss became infinite"
    assert score.regret.estimate == 0.0 and score.regret.high == math.inf
    assert score.against_never.p_value == 30 / 128
    assert score.verdict == "no difference found"


def test_a_policy_that_cannot_be_measured_has_no_numbers_and_says_why():
    score = scores_of(made.comparison(8))["blind"]

    assert score.verdict == "not asked"
    assert all(math.isnan(value) for value in (*score.losses, *score.regrets, score.p_holm, score.ratio_to_never))
    assert math.isnan(score.regret.estimate) and score.against_never.n == 0
    assert score.reason == "reads 'noise_scale', which full batches do not have"
    assert str(score.target) == "not asked"


def test_a_policy_that_could_be_asked_with_some_seeds_is_judged_on_those():
    policies = {"half": MadePolicy([1.0], [8], statuses=["finished", "unavailable"])}

    score = scores_of(made.comparison(8, policies=policies))["half"]

    assert score.against_never.n == 4 and score.against_never.num_missing == 4
    assert (score.regret.estimate, score.regret.num_samples, score.ratio_to_never) == (0.0, 4, 1 / 8)


def test_an_arm_that_finished_without_the_value_counts_as_the_worst():
    comparison = made.comparison(8)
    lost = Arm("policy", "cg", policy="at-best")
    results = tuple(
        dataclasses.replace(result, values={"train_loss": math.nan})
        if result.arm == lost and result.seed == 3
        else result
        for result in comparison.results
    )

    score = scores_of(dataclasses.replace(comparison, results=results))["at-best"]

    assert score.losses[3] == math.inf and score.regrets[3] == math.inf


def test_losses_below_the_floor_are_equal():
    comparison = made.comparison(3, floor=100.0)

    assert {score.regret.estimate for score in policy_scores(comparison, "cg") if score.name != "crashes"} >= {0.0}
    assert scores_of(comparison)["harmful"].regrets == (0.0, 0.0, 0.0)
    assert scores_of(comparison)["crashes"].regrets == (math.inf,) * 3


def test_each_finisher_is_judged_by_its_own_grid():
    """The second finisher ends at half the loss everywhere but at never."""
    scores = scores_of(made.comparison(8, finishers=("cg", "half")), "half")

    assert scores["at-best"].regret.estimate == 0.0
    assert scores["never"].regret.estimate == 15.0
    assert scores["at-best"].ratio_to_never == 1 / 16


def test_a_policy_called_never_that_never_swapped_is_not_told_twice():
    policies = {"never": MadePolicy([None], [None]), "at-best": made.POLICIES["at-best"]}

    names = [score.name for score in policy_scores(made.comparison(3, policies=policies), "cg")]

    assert names == ["at-best", "never"]


def test_references_are_scored_against_the_same_grid():
    scores = {score.name: score for score in reference_scores(made.comparison(8), "cg")}

    assert {name: score.regret.estimate for name, score in scores.items()} == {
        "best fixed epoch": 0.0,
        "adam-cosine (control)": 3.0,
        "lbfgs (control)": -0.5,
        "adam-cosine (from start)": 1.0,
        "adam-constant:lr=0.01 (from start)": 15.0,
    }
    assert all(score.p_holm == 5 * 2 / 2**8 for score in scores.values())
    assert scores["best fixed epoch"].swap_epochs == (8,) * 8


def test_without_a_grid_never_is_the_best_grid_point():
    comparison = made.comparison(3, grid={}, controls=False)

    assert scores_of(comparison)["at-best"].regret.estimate == -7 / 8
    assert reference_scores(comparison, "cg") == ()


@settings(max_examples=25, deadline=None)
@given(
    losses=st.lists(st.floats(1e-3, 1e3), min_size=4, max_size=4),
    order=st.permutations(range(4)),
    power=st.integers(-20, 20),
)
def test_neither_the_order_of_the_seeds_nor_the_unit_of_the_loss_changes_a_score(losses, order, power):
    comparison = made.comparison(4, policies={"some": MadePolicy(losses, [8])}, floor=0.0)
    results = tuple(
        dataclasses.replace(each, values={name: value * 2.0**power for name, value in each.values.items()})
        for each in comparison.results
    )
    changed = dataclasses.replace(comparison, seeds=tuple(order), results=results)

    score, other = scores_of(comparison)["some"], scores_of(changed)["some"]

    assert sorted(score.regrets) == sorted(other.regrets)
    assert score.regret == other.regret
    assert score.p_holm == other.p_holm
    np.testing.assert_allclose(score.ratio_to_never, other.ratio_to_never, rtol=1e-14)


def test_another_finisher_than_those_is_refused_with_the_ones_there_are():
    with pytest.raises(ValueError, match=r"finisher='newton' was given; the policies of this comparison swap to 'cg'"):
        policy_scores(made.comparison(2), "newton")


def test_a_metric_that_nobody_measured_is_refused_with_those_there_are():
    comparison = dataclasses.replace(made.comparison(2), metric="test_loss")

    with pytest.raises(
        ValueError, match=r"'test_loss'.*measured are 'train_accuracy', 'train_loss', 'validation_loss'"
    ):
        policy_scores(comparison, "cg")


def test_a_seed_whose_first_phase_crashed_counts_nowhere():
    """Nine seeds of which one is lost say what the other eight say."""
    lost = made.without_seed(made.comparison(9), 8)

    for score, whole in zip(policy_scores(lost, "cg"), policy_scores(made.comparison(8), "cg"), strict=True):
        assert (score.name, score.verdict, score.num_failed) == (whole.name, whole.verdict, whole.num_failed)
        assert repr((score.regret.estimate, score.p_holm)) == repr((whole.regret.estimate, whole.p_holm))
        assert math.isnan(score.losses[8]) and math.isnan(score.regrets[8])
        assert score.epochs == whole.epochs


def test_the_median_epoch_leaves_out_seeds_where_it_crashed_before_it_could_swap():
    policies = {"some": MadePolicy([1.0, math.inf, 1.0], [4, None, 8], statuses=["finished", "crashed", "finished"])}

    score = scores_of(made.comparison(3, policies=policies))["some"]

    assert score.swap_epochs == (4, None, 8)
    assert (sorted(score.epochs), score.median_epoch) == ([4.0, 8.0], 6.0)


def test_a_traceback_is_told_by_its_last_line():
    policies = {"some": MadePolicy([math.inf], [4], statuses=["crashed"])}
    comparison = made.comparison(2, policies=policies)
    results = tuple(
        dataclasses.replace(each, reason="Traceback:\n  File\nValueError: bad.\n") if each.status == "crashed" else each
        for each in comparison.results
    )

    assert scores_of(dataclasses.replace(comparison, results=results))["some"].reason == "ValueError: bad"


def test_a_comparison_of_which_nothing_ran_is_refused_with_the_error():
    with pytest.raises(ValueError, match=r"every arm crashed with every seed \(MemoryError: made to crash\)"):
        policy_scores(made.without_seed(made.comparison(1), 0), "cg")
