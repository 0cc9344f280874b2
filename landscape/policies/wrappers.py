"""Policies around one policy: wait for it, smooth what it sees, hide the warm-up from it, or lose patience."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Literal

from landscape.policies.base import Decision, SwapPolicy, claim_of, needs_hindsight, reads_clock
from landscape.policies.claims import either
from landscape.policies.rewriting import earlier, is_measured, smoothed, with_stretch
from landscape.policies.schedule import BudgetShare
from landscape.policies.settings import at_least, one_of
from landscape.policies.signals import epochs_of
from landscape.tracking.history import History, number_in


def check_policy_given(wrapper: object, policy: object) -> None:
    """Refuse what is no policy, before any work."""
    if not (callable(getattr(policy, "decide", None)) and hasattr(policy, "requires")):
        raise TypeError(
            f"{type(wrapper).__name__} goes around a policy, but {policy!r} ({type(policy).__name__}) was given. Make one, for "
            "instance with landscape.policies.build('gradient-norm-peak')."
        )


class Wrapper:
    """What wrappers of one policy have in common."""

    policy: SwapPolicy

    @property
    def requires(self) -> frozenset[str]:
        """What the wrapped policy reads."""
        return self.policy.requires

    @property
    def claim(self) -> str | None:
        """The wrapped policy's."""
        return claim_of(self.policy)

    @property
    def hindsight(self) -> bool:
        """The wrapped policy's."""
        return needs_hindsight(self.policy)

    @property
    def reads_clock(self) -> bool:
        """The wrapped policy's."""
        return reads_clock(self.policy)


@dataclass(frozen=True)
class Patience(Wrapper):
    """Swap once a policy has said yes several times in a row.

    Parameters
    ----------
    policy : SwapPolicy
        Asked again for the history as it was at each earlier epoch, which is possible since policies are pure.
    times : int
        How often in a row, at least 1.

    Notes
    -----
    An epoch in which the policy says no, and in which something that it reads was not measured, is passed over: a tracker that
    measures every tenth epoch is asked every tenth. Cost: ``times`` decisions.

    Examples
    --------
    >>> from landscape.policies.loss import LossPlateau
    >>> rows = [{"epoch": t, "phase": "first", "loss": f} for t, f in enumerate([3.0, 3.0, 2.0, 2.0, 2.0], 1)]
    >>> [Patience(LossPlateau(window=1), times=2).decide(History(rows[:t])).swap for t in (2, 4, 5)]
    [False, False, True]
    """

    policy: SwapPolicy
    times: int = 3

    def __post_init__(self) -> None:
        check_policy_given(self, self.policy)
        at_least("times", self.times, 1)

    def decide(self, history: History) -> Decision:
        """Count the latest decisions that were yes."""
        decision = self.policy.decide(history)
        count = self._count(history) if decision.swap else 0
        evidence = {**decision.evidence, "times": float(count)}
        reason = f"yes {count} of {self.times} times in a row ({decision.reason})"
        return Decision(count >= self.times, reason, count / self.times, evidence)

    def _count(self, history: History) -> int:
        """How many decisions in a row were yes, the present one included; no further than needed."""
        rows = list(history.stretch())
        count = 1
        for num_rows in range(len(rows) - 1, 0, -1):
            if count >= self.times or rows[num_rows - 1].get("epoch") == 0:
                break
            if self.policy.decide(earlier(history, num_rows)).swap:
                count += 1
            elif is_measured(self.policy, rows[num_rows - 1]):
                break
        return count


@dataclass(frozen=True)
class MinEpochs(Wrapper):
    """Do not swap before a number of epochs of the phase.

    Parameters
    ----------
    policy : SwapPolicy
        Counts from then on.
    epochs : int
        The first epoch of the phase in which a swap is possible, at least 1.
    forget : bool
        Hide the epochs before that one from the policy, so that they do not count for its maxima and means either.

    Examples
    --------
    >>> from landscape.policies.schedule import AfterEpochs
    >>> rows = [{"epoch": t, "phase": "first"} for t in range(4)]
    >>> MinEpochs(AfterEpochs(1), epochs=3).decide(History(rows[:3])).reason
    'epoch 2 of the phase, and a swap is possible from epoch 3 on (2 of 1 epochs of this phase are done)'
    """

    policy: SwapPolicy
    epochs: int = 2
    forget: bool = False

    def __post_init__(self) -> None:
        check_policy_given(self, self.policy)
        at_least("epochs", self.epochs, 1)

    def decide(self, history: History) -> Decision:
        """Ask, if it is time."""
        done = len(epochs_of(history))
        if self.forget:
            starts = [row for row in history.stretch() if row.get("epoch") == 0]
            history = with_stretch(history, [*starts, *epochs_of(history)[self.epochs - 1 :]])
        decision = self.policy.decide(history)
        if done >= self.epochs:
            return decision
        reason = f"epoch {done} of the phase, and a swap is possible from epoch {self.epochs} on ({decision.reason})"
        return dataclasses.replace(decision, swap=False, reason=reason)


@dataclass(frozen=True)
class Smooth(Wrapper):
    """Show a policy means of its signals.

    Parameters
    ----------
    policy : SwapPolicy
        Sees a history in which every signal that it reads is replaced by its mean so far, within the phase.
    span : int
        The window; or, with exponential weights, their span: the weight of a value falls by 1 - 2 / (span + 1) an epoch. Our
        own choice.
    kind : {"exponential", "window"}
        Which of both.

    Notes
    -----
    Whole numbers, text, the clock and the learning rate stay as they are. A value that was not measured, or is no finite
    number, stays as it is and does not enter the means. What is smoothed is the signal, so numerator and denominator of a
    policy's quotient are smoothed apart.

    Examples
    --------
    >>> from landscape.policies.gradient_norm import GradientNormPeak
    >>> rows = [{"epoch": t, "phase": "first", "gradient_norm": n} for t, n in enumerate([1.0, 2.0, 1.7, 2.4], 1)]
    >>> GradientNormPeak().decide(History(rows[:3])).swap, Smooth(GradientNormPeak(), 3).decide(History(rows[:3])).swap
    (True, False)
    """

    policy: SwapPolicy
    span: int = 5
    kind: Literal["exponential", "window"] = "exponential"

    def __post_init__(self) -> None:
        check_policy_given(self, self.policy)
        at_least("span", self.span, 1)
        one_of("kind", self.kind, ("exponential", "window"))

    def decide(self, history: History) -> Decision:
        """Ask about the smoothed history."""
        seen = smoothed(self.policy, history, self.span, exponential=self.kind == "exponential")
        decision = self.policy.decide(seen)
        return dataclasses.replace(decision, reason=f"smoothed over {self.span} epochs, {decision.reason}")


@dataclass(frozen=True)
class AfterWarmup(Wrapper):
    """Hide the epochs from a policy in which the learning rate was still rising.

    Parameters
    ----------
    policy : SwapPolicy
        Sees the phase from the epoch of the highest learning rate of its first rise on.

    Notes
    -----
    A rising rate makes norms and losses move for its own sake. The warm-up is over at the first epoch of the phase whose rate
    is not above that of the epoch before; with a constant rate this is known at the second epoch.

    Examples
    --------
    >>> from landscape.policies.gradient_norm import GradientNormPeak
    >>> curve = [(0.1, 9.0), (0.2, 4.0), (0.3, 3.0), (0.3, 5.0), (0.3, 4.0)]
    >>> rows = [{"epoch": t, "phase": "first", "learning_rate": r, "gradient_norm": n} for t, (r, n) in enumerate(curve, 1)]
    >>> [t for t in range(1, 6) if AfterWarmup(GradientNormPeak()).decide(History(rows[:t])).swap]
    [5]
    """

    policy: SwapPolicy

    def __post_init__(self) -> None:
        check_policy_given(self, self.policy)

    @property
    def requires(self) -> frozenset[str]:
        """What the wrapped policy reads, and the learning rate."""
        return self.policy.requires | {"learning_rate"}

    def decide(self, history: History) -> Decision:
        """Ask about the epochs after the warm-up."""
        rows = epochs_of(history)
        rates = [(index, number_in(row, "learning_rate")) for index, row in enumerate(rows)]
        known = [(index, rate) for index, rate in rates if rate is not None]
        over = next((known[i - 1] for i in range(1, len(known)) if not known[i][1] > known[i - 1][1]), None)
        if over is None:
            return Decision(
                False,
                f"the learning_rate was measured {len(known)} times in {len(rows)} epochs and has not stopped rising yet",
            )
        index, rate = over
        starts = [row for row in history.stretch() if row.get("epoch") == 0]
        decision = self.policy.decide(with_stretch(history, [*starts, *rows[index:]]))
        reason = f"after a warm-up to rate {rate:.3g} (epoch {rows[index].get('epoch')}), {decision.reason}"
        return dataclasses.replace(decision, reason=reason)


@dataclass(frozen=True)
class Deadline(Wrapper):
    """Swap when a policy says so, or at the latest when the phase has spent its share of the run.

    Parameters
    ----------
    policy : SwapPolicy
        Asked first.
    budget : float, optional
        The budget of the run, in gradient equivalents. Default: what the run itself has.
    share : float
        The share that the phase may spend at most, in (0, 1]. Our own choice.

    Examples
    --------
    >>> from landscape.policies.schedule import Never
    >>> rows = [{"epoch": t, "phase": "first", "gradient_equivalents": 2.0 * t} for t in range(4)]
    >>> Deadline(Never(), budget=10, share=0.5).decide(History(rows)).swap
    True
    """

    policy: SwapPolicy
    budget: float | None = None
    share: float = 0.5

    def __post_init__(self) -> None:
        check_policy_given(self, self.policy)
        BudgetShare(self.budget, self.share)  # refuses what is out of range

    @property
    def requires(self) -> frozenset[str]:
        """What the wrapped policy reads, and what the run has cost."""
        return self.policy.requires | BudgetShare(self.budget, self.share).requires

    @property
    def claim(self) -> str | None:
        """The wrapped policy's, or none: a deadline tests nothing."""
        return either([claim_of(self.policy), None])

    @property
    def reads_clock(self) -> bool:
        """Yes."""
        return True

    def decide(self, history: History) -> Decision:
        """Ask the policy, then the clock."""
        decision = self.policy.decide(history)
        if decision.swap:
            return decision
        clock = BudgetShare(self.budget, self.share).decide(history)
        evidence = {**decision.evidence, **{f"deadline.{name}": value for name, value in clock.evidence.items()}}
        if clock.swap:
            return Decision(True, f"the deadline: {clock.reason} ({decision.reason})", clock.score, evidence)
        return dataclasses.replace(decision, evidence=evidence)
