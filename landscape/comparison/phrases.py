"""Numbers, names and reasons as comparisons tell them."""

from __future__ import annotations

import math
from textwrap import shorten

_LONGEST_REASON = 160


def regret_text(regret: float) -> str:
    """A relative regret for people: per cent, or from 1000 % on what the loss is a multiple of.

    Examples
    --------
    >>> regret_text(0.123), regret_text(0.004), regret_text(120.0), regret_text(math.inf)
    ('12 %', '0.4 %', '121 times the best', 'infinite')
    """
    if not math.isfinite(regret):
        return "not known" if math.isnan(regret) else "infinite"
    percent = 100 * regret
    if abs(percent) < 0.05:
        return "0 %"
    if percent >= 999.5:
        return f"{1 + regret:.3g} times the best"
    return f"{percent:.1f} %" if abs(percent) < 9.95 else f"{percent:.0f} %"


def short_regret(regret: float) -> str:
    """A regret in a table: per cent, from 1000 % on the loss as a multiple of the best.

    Examples
    --------
    >>> short_regret(0.123), short_regret(-0.5), short_regret(120.0), short_regret(math.inf), short_regret(math.nan)
    ('12 %', '-50 %', 'x121', 'inf', '-')
    """
    if math.isnan(regret):
        return "-"
    if math.isinf(regret):
        return "inf"
    percent = 100 * regret
    if percent >= 999.5:
        return f"x{1 + regret:.3g}" if regret < 999 else f"x{1 + regret:.0e}"
    return "0 %" if abs(percent) < 0.05 else f"{percent:.1f} %" if abs(percent) < 9.95 else f"{percent:.0f} %"


def epoch_text(epoch: float) -> str:
    """The median epoch of a swap.

    Examples
    --------
    >>> epoch_text(12.0), epoch_text(12.5), epoch_text(math.inf), epoch_text(math.nan)
    ('12', '12.5', 'never', '-')
    """
    if math.isnan(epoch):
        return "-"
    return "never" if math.isinf(epoch) else f"{epoch:g}"


def metric_name(name: str) -> str:
    """A value at the end, in words.

    Examples
    --------
    >>> metric_name("train_loss"), metric_name("validation_loss")
    ('training loss', 'validation loss')
    """
    return (f"training{name.removeprefix('train')}" if name.startswith("train_") else name).replace("_", " ")


def last_line(reason: str) -> str:
    r"""A reason in a sentence: of a traceback, the error at its end.

    Examples
    --------
    >>> last_line("Traceback (most recent call last):\n  File ...\nValueError: no.\n")
    'ValueError: no'
    """
    lines = [line.strip() for line in reason.splitlines() if line.strip()]
    return shorten(lines[-1].rstrip("."), _LONGEST_REASON, placeholder=" ...") if lines else ""
