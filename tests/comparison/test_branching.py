"""Every arm of a comparison is the run that it stands for, bit for bit."""

from __future__ import annotations

import math

import pytest

import landscape as ls
from landscape.comparison.arm import Arm
from landscape.policies import AfterEpochs, Never
from landscape.replaying.choice import choose
from tests.comparison.small import FULL_BATCHES, MINI_BATCHES, Reading, Spendthrift, classes, decay

BUDGET = 30.0
SEED = 1
CASES = {"classes": (classes, MINI_BATCHES), "decay": (decay, FULL_BATCHES)}
FINISHERS = ("cg", "lbfgs", "adam-cosine:lr=0.01,batch_size=32")
HUNGRY = ("curvature_gradient",)
#: Beside those that are registered: out of budget before it fires; out of budget when it fires, by far; in the very last epoch.
OWN = {
    "after-6": AfterEpochs(6),
    "too late": Reading(25, HUNGRY),
    "all spent": Spendthrift(BUDGET),
    "last epoch": AfterEpochs(30),
    "reads little": Reading(11, ("loss",)),
}
POLICIES = {choice.name: choice.policy for choice in choose("all") if choice.policy is not None} | OWN
SOME = ["gradient-norm-peak", "monotone-gradient", "segment-convexity", "race", "trial-search", "certified", *OWN]


@pytest.fixture(scope="module", params=CASES)
def case(request):
    make, first = CASES[request.param]
    found = ls.compare(
        make,
        policies=POLICIES,
        finishers=FINISHERS,
        seeds=[SEED],
        budget=BUDGET,
        first=first,
        grid=[0, 2, 9],
        controls="newton-cg",
        from_start=(),
    )
    return make, first, found


def alone(make, first, second, policy):
    """The run that an arm stands for: swap epoch, training and validation loss, GE, GE of measuring."""
    problem, validation = make(SEED)
    trainer = ls.Trainer(
        first=first, second=second, policy=policy, swap_back=None, budget=BUDGET, record="free", seed=SEED
    )
    run = trainer.fit(problem, validation)
    return (
        run.swap_epoch,
        float(problem.loss()),
        float(validation.loss()),
        run.history[-1]["gradient_equivalents"],
        run.history[-1]["probing_equivalents"],
    )


def assert_same(result, expected):
    swap_epoch, train_loss, validation_loss, spent, probing = expected
    assert math.isfinite(train_loss)
    assert result.status == "finished", result.reason
    assert result.swap_epoch == swap_epoch
    assert result.values["train_loss"] == train_loss
    assert result.values["validation_loss"] == validation_loss
    assert result.gradient_equivalents == pytest.approx(spent, abs=1e-9)
    assert result.probing_equivalents == pytest.approx(probing, abs=1e-9)
    assert result.curve[-1][0] == pytest.approx(spent, abs=1e-9)


@pytest.mark.parametrize("name", POLICIES)
def test_every_policy_swaps_and_ends_as_in_a_run_of_its_own(case, name):
    make, first, found = case
    (result,) = found.of(Arm("policy", "cg", policy=name))
    if result.status == "unavailable":
        with pytest.raises(ValueError):
            alone(make, first, "cg", POLICIES[name])
        return
    assert_same(result, alone(make, first, "cg", POLICIES[name]))


@pytest.mark.parametrize("finisher", FINISHERS[1:])
@pytest.mark.parametrize("name", SOME)
def test_every_finisher_ends_as_in_a_run_of_its_own(case, name, finisher):
    """Policies that try the second phase try the finisher of their arm; one that plans ahead is told what is left."""
    make, first, found = case
    (result,) = found.of(Arm("policy", finisher, policy=name))
    assert_same(result, alone(make, first, finisher, POLICIES[name]))


@pytest.mark.parametrize("arm", [Arm("grid", "cg", epoch=9), Arm("grid", "lbfgs", epoch=2)], ids=lambda arm: arm.name)
def test_fixed_arms_end_as_runs_that_swap_there(case, arm):
    make, first, found = case
    (result,) = found.of(arm)
    assert_same(result, alone(make, first, arm.finisher, AfterEpochs(arm.epoch)))


def test_never_is_the_first_phase_alone(case):
    make, first, found = case
    (result,) = found.of(Arm("never"))
    assert_same(result, alone(make, first, "cg", Never()))


def test_the_cases_are_what_they_are_meant_to_be(case):
    """Somebody is out of budget before firing, somebody when firing, somebody never fires, and swap points are shared."""
    _, _, found = case
    results = {name: found.of(Arm("policy", "cg", policy=name))[0] for name in POLICIES}
    assert results["too late"].swap_epoch is None and results["too late"].probing_equivalents > BUDGET / 2
    assert results["all spent"].swap_epoch in (2, 3) and results["all spent"].probing_equivalents > BUDGET
    assert results["last epoch"].swap_epoch == 30
    assert results["never"].swap_epoch is None and results["never"].probing_equivalents == 0
    firing = [result.swap_epoch for result in results.values() if result.swap_epoch is not None]
    assert len(set(firing)) < len(firing) and len(set(firing)) > 4
    tried = {finisher: found.of(Arm("policy", finisher, policy="race"))[0] for finisher in FINISHERS}
    assert len({result.probing_equivalents for result in tried.values()}) > 1
    assert found.work.num_branches < found.work.num_policy_arms / 2
