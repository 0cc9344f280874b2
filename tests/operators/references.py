"""Dense matrices of second derivatives, by other ways than the package's."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from landscape import Problem
from landscape.autodiff.twice import twice_differentiable


def dense_hessian(problem: Problem, params: Tensor | None = None) -> Tensor:
    """Row by row, each second derivative on its own, of the loss over one batch that holds all data."""
    model, layout = problem.model, problem.layout
    flags = [module.training for module in model.modules()]
    model.eval()
    point = problem.params() if params is None else params
    leaves = dict(zip(layout.names, [p.clone().requires_grad_() for p in layout.split(point)], strict=True))
    inputs, target = everything(problem)
    with twice_differentiable():
        loss = problem.loss_fn(torch.func.functional_call(model, leaves, (inputs,)), target)
        gradient = torch.cat([g.reshape(-1) for g in grads(loss, list(leaves.values()))])
        rows = [torch.cat([h.reshape(-1) for h in grads(entry, list(leaves.values()))]) for entry in gradient]
    for module, flag in zip(model.modules(), flags, strict=True):
        module.training = flag
    dense = torch.stack(rows).detach()
    return dense / len(inputs) if problem.objective.weighting.kind == "sum" else dense


def everything(problem: Problem) -> tuple[Tensor, Tensor]:
    contents = [batch.content for batch in problem.batches]
    return torch.cat([content[0] for content in contents]), torch.cat([content[1] for content in contents])


def grads(value: Tensor, variables: list[Tensor]) -> list[Tensor]:
    if not value.requires_grad:
        return [torch.zeros_like(x) for x in variables]
    found = torch.autograd.grad(value, variables, create_graph=True, allow_unused=True)
    return [torch.zeros_like(x) if g is None else g for g, x in zip(found, variables, strict=True)]


def jacobian(problem: Problem) -> Tensor:
    """The derivative of all outputs (rows) by the parameters (columns)."""
    parameters = list(problem.parameters)
    outputs = problem.model(everything(problem)[0])
    rows = [torch.cat([g.reshape(-1) for g in grads(entry, parameters)]) for entry in outputs.reshape(-1)]
    return torch.stack(rows).detach()


def small_mlp(outputs: int = 2, dtype: torch.dtype = torch.float64) -> nn.Module:
    return nn.Sequential(nn.Linear(4, 3), nn.Tanh(), nn.Linear(3, outputs)).to(dtype)


def vector(size: int, seed: int = 0, dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.randn(size, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).to(dtype)
