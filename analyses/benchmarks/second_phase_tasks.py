"""The tasks of the second-phase benchmark: what is minimised, and the state in which Adam leaves it.

Every start state is made once for each seed and kept as a file, so that all optimisers begin at the same point with the
same moments, and a benchmark that was interrupted repeats no training.
"""

from __future__ import annotations

import functools
import os
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

import landscape as ls

VISCOSITY = 0.01 / torch.pi


@dataclass(frozen=True)
class Task:
    """One task.

    Parameters
    ----------
    name : str
        On the command line and in tables.
    problem : callable
        ``problem(seed)`` makes it, the model freshly initialised.
    learning_rate : float
        Of Adam in the first phase, constant.
    batch_size : int or None
        Of Adam in the first phase, and of the Adams that go on; None for full batches.
    epochs : int
        Of the first phase.
    budget : float
        Gradient equivalents of the second phase.
    """

    name: str
    problem: Callable[[int], ls.Problem]
    learning_rate: float
    batch_size: int | None
    epochs: int
    budget: float

    def tiny(self) -> Task:
        """Seconds, to see that it runs."""
        return replace(self, epochs=2, budget=4.0, problem=TINY.get(self.name, self.problem))

    def batches(self, problem: ls.Problem, generator: torch.Generator) -> Iterator[Any]:
        """One pass in the first phase's mini-batches."""
        return problem.minibatches(self.batch_size or problem.num_samples, generator)


@dataclass(frozen=True)
class Start:
    """Where all optimisers begin: the problem with its model at that point, and the Adam that led there."""

    problem: ls.Problem
    adam: torch.optim.Adam


def digits(seed: int) -> ls.Problem:
    """64 tanh units on the 1437 training images of the digits, mean squared error on one-hot targets."""
    data = ls.datasets.load("digits", num_train=1437)
    model = ls.models.build("mlp", channels=1, num_classes=data.num_classes, image_size=data.image_size, seed=seed)
    return ls.Problem(model, F.mse_loss, (data.train_inputs, data.one_hot(data.train_labels)))


def vision_transformer(seed: int, num_train: int = 20_000) -> ls.Problem:
    """The seed paper's small ViT on images of clothes, mean squared error on one-hot targets."""
    data = ls.datasets.load("fashion-mnist", num_train=num_train, pad_to=32)
    model = ls.models.build("vit-mlp", channels=1, num_classes=data.num_classes, image_size=data.image_size, seed=seed)
    return ls.Problem(model, F.mse_loss, (data.train_inputs, data.one_hot(data.train_labels)), batch_size=512)


def burgers(seed: int, num_inside: int = 1300) -> ls.Problem:
    """A physics-informed 3 x 20 network for u_t + u u_x = nu u_xx on [-1, 1] x [0, 1], u(x, 0) = -sin(pi x), in float64."""
    generator = torch.Generator().manual_seed(seed)
    layers: list[nn.Module] = []
    for width_in, width_out in ((2, 20), (20, 20), (20, 20)):
        layers += [nn.Linear(width_in, width_out), nn.Tanh()]
    model = nn.Sequential(*layers, nn.Linear(20, 1)).double()
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.dim() == 2:
                nn.init.xavier_normal_(parameter, generator=generator)
            else:
                parameter.zero_()
    uniform = functools.partial(torch.rand, generator=generator, dtype=torch.float64)
    start = torch.stack([2 * uniform(100) - 1, torch.zeros(100, dtype=torch.float64)], dim=1)
    batch = {
        "inside": torch.stack([2 * uniform(num_inside) - 1, uniform(num_inside)], dim=1),
        "start": start,
        "value": -torch.sin(torch.pi * start[:, :1]),
        "edge": torch.stack([2 * (uniform(100) < 0.5).double() - 1, uniform(100)], dim=1),
    }
    return ls.Problem.from_closure(model, burgers_loss, [batch])


def burgers_loss(model: nn.Module, batch: dict[str, Tensor]) -> Tensor:
    """Residual, initial values and boundary values, each as a mean square."""
    points = batch["inside"].detach().requires_grad_(True)
    u = model(points)
    u_x, u_t = torch.autograd.grad(u.sum(), points, create_graph=True)[0].unbind(dim=1)
    u_xx = torch.autograd.grad(u_x.sum(), points, create_graph=True)[0][:, 0]
    residual = u_t + u[:, 0] * u_x - VISCOSITY * u_xx
    initial = model(batch["start"]) - batch["value"]
    return residual.square().mean() + initial.square().mean() + model(batch["edge"]).square().mean()


TASKS = {
    task.name: task
    for task in (
        Task("digits", digits, learning_rate=1e-2, batch_size=512, epochs=100, budget=400),
        Task("burgers", burgers, learning_rate=1e-3, batch_size=None, epochs=1000, budget=1000),
        Task("vit", vision_transformer, learning_rate=1e-3, batch_size=512, epochs=60, budget=30),
    )
}
TINY: dict[str, Callable[[int], ls.Problem]] = {
    "vit": functools.partial(vision_transformer, num_train=128),
    "burgers": functools.partial(burgers, num_inside=50),
}


def start_of(task: Task, seed: int, folder: Path) -> Start:
    """The state after the first phase, from its file if there is one.

    Parameters
    ----------
    task : Task
        With ``task.tiny()`` use another folder.
    seed : int
        Of the initialisation and of the order of the mini-batches.
    folder : Path
        Where the states are kept.
    """
    problem = task.problem(seed)
    adam = torch.optim.Adam(problem.parameters, lr=task.learning_rate)
    path = folder / f"{task.name}-{seed}.pt"
    if path.exists():
        saved = torch.load(path, weights_only=True)
        problem.model.load_state_dict(saved["model"])
        adam.load_state_dict(saved["adam"])
        return Start(problem, adam)
    generator = torch.Generator().manual_seed(seed)
    for _ in range(task.epochs):
        for batch in task.batches(problem, generator):
            adam.zero_grad()
            problem.minibatch_loss(batch).backward()
            adam.step()
    folder.mkdir(parents=True, exist_ok=True)
    scratch = path.with_suffix(f".{os.getpid()}")
    torch.save({"model": problem.model.state_dict(), "adam": adam.state_dict()}, scratch)
    scratch.replace(path)
    return Start(problem, adam)


if __name__ == "__main__":  # make start states ahead of time: second_phase_tasks.py FOLDER TASK SEED...
    torch.set_num_threads(1)
    for number in sys.argv[3:]:
        made = start_of(TASKS[sys.argv[2]], int(number), Path(sys.argv[1]))
        print(sys.argv[2], number, float(made.problem.loss()), flush=True)
