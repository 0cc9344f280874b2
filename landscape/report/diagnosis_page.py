"""The page of a diagnosis, or of several side by side: one HTML file that stands alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from landscape.diagnosis.diagnosis import Diagnosis
from landscape.diagnosis.finding import CLAIMS, Finding, Outlook
from landscape.report.diagnosis_figures import figures_of
from landscape.report.diagnosis_words import (
    figure,
    interval_words,
    threshold_words,
    typographic_minus,
    unit_words,
    value_words,
)
from landscape.report.page import commands, template_environment
from landscape.report.words import NOT_MEASURED, amount
from landscape.status import Status
from landscape.tracking.history import History

TEMPLATE = "diagnosis.html.j2"

#: Class, sign and word of each outlook: shape and word tell it without colour.
MARKS: Mapping[Outlook, tuple[str, str, str]] = {
    Outlook.FAVOURABLE: ("for", "+", "favourable"),
    Outlook.UNFAVOURABLE: ("against", "\N{MINUS SIGN}", "unfavourable"),
    Outlook.NEUTRAL: ("neutral", "\N{MIDDLE DOT}", "neutral"),
    Outlook.UNDECIDED: ("undecided", "?", "undecided"),
    Outlook.NOT_MEASURED: ("missing", "\N{EN DASH}", "not measured"),
}
#: Words of the glossary besides claims and outlooks.
GLOSSARY: Mapping[str, str] = {
    "lambda_min, lambda_max": (
        "The smallest and the largest eigenvalue of the Hessian, the matrix of second derivatives of the loss. The loss is "
        "convex at a point exactly if lambda_min is not negative there."
    ),
    "ABOVE": (
        "Verdict: no eigenvalue is below the tolerance, a small negative share of lambda_max, except with the probability "
        "that is given. It comes from the random start of Lanczos' method, not from the data."
    ),
    "NEGATIVE": (
        "Verdict: a direction of negative curvature was found and measured. No probability is involved, and the loss over "
        "these data is not convex here."
    ),
    "UNDECIDED": "Verdict: neither could be shown with the work that was allowed. It does not lean to either side.",
    "interval": (
        "The quantity lies in between. For lambda_min the upper end holds for certain, the lower one except with the "
        "probability that is given; elsewhere it is a confidence interval."
    ),
    "\N{PLUS-MINUS SIGN}": (
        "One standard error, over samples or random vectors; for eigenvalues the residual norm or the error of products."
    ),
    "Ritz value": "An estimate of an eigenvalue by Lanczos' method; never outside the spectrum, up to rounding.",
    "residual": "Some eigenvalue lies within the residual norm of a Ritz value; which one is not promised.",
    "trace": "The sum of all eigenvalues, estimated from products with random vectors of signs.",
    "GE": (
        "Gradient equivalent: the work of one gradient over all data. A forward pass counts 1/3 GE, a Hessian-vector "
        "product 2 GE."
    ),
    "second phase": "A deterministic optimiser on all data, such as conjugate gradients, that takes over after mini-batches.",
}


def diagnosis_html(diagnoses: Sequence[Diagnosis], history: History | None = None) -> str:
    """Write the page of one diagnosis, or of several models or moments side by side.

    Parameters
    ----------
    diagnoses : sequence of Diagnosis
        At least one. Figures of several share their scales.
    history : History, optional
        Of the run that they all come from. Default: each one's own, where it has one.

    Returns
    -------
    str
        A page without scripts and without links to anything outside it. Every text in the diagnoses is escaped.

    Raises
    ------
    ValueError
        If no diagnosis is given.

    Examples
    --------
    >>> from landscape.diagnosis.diagnose import diagnose
    >>> from landscape.testing import logistic_regression
    >>> page = diagnosis_html([diagnose(logistic_regression().problem, level="quick")])
    >>> page[:15], "<script" in page
    ('<!DOCTYPE html>', False)
    """
    chosen = tuple(diagnoses)
    if not chosen:
        raise ValueError("no diagnosis was given; a page needs one or more: diagnosis_html([diagnosis]).")
    names = _names(chosen)
    environment = template_environment()
    environment.filters["prose"] = lambda text: commands(typographic_minus(text))
    text = environment.get_template(TEMPLATE).render(
        title=names[0] if len(chosen) == 1 else f"{len(chosen)} diagnoses: {', '.join(names)}",
        models=[_model(diagnosis, name) for diagnosis, name in zip(chosen, names, strict=True)],
        sides=_side_by_side(chosen),
        left_out=_left_out(chosen, names),
        sections=figures_of(chosen, names, history),
        layers=_layers(chosen, names),
        costs=_costs(chosen),
        provenance=_provenance(chosen, names),
        claims={letter: (claim_id(letter), words) for letter, words in CLAIMS.items()},
        outlooks=[(*mark, str(outlook)) for outlook, mark in MARKS.items()],
        glossary=GLOSSARY,
    )
    # Text from outside may hold what is no character, such as a file name's stray bytes.
    return text.encode(errors="backslashreplace").decode()


def claim_id(letter: str) -> str:
    """Where the glossary explains a claim; empty for what is none.

    Examples
    --------
    >>> claim_id("A'"), claim_id("none")
    ('claim-A-approximate', '')
    """
    return f"claim-{letter.replace(chr(39), '-approximate')}" if letter in CLAIMS else ""


def _names(diagnoses: Sequence[Diagnosis]) -> list[str]:
    """Names that differ: a number is added to those that come again."""
    names: list[str] = []
    for diagnosis in diagnoses:
        name, number = diagnosis.name, 2
        while name in names:
            name, number = f"{diagnosis.name} ({number})", number + 1
        names.append(name)
    return names


def _model(diagnosis: Diagnosis, name: str) -> dict[str, Any]:
    headline, _, advice = diagnosis.headline.partition(". ")
    headline = f"{headline}." if advice else headline
    return {
        "name": name,
        "headline": headline,
        "advice": advice,
        "verdict": None if diagnosis.verdict is None else diagnosis.verdict.name,
        "level": diagnosis.level,
        "status": str(diagnosis.status),
        "spent": _cost(diagnosis.gradient_equivalents, diagnosis.seconds),
        "findings": [_row(finding) for finding in diagnosis.findings if finding.is_measured],
        "conditions": [c for finding in diagnosis.findings for c in finding.details.get("conditions", ())],
        "warnings": diagnosis.warnings,
    }


def _row(finding: Finding) -> dict[str, Any]:
    return {
        "title": finding.title,
        "claim": finding.claim,
        "claim_id": claim_id(finding.claim),
        "value": value_words(finding),
        "interval": interval_words(finding),
        "unit": "" if finding.value is None else unit_words(finding.unit),
        "threshold": threshold_words(finding),
        "mark": MARKS[finding.outlook],
        "meaning": finding.meaning,
        "next_step": finding.next_step,
        "status": "" if finding.status == str(Status.COMPLETED) else finding.status,
    }


def _side_by_side(diagnoses: Sequence[Diagnosis]) -> list[dict[str, Any]]:
    """One row a finding, one cell a diagnosis; findings that nobody measured are left out."""
    rows = []
    for key in _keys(diagnoses):
        cells = [_find(diagnosis, key) for diagnosis in diagnoses]
        measured = [finding for finding in cells if finding is not None and finding.is_measured]
        if not measured:
            continue
        first = measured[0]
        rows.append(
            {
                "title": first.title,
                "claim": first.claim,
                "claim_id": claim_id(first.claim),
                "unit": next((unit_words(finding.unit) for finding in measured if finding.value is not None), ""),
                "cells": [_cell(finding) for finding in cells],
            }
        )
    return rows


def _cell(finding: Finding | None) -> dict[str, Any]:
    if finding is None or not finding.is_measured:
        return {"mark": MARKS[Outlook.NOT_MEASURED], "value": NOT_MEASURED, "interval": ""}
    return {"mark": MARKS[finding.outlook], "value": value_words(finding), "interval": interval_words(finding)}


def _left_out(diagnoses: Sequence[Diagnosis], names: Sequence[str]) -> list[dict[str, str]]:
    """What was not measured; models that share the reason are one row."""
    found: dict[tuple[str, str, str], list[str]] = {}
    for diagnosis, name in zip(diagnoses, names, strict=True):
        for finding in diagnosis.not_measured:
            reason = finding.status or finding.meaning
            found.setdefault((finding.title, reason, finding.next_step), []).append(name)
    return [
        {"title": title, "reason": reason, "next_step": step, "models": ", ".join(models)}
        for (title, reason, step), models in found.items()
    ]


def _layers(diagnoses: Sequence[Diagnosis], names: Sequence[str]) -> list[dict[str, Any]]:
    """The table of layers of each model that has one."""
    tables = []
    for diagnosis, name in zip(diagnoses, names, strict=True):
        finding = _find(diagnosis, "layers") or _find(diagnosis, "stationarity")
        rows = () if finding is None else finding.details.get("rows", finding.details.get("per_layer", ()))
        if rows:
            columns = [column for column in LAYER_COLUMNS if any(row.get(column) is not None for row in rows)]
            body = [[_layer_cell(row, column) for column in columns] for row in rows]
            heads = [LAYER_COLUMNS[column] for column in columns]
            tables.append(
                {"model": name, "heads": heads, "rows": [(r["name"], c) for r, c in zip(rows, body, strict=True)]}
            )
    return tables


#: Columns of the table of layers, and their heads.
LAYER_COLUMNS: Mapping[str, str] = {
    "num_params": "parameters",
    "parameter_norm": "norm",
    "gradient_norm": "gradient norm",
    "trace": "trace",
    "lambda_min": "lambda_min",
    "lambda_max": "lambda_max",
}


def _layer_cell(row: Mapping[str, Any], column: str) -> str:
    value = row.get(column)
    if value is None:
        return NOT_MEASURED
    if column == "num_params":
        return f"{value:,}"
    error = row.get(f"{column}_standard_error")
    text = figure(float(value), 3)
    return text if error is None else f"{text} \N{PLUS-MINUS SIGN} {figure(float(error), 2)}"


def _costs(diagnoses: Sequence[Diagnosis]) -> dict[str, Any]:
    """What each finding cost, and all of them beside the estimate."""
    rows = []
    for key in _keys(diagnoses):
        cells = [_find(diagnosis, key) for diagnosis in diagnoses]
        if any(finding is not None and finding.is_measured for finding in cells):
            title = next(finding.title for finding in cells if finding is not None)
            rows.append((title, [_finding_cost(finding) for finding in cells]))
    return {
        "rows": rows,
        "total": [_cost(diagnosis.gradient_equivalents, diagnosis.seconds) for diagnosis in diagnoses],
        "estimate": [_cost(d.estimate.gradient_equivalents, d.estimate.seconds) for d in diagnoses],
        "budget": ["none" if d.budget is None else f"{amount(d.budget)} GE" for d in diagnoses],
        "status": [f"{diagnosis.status} ({diagnosis.status.name})" for diagnosis in diagnoses],
    }


def _finding_cost(finding: Finding | None) -> tuple[str, str]:
    if finding is None or not finding.is_measured:
        return (NOT_MEASURED, "")
    return _cost(finding.gradient_equivalents, finding.seconds)


def _cost(gradient_equivalents: float, seconds: float) -> tuple[str, str]:
    return f"{amount(gradient_equivalents)}\N{NO-BREAK SPACE}GE", f"{amount(seconds)}\N{NO-BREAK SPACE}s"


def _provenance(diagnoses: Sequence[Diagnosis], names: Sequence[str]) -> list[tuple[str, list[tuple[str, str]]]]:
    """Each fact once where all share it, else with the name of the model that it holds for."""
    facts = list(dict.fromkeys(fact for diagnosis in diagnoses for fact in diagnosis.provenance))
    found: list[tuple[str, list[tuple[str, str]]]] = []
    for fact in facts:
        told = [diagnosis.provenance.get(fact, "not known") for diagnosis in diagnoses]
        shared = len(set(told)) == 1
        found.append((fact, [("", told[0])] if shared else list(zip(names, told, strict=True))))
    return found


def _keys(diagnoses: Sequence[Diagnosis]) -> list[str]:
    """Every key once, in the order of the findings."""
    return list(dict.fromkeys(finding.key for diagnosis in diagnoses for finding in diagnosis.findings))


def _find(diagnosis: Diagnosis, key: str) -> Finding | None:
    return next((finding for finding in diagnosis.findings if finding.key == key), None)
