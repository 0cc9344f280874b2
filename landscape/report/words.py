"""Numbers as people read them; what is missing, NaN or infinite is always said."""

from __future__ import annotations

import math
import re

NOT_MEASURED = "not measured"


def number(value: float | None) -> str:
    """Four significant digits.

    Examples
    --------
    >>> number(0.0615869), number(None), number(float("nan")), number(-float("inf"))
    ('0.06159', 'not measured', 'NaN', '-infinity')
    """
    if value is None:
        return NOT_MEASURED
    if not math.isfinite(value):
        return _nonfinite(value)
    return f"{value:.4g}"


def amount(value: float | None) -> str:
    """Three significant digits, or all digits before the point: for work, counts and gains.

    Examples
    --------
    >>> amount(84.0), amount(1.3508), amount(2999.6667)
    ('84', '1.35', '3,000')
    """
    if value is None:
        return NOT_MEASURED
    if not math.isfinite(value):
        return _nonfinite(value)
    if 0 < abs(value) < 1e-3:
        return f"{value:.2g}"
    return f"{value:,.0f}" if abs(value) >= 99.95 else f"{value:.3g}"


def percent(share: float | None) -> str:
    """A share of one as per cent.

    Examples
    --------
    >>> percent(0.97333)
    '97.3 %'
    """
    if share is None or not math.isfinite(share):
        return number(share)
    return f"{100 * share:.1f} %"


def metric(name: str, value: float | None) -> str:
    """A loss or metric by its name: accuracies are shares."""
    return percent(value) if name.endswith("accuracy") else number(value)


def metric_name(name: str) -> str:
    """The name of an evaluated quantity for people.

    Examples
    --------
    >>> metric_name("train_loss"), metric_name("validation_top_5")
    ('training loss', 'validation top 5')
    """
    name = f"training{name.removeprefix('train')}" if name.startswith("train_") else name
    return name.replace("_", " ")


def epochs(first: int, last: int) -> str:
    """A range of epochs.

    Examples
    --------
    >>> epochs(1, 3), epochs(4, 4)
    ('epochs 1 to 3', 'epoch 4')
    """
    return f"epoch {first}" if first == last else f"epochs {first} to {last}"


def count(how_many: int, what: str) -> str:
    """A number of things.

    Examples
    --------
    >>> count(1, "epoch"), count(12, "epoch")
    ('1 epoch', '12 epochs')
    """
    return f"{how_many:,} {what}{'' if how_many == 1 else 's'}"


def unbroken(text: str) -> str:
    r"""Keep numbers and their units on one line.

    Examples
    --------
    >>> unbroken("97.3 % after 84 GE") == "97.3\N{NO-BREAK SPACE}% after 84\N{NO-BREAK SPACE}GE"
    True
    """
    return re.sub(r"(?<=\d) (?=GE\b|%)", "\N{NO-BREAK SPACE}", text)


def _nonfinite(value: float) -> str:
    return "NaN" if math.isnan(value) else ("infinity" if value > 0 else "-infinity")
