"""Three steps around a minimum, by values alone, as in Numerical Recipes."""

from __future__ import annotations

import math
from collections.abc import Callable

from landscape.optim.line_search.line import Line, SearchResult, Trial
from landscape.status import Status

# The constants of Press et al. (1992), Numerical Recipes in C, 2nd ed., sections 10.1 and 10.5.
GOLD = 1.618034
GLIMIT = 100.0
TINY = 1e-20
NR_XTOL = 2e-4

Triple = tuple[Trial, Trial, Trial]


def first_bracket(line: Line, initial_step: float, max_evaluations: int) -> tuple[Triple, int] | None:
    """The bracket found from the interval (0, ``initial_step``), and the number of trials at which to stop.

    A first trial that is not finite is shrunk by 0.1 until it is; those shrinks do not count. None if none is finite.
    """
    first = line.first_finite(initial_step)
    if first is None:
        return None
    limit = len(line.trials) + max_evaluations - 1
    return bracket(line, line.start, first, limit), limit


def search_bracket(
    line: Line,
    initial_step: float,
    minimise: Callable[[Line, Triple, float, int], Trial],
    xtol: float,
    max_evaluations: int,
) -> SearchResult:
    """Bracket a minimum from the interval (0, ``initial_step``), and go to the one that ``minimise`` finds in it."""
    found = first_bracket(line, initial_step, max_evaluations)
    if found is None:
        return SearchResult(Status.SEARCH_FAILED, 0.0)
    triple, limit = found
    minimum = minimise(line, triple, xtol, limit)
    if not minimum.loss < line.start.loss:
        return SearchResult(Status.SEARCH_FAILED, 0.0)
    return SearchResult(Status.ACCEPTED, minimum.step_size)


def bracket(line: Line, a: Trial, b: Trial, limit: int) -> Triple:
    """Three trials in order of step size (either order), the middle one lowest; stops early at ``limit`` trials.

    The loop also counts its rounds: where rounding makes it revisit points, no trial is added.
    """
    if b.loss > a.loss:
        a, b = b, a
    c = line.forward(b.step_size + GOLD * (b.step_size - a.step_size))
    for _ in range(limit - len(line.trials)):
        if b.loss <= c.loss or len(line.trials) >= limit:
            break
        farther = c.step_size + GOLD * (c.step_size - b.step_size)
        vertex = _vertex(a, b, c)
        furthest = b.step_size + GLIMIT * (c.step_size - b.step_size)
        if (b.step_size - vertex) * (vertex - c.step_size) > 0.0:  # between b and c
            u = line.forward(vertex)
            if u.loss < c.loss:
                return b, u, c
            if u.loss > b.loss:
                return a, b, u
            if len(line.trials) >= limit:
                break
            u = line.forward(farther)
        elif (c.step_size - vertex) * (vertex - furthest) > 0.0:  # beyond c, within the limit
            u = line.forward(vertex)
            if u.loss < c.loss and len(line.trials) < limit:
                b, c, u = c, u, line.forward(u.step_size + GOLD * (u.step_size - c.step_size))
        elif (vertex - furthest) * (furthest - c.step_size) >= 0.0:  # beyond the limit
            u = line.forward(furthest)
        else:  # the parabola has its vertex behind us
            u = line.forward(farther)
        a, b, c = b, c, u
    return a, b, c


def _vertex(a: Trial, b: Trial, c: Trial) -> float:
    """Extremum of the parabola through three points; far away, not a division by zero, if they are on a line."""
    r = (b.step_size - a.step_size) * (b.loss - c.loss)
    q = (b.step_size - c.step_size) * (b.loss - a.loss)
    denominator = 2.0 * math.copysign(max(abs(q - r), TINY), q - r)
    return b.step_size - ((b.step_size - c.step_size) * q - (b.step_size - a.step_size) * r) / denominator
