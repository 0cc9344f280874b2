"""Where the gradient norm of a run was greatest: what the seed paper takes for the onset of convexity."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from landscape.plots.axes import FONT_SIZE, drawable
from landscape.plots.palette import INK
from landscape.plots.series import floats, losses
from landscape.tracking.columns import NORM_COLUMNS
from landscape.tracking.history import History

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def mark_peak(axes: Axes, history: History, norm: str) -> int | None:
    """Mark the greatest recorded norm on axes that :func:`plot_gradient_norm` drew.

    Parameters
    ----------
    axes : Axes
        Of that figure.
    history : History
        Of the run.
    norm : str
        The norm that is drawn.

    Returns
    -------
    int or None
        The epoch; None where nothing is marked: no norm is drawn, no epoch known, or the first norm is the greatest, so
        that there is no rise before it.

    Examples
    --------
    >>> from landscape.plots.gradient_norm import plot_gradient_norm
    >>> norms = [1.0, 3.0, 2.0]
    >>> history = History([{"epoch": t, "loss": 1.0 / t, "gradient_norm": n} for t, n in enumerate(norms, 1)])
    >>> mark_peak(plot_gradient_norm(history, norm="full"), history, "full")
    2
    """
    x = drawable(losses(history).values, log=axes.get_xscale() == "log")
    y = drawable(floats(history, NORM_COLUMNS[norm]), log=axes.get_yscale() == "log")
    rows = np.flatnonzero(np.isfinite(x) & np.isfinite(y))
    if not len(rows):
        return None
    peak = int(rows[y[rows].argmax()])
    epoch = history[peak].get("epoch")
    if peak == rows[0] or not isinstance(epoch, int):
        return None
    axes.plot([x[peak]], [y[peak]], marker="*", color=INK, markersize=9, linestyle="none", zorder=6)
    axes.annotate(
        f"peak, epoch {epoch}",
        (x[peak], y[peak]),
        xytext=(0, 7),
        textcoords="offset points",
        ha="center",
        fontsize=FONT_SIZE,
        annotation_clip=False,
    )
    return epoch
