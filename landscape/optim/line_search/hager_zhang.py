"""Hager and Zhang's search: Wolfe's conditions, or slopes alone where rounding hides what the loss does."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass
from typing import ClassVar

from landscape.optim.line_search.conditions import DELTA, SIGMA, is_level, is_wolfe
from landscape.optim.line_search.interpolation import NEAREST, clamped, short_of, slope_zero
from landscape.optim.line_search.line import Line, SearchResult, Trial
from landscape.optim.line_search.proposals import Proposals, extended, search_from

# Hager, Zhang (2005), section 5 (gamma): an interval that two secant steps leave longer than this part is halved.
GAMMA = 0.66
Interval = tuple[Trial, Trial]
Narrowing = Generator[float, Trial, Interval]


@dataclass(frozen=True)
class HagerZhang:
    r"""Line search of CG_DESCENT: a bracket of a minimum, narrowed by pairs of secant steps on the slope.

    Each trial computes the loss and the gradient, so a first trial that is accepted costs one gradient, and that gradient
    is the next step's. Made for steps of known length, as quasi-Newton directions have.

    A step size :math:`\alpha` is accepted under Wolfe's conditions,
    :math:`\varphi(\alpha) \le \varphi(0) + \delta \alpha \varphi'(0)` and
    :math:`\varphi'(\alpha) \ge \sigma \varphi'(0)`, or under the approximate ones,
    :math:`\sigma \varphi'(0) \le \varphi'(\alpha) \le (2 \delta - 1) \varphi'(0)` and
    :math:`\varphi(\alpha) \le \varphi(0) + \epsilon`, with :math:`\epsilon = \max(10^{-6}, 4\, eps)\, |\varphi(0)|`.
    Near a minimum the loss can tell step sizes apart to the square root of the machine precision only, slopes to the
    machine precision itself: the approximate conditions go on where Wolfe's would fail.

    Parameters
    ----------
    sigma : float, default 0.9
        Largest part of the slope that may be left, from ``delta`` to 1. Smaller is closer to an exact search. The default
        suits quasi-Newton directions; conjugate gradients, whose directions rely on it, need 0.4 or less.
    delta : float, default 0.1
        Least part of the promised decrease that is enough, between 0 and 0.5.
    max_evaluations : int, default 20
        Trials allowed. Shrinks away from a non-finite first trial do not count.

    Raises
    ------
    ValueError
        If a setting is outside its range.

    Notes
    -----
    Differences from the published search. The first trial is at the step asked for; there is no trial at a tenth of it,
    whose decrease can be close to rounding in float32. A step that is too short is extended by the secant of the last two
    slopes, to at most ten times its size. Where the far end of an interval is too high, losses and slopes
    interpolate (More, Thuente 1994), in place of the middle or a secant step. A trial that is not finite counts as too
    high: the next one is at a tenth of the step to it, or half way between it and a step that is finite, and no step is
    extended beyond that.

    References
    ----------
    Hager, Zhang (2005), A new conjugate gradient method with guaranteed descent and an efficient line search, SIAM J.
    Optim. 16(1), section 4. Hager, Zhang (2006), Algorithm 851: CG_DESCENT, ACM Trans. Math. Softw. 32(1).
    More, Thuente (1994), Line search algorithms with guaranteed sufficient decrease, ACM Trans. Math. Softw. 20(3).

    Examples
    --------
    >>> import torch
    >>> from landscape.optim.conjugate_gradient import ConjugateGradient
    >>> x = torch.tensor([3.0, -2.0], dtype=torch.float64, requires_grad=True)
    >>> optimizer = ConjugateGradient([x], line_search=HagerZhang(sigma=0.4))
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

    sigma: float = SIGMA
    delta: float = DELTA
    max_evaluations: int = 20
    warm_start: ClassVar[bool] = True

    def __post_init__(self) -> None:
        """Check the constants."""
        if not 0.0 < self.delta < 0.5 or not self.delta <= self.sigma < 1.0:
            raise ValueError(
                f"delta={self.delta!r} and sigma={self.sigma!r} were given; 0 < delta < 0.5 and delta <= sigma < 1 are "
                "needed for a step that satisfies both conditions to exist."
            )
        if self.max_evaluations < 1:
            raise ValueError(f"max_evaluations={self.max_evaluations!r} was given; a search needs at least 1 trial.")

    def __call__(self, line: Line, initial_step: float) -> SearchResult:
        """Search ``line`` beginning with loss and gradient at ``initial_step``."""
        return search_from(line, initial_step, narrowing_steps, self.accepts, self.max_evaluations)

    def accepts(self, line: Line, trial: Trial) -> bool:
        """Wolfe's conditions, or the approximate ones."""
        return is_wolfe(line, trial, self.delta, self.sigma)


def narrowing_steps(line: Line, first: float) -> Proposals:
    """Steps towards a minimum, beginning with ``first``: Hager and Zhang's bracket, then pairs of secant steps."""
    interval = yield from _bracket(line, first)
    while True:
        low, high = yield from _secant_pair(line, interval)
        width = high.step_size - low.step_size
        if width > GAMMA * (interval[1].step_size - interval[0].step_size):
            low, high = yield from _replaced(line, low, high, (yield low.step_size + 0.5 * width))
        interval = low, high


def _bracket(line: Line, step: float) -> Narrowing:
    """Longer and longer steps from the start, until one goes up again or is too high."""
    before = low = line.start
    while True:
        trial = yield step
        if not is_level(line, trial) or _goes_up(trial):
            return (yield from _replaced(line, low, trial, trial))
        before, low = low, trial
        step = extended(line, before, low)


def _secant_pair(line: Line, interval: Interval) -> Narrowing:
    """A secant step between the two ends, and one through the end that it replaced and its successor."""
    low, high = interval
    trial = yield _between(line, low, high)
    new_low, new_high = yield from _replaced(line, low, high, trial)
    if trial is new_high:
        step = _secant(high, new_high)
    elif trial is new_low:
        step = _secant(low, new_low)
    else:
        return new_low, new_high
    if not new_low.step_size < step < new_high.step_size:
        return new_low, new_high
    return (yield from _replaced(line, new_low, new_high, (yield step)))


def _replaced(line: Line, low: Trial, high: Trial, trial: Trial) -> Narrowing:
    """The part of the interval that holds a minimum: its lower end is level and goes down, its upper end goes up."""
    if _goes_up(trial):
        return low, trial
    if is_level(line, trial):
        return trial, high
    high = trial
    while True:  # there is a point that goes up and is not too high, or one that goes up, between these two
        trial = yield _below(line, low, high)
        if _goes_up(trial):
            return low, trial
        if is_level(line, trial):
            low = trial
        else:
            high = trial


def _goes_up(trial: Trial) -> bool:
    return trial.is_finite and trial.slope is not None and trial.slope >= 0.0


def _secant(one: Trial, two: Trial) -> float:
    """The step size at which the line through two slopes is zero."""
    assert one.slope is not None
    assert two.slope is not None
    width = two.step_size - one.step_size
    return one.step_size + slope_zero(one.slope * width, two.slope * width) * width


def _between(line: Line, low: Trial, high: Trial) -> float:
    """A step between a point that goes down and one that goes up."""
    if not is_level(line, high):  # the loss tells more than the slope
        return _below(line, low, high)
    width = high.step_size - low.step_size
    fraction = (_secant(low, high) - low.step_size) / width
    return low.step_size + clamped(fraction, NEAREST, 1.0 - NEAREST) * width


def _below(line: Line, low: Trial, high: Trial) -> float:
    """A step short of one that is too high: a level one known by its loss alone, or by interpolation."""
    known = [
        trial.step_size
        for trial in line.trials.values()
        if low.step_size < trial.step_size < high.step_size and trial.slope is None and is_level(line, trial)
    ]
    return max(known) if known else short_of(line, low, high)
