"""A policy that weighs what a step of the second phase costs in steps of the first one."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

from landscape.policies.base import Claim, Decision
from landscape.policies.settings import positive
from landscape.policies.signals import before_phase, read
from landscape.tracking.history import History, number_in

#: Gradient equivalents of a full-batch step whose first trial is accepted: a forward and a gradient.
FULL_BATCH_STEP = 4.0 / 3.0


@dataclass(frozen=True)
class StepPrice:
    r"""Swap early where a full-batch step costs few steps of the first phase, and otherwise for the last stretch of the run.

    With m updates per gradient equivalent (GE) in the first phase, a full-batch step of 4/3 GE costs :math:`4m/3` of them.

    .. math:: \text{swap} \iff s \ge \begin{cases} s_\text{early} & 4m/3 \le k \\ s_\text{late} & \text{otherwise} \end{cases}
        \quad\text{and}\quad B (1 - s) \ge r

    Parameters
    ----------
    steps : float
        k: so many first-phase steps count as few.
    early, late : float
        s: shares of the run after which to swap, in (0, 1].
    min_left : float
        r, in GE: with less of the run left, a second phase, of some twenty steps, is not worth beginning.

    Notes
    -----
    In full batches both phases pay the same for a step, and the one with better steps should make them, soon. With many small
    batches to a pass, the first phase makes the faster progress until the noise of its gradients is what limits it; then
    the second phase's part is to take the noise out, and for that a last stretch is enough. It looks at prices, not at the
    loss, and tests no claim. Cost: nothing. B is what the run itself may spend, s the larger of the shares spent of its budget
    and of its epochs, since the phase began.

    The defaults are those of ``landscape train``. They were chosen on the twelve problems of ``analyses/swap_suite``, and had
    the least median regret of all policies on six others too; on one of these, a Helmholtz equation, the early swap did harm.

    References
    ----------
    Our own; the price of progress per sample, as in Bottou, Curtis, Nocedal (2018), SIAM Review 60:223, section 3.3.

    Examples
    --------
    >>> def after(share, steps):
    ...     row = {"phase": "first", "epoch": 1, "step": steps, "gradient_equivalents": 300 * share, "spent_share": share}
    ...     return StepPrice().decide(History([row])).swap
    >>> after(0.1, 30), after(0.1, 300), after(0.8, 2400), after(0.9, 2700)
    (True, False, True, True)
    """

    steps: float = 5.0
    early: float = 0.05
    late: float = 0.6
    min_left: float = 30.0

    claim: ClassVar[Claim | None] = None
    hindsight: ClassVar[bool] = False
    reads_clock: ClassVar[bool] = True

    def __post_init__(self) -> None:
        positive("steps", self.steps)
        for name in ("early", "late"):
            if not 0 < getattr(self, name) <= 1:
                raise ValueError(f"{name}={getattr(self, name)} was given; it must lie in (0, 1].")
        if not 0 <= self.min_left < math.inf:
            raise ValueError(f"min_left={self.min_left} was given; it must be 0 or more gradient equivalents.")

    @property
    def requires(self) -> frozenset[str]:
        """How far the run has come, and with how many steps."""
        return frozenset({"step", "gradient_equivalents", "spent_share"})

    def decide(self, history: History) -> Decision:
        """Compare the price of a step, then the share of the run, then what is left of it."""
        signals = read(history, "step", "gradient_equivalents", "spent_share")
        if isinstance(signals, Decision):
            return signals
        spent, share = signals["gradient_equivalents"][-1], signals["spent_share"][-1]
        phase_spent = spent - before_phase(history, "gradient_equivalents")
        phase_share = share - before_phase(history, "spent_share")
        if not (phase_spent > 0 and share > 0):
            return Decision(False, "nothing has been spent in this phase yet")
        probing = (number_in(history[-1], "probing_equivalents") or 0.0) - before_phase(history, "probing_equivalents")
        steps = signals["step"][-1] - before_phase(history, "step")
        price = FULL_BATCH_STEP * steps / max(phase_spent - probing, 1e-9)
        is_cheap = price <= self.steps
        wanted = self.early if is_cheap else self.late
        left = spent * (1.0 / share - 1.0)
        few = f"{'no more' if is_cheap else 'more'} than {self.steps:g}"
        reason = (
            f"a full-batch step costs {price:.3g} steps of this phase, {few}, so this phase ends after {100 * wanted:g} % "
            f"of the run: {100 * phase_share:.4g} % are spent; {left:.4g} gradient equivalents are left, "
            f"{self.min_left:g} are needed"
        )
        evidence = {"price": price, "share": phase_share, "left": left}
        return Decision(phase_share >= wanted and left >= self.min_left, reason, phase_share / wanted, evidence)
