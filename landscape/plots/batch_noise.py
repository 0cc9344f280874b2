"""The noise of mini-batch gradients against the batch size: where it drowns the gradient."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from landscape.diagnosis.diagnosis import Diagnosis
from landscape.plots.axes import FONT_SIZE, drawable, finish, new_axes, say_nothing_to_draw, set_scale
from landscape.plots.diagnosed import drawn, numbers
from landscape.plots.palette import INK

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def plot_batch_noise(diagnoses: Sequence[Diagnosis], ax: Axes | None = None) -> Axes:
    """Draw the standard error of a mini-batch gradient, as a share of the gradient's norm, against the batch size.

    Above the line at 1 there is more noise than gradient: on average such a step no longer leads down.

    Parameters
    ----------
    diagnoses : sequence of Diagnosis
        Those without a noise floor are left out.
    ax : Axes, optional
        Where to draw. Default: a new figure, which is ``axes.figure``.

    Returns
    -------
    Axes

    Examples
    --------
    >>> plot_batch_noise([]).texts[0].get_text()
    'the noise of mini-batches was not measured'
    """
    axes = new_axes() if ax is None else ax
    curves = []
    for item in drawn(diagnoses, "noise_floor"):
        rows = item.finding.details.get("rows", ())
        sizes, noise = numbers(r.get("batch_size") for r in rows), numbers(r.get("noise") for r in rows)
        if (np.isfinite(drawable(sizes, log=True)) & np.isfinite(drawable(noise, log=True))).any():
            curves.append((item, drawable(sizes, log=True), drawable(noise, log=True)))
    if not curves:
        say_nothing_to_draw(axes, "the noise of mini-batches was not measured")
        finish(axes, [])
        return axes
    handles = []
    for item, sizes, noise in curves:
        handles += axes.plot(sizes, noise, color=item.color, marker=item.marker, markersize=5, label=item.name)
        used = item.finding.details.get("batch_size")
        if isinstance(used, (int, float)) and used in sizes:
            at = float(noise[sizes == used][0])
            axes.plot([used], [at], marker="o", markersize=11, markerfacecolor="none", color=item.color)
    set_scale(axes, "x", np.concatenate([sizes for _, sizes, _ in curves]), log=True)
    set_scale(axes, "y", np.concatenate([*(noise for _, _, noise in curves), [1.0]]), log=True)
    _tick_sizes(axes, [sizes for _, sizes, _ in curves])
    axes.axhline(1.0, color=INK, linewidth=0.9, linestyle=(0, (4, 3)), zorder=1)
    axes.annotate(
        "as much noise as gradient",
        (0.99, 1.0),
        xycoords=axes.get_yaxis_transform(),
        xytext=(0, 3),
        textcoords="offset points",
        ha="right",
        fontsize=FONT_SIZE - 1,
    )
    axes.set_xlabel("batch size (samples, log scale; a ring marks the one that is judged)")
    axes.set_ylabel("standard error of the gradient\nas a share of its norm (log scale)")
    finish(axes, handles if len(curves) > 1 else [])
    return axes


def _tick_sizes(axes: Axes, sizes: list[np.ndarray]) -> None:
    """The batch sizes themselves, as long as they are few."""
    from matplotlib.ticker import FixedLocator

    given = np.unique(np.concatenate(sizes))
    given = given[np.isfinite(given)]
    if len(given) <= 6:
        axes.xaxis.set_major_locator(FixedLocator(given.tolist()))
