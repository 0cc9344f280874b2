"""SWATS: the rate that plain gradient descent would need to make Adam's steps has settled."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

from landscape.policies.base import Claim, Decision
from landscape.policies.settings import between, positive
from landscape.policies.signals import read
from landscape.tracking.history import History


@dataclass(frozen=True)
class Swats:
    r"""Swap once the learning rate that gradient descent would need to make Adam's step agrees with its own average.

    With Adam's last step p and its gradient g of each epoch k,

    .. math:: \gamma_k = \frac{p^\top p}{-p^\top g}, \qquad \lambda_k = \beta_2 \lambda_{k-1} + (1 - \beta_2)\gamma_k, \qquad
       \text{swap} \iff k > 1 \text{ and } \left| \frac{\lambda_k}{1 - \beta_2^k} - \gamma_k \right| < \epsilon.

    Parameters
    ----------
    tolerance : float
        :math:`\epsilon`. 1e-9 is the paper's; it fires rarely, and re-implementations use 1e-5.
    beta2 : float
        Decay of the average: the paper takes Adam's own second one, 0.999.

    Notes
    -----
    The paper looks at every step; a history has one per epoch, so k counts epochs of the phase in which p'g was not 0. The
    averaged rate is in the evidence: it is the one with which the paper lets gradient descent go on. About the transfer of a
    learning rate, not about convexity: no claim.

    References
    ----------
    Keskar, Socher (2017), Improving Generalization Performance by Switching from Adam to SGD, arXiv:1712.07628,
    Algorithm 1.

    Examples
    --------
    >>> row = {"phase": "first", "step_dot_step": 0.25, "step_dot_gradient": -0.5}
    >>> Swats().decide(History([{**row, "epoch": t} for t in (1, 2)])).swap
    True
    """

    tolerance: float = 1e-9
    beta2: float = 0.999

    claim: ClassVar[Claim | None] = None
    hindsight: ClassVar[bool] = False

    def __post_init__(self) -> None:
        positive("tolerance", self.tolerance)
        between("beta2", self.beta2, 0, 1)

    @property
    def requires(self) -> frozenset[str]:
        """The two products of the last step."""
        return frozenset({"step_dot_step", "step_dot_gradient"})

    def decide(self, history: History) -> Decision:
        """Average the rates of the phase."""
        signals = read(history, "step_dot_step", "step_dot_gradient")
        if isinstance(signals, Decision):
            return signals
        steps, slopes = signals["step_dot_step"], signals["step_dot_gradient"]
        if slopes[-1] == 0:
            return Decision(False, f"step_dot_gradient is 0 in epoch {signals.epochs[-1]}, so there is no rate")
        rates = [-pp / pg for pp, pg in zip(steps, slopes, strict=True) if pg != 0 and math.isfinite(pp / pg)]
        average = 0.0
        for rate in rates:
            average = self.beta2 * average + (1 - self.beta2) * rate
        count = len(rates)
        corrected = average / (1 - self.beta2**count) if count else math.nan
        difference = abs(corrected - rates[-1]) if count else math.nan
        swap = count > 1 and difference < self.tolerance
        side = "below" if difference < self.tolerance else "not below"
        last = rates[-1] if count else math.nan
        reason = (
            f"over {count} epochs the averaged rate {corrected:.4g} differs from the last {last:.4g} by "
            f"{difference:.3g}, {side} {self.tolerance:g}"
        )
        return Decision(swap, reason, difference, {"learning_rate": corrected, "epochs": float(count)})
