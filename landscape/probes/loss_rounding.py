"""How far computed losses and gradients may be off by rounding."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from landscape.objective import Objective
from landscape.operators.base import ROUNDING_EPSILONS
from landscape.vectors import norm

#: Errors elsewhere may be larger than where they were measured.
_SAFETY = 4.0


@dataclass(frozen=True)
class LossRounding:
    """Errors of losses and of gradients (in norm): relative ones, and absolute ones below which they do not fall."""

    loss_relative: float
    loss_absolute: float
    gradient_relative: float
    gradient_absolute: float

    def of_loss(self, losses: Tensor) -> Tensor:
        """How far losses may be off, each."""
        return (self.loss_relative * losses.abs()).clamp(min=self.loss_absolute)

    def of_gradient(self, norms: Tensor) -> Tensor:
        """How far gradients of these norms may be off, in norm."""
        return (self.gradient_relative * norms).clamp(min=self.gradient_absolute)


def measured_rounding(objective: Objective, evaluated: Sequence[tuple[Tensor, Tensor, Tensor]]) -> LossRounding:
    """Compare losses and gradients at some points with those of a copy of the model in float64.

    Parameters
    ----------
    objective : Objective
        The loss.
    evaluated : sequence of (params, loss, gradient)
        What the objective gave.

    Notes
    -----
    Cost: 1 gradient a point, unless the objective is in float64 or cannot be copied: then 50 epsilons are taken.
    """
    dtype = objective.layout.dtype
    usual = ROUNDING_EPSILONS * torch.finfo(dtype).eps
    exact = None if dtype == torch.float64 else objective.copied(torch.float64)
    errors = []
    for params, loss, gradient in evaluated if exact is not None else ():
        assert exact is not None
        true_loss, true_gradient = exact.loss_and_gradient(params.double())
        size, length = abs(float(true_loss)), norm(true_gradient)
        apart = (abs(float(loss) - float(true_loss)), norm(gradient.double() - true_gradient))
        if all(map(math.isfinite, (*apart, size, length))):
            errors.append((apart[0] / max(size, 1e-300), apart[0], apart[1] / max(length, 1e-300), apart[1]))
    if not errors:
        return LossRounding(usual, 0.0, usual, 0.0)
    largest = [_SAFETY * max(column) for column in zip(*errors, strict=True)]
    least = _SAFETY * torch.finfo(dtype).eps
    return LossRounding(max(largest[0], least), largest[1], max(largest[2], least), largest[3])
