"""The report of a training run: one HTML page that stands alone, and the same facts as JSON."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from landscape.plots import figure_svg, plot_gradient_norm, plot_loss_against_cost
from landscape.plots.gradient_norm import NORM_WORDS, recorded_norm
from landscape.report.account import SegmentAccount, segment_accounts, spent_at
from landscape.report.page import page
from landscape.report.verdict import describe_run
from landscape.tracking.columns import describe_column
from landscape.tracking.history import History, from_json_value, json_value
from landscape.training.result import Swap, TrainingResult
from landscape.training.run_directory import RunDirectory

FORMAT = "landscape-training-report"
VERSION = 1
HTML_FILE, JSON_FILE = "report.html", "report.json"


class ReportFormatError(ValueError):
    """A document that is no report, or one of a newer version."""


def report_document(result: TrainingResult, *, title: str, provenance: Mapping[str, str]) -> dict[str, Any]:
    """Everything that a report tells, as plain data for strict JSON.

    Parameters
    ----------
    result : TrainingResult
        Of a run that ended in any way.
    title : str
        What was trained on what.
    provenance : mapping of str to str
        What somebody needs to repeat the run: versions, data, seeds.

    Returns
    -------
    dict
        Of dicts, lists, text, numbers and None. Floats that are not finite are the texts "NaN", "Infinity" and
        "-Infinity"; what was not measured is None.

    Examples
    --------
    >>> from landscape.status import Status
    >>> history = History([{"epoch": 0, "phase": "first", "loss": float("nan")}])
    >>> result = TrainingResult(history, (), (), Status.NONFINITE, {}, {})
    >>> document = report_document(result, title="mlp on digits", provenance={})
    >>> document["history"]["columns"]["loss"], document["status"]["name"]
    (['NaN'], 'NONFINITE')
    """
    verdict = describe_run(result)
    document = {
        "format": FORMAT,
        "version": VERSION,
        "title": title,
        "verdict": {"headline": verdict.headline, "sentences": verdict.sentences},
        "status": {"name": result.status.name, "sentence": str(result.status)},
        "swaps": [_swap(result, swap) for swap in result.swaps],
        "segments": [_segment(account) for account in segment_accounts(result)],
        "evaluations": [
            {
                "moment": item.moment,
                "epoch": item.epoch,
                "gradient_equivalents": spent_at(result.history, item.epoch),
                "values": dict(item.values),
            }
            for item in result.evaluations
        ],
        "cost": {
            purpose: {
                "gradient_equivalents": cost.gradient_equivalents,
                "forwards": cost.forwards,
                "gradients": cost.gradients,
                "hessian_products": cost.hessian_products,
                "samples": cost.samples,
            }
            for purpose, cost in result.cost.items()
        },
        "settings": dict(result.settings),
        "provenance": dict(provenance),
        "history": {
            "num_rows": len(result.history),
            "units": {n: column.unit for n in result.history.columns() if (column := describe_column(n)) is not None},
            "skipped": _skipped(result.history),
            "columns": {name: result.history.column(name) for name in result.history.columns()},
        },
    }
    plain: dict[str, Any] = _strict(document)
    return plain


def render_html(document: Mapping[str, Any]) -> str:
    """Write the page of a report, figures included, from its document alone.

    Parameters
    ----------
    document : mapping
        From :func:`report_document`, or read back from ``report.json``.

    Returns
    -------
    str
        A page without scripts and without links to anything outside it.

    Raises
    ------
    ReportFormatError
        If the document is no report of a training run, or comes from a newer version of landscape.
    """
    _check(document)
    history = read_history(document)
    norm = _watched_norm(history, str(document["settings"].get("policy", "")))
    loss_figure = plot_loss_against_cost(history).get_figure(root=True)
    norm_figure = plot_gradient_norm(history, norm=norm).get_figure(root=True)  # type: ignore[arg-type]
    return page(
        document,
        loss_figure=figure_svg(loss_figure, "Training loss against the work spent."),
        norm_figure=figure_svg(norm_figure, f"The {NORM_WORDS[norm]} against the training loss."),
        norm_words=NORM_WORDS[norm],
    )


def write_report(directory: RunDirectory, document: Mapping[str, Any]) -> Path:
    """Write ``report.json`` and ``report.html`` into the folder of a run, each of them whole or not at all.

    Parameters
    ----------
    directory : RunDirectory
        Where the run is kept.
    document : mapping
        From :func:`report_document`.

    Returns
    -------
    Path
        The page.

    Raises
    ------
    ReportFormatError
        If the document is no report of a training run.
    RunDirectoryError
        If the folder cannot be written.
    """
    # Text from outside may hold what is no character, such as a file name's stray bytes: written as \\udc80, in JSON too.
    content = render_html(document).encode(errors="backslashreplace")
    directory.write(JSON_FILE, to_json(document).encode(errors="backslashreplace"))
    directory.write(HTML_FILE, content)
    return directory.path / HTML_FILE


def to_json(document: Mapping[str, Any]) -> str:
    """Strict JSON with one part a line, and one column of the history a line."""
    parts = []
    for name, value in document.items():
        if name == "history":
            columns = (f"  {_line(key)}: {_line(column)}" for key, column in value["columns"].items())
            others = "".join(f" {_line(key)}: {_line(item)}," for key, item in value.items() if key != "columns")
            parts.append(f'"history": {{{others} "columns": {{\n' + ",\n".join(columns) + "\n }}")
        else:
            parts.append(f"{_line(name)}: {_line(value)}")
    return "{\n" + ",\n".join(parts) + "\n}\n"


def read_history(document: Mapping[str, Any]) -> History:
    """The history in a report's document, as it was recorded."""
    columns: Mapping[str, list[Any]] = document["history"]["columns"]
    skipped: Mapping[str, list[int]] = document["history"].get("skipped", {})  # older reports have none
    texts = {name for name in columns if (column := describe_column(name)) is not None and column.kind == "str"}
    rows: list[dict[str, Any]] = [{} for _ in range(document["history"]["num_rows"])]
    for name, values in columns.items():
        left_out = set(skipped.get(name, ()))
        for index, value in enumerate(values):
            if value is not None or index in left_out:
                rows[index][name] = value if name in texts else from_json_value(value)
    return History(rows)


def _skipped(history: History) -> dict[str, list[int]]:
    """For each column the rows in which it was due and left out."""
    found: dict[str, list[int]] = {}
    for index in range(len(history)):
        for name in history.skipped(index):
            found.setdefault(name, []).append(index)
    return found


def _check(document: Mapping[str, Any]) -> None:
    name, version = document.get("format"), document.get("version")
    if name != FORMAT or not isinstance(version, int):
        raise ReportFormatError(
            f"the document has the format {name!r}, version {version!r}; needed is {FORMAT!r}, as report_document(...) and "
            f"{JSON_FILE} have it."
        )
    if version > VERSION:
        raise ReportFormatError(
            f"the report has version {version} of the format; this landscape reads up to version {VERSION}. Update it."
        )


def _watched_norm(history: History, policy: str) -> str:
    """The norm that the run's policy watched, so that the figure shows what was decided on; else one that there is."""
    named = re.search(r"norm='(\w+)'", policy)
    watched = named.group(1) if named and named.group(1) in NORM_WORDS else None
    return recorded_norm(history, watched)


def _swap(result: TrainingResult, swap: Swap) -> dict[str, Any]:
    return {
        "epoch": swap.epoch,
        "gradient_equivalents": spent_at(result.history, swap.epoch),
        "to_phase": swap.to_phase,
        "reason": swap.reason,
        "score": swap.score,
        "evidence": dict(swap.evidence),
    }


def _segment(account: SegmentAccount) -> dict[str, Any]:
    segment = account.segment
    return {
        "phase": segment.phase,
        "first_epoch": segment.first_epoch,
        "last_epoch": segment.last_epoch,
        "loss_before": account.loss_before,
        "loss_before_kind": account.before,
        "loss_after": account.loss_after,
        "loss_after_kind": account.after,
        "gradient_equivalents": segment.gradient_equivalents,
        "probing_equivalents": segment.probing_equivalents,
        "halvings_per_100_equivalents": account.halvings_per_100,
    }


def _strict(value: Any) -> Any:
    """Plain data that strict JSON can hold."""
    if isinstance(value, Mapping):
        return {str(key): _strict(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_strict(item) for item in value]
    return json_value(value)


def _line(value: Any) -> str:
    return json.dumps(value, allow_nan=False, ensure_ascii=False)
