"""Numbers as the sentences of this package write them."""

from __future__ import annotations

import math


def p_text(p_value: float) -> str:
    """A p-value as it is printed: ``p = .031``, ``p < .001``, ``p = 1``, ``p unknown``.

    Two digits; three where two would not tell on which side of .05 it is.
    """
    if math.isnan(p_value):
        return "p unknown"
    if p_value < 0.001:
        return "p < .001"
    shown = f"{p_value:.2g}"
    if float(shown) == 0.05 and p_value != 0.05:
        shown = f"{p_value:.3g}"
    return f"p = {shown.removeprefix('0')}"


def counted(number: int, noun: str) -> str:
    """``1 seed``, ``3 seeds``."""
    return f"{number} {noun}{'' if number == 1 else 's'}"


def change_text(log2_ratio: float) -> str:
    """A log2 ratio of losses in words: ``better by 23 %``, ``worse by a factor of 3.1``."""
    if log2_ratio == 0:
        return "the same"
    if abs(log2_ratio) > 1000:  # an arm that diverged, or reached 0
        return f"{'better' if log2_ratio < 0 else 'worse'} without bound"
    if log2_ratio < 0:
        return f"better by {_percent(100 * (1 - 2.0**log2_ratio))}"
    if log2_ratio < 1:
        return f"worse by {_percent(100 * (2.0**log2_ratio - 1))}"
    factor = 2.0**log2_ratio
    return f"worse by a factor of {factor:{'.2g' if factor < 99.5 else '.0f' if factor < 1e6 else '.0e'}}"


def _percent(percent: float) -> str:
    """Whole percents where there are any; 99.97 is not told as 100."""
    if 1 <= percent < 99:
        return f"{percent:.0f} %"
    if percent >= 99:
        return f"{math.floor(100 * percent) / 100:g} %"
    return f"{percent:.2g} %"
