"""What a Krylov space is given: operators, start vectors and memory limits, checked before any product."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from landscape.operators.base import LinearOperator
from landscape.vectors import dot_on_device


def check_precision(operator: LinearOperator) -> None:
    """Refuse what Lanczos cannot work in."""
    if operator.dtype not in (torch.float32, torch.float64):
        raise ValueError(
            f"the operator works in {operator.dtype}; a Krylov basis needs float32 or float64 to stay orthogonal. "
            "Convert the model with model.float() and build the operator again."
        )


def memory_rows(operator: LinearOperator, max_memory: int | None, *, least: int) -> int:
    """How many vectors of the operator fit into ``max_memory`` bytes, at least ``least`` (at most n + 1)."""
    bytes_per_row = operator.size * torch.finfo(operator.dtype).bits // 8
    least = min(least, operator.size + 1)
    if max_memory is None:
        return operator.size + 1
    if max_memory < least * bytes_per_row:
        raise ValueError(
            f"max_memory={max_memory} bytes is too small: at least {least} vectors of {bytes_per_row} bytes are needed, "
            f"{least * bytes_per_row} bytes. Give that much, or use basis='two-pass', which stores no basis."
        )
    return min(int(max_memory // bytes_per_row), operator.size + 1)


def unit_vector(operator: LinearOperator, start: Tensor) -> Tensor:
    """The start vector, checked, with length 1."""
    if not isinstance(start, Tensor) or start.shape != (operator.size,):
        given = f"shape {tuple(start.shape)}" if isinstance(start, Tensor) else f"type {type(start).__name__}"
        raise ValueError(
            f"start has {given}; the operator is {operator.size} x {operator.size}: give a ({operator.size},)."
        )
    if start.dtype != operator.dtype or start.device != operator.device:
        raise ValueError(
            f"start is {start.dtype} on {start.device}, the operator {operator.dtype} on {operator.device}. Convert it "
            f"with start.to(device={str(operator.device)!r}, dtype={operator.dtype})."
        )
    detached = start.detach()
    length = float(dot_on_device(detached, detached).sqrt())
    if not math.isfinite(length) or length == 0.0:
        raise ValueError(f"start has length {length}; a finite vector other than 0 is needed.")
    return (detached.double() / length).to(operator.dtype)


def random_start(operator: LinearOperator, generator: torch.Generator, count: int | None = None) -> Tensor:
    """A standard normal vector ``(n,)``, or ``count`` of them as rows: directions uniform on the sphere."""
    shape = (operator.size,) if count is None else (count, operator.size)
    drawn = torch.randn(*shape, generator=generator, device=generator.device, dtype=torch.float64)
    return drawn.to(device=operator.device, dtype=operator.dtype)
