"""Policies that look at the clock only: the baselines that every other policy has to beat."""

from __future__ import annotations

from dataclasses import dataclass

from landscape.policies.base import Decision
from landscape.tracking.history import History


@dataclass(frozen=True)
class Never:
    """Never swap: the first optimiser runs to the end.

    Examples
    --------
    >>> Never().decide(History()).swap
    False
    """

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

    def __post_init__(self) -> None:
        if self.epochs < 1:
            raise ValueError(f"epochs={self.epochs} was given; it must be at least 1.")

    @property
    def requires(self) -> frozenset[str]:
        """Nothing beyond the rows themselves."""
        return frozenset()

    def decide(self, history: History) -> Decision:
        """Count the epochs since the last swap."""
        done = sum(1 for row in history.stretch() if row.get("epoch") != 0)
        return Decision(
            done >= self.epochs,
            f"{done} of {self.epochs} epochs of this phase are done",
            done / self.epochs,
            {"epochs": float(done)},
        )
