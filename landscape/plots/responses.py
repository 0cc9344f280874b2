"""The response to the swap time on several tasks: small panels beside each other, each with its own scales."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from landscape.comparison.comparison import Comparison
from landscape.comparison.scores import policy_scores, response
from landscape.plots.axes import drawable, say_nothing_to_draw, set_scale, wants_log
from landscape.plots.compared import FIXED, FONT_SIZE, NEVER, POLICY, chosen_finisher, metric_words, raised
from landscape.plots.diagnosed import plain_name
from landscape.plots.epoch_axis import EpochAxis
from landscape.plots.palette import INK

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

#: Inches: the figure, a panel, what stands left of it, under it, above it, and the legend.
_WIDTH, _HEIGHT, _LEFT, _BELOW, _ABOVE, _LEGEND = 5.0, 1.25, 0.62, 0.4, 0.26, 0.42
_COLUMNS = 2


def plot_responses(comparisons: Mapping[str, Comparison], finisher: str | None = None) -> Figure:
    """Draw the response curve of every task in a panel of its own: medians over seeds, their band, never, and the policies.

    Parameters
    ----------
    comparisons : mapping of str to Comparison
        By task.
    finisher : str, optional
        The second phase. Default: the first of each comparison.

    Returns
    -------
    Figure
        Two panels in a row, as high as needed. Unknown to pyplot.

    Raises
    ------
    ValueError
        If a comparison has no such finisher.
    """
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D

    num_rows = max(1, -(-len(comparisons) // _COLUMNS))
    height = _LEGEND + num_rows * (_ABOVE + _HEIGHT + _BELOW)
    figure = Figure(figsize=(_WIDTH, height))
    if not comparisons:
        say_nothing_to_draw(figure.subplots(), "no task was compared")
        return figure
    width = (_WIDTH - 0.12) / _COLUMNS - _LEFT - 0.05
    for number, (task, comparison) in enumerate(comparisons.items()):
        row, column = divmod(number, _COLUMNS)
        left = _LEFT + column * (width + _LEFT + 0.05)
        low = height - _LEGEND - (row + 1) * (_ABOVE + _HEIGHT) - row * _BELOW
        axes = figure.add_axes((left / _WIDTH, low / height, width / _WIDTH, _HEIGHT / height))
        _draw_panel(axes, comparison, chosen_finisher(comparison, finisher), width)
        axes.set_title(plain_name(task, most=30), fontsize=FONT_SIZE, loc="left", pad=3, weight="bold")
    labels = {metric_words(comparison) for comparison in comparisons.values()}
    handles = [
        Line2D([], [], color=FIXED, marker="o", markersize=3, label="fixed epoch"),
        Line2D([], [], color=NEVER, linestyle=(0, (4, 3)), marker="s", markersize=3.5, linewidth=0.8, label="never"),
        Line2D(
            [], [], color=POLICY, marker="o", markerfacecolor="none", markersize=4, linestyle="none", label="policies"
        ),
    ]
    words: dict[str, Any] = {"ncols": 3, "frameon": False, "fontsize": FONT_SIZE, "borderaxespad": 0.2}
    title = f"{labels.pop()}, by swap epoch" if len(labels) == 1 else "what decides, by swap epoch"
    figure.text(0.1 / _WIDTH, 1 - 0.06 / height, title, fontsize=FONT_SIZE, va="top")
    figure.legend(handles=handles, loc="upper left", bbox_to_anchor=(0.0, 1 - 0.2 / height), **words)
    return figure


def _draw_panel(axes: Axes, comparison: Comparison, finisher: str, width: float) -> None:
    scores = [s for s in policy_scores(comparison, finisher) if s.name != "never" and s.verdict != "not asked"]
    found = response(comparison, finisher)
    where = [score.median_epoch for score in scores]
    losses = raised(np.array([score.median_loss for score in scores], dtype=np.float64), comparison.floor)
    middle, low, high = (raised(values, comparison.floor) for values in (found.median, found.low, found.high))
    shown = np.concatenate([middle, losses])
    log = wants_log(shown)
    axis = EpochAxis.of(comparison.grid, where)
    x = axis.places([*comparison.grid, None])
    on_scale = (x >= axis.low) & (x <= axis.high)
    middle, low, high = (drawable(values, log=log) for values in (middle, low, high))
    axes.fill_between(x[on_scale], low[on_scale], high[on_scale], color=FIXED, alpha=0.15, linewidth=0, zorder=0)
    axes.plot(x[on_scale], middle[on_scale], color=FIXED, marker="o", markersize=2.6, linewidth=1.3, zorder=3)
    axes.plot(
        x[x < axis.low], middle[x < axis.low], color=FIXED, marker="o", markersize=2.6, linestyle="none", zorder=3
    )
    if np.isfinite(middle[-1]):
        axes.plot(x[-1:], middle[-1:], color=NEVER, marker="s", markersize=3.5, linestyle="none", zorder=3)
        axes.axhline(middle[-1], color=NEVER, linewidth=0.8, linestyle=(0, (4, 3)), alpha=0.7, zorder=1)
    dots: dict[str, Any] = {"color": POLICY, "marker": "o", "markerfacecolor": "none", "markeredgewidth": 0.9}
    axes.plot(axis.places(where), drawable(losses, log=log), markersize=3.6, linestyle="none", zorder=4, **dots)
    axis.apply(axes, width)
    set_scale(axes, "y", shown, log=log)
    _thin_ticks(axes)
    axes.tick_params(labelsize=FONT_SIZE, length=2.5, pad=2)
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(color=INK, alpha=0.12, linewidth=0.6)
    axes.set_axisbelow(True)


def _thin_ticks(axes: Axes) -> None:
    """At most five numbers at the side of so low a panel."""
    from matplotlib.ticker import FixedLocator

    low, high = axes.get_ylim()
    ticks = [tick for tick in axes.get_yticks() if low <= tick <= high]
    axes.yaxis.set_major_locator(FixedLocator(ticks[:: -(-len(ticks) // 5)] if ticks else []))
    axes.set_ylim(low, high)
