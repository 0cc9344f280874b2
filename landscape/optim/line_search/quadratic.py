"""One forward trial, one parabola, one gradient at its minimum: the cheapest search that keeps conjugacy."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

from landscape.optim.line_search.line import Line, SearchResult, Trial
from landscape.status import Status

# Nocedal, Wright (2006), Numerical Optimization, 2nd ed., section 3.1: the usual constant of sufficient decrease.
ARMIJO = 1e-4
# Hager, Zhang (2005), SIAM J. Optim. 16(1), section 4: constants of the approximate Wolfe conditions.
DELTA = 0.1
SIGMA = 0.9
LOSS_RTOL = 1e-6
# A parabola is not trusted farther than this from the trial that it was fitted to.
GROWTH = 10.0
SHRINK = 0.01


@dataclass(frozen=True)
class QuadraticSearch:
    r"""Fit a parabola to :math:`\varphi(0), \varphi'(0), \varphi(\alpha_0)` and go to its minimum.

    Costs one forward pass and one gradient when the minimum is accepted, as it nearly always is: 1.33 gradient
    equivalents. On a quadratic it is an exact line search.

    A step size :math:`\alpha` is accepted if it decreases the loss sufficiently (Armijo),
    :math:`\varphi(\alpha) \le \varphi(0) + 10^{-4} \alpha \varphi'(0)`, or, where rounding hides the decrease, if it
    passes Hager and Zhang's approximate Wolfe conditions, :math:`\varphi(\alpha) \le \varphi(0) + \epsilon_f` and
    :math:`0.9\, \varphi'(0) \le \varphi'(\alpha) \le -0.8\, \varphi'(0)`, with
    :math:`\epsilon_f = \max(10^{-6}, 4\, eps)\, |\varphi(0)|`.

    Parameters
    ----------
    xtol : float
        If the gradient at the trial is known already (the closure cannot run without) and the minimum lies within
        ``xtol`` of the trial, relatively, the trial itself is accepted, which saves the second gradient.
    max_evaluations : int
        Trials allowed. Shrinks away from a non-finite first trial do not count.

    Notes
    -----
    Where the parabola's minimum is more than ten times farther than the trial (or there is none), or a hundred times
    nearer, a trial is made there before any gradient is spent. A point that is not accepted bounds an interval, which
    is then narrowed by parabolas, or by secant steps on the slope where rounding hides differences of the loss. No
    parabola passes through a non-finite trial, and nothing beyond one is tried.

    References
    ----------
    Hager, Zhang (2005), A new conjugate gradient method with guaranteed descent and an efficient line search, SIAM J.
    Optim. 16(1).
    """

    xtol: float = 0.1
    max_evaluations: int = 10
    warm_start: ClassVar[bool] = True

    def __call__(self, line: Line, initial_step: float) -> SearchResult:
        """Search ``line`` beginning with a trial at ``initial_step``."""
        trial = line.first_finite(initial_step)
        if trial is None:
            return SearchResult(Status.SEARCH_FAILED, 0.0)
        limit = len(line.trials) + self.max_evaluations - 1
        trial, step = _fit(line, trial, limit)
        is_near = abs(step - trial.step_size) <= self.xtol * trial.step_size
        if trial.slope is not None and is_near and is_acceptable(line, trial):
            return SearchResult(Status.ACCEPTED, trial.step_size)
        return _narrow(line, step, trial, limit)


def loss_tolerance(line: Line) -> float:
    """How much larger than at the start a loss may be and still count as equal to it."""
    return max(LOSS_RTOL, 4.0 * line.eps) * abs(line.start.loss)


def is_acceptable(line: Line, trial: Trial) -> bool:
    """Armijo's condition, or the approximate Wolfe conditions of Hager and Zhang."""
    if trial.slope is None or not trial.is_finite:
        return False
    slope = line.slope_at_start
    # The first comparison matters where the promised decrease is lost in rounding: a step of no effect is none.
    if trial.loss < line.start.loss and trial.loss <= line.start.loss + ARMIJO * trial.step_size * slope:
        return True
    is_level = trial.loss <= line.start.loss + loss_tolerance(line)
    return is_level and SIGMA * slope <= trial.slope <= (2.0 * DELTA - 1.0) * slope


def _fit(line: Line, trial: Trial, limit: int) -> tuple[Trial, float]:
    """A trial, and the minimum of the parabola through the start (value and slope) and that trial.

    Where the minimum is far from the trial, or there is none, the parabola says little about it: try again nearer to it.
    """
    while True:
        size = trial.step_size
        half_curvature = (trial.loss - line.start.loss - line.slope_at_start * size) / size / size
        step = -line.slope_at_start / (2.0 * half_curvature) if half_curvature > 0.0 else math.inf
        farthest = min(GROWTH * size, size + 0.5 * (line.barrier - size))
        nearer = min(max(step, SHRINK * size), farthest)
        # One evaluation is kept for the gradient; trials that send us back and forth between them end it, too.
        if nearer == step or nearer in line.trials or len(line.trials) >= limit - 1:
            return trial, nearer
        following = line.forward(nearer)
        if not following.is_finite:
            return trial, min(nearer, size + 0.5 * (line.barrier - size))
        trial = following


def _narrow(line: Line, step: float, trial: Trial, limit: int) -> SearchResult:
    """Gradient trials until one is accepted, between the longest step too short and the shortest too long."""
    low, high = line.start, None
    # Where the extrapolation fails, the trial it was made from may already be known to be low enough.
    is_low = (
        trial.loss < line.start.loss and trial.loss <= line.start.loss + ARMIJO * trial.step_size * line.slope_at_start
    )
    reserve = trial.step_size if is_low and trial.slope is None else None
    for _ in range(max(1, limit - len(line.trials))):
        # Where the last point was plainly too high, a forward pass tells first whether this one is worth a gradient.
        is_high = high is not None and _is_higher(line, high)
        if not is_high or not _is_higher(line, line.forward(step)):
            line.gradient(step)
        point = line.trials[step]
        if is_acceptable(line, point):
            return SearchResult(Status.ACCEPTED, step)
        if _is_too_short(line, point):
            low = point
        else:
            high = point
        if reserve is not None and low.step_size < reserve < (high.step_size if high else math.inf):
            step, reserve = reserve, None
        else:
            step = _extended(line, low) if high is None else _between(line, low, high)
        if not low.step_size < step < (high.step_size if high else math.inf):  # no number left inside
            break
    return SearchResult(Status.SEARCH_FAILED, 0.0)


def _is_higher(line: Line, point: Trial) -> bool:
    return point.loss > line.start.loss + loss_tolerance(line)


def _is_too_short(line: Line, point: Trial) -> bool:
    if point.slope is None or not point.is_finite or _is_higher(line, point):
        return False
    return point.slope < SIGMA * line.slope_at_start


def _extended(line: Line, low: Trial) -> float:
    """Secant extrapolation of the slope to zero, 2 to 10 times as far, not beyond half way to the barrier."""
    assert low.slope is not None
    bend = low.slope - line.slope_at_start
    ratio = -line.slope_at_start / bend if bend > 0.0 else math.inf
    size = low.step_size
    return min(size * min(max(ratio, 2.0), GROWTH), size + 0.5 * (line.barrier - size))


def _between(line: Line, low: Trial, high: Trial) -> float:
    """A step inside the interval: a tenth if the far end is not finite, a parabola's minimum, or a secant step."""
    assert low.slope is not None
    width = high.step_size - low.step_size
    if not high.is_finite:
        return low.step_size + 0.1 * width
    if high.slope is not None and high.slope > 0.0 and not _is_higher(line, high):
        fraction = low.slope / (low.slope - high.slope)  # free of rounding in the losses
        return low.step_size + min(max(fraction, 0.1), 0.9) * width
    excess = high.loss - low.loss - low.slope * width
    fraction = -low.slope * width / (2.0 * excess) if excess > 0.0 else 0.5
    return low.step_size + min(max(fraction, 0.1), 0.5) * width
