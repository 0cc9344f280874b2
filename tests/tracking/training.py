"""A small training run whose every derivative is also had another way, for the tests of trackers."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call

from landscape.problem import Problem
from landscape.tracking.history import Value
from landscape.tracking.schedule import Schedule
from landscape.tracking.snapshot import Snapshot
from landscape.tracking.tracker import Step

BATCH_SIZE = 7


def mlp(activation: type[nn.Module] = nn.Tanh) -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(3)
        return nn.Sequential(nn.Linear(3, 4), activation(), nn.Linear(4, 2)).double()


def data(num_samples: int = 30) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(4)
    inputs = torch.randn(num_samples, 3, generator=generator, dtype=torch.float64)
    return inputs, torch.randn(num_samples, 2, generator=generator, dtype=torch.float64)


@dataclass
class Training:
    """Adam on mini-batches, step by step, with a schedule that watches."""

    model: nn.Module = field(default_factory=mlp)
    samples: tuple[Tensor, Tensor] = field(default_factory=data)
    make_optimizer: Callable[..., torch.optim.Optimizer] = torch.optim.Adam
    lr: float = 1e-2
    settings: Mapping[str, Any] = field(default_factory=dict)
    steps: list[Step] = field(default_factory=list)
    schedule: Schedule | None = None

    def __post_init__(self) -> None:
        self.problem = Problem(self.model, nn.functional.mse_loss, self.samples)
        self.optimizer = self.make_optimizer(self.problem.parameters, lr=self.lr, **self.settings)
        self.training = 0.0
        self.epoch = 0

    def batches(self) -> Iterator[Any]:
        return self.problem.minibatches(BATCH_SIZE, torch.Generator().manual_seed(self.epoch))

    def train_epoch(self) -> None:
        self.epoch += 1
        before_cost = self.problem.cost.copy()
        for batch in self.batches():
            before = self.problem.params()
            self.optimizer.zero_grad()
            loss = self.problem.minibatch_loss(batch)
            loss.backward()
            gradient = self.problem.layout.flatten(p.grad for p in self.problem.parameters)
            self.optimizer.step()
            self.steps.append(Step(batch.num_samples, gradient, before, self.problem.params(), loss.detach()))
            if self.schedule is not None:
                self.schedule.observe_step(self.steps[-1])
        self.training += self.problem.cost.since(before_cost).gradient_equivalents

    def snapshot(self, **given: Any) -> Snapshot:
        usual: dict[str, Any] = {
            "epoch": self.epoch,
            "step": len(self.steps),
            "batch_size": BATCH_SIZE,
            "optimizer": self.optimizer,
            "training_equivalents": self.training,
        }
        return Snapshot(self.problem, **{**usual, **given})

    def run(self, tracker: Any, epochs: int = 2) -> list[dict[str, Value]]:
        """The rows that one tracker gives, without any ceiling: row 0 and one an epoch."""
        self.schedule = Schedule([tracker], max_overhead=math.inf)
        rows = [self.schedule.measure(self.snapshot())]
        for _ in range(epochs):
            self.train_epoch()
            rows.append(self.schedule.measure(self.snapshot()))
        return rows

    # -- the same by other means: torch.func on all data at once ------------------------------------------------

    def loss_at(self, params: Tensor, samples: tuple[Tensor, Tensor] | None = None) -> Tensor:
        inputs, targets = self.samples if samples is None else samples
        pieces = self.problem.layout.split(params)
        output = functional_call(self.model, dict(zip(self.problem.layout.names, pieces, strict=True)), (inputs,))
        return nn.functional.mse_loss(output, targets)

    def gradient(self, params: Tensor | None = None) -> Tensor:
        return torch.func.grad(self.loss_at)(self.problem.params() if params is None else params)

    def hessian(self, params: Tensor | None = None) -> Tensor:
        return torch.func.jacrev(torch.func.grad(self.loss_at))(self.problem.params() if params is None else params)

    def gauss_newton(self) -> Tensor:
        inputs, targets = self.samples

        def outputs(params: Tensor) -> Tensor:
            pieces = dict(zip(self.problem.layout.names, self.problem.layout.split(params), strict=True))
            return functional_call(self.model, pieces, (inputs,)).reshape(-1)

        J = torch.func.jacrev(outputs)(self.problem.params())
        return 2 / targets.numel() * J.T @ J
