"""Gradients of single samples: many at once where torch can, one after the other where it cannot."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from typing import Any, Literal

import torch
from torch import Tensor
from torch.func import functional_call, grad, vmap

from landscape.autodiff.twice import twice_differentiable
from landscape.batches import Batch, first_two, is_splittable, map_tensors, pieces_of, tensors_in, to_device
from landscape.objective import Objective
from landscape.problem import Problem
from landscape.vectors import norm

Method = Literal["vmap", "loop", "none"]

#: Samples on which it is tried whether their gradients have the batch's gradient as their mean.
NUM_TRIED = 8
#: Agreement asked for, relative to the samples' own gradients.
_RTOL = 1e-4
#: What the gradients that are made at once may take.
CHUNK_BYTES = 64 * 2**20


def usable_method(problem: Problem) -> Method:
    """How per-sample gradients can be taken here: tried on a few samples against the gradient of their batch.

    "none" where batches cannot be cut into samples, or the loss of a batch is not the mean over its samples (batch
    normalisation in train mode, contrastive losses).

    Notes
    -----
    Cost: 2 gradients over 8 samples, or 3.
    """
    batch = pieces_of(first_two(problem.batches)[0], NUM_TRIED)[0]
    if not is_splittable(batch):
        return "none"
    together = problem.objective.over([batch]).loss_and_gradient()[1]
    methods: tuple[Method, ...] = ("vmap", "loop")
    for method in methods:
        try:
            alone = torch.cat(list(sample_gradients(problem, batch, method)))
        except (RuntimeError, NotImplementedError, TypeError, ValueError):
            continue  # control flow that depends on data, or an operation without a batching rule
        scale = float(torch.linalg.vector_norm(alone, dim=1).mean())
        if norm(alone.mean(dim=0).double() - together.double()) <= _RTOL * scale:
            return method
    return "none"


def sample_gradients(problem: Problem, batch: Batch, method: Method) -> Iterator[Tensor]:
    """Gradients of a batch's samples where the model stands, in blocks of shape (k, n).

    Each is weighted as its sample counts in the loss, so that their mean is the batch's gradient: targets that are ignored
    give 0.

    Notes
    -----
    Cost: 1 gradient over the batch's samples.
    """
    objective = problem.objective
    chunk = max(1, CHUNK_BYTES // (problem.num_params * problem.layout.parameters[0].element_size()))
    weights = _weights(objective, batch)
    start = 0
    for piece in pieces_of(batch, chunk):
        content = to_device(piece.content, problem.layout.device)
        with objective.probing(), torch.enable_grad():
            block = _vmapped(objective, content) if method == "vmap" else _looped(objective, piece)
        objective.cost.charge_gradient(piece.num_samples)
        scale = weights[start : start + piece.num_samples].to(block)[:, None]
        yield torch.where(scale == 0, torch.zeros_like(block), block * scale)  # an ignored target's mean loss is 0/0
        start += piece.num_samples


def _weights(objective: Objective, batch: Batch) -> Tensor:
    """How much each sample counts, with the mean 1."""
    weighting = objective.weighting
    if weighting.kind in ("samples", "sum"):
        return torch.ones(batch.num_samples, dtype=torch.float64)
    target = batch.content[1]
    counted = [weighting.weight_of(target[i : i + 1], 1) for i in range(batch.num_samples)]
    weights = torch.tensor(counted, dtype=torch.float64)
    total = float(weights.sum())
    return weights * (batch.num_samples / total) if total > 0 else weights


def _vmapped(objective: Objective, content: Any) -> Tensor:
    leaves = [parameter.detach() for parameter in objective.layout.parameters]
    names = [f"model.{name}" for name in objective.layout.names]

    def loss_of(pieces: list[Tensor], sample: list[Tensor]) -> Tensor:
        entries = iter(sample)
        single = map_tensors(lambda _: next(entries).unsqueeze(0), content)
        value: Tensor = functional_call(objective.module, dict(zip(names, pieces, strict=True)), (single,))
        return value.reshape(())

    # Fused attention and compiled modules know no batching; operations that lack it are looped over, with a warning.
    with twice_differentiable(), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="There is a performance drop", category=UserWarning)
        pieces = vmap(grad(loss_of), in_dims=(None, 0))(leaves, tensors_in(content))
    return torch.cat([piece.detach().reshape(len(piece), -1) for piece in pieces], dim=1)


def _looped(objective: Objective, batch: Batch) -> Tensor:
    rows = []
    for piece in pieces_of(batch, 1):
        value = objective.evaluate(to_device(piece.content, objective.layout.device))
        grads = torch.autograd.grad(value, objective.layout.parameters, allow_unused=True)
        filled = (
            torch.zeros_like(p) if g is None else g for g, p in zip(grads, objective.layout.parameters, strict=True)
        )
        rows.append(objective.layout.flatten(filled).detach())
    return torch.stack(rows)
