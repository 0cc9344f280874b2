"""What each layer contributes: the trace of its own block of the Hessian, and its part of the gradient."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from landscape.diagnosis.diagnosis import Diagnosis
from landscape.plots.axes import drawable, finish, say_nothing_to_draw, set_scale, wants_log
from landscape.plots.diagnosed import CURVATURE_WORDS, bare_figure, close_frame, drawn, set_signed_scale
from landscape.plots.rows import Group, draw_bars, draw_dots, groups_of, name_rows, names_in

if TYPE_CHECKING:
    from matplotlib.axes import Axes

#: More rows than this are not read; those with the greatest values are drawn.
MAX_LAYERS = 30


def plot_layer_traces(diagnoses: Sequence[Diagnosis], ax: Axes | None = None) -> Axes:
    """Draw the trace of each layer's diagonal block as a bar from 0, with its standard error.

    Bars of positive and of negative trace differ in colour and direction; a hollow bar cannot be told from 0 (two
    standard errors). Several models have bars beside each other.

    Parameters
    ----------
    diagnoses : sequence of Diagnosis
        Those without layers are left out.
    ax : Axes, optional
        Where to draw. Default: a figure of its own, as high as needed.

    Returns
    -------
    Axes

    Examples
    --------
    >>> plot_layer_traces([]).texts[0].get_text()
    'no layer was measured'
    """
    groups, names, left_out = _groups(diagnoses, "trace", "trace_standard_error")
    axes = _axes(ax, groups, names)
    if not names:
        say_nothing_to_draw(axes, "no layer was measured")
        finish(axes, [])
        return axes
    log = set_signed_scale(axes, "x", np.concatenate([group.values for group in groups]))
    handles = draw_bars(axes, groups)
    axes.set_xlabel(f"trace of the layer's block ({CURVATURE_WORDS}{', signed log scale' if log else ''}){left_out}")
    return _finished(axes, names, handles)


def plot_layer_gradients(diagnoses: Sequence[Diagnosis], ax: Axes | None = None) -> Axes:
    """Draw the norm of each layer's part of the gradient.

    Parameters
    ----------
    diagnoses : sequence of Diagnosis
        Those without layers are left out.
    ax : Axes, optional
        Where to draw. Default: a figure of its own, as high as needed.

    Returns
    -------
    Axes

    Examples
    --------
    >>> plot_layer_gradients([]).texts[0].get_text()
    'no layer was measured'
    """
    groups, names, left_out = _groups(diagnoses, "gradient_norm", "")
    axes = _axes(ax, groups, names)
    if not names:
        say_nothing_to_draw(axes, "no layer was measured")
        finish(axes, [])
        return axes
    values = np.concatenate([group.values for group in groups])
    log = wants_log(values)
    set_scale(axes, "x", values, log=log)
    handles = draw_dots(axes, groups, log=log)
    if not log and np.isfinite(values).any():
        axes.set_xlim(0.0, 1.08 * float(np.nanmax(drawable(values, log=False))) or 1.0)  # lengths are compared from 0
    axes.set_xlabel(f"gradient norm (loss / parameter{', log scale' if log else ''}){left_out}")
    return _finished(axes, names, handles)


def _groups(diagnoses: Sequence[Diagnosis], value: str, error: str) -> tuple[list[Group], list[str], str]:
    """Values of the layers with the greatest ones, in the model's order, and how many are left out."""
    items = [item for item in drawn(diagnoses, "layers") if item.finding.details.get("rows")]
    names = names_in([[str(row.get("name")) for row in item.finding.details["rows"]] for item in items])
    groups = groups_of(items, "rows", names, value, error)
    if len(names) <= MAX_LAYERS:
        return groups, names, ""
    sizes = np.max([np.nan_to_num(np.abs(group.values), nan=-1.0) for group in groups], axis=0)
    kept = sorted(np.argsort(-sizes, kind="stable")[:MAX_LAYERS].tolist())
    left_out = f"\n{len(names) - MAX_LAYERS} layers with smaller ones are not drawn"
    groups = [Group(group.item, group.values[kept], group.errors[kept]) for group in groups]
    return groups, [names[index] for index in kept], left_out


def _axes(ax: Axes | None, groups: Sequence[Group], names: Sequence[str]) -> Axes:
    row = 0.26 if len(groups) < 2 else 0.16 + 0.12 * len(groups)
    made: Axes = bare_figure(max(1.4, 0.85 + row * len(names))).subplots() if ax is None else ax
    return made


def _finished(axes: Axes, names: Sequence[str], handles: list) -> Axes:  # type: ignore[type-arg]
    name_rows(axes, names)
    if len(names) < 3:
        axes.set_ylim(len(names), -1.0)  # a single bar need not fill the figure
    finish(axes, handles)
    close_frame(axes)
    return axes
