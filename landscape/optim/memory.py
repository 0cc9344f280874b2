"""What one step leaves to the next: the plan for it, in numbers that checkpoints keep exactly."""

from __future__ import annotations

import math
import sys
from dataclasses import dataclass, replace

from torch import Tensor

from landscape.optim.step_result import Restart
from landscape.vectors import norm

# The first step is one that would lower the loss by this part of it, were the loss linear.
FIRST_DECREASE = 0.1
# Part of the distance to the origin to go first if the loss is 0: Hager, Zhang (2005), SIAM J. Optim. 16(1), section 4.
FIRST_DISTANCE = 0.01
# A predicted step is at most this much longer than the last one.
STEP_GROWTH = 10.0


@dataclass(frozen=True)
class Memory:
    """The numbers that belong to the three vectors point, gradient and planned direction.

    Floats, integers and booleans only: ``Optimizer.load_state_dict`` casts tensors to the parameters' dtype, and takes a
    string for a sequence of strings without end.
    """

    loss: float
    slope: float  # along the planned direction
    gradient_norm: float
    scaled_norm: float  # of the gradient in scaled variables
    first_gradient_norm: float
    beta: float  # of the planned direction
    restart: int  # position in Restart, -1 for none
    since_restart: int
    step_size_prev: float  # NaN if there is none
    slope_prev: float
    num_failures: int  # searches along steepest descent from this point, in a row
    always_backward: bool
    first_step: float  # taken over from the first phase, NaN if nothing was
    is_stale: bool  # the loss is no longer the one that loss and gradient belong to

    @classmethod
    def at_new_point(
        cls,
        loss: float,
        gradient_norm: float,
        scaled_norm: float,
        before: Memory | None,
        *,
        always_backward: bool = False,
        first_step: float = math.nan,
    ) -> Memory:
        """Plan steepest descent from a point that no step has led to."""
        reason = Restart.FIRST_STEP if before is None else Restart.PARAMETERS_CHANGED
        return cls(
            loss=loss,
            slope=math.nan,
            gradient_norm=gradient_norm,
            scaled_norm=scaled_norm,
            first_gradient_norm=gradient_norm if before is None else before.first_gradient_norm,
            beta=0.0,
            restart=-1,
            since_restart=0,
            step_size_prev=math.nan,
            slope_prev=math.nan,
            num_failures=0,
            always_backward=always_backward,
            first_step=first_step if before is None else before.first_step,
            is_stale=False,
        ).with_steepest_descent(reason)

    def with_steepest_descent(self, reason: Restart) -> Memory:
        """The same, with steepest descent planned."""
        # A product, not a power: float powers raise on overflow.
        slope = -self.scaled_norm * self.scaled_norm
        return replace(self, beta=0.0, slope=slope, restart=list(Restart).index(reason), since_restart=0)

    def with_direction(self, beta: float, slope: float) -> Memory:
        """The same, with a direction planned that builds on earlier steps."""
        return replace(self, beta=beta, slope=slope, restart=-1, since_restart=self.since_restart + 1)

    @property
    def restart_reason(self) -> Restart | None:
        """Why steepest descent is planned, if it is."""
        return None if self.restart < 0 else list(Restart)[self.restart]

    @property
    def is_finite(self) -> bool:
        """Whether a step can start here."""
        return math.isfinite(self.loss) and math.isfinite(self.gradient_norm)

    def initial_step(self, point: Tensor) -> float:
        """First trial of a search: as long as the last step was, by first order (Nocedal, Wright 2006, section 3.5)."""
        if math.isnan(self.step_size_prev):
            step = self._first_step(point)
        else:
            step = self.step_size_prev * min(STEP_GROWTH, self.slope_prev / self.slope)
        return min(step, sys.float_info.max) * self.shortening

    @property
    def shortening(self) -> float:
        """Ten times shorter after each failure."""
        return float(0.1**self.num_failures)

    def _first_step(self, point: Tensor) -> float:
        if not math.isnan(self.first_step):
            return self.first_step
        if self.loss != 0.0:
            return min(1.0, FIRST_DECREASE * abs(self.loss) / abs(self.slope))
        point_norm = norm(point)
        return min(1.0, (FIRST_DISTANCE * point_norm if point_norm > 0.0 else 1.0) / self.scaled_norm)
