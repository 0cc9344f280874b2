"""Comparisons that are really run: what is added costs only itself, and what goes wrong is counted."""

from __future__ import annotations

import math

import pytest
import torch

import landscape as ls
from landscape.comparison.arm import Arm
from landscape.comparison.running.serial import SerialExecutor
from landscape.comparison.signals import signal_correlations
from landscape.policies import AfterEpochs, Never
from landscape.training.recording import BOOKKEEPING
from tests.comparison.small import MINI_BATCHES, Raising, Reading, classes, content, results

SETTINGS = {"first": MINI_BATCHES, "budget": 14.0, "controls": (), "from_start": ()}
POLICIES = {"never": Never(), "after-3": AfterEpochs(3), "reads": Reading(5, ("loss", "parameter_norm"))}


class Counting(SerialExecutor):
    """Keeps what it has run."""

    def __init__(self):
        self.ran = []

    def execute(self, jobs, store):
        listed = list(jobs)
        self.ran += listed
        return super().execute(listed, store)

    @property
    def branches(self):
        return sorted(job.epoch for job in self.ran if job.kind == "branch")

    @property
    def asked(self):
        return [[item.key for item in job.asked] for job in self.ran if job.kind == "first-phase"]


def compared(store, **changed):
    counting = Counting()
    settings = {**SETTINGS, "policies": POLICIES, "finishers": "cg", "seeds": 1, "grid": [0, 3], **changed}
    make = settings.pop("make", classes)
    return ls.compare(make, store=store, executor=counting, **settings), counting


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    store = tmp_path_factory.mktemp("base")
    found, counting = compared(store)
    assert counting.branches == [0, 3, 5] and len(counting.asked) == 1
    return store, found


@pytest.fixture
def copied(base, tmp_path):
    import shutil

    shutil.copytree(base[0], tmp_path / "store")
    return tmp_path / "store"


def test_nothing_is_run_again(base, copied):
    found, counting = compared(copied)
    assert counting.ran == []
    assert content(found) == content(base[1])


@pytest.mark.parametrize(
    ("changed", "asked", "branches"),
    [
        ({"policies": {**POLICIES, "after-4": AfterEpochs(4)}}, [["AfterEpochs(epochs=4)"]], [4]),
        ({"policies": {**POLICIES, "at-3": Reading(3, ())}}, [["Reading(epoch=3, columns=())"]], []),
        ({"finishers": ["cg", "lbfgs"]}, [], [0, 3, 5]),
        ({"grid": [0, 3, 8]}, [], [8]),
        ({"from_start": "adam-cosine"}, [], [0]),
        ({"policies": {"never": Never()}, "grid": [3]}, [], []),
    ],
    ids=["policy", "policy that shares a branch", "finisher", "grid point", "baseline", "fewer"],
)
def test_what_is_added_costs_only_itself(base, copied, changed, asked, branches):
    before = results(copied)
    found, counting = compared(copied, **changed)
    assert (counting.asked, counting.branches) == (asked, branches)
    assert before.items() <= results(copied).items()
    for arm in set(found.arms()) & set(base[1].arms()):
        (now,), (then,) = found.of(arm), base[1].of(arm)
        assert (now.values, now.swap_epoch, now.curve) == (then.values, then.swap_epoch, then.curve)


def test_an_added_seed_runs_nothing_of_the_others(base, copied):
    _, counting = compared(copied, seeds=2)
    assert {job.setting.seed for job in counting.ran} == {1}


def test_a_grid_point_that_was_not_kept_is_the_same_as_one_that_was(copied, tmp_path):
    """Its branch goes the way again from the last point before."""
    later, _ = compared(copied, grid=[0, 3, 8])
    at_once, _ = compared(tmp_path / "other", grid=[0, 3, 8])
    arm = Arm("grid", "cg", epoch=8)
    assert later.of(arm)[0].values == at_once.of(arm)[0].values
    assert later.of(arm)[0].curve == at_once.of(arm)[0].curve


def test_branches_from_the_start_and_control_points_need_no_grid(tmp_path):
    found, counting = compared(tmp_path, grid=[3], from_start="adam-cosine", controls="newton-cg", control_epochs=[6])
    assert {result.status for result in found.results} == {"finished"}
    assert not list(tmp_path.glob("branch-*/way")), "their points had been kept"
    assert counting.branches == [0, 3, 5, 6]


def test_another_store_and_two_processes_come_to_the_same(base, tmp_path):
    found = ls.compare(
        classes, store=tmp_path, executor=2, policies=POLICIES, finishers="cg", seeds=1, grid=[0, 3], **SETTINGS
    )
    assert content(found) == content(base[1])
    assert found.to_markdown() == base[1].to_markdown()


# -- what goes wrong ----------------------------------------------------------------------------------------------


class Failing(torch.optim.SGD):
    """Raises at its third step, while it is told to."""

    broken = True

    def step(self, closure=None):
        self.count = getattr(self, "count", 0) + 1
        if self.count == 3 and Failing.broken:
            raise RuntimeError("the finisher broke")
        return super().step(closure)


class Exploding(torch.optim.SGD):
    """Steps to where there is no loss."""

    def step(self, closure=None):
        loss = super().step(closure)
        for group in self.param_groups:
            for parameter in group["params"]:
                parameter.data.fill_(math.nan)
        return loss


def failing(params):
    return Failing(params, lr=0.1)


def exploding(params):
    return Exploding(params, lr=0.1)


def test_a_finisher_that_raises_is_counted_as_infinite_and_tried_again_when_asked(tmp_path):
    finishers = {"failing": ls.FullBatch(failing), "exploding": ls.FullBatch(exploding)}
    found, _ = compared(tmp_path, finishers=finishers)
    for finisher, status in (("failing", "crashed"), ("exploding", "diverged")):
        for arm in (Arm("grid", finisher, epoch=3), Arm("policy", finisher, policy="after-3")):
            (result,) = found.of(arm)
            assert result.status == status
            assert found.values(arm).tolist() == [math.inf] == found.values(arm, "validation_loss").tolist()
    assert "the finisher broke" in found.of(Arm("grid", "failing", epoch=3))[0].reason
    assert found.of(Arm("never"))[0].status == "finished"
    assert type(found).from_json(found.to_json()).to_json() == found.to_json()
    assert compared(tmp_path, finishers=finishers)[1].ran == []
    Failing.broken = False
    try:
        again, counting = compared(tmp_path, finishers=finishers, retry=True)
    finally:
        Failing.broken = True
    assert counting.branches == [0, 3, 5]
    assert {r.status for arm in again.arms(finisher="failing") for r in again.of(arm)} == {"finished"}


def test_a_policy_that_raises_takes_nobody_along_and_is_asked_again_when_asked_for(tmp_path):
    found, _ = compared(tmp_path, policies={**POLICIES, "raising": Raising(2)})
    (result,) = found.of(Arm("policy", "cg", policy="raising"))
    assert result.status == "crashed" and "broken after epoch 2" in result.reason
    assert result.values == {"train_loss": math.inf, "validation_loss": math.inf}
    assert {found.of(Arm("policy", "cg", policy=name))[0].status for name in POLICIES} == {"finished"}
    assert compared(tmp_path, policies={**POLICIES, "raising": Raising(2)})[1].ran == []
    mended, original = Raising(2), Raising.decide
    Raising.decide = lambda self, history: ls.policies.Decision(history[-1]["epoch"] >= 2, "mended")
    try:
        again, counting = compared(tmp_path, policies={**POLICIES, "raising": mended}, retry=True)
    finally:
        Raising.decide = original
    assert counting.asked == [["Raising(epoch=2)"]]
    assert again.of(Arm("policy", "cg", policy="raising"))[0].swap_epoch == 2


def test_a_seed_whose_problem_cannot_be_made_a_second_time_is_counted(tmp_path):
    calls = []

    def make(seed):
        calls.append(seed)
        if seed == 1 and calls.count(1) > 1:
            raise OSError("the data went away")
        return classes(seed)

    found, _ = compared(tmp_path, make=make, seeds=2)
    for arm in found.arms():
        good, bad = found.of(arm)
        assert good.status == "finished"
        assert bad.status == "crashed" and "the data went away" in bad.reason and bad.value("train_loss") == math.inf
    again, _ = compared(tmp_path, make=classes, seeds=2, retry=True)
    assert {result.status for result in again.results} == {"finished"}


def wild(params):
    return torch.optim.SGD(params, lr=1e38)


def test_a_first_phase_that_diverges_early_settles_every_policy(tmp_path):
    first = ls.MiniBatches(wild, batch_size=32)
    found, _ = compared(tmp_path, first=first, policies={**POLICIES, "peak": "gradient-norm-peak"}, grid=[0, 3])
    assert found.of(Arm("grid", "cg", epoch=0))[0].status == "finished", "it never saw the first phase"
    for arm in [Arm("never"), Arm("grid", "cg", epoch=3), *found.arms("policy")]:
        (result,) = found.of(arm)
        assert result.status == "diverged" and result.value("train_loss") == math.inf
        assert result.gradient_equivalents < 14 + 1
    assert str(found) and found.to_markdown()


# -- what is refused ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("make", "kind", "message"),
    [
        (lambda seed: None, TypeError, "gave NoneType; needed is a Problem"),
        (lambda seed: (*classes(seed), 3), TypeError, "gave Problem, Problem, int"),
        (lambda seed: (classes(seed)[0], classes(seed)[1]), ValueError, "validation problem on another model"),
        (lambda seed: ruined(seed), ValueError, "the loss at the start is nan with seed 0"),
    ],
    ids=["nothing", "three", "another model", "nan"],
)
def test_problems_that_are_none_are_refused_before_any_work(tmp_path, make, kind, message):
    with pytest.raises(kind, match=message):
        compared(tmp_path, make=make)
    assert results(tmp_path) == {}


def ruined(seed):
    problem, validation = classes(seed)
    next(problem.model.parameters()).data.fill_(math.nan)
    return problem, validation


@pytest.mark.parametrize(
    "changed", [{"metric": "loss"}, {"grid": [14]}, {"seeds": 0}, {"seeds": []}, {"finishers": ["cg", "cg"]}]
)
def test_wrong_settings_are_refused_before_any_work(tmp_path, changed):
    with pytest.raises(ValueError):
        compared(tmp_path, **changed)
    assert results(tmp_path) == {}


# -- signals ------------------------------------------------------------------------------------------------------


def test_signals_are_there_at_the_grid_only_and_rank_correlations_are_made_of_them(base, copied):
    found, _ = compared(copied, seeds=3, grid=[0, 3, 8])
    assert {signal.epoch for signal in found.signals if signal.seed > 0} <= {0, 3, 8}
    names = {signal.name for signal in found.signals}
    assert {"loss", "parameter_norm", "gradient_norm_mean_batch"} <= names
    assert not names & BOOKKEEPING
    assert len({(signal.seed, signal.epoch, signal.name) for signal in found.signals}) == len(found.signals)
    correlations = signal_correlations(found, "cg")
    assert {"loss", "parameter_norm", "epoch"} <= {each.signal for each in correlations}
    fewer, _ = compared(copied, grid=[3])
    assert {signal.epoch for signal in fewer.signals} == {3}
