"""An operator without some of its directions: what is left modulo symmetry."""

from __future__ import annotations

from typing import Protocol

import torch
from torch import Tensor

from landscape.operators.base import LinearOperator
from landscape.probes.lanczos.basis import Basis
from landscape.vectors import dot, norm

# Two applications of a projector, or two orders of an inner product with it, may differ by this many epsilons.
PROJECTOR_EPSILONS = 1e4


class Deflation(Protocol):
    """An orthogonal projector P: takes some directions out of a vector.

    Attributes
    ----------
    dimension : int
        Of the space projected onto: n less the number of independent directions taken out.
    """

    @property
    def dimension(self) -> int: ...  # noqa: D102

    def __call__(self, vector: Tensor, /) -> Tensor:
        """P times a vector ``(n,)``, as a new vector."""
        ...


class Complement:
    """The projector onto what is orthogonal to given directions.

    Parameters
    ----------
    directions : Tensor of shape (m, n)
        Rows, of any length; those that depend on the others are dropped.

    Attributes
    ----------
    dimension : int
        n less the number of independent directions.

    Raises
    ------
    ValueError
        If they are not finite, all 0, or span everything.

    Examples
    --------
    >>> project = Complement(torch.tensor([[0.0, 1.0, 0.0], [0.0, 2.0, 0.0]]))
    >>> project.dimension, project(torch.tensor([3.0, 1.0, 5.0])).tolist()
    (2, [3.0, 0.0, 5.0])
    """

    def __init__(self, directions: Tensor) -> None:
        if directions.dim() != 2 or not directions.is_floating_point() or not bool(torch.isfinite(directions).all()):
            raise ValueError(
                f"directions has shape {tuple(directions.shape)} and type {directions.dtype}; finite rows (m, n) are needed."
            )
        wide = directions.detach().double()
        lengths = wide.norm(dim=1, keepdim=True)
        _, singular, rows = torch.linalg.svd(wide / lengths.clamp(min=1e-300), full_matrices=False)
        rank = int((singular > 1e3 * torch.finfo(directions.dtype).eps * float(singular[0])).sum())
        if not rank or rank == directions.shape[1]:
            raise ValueError(f"the {len(directions)} directions span {rank} of {directions.shape[1]} dimensions.")
        self._basis = Basis(directions.shape[1], directions.dtype, directions.device, rank)
        for row in rows[:rank]:
            self._basis.store(self._basis.rows, row.to(directions.dtype))
        self.dimension = directions.shape[1] - rank

    def __call__(self, vector: Tensor, /) -> Tensor:
        """What is left of a vector ``(n,)``."""
        left = vector.clone()
        self._basis.orthogonalise(left)
        return left


class DeflatedOperator(LinearOperator):
    """P A P, with an orthogonal projector P.

    Raises
    ------
    ValueError
        If the projector fails on two random vectors: it changes the shape, is not idempotent, not symmetric, or states a
        dimension that is not between 1 and n.
    """

    def __init__(self, base: LinearOperator, project: Deflation, generator: torch.Generator) -> None:
        super().__init__(base.size, base.dtype, base.device)
        self.base, self.project = base, project
        if not 1 <= project.dimension <= base.size:
            raise ValueError(f"deflate.dimension is {project.dimension}; it must be between 1 and {base.size}.")
        u, v = torch.randn(2, base.size, generator=generator, device=generator.device, dtype=torch.float64).to(
            device=base.device, dtype=base.dtype
        )
        pu, pv = project(u), project(v)
        if pu.shape != u.shape or pu.dtype != u.dtype:
            raise ValueError(f"deflate gives {tuple(pu.shape)} in {pu.dtype} for {tuple(u.shape)} in {u.dtype}.")
        allowed = PROJECTOR_EPSILONS * torch.finfo(base.dtype).eps * norm(u) * norm(v)
        if not norm(project(pu) - pu) <= allowed or not abs(dot(u, pv) - dot(pu, v)) <= allowed:
            raise ValueError(
                "deflate is not an orthogonal projector: P(P(u)) must be P(u), and u'P(v) must be P(u)'v. "
                "Complement(directions) makes one of the directions to take out."
            )

    @property
    def product_error(self) -> float:
        """That of A: a projector adds no more than rounding."""
        return self.base.product_error

    @property
    def description(self) -> str:
        """A, and how much of it."""
        return f"{self.base.description}, on the {self.project.dimension} dimensions that a projector leaves"

    def _matvec(self, vector: Tensor) -> Tensor:
        return self.project((self.base @ self.project(vector)).detach())
