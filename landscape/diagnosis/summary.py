"""A diagnosis on a terminal, in about fifteen lines."""

from __future__ import annotations

import math
import textwrap

from landscape.diagnosis.diagnosis import Diagnosis
from landscape.diagnosis.finding import Finding, Outlook
from landscape.status import Status

WIDTH = 100
_TITLE = 48
_MARKS = {
    Outlook.FAVOURABLE: "+",
    Outlook.UNFAVOURABLE: "-",
    Outlook.NEUTRAL: " ",
    Outlook.UNDECIDED: "?",
    Outlook.NOT_MEASURED: ".",
}


def summary(diagnosis: Diagnosis) -> str:
    """The verdict, one line a finding, what was left out and why, and the cost; no line is longer than ``WIDTH``."""
    lines = _wrapped(diagnosis.headline)
    lines += [_line(finding) for finding in diagnosis.findings if finding.is_measured]
    for reason, titles in _left_out(diagnosis).items():
        lines += _wrapped(f"Not measured ({reason}): {'; '.join(titles)}.")
    for warning in diagnosis.warnings:
        lines += _wrapped(f"! {warning}")
    stopped = "" if diagnosis.status is Status.COMPLETED else f" {diagnosis.status}"
    cost = f"{diagnosis.gradient_equivalents:.1f} gradient equivalents, {diagnosis.seconds:.1f} s"
    marks = "+ for, - against, ? undecided; [A] [A'] [B]: which claim of convexity"
    lines += _wrapped(f"Level {diagnosis.level}: {cost}.{stopped} {marks}.")
    return "\n".join(lines)


def mark(finding: Finding) -> str:
    """One letter for its outlook."""
    return _MARKS[finding.outlook]


def value_text(finding: Finding) -> str:
    """The value with its error or interval, and its unit."""
    text = short_value(finding)
    if finding.value is None:
        return text
    if finding.interval is not None and not all(math.isnan(end) for end in finding.interval):
        low, high = finding.interval
        text += f"  in [{low:.3g}, {high:.3g}]"
    elif finding.error is not None and not math.isnan(finding.error):
        text += f" +- {finding.error:.2g}"
    return f"{text} {finding.unit}".rstrip()


def short_value(finding: Finding) -> str:
    """The value alone; empty where there is none.

    Examples
    --------
    >>> short_value(Finding("a", "A", "", Outlook.NEUTRAL, "", value=0.12345))
    '0.1235'
    """
    return "" if finding.value is None else f"{finding.value:.4g}"


def _line(finding: Finding) -> str:
    claim = f"[{finding.claim}]" if finding.claim else ""
    title = finding.title if len(finding.title) <= _TITLE else f"{finding.title[: _TITLE - 3]}..."
    line = f"{mark(finding)} {title:<{_TITLE}} {claim:<5}{value_text(finding)}".rstrip()
    return line if len(line) <= WIDTH else line.removesuffix(f" {finding.unit}")[:WIDTH]


def _left_out(diagnosis: Diagnosis) -> dict[str, list[str]]:
    """Titles by the reason why they were not measured, without its full stop."""
    reasons: dict[str, list[str]] = {}
    for finding in diagnosis.not_measured:
        reason = (finding.status or finding.meaning).split(". ")[0].rstrip(".")
        reasons.setdefault(f"{reason[:1].lower()}{reason[1:]}", []).append(finding.title)
    return reasons


def _wrapped(text: str) -> list[str]:
    return textwrap.wrap(text, WIDTH, subsequent_indent="  ")
