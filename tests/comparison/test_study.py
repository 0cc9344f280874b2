"""What a comparison refuses before any work, and the arms that it plans."""

from __future__ import annotations

import functools
from dataclasses import replace

import pytest
import torch

import landscape as ls
from landscape.comparison.arm import Arm
from landscape.comparison.compare import named_phases
from landscape.comparison.estimate import estimate
from landscape.comparison.study import Study
from landscape.policies import Decision
from landscape.replaying.choice import choose
from tests.comparison.small import MINI_BATCHES, classes


def study(**changed):
    settings = {
        "title": "",
        "make_problem": classes,
        "first": MINI_BATCHES,
        "choices": choose(["never", "gradient-norm-peak", "race"]),
        "finishers": named_phases(["cg", "lbfgs"]),
        "controls": named_phases("newton-cg"),
        "from_start": named_phases("adam-cosine"),
        "grid": (0, 5),
        "control_epochs": (3,),
        "seeds": (0, 4),
        "budget": 20.0,
    }
    return Study(**{**settings, **changed})


def test_every_arm_is_planned_once_and_only_policies_that_try_the_finisher_are_asked_for_each():
    planned = study()
    fixed = [Arm("grid", name, epoch=epoch) for name in ("cg", "lbfgs") for epoch in (0, 5)]
    fixed += [Arm("control", "newton-cg", epoch=3), Arm("from start", "adam-cosine", epoch=0)]
    assert [arm for arm, _ in planned.fixed_arms()] == fixed
    assert len(planned.policy_arms()) == 6
    assert len({item.key for item in planned.asked.values()}) == 4
    assert planned.starts == (0, 3, 5)


def test_the_estimate_bounds_what_may_be_run():
    found = estimate(study())
    assert (found.num_least, found.num_most) == (2 * 6, 2 * (6 + 6))
    assert found.first_phases == 2 * 2 * 20
    assert found.least == found.first_phases + 2 * (20 + 15 + 20 + 15 + 17 + 20)
    assert found.most == found.least + 2 * 6 * 20


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"seeds": ()}, "seeds=.*at least one"),
        ({"seeds": (1, 1)}, "each once"),
        ({"seeds": (-1,)}, "0 or more"),
        ({"grid": (0, 20)}, r"grid has the epochs \[20\].*below the budget of 20"),
        ({"grid": (2.5,)}, r"\[2.5\].*whole numbers"),
        ({"control_epochs": (-1,)}, r"control_epochs has the epochs \[-1\]"),
        ({"metric": "train_los"}, "train_loss"),
        ({"metric": "train_accuracy", "metrics": {"accuracy": print}}, "regret is of a loss"),
        ({"finishers": {}}, "no finisher"),
        ({"controls": named_phases("cg")}, "cg was given as a finisher and as a control"),
        ({"floor": -1.0}, "floor=-1"),
        ({"floor": float("nan")}, "floor=nan"),
    ],
)
def test_wrong_settings_are_refused_with_what_is_needed(changed, message):
    with pytest.raises(ValueError, match=message):
        study(**changed)


def test_two_finishers_of_one_name_are_refused():
    with pytest.raises(ValueError, match="two finishers are called 'cg'"):
        named_phases(["cg", "cg"])


class Nameless:
    """A policy without a text of its own."""

    requires: frozenset[str] = frozenset()

    def __init__(self, epoch):
        self.epoch = epoch

    def decide(self, history):
        return Decision(len(history) > self.epoch, "it is time")


def test_policies_whose_texts_do_not_tell_them_apart_are_refused():
    """Answers are kept by text: one would be given for the other."""
    with pytest.raises(ValueError, match="Nameless.*Give their class a __repr__"):
        study(choices=choose([Nameless(3), Nameless(5)]))
    assert study(choices=choose([Nameless(3)])).asked


def test_second_phases_whose_texts_do_not_tell_them_apart_are_refused():
    made = {str(rate): ls.FullBatch(lambda p, rate=rate: torch.optim.SGD(p, lr=rate)) for rate in (0.1, 0.2)}
    with pytest.raises(ValueError, match="<lambda>.*functools.partial"):
        study(finishers=made)
    told = {str(rate): ls.FullBatch(functools.partial(torch.optim.SGD, lr=rate)) for rate in (0.1, 0.2)}
    assert set(replace(study(), finishers=told).finishers) == {"0.1", "0.2"}
