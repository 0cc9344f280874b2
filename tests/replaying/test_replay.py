"""A replay must say what the trainer would have done, and nothing that cannot be known."""

from __future__ import annotations

import json
import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import landscape as ls
from landscape.policies import (
    AfterEpochs,
    AnyOf,
    BudgetShare,
    Decision,
    GradientNormPeak,
    GradientNormSlope,
    LossPlateau,
    Never,
    Patience,
    PLRatio,
    SearchFailures,
    Smooth,
)
from landscape.replaying.replay import replay
from landscape.tracking.history import HistoryFormatError
from tests.policies.histories import fires_at, history_of
from tests.replaying.runs import EPOCHS, full_history, train

LIVE = [
    GradientNormPeak(),
    GradientNormPeak(factor=0.8, norm="mean_batch", min_epochs=2, require_rise=True),
    GradientNormPeak(factor=1.0, norm="batch_mean"),
    GradientNormSlope(window=5, confidence=0.6),
    LossPlateau(window=3, tau=0.3),
    PLRatio(window=6),
    AfterEpochs(7),
    BudgetShare(budget=60, share=0.4),
    Patience(LossPlateau(window=1, tau=0.4), times=3),
    Smooth(GradientNormPeak(factor=0.7), span=4),
    AnyOf((PLRatio(window=20), LossPlateau(window=2, tau=0.1, loss="loss_running"))),
]


@pytest.fixture(scope="module")
def control():
    """The same training without a swap."""
    return train(Never())


@pytest.mark.parametrize("policy", LIVE, ids=repr)
def test_a_replay_repeats_the_live_swap_bit_for_bit(policy, control, tmp_path):
    live = train(policy, run_dir=tmp_path)
    (swap, *_) = live.swaps
    assert swap.epoch < EPOCHS, "the test needs a policy that fires"

    for recorded in (tmp_path, live.history, control.history):
        (found,) = replay(recorded, policy)

        assert (found.answer, found.epoch, found.reason) == ("fired", swap.epoch, swap.reason)
        assert repr(found.score) == repr(swap.score)
        assert {k: repr(v) for k, v in found.evidence.items()} == {k: repr(v) for k, v in swap.evidence.items()}
        row = live.history[swap.epoch]
        assert (found.loss, found.gradient_equivalents) == (row["loss"], row["gradient_equivalents"])
        assert found.probing_equivalents == row["probing_equivalents"]


def test_many_policies_at_once_answer_as_each_alone(control):
    together = replay(control.history, LIVE)

    assert [replay(control.history, policy).outcomes[0] for policy in LIVE] == list(together)


def test_a_policy_that_did_not_fire_live_does_not_fire_in_the_replay():
    policy = Patience(GradientNormPeak(factor=0.01), times=5)
    live = train(policy, epochs=8)
    (found,) = replay(live.history, policy)

    assert live.swaps == () and found.answer == "never" and found.epoch is None


@settings(max_examples=30)
@given(
    losses=st.lists(st.sampled_from([0.5, 1.0, 2.0, math.nan, None]), min_size=1, max_size=12),
    norms=st.lists(st.sampled_from([0.5, 1.0, 2.0, math.nan, None]), min_size=1, max_size=12),
)
def test_the_epoch_is_the_first_at_which_the_policy_says_yes_about_the_rows_so_far(losses, norms):
    size = min(len(losses), len(norms))
    history = history_of(loss=losses[:size], gradient_norm=norms[:size], mine=[1.0] * size)
    for policy in (LossPlateau(window=1), PLRatio(window=2, slack=0.5), AfterEpochs(3)):
        (found,) = replay(history, policy)
        if found.answer == "not recorded":
            assert all(value is None for name in found.missing for value in history.column(name))
            continue
        finite = {row["epoch"] for row in history if math.isfinite(row.get("loss", math.nan))}
        expected = [epoch for epoch in fires_at(policy, history) if epoch in finite]
        assert found.epoch == (expected[0] if expected else None)


def test_no_policy_fires_after_an_epoch_whose_loss_is_not_finite():
    history = history_of(loss=[1.0, math.nan, math.inf, 0.5])

    found = replay(history, ["after-epochs:2", "after-epochs:1"])

    assert [outcome.epoch for outcome in found] == [4, 1]
    (never,) = replay(history_of(loss=[1.0, math.nan]), AfterEpochs(2))
    assert never.answer == "never" and "without a finite loss" in never.reason and "2 of 2 epochs" in never.reason


def test_rows_after_the_runs_own_swap_are_not_asked_about():
    history = full_history(20, swap=5)

    found = replay(history, ["after-epochs:5", "after-epochs:6"])

    assert found["after-epochs:5"].epoch == 5 and found["after-epochs:6"].answer == "never"
    assert found.swap_epoch == 5 and len(found.asked) == 5
    assert "swapped after epoch 5: what a policy would have said later cannot be known" in " ".join(str(found).split())


def test_a_first_phase_that_goes_on_is_asked_about_as_the_trainer_asks_and_marked():
    history = full_history(20, swap=5, back=9)

    found = replay(history, ["after-epochs:5", "after-epochs:6"])

    # The rule counts from the swap back, as in a live run.
    assert (found["after-epochs:6"].epoch, found["after-epochs:6"].after_swap) == (15, True)
    assert not found["after-epochs:5"].after_swap
    assert "15*" in str(found) and "is marked *" in str(found)


def test_every_registered_policy_is_asked_where_everything_was_recorded():
    found = replay(full_history(60))

    assert {outcome.name for outcome in found} >= set(ls.policies.names()) - {"settled"}
    assert {o.name: o.answer for o in found if o.answer not in ("fired", "never")} == {
        "after-epochs": "not asked",
        "search-failures": "not recorded",  # it reads what only a second phase records
    }
    assert found["after-epochs"].reason == "it has no default for epochs: ask for after-epochs:epochs=..."
    assert found["restricted-secant"].hindsight and found["restricted-secant"].claim == "D"


@pytest.mark.parametrize("name", ["epoch", "mine", "loss", "gradient_norm"])
def test_every_registered_policy_says_what_it_needs_where_little_was_recorded(name):
    found = replay(history_of(**{name: [1.0] * 15}) if name != "epoch" else history_of(mine=[None] * 15))

    for outcome in found:
        assert outcome.answer in ("fired", "never", "not recorded", "not asked")
        if outcome.answer == "not recorded":
            assert outcome.reason == f"not recorded: needs {', '.join(outcome.missing)}"
            assert set(outcome.missing) <= set(outcome.requires) and name not in outcome.missing


def test_a_column_that_comes_late_is_no_missing_column():
    history = history_of(loss=[1.0] * 4, gradient_norm=[None, None, 2.0, 1.0])

    assert replay(history, GradientNormPeak()).outcomes[0].epoch == 4


def test_a_family_is_missing_only_if_no_layer_was_recorded():
    layers = {"gradient_norm/a": [1.0, 2.0, 1.0], "parameter_norm/a": [1.0, 1.0, 1.0]}

    (found,) = replay(history_of(loss=[1.0] * 3, **layers), "layerwise-peak")
    (without,) = replay(history_of(loss=[1.0] * 3), "layerwise-peak")

    assert found.epoch == 3
    assert without.missing == ("gradient_norm/*", "parameter_norm/*")


def test_a_policy_that_raises_takes_no_other_answer_away():
    class Careless:
        requires = frozenset({"loss"})

        def decide(self, history):
            return Decision(history[-1]["loss"] < 1, "loss below 1")

    found = replay(history_of(loss=[2.0, None, 0.5]), {"mine": Careless(), "other": "after-epochs:2"})

    assert found["mine"].answer == "failed" and found["mine"].reason.startswith("it raised KeyError in epoch 2")
    assert found["other"].epoch == 3  # epoch 2 has no loss
    assert "it raised KeyError" in str(found)


def test_the_closest_score_is_that_nearest_to_the_threshold():
    (peak,) = replay(history_of(loss=[1.0] * 4, gradient_norm=[1.0, 0.96, 0.93, 0.97]), GradientNormPeak())
    assert (peak.closest_epoch, peak.score) == (3, 0.93) and "0.93 is above 0.9 of its peak 1" in peak.reason

    curvatures = [-0.01, 5.0, 6.0, -1.0, 7.0]
    (sign,) = replay(history_of(loss=[1.0] * 5, curvature_gradient=curvatures), "directional-curvature")
    assert (sign.closest_epoch, sign.evidence["checks"]) == (3, 2.0), "two checks in a row are nearer than none"

    (never,) = replay(history_of(loss=[1.0]), Never())
    assert never.closest_epoch is None and never.reason == "this policy never swaps"


def test_a_policy_of_ones_own_tells_its_threshold_in_the_evidence():
    @ls.policies.policy(requires={"loss"}, name="near-a-half")
    def near(history, least=0.5):
        loss = history.column("loss")[-1]
        return Decision(loss < least, f"loss {loss}", loss, {"threshold": least})

    try:
        (found,) = replay(history_of(loss=[1.0, 0.6, 0.9]), near)
    finally:
        ls.policies.registry._CUSTOM.pop("near-a-half")
    assert (found.name, found.closest_epoch, found.score) == ("near-a-half", 2, 0.6)


def test_an_empty_history_or_one_without_a_first_phase_is_said_to_be_so():
    second = ls.History([{"epoch": 0, "phase": "first", "loss": 1.0}, {"epoch": 1, "phase": "second", "loss": 1.0}])
    for history in (ls.History(), ls.History([{"epoch": 0, "phase": "first", "loss": 1.0}]), second):
        found = replay(history)
        assert all(outcome.answer == "not asked" for outcome in found)
        assert "no first-phase epoch" in str(found)


def test_a_replay_is_deterministic_and_leaves_the_history_alone():
    history = full_history(40)
    before = [dict(row) for row in history]

    first, second = replay(history).to_json(), replay(history).to_json()

    assert first == second
    assert [dict(row) for row in history] == before


def test_the_folder_the_file_and_the_history_give_the_same(tmp_path):
    history = full_history(12)
    history.to_jsonl(tmp_path / "history.jsonl")

    given = replay(history)
    for path in (tmp_path, str(tmp_path), tmp_path / "history.jsonl"):
        read = replay(path)
        assert read.source == str(path)
        assert json.loads(read.to_json())["outcomes"] == json.loads(given.to_json())["outcomes"]


def test_a_missing_a_foreign_and_a_damaged_file_are_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match="holds no history.jsonl, so no run is recorded there"):
        replay(tmp_path)
    with pytest.raises(FileNotFoundError):
        replay(tmp_path / "nothing")
    (tmp_path / "foreign").write_text("a, b\n1, 2\n")
    with pytest.raises(HistoryFormatError, match="is not a history"):
        replay(tmp_path / "foreign")
    file = tmp_path / "history.jsonl"
    full_history(5).to_jsonl(file)
    file.write_bytes(file.read_bytes().replace(b'"epoch": 2', b'"epoch": x'))
    with pytest.raises(HistoryFormatError, match="line"):
        replay(tmp_path)
    with pytest.raises(TypeError, match="needed is a History"):
        replay([{"epoch": 1}])


def test_a_trainers_own_policy_of_both_phases_is_only_asked_in_the_first():
    (found,) = replay(full_history(8, swap=3), SearchFailures())

    assert found.answer == "not recorded" and found.missing == ("status",)
