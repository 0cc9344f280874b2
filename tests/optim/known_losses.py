"""Losses of one parameter vector with known minima, and a closure that counts what it is asked."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from landscape.optim import BETAS, LINE_SEARCHES, ConjugateGradient

Loss = Callable[[Tensor], Tensor]


class Counting:
    """A closure in the idiom of torch.optim.LBFGS over ``loss(*params)``; ``unconditional`` calls backward always."""

    def __init__(self, loss: Callable[..., Tensor], *params: Tensor, unconditional: bool = False) -> None:
        self.loss, self.params, self.unconditional = loss, params, unconditional
        self.num_forwards = self.num_gradients = self.num_failed = 0
        self.losses: list[float] = []

    def __call__(self) -> Tensor:
        for param in self.params:
            param.grad = None
        loss = self.loss(*self.params)
        if self.unconditional or loss.requires_grad:
            try:
                loss.backward()
            except RuntimeError:
                self.num_forwards += 1
                self.num_failed += 1
                raise
            self.num_gradients += 1
        else:
            self.num_forwards += 1
        self.losses.append(float(loss.detach()))
        return loss


def parameter(values: object, dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.as_tensor(values, dtype=dtype).clone().requires_grad_()


def positive_definite(num_rows: int, condition: float, generator: torch.Generator) -> Tensor:
    """A symmetric matrix with eigenvalues spaced geometrically from 1 to ``condition``."""
    basis, _ = torch.linalg.qr(torch.randn(num_rows, num_rows, dtype=torch.float64, generator=generator))
    eigenvalues = torch.logspace(0.0, torch.log10(torch.tensor(condition)).item(), num_rows, dtype=torch.float64)
    return (basis * eigenvalues) @ basis.T


def rosenbrock(x: Tensor) -> Tensor:
    return ((1.0 - x[:-1]) ** 2 + 100.0 * (x[1:] - x[:-1] ** 2) ** 2).sum()


def powell_singular(x: Tensor) -> Tensor:
    a, b, c, d = x
    return (a + 10 * b) ** 2 + 5 * (c - d) ** 2 + (b - 2 * c) ** 4 + 10 * (a - d) ** 4


def beale(x: Tensor) -> Tensor:
    a, b = x
    return (1.5 - a + a * b) ** 2 + (2.25 - a + a * b**2) ** 2 + (2.625 - a + a * b**3) ** 2


def wood(x: Tensor) -> Tensor:
    a, b, c, d = x
    return (
        100 * (b - a**2) ** 2
        + (1 - a) ** 2
        + 90 * (d - c**2) ** 2
        + (1 - c) ** 2
        + 10.1 * ((b - 1) ** 2 + (d - 1) ** 2)
        + 19.8 * (b - 1) * (d - 1)
    )


def log_barrier(x: Tensor) -> Tensor:
    """NaN outside the box |x| < 1; the minimum is inside it, close to its side."""
    return -1e-2 * (torch.log(1.0 - x) + torch.log(1.0 + x)).sum() + ((x - 2.0) ** 2).sum()


def square_root(x: Tensor) -> Tensor:
    """NaN for x < 0; infinite slope at 0; the minimum is at 1/4."""
    return (x - torch.sqrt(x)).sum()


def run(optimizer: ConjugateGradient, closure: Counting, num_steps: int, *, until: float = 0.0) -> None:
    for _ in range(num_steps):
        optimizer.step(closure)
        assert optimizer.last is not None
        if optimizer.last.gradient_norm <= until:
            return


#: Every line search with one formula for beta, and every formula with the default search: all pairs would say no more.
SEARCH_AND_BETA = [(search, "pr+") for search in LINE_SEARCHES] + [
    ("quadratic", beta) for beta in BETAS if beta != "pr+"
]
