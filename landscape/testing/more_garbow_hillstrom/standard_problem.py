"""A function to minimise whose start point and minimum values are published."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True, eq=False)
class StandardProblem:
    r"""Minimise :math:`f(x) = \sum_i f_i(x)^2` from a standard start point.

    Attributes
    ----------
    name : str
        As the paper calls it.
    number : int
        In the paper's list, 1 to 35.
    residuals : callable
        The functions :math:`f_i`: takes ``(n,)`` and gives ``(m,)`` in float64, differentiably.
    start : Tensor of shape (n,), float64
        The standard start point; not to be written to.
    minima : tuple of float
        Known values of f at its local minima, lowest first; also the limits of f towards infinity that the paper lists.
        Empty if none is known at this n.
    minimisers : tuple of tuple of float
        Points of the lowest value, where they are known in closed form.

    Examples
    --------
    >>> import landscape.testing.more_garbow_hillstrom as mgh
    >>> valley = mgh.rosenbrock()
    >>> valley.function(valley.start).item(), valley.minima
    (24.199999999999996, (0.0,))
    """

    name: str
    number: int
    residuals: Callable[[Tensor], Tensor]
    start: Tensor
    minima: tuple[float, ...]
    minimisers: tuple[tuple[float, ...], ...] = ()

    @property
    def num_params(self) -> int:
        """Variables n."""
        return self.start.numel()

    def function(self, x: Tensor) -> Tensor:
        """The function to minimise, a scalar; infinite where it overflows."""
        return self.residuals(x).square().sum()

    def params(self) -> Tensor:
        """A fresh copy of the start point that requires a gradient."""
        return self.start.clone().requires_grad_()

    def closure(self, params: Tensor) -> Callable[[], Tensor]:
        """What the ``step`` of an optimiser of ``params`` takes: clears the gradient, gives the loss, computes the gradient.

        Under :class:`torch.no_grad` it computes the loss alone.
        """

        def closure() -> Tensor:
            params.grad = None
            loss = self.function(params)
            if loss.requires_grad:
                loss.backward()
            return loss

        return closure


def vector(*entries: float) -> Tensor:
    """A float64 vector of these entries."""
    return torch.tensor(entries, dtype=torch.float64)


def count(first: int, last: int) -> Tensor:
    """The whole numbers from first to last, in float64."""
    return torch.arange(first, last + 1, dtype=torch.float64)


def repeated(pattern: Sequence[float], n: int) -> Tensor:
    """The pattern one after the other, n entries in all; n is a multiple of its length."""
    if n < len(pattern) or n % len(pattern):
        raise ValueError(f"n={n} was given; this problem needs a positive multiple of {len(pattern)}.")
    return vector(*pattern).repeat(n // len(pattern))


def check_size(n: int, lowest: int, highest: int | None = None) -> None:
    """Refuse a number of variables that the problem is not defined for."""
    if n < lowest or (highest is not None and n > highest):
        range_ = f"at least {lowest}" if highest is None else f"from {lowest} to {highest}"
        raise ValueError(f"n={n} was given; this problem needs n {range_}.")
