from __future__ import annotations

import pytest

from landscape import policies
from landscape.replaying.choice import choose, name_of


def test_all_stands_for_every_registered_policy_also_among_others():
    names = [choice.name for choice in choose(["after-epochs:3", "all"])]

    assert names == ["after-epochs:3", *policies.names()]


def test_one_policy_several_and_names_of_ones_own_are_taken():
    peak = policies.GradientNormPeak(factor=0.8)

    assert [c.policy for c in choose(peak)] == [peak]
    assert [c.policy for c in choose(("never", peak))] == [policies.Never(), peak]
    assert [c.name for c in choose({"mine": peak, "control": "never"})] == ["mine", "control"]


@pytest.mark.parametrize(
    ("policy", "name"),
    [
        (policies.GradientNormPeak(), "GradientNormPeak()"),
        (policies.AfterEpochs(3), "AfterEpochs(epochs=3)"),
        (policies.vote(1, policies.Never(), policies.LossPlateau(5)), "Vote(Never(), LossPlateau(window=5), votes=1)"),
    ],
)
def test_a_policys_name_has_the_settings_that_are_not_the_default(policy, name):
    assert name_of(policy) == name


def test_a_name_never_holds_a_memory_address():
    class Mine:
        requires = frozenset()

        def decide(self, history): ...

    assert name_of(Mine()) == "Mine"


def test_what_is_no_policy_is_refused():
    with pytest.raises(TypeError, match=r"3 \(int\) was given as a policy"):
        choose([3])
    with pytest.raises(TypeError, match="was given as a policy"):
        choose(policies.Never)  # the class, not a policy
    with pytest.raises(ValueError, match="no policy was given"):
        choose([])
    with pytest.raises(ValueError, match="Did you mean 'loss-plateau'"):
        choose("loss-plateu")
