"""A curve through the rows of a history, phase by phase: the part that both figures share."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from landscape.plots.axes import FONT_SIZE, drawable
from landscape.plots.palette import INK, look_of
from landscape.plots.series import Array, Stretch, stretches, thin
from landscape.tracking.history import History

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.lines import Line2D

#: From here on a line is drawn thinner, so that a noisy curve does not become a surface.
MANY_POINTS = 300
#: Labels of swaps that lie closer together than this share of the axis would cover each other.
LABEL_WIDTH = 0.05
_DIAMOND: dict[str, Any] = {"marker": "D", "markerfacecolor": "none", "linestyle": "none", "markersize": 7}

#: So many marks a stretch can be told apart; a line goes through all points.
MAX_MARKS = 40


@dataclass(frozen=True)
class Curve:
    """Points of a history, in the order of its rows.

    Parameters
    ----------
    history : History
        Where they come from.
    x, y : array
        One value per row, NaN where the axes cannot show it.
    """

    history: History
    x: Array
    y: Array

    @classmethod
    def of(cls, history: History, x: Array, y: Array, *, log_x: bool, log_y: bool) -> Curve:
        """Leave to each axis what it can show."""
        return cls(history, drawable(x, log=log_x), drawable(y, log=log_y))

    @property
    def shown(self) -> NDArray[np.bool_]:
        """Which rows are drawn."""
        return np.isfinite(self.x) & np.isfinite(self.y)

    def draw(self, axes: Axes) -> list[Line2D]:
        """Draw one line for each stretch; gives one legend handle for each phase."""
        handles: dict[str, Line2D] = {}
        for stretch in stretches(self.history):
            if line := self._draw_stretch(axes, stretch):
                handles.setdefault(str(line.get_label()), line)
        return list(handles.values())

    def _draw_stretch(self, axes: Axes, stretch: Stretch) -> Line2D | None:
        """A line through the points that there are, so that one epoch without a value leaves no gap."""
        rows = stretch.indices[self.shown[stretch.indices]]
        if not len(rows):
            return None
        joined = stretch.joined and rows[0] == stretch.indices[0]
        rows = thin(rows, self.x, self.y, share=len(rows) / max(len(self.history), 1))
        look = look_of(stretch.phase)
        (line,) = axes.plot(
            self.x[rows],
            self.y[rows],
            color=look.color,
            marker=look.marker,
            markersize=3.6,
            # The row where the phase took over bears the mark of the phase before.
            markevery=(int(joined), max(1, len(rows) // MAX_MARKS)),
            linewidth=1.2 if len(rows) < MANY_POINTS else 0.6,
            label=look.label,
        )
        return line

    def swaps(self) -> list[int]:
        """Rows after which the phase changed."""
        return [int(stretch.indices[0]) for stretch in stretches(self.history) if stretch.joined]

    def mark_swaps(self, axes: Axes) -> list[Line2D]:
        """A line across the axes and a diamond at each swap, labelled at the edge that is farther away.

        Gives the legend entry, if there is a swap.
        """
        rows = [row for row in self.swaps() if np.isfinite(self.x[row])]
        labelled: list[float] = []
        for row in rows:
            at = float(self.x[row])
            axes.axvline(at, color=INK, linestyle=(0, (4, 3)), linewidth=0.8, alpha=0.6, zorder=1)
            if self.shown[row]:
                axes.plot([at], [self.y[row]], color=INK, zorder=5, **_DIAMOND)
            place = _place(self.x, at, log=axes.get_xscale() == "log")
            height = _place(self.y, float(self.y[row]), log=axes.get_yscale() == "log")
            if all(abs(place - other) >= LABEL_WIDTH for other in labelled):
                labelled.append(place)
                _label_swap(axes, at, "bottom" if height > 0.5 else "top", self._swap_label(row))
        return [_entry("swap", color=INK, **_DIAMOND)] if rows else []

    def _swap_label(self, row: int) -> str:
        """What is written beside a swap."""
        epoch = self.history[row].get("epoch")
        kind = "swap back" if self.history[row + 1].get("phase") == "first" else "swap"
        return f"{kind}, epoch {epoch}" if epoch is not None else kind

    def missing(self) -> list[str]:
        """How many rows are not drawn and why, if there are any; the start, where not all exists, does not count."""
        num_missing = int((~self.shown[1:]).sum())
        if not num_missing:
            return []
        return [f"not drawn: {num_missing} epoch{'s' if num_missing > 1 else ''} without finite, drawable values"]


def _place(values: Array, at: float, *, log: bool) -> float:
    """Where a value lies between the least and the greatest one, as a share of the axis; NaN if it is not drawn."""
    ends = (np.nanmin(values), np.nanmax(values)) if np.isfinite(values).any() else (0.0, 0.0)
    low, high, value = (math.log(v) if log else v for v in (*ends, at))
    return float((value - low) / (high - low)) if high > low else 0.5


def _label_swap(axes: Axes, at: float, edge: Literal["top", "bottom"], text: str) -> None:
    """Words along the line of a swap."""
    axes.annotate(
        text,
        (at, 0.99 if edge == "top" else 0.02),
        xycoords=axes.get_xaxis_transform(),
        xytext=(3, 0),
        textcoords="offset points",
        rotation=90,
        va=edge,
        fontsize=FONT_SIZE,
    )


def _entry(label: str, **look: Any) -> Line2D:
    """A legend entry of its own."""
    from matplotlib.lines import Line2D

    return Line2D([], [], label=label, **{"linestyle": "none", **look})
