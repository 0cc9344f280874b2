"""The seed paper's policy: the gradient norm is past its peak."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

from landscape.policies.base import Claim, Decision, check_requirements
from landscape.policies.peak import judge_peak
from landscape.policies.settings import one_of
from landscape.policies.signals import epochs_of
from landscape.tracking.columns import NORM_COLUMNS
from landscape.tracking.history import History, number_in


def check_factor(factor: float) -> None:
    """Refuse a share of the peak outside (0, 1]."""
    if not 0 < factor <= 1:
        raise ValueError(f"factor={factor} was given; it must lie in (0, 1]. The paper uses 0.9.")


@dataclass(frozen=True)
class GradientNormPeak:
    r"""Swap once the gradient norm has fallen below a share of its maximum so far: the seed paper's rule.

    After every epoch t of the first phase, with the norm :math:`n_t`,

    .. math:: \text{swap} \iff \neg\,(n_t > \text{factor} \cdot \max_{s \le t} n_s).

    The defaults are Algorithm 1 of the paper to the letter. Taken so, the rule tends to fire at the first epoch it
    can, since the norm is often largest at the random start; ``min_epochs=2`` with ``norm="mean_batch"``, or
    ``require_rise=True``, wait for the rise and fall that the paper describes.

    Parameters
    ----------
    factor : float
        Share of the peak below which the norm must fall, in (0, 1]. The paper uses 0.9. With 1, the norm must be
        strictly below its maximum: see Notes.
    min_epochs : int
        The rule starts at this epoch of the phase: earlier norms neither fire nor count for the maximum.
    norm : {"full", "mean_batch", "batch_mean"}
        Which norm: of the full-data gradient at the epoch's end (1 GE per epoch), the mean of the mini-batch
        gradients' norms (free), or the norm of their mean (free). The paper does not say.
    require_rise : bool
        Leave out the initial fall: the maximum counts from the first epoch whose norm, times ``factor``, exceeds the
        lowest norm before it.

    Notes
    -----
    What it tests is the sign of the curvature along the gradient, and only under gradient flow, where
    :math:`d\|g\|^2/dL = 2\, g^\top H g / \|g\|^2`; it says nothing about the smallest eigenvalue. A NaN norm never
    fires. After a swap back the rule starts afresh.

    The letter of the rule, with a factor of 1, holds at every new maximum and so at the first epoch. A peak shows one
    epoch later at the earliest: with ``factor=1`` the rule fires where :math:`n_t < \max_{s \le t} n_s`, which on a
    series that rises and then falls is the first epoch after the maximum, one step from the change of sign of
    :math:`g^\top H g`. Factors below 1 are not touched by this.

    References
    ----------
    Hrycej, Bermeitinger, Pavone, Wiegand, Handschuh (2025), A Convexity-dependent Two-Phase Training Algorithm for
    Deep Neural Networks, KDIR 2025, Algorithm 1. arXiv:2510.25366.

    Examples
    --------
    >>> rows = [{"epoch": t, "phase": "first", "gradient_norm": n} for t, n in enumerate([9.0, 1.0, 2.0, 1.5])]
    >>> GradientNormPeak(factor=0.9).decide(History(rows)).swap
    True
    >>> GradientNormPeak(factor=0.9).decide(History(rows[:3])).swap
    False
    """

    factor: float = 0.9
    min_epochs: int = 0
    norm: Literal["full", "mean_batch", "batch_mean"] = "full"
    require_rise: bool = False

    claim: ClassVar[Claim | None] = "B"
    hindsight: ClassVar[bool] = False

    def __post_init__(self) -> None:
        check_factor(self.factor)
        one_of("norm", self.norm, NORM_COLUMNS)
        if self.min_epochs < 0:
            raise ValueError(f"min_epochs={self.min_epochs} was given; it must be 0 or more.")

    @property
    def requires(self) -> frozenset[str]:
        """The one norm that is watched."""
        return frozenset({NORM_COLUMNS[self.norm]})

    def decide(self, history: History) -> Decision:
        """Apply the rule to the rows since the last swap."""
        (name,) = self.requires
        rows = epochs_of(history)
        if rows and not any(name in row for row in rows):
            check_requirements(self, history.columns(), "Record it, or choose another norm.")
        rows = rows[max(1, self.min_epochs) - 1 :]
        if not rows:
            return Decision(False, f"no epoch counts yet (the rule starts at epoch {max(1, self.min_epochs)})")
        epochs = [int(row.get("epoch") or 0) for row in rows]
        norms = [number_in(row, name) for row in rows]
        return judge_peak(f"{self.norm} gradient norm", epochs, norms, self.factor, require_rise=self.require_rise)
