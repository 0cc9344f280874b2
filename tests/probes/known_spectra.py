"""Matrices whose eigenvalues are known, and operators that misbehave in known ways."""

from __future__ import annotations

import torch
from torch import Tensor

from landscape.operators.base import LinearOperator
from landscape.operators.matrix import MatrixOperator


class DiagonalOperator(LinearOperator):
    """The eigenvalues themselves: by rotation invariance, as hard for Lanczos from a random start as any other matrix."""

    def __init__(self, eigenvalues: Tensor) -> None:
        super().__init__(eigenvalues.numel(), eigenvalues.dtype, eigenvalues.device)
        self.eigenvalues = eigenvalues

    def _matvec(self, vector: Tensor) -> Tensor:
        return self.eigenvalues * vector


class InterruptedOperator(DiagonalOperator):
    """Raises KeyboardInterrupt in the middle of product number ``at``, as a Ctrl-C does."""

    def __init__(self, eigenvalues: Tensor, at: int) -> None:
        super().__init__(eigenvalues)
        self.at = at

    def _matvec(self, vector: Tensor) -> Tensor:
        if self.num_matvecs == self.at:
            raise KeyboardInterrupt
        return super()._matvec(vector)


class BrokenOperator(DiagonalOperator):
    """Product number ``at`` holds a NaN."""

    def __init__(self, eigenvalues: Tensor, at: int) -> None:
        super().__init__(eigenvalues)
        self.at = at

    def _matvec(self, vector: Tensor) -> Tensor:
        product = super()._matvec(vector)
        if self.num_matvecs >= self.at:
            product[0] = torch.nan
        return product


def matrix_with(eigenvalues: Tensor, generator: torch.Generator) -> Tensor:
    """A dense symmetric matrix with these eigenvalues and random eigenvectors."""
    n = len(eigenvalues)
    basis, _ = torch.linalg.qr(torch.randn(n, n, dtype=torch.float64, generator=generator))
    matrix = (basis * eigenvalues.double()) @ basis.T
    return ((matrix + matrix.T) / 2).to(eigenvalues.dtype)


def operator_with(eigenvalues: Tensor, generator: torch.Generator) -> MatrixOperator:
    return MatrixOperator(matrix_with(eigenvalues, generator))


def vision_transformer_like(n: int = 3000) -> Tensor:
    """Ends as measured on a small vision transformer: bottom gap 6 %, a few outliers on top, a bulk at 0."""
    generator = torch.Generator().manual_seed(1)
    top = torch.tensor([29.3571, 25.7482, 22.9026, 19.9898, 17.852], dtype=torch.float64)
    low = torch.tensor([-0.80037, -0.75231, -0.6798, -0.61], dtype=torch.float64)
    upper_tail = 15 * torch.exp(-torch.arange(60, dtype=torch.float64) / 8)
    lower_tail = -0.57 * torch.exp(-torch.arange(80, dtype=torch.float64) / 15)
    bulk = 0.01 * torch.randn(n - 149, dtype=torch.float64, generator=generator)
    return torch.cat([top, low, upper_tail, lower_tail, bulk])


def spectra() -> dict[str, Tensor]:
    """Small ones of every kind."""
    linear = torch.linspace(0.5, 10.0, 40, dtype=torch.float64)
    return {
        "well_conditioned": linear,
        "indefinite": torch.linspace(-3.0, 5.0, 40, dtype=torch.float64),
        "one_outlier": torch.cat([torch.linspace(-0.1, 1.0, 39, dtype=torch.float64), torch.tensor([1e3]).double()]),
        "clustered": 1.0 + 1e-6 * torch.linspace(-1, 1, 40, dtype=torch.float64),
        "singular": torch.cat([torch.zeros(20, dtype=torch.float64), linear[:20]]),
        "geometric": 10.0 ** torch.linspace(-8, 2, 40, dtype=torch.float64),
    }
