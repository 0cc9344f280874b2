"""Values of both signs in rows, one a name, several models beside each other: what bars and dots of findings share."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from landscape.plots.axes import drawable
from landscape.plots.diagnosed import NEGATIVE, POSITIVE, Drawn, plain_name
from landscape.plots.palette import INK
from landscape.plots.series import Array

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.lines import Line2D

#: A finding is told from 0 beyond this many standard errors.
CLEAR = 2.0


@dataclass(frozen=True)
class Group:
    """The values of one model.

    Parameters
    ----------
    item : Drawn
        The finding that they come from.
    values, errors : array
        One per name; NaN where there is none.
    """

    item: Drawn
    values: Array
    errors: Array


def names_in(lists: Sequence[Sequence[str]]) -> list[str]:
    """Every name once, in the order in which they come."""
    return list(dict.fromkeys(name for names in lists for name in names))


def groups_of(items: Sequence[Drawn], rows: str, names: list[str], value: str, error: str = "") -> list[Group]:
    """A column of each finding's table, aligned to ``names``."""
    groups = []
    for item in items:
        table = {str(row.get("name")): row for row in item.finding.details.get(rows, ())}
        columns = [[_number(table.get(name, {}).get(column)) for name in names] for column in (value, error)]
        groups.append(Group(item, np.array(columns[0]), np.array(columns[1])))
    return groups


def draw_bars(axes: Axes, groups: Sequence[Group]) -> list[Line2D]:
    """A bar from 0 for each value with a whisker of one standard error; hollow where it cannot be told from 0.

    One model has the colours of the signs, several have their own. Gives legend entries.
    """
    thickness = 0.8 / len(groups)
    for number, group in enumerate(groups):
        for at, (value, error) in enumerate(zip(drawable(group.values, log=False), group.errors, strict=True)):
            if not np.isfinite(value):
                continue
            color = group.item.color if len(groups) > 1 else NEGATIVE if value < 0 else POSITIVE
            height = at + _offset(number, len(groups))
            unclear = bool(np.isfinite(error) and abs(value) <= CLEAR * error)
            face = "none" if unclear else color
            axes.barh(height, value, thickness * 0.86, facecolor=face, edgecolor=color, linewidth=0.9, zorder=2)
            if np.isfinite(error) and error > 0:
                axes.plot([value - error, value + error], [height] * 2, color=INK, linewidth=1.0, zorder=3)
    return _entries(groups)


def draw_dots(axes: Axes, groups: Sequence[Group], *, log: bool) -> list[Line2D]:
    """A mark for each value, with a whisker of one standard error; gives legend entries."""
    for number, group in enumerate(groups):
        heights = np.arange(len(group.values)) + _offset(number, len(groups))
        values = drawable(group.values, log=log)
        for value, error, height in zip(values, group.errors, heights, strict=True):
            if np.isfinite(value) and np.isfinite(error) and error > 0:
                axes.plot([value - error, value + error], [height] * 2, color=group.item.color, linewidth=1.4, zorder=3)
        look: dict[str, Any] = {"color": group.item.color, "marker": group.item.marker, "linestyle": "none"}
        axes.plot(values, heights, markersize=5, zorder=4, label=group.item.name, **look)
    return _entries(groups)


def name_rows(axes: Axes, names: Sequence[str]) -> None:
    """Names at the left, from above to below."""
    axes.set_ylim(len(names) - 0.5, -0.5)
    axes.set_yticks(range(len(names)), [plain_name(name) for name in names])


def _offset(number: int, total: int) -> float:
    return 0.8 * ((number + 0.5) / total - 0.5)


def _entries(groups: Sequence[Group]) -> list[Line2D]:
    from matplotlib.lines import Line2D

    if len(groups) < 2:
        return []
    return [
        Line2D([], [], color=group.item.color, marker=group.item.marker, linestyle="none", label=group.item.name)
        for group in groups
    ]


def _number(value: Any) -> float:
    return float(value) if isinstance(value, (int, float)) else np.nan
