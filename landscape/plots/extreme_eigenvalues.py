"""Smallest and largest eigenvalue of each model with the intervals that they are known to lie in."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from landscape.diagnosis.diagnosis import Diagnosis
from landscape.plots.axes import FONT_SIZE, finish, say_nothing_to_draw
from landscape.plots.diagnosed import (
    CURVATURE_WORDS,
    NEGATIVE,
    POSITIVE,
    Drawn,
    bare_figure,
    close_frame,
    drawn,
    set_signed_scale,
    signed,
)
from landscape.plots.palette import INK

if TYPE_CHECKING:
    from matplotlib.axes import Axes

#: Inches of a row, and the room for a model's name in rows.
_ROW, _HEAD = 0.34, 0.9
#: The two ends of a spectrum are told apart from 0 on a linear axis if they differ by less than this factor.
_SPAN = 10.0
_NAMES = {"lambda_min": "\N{GREEK SMALL LETTER LAMDA}min", "lambda_max": "\N{GREEK SMALL LETTER LAMDA}max"}


def plot_extreme_eigenvalues(diagnoses: Sequence[Diagnosis], ax: Axes | None = None) -> Axes:
    """Draw the ends of each model's spectrum, one row each, on a scale that all share.

    A thick line is the interval that the certificate gives, an arrow an end that is unknown; the mark is the Ritz value, and a
    small upright stroke the tolerance below which an eigenvalue counts as negative.

    Parameters
    ----------
    diagnoses : sequence of Diagnosis
        Of models or moments that can be compared.
    ax : Axes, optional
        Where to draw. Default: a figure of its own, as high as needed.

    Returns
    -------
    Axes

    Examples
    --------
    >>> plot_extreme_eigenvalues([]).texts[0].get_text()
    'no extreme eigenvalue was measured'
    """
    ends = {key: drawn(diagnoses, key) for key in _NAMES}
    models = [found for diagnosis in diagnoses if (found := _of(ends, diagnosis))]
    head = _HEAD if len(diagnoses) > 1 else 0.0
    height = sum(head + len(found) for found in models)
    axes = bare_figure(0.85 + _ROW * max(height, 2.0)).subplots() if ax is None else ax
    if not models:
        say_nothing_to_draw(axes, "no extreme eigenvalue was measured")
        finish(axes, [])
        return axes
    values = np.array([number for found in models for _, item in found for number in _numbers(item)])
    log = set_signed_scale(axes, "x", values, span=_SPAN, zero=False)
    _leave_room(axes, values, log=log)
    at, ticks = 0.0, []
    for found in models:
        if head:
            place = (0.0, at + head - 0.6)
            axes.annotate(
                found[0][1].name, place, xycoords=axes.get_yaxis_transform(), fontsize=FONT_SIZE, weight="bold"
            )
            at += head
        for key, item in found:
            _draw(axes, at, key, item)
            ticks.append((at, _NAMES[key]))
            at += 1.0
    axes.set_ylim(at - 0.5, -0.5)
    axes.set_yticks([place for place, _ in ticks], [name for _, name in ticks])
    axes.set_xlabel(f"eigenvalue of the Hessian\n({CURVATURE_WORDS}{', signed log scale' if log else ''})")
    finish(axes, [])
    axes.grid(visible=False, axis="y")
    close_frame(axes)
    return axes


def _of(ends: dict[str, list[Drawn]], diagnosis: Diagnosis) -> list[tuple[str, Drawn]]:
    return [(key, item) for key, items in ends.items() for item in items if item.diagnosis is diagnosis]


def _numbers(item: Drawn) -> list[float]:
    """All that has a place on the axis, tolerances aside."""
    given = [item.finding.value, *(item.finding.interval or ())]
    return [number for number in given if number is not None and math.isfinite(number)]


def _leave_room(axes: Axes, values: np.ndarray, *, log: bool) -> None:
    """Margins on both sides; on a logarithmic axis half a power of ten."""
    if not len(values):
        axes.set_xlim(-1.0, 1.0)
        return
    low, high = min(float(values.min()), 0.0), max(float(values.max()), 0.0)
    extent = (high - low) or 1.0
    if log:
        axes.set_xlim(low * 4.0 if low < 0 else -0.3 * float(np.abs(values[values != 0]).min()), high * 4.0)
    else:
        axes.set_xlim(low - 0.12 * extent, high + 0.12 * extent)


def _draw(axes: Axes, at: float, key: str, item: Drawn) -> None:
    """One row: interval, mark, tolerance, and the numbers beside it."""
    finding = item.finding
    value = math.nan if finding.value is None else finding.value
    color = NEGATIVE if value < 0 else POSITIVE
    marker = "v" if key == "lambda_min" else "^"
    left, right = axes.get_xlim()
    axes.axhline(at, color=INK, alpha=0.12, linewidth=0.6, zorder=0)
    axes.plot([0.0, 0.0], [at - 0.42, at + 0.42], color=INK, linewidth=0.8, alpha=0.7, zorder=1)
    if finding.interval is not None and not any(math.isnan(end) for end in finding.interval):
        low, high = finding.interval
        axes.plot(
            [max(low, left), min(high, right)], [at, at], color=color, linewidth=4.5, alpha=0.45, solid_capstyle="butt"
        )
        for end, edge, arrow in ((low, left, "<"), (high, right, ">")):
            if math.isinf(end):
                axes.plot([edge], [at], marker=arrow, color=color, markersize=6, clip_on=False)
            else:
                axes.plot([end], [at], marker="|", color=color, markersize=9, markeredgewidth=1.4)
    if key == "lambda_min" and finding.threshold is not None and math.isfinite(finding.threshold):
        axes.plot([finding.threshold], [at], marker="|", color=INK, markersize=13, markeredgewidth=0.8, alpha=0.7)
    if math.isfinite(value):
        axes.plot([value], [at], marker=marker, color=color, markersize=6, linestyle="none", label=item.name, zorder=4)
    axes.annotate(
        _words(value, finding.interval),
        (1.0, at),
        xycoords=axes.get_yaxis_transform(),
        xytext=(6, 0),
        textcoords="offset points",
        va="center",
        fontsize=FONT_SIZE - 1,
    )


def _words(value: float, interval: tuple[float, float] | None) -> str:
    text = signed(value, 4)
    return text if interval is None else f"{text}\nin [{signed(interval[0], 4)}, {signed(interval[1], 4)}]"
