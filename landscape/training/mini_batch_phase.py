"""A phase at work on shuffled mini-batches with a first-order optimiser."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import torch

from landscape.problem import Problem
from landscape.tracking.history import Value
from landscape.tracking.tracker import StepPart
from landscape.training.epoch_sums import EpochSums
from landscape.training.step_watch import Observe, StepWatch

if TYPE_CHECKING:
    from landscape.training.phases import MiniBatches, Tick


class MiniBatchPhase:
    """A running :class:`MiniBatches` phase."""

    def __init__(
        self, problem: Problem, optimizer: torch.optim.Optimizer, settings: MiniBatches, generator: torch.Generator
    ) -> None:
        self.problem = problem
        self.optimizer = optimizer
        self.settings = settings
        self.generator = generator
        self.num_steps = 0
        self._parameters = problem.parameters
        # Where a filter leaves trainable parameters out, backward must not fill their gradients.
        others = sum(parameter.requires_grad for parameter in problem.model.parameters()) > len(self._parameters)
        self._inputs = list(self._parameters) if others else None
        self._sums = EpochSums(problem.layout)
        self._watch: StepWatch | None = None
        self._order = self.generator.get_state()

    def watch(self, parts: frozenset[StepPart], observe: Observe) -> None:
        """Show every step to ``observe``."""
        self._watch = StepWatch(self.problem, parts, observe)

    def run_epoch(self, tick: Tick) -> bool:
        """One pass over the data, or what is left of it."""
        self.generator.set_state(self._order)
        batches = self.problem.minibatches(self.settings.batch_size, self.generator, start=len(self._sums.sizes))
        seen = sum(self._sums.sizes)
        with _train_mode(self.problem.model, self.settings.mode):
            for batch in batches:
                self._step(batch)
                seen += batch.num_samples
                del batch  # or two of them would be held while the next one is made
                if tick(seen / self.problem.num_samples) and seen < self.problem.num_samples:
                    return False
        return True

    def _step(self, batch: Any) -> None:
        for parameter in self._parameters:  # what zero_grad() does, at a tenth of its price for a small model
            parameter.grad = None
        loss = self.problem.minibatch_loss(batch)
        loss.backward(inputs=self._inputs)
        self._sums.add(loss, batch.num_samples)
        if self._watch is None:
            self.optimizer.step()
        else:
            self._watch.begin()
            self.optimizer.step()
            self._watch.end(batch.num_samples, self._sums.gradient, loss.detach())
        self.num_steps += 1

    def finish_epoch(self) -> dict[str, Value]:
        """Running loss, mean of the norms, norm of the mean gradient."""
        columns = self._sums.columns()
        self._sums.clear()
        self._order = self.generator.get_state()
        return columns

    def state_dict(self) -> dict[str, Any]:
        """Optimiser, order of the data, and the epoch in progress."""
        return {
            "optimizer": self.optimizer.state_dict(),
            "num_steps": self.num_steps,
            "order": self._order,
            **self._sums.state_dict(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on where :meth:`state_dict` was taken."""
        self.optimizer.load_state_dict(state["optimizer"])
        self.num_steps = state["num_steps"]
        self._sums.load_state_dict(state)
        # A pass that has not begun draws its order from here; one that has, draws it again and skips.
        self._order = state["order"]
        self.generator.set_state(self._order)


@contextmanager
def _train_mode(model: torch.nn.Module, mode: str) -> Iterator[None]:
    """Train mode for the steps of an epoch; every module's own flag afterwards."""
    if mode == "keep":
        yield
        return
    in_eval = [module for module in model.modules() if not module.training]
    if in_eval:
        model.train()
    try:
        yield
    finally:
        for module in in_eval:
            module.training = False
