"""A phase at work on all data with an optimiser that calls a closure."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from landscape.optim.descent import DescentOptimizer
from landscape.optim.preconditioner import DiagonalPreconditioner
from landscape.optim.preconditioner.measure import ritz_preconditioner
from landscape.problem import Problem
from landscape.status import Status
from landscape.tracking.history import Value
from landscape.tracking.tracker import StepPart
from landscape.training.step_watch import Observe, StepWatch

if TYPE_CHECKING:
    from landscape.training.phases import Phase, Remaining, Tick


class FullBatchPhase:
    """A running :class:`FullBatch` phase."""

    def __init__(self, problem: Problem, optimizer: torch.optim.Optimizer, ritz_pairs: int = 0) -> None:
        self.problem = problem
        self.optimizer = optimizer
        self.ritz_pairs = ritz_pairs
        self.num_steps = 0
        self._closure = problem.closure()
        self._watch: StepWatch | None = None

    def watch(self, parts: frozenset[StepPart], observe: Observe) -> None:
        """Show every step to ``observe``."""
        self._watch = StepWatch(self.problem, parts, observe)

    def take_over(self, first: Phase, remaining: Remaining, sources: Sequence[Tensor] | None = None) -> None:
        """Let the optimiser take what the first phase's has learned of the parameters, or of ``sources`` in their place."""
        before = getattr(first, "optimizer", None)
        if isinstance(self.optimizer, DescentOptimizer) and before is not None:
            self.optimizer.take_over(before, sources)
            if self.ritz_pairs:
                self._measure_curvature(self.optimizer)

    def _measure_curvature(self, optimizer: DescentOptimizer) -> None:
        """Put the leading curvatures here on top of the scale that was taken over."""
        scale = optimizer.preconditioner
        base = scale if isinstance(scale, DiagonalPreconditioner) else None
        found = ritz_preconditioner(self.problem.hessian(), self.ritz_pairs, base=base)
        if found is not None:
            optimizer.precondition(found)

    def run_epoch(self, tick: Tick) -> bool:
        """One step over all data."""
        if self._watch is None:
            self.optimizer.step(self._closure)  # type: ignore[arg-type]  # torch types the closure as returning float
        else:
            self._step_watched(self._watch)
        self.num_steps += 1
        tick(1.0)
        return True

    def _step_watched(self, watch: StepWatch) -> None:
        """A step whose gradient at its start is kept: known before, or the first that the optimiser asks for there."""
        layout = self.problem.layout
        start = self.problem.params()
        gradients = [gradient for gradient in (self.full_gradient(),) if gradient is not None]

        def closure() -> Any:
            loss = self._closure()
            if not gradients and torch.is_grad_enabled() and torch.equal(self.problem.params(), start):
                gradients.append(layout.flatten(_gradient_of(parameter) for parameter in layout.parameters))
            return loss

        watch.begin()
        loss = self.optimizer.step(closure)
        watch.end(self.problem.num_samples, gradients[0] if gradients else None, loss)

    def full_gradient(self) -> Tensor | None:
        """The gradient that a line-search optimiser has kept, if the model stands where they left it."""
        if not isinstance(self.optimizer, DescentOptimizer):
            return None
        layout, state = self.problem.layout, self.optimizer.state
        kept = [state.get(parameter, {}) for parameter in layout.parameters]
        if not all("point" in part for part in kept):
            return None
        if not all(torch.equal(part["point"], p) for part, p in zip(kept, layout.parameters, strict=True)):
            return None
        return layout.flatten(part["gradient"] for part in kept)

    def finish_epoch(self) -> dict[str, Value]:
        """What the optimiser's ``last`` result says, if it has one.

        The one batch of a full-batch epoch is all data, so the three norms are one number.
        """
        last = getattr(self.optimizer, "last", None)
        if last is None:
            return {}
        value = float(last.gradient_norm)
        status: Status = last.status
        return {
            "loss": float(last.loss),
            "gradient_norm": value,
            "gradient_norm_mean_batch": value,
            "gradient_norm_batch_mean": value,
            "step_size": float(last.step_size),
            "step_curvature": float(getattr(last, "curvature", math.nan)),
            "status": status.name,
        }

    def state_dict(self) -> dict[str, Any]:
        """The optimiser's."""
        return {"optimizer": self.optimizer.state_dict(), "num_steps": self.num_steps}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on where :meth:`state_dict` was taken."""
        self.optimizer.load_state_dict(state["optimizer"])
        self.num_steps = state["num_steps"]


def _gradient_of(parameter: Tensor) -> Tensor:
    return torch.zeros_like(parameter) if parameter.grad is None else parameter.grad
