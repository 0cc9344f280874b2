"""Policies asked together: who shares what, and what each is charged."""

from __future__ import annotations

import pytest

import landscape as ls
from landscape.comparison.arm import Arm
from landscape.comparison.asked import Asked, asked_for
from landscape.comparison.compare import named_phases
from landscape.policies import AfterEpochs, LossPlateau, Never
from landscape.replaying.choice import choose
from landscape.tracking.trackers.values import ParameterNorm
from tests.comparison.small import MINI_BATCHES, Reading, classes

SETTINGS = {"first": MINI_BATCHES, "finishers": "cg", "seeds": 1, "controls": (), "from_start": (), "grid": ()}


def asked(*specs, finishers="cg", first=MINI_BATCHES):
    return list(asked_for(choose(specs), named_phases(finishers), first.records).values())


def test_only_policies_that_try_the_finisher_are_asked_once_for_each():
    finishers = ["cg", "lbfgs"]
    assert len({item.key for item in asked("gradient-norm-peak", finishers=finishers)}) == 1
    assert len({item.key for item in asked("race", finishers=finishers)}) == 2


def test_settings_of_one_criterion_share_measurements_and_others_do_not():
    one, other, apart = asked("certified", "certified:delta=0.01", "eigenvalue-ratio")
    assert one.needs == other.needs != apart.needs


def test_a_loss_that_the_first_phase_may_give_is_not_taken_for_given():
    """A full-batch Adam gives none, whatever its phase could: who reads the loss pays for it, and who does not, does not."""
    given = ls.FullBatch().records
    assert Asked(LossPlateau(), None, given).needs != Asked(Never(), None, given).needs


def test_what_is_measured_once_is_charged_to_everybody_who_reads_it():
    columns = {"a": ("loss",), "b": ("gradient_norm",), "c": ("gradient_norm", "parameter_norm")}
    policies = {name: Reading(99, read) for name, read in columns.items()}
    found = ls.compare(classes, policies=policies, budget=12, **SETTINGS)
    charged = {name: found.of(Arm("policy", "cg", policy=name))[0].probing_equivalents for name in policies}
    assert charged["a"] == pytest.approx(9 * 1 / 3 + 1 / 3)  # 12 GE: nine epochs and ten losses
    assert charged["b"] == charged["c"] == pytest.approx(7.0)  # six epochs, seven gradients
    assert found.work.probing == pytest.approx(charged["a"] + 7.0)


def test_a_start_that_costs_more_than_the_budget_leaves_nothing_for_an_epoch():
    found = ls.compare(classes, policies={"hungry": Reading(1, ("lambda_min",))}, budget=4, **SETTINGS)
    (result,) = found.of(Arm("policy", "cg", policy="hungry"))
    assert result.swap_epoch is None and result.gradient_equivalents == result.probing_equivalents > 4
    assert "the budget was spent before the first epoch" in result.reason
    assert result.values["train_loss"] == float(classes(0)[0].loss())


def test_a_tracker_that_raises_takes_away_only_those_that_read_it(monkeypatch):
    measure = ParameterNorm.measure

    def broken(self, snapshot):
        if snapshot.epoch == 2:
            raise RuntimeError("the tracker broke")
        return measure(self, snapshot)

    monkeypatch.setattr(ParameterNorm, "measure", broken)
    policies = {
        "reads": Reading(9, ("parameter_norm",)),
        "early": Reading(1, ("parameter_norm",)),
        "after": AfterEpochs(3),
    }
    found = ls.compare(classes, policies=policies, budget=12, **SETTINGS)
    results = {name: found.of(Arm("policy", "cg", policy=name))[0] for name in policies}
    assert results["reads"].status == "crashed" and "the tracker broke" in results["reads"].reason
    assert [results[name].swap_epoch for name in ("early", "after")] == [1, 3]
