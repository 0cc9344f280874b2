"""Bracketing and golden-section search of Numerical Recipes: exact, derivative-free, costly."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

from landscape.optim.line_search.line import Line, SearchResult, Trial
from landscape.status import Status

# The constants of Press et al. (1992), Numerical Recipes in C, 2nd ed., sections 10.1 and 10.5.
GOLD = 1.618034
GLIMIT = 100.0
TINY = 1e-20
INNER = 0.61803399
OUTER = 1.0 - INNER
NR_XTOL = 2e-4


@dataclass(frozen=True)
class GoldenSection:
    r"""Line minimisation by golden section, as in Numerical Recipes in C, 2nd edition, chapter 10.

    Brackets a minimum from the interval (0, 1), in units of the direction, by golden-ratio growth with parabolic
    extrapolation (the book's ``mnbrak``), then shrinks the bracket by golden section (``golden``). Uses values only,
    followed by one gradient at the minimum found. The line search of Hrycej et al. (2025); ``"quadratic"`` costs three times
    less per step, six times less than at ``xtol="nr"``, and reaches lower losses at equal cost.

    Parameters
    ----------
    xtol : float
        The section stops when the bracket is shorter than ``xtol`` times the sum of its two inner step sizes. 2e-4 is
        the book's tolerance for line minimisation; below the square root of the machine precision (3e-4 in float32) the
        comparisons are decided by rounding.
    max_evaluations : int
        Trials allowed; then the lowest one so far is taken. Shrinks away from a non-finite first trial do not count.

    Notes
    -----
    Differences from the book, none of which changes a search that stays finite: values already known are not computed
    again; a first trial that is not finite is shrunk by 0.1 until it is; any later non-finite trial counts as +inf, so
    it closes the bracket and no parabola passes through it. As in the book, the bracket may extend to negative step
    sizes. A non-zero initial step other than 1 is used only after failed searches.

    References
    ----------
    Press, Teukolsky, Vetterling, Flannery (1992), Numerical Recipes in C, 2nd ed., sections 10.1, 10.5, 10.6.
    Kiefer (1953), Sequential minimax search for a maximum, Proc. AMS 4.
    """

    xtol: float = 0.1
    max_evaluations: int = 100
    warm_start: ClassVar[bool] = False

    def __call__(self, line: Line, initial_step: float) -> SearchResult:
        """Search ``line`` beginning with the interval (0, ``initial_step``)."""
        first = line.first_finite(initial_step)
        if first is None:
            return SearchResult(Status.SEARCH_FAILED, 0.0)
        limit = len(line.trials) + self.max_evaluations - 1
        minimum = section(line, bracket(line, line.start, first, limit), self.xtol, limit)
        if not minimum.loss < line.start.loss:
            return SearchResult(Status.SEARCH_FAILED, 0.0)
        return SearchResult(Status.ACCEPTED, minimum.step_size)


def bracket(line: Line, a: Trial, b: Trial, limit: int) -> tuple[Trial, Trial, Trial]:
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
            u = line.forward(farther)
        elif (c.step_size - vertex) * (vertex - furthest) > 0.0:  # beyond c, within the limit
            u = line.forward(vertex)
            if u.loss < c.loss:
                b, c, u = c, u, line.forward(u.step_size + GOLD * (u.step_size - c.step_size))
        elif (vertex - furthest) * (furthest - c.step_size) >= 0.0:  # beyond the limit
            u = line.forward(furthest)
        else:  # the parabola has its vertex behind us
            u = line.forward(farther)
        a, b, c = b, c, u
    return a, b, c


def section(line: Line, triple: tuple[Trial, Trial, Trial], xtol: float, limit: int) -> Trial:
    """The lower of the two inner points of the final bracket."""
    a, b, c = triple
    x0, x3 = a.step_size, c.step_size
    left, right = b.step_size - a.step_size, c.step_size - b.step_size
    if len(line.trials) >= limit:
        return min(triple, key=lambda trial: trial.loss)
    if abs(right) > abs(left):
        one, two = b, line.forward(b.step_size + OUTER * right)
    else:
        one, two = line.forward(b.step_size - OUTER * left), b
    for _ in range(limit - len(line.trials)):
        if abs(x3 - x0) <= xtol * (abs(one.step_size) + abs(two.step_size)):
            break
        if two.loss < one.loss:
            x0, one, two = one.step_size, two, line.forward(INNER * two.step_size + OUTER * x3)
        else:
            x3, one, two = two.step_size, line.forward(INNER * one.step_size + OUTER * x0), one
    return min(one, two, key=lambda trial: trial.loss)


def _vertex(a: Trial, b: Trial, c: Trial) -> float:
    """Extremum of the parabola through three points; far away, not a division by zero, if they are on a line."""
    r = (b.step_size - a.step_size) * (b.loss - c.loss)
    q = (b.step_size - c.step_size) * (b.loss - a.loss)
    denominator = 2.0 * math.copysign(max(abs(q - r), TINY), q - r)
    return b.step_size - ((b.step_size - c.step_size) * q - (b.step_size - a.step_size) * r) / denominator
