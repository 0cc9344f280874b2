"""A symmetric change of variables that a function computes."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from landscape.vectors import dot, norm


class AsymmetricPreconditionerError(ValueError):
    """A function given as a preconditioner is not symmetric."""


class FunctionPreconditioner:
    """S as a symmetric linear function v -> S v.

    Parameters
    ----------
    function : callable
        Takes and returns vectors of shape ``(n,)``; linear, symmetric and invertible, and the same in every call. If S is
        not symmetric, write a class with the methods of :class:`Preconditioner` instead.
    params : sequence of Tensor
        What it will be applied to: two random vectors of their dtype test the symmetry.

    Raises
    ------
    AsymmetricPreconditionerError
        If :math:`u^T S v` and :math:`v^T S u` differ by more than rounding explains.
    TypeError, ValueError
        If it does not return a finite vector of the same shape, dtype and device.

    Notes
    -----
    Checkpoints cannot hold functions: they keep its name, and the optimiser that loads one has to be constructed with the
    same function.
    """

    def __init__(self, function: Callable[[Tensor], Tensor], params: Sequence[Tensor]) -> None:
        self.function = function
        self.name: str = getattr(function, "__qualname__", type(function).__qualname__)
        self._check(params)

    def scale(self, vector: Tensor) -> Tensor:
        """S v."""
        product = self.function(vector).detach()
        return product.clone() if product.data_ptr() == vector.data_ptr() else product

    def scale_transposed(self, vector: Tensor) -> Tensor:
        """S v again: S is symmetric."""
        return self.scale(vector)

    def tensors(self) -> dict[str, Tensor]:
        """Nothing: a function is no tensor."""
        return {}

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.name})"

    def _check(self, params: Sequence[Tensor]) -> None:
        generator = torch.Generator().manual_seed(0)
        size, like = sum(param.numel() for param in params), params[0]
        u, v = (
            torch.randn(size, generator=generator, dtype=torch.float64).to(dtype=like.dtype, device=like.device)
            for _ in range(2)
        )
        Su, Sv = self._product(u), self._product(v)
        uSv, vSu = dot(u, Sv), dot(v, Su)
        # Each number is random with about this standard deviation, also for an S that is not symmetric at all.
        scale = (norm(u) * norm(Sv) + norm(v) * norm(Su)) / math.sqrt(size)
        if abs(uSv - vSu) > math.sqrt(torch.finfo(like.dtype).eps) * scale:
            raise AsymmetricPreconditionerError(
                f"precond={self.name} is not symmetric: for two random vectors u'Sv is {uSv:.6g} and v'Su is {vSu:.6g}. "
                "Give a symmetric S, as the square root of P, or an object with the methods scale (S v), "
                "scale_transposed (S' v) and tensors."
            )

    def _product(self, vector: Tensor) -> Tensor:
        before = vector.clone()
        product = self.function(vector)
        if not isinstance(product, Tensor):
            raise TypeError(
                f"precond={self.name} returned a {type(product).__name__}; S v as a tensor of shape {tuple(vector.shape)} "
                "is needed."
            )
        if (product.shape, product.dtype, product.device) != (vector.shape, vector.dtype, vector.device):
            raise ValueError(
                f"precond={self.name} returned a {product.dtype} tensor of shape {tuple(product.shape)} on "
                f"{product.device} for a {vector.dtype} one of shape {tuple(vector.shape)} on {vector.device}. Return S v "
                "like v: one flat vector over all parameters."
            )
        if not torch.equal(before, vector):
            raise ValueError(f"precond={self.name} changed the vector that it was given. Return S v as a new tensor.")
        if not bool(torch.isfinite(product).all()):
            raise ValueError(f"precond={self.name} returned NaN or infinity for a random vector. S has to be finite.")
        return product.detach()
