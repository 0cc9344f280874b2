"""The four tasks on which the swap policies are compared: what is minimised, how the first phase trains, for how long."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass, replace

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
        On the command line.
    title : str
        In tables.
    problem : callable
        ``problem(seed)`` makes it, the model freshly initialised.
    first, tenfold : MiniBatches or FullBatch
        The first phase, and the same with ten times the learning rate: a control that is not tuned either.
    epochs : int
        Of the recorded run, which never swaps.
    budget : float
        Gradient equivalents of every run that swaps, both phases together, and of the control.
    max_overhead : float
        Ceiling of recording in the recorded run.
    """

    name: str
    title: str
    problem: Callable[[int], ls.Problem]
    first: ls.MiniBatches | ls.FullBatch
    tenfold: ls.MiniBatches | ls.FullBatch
    epochs: int
    budget: float
    max_overhead: float

    def tiny(self) -> Task:
        """Seconds, to see that it runs."""
        return replace(self, epochs=6, budget=20.0, max_overhead=2.0)


def digits(loss: Callable[[Tensor, Tensor], Tensor], seed: int) -> ls.Problem:
    """64 tanh units on 1437 images of 8 x 8 pixels; MSE is on one-hot targets."""
    data = ls.datasets.load("digits", num_train=1437)
    model = ls.models.build("mlp", channels=1, num_classes=data.num_classes, image_size=data.image_size, seed=seed)
    targets = data.one_hot(data.train_labels) if loss is F.mse_loss else data.train_labels
    return ls.Problem(model, loss, (data.train_inputs, targets))


def vision_transformer(seed: int) -> ls.Problem:
    """The seed paper's small ViT on 512 images of clothes."""
    data = ls.datasets.load("fashion-mnist", num_train=512, pad_to=32)
    model = ls.models.build("vit-mlp", channels=1, num_classes=data.num_classes, image_size=data.image_size, seed=seed)
    return ls.Problem(model, F.mse_loss, (data.train_inputs, data.one_hot(data.train_labels)), batch_size=512)


def burgers(seed: int) -> ls.Problem:
    """A physics-informed network for u_t + u u_x = nu u_xx on [-1, 1] x [0, 1], u(x, 0) = -sin(pi x), in float64."""
    generator = torch.Generator().manual_seed(seed)
    layers: list[nn.Module] = []
    for width_in, width_out in ((2, 20), (20, 20), (20, 20)):
        layers += [nn.Linear(width_in, width_out), nn.Tanh()]
    model = nn.Sequential(*layers, nn.Linear(20, 1)).double()
    for parameter in model.parameters():
        with torch.no_grad():
            if parameter.dim() == 2:
                nn.init.xavier_normal_(parameter, generator=generator)
            else:
                parameter.zero_()
    uniform = functools.partial(torch.rand, generator=generator, dtype=torch.float64)
    start = torch.stack([2 * uniform(50) - 1, torch.zeros(50, dtype=torch.float64)], dim=1)
    batch = {
        "inside": torch.stack([2 * uniform(400) - 1, uniform(400)], dim=1),
        "start": start,
        "value": -torch.sin(torch.pi * start[:, :1]),
        "edge": torch.stack([2 * (uniform(50) < 0.5).double() - 1, uniform(50)], dim=1),
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


def _adam(learning_rate: float, batch_size: int | None) -> ls.MiniBatches | ls.FullBatch:
    optimizer = functools.partial(torch.optim.Adam, lr=learning_rate)
    return ls.FullBatch(optimizer) if batch_size is None else ls.MiniBatches(optimizer, batch_size=batch_size)


TASKS = {
    task.name: task
    for task in (
        Task(
            "digits-mse",
            "MLP on digits, mean squared error",
            functools.partial(digits, F.mse_loss),
            _adam(1e-3, 128),
            _adam(1e-2, 128),
            epochs=120,
            budget=500,
            max_overhead=1000,
        ),
        Task(
            "digits-ce",
            "MLP on digits, cross-entropy",
            functools.partial(digits, F.cross_entropy),
            _adam(1e-3, 128),
            _adam(1e-2, 128),
            epochs=120,
            budget=500,
            max_overhead=1000,
        ),
        Task(
            "vit",
            "vision transformer on 512 Fashion-MNIST images",
            vision_transformer,
            _adam(1e-3, 64),
            _adam(1e-2, 64),
            epochs=30,
            budget=80,
            max_overhead=8,
        ),
        Task(
            "pinn",
            "physics-informed network, viscous Burgers",
            burgers,
            _adam(1e-3, None),
            _adam(1e-2, None),
            epochs=1000,
            budget=2000,
            max_overhead=20,
        ),
    )
}
