"""The regret of each policy: how much more than the best fixed epoch it ends at, seed by seed."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from landscape.comparison.comparison import Comparison
from landscape.comparison.scores import BEST_FIXED, NEVER, PolicyScore, policy_scores, reference_scores
from landscape.plots.axes import LARGEST
from landscape.plots.compared import (
    CONTROL,
    FIXED,
    FONT_SIZE,
    GREY,
    POLICY,
    chosen_finisher,
    epochs_text,
    interval_words,
    names_width,
    swap_epochs,
)
from landscape.plots.compared import NEVER as NEVER_COLOR
from landscape.plots.diagnosed import plain_name
from landscape.plots.palette import INK
from landscape.plots.series import Array

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D

#: Inches: the figure, a row, what stands above and under the rows.
_WIDTH, _ROW, _ABOVE, _BELOW = 5.0, 0.155, 0.72, 0.5
#: Per cent: the regret that still counts as small, and where the axis turns from linear to logarithmic.
SMALL, _LINEAR = 10.0, 1.0


Role = Literal["policy", "reference"]


@dataclass(frozen=True)
class _Row:
    """A row: whose, what it is called, in which colour, how strong its words are, and when it swapped."""

    score: PolicyScore
    name: str
    color: str
    alpha: float
    epochs: str

    @classmethod
    def of(cls, score: PolicyScore, role: Role) -> _Row:
        """What never swapped is pale."""
        color = _color(score, role)
        epochs = "not asked" if score.verdict == "not asked" else epochs_text(swap_epochs(score))
        told = "" if score.name == NEVER else epochs
        return cls(score, plain_name(score.name, most=32), color, 0.65 if color == GREY else 1.0, told)


def plot_regret(comparison: Comparison, finisher: str | None = None) -> Figure:
    """Draw the regret of every policy: its median over seeds, the interval of that, and a dot for each seed.

    Regret is (loss - best) / best, where best is the least loss of the fixed epochs and never with the same seed. Lines mark
    never's median and 10 %. What never swapped is grey. The best fixed epoch and the controls stand among the policies in
    their own colours.

    Parameters
    ----------
    comparison : Comparison
    finisher : str, optional
        The second phase. Default: the first of the comparison.

    Returns
    -------
    Figure
        As high as the rows need. Unknown to pyplot.

    Raises
    ------
    ValueError
        If the comparison has no such finisher.
    """
    from matplotlib.figure import Figure

    finisher = chosen_finisher(comparison, finisher)
    rows = _rows(comparison, finisher)
    left = names_width([row.name for row in rows])
    right = names_width(["swaps after", *(row.epochs for row in rows)])
    height = _ABOVE + _ROW * len(rows) + _BELOW
    figure = Figure(figsize=(_WIDTH, height))
    box = left / _WIDTH, _BELOW / height, 1 - (left + right) / _WIDTH, _ROW * len(rows) / height
    axes = figure.add_axes(box)
    percents = np.array([100 * regret for row in rows for regret in row.score.regrets], dtype=np.float64)
    _set_scale(axes, percents, _WIDTH - left - right)
    for at, row in enumerate(rows):
        _draw_row(axes, at, row)
    _name_rows(axes, rows)
    axes.spines[["left", "top", "right"]].set_visible(False)
    axes.tick_params(axis="y", length=0)
    axes.grid(axis="x", color=INK, alpha=0.12, linewidth=0.6)
    axes.set_axisbelow(True)
    axes.set_xlabel("regret: % above the seed's best point", fontsize=FONT_SIZE)
    _tell_epochs(axes, rows)
    place: dict[str, Any] = {
        "loc": "lower right",
        "bbox_to_anchor": (1 - 0.1 / _WIDTH, 1 - (_ABOVE - 0.22) / height),
        "bbox_transform": figure.transFigure,
        "borderaxespad": 0.0,
    }
    spaces: dict[str, Any] = {"frameon": False, "handletextpad": 0.5, "columnspacing": 1.2}
    axes.legend(handles=_draw_marks(axes, rows), ncols=2, fontsize=FONT_SIZE, **spaces, **place)
    return figure


def _rows(comparison: Comparison, finisher: str) -> list[_Row]:
    """Policies and what they are compared with, least regret first, those that were not asked last."""
    rows = [_Row.of(score, "policy") for score in policy_scores(comparison, finisher)]
    rows += [_Row.of(score, "reference") for score in reference_scores(comparison, finisher)]
    return sorted(rows, key=lambda row: (math.isnan(row.score.regret.estimate), row.score.regret.estimate))


def _color(score: PolicyScore, role: Role) -> str:
    if score.name == NEVER:
        return NEVER_COLOR
    if role == "reference" and score.name == BEST_FIXED:
        return FIXED
    if role == "reference":
        return CONTROL
    if score.verdict == "not asked" or not score.num_swapped:
        return GREY
    return POLICY


def _set_scale(axes: Axes, values: Array, width: float) -> None:
    """Per cent, linear between -1 and 1, with a few round numbers; infinity has a place at the right edge."""
    from matplotlib.ticker import FixedLocator, NullLocator

    finite = values[np.abs(values) <= LARGEST]
    low = float(min(0.0, finite.min())) if len(finite) else 0.0
    high = float(max(3 * SMALL, finite.max())) if len(finite) else 100.0
    axes.set_xscale("symlog", linthresh=_LINEAR, linscale=0.5)
    decades = math.ceil(math.log10(high))
    room = width / (decades + 1.5)  # inches for a decade
    widest = 0.12 + 0.05 * len(percent_text(10.0 ** (decades - 1)))
    step = max(1, math.ceil(widest / room))
    ticks = [0.0, *(10.0**power for power in range(0 if step == 1 else 1, decades + 1, step))]
    if low < -_LINEAR:
        ticks = [-10.0 if low > -30 else -100.0, *ticks]
    axes.xaxis.set_major_locator(FixedLocator([tick for tick in ticks if low * 1.1 - 0.5 <= tick <= high * 2]))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(lambda value, _: percent_text(value)[:-2])
    axes.tick_params(axis="x", labelsize=FONT_SIZE)
    margin = high ** (1 / 12) if high > 10 else 1.2
    axes.set_xlim(min(-0.4, 1.3 * low), high * margin * (margin if len(finite) < len(values) else 1.0))


def percent_text(value: float) -> str:
    """Per cent, in few letters.

    Examples
    --------
    >>> percent_text(10.0), percent_text(10_000.0), percent_text(1e7), percent_text(-3.0)
    ('10 %', '10,000 %', '1e7 %', '−3 %')
    """
    size = abs(value)
    text = (
        f"{size:,.3g}"
        if size < 1000
        else f"{size:,.0f}"
        if size < 99_999.5
        else f"{size:.0e}".replace("e+0", "e").replace("e+", "e")
    )
    return ("\N{MINUS SIGN}" if value < 0 else "") + f"{text} %"


def _draw_row(axes: Axes, at: int, row: _Row) -> None:
    """Seeds as dots, the interval as a line, the median as a mark; lost seeds at the right edge."""
    score, color = row.score, row.color
    regrets = 100 * np.array(score.regrets, dtype=float)
    edge: dict[str, Any] = {
        "transform": axes.get_yaxis_transform(),
        "clip_on": False,
        "linestyle": "none",
        "color": color,
    }
    if np.isnan(regrets).all():
        return
    finite = regrets[np.abs(regrets) <= LARGEST]
    axes.plot(
        finite,
        np.full(len(finite), at),
        marker="o",
        markersize=2.6,
        color=color,
        alpha=0.45,
        linestyle="none",
        zorder=3,
    )
    lost = int((regrets > LARGEST).sum())
    if lost:
        axes.plot([0.985], [at], marker="x", markersize=4.5, **edge)
    right = axes.get_xlim()[1]
    ends = [100 * score.regret.low, 100 * score.regret.high]
    if not any(map(math.isnan, ends)) and ends[0] < right:
        axes.plot([ends[0], min(ends[1], right)], [at, at], color=color, linewidth=1.6, zorder=4, solid_capstyle="butt")
    middle = 100 * score.regret.estimate
    if abs(middle) <= LARGEST:
        mark = "s" if score.name == NEVER else "D" if score.name == BEST_FIXED else "o"
        axes.plot([middle], [at], marker=mark, markersize=5, color=color, linestyle="none", zorder=5)


def _name_rows(axes: Axes, rows: list[_Row]) -> None:
    """Names at the left, from above to below."""
    axes.set_ylim(len(rows) - 0.5, -0.5)
    axes.set_yticks(range(len(rows)), [row.name for row in rows], fontsize=FONT_SIZE)
    for label, row in zip(axes.get_yticklabels(), rows, strict=True):
        label.set(color=INK if row.alpha < 1 else row.color, alpha=row.alpha)
        label.set_fontweight("bold" if row.score.name == NEVER else "normal")


def _tell_epochs(axes: Axes, rows: list[_Row]) -> None:
    """The column at the right: when each policy swapped."""
    axes.text(
        1.03, 1 + 0.06 / (_ROW * len(rows)), "swaps after", transform=axes.transAxes, fontsize=FONT_SIZE, va="bottom"
    )
    for at, row in enumerate(rows):
        words: dict[str, Any] = {"va": "center_baseline", "fontsize": FONT_SIZE, "alpha": row.alpha}
        axes.text(1.03, at, row.epochs, transform=axes.get_yaxis_transform(), **words)


def _draw_marks(axes: Axes, rows: list[_Row]) -> list[Line2D]:
    """The lines of 10 % and of never; gives the legend's entries."""
    from matplotlib.lines import Line2D

    never = next(row.score for row in rows if row.score.name == NEVER)
    dashes: dict[str, Any] = {"color": INK, "linestyle": (0, (4, 3)), "linewidth": 0.9}
    dots: dict[str, Any] = {"color": INK, "linestyle": (0, (1, 2)), "linewidth": 0.9}
    mark: dict[str, Any] = {"color": POLICY, "markersize": 5}
    level = ", ".join(filter(None, ["median", interval_words(never.regret.attainable_level), "seeds"]))
    handles = [Line2D([], [], label=level, marker="o", linewidth=1.6, **mark)]
    if any(np.isposinf(row.score.regrets).any() for row in rows):
        handles.append(Line2D([], [], label="lost seeds", marker="x", linestyle="none", **mark))
    axes.axvline(SMALL, zorder=1, **dots)
    handles.append(Line2D([], [], label=f"{SMALL:g} %", **dots))
    if abs(never.regret.estimate) <= LARGEST:
        axes.axvline(100 * never.regret.estimate, zorder=1, **dashes)
        handles.append(Line2D([], [], label="never swapping", **dashes))
    return handles
