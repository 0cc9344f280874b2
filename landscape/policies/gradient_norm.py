"""Policies that watch the norm of the gradient."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from landscape.policies.base import Decision, check_requirements
from landscape.tracking.columns import NORM_COLUMNS
from landscape.tracking.history import History, number_in


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
        Share of the peak below which the norm must fall, in (0, 1]. The paper uses 0.9.
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

    def __post_init__(self) -> None:
        if not 0 < self.factor <= 1:
            raise ValueError(f"factor={self.factor} was given; it must lie in (0, 1]. The paper uses 0.9.")
        if self.norm not in NORM_COLUMNS:
            raise ValueError(f"norm={self.norm!r} was given; it is one of {', '.join(map(repr, NORM_COLUMNS))}.")
        if self.min_epochs < 0:
            raise ValueError(f"min_epochs={self.min_epochs} was given; it must be 0 or more.")

    @property
    def requires(self) -> frozenset[str]:
        """The one norm that is watched."""
        return frozenset({NORM_COLUMNS[self.norm]})

    def decide(self, history: History) -> Decision:
        """Apply the rule to the rows since the last swap."""
        epochs, norms = self._series(history)
        if not norms:
            return Decision(False, f"no epoch counts yet (the rule starts at epoch {max(1, self.min_epochs)})")
        latest = norms[-1]
        if latest is None:
            return Decision(False, f"the {self.norm} gradient norm was not measured in epoch {epochs[-1]}")
        if math.isnan(latest):
            return Decision(False, f"the {self.norm} gradient norm of epoch {epochs[-1]} is NaN: the run has diverged")
        counted = _from_the_first_rise(epochs, norms, self.factor) if self.require_rise else _known(epochs, norms)
        if not counted:
            return Decision(False, f"the {self.norm} gradient norm has not risen yet since the phase began")
        peak, peak_epoch = max((norm, -epoch) for epoch, norm in counted)
        peak_epoch = -peak_epoch
        swap = not latest > peak * self.factor
        score = latest / peak if peak > 0 else math.nan
        reason = (
            f"{self.norm} gradient norm {latest:.4g} is {'at or below' if swap else 'above'} {self.factor:g} of its "
            f"peak {peak:.4g} (epoch {peak_epoch})"
        )
        return Decision(swap, reason, score, {"norm": latest, "peak": peak, "peak_epoch": peak_epoch})

    def _series(self, history: History) -> tuple[list[int], list[float | None]]:
        """Epochs that count and their norms."""
        (name,) = self.requires
        rows = [row for row in history.stretch() if row.get("epoch") != 0]
        if rows and not any(name in row for row in rows):
            check_requirements(self, history.columns(), "Record it, or choose another norm.")
        rows = rows[max(1, self.min_epochs) - 1 :]
        return [int(row["epoch"] or 0) for row in rows], [number_in(row, name) for row in rows]


def _known(epochs: list[int], norms: list[float | None]) -> list[tuple[int, float]]:
    return [(e, n) for e, n in zip(epochs, norms, strict=True) if n is not None and not math.isnan(n)]


def _from_the_first_rise(epochs: list[int], norms: list[float | None], factor: float) -> list[tuple[int, float]]:
    """The epochs from the first one whose norm stands out from the lowest before it as a peak must from its fall."""
    known = _known(epochs, norms)
    lowest = math.inf
    for index, (_, norm) in enumerate(known):
        if norm * factor > lowest:
            return known[index:]
        lowest = min(lowest, norm)
    return []
