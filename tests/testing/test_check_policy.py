from __future__ import annotations

import random
from typing import Any

import pytest
import torch

from landscape import policies as p
from landscape.policies.base import Decision
from landscape.policies.custom import FunctionPolicy
from landscape.testing.policies import check_policy
from landscape.tracking.history import History, number_in

NEEDED = {"after-epochs": {"epochs": 3}, "budget-share": {"budget": 20.0}}
NAMES = p.names()
COMBINED = [
    "patience:2(loss-plateau:window=2)",
    "min-epochs:4(gradient-norm-peak)",
    "min-epochs:epochs=4,forget=true(dual-norm-peak)",
    "smooth:3(norm-test)",
    "smooth:span=3,kind=window(layerwise-peak)",
    "after-warmup(gradient-norm-peak)",
    "deadline:budget=20(race)",
    "race & directional-curvature & after-epochs:2",
    "loss-plateau:window=2 | certified",
    "vote:2(race; evidence; loss-plateau)",
    "with-swap-back(race)",
    "patience:2(smooth:3(gradient-norm-slope:window=4 | monotone-gradient))",
]


@pytest.mark.parametrize("name", NAMES)
def test_every_exported_policy_keeps_the_contract(name):
    check_policy(p.build(name, **NEEDED.get(name, {})))


@pytest.mark.parametrize("spec", COMBINED)
def test_every_combination_keeps_the_contract(spec):
    check_policy(p.build(spec))


@pytest.mark.parametrize("along", ["update", "adam"])
def test_every_signal_of_a_policy_keeps_the_contract(along):
    check_policy(p.DirectionalCurvature(along))


def test_a_function_keeps_the_contract():
    check_policy(FunctionPolicy(lambda history: history.column("loss")[-1] < 0.5, "low", frozenset({"loss"})))


class Rule:
    """A sound policy, which the tests below break in one place each."""

    requires: Any = frozenset({"loss"})

    def __repr__(self) -> str:
        return f"Rule({self.requires!r})"

    def decide(self, history: History) -> Any:
        rows = [row for row in history.stretch() if row.get("epoch") != 0]
        loss = number_in(rows[-1], "loss") if rows else None
        if loss is None:
            return Decision(False, "the loss was not measured")
        return Decision(loss < 0.3, f"the loss is {loss:.3g}", float(loss))


def test_the_rule_that_is_broken_below_is_sound():
    check_policy(Rule())


def rule(decide, **attributes):
    """The rule with another ``decide(self, history, sound)``, ``sound`` being the sound decision."""
    return type("Rule", (Rule,), {"decide": lambda self, h: decide(self, h, Rule.decide(self, h)), **attributes})()


def counting(self, history, sound):
    self.calls = getattr(self, "calls", 0) + 1
    return Decision(self.calls % 2 == 0, "asked an even number of times, 2 or more")


def with_memory(self, history, sound):
    self.lowest = min(getattr(self, "lowest", 9.0), sound.score)
    return Decision(sound.swap, sound.reason, self.lowest)


def mutating(self, history, sound):
    if len(history):
        history._rows[-1] = {**history[-1], "loss": 0.0}
    return sound


def appending(self, history, sound):
    history.append({"epoch": 1, "phase": "first"})
    return sound


def self_changing(self, history, sound):
    self.requires = frozenset({"loss", "x"})
    return sound


def drawing(self, history, sound):
    random.random()
    return sound


def torch_drawing(self, history, sound):
    torch.rand(1)
    return sound


def replaced(**fields):
    def decide(self, history, sound):
        values = {"swap": sound.swap, "reason": sound.reason, "score": sound.score, "evidence": sound.evidence}
        return Decision(**{**values, **fields})

    return decide


def crashing(self, history, sound):
    history[0]
    return sound


def impatient(self, history, sound):
    return Decision(True, "it is time: 1")


def deaf_to_nan(self, history, sound):
    values = [value for value in history.column("loss") if value is not None and value == value]
    known = bool(values) and history[-1].get("epoch") != 0 and number_in(history[-1], "loss") is not None
    return Decision(bool(known and values[-1] < 0.5), "the last loss that is a number is below 0.5", 0.5)


def deaf_to_gaps(self, history, sound):
    values = [value for value in history.column("loss") if value is not None]
    known = bool(values) and history[-1].get("epoch") != 0
    return Decision(bool(known and values[-1] < 0.5), "the last loss is below 0.5", 0.5)


def key_error(self, history, sound):
    return sound if not len(history) else Decision(False, f"the loss is {history[-1]['loss']}")


def mute(self, history, sound):
    return sound if sound.score == sound.score else Decision(False, "not yet")


def label_reading(self, history, sound):
    epoch = number_in(history[-1], "epoch") if len(history) else 0.0
    return Decision(sound.swap and epoch > 5, sound.reason, sound.score)


def scoring_by_step(self, history, sound):
    return Decision(sound.swap, sound.reason, float(number_in(history[-1], "step") or 0) if len(history) else 0.0)


BROKEN = [
    (rule(lambda self, h, sound: sound, requires={"loss"}), "requires is {'loss'}; it must be a frozenset"),
    (rule(lambda self, h, sound: sound, claim="convex"), "claim is 'convex'; it is one of A, A', B"),
    (rule(lambda self, h, sound: sound, hindsight="no"), "hindsight is 'no'; it must be True or False"),
    (object(), "no method decide"),
    (rule(counting), "fires on|asked twice"),
    (rule(with_memory), "asked twice about the same"),
    (rule(mutating), "changed the history|asked twice"),
    (rule(appending), "changed the history|asked twice"),
    (rule(self_changing), "changed itself"),
    (rule(drawing), "drew from a global random state"),
    (rule(torch_drawing), "drew from a global random state"),
    (rule(lambda self, h, sound: sound.swap), "answered False .bool.; it must be a Decision"),
    (rule(replaced(swap=0)), "Decision.swap is 0 .int."),
    (rule(replaced(reason="no")), "Decision.reason is 'no'; it must be a sentence"),
    (rule(replaced(reason="it is small enough")), "there is no number in it"),
    (rule(replaced(score=1)), "Decision.score is 1 .int."),
    (rule(replaced(evidence={"a": "b"})), "must map names to numbers"),
    (rule(replaced(evidence=None)), "must map names to numbers"),
    (rule(crashing), "on an empty history it raised IndexError"),
    (rule(impatient), "it fires on an empty history"),
    (rule(deaf_to_nan), "fires on a last row whose signals are NaN"),
    (rule(deaf_to_gaps), "fires on a last row whose signals were not measured"),
    (rule(key_error), "raised KeyError: 'loss'"),
    (rule(mute), "says 'not yet', which names none of"),
    (rule(label_reading), "with other labels of epochs, steps and costs"),
    (rule(scoring_by_step), "with other labels of epochs, steps and costs"),
]


@pytest.mark.parametrize(
    ("policy", "message"), BROKEN, ids=[message[:30] + str(i) for i, (_, message) in enumerate(BROKEN)]
)
def test_a_policy_that_breaks_the_contract_is_caught(policy, message):
    with pytest.raises(AssertionError, match=message):
        check_policy(policy)


def test_a_column_of_the_clock_may_be_read_if_it_is_required():
    check_policy(rule(label_reading, requires=frozenset({"loss", "epoch"})))


def test_further_histories_are_asked_about_too():
    """The made-up ones never hold a loss of 7, on which this policy keeps count of the calls."""

    def decide(self, history, sound):
        if len(history) and history[-1].get("loss") == 7.0:
            self.calls = getattr(self, "calls", 0) + 1
            return Decision(False, f"asked {self.calls} times about the loss", float(self.calls))
        return sound

    policy = rule(decide)
    check_policy(policy)
    with pytest.raises(AssertionError, match="asked twice"):
        check_policy(policy, histories=[History([{"epoch": 1, "phase": "first", "loss": 7.0}])])
