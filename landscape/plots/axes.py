"""Axes that read well: made without global state, ticked in plain numbers, with the legend out of the way."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Literal

import numpy as np

from landscape.plots.palette import INK
from landscape.plots.series import Array

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.lines import Line2D

#: Inches; drawn at the width of a phone the smallest text is still read.
FIGURE_SIZE = (5.0, 3.7)
FONT_SIZE = 9.0
#: A logarithmic axis over less than this factor says less than a linear one.
LOG_FACTOR = 3.0
#: A loss just before it becomes infinite is drawn at the edge: margins around it would overflow.
LARGEST = 1e150


def new_axes() -> Axes:
    """Axes on a figure of their own, unknown to pyplot: it is freed when the caller drops it."""
    from matplotlib.figure import Figure

    axes: Axes = Figure(figsize=FIGURE_SIZE, layout="constrained").subplots()
    return axes


def drawable(values: Array, *, log: bool) -> Array:
    """The values with NaN in place of all that such an axis cannot show."""
    shown = (np.abs(values) <= LARGEST) & ((values >= 1 / LARGEST) if log else True)
    return np.where(shown, values, np.nan)


def wants_log(values: Array) -> bool:
    """Whether finite values, zeros aside, are all positive and span enough for a logarithmic axis."""
    finite = values[(np.abs(values) <= LARGEST) & (np.abs(values) >= 1 / LARGEST)]
    return bool(len(finite) and (finite > 0).all() and _decades(finite) >= math.log10(LOG_FACTOR))


def _decades(positive: Array) -> float:
    """Powers of ten between the least and the greatest; the quotient itself may overflow."""
    return float(np.log10(positive.max()) - np.log10(positive.min())) if len(positive) else 0.0


def set_scale(axes: Axes, which: Literal["x", "y"], values: Array, *, log: bool) -> None:
    """Scale an axis and tick it with numbers such as 0.05 instead of powers."""
    from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullFormatter, NullLocator

    axis = axes.xaxis if which == "x" else axes.yaxis
    shown = drawable(values, log=log)
    shown = shown[np.isfinite(shown)]
    if log:
        axes.set_xscale("log") if which == "x" else axes.set_yscale("log")
        decades = _decades(shown)
        axis.set_minor_locator(NullLocator())
        if decades < math.log10(LOG_FACTOR):
            axis.set_major_locator(MaxNLocator(nbins=5))
        else:
            subs = (1, 2, 3, 5, 7) if decades < 1 else (1, 2, 5) if decades < 2.2 else (1, 3) if decades < 3.5 else (1,)
            axis.set_major_locator(LogLocator(subs=subs, numticks=6 if decades >= 3.5 else 50))
        axis.set_minor_formatter(NullFormatter())
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:.6g}"))


def finish(axes: Axes, handles: list[Line2D]) -> None:
    """Grid, frame, and a legend above the axes."""
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(color=INK, alpha=0.12, linewidth=0.6)
    axes.set_axisbelow(True)
    axes.tick_params(labelsize=FONT_SIZE)
    axes.xaxis.label.set_fontsize(FONT_SIZE)
    axes.yaxis.label.set_fontsize(FONT_SIZE)
    if handles:
        axes.legend(
            handles=handles,
            loc="lower left",
            bbox_to_anchor=(0.0, 1.0),
            ncols=3 if len(handles) <= 3 else 2,
            frameon=False,
            fontsize=FONT_SIZE,
            borderaxespad=0.3,
            handletextpad=0.5,
            columnspacing=1.4,
        )


def say_nothing_to_draw(axes: Axes, what: str) -> None:
    """Put the reason where the curve would be."""
    axes.text(0.5, 0.5, what, transform=axes.transAxes, ha="center", va="center", fontsize=FONT_SIZE, wrap=True)
