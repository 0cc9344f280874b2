"""What somebody who asked is shown of every step."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from landscape.problem import Problem
from landscape.tracking.tracker import Step, StepPart

#: Called right after every step.
Observe = Callable[[Step], None]


class StepWatch:
    """Makes, for somebody who asked, what is to be seen of a step; without reading anything from the device."""

    def __init__(self, problem: Problem, parts: frozenset[StepPart], observe: Observe) -> None:
        self._parameters = problem.layout.parameters
        self._parts = parts
        self._observe = observe
        self._before, self._after = (
            torch.empty(problem.num_params, dtype=problem.layout.dtype, device=problem.layout.device)
            if part in parts
            else None
            for part in ("before", "after")
        )

    def begin(self) -> None:
        """Before the update."""
        self._copy_params(self._before)

    def end(self, num_samples: int, gradient: Tensor | None, loss: Any) -> None:
        """After it."""
        self._copy_params(self._after)
        gradient = gradient if "gradient" in self._parts else None
        loss = loss.detach() if "loss" in self._parts and isinstance(loss, Tensor) else None
        self._observe(Step(num_samples, gradient, self._before, self._after, loss))

    def _copy_params(self, buffer: Tensor | None) -> None:
        if buffer is not None:
            torch.cat([parameter.detach().reshape(-1) for parameter in self._parameters], out=buffer)
