"""Policies that look at the clock only: the baselines that every other policy has to beat."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from landscape.policies.base import Claim, Decision
from landscape.policies.settings import positive
from landscape.policies.signals import before_phase, epochs_of, read
from landscape.tracking.history import History


@dataclass(frozen=True)
class Never:
    """Never swap: the first optimiser runs to the end.

    Examples
    --------
    >>> Never().decide(History()).swap
    False
    """

    claim: ClassVar[Claim | None] = None
    hindsight: ClassVar[bool] = False

    @property
    def requires(self) -> frozenset[str]:
        """Nothing."""
        return frozenset()

    def decide(self, history: History) -> Decision:
        """Say no."""
        return Decision(False, "this policy never swaps")


@dataclass(frozen=True)
class AfterEpochs:
    """Swap after a fixed number of epochs of the phase; with 1, as early as can be.

    Parameters
    ----------
    epochs : int
        At least 1. The seed paper's experiments use 300 of 1000 (210 of 700 for vit-mlp).

    References
    ----------
    Hrycej et al. (2025), arXiv:2510.25366, section on experiments.

    Examples
    --------
    >>> AfterEpochs(2).decide(History([{"epoch": e, "phase": "first"} for e in range(3)])).swap
    True
    """

    epochs: int

    claim: ClassVar[Claim | None] = None
    hindsight: ClassVar[bool] = False
    reads_clock: ClassVar[bool] = True

    def __post_init__(self) -> None:
        if self.epochs < 1:
            raise ValueError(f"epochs={self.epochs} was given; it must be at least 1.")

    @property
    def requires(self) -> frozenset[str]:
        """Nothing beyond the rows themselves."""
        return frozenset()

    def decide(self, history: History) -> Decision:
        """Count the epochs since the last swap."""
        done = len(epochs_of(history))
        return Decision(
            done >= self.epochs,
            f"{done} of {self.epochs} epochs of this phase are done",
            done / self.epochs,
            {"epochs": float(done)},
        )


@dataclass(frozen=True)
class BudgetShare:
    """Swap once a phase has spent a share of the run.

    Parameters
    ----------
    budget : float, optional
        The budget, in gradient equivalents. Default: what the run itself has, be it a budget or a number of epochs.
    share : float
        The share that the phase may spend, in (0, 1]. 0.3 is that of the seed paper's experiments (300 of 1000 epochs);
        common scripts for physics-informed networks switch after a fixed number of steps.

    Notes
    -----
    What counts is what was spent since the phase began, probing included: after a swap back the phase has its share again.
    No adaptivity and no claim; a baseline that adaptive rules must beat.

    References
    ----------
    Hrycej et al. (2025), arXiv:2510.25366, section on experiments.

    Examples
    --------
    >>> rows = [{"epoch": t, "phase": "first", "gradient_equivalents": 2.0 * t, "spent_share": t / 4} for t in range(4)]
    >>> BudgetShare(budget=10, share=0.5).decide(History(rows)).reason
    '6 of 5 gradient equivalents are spent in this phase (0.5 of a budget of 10)'
    >>> BudgetShare(share=0.5).decide(History(rows)).reason
    '75 % of the run is spent in this phase, of at most 50 %'
    """

    budget: float | None = None
    share: float = 0.3

    claim: ClassVar[Claim | None] = None
    hindsight: ClassVar[bool] = False
    reads_clock: ClassVar[bool] = True

    def __post_init__(self) -> None:
        if self.budget is not None:
            positive("budget", self.budget)
        if not 0 < self.share <= 1:
            raise ValueError(f"share={self.share} was given; it must lie in (0, 1].")

    @property
    def requires(self) -> frozenset[str]:
        """What the run has cost, or which share of it."""
        return frozenset({self._column})

    @property
    def _column(self) -> str:
        return "spent_share" if self.budget is None else "gradient_equivalents"

    def decide(self, history: History) -> Decision:
        """Compare what the phase has spent with its share."""
        signals = read(history, self._column)
        if isinstance(signals, Decision):
            return signals
        spent = signals[self._column][-1] - before_phase(history, self._column)
        allowed = self.share if self.budget is None else self.share * self.budget
        if self.budget is None:
            reason = f"{100 * spent:.6g} % of the run is spent in this phase, of at most {100 * allowed:g} %"
        else:
            reason = (
                f"{spent:.6g} of {allowed:.6g} gradient equivalents are spent in this phase "
                f"({self.share:g} of a budget of {self.budget:g})"
            )
        return Decision(spent >= allowed, reason, spent / allowed, {"spent": spent, "allowed": allowed})
