"""A policy that is listened to in every so many epochs only."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

from landscape.policies.base import Decision, SwapPolicy
from landscape.policies.settings import at_least
from landscape.policies.signals import epochs_of
from landscape.policies.wrappers import Wrapper, check_policy_given
from landscape.tracking.history import History


@dataclass(frozen=True)
class Every(Wrapper):
    """Listen to a policy in every so many epochs of the phase only.

    Parameters
    ----------
    policy : SwapPolicy
        Sees all epochs.
    epochs : int
        It may swap after this many, twice as many, and so on.

    Notes
    -----
    For runs whose swap must fall on a checkpoint, and for comparisons: where policies may swap at few points, few second
    phases answer for many policies (``swap_every`` of :func:`landscape.compare`).

    Examples
    --------
    >>> from landscape.policies.schedule import AfterEpochs
    >>> rows = [{"epoch": t, "phase": "first"} for t in range(1, 7)]
    >>> [t for t in range(1, 7) if Every(AfterEpochs(2), 3).decide(History(rows[:t])).swap]
    [3, 6]
    """

    policy: SwapPolicy
    epochs: int = 10

    def __post_init__(self) -> None:
        check_policy_given(self, self.policy)
        at_least("epochs", self.epochs, 1)

    def decide(self, history: History) -> Decision:
        """Ask the policy, and hold a yes back until its turn."""
        decision = self.policy.decide(history)
        done = len(epochs_of(history))
        if not decision.swap or done % self.epochs == 0:
            return decision
        reason = f"epoch {done} of this phase is no multiple of {self.epochs} ({decision.reason})"
        return dataclasses.replace(decision, swap=False, reason=reason)
