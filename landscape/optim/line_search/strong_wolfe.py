"""Strong Wolfe conditions by cubic interpolation: a slope so small that any conjugate-gradient formula can go on."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

from landscape.optim.line_search.conditions import ARMIJO, has_decreased, is_level, loss_tolerance
from landscape.optim.line_search.interpolation import clamped, cubic_minimum, short_of, slope_zero
from landscape.optim.line_search.line import Line, SearchResult, Trial
from landscape.optim.line_search.proposals import Proposals, extended, search_from

# Least distance of a trial from either end of an interval between level points, in parts of its length.
MARGIN = 0.1
# An interval that two trials have left longer than this part is halved.
ENOUGH = 0.66


@dataclass(frozen=True)
class StrongWolfe:
    r"""Bracket a step that satisfies the strong Wolfe conditions, then zoom in on it by cubic interpolation.

    Each trial computes the loss and the gradient. A step size :math:`\alpha` is accepted if

    .. math:: \varphi(\alpha) \le \varphi(0) + c_1 \alpha \varphi'(0), \qquad |\varphi'(\alpha)| \le c_2 |\varphi'(0)|.

    Where rounding can hide the decrease, :math:`|\varphi(\alpha) - \varphi(0)| \le \epsilon`, the second is enough, with
    :math:`\epsilon = \max(10^{-6}, 4\, eps)\, |\varphi(0)|` as in Hager and Zhang's approximate Wolfe conditions.

    Parameters
    ----------
    c1 : float, default 1e-4
        Least part of the promised decrease that is enough.
    c2 : float, default 0.1
        Largest part of the slope that may be left. Below 1/2 the next direction of Fletcher-Reeves goes down; 0.1 is
        usual for conjugate gradients, 0.9 for quasi-Newton directions.
    max_evaluations : int, default 20
        Trials allowed. Shrinks away from a non-finite first trial do not count.

    Raises
    ------
    ValueError
        If a setting is outside its range.

    Notes
    -----
    About two gradients a step with ``c2=0.1``; ``"quadratic"`` comes as close to the minimum along a line with one
    forward pass and one gradient. A trial that is not finite counts as too high: the next one is at a tenth of the step
    to it, or half way between it and a step that is finite, and no step is extended beyond that. Losses that differ by
    less than :math:`\epsilon` are not compared: the slope tells on which side the minimum is.

    References
    ----------
    Nocedal, Wright (2006), Numerical Optimization, 2nd ed., algorithms 3.5 and 3.6, equation 3.59.
    More, Thuente (1994), Line search algorithms with guaranteed sufficient decrease, ACM Trans. Math. Softw. 20(3).
    Al-Baali (1985), Descent property and global convergence of the Fletcher-Reeves method, IMA J. Numer. Anal. 5.

    Examples
    --------
    >>> import torch
    >>> from landscape.optim.conjugate_gradient import ConjugateGradient
    >>> x = torch.tensor([3.0, -2.0], dtype=torch.float64, requires_grad=True)
    >>> optimizer = ConjugateGradient([x], line_search=StrongWolfe(c2=0.4))
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

    c1: float = ARMIJO
    c2: float = 0.1
    max_evaluations: int = 20
    warm_start: ClassVar[bool] = True

    def __post_init__(self) -> None:
        """Check the constants."""
        if not 0.0 < self.c1 <= self.c2 < 1.0:
            raise ValueError(
                f"c1={self.c1!r} and c2={self.c2!r} were given; 0 < c1 <= c2 < 1 is needed for a step that satisfies both "
                "conditions to exist."
            )
        if self.max_evaluations < 1:
            raise ValueError(f"max_evaluations={self.max_evaluations!r} was given; a search needs at least 1 trial.")

    def __call__(self, line: Line, initial_step: float) -> SearchResult:
        """Search ``line`` beginning with loss and gradient at ``initial_step``."""
        return search_from(line, initial_step, self._steps, self.accepts, self.max_evaluations)

    def accepts(self, line: Line, trial: Trial) -> bool:
        """The strong Wolfe conditions, or, where rounding can hide the decrease, the one on the slope."""
        if trial.slope is None or not abs(trial.slope) <= self.c2 * abs(line.slope_at_start):
            return False
        is_hidden = abs(trial.loss - line.start.loss) <= loss_tolerance(line)
        return has_decreased(line, trial, self.c1) or is_hidden

    def _steps(self, line: Line, step: float) -> Proposals:
        """Longer and longer steps from the start until an acceptable one lies between the last two; then zoom."""
        low = line.start
        while True:
            trial = yield step
            if self._is_too_high(line, trial, low):
                break
            if _slope(trial) >= 0.0:
                low, trial = trial, low
                break
            step = extended(line, low, trial)
            low = trial
        yield from self._zoom(line, low, trial)

    def _zoom(self, line: Line, low: Trial, high: Trial) -> Proposals:
        """Narrow the interval from ``low``, the lowest so far, in the direction in which it goes down, to ``high``."""
        widths = [math.inf, math.inf]
        while True:
            width = abs(high.step_size - low.step_size)
            is_slow = high.is_finite and width > ENOUGH * widths[-2]
            trial = yield 0.5 * (low.step_size + high.step_size) if is_slow else _inside(line, low, high)
            widths.append(math.inf if is_slow else width)
            if self._is_too_high(line, trial, low):
                high = trial
            else:
                if _slope(trial) * (high.step_size - low.step_size) >= 0.0:
                    high = low
                low = trial

    def _is_too_high(self, line: Line, trial: Trial, low: Trial) -> bool:
        """Whether the minimum is certainly nearer than ``trial``, seen from ``low``."""
        most = line.start.loss + self.c1 * trial.step_size * line.slope_at_start
        return not trial.is_finite or trial.loss > min(most, low.loss) + loss_tolerance(line)


def _slope(trial: Trial) -> float:
    assert trial.slope is not None
    return trial.slope


def _inside(line: Line, low: Trial, high: Trial) -> float:
    """A step between the two: the cubic's minimum, or where the slope is zero if the losses are level with each other."""
    if not is_level(line, high):
        return short_of(line, low, high)
    width = high.step_size - low.step_size
    slope, slope_at_1, rise = _slope(low) * width, _slope(high) * width, high.loss - low.loss
    if slope_at_1 > 0.0 and abs(rise) <= loss_tolerance(line):
        fraction = slope_zero(slope, slope_at_1)
    else:
        fraction = cubic_minimum(slope, slope_at_1, rise)
    return low.step_size + clamped(fraction, MARGIN, 1.0 - MARGIN) * width
