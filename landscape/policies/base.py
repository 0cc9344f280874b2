"""What a swap policy is and what it answers."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Protocol

from landscape.tracking.history import History


@dataclass(frozen=True)
class Decision:
    """What a policy says after an epoch.

    Parameters
    ----------
    swap : bool
        Whether to go over to the other phase now.
    reason : str
        Why, in words with numbers, for people.
    score : float
        The number that was compared with the threshold; NaN if there was none yet.
    evidence : mapping of str to float
        The numbers behind the reason, by name.
    """

    swap: bool
    reason: str
    score: float = math.nan
    evidence: Mapping[str, float] = field(default_factory=dict)


class SwapPolicy(Protocol):
    """Decides from a history alone, without state or side effects, so that a recorded run can be replayed."""

    @property
    def requires(self) -> frozenset[str]:
        """History columns that the policy reads."""
        ...

    def decide(self, history: History) -> Decision:
        """Say whether to swap after the last row of ``history``."""
        ...


class MissingColumnError(ValueError):
    """A policy reads a column that nobody records."""


def check_requirements(policy: SwapPolicy, recorded: Iterable[str], remedy: str) -> None:
    """Refuse a policy that reads columns nobody records, before any work.

    Parameters
    ----------
    policy : SwapPolicy
        The policy.
    recorded : iterable of str
        Names of the recorded columns.
    remedy : str
        What to do about it, as a sentence.
    """
    columns = sorted(recorded)
    missing = sorted(set(policy.requires) - set(columns))
    if missing:
        listed = ", ".join(repr(name) for name in missing)
        raise MissingColumnError(
            f"{policy!r} reads the History column {listed}, but nothing records it (recorded columns: "
            f"{', '.join(repr(name) for name in columns)}). {remedy}"
        )
