"""Policies that look towards a reference point or a known minimum of the loss."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from landscape.policies.base import Claim, Decision
from landscape.policies.settings import at_least, positive
from landscape.policies.signals import read
from landscape.tracking.history import History


@dataclass(frozen=True)
class ReferenceConvexity:
    r"""Swap once the loss has been convex towards a reference point y, on average over a window.

    .. math:: \frac1w \sum_{s=t-w+1}^{t} f(x_s) - f(y) - \langle g_s, x_s - y \rangle \le 0

    Parameters
    ----------
    window : int
        Epochs in the average. Our own choice.

    Notes
    -----
    Every term is at most 0 where the loss is convex between :math:`x_s` and y: the inequality that convergence proofs of
    online convex optimisation use. Claim D. Hindsight: the end of a finished run is the natural y, so this is for replays.

    References
    ----------
    Tran, Zhang, Cutkosky (2024), Empirical Tests of Optimization Assumptions in Deep Learning, arXiv:2407.01825, who measure
    this gap along training.

    Examples
    --------
    >>> rows = [{"epoch": t, "phase": "first", "reference_gap": g} for t, g in enumerate([0.3, -0.1, -0.4], 1)]
    >>> ReferenceConvexity(window=3).decide(History(rows)).swap
    True
    """

    window: int = 5

    claim: ClassVar[Claim | None] = "D"
    hindsight: ClassVar[bool] = True

    def __post_init__(self) -> None:
        at_least("window", self.window, 1)

    @property
    def requires(self) -> frozenset[str]:
        """The gap to the reference."""
        return frozenset({"reference_gap"})

    def decide(self, history: History) -> Decision:
        """Average the gap."""
        signals = read(history, "reference_gap", window=self.window)
        if isinstance(signals, Decision):
            return signals
        mean = math.fsum(signals["reference_gap"]) / self.window
        swap = mean <= 0
        reason = f"the convexity gap to the reference point is {mean:.4g} on average over {self.window} epochs"
        return Decision(swap, f"{reason}, {'not above' if swap else 'above'} 0", mean, {"mean": mean})


@dataclass(frozen=True)
class RestrictedSecant:
    r"""Swap once the gradient points to the reference point with a steady share of its length.

    With :math:`\mathrm{RSI} = \langle g, x - y\rangle/\|x - y\|^2` and :math:`\mathrm{EB} = \|g\|/\|x - y\|`, their ratio is
    the cosine between gradient and direction to y. The rule fires when it was positive over a window and its standard
    deviation there is at most ``spread`` of its mean.

    Parameters
    ----------
    window : int
        Epochs, at least 2. Our own choice.
    spread : float
        What counts as steady. Our own choice.

    Notes
    -----
    Claim D: the restricted secant inequality and the error bound together give linear convergence, without convexity.
    Hindsight: y is the end of a finished run.

    References
    ----------
    Guille-Escuret, Naganuma, Fatras, Mitliagkas (2023), No Wrong Turns: The Simple Geometry of Neural Networks Optimization
    Paths, arXiv:2306.11922.

    Examples
    --------
    >>> row = {"phase": "first", "restricted_secant": 0.2, "error_bound": 0.4}
    >>> RestrictedSecant(window=2).decide(History([{**row, "epoch": t} for t in (1, 2)])).swap
    True
    """

    window: int = 5
    spread: float = 0.2

    claim: ClassVar[Claim | None] = "D"
    hindsight: ClassVar[bool] = True

    def __post_init__(self) -> None:
        at_least("window", self.window, 2)
        positive("spread", self.spread)

    @property
    def requires(self) -> frozenset[str]:
        """Both constants."""
        return frozenset({"restricted_secant", "error_bound"})

    def decide(self, history: History) -> Decision:
        """Ask for a positive and steady ratio."""
        signals = read(history, "restricted_secant", "error_bound", window=self.window)
        if isinstance(signals, Decision):
            return signals
        secants, bounds = np.array(signals["restricted_secant"]), np.array(signals["error_bound"])
        if not (bounds > 0).all():
            return Decision(False, f"error_bound is not above 0 in one of the last {self.window} epochs: no cosine")
        cosines = secants / bounds
        lowest, mean = float(cosines.min()), float(cosines.mean())
        if lowest <= 0:
            reason = (
                f"the cosine of the gradient to the reference point fell to {lowest:.3g} within {self.window} epochs"
            )
            return Decision(False, reason, math.nan, {"lowest": lowest, "mean": mean})
        spread = float(cosines.std(ddof=1)) / mean
        swap = spread <= self.spread
        reason = (
            f"the cosine of the gradient to the reference point is {mean:.3g} over {self.window} epochs and varies by "
            f"{spread:.2g} of itself, {'at most' if swap else 'more than'} {self.spread:g}"
        )
        return Decision(swap, reason, spread, {"lowest": lowest, "mean": mean})


@dataclass(frozen=True)
class PLRatio:
    r"""Swap once the Polyak-Lojasiewicz ratio has stopped falling.

    .. math:: \mu_t = \frac{\|g_t\|^2}{2\,(f(x_t) - f^*)}

    fires when its mean over the later half of a window is at least ``1 - slack`` of that over the earlier half.

    Parameters
    ----------
    minimum : float
        :math:`f^*`, or a lower bound of it. 0 is one for squared errors and cross-entropy.
    window : int
        Epochs, at least 2. Our own choice.
    slack : float
        What still counts as stable. Our own choice.

    Notes
    -----
    A ratio bounded from below gives linear convergence of gradient descent without convexity: claim E. It holds in non-convex
    regions too. With a lower bound in place of the minimum the ratio is too small, and falls where the loss levels out above.

    References
    ----------
    Karimi, Nutini, Schmidt (2016), arXiv:1608.04636. For wide networks: Liu, Zhu, Belkin (2022), arXiv:2003.00307.

    Examples
    --------
    >>> rows = [{"epoch": t, "phase": "first", "loss": 2.0**-t, "gradient_norm": 2.0 ** (-t / 2)} for t in range(1, 11)]
    >>> PLRatio().decide(History(rows)).swap
    True
    """

    minimum: float = 0.0
    window: int = 10
    slack: float = 0.1

    claim: ClassVar[Claim | None] = "E"
    hindsight: ClassVar[bool] = False

    def __post_init__(self) -> None:
        at_least("window", self.window, 2)
        if not 0 <= self.slack < 1:
            raise ValueError(f"slack={self.slack} was given; it must lie in [0, 1).")

    @property
    def requires(self) -> frozenset[str]:
        """Norm and loss."""
        return frozenset({"gradient_norm", "loss"})

    def decide(self, history: History) -> Decision:
        """Compare the two halves of the window."""
        signals = read(history, "gradient_norm", "loss", window=self.window)
        if isinstance(signals, Decision):
            return signals
        above = np.array(signals["loss"]) - self.minimum
        if not (above > 0).all():
            lowest = float(above.min()) + self.minimum
            return Decision(False, f"the loss {lowest:.4g} is not above minimum={self.minimum:g}: no ratio")
        ratios = np.square(signals["gradient_norm"]) / (2 * above)
        before, now = float(ratios[: self.window // 2].mean()), float(ratios[self.window // 2 :].mean())
        quotient = now / before if before > 0 else math.nan
        swap = now > 0 and quotient >= 1 - self.slack
        reason = (
            f"the ratio |g|^2 / 2(f - f*) went from {before:.4g} to {now:.4g} within {self.window} epochs, to "
            f"{quotient:.3g} of itself, {'not below' if swap else 'below'} {1 - self.slack:g}"
        )
        return Decision(swap, reason, quotient, {"before": before, "now": now})
