"""The line through the parameters of a model: moves them, evaluates the closure there, and puts them back."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from landscape.optim.closure import CountedClosure, Evaluation
from landscape.optim.line_search.line import Line, Trial
from landscape.vectors import dot, views


class ParameterLine(Line):
    """The closure's loss along ``point + step_size * direction``.

    Parameters
    ----------
    closure : CountedClosure
    params : sequence of Tensor
        Overwritten by every trial; :meth:`move_to` decides where they end.
    point, direction : Tensor of shape (n,)
        Not changed, and no copy is made: memory beyond them is one gradient, n numbers.
    loss, slope : float
        At ``point``.

    Notes
    -----
    Any visited point can be restored bit for bit: it is always computed as point + step_size * direction from the same
    copies, and the point itself is copied back; nothing is undone by subtraction.
    """

    def __init__(
        self,
        closure: CountedClosure,
        params: Sequence[Tensor],
        *,
        point: Tensor,
        direction: Tensor,
        loss: float,
        slope: float,
    ) -> None:
        super().__init__(loss, slope, torch.finfo(point.dtype).eps)
        self.closure = closure
        self.params = params
        self.direction = direction
        self._origins = views(point, params)
        self._directions = views(direction, params)
        # A parameter may hold an infinity on purpose (a mask); a trial must not add any.
        self._num_finite = self._count_finite()
        # Half precision moves in float32: a step size may well be beyond its range. torch raises beyond either's.
        self._dtype = torch.promote_types(point.dtype, torch.float32)
        self._largest_step = torch.finfo(self._dtype).max
        self._gradient: Tensor | None = None
        self._gradient_step = math.nan

    @torch.no_grad()
    def move_to(self, step_size: float) -> None:
        """Set the parameters to the point at ``step_size``; 0 restores the start exactly."""
        for param, origin, direction in zip(self.params, self._origins, self._directions, strict=True):
            if step_size == 0.0:  # not the same as adding 0: -0.0 + 0.0 is 0.0
                param.copy_(origin)
            else:
                param.copy_(torch.add(origin.to(self._dtype), direction.to(self._dtype), alpha=step_size))

    def gradient_at(self, step_size: float) -> Tensor | None:
        """The flat gradient at a point of the line, computed if it is not at hand; None if it is not finite there.

        Afterwards the parameters are at that point.
        """
        if step_size != self._gradient_step:
            self.trials[step_size] = self._evaluate(step_size, gradient=True)
        else:
            self.move_to(step_size)
        return self._gradient if self.trials[step_size].is_finite else None

    def _evaluate(self, step_size: float, *, gradient: bool) -> Trial:
        if abs(step_size) > self._largest_step:
            return Trial(step_size, math.inf, math.nan)
        self.move_to(step_size)
        if self._count_finite() != self._num_finite:  # it overflowed: saturating models may still give a finite loss
            return Trial(step_size, math.inf, math.nan)
        result = self.closure.gradient() if gradient else self.closure.forward()
        return self._as_trial(step_size, result)

    def _as_trial(self, step_size: float, result: Evaluation) -> Trial:
        if result.gradient is None:
            return Trial(step_size, result.loss if math.isfinite(result.loss) else math.inf)
        self._gradient, self._gradient_step = result.gradient, step_size
        slope = dot(result.gradient, self.direction)
        if not math.isfinite(result.loss) or not math.isfinite(dot(result.gradient, result.gradient)):
            return Trial(step_size, math.inf, math.nan)
        return Trial(step_size, result.loss, slope)

    def _count_finite(self) -> int:
        params = [param.detach() for param in self.params if param.numel()]
        # Twenty times as fast as looking at every number, and enough in all but the odd case: NaN passes through both.
        if torch.isfinite(torch.stack([end for param in params for end in torch.aminmax(param)])).all():
            return sum(param.numel() for param in params)
        return int(torch.stack([torch.isfinite(param).sum() for param in params]).sum())
