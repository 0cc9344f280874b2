"""The response to the swap time: how low the loss ends if training swaps after each epoch, and where policies did."""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from landscape.comparison.comparison import Comparison
from landscape.comparison.scores import PolicyScore, Response, policy_scores, response
from landscape.comparison.statistics.location import median
from landscape.plots.axes import drawable, finish, say_nothing_to_draw, set_scale, wants_log
from landscape.plots.compared import (
    CONTROL,
    FIXED,
    FONT_SIZE,
    NEVER,
    POLICY,
    chosen_finisher,
    epochs_text,
    losses_of,
    metric_words,
    raised,
)
from landscape.plots.diagnosed import plain_name
from landscape.plots.epoch_axis import EpochAxis
from landscape.plots.groups import Group, nearest_groups
from landscape.plots.palette import INK
from landscape.plots.series import Array

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D

#: Inches: the figure, the axes, what stands left of them and under them, a line of words.
_WIDTH, _HEIGHT, _LEFT, _RIGHT, _BELOW, _LINE = 5.0, 2.8, 0.82, 0.2, 0.48, 0.145
#: Letters for policies, at most; inches between two of them, at least.
_MOST, _APART = 8, 0.2
#: Letters that go into a line of the list.
_LETTERS = 80
#: Names in the list that belong to one letter, at most.
_NAMES = 6
_MARKS = ("^", "v", "D", "P", "X", "<")


def plot_response(comparison: Comparison, finisher: str | None = None) -> Figure:
    """Draw the loss at the end against the swap epoch, and what each policy made of it.

    Blue: the median over seeds of swapping after fixed epochs, with its band, and a thin line for each seed; 0 is no first
    phase at all, and "never" no second one. Dots: policies, at the medians of their swap epochs and losses; the list below
    names them. A policy above the line has paid for its measurements.

    Parameters
    ----------
    comparison : Comparison
    finisher : str, optional
        The second phase. Default: the first of the comparison.

    Returns
    -------
    Figure
        As high as the list of policies needs. Unknown to pyplot.

    Raises
    ------
    ValueError
        If the comparison has no such finisher.
    """
    from matplotlib.figure import Figure

    finisher = chosen_finisher(comparison, finisher)
    scores = [s for s in policy_scores(comparison, finisher) if s.name != "never" and s.verdict != "not asked"]
    where = [score.median_epoch for score in scores]
    losses = raised(np.array([score.median_loss for score in scores]), comparison.floor)
    found = response(comparison, finisher)
    axis = EpochAxis.of(comparison.grid, (*where, *(arm.epoch or 0 for arm in comparison.arms("control"))))
    log = wants_log(np.concatenate([raised(found.values, comparison.floor).ravel(), losses]))
    figure = Figure(figsize=(_WIDTH, _HEIGHT))
    axes = figure.add_axes((_LEFT / _WIDTH, 0.1, 1 - (_LEFT + _RIGHT) / _WIDTH, 0.8))
    shown = [raised(found.values, comparison.floor).ravel(), losses]
    handles = _draw_response(axes, comparison, axis, found, log=log)
    for label, epochs, values, mark in _controls(comparison):
        shown.append(values)
        handles.append(_draw_control(axes, axis.places(epochs), drawable(values, log=log), axis, mark, label))
    axis.apply(axes, _WIDTH - _LEFT - _RIGHT)
    set_scale(axes, "y", np.concatenate(shown), log=log)
    groups = _draw_policies(axes, axis.places(where), losses, log=log)
    handles += _policy_handles(scores)
    if not np.isfinite(np.concatenate(shown)).any():
        axes.set_yticks([])
        say_nothing_to_draw(axes, "every arm was lost with most seeds")
    axes.set_xlabel("swap after epoch")
    axes.set_ylabel(metric_words(comparison))
    finish(axes, handles)
    _set_legend(axes, handles)
    words = _list(scores, groups) + _notes(comparison, np.concatenate(shown))
    _fit(figure, axes, words, -(-len(handles) // _columns(handles)))
    return figure


def _draw_response(axes: Axes, comparison: Comparison, axis: EpochAxis, found: Response, *, log: bool) -> list[Line2D]:
    """Seeds, band and median; the ends stand apart from what lies on the scale. Gives legend entries."""
    x = axis.places([*comparison.grid, None])
    on_scale = (x >= axis.low) & (x <= axis.high)
    _draw_spread(axes, comparison, x, on_scale, found, log=log)
    middle = drawable(raised(found.median, comparison.floor), log=log)
    dots: dict[str, Any] = {"color": FIXED, "marker": "o", "markersize": 4, "zorder": 4}
    handles = axes.plot(x[on_scale], middle[on_scale], linewidth=1.8, label="fixed epoch", **dots)
    axes.plot(x[x < axis.low], middle[x < axis.low], linestyle="none", **dots)
    square: dict[str, Any] = {"color": NEVER, "marker": "s", "markersize": 5, "linestyle": "none", "zorder": 4}
    handles += axes.plot(x[-1:], middle[-1:], label="never", **square)
    if np.isfinite(middle[-1]):
        axes.axhline(middle[-1], color=NEVER, linewidth=0.8, linestyle=(0, (4, 3)), alpha=0.7, zorder=1)
    lost = np.isinf(found.median)
    if lost.any():
        where: dict[str, Any] = {"transform": axes.get_xaxis_transform(), "linestyle": "none", "color": INK}
        handles += axes.plot(x[lost], np.full(lost.sum(), 0.98), marker="x", label="most seeds lost", **where)
    return handles


def _draw_spread(
    axes: Axes, comparison: Comparison, x: Array, on_scale: NDArray[np.bool_], found: Response, *, log: bool
) -> None:
    """A thin line for each seed, and the interval of the median as a band."""
    thin: dict[str, Any] = {"color": FIXED, "alpha": 0.45, "zorder": 1}
    for seed in drawable(raised(found.values, comparison.floor), log=log).T:
        axes.plot(x[on_scale], seed[on_scale], linewidth=0.5, **thin)
        axes.plot(x[~on_scale], seed[~on_scale], marker="_", markersize=5, linestyle="none", **thin)
    low, high = (drawable(raised(end, comparison.floor), log=log) for end in (found.low, found.high))
    axes.fill_between(x[on_scale], low[on_scale], high[on_scale], color=FIXED, alpha=0.15, linewidth=0, zorder=0)
    bar: dict[str, Any] = {"color": FIXED, "alpha": 0.3, "linewidth": 5, "solid_capstyle": "butt", "zorder": 0}
    for end in np.flatnonzero(~on_scale):
        axes.plot([x[end]] * 2, [low[end], high[end]], **bar)


def _draw_control(axes: Axes, x: Array, y: Array, axis: EpochAxis, mark: str, label: str) -> Line2D:
    """Joined where it lies on the scale; gives the legend entry."""
    from matplotlib.lines import Line2D

    look: dict[str, Any] = {
        "color": CONTROL,
        "marker": mark,
        "markersize": 4,
        "linewidth": 0.9,
        "linestyle": (0, (4, 2)),
    }
    on_scale = x >= axis.low
    for part in (on_scale, ~on_scale):
        if part.any():
            axes.plot(x[part], y[part], zorder=3, **look)
    return Line2D([], [], label=label, **(look if on_scale.sum() > 1 else {**look, "linestyle": "none"}))


def _controls(comparison: Comparison) -> list[tuple[str, list[int], Array, str]]:
    """For each control its epochs, their median losses and a mark; what starts with its finisher has epoch 0."""
    found: dict[str, dict[int, float]] = {}
    for arm in (*comparison.arms("control"), *comparison.arms("from start")):
        epoch = arm.epoch or 0
        found.setdefault(arm.finisher, {})[epoch] = float(median(losses_of(comparison, arm)))
    return [
        (
            plain_name(name, most=36),
            sorted(medians),
            np.array([medians[e] for e in sorted(medians)]),
            _MARKS[n % len(_MARKS)],
        )
        for n, (name, medians) in enumerate(found.items())
    ]


def _draw_policies(axes: Axes, x: Array, losses: Array, *, log: bool) -> list[Group]:
    """A dot for each policy and a letter for each group of dots; those with infinite losses stand at the upper edge."""
    y = drawable(losses, log=log)
    lost = np.isinf(losses)
    look: dict[str, Any] = {"color": POLICY, "linestyle": "none", "zorder": 6}
    axes.plot(x[~lost], y[~lost], marker="o", markersize=4.5, markerfacecolor="none", markeredgewidth=1.2, **look)
    axes.plot(x[lost], np.full(lost.sum(), 0.98), marker="x", transform=axes.get_xaxis_transform(), **look)
    if not len(x):
        return []
    low, high = axes.get_ylim()
    axes.set_ylim(low, high)
    first, last = axes.get_xlim()
    across = (x - first) / (last - first) * (_WIDTH - _LEFT - _RIGHT)
    heights, ends = (np.log(v) if log else v for v in (np.where(lost, high, y), np.array([low, high])))
    up = np.nan_to_num((heights - ends[0]) / (ends[1] - ends[0]) * _HEIGHT, nan=0.0)
    groups = nearest_groups(np.stack([across, up], axis=1), most=_MOST, apart=_APART)
    for group in groups:
        place = group.x / (_WIDTH - _LEFT - _RIGHT), min(group.y / _HEIGHT, 0.94)
        words: dict[str, Any] = {"ha": "center", "va": "bottom", "fontsize": FONT_SIZE + 1, "weight": "bold"}
        axes.annotate(
            group.letter, place, xycoords="axes fraction", xytext=(0, 4), textcoords="offset points", zorder=7, **words
        )
    return groups


def _policy_handles(scores: list[PolicyScore]) -> list[Line2D]:
    from matplotlib.lines import Line2D

    if not scores:
        return []
    look: dict[str, Any] = {"color": POLICY, "marker": "o", "markerfacecolor": "none", "linestyle": "none"}
    return [Line2D([], [], label="policies (median)", **look)]


def _columns(handles: list[Line2D]) -> int:
    """Of the legend: as many as its words leave room for."""
    return 3 if all(len(str(handle.get_label())) <= 22 for handle in handles) else 2


def _set_legend(axes: Axes, handles: list[Line2D]) -> None:
    legend = axes.get_legend()
    if legend is not None:
        legend.remove()
    place: dict[str, Any] = {
        "loc": "lower left",
        "bbox_to_anchor": (-0.16, 1.0),
        "ncols": _columns(handles),
        "frameon": False,
    }
    axes.legend(handles=handles, fontsize=FONT_SIZE, borderaxespad=0.3, handletextpad=0.4, columnspacing=1.0, **place)


def _list(scores: list[PolicyScore], groups: list[Group]) -> list[tuple[str, str]]:
    """Letters and what they stand for, in lines that fit."""
    lines = []
    for group in groups:
        members = [scores[index] for index in group.members]
        names = [plain_name(score.name, most=30) for score in members]
        more = f" and {len(names) - _NAMES} more" if len(names) > _NAMES + 1 else ""
        names = names[:_NAMES] if more else names
        epochs = epochs_text([e if np.isfinite(e) else None for e in (s.median_epoch for s in members)])
        number = f"{len(members)} policies, " if len(members) > 1 else ""
        when = "never" if epochs == "never" else f"epoch {epochs}"
        text = f"{number}{when}: {', '.join(names)}{more}"
        wrapped = textwrap.wrap(text, _LETTERS, break_on_hyphens=False)
        lines += list(zip([group.letter, *[""] * (len(wrapped) - 1)], wrapped, strict=True))
    return lines


def _notes(comparison: Comparison, shown: Array) -> list[tuple[str, str]]:
    if comparison.floor > 0 and (shown <= comparison.floor).any():
        return [("", f"Losses below {comparison.floor:g} count as that.")]
    return []


def _fit(figure: Figure, axes: Axes, lines: list[tuple[str, str]], num_rows: int) -> None:
    """Make the figure as high as legend, axes and list together."""
    above = 0.1 + 0.17 * num_rows
    below = _BELOW + _LINE * len(lines) + 0.06
    height = above + _HEIGHT + below
    figure.set_size_inches(_WIDTH, height)
    axes.set_position((_LEFT / _WIDTH, below / height, 1 - (_LEFT + _RIGHT) / _WIDTH, _HEIGHT / height))
    for number, (letter, text) in enumerate(reversed(lines)):
        at = (0.06 + _LINE * number) / height
        figure.text(0.1 / _WIDTH, at, letter, fontsize=FONT_SIZE, weight="bold", va="baseline")
        figure.text(0.26 / _WIDTH, at, text, fontsize=FONT_SIZE, va="baseline")
