from __future__ import annotations

import math

import numpy as np
import pytest

from landscape import policies as p
from landscape.policies import registry
from landscape.tracking.history import History
from tests.policies.histories import fires_at, history_of


@pytest.fixture(autouse=True)
def forget(monkeypatch):
    """Policies that a test makes are gone after it."""
    monkeypatch.setattr(registry, "_CUSTOM", {})


def make():
    @p.policy(requires={"curvature_gradient"}, claim="B")
    def all_positive(history, window=2):
        """Swap when the last curvatures are positive."""
        return min(history.column("curvature_gradient")[-window:]) > 0

    return all_positive


def test_five_lines_make_a_policy_that_needs_no_guards():
    """The function sees no row without a finite value, no start row, and is not asked at one."""
    history = history_of(start={"curvature_gradient": 9.0}, curvature_gradient=[1.0, None, -1.0, math.nan, 1.0, 2.0])
    assert fires_at(make(), history) == [1, 6]


def test_it_is_built_by_name_with_settings_and_described():
    make()
    policy = p.build("patience:1(all-positive:window=3)").policy
    assert policy.settings == {"window": 3} and policy.claim == "B"
    assert p.build("all-positive:3") == policy
    assert "all-positive" in p.names()
    described = p.describe("all-positive")
    assert (described.summary, described.settings) == ("Swap when the last curvatures are positive.", ("window=2",))
    with pytest.raises(ValueError, match="no setting 'windw'. Did you mean 'window'"):
        p.build("all-positive:windw=3")


def test_its_text_is_the_same_in_every_process():
    assert (
        repr(make().with_settings(window=3))
        == "policy(tests.policies.test_custom.make.<locals>.all_positive, window=3)"
    )


def test_a_decision_of_ones_own_is_passed_on_and_numpys_bools_are_bools():
    @p.policy(requires={"loss"})
    def by_loss(history):
        return p.Decision(True, "the loss is 1", 1.0)

    @p.policy(requires={"loss"}, name="array")
    def by_array(history):
        return np.array(history.column("loss")).max() < 2

    history = history_of(loss=[1.0])
    assert by_loss.decide(history) == p.Decision(True, "the loss is 1", 1.0)
    assert by_array.decide(history).swap is True
    assert by_array(History(list(history)[1:])) == np.True_  # the function itself


def test_what_is_neither_bool_nor_decision_is_refused():
    @p.policy(requires={"loss"})
    def vague(history):
        return "yes"

    with pytest.raises(
        TypeError, match="policy 'vague' answered 'yes' .str.; it must answer with a bool or a Decision"
    ):
        vague.decide(history_of(loss=[1.0]))


@pytest.mark.parametrize(
    ("settings", "error", "message"),
    [
        ({"requires": "loss"}, TypeError, "requires='loss' was given; it must be a set"),
        ({"claim": "Z"}, ValueError, "claim='Z' was given; it is one of 'A', "),
        ({"name": "never"}, ValueError, "name='never' is the name of one of landscape's own"),
        ({"name": "a b"}, ValueError, "must be free of blanks"),
    ],
)
def test_a_wrong_declaration_is_refused(settings, error, message):
    with pytest.raises(error, match=message):
        p.policy(**settings)(lambda history: True)


def test_a_function_without_a_history_is_refused():
    with pytest.raises(TypeError, match="takes no argument; a policy takes the history"):
        p.policy(name="empty")(lambda: True)


def test_layers_of_a_family_are_asked_for_together():
    @p.policy(requires={"gradient_norm/*"})
    def small_layers(history):
        return all(value < 1 for name, value in history[-1].items() if name.startswith("gradient_norm/"))

    history = history_of(**{"gradient_norm/a": [2.0, 0.5, 0.5], "gradient_norm/b": [0.5, 0.5, math.nan]})
    assert fires_at(small_layers, history) == [2]
