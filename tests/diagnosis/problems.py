"""Problems whose diagnosis is known, and the dense Hessian to compare it with."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from landscape.problem import Problem


def dense_hessian(problem: Problem) -> Tensor:
    """The Hessian of the mean loss by torch's own double backward, entry by entry."""
    names = problem.layout.names
    content = [batch.content for batch in problem.batches]
    total = sum(batch.num_samples for batch in problem.batches)

    def loss(point: Tensor) -> Tensor:
        pieces = dict(zip(names, problem.layout.split(point), strict=True))
        values = [
            problem.loss_fn(torch.func.functional_call(problem.model, pieces, (inputs,)), targets) * len(inputs)
            for inputs, targets in content
        ]
        return sum(values) / total

    return torch.autograd.functional.hessian(loss, problem.params())


def tanh_mlp(num_samples: int = 40, width: int = 4) -> Problem:
    """A small network on random regression data, in float64; about 30 parameters."""
    generator = torch.Generator().manual_seed(3)
    inputs = torch.randn(num_samples, 3, generator=generator, dtype=torch.float64)
    targets = torch.sin(2 * inputs[:, :2]) + 0.3 * torch.randn(num_samples, 2, generator=generator, dtype=torch.float64)
    return Problem(small_network(nn.Tanh(), width), nn.functional.mse_loss, (inputs, targets))


def small_network(activation: nn.Module, width: int = 4, inputs: int = 3, outputs: int = 2) -> nn.Sequential:
    torch.manual_seed(1)
    return nn.Sequential(nn.Linear(inputs, width), activation, nn.Linear(width, outputs)).double()


def linear_net_at_its_saddle() -> Problem:
    """A product of two matrices, both 0: the gradient is 0, the Hessian couples W1 with W2 and has eigenvalues +-s."""
    model = nn.Sequential(nn.Linear(3, 3, bias=False), nn.Linear(3, 2, bias=False)).double()
    for parameter in model.parameters():
        nn.init.zeros_(parameter)
    generator = torch.Generator().manual_seed(0)
    inputs = torch.randn(20, 3, generator=generator, dtype=torch.float64)
    targets = torch.randn(20, 2, generator=generator, dtype=torch.float64)
    return Problem(model, nn.functional.mse_loss, (inputs, targets))


def interpolating_network() -> Problem:
    """More parameters than numbers to fit, fitted to rounding by Gauss-Newton steps with the least norm."""
    problem = tanh_mlp(num_samples=5, width=8)
    inputs, targets = next(iter(problem.batches)).content
    point = problem.params()

    def outputs(at: Tensor) -> Tensor:
        pieces = dict(zip(problem.layout.names, problem.layout.split(at), strict=True))
        return torch.func.functional_call(problem.model, pieces, (inputs,)).reshape(-1)

    for _ in range(30):
        jacobian = torch.autograd.functional.jacobian(outputs, point)
        residual = (targets.reshape(-1) - outputs(point)).detach()
        point = (point + torch.linalg.pinv(jacobian, rtol=1e-10) @ residual).detach()
    problem.set_params(point)
    return problem


def trained(problem: Problem, steps: int, lr: float = 0.05) -> Problem:
    """After so many full-batch Adam steps."""
    optimizer = torch.optim.Adam(problem.parameters, lr=lr)
    closure = problem.closure()
    for _ in range(steps):
        optimizer.step(closure)
    for parameter in problem.parameters:
        parameter.grad = None
    return problem
