"""What a swap policy is and what it answers."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Literal, Protocol

from landscape.tracking.columns import members
from landscape.tracking.history import History

Claim = Literal["A", "A'", "B", "C", "D", "E"]

#: What "the loss is convex here" may mean, strongest first. A implies A' and B; A on a segment implies C; none reverses.
CLAIMS: dict[str, str] = {
    "A": "the Hessian has no negative eigenvalue here",
    "A'": "the most negative eigenvalue of the Hessian is small beside the largest",
    "B": "the curvature is not negative along the directions that are used",
    "C": "the loss is convex along the path that was walked",
    "D": "the loss is convex towards a reference point",
    "E": "the gradient grows with the loss above its minimum, as in the Polyak-Lojasiewicz inequality",
}


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
    """Decides from a history alone, without state or side effects, so that a recorded run can be replayed.

    Beyond this, a policy may declare three attributes. ``claim``: which of :data:`CLAIMS` it tests, None if it watches the
    clock, the noise or the outcome (for combinations, words such as "B or none"). ``hindsight``: True if it needs a
    reference point that only a finished run has. ``reads_clock``: True if it may fire for no other reason than the time that
    has passed. Left out, they are None, False and False. A policy never fires on a row whose signals are NaN or were not
    measured, unless it reads the clock. :func:`landscape.testing.policies.check_policy` checks all this.
    """

    @property
    def requires(self) -> frozenset[str]:
        """History columns that the policy reads; ``name/*`` for the columns of a family, one for each layer."""
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
        Names of the recorded columns; ``name/*`` stands for a whole family.
    remedy : str
        What to do about it, as a sentence.
    """
    columns = sorted(recorded)
    missing = sorted(name for name in policy.requires if not members(name, columns))
    if missing:
        listed = ", ".join(repr(name) for name in missing)
        raise MissingColumnError(
            f"{policy!r} reads the History column {listed}, but nothing records it (recorded columns: "
            f"{', '.join(repr(name) for name in columns)}). {remedy}"
        )


def claim_of(policy: SwapPolicy) -> str | None:
    """Which claim of :data:`CLAIMS` a policy tests, or which combination of them; None if none."""
    claim: str | None = getattr(policy, "claim", None)
    return claim


def needs_hindsight(policy: SwapPolicy) -> bool:
    """Whether a policy needs a reference point that only a finished run has."""
    return bool(getattr(policy, "hindsight", False))


def reads_clock(policy: SwapPolicy) -> bool:
    """Whether a policy may fire for no other reason than the time that has passed."""
    return bool(getattr(policy, "reads_clock", False))
