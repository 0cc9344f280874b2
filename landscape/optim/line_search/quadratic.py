"""One forward trial, one parabola, one gradient at its minimum: the cheapest search that keeps conjugacy."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

from landscape.optim.line_search.conditions import ARMIJO, has_decreased, is_approximate_wolfe, is_level
from landscape.optim.line_search.hager_zhang import narrowing_steps
from landscape.optim.line_search.line import Line, SearchResult, Trial
from landscape.optim.line_search.proposals import take_first
from landscape.status import Status

# A parabola is not trusted farther than this from the trial that it was fitted to.
GROWTH = 10.0
SHRINK = 0.01
# A minimum nearer than this, where the loss at the trial is that at the start to rounding, is an artefact of rounding.
COLLAPSE = 0.1


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
    nearer, a trial is made there before any gradient is spent. From a point that is not accepted :class:`HagerZhang`'s
    search goes on, with all that is known already; after a trial that is too high it looks at the loss of the next one
    first. No parabola passes through a non-finite trial, and nothing beyond one is tried.

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
        return take_first(line, narrowing_steps(line, step), is_acceptable, limit, spares_gradients=True)


def is_acceptable(line: Line, trial: Trial) -> bool:
    """Armijo's condition, or the approximate Wolfe conditions of Hager and Zhang."""
    return trial.slope is not None and (has_decreased(line, trial, ARMIJO) or is_approximate_wolfe(line, trial))


def _by_slope(line: Line, size: float) -> tuple[Trial, float]:
    """Where the losses differ by rounding only, a parabola through them means nothing: ask the slope at the trial."""
    trial = line.gradient(size)
    if not trial.is_finite or trial.slope is None:
        return trial, COLLAPSE * size
    if trial.slope < 0.0:  # not too long
        return trial, size
    return trial, size * line.slope_at_start / (line.slope_at_start - trial.slope)


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
        if step < COLLAPSE * size and is_level(line, trial):
            return _by_slope(line, size)
        following = line.forward(nearer)
        if not following.is_finite:
            return trial, min(nearer, size + 0.5 * (line.barrier - size))
        trial = following
