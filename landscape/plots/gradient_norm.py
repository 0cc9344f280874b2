"""The gradient norm against the loss: figure 5 of the seed paper, for one run."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import numpy as np

from landscape.plots.axes import finish, new_axes, say_nothing_to_draw, set_scale, wants_log
from landscape.plots.curve import Curve
from landscape.plots.series import floats, losses, present
from landscape.tracking.columns import NORM_COLUMNS
from landscape.tracking.history import History

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Norm = Literal["mean_batch", "full", "batch_mean"]

#: What each norm is, in words for an axis.
NORM_WORDS: dict[str, str] = {
    "mean_batch": "mean norm of the epoch's batch gradients",
    "full": "norm of the gradient over all data",
    "batch_mean": "norm of the epoch's mean batch gradient",
}


def plot_gradient_norm(history: History, ax: Axes | None = None, norm: Norm | None = None) -> Axes:
    """Draw the gradient norm of a run against its loss; training runs from right to left.

    The seed paper takes the peak of this curve for the border of the convex region. What the curve can show is less:
    under gradient flow it turns where the curvature along the gradient changes its sign.

    Parameters
    ----------
    history : History
        Of one run.
    ax : Axes, optional
        Where to draw. Default: a new figure, which is ``axes.figure``.
    norm : {"mean_batch", "full", "batch_mean"}, optional
        Which norm. Default: the first of these that was recorded. In a full-batch phase they are one number, so the
        curve may jump at a swap only because another quantity begins there.

    Returns
    -------
    Axes

    Raises
    ------
    ValueError
        If there is no such norm.

    References
    ----------
    Hrycej et al. (2025), arXiv:2510.25366, figure 5.

    Examples
    --------
    >>> rows = [{"epoch": t, "loss": 1.0 / t, "gradient_norm": 2.0 - 1.0 / t} for t in (1, 2, 4)]
    >>> axes = plot_gradient_norm(History(rows), norm="full")
    >>> axes.lines[0].get_ydata().tolist()
    [1.0, 1.5, 1.75]
    """
    name = recorded_norm(history, norm)
    axes = new_axes() if ax is None else ax
    loss, norms = losses(history), floats(history, NORM_COLUMNS[name])
    # Only rows that are drawn decide the scales: at the start there is a loss, but no batch has given a norm yet.
    both = np.isfinite(loss.values) & np.isfinite(norms)
    log_x, log_y = wants_log(loss.values[both]), wants_log(norms[both])
    curve = Curve.of(history, loss.values, norms, log_x=log_x, log_y=log_y)
    set_scale(axes, "x", loss.values[both], log=log_x)
    set_scale(axes, "y", norms[both], log=log_y)
    handles = curve.draw(axes)
    if not handles:
        say_nothing_to_draw(axes, "no epoch has both a loss and this gradient norm")
    handles += curve.mark_swaps(axes)
    lines = [loss.axis_label(log=log_x), "\N{LEFTWARDS ARROW} training runs from right to left", *curve.missing()]
    axes.set_xlabel("\n".join(lines))
    axes.set_ylabel(f"{NORM_WORDS[name]}\n(loss per unit of parameters{', log scale' if log_y else ''})")
    finish(axes, handles)
    return axes


def recorded_norm(history: History, norm: str | None = None) -> str:
    """The norm asked for, or the first one that a history holds.

    Raises
    ------
    ValueError
        If there is no such norm.
    """
    if norm is None:
        return next((name for name in NORM_WORDS if present(history, NORM_COLUMNS[name]).any()), "mean_batch")
    if norm not in NORM_WORDS:
        raise ValueError(f"norm={norm!r} was given; it is one of {', '.join(map(repr, NORM_WORDS))}.")
    return norm
