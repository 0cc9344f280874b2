from __future__ import annotations

import dataclasses
import itertools
import math
import re

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from landscape.policies import AfterEpochs, build
from landscape.problem import Problem
from landscape.report.account import phase_gain, second_phase_price, segment_accounts
from landscape.report.verdict import describe_run
from landscape.status import Status
from landscape.tracking.history import History
from landscape.training.result import Evaluation, Swap
from landscape.training.trainer import Trainer
from tests.problems import regression_data
from tests.report.runs import EVALUATIONS, REASON, history, never_swapped, swapped, swapped_back


def told(result):
    """The verdict in one line."""
    return " ".join(str(describe_run(result)).split())


def test_the_headline_says_whether_and_when_it_swapped_and_where_it_ended():
    assert describe_run(swapped()).headline == (
        "Swapped after epoch 2 (5 GE) of 6 (13 GE); final training loss 0.025, validation loss 0.2."
    )


def test_the_reason_is_the_policys():
    assert f"After epoch 2 (5 GE) the policy swapped to the second optimiser: {REASON}." in told(swapped())


def test_each_segment_tells_its_losses_its_work_and_its_gain():
    text = told(swapped())

    assert "First phase, epochs 1 to 2 (2 GE of steps): loss 0.8 -> 0.2, 100 halvings per 100 GE." in text
    assert "Second phase, epochs 3 to 6 (8 GE of steps): loss 0.2 -> 0.025, 37.5 halvings per 100 GE." in text
    assert "Per GE the first phase gained more (100 against 37.5), but it had the easy halvings of the start." in text


def test_the_phase_that_gained_more_is_named_whichever_it_was():
    text = told(swapped(history=history(loss=[0.8, 0.8, 0.7, 0.1, 0.05, 0.05, 0.025]), evaluations=()))

    assert "Per GE the second phase gained more" in text and "though the losses it met were others" in text


def test_the_gain_of_a_phase_counts_all_its_segments():
    accounts = segment_accounts(swapped_back())

    # First phase: one halving for 1 GE, one for 2 GE, one for 4 GE.
    assert phase_gain(accounts, "first") == pytest.approx(3 / 7 * 100)


def test_losses_and_metrics_are_told_at_the_end_and_at_the_swap():
    assert (
        "At the end (at the swap): training loss 0.025 (0.2), training accuracy 97.5 % (70.0 %), "
        "validation loss 0.2 (0.22), validation accuracy 90.0 % (66.0 %)."
    ) in told(swapped())


def test_a_validation_loss_that_rose_since_the_swap_is_said():
    end = Evaluation("end", 6, {"train_loss": 0.025, "validation_loss": 0.5})

    assert "the training loss fell but the validation loss rose" in told(swapped(evaluations=(*EVALUATIONS[:2], end)))
    assert "rose" not in told(swapped())


def test_recording_and_line_searches_are_priced():
    text = told(swapped())

    assert "Recording cost 3 of 13 GE (23.1 %)." in text
    assert "The 4 second-phase steps cost 2 GE each on average: 1 for the gradient, 1 for the line search" in text
    assert "1 of them failed to lower the loss" in text


def test_a_second_phase_of_mini_batches_is_priced_by_the_epoch():
    result = swapped(history=history(step=[0, 10, 20, 30, 40, 50, 60], status=None))

    assert second_phase_price(result).num_steps == 40
    assert "An epoch of the second phase cost 2 GE." in told(result)
    assert "line search" not in told(result)


@pytest.mark.parametrize("status", [Status.MAX_STEPS, Status.BUDGET_SPENT, Status.STALLED, Status.INTERRUPTED])
def test_the_end_is_explained_by_the_status(status):
    assert f"Why it ended: {status}" in told(swapped(status=status))


def test_one_run_is_not_called_a_proof_and_the_check_is_named():
    text = str(describe_run(swapped()))

    assert "One run does not show that swapping was better" in text
    # In one piece, so that it can be copied.
    assert any(
        "`landscape train ... --policy never --record free --budget-ge 13`" in line for line in text.splitlines()
    )


def test_the_text_for_the_terminal_is_short_and_narrow():
    lines = str(describe_run(swapped())).splitlines()

    assert 6 <= len(lines) <= 15 and max(map(len, lines)) <= 100


@pytest.mark.parametrize(
    "result",
    [
        swapped(),
        never_swapped(),
        swapped_back(),
        swapped(history=history(step_curvature=[None] * 3 + [1.0] * 4)),
        swapped(history=history(step_curvature=[None] * 3 + [-1.0] * 4)),
    ],
)
def test_convexity_is_never_claimed(result):
    text = told(result)

    for mention in re.findall(r"[^.]*\bconvex[^.]*", text):
        assert "does not show" in mention or "no proof" in mention or "evidence that the loss is not convex" in mention


def test_the_gradient_norm_rule_is_said_to_test_the_curvature_along_the_gradient_at_most():
    text = told(swapped())

    assert "tests at most the sign of the curvature along the gradient" in text
    assert "curvature in all directions (lambda_min) was not tested" in text


@pytest.mark.parametrize(
    ("policy", "words"),
    [
        ("AfterEpochs(epochs=2)", "was set beforehand: nothing about the loss was tested"),
        ("MyOwn()", "no proof of conv"),
    ],
)
def test_other_policies_get_words_of_their_own(policy, words):
    assert words in told(swapped(settings={"policy": policy}))


def test_a_run_that_never_swapped_says_what_that_means():
    verdict = describe_run(never_swapped())

    assert verdict.headline == (
        "Never swapped: the first optimiser made all 4 epochs (13 GE); final training loss 0.05."
    )
    assert "saw no reason to swap in 4 epochs, so the second optimiser never ran" in told(never_swapped())
    assert "There was no validation data." in told(never_swapped())


def test_a_baseline_is_called_one_and_names_its_counterpart():
    text = told(never_swapped("Never()"))

    assert "this is a baseline" in text and "`landscape train ... --budget-ge 13` with a policy that swaps" in text


def test_swaps_back_are_told_with_their_reasons():
    text = told(swapped_back())

    assert "Swapped after epoch 1 (3 GE) of 6 (13 GE) with 2 swaps back;" in text
    assert "After epoch 2 (5 GE) the first optimiser took over again: 3 line searches failed in a row." in text
    assert "After epoch 4 (9 GE) the first optimiser took over again: steepest descent can no longer" in text


# -- what may be missing or broken --------------------------------------------------------------------------------------


def test_without_a_recorded_loss_the_evaluations_give_it():
    result = swapped(history=history(loss=[None] * 3 + [0.1, 0.05, 0.05, 0.025]))

    # 0.8 and 0.2 were evaluated at the start and at the swap: no running loss is needed.
    assert "loss 0.8 -> 0.2, 100 halvings per 100 GE" in told(result)


def test_a_running_loss_that_stands_in_is_called_so():
    result = swapped(history=history(loss=[None] * 3 + [0.1, 0.05, 0.05, 0.025]), evaluations=())

    text = told(result)
    assert "loss not measured -> 0.3 (running), gain unknown since a loss is missing" in text
    assert "loss 0.3 (running) -> 0.025" in text
    assert "cannot be said" in text


def test_a_run_without_any_loss_says_so():
    text = told(swapped(history=history(loss=None, loss_running=None), evaluations=()))

    assert "final training loss not measured" in text
    assert "loss not measured, gain unknown" in text


@pytest.mark.parametrize(("value", "word"), [(math.nan, "NaN"), (math.inf, "infinity")])
def test_a_diverged_run_says_so_first(value, word):
    recorded = history(loss=[0.8, 0.4, 0.2, 0.1, 0.05, 0.05, value])
    end = Evaluation("end", 6, {"train_loss": value})

    verdict = describe_run(swapped(history=recorded, evaluations=(end,), status=Status.NONFINITE))

    assert verdict.headline.startswith("Diverged: the loss was NaN or infinite after epoch 6 (13 GE)")
    assert f"final training loss {word}" in verdict.headline
    assert "no gain to count since a loss is not finite" in str(verdict).replace("\n  ", " ")


def test_a_loss_of_exactly_zero_has_no_number_of_halvings():
    text = told(swapped(history=history(loss=[0.8, 0.4, 0.2, 0.1, 0.05, 0.05, 0.0])))

    assert "loss 0.2 -> 0, down to a loss of exactly 0" in text


def test_negative_losses_have_no_halvings():
    text = told(swapped(history=history(loss=[0.8, 0.4, 0.2, 0.1, 0.05, 0.0, -1.0]), evaluations=()))

    assert "halvings do not exist for losses that are not positive" in text


def test_a_loss_that_rose_has_a_negative_gain():
    text = told(swapped(history=history(loss=[0.2, 0.4, 0.8, 0.1, 0.05, 0.05, 0.025])))

    assert "-100 halvings per 100 GE (the loss rose)" in text


def test_a_swap_at_the_very_end_leaves_nothing_to_say_about_the_second_phase():
    result = swapped(history=history(3), evaluations=(*EVALUATIONS[:2], Evaluation("end", 2, {"train_loss": 0.2})))

    text = told(result)
    assert "No epoch of the second phase was completed, so this run says nothing about it." in text
    assert "gained more" not in text and "line search" not in text


def test_an_interrupted_run_says_so_and_where_it_was_evaluated_last():
    result = swapped(history=history(5), evaluations=EVALUATIONS[:2], status=Status.INTERRUPTED)

    assert describe_run(result).headline.startswith("Interrupted. Swapped")
    assert "not evaluated where the run stopped; the last evaluation is that after epoch 2" in told(result)
    assert "can be resumed" in told(result)


def test_a_run_interrupted_in_its_first_epoch_is_described():
    result = swapped(history=history(1), swaps=(), evaluations=EVALUATIONS[:1], status=Status.INTERRUPTED)

    assert "not one epoch was completed (13 GE); initial training loss 0.8" in describe_run(result).headline
    assert "No epoch was completed, so there was nothing yet to decide on." in told(result)
    assert "At the start: training loss 0.8" in told(result)


def test_a_run_of_one_epoch_is_described():
    result = never_swapped(history=history(2), evaluations=())

    assert "made 1 epoch (13 GE); final training loss 0.4" in describe_run(result).headline


def test_a_result_with_nothing_in_it_is_described():
    result = swapped(history=History(), swaps=(), evaluations=(), cost={}, settings={})

    assert "not one epoch was completed (not measured GE)" in describe_run(result).headline


def test_without_ledgers_the_last_row_tells_the_cost():
    assert "cost 3 of 13 GE" in told(swapped(cost={}))


def test_losses_too_far_apart_for_a_quotient_are_no_error():
    # 5e-324 / 1e308 underflows to 0, which has no logarithm.
    told(swapped(history=history(loss=[5e-324, 1.0, 1e308, 1.0, 1.0, 1.0, 5e-324]), evaluations=()))


number_or_nothing = st.none() | st.floats(allow_nan=True, allow_infinity=True) | st.sampled_from([0.0, 1.0])


@given(data=st.data(), num_rows=st.integers(0, 8), status=st.sampled_from(list(Status)))
def test_any_history_is_described(data, num_rows, status):
    rows = []
    for epoch in range(num_rows):
        names = ("loss", "loss_running", "gradient_norm", "gradient_equivalents", "probing_equivalents")
        row = {name: data.draw(number_or_nothing) for name in names}
        phase = "first" if epoch == 0 else data.draw(st.sampled_from(["first", "second"]))
        rows.append({"epoch": epoch, "phase": phase, **row})
    swaps = tuple(
        Swap(before["epoch"], after["phase"], "a reason", math.nan)
        for before, after in itertools.pairwise(rows)
        if before["phase"] != after["phase"]
    )
    evaluations = tuple(
        Evaluation("end", epoch, {"train_loss": data.draw(st.floats())}) for epoch in range(0, num_rows, 3)
    )
    result = swapped(history=History(rows), swaps=swaps, evaluations=evaluations, status=status, cost={})

    verdict = describe_run(result)

    assert all(text.strip() and "None" not in text for text in (verdict.headline, *verdict.sentences))
    assert not re.search(r"\bnan\b|\binf\b", str(verdict)), "what is not finite is written out"


def test_a_verdict_is_frozen():
    with pytest.raises(dataclasses.FrozenInstanceError):
        describe_run(swapped()).headline = "better"


def test_what_the_ceiling_left_out_is_told():
    model = torch.nn.Linear(4, 2).double()
    problem = Problem(model, torch.nn.functional.mse_loss, regression_data(50))
    trainer = Trainer(
        policy=AfterEpochs(2), epochs=4, trackers="extreme-eigenvalues gradient-norm:every=2", record="free"
    )
    text = told(trainer.fit(problem))
    assert "(max_overhead=0.1), 5 recorded columns were left out in some rows, 4 of them in all rows." in text


def test_the_claim_that_a_rule_tests_is_named():
    model = torch.nn.Linear(4, 2).double()  # its loss is convex
    problem = Problem(model, torch.nn.functional.mse_loss, regression_data(50))
    certified = Trainer(policy=build("eigenvalue-ratio:tau=0.1"), epochs=6).fit(problem)
    assert certified.settings["claim"] == "A'" and certified.swap_epoch is not None
    assert "tests claim A', that the most negative eigenvalue" in told(certified)
    curved = Trainer(policy=build("directional-curvature:checks=1"), epochs=3).fit(problem)
    text = told(curved)
    assert "tests claim B, that the curvature is not negative" in text and "lambda_min) was not tested" in text
