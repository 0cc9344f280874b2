"""The peak of the gradient norm, in the metric of the optimiser that walks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from landscape.policies.base import Claim, Decision
from landscape.policies.gradient_norm import check_factor
from landscape.policies.peak import judge_peak
from landscape.policies.signals import read
from landscape.tracking.history import History


@dataclass(frozen=True)
class DualNormPeak:
    r"""Swap once the gradient's norm in Adam's own metric has fallen below a share of its maximum so far.

    The rule of :class:`~landscape.policies.gradient_norm.GradientNormPeak` on :math:`n_t = \sqrt{g^\top P g}` with
    Adam's preconditioner :math:`P = 1/(\sqrt v + \epsilon)`.

    Parameters
    ----------
    factor : float
        Share of the peak below which the norm must fall, in (0, 1]; with 1, strictly below the peak. 0.9 as in the
        paper's rule on the plain norm.
    require_rise : bool
        Leave out the initial fall, as there.

    Notes
    -----
    While P stands still, Adam without momentum follows :math:`\dot x = -Pg`, along which
    :math:`d(g^\top P g)/dt = -2\,(Pg)^\top H (Pg)`: the peak of this norm is the change of sign of the curvature along
    Adam's own direction, as the peak of the plain norm is that along the gradient for gradient descent. For Adam the plain
    norm follows :math:`g^\top H P g`, which is no curvature. Claim B, one direction.

    Weaknesses: P drifts, most of all in the first epochs; momentum; noise in g. Costs nothing where the full-data gradient is
    known.

    References
    ----------
    The identity is our own two lines; the rule is Algorithm 1 of Hrycej et al. (2025), arXiv:2510.25366. The
    preconditioner: Kingma, Ba (2015), arXiv:1412.6980.

    Examples
    --------
    >>> rows = [{"epoch": t, "phase": "first", "gradient_norm_adam": n} for t, n in enumerate([1.0, 2.0, 1.5], 1)]
    >>> DualNormPeak().decide(History(rows)).swap
    True
    """

    factor: float = 0.9
    require_rise: bool = False

    claim: ClassVar[Claim | None] = "B"
    hindsight: ClassVar[bool] = False

    def __post_init__(self) -> None:
        check_factor(self.factor)

    @property
    def requires(self) -> frozenset[str]:
        """The norm in Adam's metric."""
        return frozenset({"gradient_norm_adam"})

    def decide(self, history: History) -> Decision:
        """Apply the rule to the rows since the last swap."""
        signals = read(history, "gradient_norm_adam")
        if isinstance(signals, Decision):
            return signals
        norms = signals["gradient_norm_adam"]
        return judge_peak(
            "dual gradient norm sqrt(g'Pg)", signals.epochs, norms, self.factor, require_rise=self.require_rise
        )
