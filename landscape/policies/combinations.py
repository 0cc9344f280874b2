"""Policies made of several: all of them, any of them, a vote, or one for each direction."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypedDict

from landscape.policies.base import Decision, SwapPolicy, claim_of, needs_hindsight, reads_clock
from landscape.policies.claims import both, either, some
from landscape.policies.search import SearchFailures
from landscape.policies.wrappers import check_policy_given
from landscape.tracking.history import History


@dataclass(frozen=True)
class Vote:
    """Swap once enough of several policies say yes in the same epoch.

    Parameters
    ----------
    policies : sequence of SwapPolicy
        At least one.
    votes : int
        How many must say yes, between 1 and their number.

    Notes
    -----
    A policy whose signals were not measured in an epoch says no.

    Examples
    --------
    >>> from landscape.policies.schedule import AfterEpochs, Never
    >>> rows = [{"epoch": 1, "phase": "first"}]
    >>> Vote((AfterEpochs(1), Never()), votes=1).decide(History(rows)).reason
    '1 of 2 say yes, 1 needed: [yes] 1 of 1 epochs of this phase are done; [no] this policy never swaps'
    """

    policies: tuple[SwapPolicy, ...]
    votes: int

    def __post_init__(self) -> None:
        _store(self, self.policies)
        if not 1 <= self.votes <= len(self.policies):
            raise ValueError(
                f"votes={self.votes} was given for {len(self.policies)} policies; it must lie between 1 and their number."
            )

    @property
    def requires(self) -> frozenset[str]:
        """What any of them reads."""
        return frozenset[str]().union(*(policy.requires for policy in self.policies))

    @property
    def claim(self) -> str | None:
        """Theirs, combined."""
        return some(self.votes, _claims(self.policies))

    @property
    def hindsight(self) -> bool:
        """Whether any of them needs it."""
        return any(map(needs_hindsight, self.policies))

    @property
    def reads_clock(self) -> bool:
        """Whether the clock alone may decide the vote."""
        return sum(map(reads_clock, self.policies)) >= self.votes

    def decide(self, history: History) -> Decision:
        """Ask them all, and count."""
        decisions = [policy.decide(history) for policy in self.policies]
        count = sum(decision.swap for decision in decisions)
        answers = "; ".join(f"[{'yes' if decision.swap else 'no'}] {decision.reason}" for decision in decisions)
        evidence = {
            f"{number}.{name}": value
            for number, decision in enumerate(decisions, start=1)
            for name, value in decision.evidence.items()
        }
        reason = f"{count} of {len(decisions)} say yes, {self.votes} needed: {answers}"
        return Decision(count >= self.votes, reason, count / self.votes, {**evidence, "votes": float(count)})


@dataclass(frozen=True)
class _FixedVote:
    """A vote whose number of votes follows from its kind."""

    policies: tuple[SwapPolicy, ...]

    def __post_init__(self) -> None:
        _store(self, self.policies)

    @property
    def _vote(self) -> Vote:
        raise NotImplementedError

    @property
    def requires(self) -> frozenset[str]:
        """What any of them reads."""
        return self._vote.requires

    @property
    def hindsight(self) -> bool:
        """Whether any of them needs it."""
        return self._vote.hindsight

    @property
    def reads_clock(self) -> bool:
        """Whether the clock alone may decide the vote."""
        return self._vote.reads_clock

    def decide(self, history: History) -> Decision:
        """Ask them all."""
        return self._vote.decide(history)


@dataclass(frozen=True)
class AllOf(_FixedVote):
    """Swap once all of several policies say yes in the same epoch.

    Parameters
    ----------
    policies : sequence of SwapPolicy
        At least one.

    Examples
    --------
    >>> from landscape.policies.schedule import AfterEpochs, Never
    >>> AllOf((AfterEpochs(1), Never())).decide(History([{"epoch": 1, "phase": "first"}])).swap
    False
    """

    @property
    def _vote(self) -> Vote:
        return Vote(self.policies, len(self.policies))

    @property
    def claim(self) -> str | None:
        """All that they claim."""
        return both(_claims(self.policies))


@dataclass(frozen=True)
class AnyOf(_FixedVote):
    """Swap once any of several policies says yes.

    Parameters
    ----------
    policies : sequence of SwapPolicy
        At least one.

    Examples
    --------
    >>> from landscape.policies.schedule import AfterEpochs, Never
    >>> AnyOf((AfterEpochs(1), Never())).decide(History([{"epoch": 1, "phase": "first"}])).swap
    True
    """

    @property
    def _vote(self) -> Vote:
        return Vote(self.policies, 1)

    @property
    def claim(self) -> str | None:
        """Theirs, one or the other."""
        return either(_claims(self.policies))


class Directions(TypedDict):
    """Two arguments of :class:`landscape.training.trainer.Trainer`."""

    policy: SwapPolicy
    swap_back: SwapPolicy


@dataclass(frozen=True)
class WithSwapBack:
    """One policy for both directions: when to leave the first phase, and when to go back to it.

    Parameters
    ----------
    policy : SwapPolicy
        Asked in the first phase.
    swap_back : SwapPolicy
        Asked in the second phase.

    Notes
    -----
    A trainer takes the two apart: ``Trainer(**policy.directions(), ...)``. As one policy it replays a recorded run across its
    swaps. It claims what ``policy`` does.

    Examples
    --------
    >>> from landscape.policies.schedule import AfterEpochs
    >>> both_ways = WithSwapBack(AfterEpochs(1), SearchFailures(patience=1))
    >>> rows = [{"epoch": 1, "phase": "first"}, {"epoch": 2, "phase": "second", "status": "SEARCH_FAILED"}]
    >>> [both_ways.decide(History(rows[:t])).reason for t in (1, 2)]
    ['1 of 1 epochs of this phase are done', '1 line searches failed in a row']
    """

    policy: SwapPolicy
    swap_back: SwapPolicy = SearchFailures()  # noqa: RUF009 - frozen and stateless

    def __post_init__(self) -> None:
        check_policy_given(self, self.policy)
        check_policy_given(self, self.swap_back)

    @property
    def requires(self) -> frozenset[str]:
        """What either reads."""
        return self.policy.requires | self.swap_back.requires

    @property
    def claim(self) -> str | None:
        """That of the way forward."""
        return claim_of(self.policy)

    @property
    def hindsight(self) -> bool:
        """Whether either needs it."""
        return needs_hindsight(self.policy) or needs_hindsight(self.swap_back)

    @property
    def reads_clock(self) -> bool:
        """Whether either does."""
        return reads_clock(self.policy) or reads_clock(self.swap_back)

    def decide(self, history: History) -> Decision:
        """Ask the policy of the present phase."""
        back = len(history) > 0 and history[-1].get("phase") == "second"
        return (self.swap_back if back else self.policy).decide(history)

    def directions(self) -> Directions:
        """The two, as a trainer takes them."""
        return {"policy": self.policy, "swap_back": self.swap_back}


def all_of(*policies: SwapPolicy) -> AllOf:
    """Swap once all of them say yes in the same epoch; see :class:`AllOf`."""
    return AllOf(policies)


def any_of(*policies: SwapPolicy) -> AnyOf:
    """Swap once any of them says yes; see :class:`AnyOf`."""
    return AnyOf(policies)


def vote(votes: int, *policies: SwapPolicy) -> Vote:
    """Swap once so many of them say yes in the same epoch; see :class:`Vote`."""
    return Vote(policies, votes)


def _claims(policies: tuple[SwapPolicy, ...]) -> list[str | None]:
    return [claim_of(policy) for policy in policies]


def _store(combination: Vote | _FixedVote, policies: object) -> None:
    """Keep the policies as a tuple, so that combinations stay frozen."""
    if not isinstance(policies, (list, tuple)) or not policies:
        raise TypeError(
            f"{type(combination).__name__} combines policies, but {policies!r} was given. Give a tuple of at least one."
        )
    for policy in policies:
        check_policy_given(combination, policy)
    object.__setattr__(combination, "policies", tuple(policies))
