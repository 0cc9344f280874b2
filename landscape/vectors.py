"""The parameters as one flat vector: gathering, views, and dot products that do not lose digits."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

import torch
from torch import Tensor

# Numbers turned into float64 at a time: 2 MB of memory, which stay in the cache (5 to 10 times as fast as all at once).
CHUNK = 2**17


def dot(a: Tensor, b: Tensor) -> float:
    """Dot product of two flat vectors, accumulated in float64 whatever their dtype.

    Parameters
    ----------
    a, b : Tensor of shape (n,)

    Returns
    -------
    float
        NaN or infinite exactly when a product is, or when float64 vectors overflow.

    Examples
    --------
    >>> dot(torch.tensor([1e20, 1.0]), torch.tensor([1e20, 1.0])) > 1e39  # float32 would overflow
    True
    """
    return float(dot_on_device(a, b))


def dot_on_device(a: Tensor, b: Tensor) -> Tensor:
    """Like :func:`dot`, but a 0-dimensional float64 tensor: no waiting for the device."""
    if a.dtype == torch.float64 or a.numel() <= CHUNK:
        return torch.dot(a.double(), b.double())
    buffer = torch.empty(2, CHUNK, dtype=torch.float64, device=a.device)
    parts = [
        torch.dot(buffer[0, : x.numel()].copy_(x), buffer[1, : y.numel()].copy_(y))
        for x, y in zip(a.split(CHUNK), b.split(CHUNK), strict=True)
    ]
    return torch.stack(parts).sum()


def norm(a: Tensor) -> float:
    """Euclidean norm of a flat vector, accumulated in float64."""
    return math.sqrt(dot(a, a))


def flatten(tensors: Iterable[Tensor]) -> Tensor:
    """Copy tensors one after the other into a new vector of shape (n,)."""
    return torch.cat([tensor.detach().reshape(-1) for tensor in tensors])


def views(vector: Tensor, like: Sequence[Tensor]) -> list[Tensor]:
    """Cut a flat vector into views with the shapes of ``like``; no copy.

    Examples
    --------
    >>> [part.tolist() for part in views(torch.arange(3.0), [torch.zeros(2, 1), torch.zeros(())])]
    [[[0.0], [1.0]], 2.0]
    """
    pieces = vector.split([tensor.numel() for tensor in like])
    return [piece.view(tensor.shape) for piece, tensor in zip(pieces, like, strict=True)]
