"""The loss against the work spent: figure 6 of the seed paper, for one run."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from landscape.plots.axes import LARGEST, drawable, finish, new_axes, say_nothing_to_draw, set_scale
from landscape.plots.curve import Curve
from landscape.plots.palette import INK
from landscape.plots.series import Array, losses, work
from landscape.tracking.history import History

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.lines import Line2D


def plot_loss_against_cost(history: History, ax: Axes | None = None) -> Axes:
    """Draw the training loss of a run against what it had cost by then.

    Work counts everything that a budget pays for: steps, their line searches, and what was recorded on the way. The
    loss is on a logarithmic axis unless some of it is negative. A loss that is NaN or infinite is marked at the upper
    edge, a loss of 0 at the lower one.

    Parameters
    ----------
    history : History
        Of one run. Where the loss over all data was not recorded the running loss stands in; the axis says so.
    ax : Axes, optional
        Where to draw. Default: a new figure, which is ``axes.figure``.

    Returns
    -------
    Axes

    References
    ----------
    Hrycej et al. (2025), arXiv:2510.25366, figure 6.

    Examples
    --------
    >>> rows = [{"epoch": t, "phase": "first", "loss": 2.0**-t, "gradient_equivalents": 2.0 * t} for t in range(5)]
    >>> axes = plot_loss_against_cost(History(rows))
    >>> axes.lines[0].get_xdata().tolist()
    [0.0, 2.0, 4.0, 6.0, 8.0]
    """
    axes = new_axes() if ax is None else ax
    x, x_label = work(history)
    loss = losses(history)
    finite = loss.values[np.isfinite(loss.values)]
    log = bool(np.isfinite(drawable(finite, log=True)).any() and (finite >= 0).all())
    curve = Curve.of(history, x, loss.values, log_x=False, log_y=log)
    set_scale(axes, "x", x, log=False)
    set_scale(axes, "y", loss.values, log=log)
    handles = curve.draw(axes)
    if not handles:
        say_nothing_to_draw(axes, "no loss was recorded that could be drawn")
    handles += curve.mark_swaps(axes)
    beyond = loss.measured & ~(np.abs(loss.values) <= LARGEST)
    handles += _mark_edge(axes, x[beyond], 0.98, "x", f"loss NaN or above {LARGEST:g}")
    if log:
        zero = loss.values < 1 / LARGEST
        handles += _mark_edge(axes, x[zero], 0.02, "v", "loss 0" if not loss.values[zero].any() else "loss nearly 0")
    axes.set_xlabel(x_label)
    axes.set_ylabel(loss.axis_label(log=log))
    finish(axes, handles)
    return axes


def _mark_edge(axes: Axes, x: Array, height: float, marker: str, label: str) -> list[Line2D]:
    """Marks at the edge for rows that have no place on the axis; a legend entry if there are any."""
    if not len(x):
        return []
    return axes.plot(
        x,
        np.full(len(x), height),
        transform=axes.get_xaxis_transform(),
        color=INK,
        marker=marker,
        linestyle="none",
        markersize=6,
        label=label,
    )
