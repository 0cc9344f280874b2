"""Searches that test one trial after another: what proposes the steps is kept apart from what accepts them."""

from __future__ import annotations

import math
from collections.abc import Callable, Generator

from landscape.optim.line_search.conditions import is_level
from landscape.optim.line_search.line import Line, SearchResult, Trial
from landscape.status import Status

# Bounds of how much longer a step is made that is too short.
LEAST_GROWTH, LEAST_GROWTH_AGAIN, GROWTH = 1.1, 2.0, 10.0

Proposals = Generator[float, Trial, None]
"""Yields step sizes, is sent the trials there, and never ends: it says that it is stuck by repeating itself."""


def take_first(
    line: Line,
    proposals: Proposals,
    accepts: Callable[[Line, Trial], bool],
    limit: int,
    *,
    spares_gradients: bool = False,
) -> SearchResult:
    """Evaluate loss and slope where ``proposals`` says, and stop at the first trial that is accepted.

    Parameters
    ----------
    line : Line
    proposals : generator
        Nothing is evaluated where ``line`` knows loss and slope already, so a search may go on from another's trials.
    accepts : callable
        Whether a trial, whose slope is known, is the result.
    limit : int
        No new trial is made once ``line`` has this many.
    spares_gradients : bool
        After a trial that is plainly too high make the next one by its loss alone, and compute the slope only if it is
        not too high as well.

    Returns
    -------
    SearchResult
        The trial accepted is the last one evaluated, so its gradient is still at hand.
    """
    is_high = False
    seen: set[float] = set()
    step = next(proposals)
    while 0.0 < step < math.inf and step not in seen and (step in line.trials or len(line.trials) < limit):
        seen.add(step)
        if not (is_high and spares_gradients) or is_level(line, line.forward(step)):
            line.gradient(step)
        trial = line.trials[step]
        if accepts(line, trial):
            return SearchResult(Status.ACCEPTED, step)
        is_high = not is_level(line, trial)
        step = proposals.send(trial)
    return SearchResult(Status.SEARCH_FAILED, 0.0)


def first_with_slope(line: Line, step_size: float) -> Trial | None:
    """Loss and slope at ``step_size``, or at the first of 0.1, 0.01, ... of it where the loss is finite; None if none is.

    The shorter steps are first looked at by their loss alone, which is cheaper should they not be finite, too.
    """
    if step_size > 0.0 and line.gradient(step_size).is_finite:
        return line.trials[step_size]
    finite = line.first_finite(step_size)
    return None if finite is None else line.gradient(finite.step_size)


def extended(line: Line, before: Trial, trial: Trial) -> float:
    """A longer step than ``trial``, which still goes down: to where the secant of the two slopes is zero.

    At most ten times as long, and not beyond half the way to a point known not to be finite. The second such step and any
    later one is at least twice as long: the slope is no straight line then.
    """
    assert before.slope is not None
    assert trial.slope is not None
    size = trial.step_size
    width = size - before.step_size
    bend = trial.slope - before.slope
    step = size - trial.slope / bend * width if bend > 0.0 else math.inf
    least = LEAST_GROWTH if before is line.start else LEAST_GROWTH_AGAIN
    return min(max(step, least * size), GROWTH * size, size + 0.5 * (line.barrier - size))


def search_from(
    line: Line,
    initial_step: float,
    steps: Callable[[Line, float], Proposals],
    accepts: Callable[[Line, Trial], bool],
    max_evaluations: int,
) -> SearchResult:
    """Search with loss and gradient from ``initial_step`` on; shrinks away from a non-finite first trial do not count."""
    first = first_with_slope(line, initial_step)
    if first is None:
        return SearchResult(Status.SEARCH_FAILED, 0.0)
    limit = len(line.trials) + max_evaluations - 1
    return take_first(line, steps(line, first.step_size), accepts, limit)
