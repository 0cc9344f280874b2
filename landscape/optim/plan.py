"""What an optimiser learns from a step, and what it plans for the next one."""

from __future__ import annotations

import math
from dataclasses import dataclass

from torch import Tensor

from landscape.optim.step_result import Restart


@dataclass(frozen=True)
class Displacement:
    """A step that was taken, in scaled variables; vectors of shape (n,).

    Attributes
    ----------
    gradient_prev, gradient : Tensor
        At its two ends.
    direction : Tensor
        What it went along; may be overwritten by the next direction.
    step_size : float
        How far, in units of the direction.
    accepted : bool
        Whether the line search accepted the point; else it is only the lowest one that a failed search saw.
    """

    gradient_prev: Tensor
    gradient: Tensor
    direction: Tensor
    step_size: float
    accepted: bool = True


@dataclass(frozen=True)
class Plan:
    """Where the next step shall go, in scaled variables.

    Attributes
    ----------
    direction : Tensor of shape (n,) or None
        None: steepest descent.
    beta : float
        How much of the last direction it keeps; NaN for methods that have no such number.
    restart : Restart or None
        Why it is steepest descent, if it is.
    """

    direction: Tensor | None
    beta: float = math.nan
    restart: Restart | None = None
