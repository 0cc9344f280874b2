"""Functions of one step size with known minima or known difficulties, and a line that counts what it is asked."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from landscape.optim.line_search import Line, Trial
from landscape.optim.line_search.conditions import loss_tolerance

Function = Callable[[float], float]


class ScalarLine(Line):
    """A function of one variable with its derivative; domain errors count as NaN.

    It refuses to evaluate anything twice: ``forwards`` and ``gradients`` are the step sizes in the order of evaluation.
    """

    def __init__(
        self, function: Function, derivative: Function, *, slope: float | None = None, eps: float = 2.0**-52
    ) -> None:
        super().__init__(function(0.0), derivative(0.0) if slope is None else slope, eps)
        self.function, self.derivative = function, derivative
        self.forwards: list[float] = []
        self.gradients: list[float] = []

    @property
    def num_forwards(self) -> int:
        return len(self.forwards)

    @property
    def num_gradients(self) -> int:
        return len(self.gradients)

    @property
    def num_trials(self) -> int:
        return len(self.trials) - 1

    def _evaluate(self, step_size: float, *, gradient: bool) -> Trial:
        known = self.gradients if gradient else [*self.forwards, *self.gradients]
        assert step_size not in known, f"{step_size} is evaluated twice"
        assert not math.isnan(step_size)
        (self.gradients if gradient else self.forwards).append(step_size)
        try:
            loss = self.function(step_size)
            slope = self.derivative(step_size) if gradient else None
        except (ValueError, OverflowError, ZeroDivisionError):
            loss = math.nan
        if not math.isfinite(loss) or (slope is not None and not math.isfinite(slope)):
            return Trial(step_size, math.inf, math.nan if gradient else None)
        return Trial(step_size, loss, slope)


# function, derivative, minimum
FUNCTIONS: Mapping[str, tuple[Function, Function, float]] = {
    "parabola": (lambda a: (a - 0.3) ** 2 + 1.0, lambda a: 2 * (a - 0.3), 0.3),
    "far_parabola": (lambda a: (a / 40.0 - 1.0) ** 2, lambda a: (a / 40.0 - 1.0) / 20.0, 40.0),
    "near_parabola": (lambda a: (900.0 * a - 1.0) ** 2, lambda a: 1800.0 * (900.0 * a - 1.0), 1 / 900),
    "quartic": (lambda a: (a - 2.0) ** 4 - a, lambda a: 4 * (a - 2.0) ** 3 - 1.0, 2.0 + 0.25 ** (1 / 3)),
    "hyperbolic": (lambda a: math.cosh(a - 0.7), lambda a: math.sinh(a - 0.7), 0.7),
    "negative": (lambda a: -3.0 / (1.0 + (a - 1.5) ** 2), lambda a: 6 * (a - 1.5) / (1 + (a - 1.5) ** 2) ** 2, 1.5),
    "sine": (lambda a: -math.sin(a), lambda a: -math.cos(a), math.pi / 2),
}

# All decrease from 0 on; none has a point beyond the barrier.
BARRIERS: Mapping[str, tuple[Function, Function]] = {
    "log": (lambda a: -a - 1e-3 * math.log(1.0 - a), lambda a: -1.0 + 1e-3 / (1.0 - a)),
    "exp": (lambda a: math.exp(a) - 3.0 * a, lambda a: math.exp(a) - 3.0),  # overflows
    "root": (lambda a: -math.sqrt(1.0 - (1.0 - a) ** 2), lambda a: -(1.0 - a) / math.sqrt(1.0 - (1.0 - a) ** 2 + 1e-9)),
}
# Lowest at the very edge, so that no slope there is small.
EDGES: Mapping[str, tuple[Function, Function]] = {
    "nan": (lambda a: math.nan if a > 0.01 else -a, lambda a: -1.0),
    "inf": (lambda a: math.inf if a > 0.01 else -a, lambda a: -1.0),
    "-inf": (lambda a: -math.inf if a > 0.01 else -a, lambda a: -1.0),  # not an invitation
}


@dataclass(frozen=True)
class Difficult:
    """A test function of More and Thuente (1994), ACM Trans. Math. Softw. 20(3), section 5, with its two tolerances."""

    function: Function
    derivative: Function
    decrease: float
    curvature: float


def _oscillating(beta: float, num_waves: float) -> tuple[Function, Function]:
    def function(a: float) -> float:
        hull = abs(a - 1.0) if abs(a - 1.0) >= beta else (a - 1.0) ** 2 / (2.0 * beta) + beta / 2.0
        waves = 2.0 * (1.0 - beta) / (num_waves * math.pi) * math.sin(num_waves * math.pi / 2.0 * a)
        return hull + waves

    def derivative(a: float) -> float:
        hull = max(-1.0, min(1.0, (a - 1.0) / beta))
        return hull + (1.0 - beta) * math.cos(num_waves * math.pi / 2.0 * a)

    return function, derivative


def _kinked(beta_1: float, beta_2: float) -> tuple[Function, Function]:
    """Of Yanai, Ozawa, Kaneko (1981): two slopes of nearly the same size, and sharp bends between them."""
    weight_1, weight_2 = (math.sqrt(1.0 + beta**2) - beta for beta in (beta_1, beta_2))

    def function(a: float) -> float:
        return weight_1 * math.hypot(1.0 - a, beta_2) + weight_2 * math.hypot(a, beta_1)

    def derivative(a: float) -> float:
        return weight_1 * (a - 1.0) / math.hypot(1.0 - a, beta_2) + weight_2 * a / math.hypot(a, beta_1)

    return function, derivative


MORE_THUENTE: Mapping[str, Difficult] = {
    "concave_beyond": Difficult(lambda a: -a / (a**2 + 2.0), lambda a: (a**2 - 2.0) / (a**2 + 2.0) ** 2, 1e-3, 0.1),
    "flat_start": Difficult(
        lambda a: (a + 0.004) ** 5 - 2.0 * (a + 0.004) ** 4,
        lambda a: 5.0 * (a + 0.004) ** 4 - 8.0 * (a + 0.004) ** 3,
        0.1,
        0.1,
    ),
    "oscillating": Difficult(*_oscillating(0.01, 39.0), 0.1, 0.1),
    "kinked_both": Difficult(*_kinked(1e-3, 1e-3), 1e-3, 1e-3),
    "kinked_right": Difficult(*_kinked(1e-2, 1e-3), 1e-3, 1e-3),
    "kinked_left": Difficult(*_kinked(1e-3, 1e-2), 1e-3, 1e-3),
}


def rounded(function: Function, digits: int) -> Function:
    """Values as a loss in a shorter floating-point format has them."""
    return lambda a: round(function(a), digits)


def satisfies_wolfe(line: Line, trial: Trial, decrease: float, curvature: float, *, strong: bool = False) -> bool:
    """The conditions as they are defined, written down again."""
    slope = trial.slope
    assert slope is not None
    is_low = trial.loss <= line.start.loss + decrease * trial.step_size * line.slope_at_start
    is_flat = abs(slope) <= curvature * -line.slope_at_start if strong else slope >= curvature * line.slope_at_start
    return is_low and is_flat


def satisfies_approximate_wolfe(line: Line, trial: Trial, delta: float, sigma: float) -> bool:
    """Hager and Zhang (2005), equations 23 and 27, written down again."""
    slope = line.slope_at_start
    assert trial.slope is not None
    return (
        trial.loss <= line.start.loss + loss_tolerance(line)
        and (2.0 * delta - 1.0) * slope >= trial.slope >= sigma * slope
    )


def is_hidden(line: Line, trial: Trial) -> bool:
    """Whether rounding may be all that tells this loss from that at the start."""
    return abs(trial.loss - line.start.loss) <= loss_tolerance(line)
