r"""The loss along one direction, :math:`\varphi(\alpha) = f(x + \alpha d)`, and what a search on it returns."""

from __future__ import annotations

import abc
import math
from dataclasses import dataclass
from typing import Protocol

from landscape.status import Status


@dataclass(frozen=True)
class Trial:
    """One evaluated point of the line; ``slope`` is None where only the loss was computed.

    A NaN or an infinity of any sign in the loss, the gradient or the point makes the whole trial non-finite: its loss
    is then +inf, which is larger than any other and so is never taken.
    """

    step_size: float
    loss: float
    slope: float | None = None

    @property
    def is_finite(self) -> bool:
        """Whether this point may be accepted at all."""
        return math.isfinite(self.loss) and (self.slope is None or math.isfinite(self.slope))


@dataclass(frozen=True)
class SearchResult:
    """Where a search ended: ``ACCEPTED`` with a step size, or ``SEARCH_FAILED`` with 0."""

    status: Status
    step_size: float


class Line(abc.ABC):
    """A function of the step size that remembers all it has been asked, so that nothing is evaluated twice.

    Parameters
    ----------
    loss, slope : float
        Value and derivative at step size 0; the slope must be negative.
    eps : float
        Relative spacing of the floating-point numbers that the loss is computed in.
    """

    def __init__(self, loss: float, slope: float, eps: float) -> None:
        self.start = Trial(0.0, loss, slope)
        self.slope_at_start = slope
        self.eps = eps
        self.trials: dict[float, Trial] = {0.0: self.start}

    @abc.abstractmethod
    def _evaluate(self, step_size: float, *, gradient: bool) -> Trial:
        """Compute one trial; it may have a slope though none was asked for."""

    def forward(self, step_size: float) -> Trial:
        """The loss at ``step_size``."""
        if step_size not in self.trials:
            self.trials[step_size] = self._evaluate(step_size, gradient=False)
        return self.trials[step_size]

    def gradient(self, step_size: float) -> Trial:
        """The loss and the slope at ``step_size``."""
        known = self.trials.get(step_size)
        # A point known to be outside the domain needs no second look.
        if known is None or (known.slope is None and known.is_finite):
            self.trials[step_size] = self._evaluate(step_size, gradient=True)
        return self.trials[step_size]

    def first_finite(self, step_size: float) -> Trial | None:
        """The loss at ``step_size``, or at the first of 0.1, 0.01, ... of it where the loss is finite.

        At most log2(1/eps) shrinks, as in the line search of Hager and Zhang's CG_DESCENT; None if all fail.
        """
        for _ in range(1 + round(-math.log2(self.eps))):
            trial = self.forward(step_size)
            if trial.is_finite:
                return trial if step_size > 0.0 else None
            step_size *= 0.1
        return None

    @property
    def barrier(self) -> float:
        """Smallest positive step size known to be non-finite; infinity if none is."""
        return min(
            (step for step, trial in self.trials.items() if step > 0.0 and not trial.is_finite), default=math.inf
        )

    @property
    def best(self) -> Trial:
        """The lowest finite trial; the start unless another is strictly lower."""
        return min((trial for trial in self.trials.values() if trial.is_finite), key=lambda trial: trial.loss)


class LineSearch(Protocol):
    """What ``ConjugateGradient(line_search=...)`` takes: finds an acceptable step along a descent direction.

    The search may evaluate anywhere; the optimiser moves the parameters to the result, and to the lowest point seen if
    the search fails. If ``warm_start`` is true the initial step is predicted from the previous one, else it is 1.
    """

    @property
    def warm_start(self) -> bool:
        """Whether the initial step should follow from the previous step."""

    def __call__(self, line: Line, initial_step: float) -> SearchResult:
        """Search ``line`` beginning at ``initial_step > 0``."""
