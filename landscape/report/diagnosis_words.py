"""The numbers of a finding as a page prints them."""

from __future__ import annotations

import math
import re

from landscape.diagnosis.finding import Finding


def figure(value: float, digits: int = 4) -> str:
    """A number with its sign as a minus, not a hyphen; what is not finite is said.

    Examples
    --------
    >>> figure(-0.01234), figure(float("nan")), figure(float("inf"))
    ('−0.01234', 'NaN', 'infinity')
    """
    if math.isnan(value):
        return "NaN"
    text = "infinity" if math.isinf(value) else f"{abs(value):.{digits}g}".replace("-", "\N{MINUS SIGN}")
    return f"\N{MINUS SIGN}{text}" if value < 0 else text


def typographic_minus(text: str) -> str:
    """Signs of numbers as minus signs, at which no line is broken; other dashes stay.

    Examples
    --------
    >>> typographic_minus("from -0.5 to 1e-06, full-batch")
    'from −0.5 to 1e−06, full-batch'
    """
    return re.sub(r"(?<![\w.\]])-(?=\d|infinity)|(?<=\de)-(?=\d)", "\N{MINUS SIGN}", text)


def value_words(finding: Finding) -> str:
    """The value with its error."""
    if finding.value is None:
        return ""
    text = figure(finding.value)
    if finding.error is None or finding.interval is not None:
        return text
    return f"{text} \N{PLUS-MINUS SIGN} {figure(finding.error, 2)}"


def interval_words(finding: Finding) -> str:
    """The interval; empty where there is none."""
    if finding.interval is None:
        return ""
    low, high = finding.interval
    return f"in [{figure(low)}, {figure(high)}]"


def threshold_words(finding: Finding) -> str:
    """What the value is compared with."""
    if finding.threshold is None:
        return finding.threshold_text
    number, text = figure(finding.threshold, 3), finding.threshold_text
    if number.lstrip("\N{MINUS SIGN}") in text:  # told already
        return text
    return f"{text} {number}".lstrip() if text.rsplit(" ", 1)[-1] in _TAKES_A_NUMBER else f"{text} ({number})"


#: Last words of a threshold's description that its number follows without a bracket.
_TAKES_A_NUMBER = ("", "below", "above", "from", "to", "at")


def unit_words(unit: str) -> str:
    """A unit as it is printed."""
    return unit.replace("^2", "\N{SUPERSCRIPT TWO}").replace("/", " / ")
