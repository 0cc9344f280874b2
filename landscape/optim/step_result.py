"""What one step of a second-phase optimiser did, and why it went along steepest descent."""

from __future__ import annotations

import enum
import math
from dataclasses import dataclass

from landscape.status import Status


class Restart(str, enum.Enum):
    """Why a step went along steepest descent instead of a direction that builds on earlier steps.

    Checkpoints hold positions in this list: append, never reorder.
    """

    FIRST_STEP = "Nothing is known about earlier steps."
    PARAMETERS_CHANGED = "The parameters are not where the last step left them."
    PERIOD = "As many steps as restart_every were taken since the last restart."
    BETA_ZERO = "The formula for beta forgot the last direction (beta is 0)."
    BETA_NONFINITE = "The formula for beta gave NaN or infinity, which counts as 0."
    NOT_DESCENT = "The conjugate direction does not descend."
    FAILED_SEARCH = "The last line search failed."
    LOSS_CHANGED = "The loss was replaced by a similar one, and this method keeps no curvature that would still hold."
    NOTHING_LEARNED = "The last step taught nothing about the curvature."

    def __str__(self) -> str:
        return self.value


@dataclass(frozen=True)
class StepResult:
    r"""What one step did.

    Attributes
    ----------
    status : Status
        ``ACCEPTED``; ``SEARCH_FAILED``, ``STALLED`` (the loss is as before, or lower); ``CONVERGED``, ``NONFINITE`` (the
        parameters are untouched).
    loss, loss_before : float
        At the point where the parameters are now, and where the step started.
    step_size : float
        Distance along the direction, in units of its length; 0 if the parameters were not moved.
    slope, slope_before : float
        Directional derivative along the direction at both points; ``slope`` is NaN if the parameters were not moved.
    gradient_norm : float
        At the point where the parameters are now.
    beta : float
        Of the direction that was taken; 0 for steepest descent, NaN for methods without such a number.
    restart : Restart or None
        Why it was steepest descent, if it was.
    num_forwards, num_gradients : int
        Evaluations of the closure in this step: without, and with gradient.
    curvature : float
        Mean of :math:`u^\top H u` along the step, u the unit vector in its direction, from the slopes at its ends; NaN if
        the parameters were not moved. Negative: the loss is not convex between the two points.
    """

    status: Status
    loss: float
    loss_before: float
    step_size: float
    slope: float
    slope_before: float
    gradient_norm: float
    beta: float
    restart: Restart | None
    num_forwards: int
    num_gradients: int
    curvature: float = math.nan

    @property
    def restarted(self) -> bool:
        """Whether the direction was that of steepest descent."""
        return self.restart is not None

    @property
    def gradient_equivalents(self) -> float:
        """Work of this step in gradient equivalents: a forward pass counts a third."""
        return self.num_gradients + self.num_forwards / 3.0
