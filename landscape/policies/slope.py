"""How the squared gradient norm goes with the loss: the peak rule with an error bar."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np

from landscape.policies.base import Claim, Decision
from landscape.policies.settings import at_least, between, one_of
from landscape.policies.signals import read
from landscape.tracking.columns import NORM_COLUMNS
from landscape.tracking.history import History

_NORMS = {**NORM_COLUMNS, "adam": "gradient_norm_adam"}


@dataclass(frozen=True)
class GradientNormSlope:
    r"""Swap once the squared gradient norm falls with the loss, beyond the error of a regression.

    Over the last ``window`` measured epochs, :math:`\|g\|^2` is regressed on the loss L. The rule fires when the lower end of
    the slope's one-sided confidence interval is above 0.

    Parameters
    ----------
    window : int
        Epochs in the regression, at least 3. Our own choice.
    confidence : float
        One-sided level of the interval. Our own choice.
    norm : {"full", "mean_batch", "batch_mean", "adam"}
        Which norm, as in :class:`~landscape.policies.gradient_norm.GradientNormPeak`; "adam" is
        :math:`\sqrt{g^\top P g}`, the norm in Adam's metric.

    Notes
    -----
    Under gradient flow :math:`d\|g\|^2/dL = 2\,g^\top H g/g^\top g`, so half the slope estimates the curvature along the
    gradient; under preconditioned flow :math:`d(g^\top P g)/dL = 2\,(Pg)^\top H (Pg)/g^\top P g`. Unlike the peak rule this
    needs no peak in the past, and one noisy epoch does not fire it. Claim B, one direction.

    Weaknesses: exact only for gradient flow; noise and momentum tilt the slope; consecutive epochs are correlated, so the
    interval is narrower than its level says.

    References
    ----------
    Our own form of what Hrycej et al. (2025), arXiv:2510.25366, argue in words. Least squares and Student's t.

    Examples
    --------
    >>> curve = [(3.0, 5.0), (2.0, 4.1), (1.0, 2.9)]  # a norm that falls with the loss
    >>> rows = [{"epoch": t, "phase": "first", "loss": f, "gradient_norm": n**0.5} for t, (f, n) in enumerate(curve, 1)]
    >>> GradientNormSlope(window=3).decide(History(rows)).swap
    True
    """

    window: int = 10
    confidence: float = 0.95
    norm: Literal["full", "mean_batch", "batch_mean", "adam"] = "full"

    claim: ClassVar[Claim | None] = "B"
    hindsight: ClassVar[bool] = False

    def __post_init__(self) -> None:
        at_least("window", self.window, 3)
        between("confidence", self.confidence, 0.5, 1)
        one_of("norm", self.norm, _NORMS)

    @property
    def requires(self) -> frozenset[str]:
        """The norm and the loss."""
        return frozenset({_NORMS[self.norm], "loss"})

    def decide(self, history: History) -> Decision:
        """Regress over the last epochs."""
        signals = read(history, _NORMS[self.norm], "loss", window=self.window)
        if isinstance(signals, Decision):
            return signals
        slope, lower = slope_and_lower_end(
            np.array(signals["loss"]), np.square(signals[_NORMS[self.norm]]), self.confidence
        )
        if math.isnan(slope):
            return Decision(False, f"the loss did not move over the last {self.window} epochs, so there is no slope")
        swap = lower > 0
        reason = (
            f"the slope of the squared {self.norm} gradient norm on the loss over {self.window} epochs is {slope:.4g}, with "
            f"{self.confidence:g} confidence at least {lower:.4g}, {'above' if swap else 'not above'} 0"
        )
        return Decision(swap, reason, lower, {"slope": slope, "lower": lower, "curvature": slope / 2})


def slope_and_lower_end(x: np.ndarray, y: np.ndarray, confidence: float) -> tuple[float, float]:
    """Least-squares slope of y on x, and the lower end of its one-sided confidence interval; NaN if x is constant."""
    from scipy.stats import t

    dx, dy = x - x.mean(), y - y.mean()
    spread = float(dx @ dx)
    if spread == 0:
        return math.nan, math.nan
    slope = float(dx @ dy) / spread
    residual = dy - slope * dx
    error = math.sqrt(float(residual @ residual) / (len(x) - 2) / spread)
    return slope, slope - float(t.ppf(confidence, len(x) - 2)) * error
