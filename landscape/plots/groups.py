"""Marks that lie close together, named as one: no two letters of a figure cover each other."""

from __future__ import annotations

import string
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from landscape.plots.series import Array


@dataclass(frozen=True)
class Group:
    """Marks under one letter.

    Parameters
    ----------
    letter : str
    members : tuple of int
        Which of the points, in order.
    x, y : float
        The member that is nearest to the middle: the letter belongs above it.
    """

    letter: str
    members: tuple[int, ...]
    x: float
    y: float


def nearest_groups(points: Array, *, most: int, apart: float) -> list[Group]:
    """Join the two nearest groups until there are few enough and none lie closer together than that.

    Parameters
    ----------
    points : array of shape (n, 2)
        In inches on the paper; finite.
    most : int
        Groups at the end, at most.
    apart : float
        Least distance of the middles of two groups, in inches.

    Returns
    -------
    list of Group
        From left to right, lettered.

    Examples
    --------
    >>> points = np.array([[0.0, 0.0], [3.0, 1.0], [0.1, 0.0]])
    >>> [(group.letter, group.members) for group in nearest_groups(points, most=8, apart=0.5)]
    [('a', (0, 2)), ('b', (1,))]
    """
    groups = [[index] for index in range(len(points))]
    while len(groups) > 1:
        middles = np.stack([_middle(points[group]) for group in groups])
        distances = np.linalg.norm(middles[:, None] - middles, axis=2)
        np.fill_diagonal(distances, np.inf)
        nearest = int(np.argmin(distances))
        one, other = sorted(divmod(nearest, len(groups)))
        if len(groups) <= most and distances[one, other] >= apart:
            break
        groups[one] += groups.pop(other)
    groups.sort(key=lambda group: (float(_middle(points[group])[0]), group[0]))
    return [_group(_letter(number), points, sorted(group)) for number, group in enumerate(groups)]


def _middle(points: Array) -> Array:
    """Between the ends, so that many equal points count as one."""
    middle: Array = 0.5 * (points.min(axis=0) + points.max(axis=0))
    return middle


def _group(letter: str, points: Array, members: Sequence[int]) -> Group:
    distances = np.linalg.norm(points[members] - _middle(points[members]), axis=1)
    x, y = points[members[int(np.argmin(distances))]]
    return Group(letter, tuple(members), float(x), float(y))


def _letter(number: int) -> str:
    """a, b, ..., z, a2, b2, ..."""
    round_, place = divmod(number, 26)
    return string.ascii_lowercase[place] + (str(round_ + 1) if round_ else "")
