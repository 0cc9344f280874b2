"""When a step is good enough: conditions on the loss and on the slope, and one that rounding of the loss cannot spoil."""

from __future__ import annotations

from landscape.optim.line_search.line import Line, Trial

# Nocedal, Wright (2006), Numerical Optimization, 2nd ed., section 3.1: the usual constant of sufficient decrease.
ARMIJO = 1e-4
# Hager, Zhang (2005), SIAM J. Optim. 16(1), section 4: the constants delta, sigma and epsilon.
DELTA = 0.1
SIGMA = 0.9
LOSS_RTOL = 1e-6


def loss_tolerance(line: Line) -> float:
    """How much larger than at the start a loss may be and still count as equal to it."""
    return max(LOSS_RTOL, 4.0 * line.eps) * abs(line.start.loss)


def is_level(line: Line, trial: Trial) -> bool:
    """Whether the loss is, to within rounding, at most that of the start."""
    return trial.is_finite and trial.loss <= line.start.loss + loss_tolerance(line)


def has_decreased(line: Line, trial: Trial, delta: float) -> bool:
    """Armijo's condition: at least the part ``delta`` of the decrease that the slope at the start promises."""
    # The first comparison matters where the promised decrease is lost in rounding: a step of no effect is none.
    promised = delta * trial.step_size * line.slope_at_start
    return trial.is_finite and trial.loss < line.start.loss and trial.loss <= line.start.loss + promised


def is_approximate_wolfe(line: Line, trial: Trial, delta: float = DELTA, sigma: float = SIGMA) -> bool:
    """Wolfe's conditions for a parabola, in slopes alone, where the loss is level (Hager, Zhang 2005, eqs. 23 and 27)."""
    if trial.slope is None or not is_level(line, trial):
        return False
    slope = line.slope_at_start
    return sigma * slope <= trial.slope <= (2.0 * delta - 1.0) * slope


def is_wolfe(line: Line, trial: Trial, delta: float = DELTA, sigma: float = SIGMA) -> bool:
    """Wolfe's conditions, or the approximate ones."""
    if trial.slope is None:
        return False
    is_exact = has_decreased(line, trial, delta) and trial.slope >= sigma * line.slope_at_start
    return is_exact or is_approximate_wolfe(line, trial, delta, sigma)
