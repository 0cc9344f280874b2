"""The policy that waits for a certificate on the smallest eigenvalue, and pays for asking often."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

from landscape.policies.base import Claim, Decision
from landscape.policies.settings import at_least, between
from landscape.policies.signals import read
from landscape.tracking.history import History, number_in


def delta_at(check: int, delta: float) -> float:
    r"""Failure probability to ask of the check-th certificate so that all of them together fail with at most ``delta``.

    Notes
    -----
    :math:`\delta_t = 6\,\delta/(\pi^2 t^2)` sums to :math:`\delta` over :math:`t = 1, 2, \ldots`

    Examples
    --------
    >>> round(sum(delta_at(t, 0.05) for t in range(1, 100_000)), 6)
    0.05
    """
    at_least("check", check, 1)
    between("delta", delta, 0, 1)
    return 6 * delta / (math.pi * check) ** 2


@dataclass(frozen=True)
class Certified:
    r"""Swap once a certificate bounds the smallest eigenvalue from below, with a probability that counts all checks.

    .. math:: P(\lambda_{\min} \ge -\epsilon) \ge 1 - \delta

    Parameters
    ----------
    eps : float, optional
        In units of curvature. Default: whatever the certificate was asked for; with a number, its lower bound must be at
        least ``-eps`` too.
    delta : float
        Failure probability of all certificates of the run together. Our own choice.

    Notes
    -----
    A rule that asks after every epoch, and stops at the first yes, errs whenever any of its checks errs. So the failure
    probabilities of all certificates so far, the earlier phases' included, are summed (union bound), and the sum must not
    exceed ``delta``. A tracker that gives its t-th check :func:`delta_at` ``(t, delta)`` never runs out. Claim A', for this
    loss on this data. Rarely reached early in training. Cost: a Lanczos run from a random vector per check.

    References
    ----------
    Kuczynski, Wozniakowski (1992), SIAM J. Matrix Anal. Appl. 13. van Dorsselaer, Hochstenbach, van der Vorst (2000), SIAM
    J. Matrix Anal. Appl. 22.

    Examples
    --------
    >>> row = {"epoch": 1, "phase": "first", "certificate": "ABOVE", "certificate_lower": -1e-3, "certificate_delta": 0.01}
    >>> Certified(eps=1e-2).decide(History([row])).swap
    True
    """

    eps: float | None = None
    delta: float = 0.05

    claim: ClassVar[Claim | None] = "A'"
    hindsight: ClassVar[bool] = False

    def __post_init__(self) -> None:
        if self.eps is not None:
            at_least("eps", self.eps, 0)
        between("delta", self.delta, 0, 1)

    @property
    def requires(self) -> frozenset[str]:
        """The verdict, its lower bound and its failure probability."""
        return frozenset({"certificate", "certificate_lower", "certificate_delta"})

    def decide(self, history: History) -> Decision:
        """Read the verdict."""
        signals = read(history, "certificate_delta")
        if isinstance(signals, Decision):
            return signals
        row, epoch = history[-1], signals.epochs[-1]
        verdict, lower = row.get("certificate"), number_in(row, "certificate_lower")
        if verdict is None or lower is None:
            return Decision(False, f"certificate or certificate_lower was not recorded in epoch {epoch}")
        spent = math.fsum(number_in(row, "certificate_delta") or 0.0 for row in history)
        evidence = {"lower": lower, "delta": spent}
        if verdict != "ABOVE":
            return Decision(
                False, f"the certificate of epoch {epoch} is {verdict}, lambda_min >= {lower:.4g}", lower, evidence
            )
        if not spent <= self.delta * (1 + 1e-12):
            reason = (
                f"the certificates so far may be wrong with probability {spent:.3g} together, more than {self.delta:g}: ask "
                "each for less, or check less often"
            )
            return Decision(False, reason, lower, evidence)
        if not lower >= (-math.inf if self.eps is None else -self.eps):
            return Decision(
                False, f"lambda_min >= {lower:.4g} is certified, less than {-(self.eps or 0):.4g}", lower, evidence
            )
        reason = f"lambda_min >= {lower:.4g} in epoch {epoch}, wrong with probability {spent:.3g} at most, all checks included"
        return Decision(math.isfinite(lower), reason, lower, evidence)
