"""Policies that watch the second phase's own searches, for swapping back."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from landscape.policies.base import Claim, Decision
from landscape.status import FAILED_SEARCHES, Status
from landscape.tracking.history import History


@dataclass(frozen=True)
class SearchFailures:
    """Swap back once line searches have failed several times in a row, or the second phase has stalled.

    The seed paper lets a non-convex method go on "as the safe resort" where the loss turns out not to be convex; a
    line search that cannot lower the loss is what a second phase shows of that.

    Parameters
    ----------
    patience : int
        Failed steps in a row, at least 1.

    References
    ----------
    Hrycej et al. (2025), arXiv:2510.25366, discussion of Algorithm 1. The default is our own choice.

    Examples
    --------
    >>> rows = [{"epoch": t, "phase": "second", "status": "SEARCH_FAILED"} for t in range(3)]
    >>> SearchFailures(patience=3).decide(History(rows)).swap
    True
    """

    patience: int = 3

    claim: ClassVar[Claim | None] = None
    hindsight: ClassVar[bool] = False

    def __post_init__(self) -> None:
        if self.patience < 1:
            raise ValueError(f"patience={self.patience} was given; it must be at least 1.")

    @property
    def requires(self) -> frozenset[str]:
        """The status of second-phase steps."""
        return frozenset({"status"})

    def decide(self, history: History) -> Decision:
        """Count the failures at the end of the stretch."""
        statuses = history.stretch().column("status")
        if statuses and statuses[-1] is None:
            return Decision(False, f"no status was recorded in epoch {history[-1].get('epoch')}")
        failed = next(
            (i for i, status in enumerate(reversed(statuses)) if status not in FAILED_SEARCHES), len(statuses)
        )
        stalled = bool(statuses) and statuses[-1] == Status.STALLED.name
        reason = (
            "steepest descent can no longer lower the loss" if stalled else f"{failed} line searches failed in a row"
        )
        return Decision(stalled or failed >= self.patience, reason, failed / self.patience, {"failures": float(failed)})
