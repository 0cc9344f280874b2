"""A diagnosis on a terminal, in about fifteen lines."""

from __future__ import annotations

import math
import textwrap

from landscape.diagnosis.diagnosis import Diagnosis
from landscape.diagnosis.finding import Finding, Outlook
from landscape.status import Status

WIDTH = 100
_MARKS = {
    Outlook.FAVOURABLE: "+",
    Outlook.UNFAVOURABLE: "-",
    Outlook.NEUTRAL: " ",
    Outlook.UNDECIDED: "?",
    Outlook.NOT_MEASURED: ".",
}


def summary(diagnosis: Diagnosis) -> str:
    """The verdict, one line a finding, what was left out, and the cost."""
    lines = textwrap.wrap(diagnosis.headline, WIDTH, subsequent_indent="  ")
    lines += [_line(finding) for finding in diagnosis.findings if finding.is_measured]
    left_out = [finding.title for finding in diagnosis.not_measured]
    if left_out:
        lines += textwrap.wrap(f"Not measured: {'; '.join(left_out)}.", WIDTH, subsequent_indent="  ")
    for warning in diagnosis.warnings:
        lines += textwrap.wrap(f"! {warning}", WIDTH, subsequent_indent="  ")
    stopped = "" if diagnosis.status is Status.COMPLETED else f" {diagnosis.status}"
    lines.append(
        f"Level {diagnosis.level}: {diagnosis.gradient_equivalents:.1f} GE, {diagnosis.seconds:.1f} s.{stopped}"
    )
    return "\n".join(lines)


def _line(finding: Finding) -> str:
    claim = f"[{finding.claim}]" if finding.claim else ""
    return f"{_MARKS[finding.outlook]} {finding.title:<52.52} {claim:<5}{value_text(finding)}".rstrip()


def value_text(finding: Finding) -> str:
    """The value with its error or interval."""
    if finding.value is None:
        return ""
    text = f"{finding.value:.4g}"
    if finding.interval is not None and not all(math.isnan(end) for end in finding.interval):
        low, high = finding.interval
        text += f"  in [{low:.3g}, {high:.3g}]"
    elif finding.error is not None and not math.isnan(finding.error):
        text += f" +- {finding.error:.2g}"
    return f"{text} {finding.unit}".rstrip()
