"""A policy as a comparison asks it, and its answer on one first phase."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

from landscape.policies.base import MissingColumnError, SwapPolicy
from landscape.replaying.choice import Choice
from landscape.tracking.snapshot import OptimizerFactory
from landscape.training.phases import FullBatch, PhaseFactory
from landscape.training.recording import Recording


@dataclass(frozen=True)
class Asked:
    """A policy, and the finisher that it would swap to where it tries that out.

    Parameters
    ----------
    policy : SwapPolicy
        The policy.
    finisher : PhaseFactory or None
        What its trials run; None if it makes none.
    given : frozenset of str
        Columns that the first phase's epochs give.
    """

    policy: SwapPolicy
    finisher: PhaseFactory | None
    given: frozenset[str]

    @cached_property
    def key(self) -> str:
        """What decides its answer, as text that is the same in every process."""
        text = re.sub(r" at 0x[0-9a-f]+", "", " ".join(repr(self.policy).split()))
        return text if self.finisher is None else f"{text}, trying {self.finisher.describe()}"

    @property
    def recording(self) -> Recording:
        """What a run with this policy alone records."""
        return Recording("free", (), {"first": self.policy}, {"first": self.given, "second": frozenset()}, math.inf)

    @property
    def second(self) -> OptimizerFactory | None:
        """What makes the optimiser of its trials."""
        return self.finisher.optimizer if isinstance(self.finisher, FullBatch) else None

    @property
    def obstacle(self) -> str:
        """Why it cannot be asked on any problem; empty if it can."""
        try:
            self.recording.check()
        except MissingColumnError as error:
            return str(error)
        return ""

    @cached_property
    def needs(self) -> str:
        """The same for policies that need the same measurements."""
        recording = self.recording
        schedule = recording.schedule()
        trackers = "" if schedule is None else schedule.settings()["trackers"]
        trials = "" if self.finisher is None else self.finisher.describe()
        # Columns that the phase gives are no exception: before the first step, and by some optimisers, they are not given.
        return f"{sorted(recording.measured('first'))}; {trackers}; {trials}"


@dataclass(frozen=True)
class Settled:
    """A policy's answer on one first phase.

    Parameters
    ----------
    answer : {"fired", "never", "unavailable", "crashed"}
        "never": it had not fired when the budget was spent, its measurements included. "unavailable": what it reads cannot be
        measured on this problem. "crashed": it or its measurements raised.
    epoch : int
        After which it fired; otherwise the last one after which it was asked.
    probing : float
        Gradient equivalents of its measurements by then.
    reason : str
        The policy's own, or what stood in the way.
    score : float
        The policy's; NaN if there is none.
    """

    answer: Literal["fired", "never", "unavailable", "crashed"]
    epoch: int
    probing: float
    reason: str
    score: float = math.nan


def asked_for(
    choices: Sequence[Choice], finishers: Mapping[str, PhaseFactory], given: frozenset[str]
) -> dict[tuple[str, str], Asked | str]:
    """Each policy with each finisher; text where it cannot be made or asked.

    Parameters
    ----------
    choices : sequence of Choice
        The policies.
    finishers : mapping of str to PhaseFactory
        By name. A policy that tries none of them out is asked once for all.
    given : frozenset of str
        Columns that the first phase's epochs give.
    """
    found: dict[tuple[str, str], Asked | str] = {}
    for choice in choices:
        for name, finisher in finishers.items():
            found[choice.name, name] = (
                choice.obstacle if choice.policy is None else _asked(choice.policy, finisher, given)
            )
    return found


def _asked(policy: SwapPolicy, finisher: PhaseFactory, given: frozenset[str]) -> Asked | str:
    asked = Asked(policy, None, given)
    if asked.obstacle:
        return asked.obstacle
    schedule = asked.recording.schedule()
    tries = schedule is not None and any("trial" in tracker.needs for tracker in schedule.trackers)
    return Asked(policy, finisher, given) if tries else asked
