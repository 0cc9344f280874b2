"""Curvature along the directions that were looked at: the gradient and random ones."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from landscape.diagnosis.diagnosis import Diagnosis
from landscape.plots.axes import finish, say_nothing_to_draw
from landscape.plots.diagnosed import CURVATURE_WORDS, bare_figure, close_frame, drawn, set_signed_scale
from landscape.plots.rows import draw_dots, groups_of, name_rows, names_in

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def plot_directional_curvatures(diagnoses: Sequence[Diagnosis], ax: Axes | None = None) -> Axes:
    """Draw the curvature along each direction with its standard error over samples.

    Parameters
    ----------
    diagnoses : sequence of Diagnosis
        Those without directions are left out; several models have marks beside each other.
    ax : Axes, optional
        Where to draw. Default: a figure of its own, as high as needed.

    Returns
    -------
    Axes

    Examples
    --------
    >>> plot_directional_curvatures([]).texts[0].get_text()
    'no direction was measured'
    """
    items = [item for item in drawn(diagnoses, "directional") if item.finding.details.get("directions")]
    names = names_in([[str(row.get("name")) for row in item.finding.details["directions"]] for item in items])
    groups = groups_of(items, "directions", names, "curvature", "standard_error")
    row = 0.3 if len(groups) < 2 else 0.18 + 0.12 * len(groups)
    axes = bare_figure(max(1.4, 0.9 + row * len(names))).subplots() if ax is None else ax
    if not names:
        say_nothing_to_draw(axes, "no direction was measured")
        finish(axes, [])
        return axes
    log = set_signed_scale(axes, "x", np.concatenate([group.values for group in groups]))
    handles = draw_dots(axes, groups, log=False)
    axes.set_xlabel(f"curvature along it ({CURVATURE_WORDS}{', signed log scale' if log else ''})")
    name_rows(axes, names)
    finish(axes, handles)
    close_frame(axes)
    return axes
