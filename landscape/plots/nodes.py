"""Quadrature nodes as stems: where a measure has weight, and how much."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

import numpy as np

from landscape.diagnosis.diagnosis import Diagnosis
from landscape.plots.axes import FONT_SIZE, finish, say_nothing_to_draw
from landscape.plots.diagnosed import (
    CURVATURE_WORDS,
    NEGATIVE,
    POSITIVE,
    Drawn,
    bare_figure,
    drawn,
    numbers,
    set_signed_scale,
)
from landscape.plots.palette import INK
from landscape.plots.series import Array

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

#: Weights below this are rounding.
LEAST_WEIGHT = 1e-12


def plot_gradient_spectrum(diagnoses: Sequence[Diagnosis]) -> Figure:
    """Draw how the squared gradient norm is spread over curvatures: what conjugate gradients meet.

    Parameters
    ----------
    diagnoses : sequence of Diagnosis
        Those without the gradient's spectrum are left out; the others share their axes.

    Returns
    -------
    Figure
        Unknown to pyplot, with one axes a model.

    Examples
    --------
    >>> plot_gradient_spectrum([]).axes[0].texts[0].get_text()
    'no spectrum of the gradient was measured'
    """
    found = [item for item in drawn(diagnoses, "gradient_spectrum") if item.finding.details.get("nodes")]
    figure = bare_figure(max(1, len(found)) * 1.5 + 0.85)
    if not found:
        say_nothing_to_draw(figure.subplots(), "no spectrum of the gradient was measured")
        return figure
    panels = figure.subplots(len(found), 1, sharex=True, sharey=True, squeeze=False)[:, 0]
    values = np.concatenate([numbers(item.finding.details["nodes"]) for item in found])
    values = values[np.isfinite(values)]
    log = set_signed_scale(panels[0], "x", values if len(values) else np.ones(1), zero=False)
    measures = [nodes_of(item) for item in found]
    floor = floor_of(weights for _, weights in measures)
    for axes, item, measure in zip(panels, found, measures, strict=True):
        draw_nodes(axes, *measure, floor)
        axes.set_ylabel("share of |g|\N{SUPERSCRIPT TWO}")
        axes.axvline(0.0, color=INK, linewidth=0.7, alpha=0.7, zorder=1)
        label_powers(axes)
        finish(axes, [])
        if len(diagnoses) > 1:
            place = {"xycoords": "axes fraction", "ha": "right", "va": "top"}
            axes.annotate(item.name, (0.99, 0.95), fontsize=FONT_SIZE, weight="bold", **place)
    panels[-1].set_xlabel(f"curvature ({CURVATURE_WORDS}{', signed log scale' if log else ''})")
    return figure


def nodes_of(item: Drawn) -> tuple[Array, Array]:
    """Nodes and weights in a finding's details."""
    nodes, weights = (numbers(item.finding.details.get(name, ())) for name in ("nodes", "weights"))
    number = min(len(nodes), len(weights))
    return nodes[:number], weights[:number]


def floor_of(weights: Iterable[Array]) -> float:
    """A power of ten, or half of one, below all weights that are more than rounding."""
    all_of_them = np.concatenate([np.ones(1), *weights])
    return float(10.0 ** (math.floor(math.log10(all_of_them[all_of_them > LEAST_WEIGHT].min())) - 0.5))


def draw_nodes(axes: Axes, nodes: Array, weights: Array, floor: float) -> None:
    """Stems from the floor to each weight on a logarithmic axis: circles for positive nodes, triangles for negative ones."""
    shown = np.isfinite(nodes) & (weights > LEAST_WEIGHT) & np.isfinite(weights)
    axes.set_yscale("log")
    if not shown.any():
        say_nothing_to_draw(axes, "no node has a weight")
        axes.set_ylim(floor, 2.5)
        return
    for side, color, marker in ((nodes >= 0, POSITIVE, "o"), (nodes < 0, NEGATIVE, "v")):
        x, y = nodes[shown & side], weights[shown & side]
        axes.vlines(x, floor, y, color=color, linewidth=0.9, alpha=0.8)
        axes.plot(x, y, color=color, marker=marker, markersize=3.2, linestyle="none")
    axes.set_ylim(floor, 2.5)


def label_powers(axes: Axes) -> None:
    """At most four powers of ten on the vertical axis."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

    axes.yaxis.set_major_locator(LogLocator(numticks=5))
    axes.yaxis.set_minor_locator(NullLocator())
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:.6g}"))
