"""Policies that try the second phase from a copy, and look at what came of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from landscape.policies.base import Claim, Decision
from landscape.policies.settings import at_least, positive
from landscape.policies.signals import hold, judge, read
from landscape.tracking.history import History


@dataclass(frozen=True)
class Race:
    """Swap once a trial of the second phase lowers the loss faster, for its cost, than the first phase does.

    Parameters
    ----------
    factor : float
        By how much faster the trial must be.
    checks : int
        How often in a row.

    Notes
    -----
    Both rates are decreases of the loss per gradient equivalent: of some trial steps from a copy, line searches included, and
    of the first phase over its last epochs. No claim: it looks at the outcome, which is what convexity is wanted for.
    Weaknesses: a short horizon favours the second phase, whose first steps mostly take the noise of mini-batches out; a first
    phase that goes uphill for a moment loses every race. Cost: the trial.

    References
    ----------
    Our own.

    Examples
    --------
    >>> Race().decide(History([{"epoch": 1, "phase": "first", "race_rate": 0.02, "first_phase_rate": 0.01}])).swap
    True
    """

    factor: float = 1.0
    checks: int = 1

    claim: ClassVar[Claim | None] = None
    hindsight: ClassVar[bool] = False

    def __post_init__(self) -> None:
        positive("factor", self.factor)
        at_least("checks", self.checks, 1)

    @property
    def requires(self) -> frozenset[str]:
        """The rates of both phases."""
        return frozenset({"race_rate", "first_phase_rate"})

    def decide(self, history: History) -> Decision:
        """Compare the rates."""
        signals = read(history, "race_rate", "first_phase_rate")
        if isinstance(signals, Decision):
            return signals
        rates = list(zip(signals["race_rate"], signals["first_phase_rate"], strict=True))
        # A trial that does not lower the loss wins no race, however badly the first phase does.
        leads = [trial - max(self.factor * first, 0.0) for trial, first in rates]
        what = f"the trial's lead, {rates[-1][0]:.3g} against {self.factor:g} times {rates[-1][1]:.3g} loss per GE,"
        return judge(leads, ">", 0.0, self.checks, what, "lead", signals.epochs[-1])


@dataclass(frozen=True)
class TrialSearch:
    """Swap once trial line searches of the second phase have succeeded, several times in a row.

    Parameters
    ----------
    checks : int
        How often in a row. Our own choice.

    Notes
    -----
    The counterpart of :class:`~landscape.policies.search.SearchFailures`, which swaps back. No claim: Armijo's and Wolfe's
    conditions can be met on any smooth loss that is bounded below. On a noisy loss the outcome means nothing. Cost: 2 to 5
    evaluations per check.

    References
    ----------
    Nocedal, Wright (2006), Numerical Optimization, section 3.1.

    Examples
    --------
    >>> rows = [{"epoch": t, "phase": "first", "trial_search": s} for t, s in enumerate([0, 1, 1, 1], 1)]
    >>> TrialSearch().decide(History(rows)).swap
    True
    """

    checks: int = 3

    claim: ClassVar[Claim | None] = None
    hindsight: ClassVar[bool] = False

    def __post_init__(self) -> None:
        at_least("checks", self.checks, 1)

    @property
    def requires(self) -> frozenset[str]:
        """Whether the trial succeeded."""
        return frozenset({"trial_search"})

    def decide(self, history: History) -> Decision:
        """Count the successes."""
        return hold(history, "trial_search", ">=", 1.0, self.checks, "success (1 or 0) of the trial line search")
