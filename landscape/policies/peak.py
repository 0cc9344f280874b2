"""The rule that a series has fallen below a share of its maximum, on any series."""

from __future__ import annotations

import math
from collections.abc import Sequence

from landscape.policies.base import Decision


def is_past(latest: float, peak: float, factor: float) -> bool:
    """Whether ``latest`` has fallen below ``factor`` of the peak.

    Algorithm 1 of the seed paper for a factor below 1. With a factor of 1 its test, not(n > 1.0 * max), holds at every new
    maximum too; a peak can be seen one step later at the earliest, so the series must then be strictly below its maximum.
    """
    return latest < peak if factor == 1 else not latest > peak * factor


def judge_peak(
    what: str, epochs: Sequence[int], values: Sequence[float | None], factor: float, *, require_rise: bool
) -> Decision:
    """Decide on a series whose last value must be there and be a number.

    Parameters
    ----------
    what : str
        The series in words, for the reason.
    epochs : sequence of int
        The epochs.
    values : sequence of float or None
        One value for each; None where it was not measured.
    factor : float
        Share of the peak below which the series must fall.
    require_rise : bool
        Leave out the initial fall.
    """
    latest = values[-1]
    if latest is None:
        return Decision(False, f"the {what} was not measured in epoch {epochs[-1]}")
    if not math.isfinite(latest):
        state = "NaN" if math.isnan(latest) else "infinite"
        return Decision(False, f"the {what} of epoch {epochs[-1]} is {state}: the run has diverged")
    known = [(e, v) for e, v in zip(epochs, values, strict=True) if v is not None and not math.isnan(v)]
    counted = from_the_first_rise(known, factor) if require_rise else known
    if not counted:
        return Decision(
            False,
            f"the {what} has not risen yet in the {len(known)} epochs since the phase began",
            evidence={"norm": latest},
        )
    peak, negative_epoch = max((value, -epoch) for epoch, value in counted)
    swap = is_past(latest, peak, factor)
    below, above = ("below", "at") if factor == 1 else ("at or below", "above")
    reason = (
        f"{what} {latest:.4g} is {below if swap else above} {factor:g} of its peak {peak:.4g} (epoch {-negative_epoch})"
    )
    score = latest / peak if peak > 0 else math.nan
    return Decision(swap, reason, score, {"norm": latest, "peak": peak, "peak_epoch": -negative_epoch})


def from_the_first_rise(known: Sequence[tuple[int, float]], factor: float) -> Sequence[tuple[int, float]]:
    """The epochs from the first one whose value stands out from the lowest before it as a peak must from its fall."""
    lowest = math.inf
    for index, (_, value) in enumerate(known):
        if value * factor > lowest:
            return known[index:]
        lowest = min(lowest, value)
    return []
