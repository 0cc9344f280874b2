"""The density of the Hessian's eigenvalues with its negative tail, and the nodes that it was drawn from."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from landscape.diagnosis.diagnosis import Diagnosis
from landscape.plots.axes import FONT_SIZE, drawable, finish, say_nothing_to_draw
from landscape.plots.diagnosed import (
    CURVATURE_WORDS,
    NEGATIVE,
    POSITIVE,
    Drawn,
    bare_figure,
    drawn,
    numbers,
    set_signed_scale,
    signed,
)
from landscape.plots.nodes import draw_nodes, floor_of, label_powers, nodes_of
from landscape.plots.palette import INK
from landscape.plots.series import Array, thin

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_DENSITY, _NODES, _AROUND = 1.35, 0.95, 0.95


def plot_spectral_density(diagnoses: Sequence[Diagnosis]) -> Figure:
    """Draw each model's spectral density over the quadrature nodes and weights behind it, on axes that all share.

    Eigenvalues are on an axis that is logarithmic on both sides of 0, so that a negative tail is seen beside outliers a
    thousand times larger; density and weights on logarithmic axes. The interval of the certificate for the smallest
    eigenvalue is shaded.

    Parameters
    ----------
    diagnoses : sequence of Diagnosis
        Those without a density are left out.

    Returns
    -------
    Figure
        Unknown to pyplot, with two axes a model.

    Notes
    -----
    The density is per power of ten (and per linear range next to 0); that of a few eigenvalues is a bump as wide as
    the distance between nodes, not an eigenvalue's own width.

    References
    ----------
    Ghorbani, Krishnan, Xiao (2019), ICML, arXiv:1901.10159: densities of Hessians by stochastic Lanczos quadrature.

    Examples
    --------
    >>> len(plot_spectral_density([]).axes)
    1
    """
    found = drawn(diagnoses, "density")
    figure = bare_figure(max(1, len(found)) * (_DENSITY + _NODES) + _AROUND)
    if not found:
        say_nothing_to_draw(figure.subplots(), "no spectral density was measured")
        return figure
    panels: Any = figure.subplots(
        2 * len(found), 1, sharex=True, squeeze=False, gridspec_kw={"height_ratios": [_DENSITY, _NODES] * len(found)}
    )[:, 0]
    ends = {id(item.diagnosis): item for item in drawn(diagnoses, "lambda_min")}
    values, reach = _extent(found, list(ends.values()))
    set_signed_scale(panels[0], "x", values, linear_range=reach, zero=False)
    low, high = min(float(values.min()), -2 * reach), max(float(values.max()), 2 * reach)
    panels[0].set_xlim(low * 2, high * 2)
    floor = floor_of(nodes_of(item)[1] for item in found)
    for item, curve, nodes in zip(found, panels[0::2], panels[1::2], strict=True):
        _draw_pair(curve, nodes, item, ends.get(id(item.diagnosis)), floor, several=len(diagnoses) > 1)
    _share_heights(panels[0::2])
    panels[-1].set_xlabel(f"eigenvalue of the Hessian ({CURVATURE_WORDS}, signed log scale)")
    figure.align_ylabels(list(panels))
    return figure


def _extent(found: list[Drawn], ends: list[Drawn]) -> tuple[Array, float]:
    """Everything that the axis has to hold, and where it becomes logarithmic."""
    given = [numbers(item.finding.details.get("nodes", ())) for item in found]
    given += [numbers(item.finding.interval or ()) for item in ends]
    values = np.concatenate(given)
    values = values[np.isfinite(values)]
    values = values if len(values) else np.array([-1.0, 1.0])
    reaches = numbers(_reach(item.finding.details) for item in found)
    reaches = np.abs(reaches[np.isfinite(reaches) & (reaches != 0)])
    top = float(np.abs(values).max()) or 1.0
    return values, float(reaches.min()) if len(reaches) else 1e-3 * top


def _reach(details: Mapping[str, Any]) -> Any:
    """Where the density's own axis became logarithmic."""
    return details.get("linear_range", details.get("negative_threshold"))


def _draw_pair(curve: Axes, nodes: Axes, item: Drawn, end: Drawn | None, floor: float, *, several: bool) -> None:
    """Density above, nodes below, and the certificate's interval through both."""
    places, weights = nodes_of(item)
    _draw_curve(curve, item, places[np.isfinite(places)], floor)
    curve.set_ylabel("density\n(share / decade)")
    draw_nodes(nodes, places, weights, floor)
    nodes.set_ylabel("weight of\neach node")
    handles = [_mark_interval(axes, end) for axes in (curve, nodes)] if end is not None else []
    for axes in (curve, nodes):
        axes.axvline(0.0, color=INK, linewidth=0.7, alpha=0.7, zorder=1)
        label_powers(axes)
        finish(axes, [])
    finish(curve, [handle for handle in handles[:1] if handle is not None])
    if several:
        curve.annotate(
            item.name, (0.99, 0.95), xycoords="axes fraction", ha="right", va="top", fontsize=FONT_SIZE, weight="bold"
        )


def _draw_curve(axes: Axes, item: Drawn, nodes: Array, floor: float) -> None:
    """The density between the outermost nodes, its negative part hatched; dotted beyond them, where it is smoothing alone."""
    grid, density = (numbers(item.finding.details.get(name, ())) for name in ("grid", "density"))
    number = min(len(grid), len(density))
    rows = thin(np.arange(number), density[:number], share=0.2)
    x, y = grid[rows], drawable(density[rows], log=True)
    low, high = (float(nodes.min()), float(nodes.max())) if len(nodes) else (-math.inf, math.inf)
    inside = (x >= low) & (x <= high)
    axes.set_yscale("log")
    axes.plot(x, y, color=INK, linewidth=0.8, linestyle=(0, (1, 1.5)), alpha=0.7, zorder=1.5)
    for side, color, hatch in ((inside & (x >= 0), POSITIVE, None), (inside & (x <= 0), NEGATIVE, "////")):
        shown = np.where(side, np.maximum(y, floor), np.nan)
        axes.fill_between(x, floor, shown, facecolor=color, alpha=0.22, linewidth=0)
        if hatch:
            axes.fill_between(x, floor, shown, facecolor="none", edgecolor=color, linewidth=0, hatch=hatch, alpha=0.7)
        axes.plot(x, np.where(side, y, np.nan), color=color, linewidth=1.4)
    top = float(np.nanmax(y)) if np.isfinite(y).any() else 1.0
    axes.set_ylim(floor, max(top, 2 * floor) * 3)


def _mark_interval(axes: Axes, end: Drawn) -> Any:
    """Shade what the certificate leaves for the smallest eigenvalue; gives a legend entry."""
    from matplotlib.lines import Line2D

    interval = end.finding.interval
    if interval is None or any(math.isnan(number) for number in interval):
        return None
    left, right = axes.get_xlim()
    low, high = max(interval[0], left), min(interval[1], right)
    axes.axvspan(low, high, color=INK, alpha=0.16, linewidth=0, zorder=0)
    for edge in (low, high):
        axes.axvline(edge, color=INK, linewidth=0.8, linestyle=(0, (2, 1.5)), alpha=0.8, zorder=1)
    words = f"\N{GREEK SMALL LETTER LAMDA}min in [{signed(interval[0])}, {signed(interval[1])}]"
    return Line2D([], [], color=INK, linewidth=0.9, linestyle=(0, (2, 1.5)), label=words)


def _share_heights(panels: Any) -> None:
    limits = np.array([axes.get_ylim() for axes in panels])
    for axes in panels:
        axes.set_ylim(float(limits[:, 0].min()), float(limits[:, 1].max()))
