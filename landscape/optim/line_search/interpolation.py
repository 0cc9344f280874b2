"""Where to cut an interval of two trials: minima of parabolas and cubics, zeros of secants, in parts of its length.

Slopes here are with respect to that part: slopes along the line times the interval's length.
"""

from __future__ import annotations

import math

from landscape.optim.line_search.line import Line, Trial

# Part of the way to a point that is not finite, as in the shrinks of a first trial that is not.
FROM_NONFINITE = 0.1
# Bounds of a step short of one that is too high.
NEAREST, FARTHEST = 0.01, 0.9


def short_of(line: Line, low: Trial, high: Trial) -> float:
    """A step from ``low``, which goes down, towards ``high``, whose loss is too high or not finite.

    From the start, when nothing finite is known on the way, the minimum of the parabola through the slope at the near end:
    it follows the loss over many orders of magnitude. Later, where the slope at the far end is known, the cubic's minimum if
    it is nearer than the parabola's, otherwise the mean of both, as in the search of More and Thuente (1994, section 4).
    """
    assert low.slope is not None
    is_first = low is line.start
    width = high.step_size - low.step_size
    if not high.is_finite:
        return low.step_size + (FROM_NONFINITE if is_first else 0.5) * width
    slope, rise = low.slope * width, high.loss - low.loss
    fraction = parabola_minimum(slope, rise)
    if not is_first and high.slope is not None:
        cubic = cubic_minimum(slope, high.slope * width, rise)
        fraction = min(cubic, 0.5 * (cubic + fraction))
    return low.step_size + clamped(fraction, NEAREST, FARTHEST) * width


def parabola_minimum(slope: float, rise: float) -> float:
    """Of the parabola that has ``slope`` at 0 and is ``rise`` higher at 1 than at 0; infinite if there is none."""
    bend = 2.0 * (rise - slope)
    return -slope / bend if bend > 0.0 else math.inf


def slope_zero(slope: float, slope_at_1: float) -> float:
    """Where the line through two slopes is zero; infinite if it is level."""
    bend = slope_at_1 - slope
    return -slope / bend if bend != 0.0 else math.inf


def cubic_minimum(slope: float, slope_at_1: float, rise: float) -> float:
    """Of the cubic with these slopes at 0 and 1 (Nocedal, Wright 2006, equation 3.59); the middle if there is none."""
    bend = slope + slope_at_1 - 3.0 * rise + slope
    last = slope_at_1 - slope + 2.0 * bend
    discriminant = bend * bend - slope * last
    if not 0.0 <= discriminant < math.inf:
        return 0.5
    root = math.sqrt(discriminant)
    if bend <= 0.0:  # of two equal formulas the one that subtracts nothing
        return slope / (bend - root) if bend < root else 0.5
    return (bend + root) / last if last > 0.0 else 0.5


def clamped(fraction: float, margin: float, most: float) -> float:
    """The fraction, or the nearest end of [``margin``, ``most``]."""
    return min(max(fraction, margin), most)
