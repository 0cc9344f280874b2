"""Several diagnoses on a terminal, one column each."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence

from landscape.diagnosis.diagnosis import Diagnosis
from landscape.diagnosis.finding import Finding, Outlook
from landscape.diagnosis.summary import WIDTH
from landscape.status import Status

#: Before a value: what it says for a second phase.
MARKS: Mapping[Outlook, str] = {
    Outlook.FAVOURABLE: "+",
    Outlook.UNFAVOURABLE: "-",
    Outlook.NEUTRAL: " ",
    Outlook.UNDECIDED: "?",
    Outlook.NOT_MEASURED: ".",
}
_LEGEND = "Before a value: + favourable, - unfavourable, ? undecided; a dot: not measured."
_TITLE = 42
_COLUMN = 14
_PER_BLOCK = (WIDTH - _TITLE) // _COLUMN


def side_by_side(diagnoses: Sequence[Diagnosis]) -> str:
    """A table of at most 100 columns, further models below the first ones, then each one's verdict in words.

    Parameters
    ----------
    diagnoses : sequence of Diagnosis

    Examples
    --------
    >>> from landscape.diagnosis.diagnose import diagnose
    >>> from landscape.testing import logistic_regression
    >>> one = diagnose(logistic_regression().problem, level="quick", name="one")
    >>> print(side_by_side([one, one]).splitlines()[0])
                                                one           one
    """
    rows = _rows(diagnoses)
    lines: list[str] = []
    for start in range(0, len(diagnoses), _PER_BLOCK):
        block = diagnoses[start : start + _PER_BLOCK]
        lines += _header(block)
        lines += _row("Verdict", [_verdict(diagnosis) for diagnosis in block])
        for title, key in rows.items():
            lines += _row(title, [_cell(diagnosis.finding(key)) for diagnosis in block])
        lines.append("")
    lines += [_LEGEND, ""]
    for diagnosis in diagnoses:
        lines += _wrapped(f"{diagnosis.name}: {diagnosis.headline}")
    lines += _warnings(diagnoses)
    work = sum(diagnosis.gradient_equivalents for diagnosis in diagnoses)
    seconds = sum(diagnosis.seconds for diagnosis in diagnoses)
    ended = {diagnosis.status: str(diagnosis.status) for diagnosis in diagnoses}
    stopped = "".join(f" {sentence}" for status, sentence in ended.items() if status in _WORTH_TELLING)
    lines += ["", *_wrapped(f"Level {diagnoses[0].level}: {work:.1f} GE, {seconds:.1f} s together.{stopped}")]
    return "\n".join(lines)


_WORTH_TELLING = (Status.CUT_SHORT, Status.BUDGET_SPENT)


def _rows(diagnoses: Sequence[Diagnosis]) -> dict[str, str]:
    """Titles and keys of what has a value somewhere, in the order of the findings."""
    found: dict[str, str] = {}
    for diagnosis in diagnoses:
        for finding in diagnosis.findings:
            if any(other.finding(finding.key).is_measured for other in diagnoses):
                claim = f" [{finding.claim}]" if finding.claim else ""
                found.setdefault(f"{finding.title}{claim}", finding.key)
    return found


def _verdict(diagnosis: Diagnosis) -> str:
    return "  none" if diagnosis.verdict is None else f"  {diagnosis.verdict.name}"


def _cell(finding: Finding) -> str:
    if not finding.is_measured:
        return MARKS[Outlook.NOT_MEASURED]
    return f"{MARKS[finding.outlook]} {'' if finding.value is None else f'{finding.value:.4g}'}"


def _header(block: Sequence[Diagnosis]) -> list[str]:
    """Names over their columns, on as many lines as they need, the last line right above the column."""
    names = [textwrap.wrap(diagnosis.name, _COLUMN - 3) or [""] for diagnosis in block]
    height = max(map(len, names))
    padded = [[""] * (height - len(words)) + words for words in names]
    return [_line("", [f"  {words[index]}" for words in padded]) for index in range(height)]


def _row(title: str, cells: Sequence[str]) -> list[str]:
    first, *rest = textwrap.wrap(title, _TITLE - 2)
    return [_line(first, cells), *(f"  {more}" for more in rest)]


def _line(title: str, cells: Sequence[str]) -> str:
    return (f"{title:<{_TITLE}}" + "".join(f"{cell:<{_COLUMN}.{_COLUMN}}" for cell in cells)).rstrip()


def _warnings(diagnoses: Sequence[Diagnosis]) -> list[str]:
    """Each once, with the names of those that it is about."""
    found: dict[str, list[str]] = {}
    for diagnosis in diagnoses:
        for warning in diagnosis.warnings:
            found.setdefault(warning, []).append(diagnosis.name)
    lines = []
    for warning, names in found.items():
        whose = "" if len(names) == len(diagnoses) else f"{', '.join(names)}: "
        lines += _wrapped(f"! {whose}{warning}")
    return lines


def _wrapped(text: str) -> list[str]:
    return textwrap.wrap(text, WIDTH, subsequent_indent="  ")
