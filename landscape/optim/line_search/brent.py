"""Bracketing and Brent's minimisation: parabolas where they help, golden sections where they do not; values only."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import ClassVar

from landscape.optim.line_search.bracketing import Triple, search_bracket
from landscape.optim.line_search.line import Line, SearchResult, Trial

# Press et al. (1992), Numerical Recipes in C, 2nd ed., section 10.2.
CGOLD = 0.3819660


@dataclass(frozen=True)
class Brent:
    r"""Line minimisation by Brent's method, as in Numerical Recipes in C, 2nd edition, section 10.2.

    Brackets a minimum like :class:`GoldenSection`, then steps to the minimum of the parabola through the three lowest
    points, or takes a golden section where that lies outside the bracket or the steps do not shrink fast enough. Uses
    values only, followed by one gradient at the minimum found. The book's own line minimisation, ``linmin``, is this at
    ``xtol="nr"``.

    Parameters
    ----------
    xtol : float
        The search stops once the minimum is known to ``xtol`` times its step size. 2e-4 is the book's tolerance for line
        minimisation; below the square root of the machine precision (3e-4 in float32) the comparisons are decided by
        rounding.
    max_evaluations : int
        Trials allowed; then the lowest one so far is taken. Shrinks away from a non-finite first trial do not count.

    Notes
    -----
    Differences from the book are those of :class:`GoldenSection`: nothing is computed twice, and a trial that is not
    finite counts as +inf, so that no parabola passes through it. The book's absolute tolerance of 1e-10, made for a
    minimum at 0, is left out: along a steep direction every step size may be smaller.

    References
    ----------
    Brent (1973), Algorithms for Minimization without Derivatives, chapter 5.
    Press, Teukolsky, Vetterling, Flannery (1992), Numerical Recipes in C, 2nd ed., sections 10.1, 10.2, 10.5.

    Examples
    --------
    >>> import torch
    >>> from landscape.optim.conjugate_gradient import ConjugateGradient
    >>> x = torch.tensor([3.0, -2.0], dtype=torch.float64, requires_grad=True)
    >>> optimizer = ConjugateGradient([x], line_search=Brent(xtol=0.01))
    >>> def closure():
    ...     optimizer.zero_grad()
    ...     loss = torch.cosh(x[0]) + 5 * x[1] ** 2
    ...     if loss.requires_grad:
    ...         loss.backward()
    ...     return loss
    >>> for _ in range(15):
    ...     loss = optimizer.step(closure)
    >>> bool(x.abs().max() < 1e-3)
    True
    """

    xtol: float = 0.1
    max_evaluations: int = 100
    warm_start: ClassVar[bool] = False

    def __call__(self, line: Line, initial_step: float) -> SearchResult:
        """Search ``line`` beginning with the interval (0, ``initial_step``)."""
        return search_bracket(line, initial_step, minimise, self.xtol, self.max_evaluations)


@dataclass(frozen=True)
class _Bracket:
    """An interval around a minimum, with the three lowest points in it and the lengths of the last two steps."""

    low: float
    high: float
    best: Trial
    second: Trial
    third: Trial
    moved: float = 0.0
    moved_before: float = 0.0

    def step(self, tol: float) -> tuple[float, float]:
        """The next step from the best point, and what counts as the one before it."""
        x = self.best.step_size
        parabolic = self._parabolic_step() if abs(self.moved_before) > tol else math.nan
        # False of NaN, too: the steps have to halve every second time, and to stay inside.
        if abs(parabolic) < 0.5 * abs(self.moved_before) and self.low < x + parabolic < self.high:
            if x + parabolic - self.low < 2.0 * tol or self.high - x - parabolic < 2.0 * tol:
                parabolic = math.copysign(tol, 0.5 * (self.low + self.high) - x)
            return parabolic, self.moved
        longer = (self.low if x >= 0.5 * (self.low + self.high) else self.high) - x
        return CGOLD * longer, longer

    def _parabolic_step(self) -> float:
        """From the best point to the extremum of the parabola through the three; NaN if there is none."""
        if not (self.second.is_finite and self.third.is_finite):
            return math.nan
        x = self.best.step_size
        r = (x - self.second.step_size) * (self.best.loss - self.third.loss)
        q = (x - self.third.step_size) * (self.best.loss - self.second.loss)
        numerator = (x - self.third.step_size) * q - (x - self.second.step_size) * r
        return -numerator / (2.0 * (q - r)) if q != r else math.nan

    def with_trial(self, trial: Trial, moved: float, moved_before: float) -> _Bracket:
        """The smaller interval, and the three lowest points, that a new trial leaves."""
        following = replace(self, moved=moved, moved_before=moved_before)
        x, u = self.best.step_size, trial.step_size
        if trial.loss <= self.best.loss:
            low, high = (x, self.high) if u >= x else (self.low, x)
            return replace(following, low=low, high=high, best=trial, second=self.best, third=self.second)
        low, high = (u, self.high) if u < x else (self.low, u)
        following = replace(following, low=low, high=high)
        if trial.loss <= self.second.loss or self.second.step_size == x:
            return replace(following, second=trial, third=self.second)
        if trial.loss <= self.third.loss or self.third.step_size in (x, self.second.step_size):
            return replace(following, third=trial)
        return following


def minimise(line: Line, triple: Triple, xtol: float, limit: int) -> Trial:
    """The lowest point of a bracket, to ``xtol`` times its step size."""
    a, best, c = triple
    low, high = sorted((a.step_size, c.step_size))
    state = _Bracket(low, high, best, best, best)
    for _ in range(limit - len(line.trials)):
        x = state.best.step_size
        tol = xtol * abs(x)
        if abs(x - 0.5 * (state.low + state.high)) <= 2.0 * tol - 0.5 * (state.high - state.low):
            break
        moved, moved_before = state.step(tol)
        trial = line.forward(x + (moved if abs(moved) >= tol else math.copysign(tol, moved)))
        state = state.with_trial(trial, moved, moved_before)
    return min(*triple, state.best, key=lambda trial: trial.loss)
