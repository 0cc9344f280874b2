"""Symmetric matrices known by their products: what every probe of curvature takes."""

from __future__ import annotations

import fnmatch
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

if TYPE_CHECKING:
    from scipy.sparse.linalg import LinearOperator as ScipyOperator

#: Rounding of a product relative to the operator's norm, in units of the dtype's epsilon. Measured on a vision
#: transformer, float32 products agree with float64 ones to 5e-6 (docs/curvature.md): about 50 epsilons.
ROUNDING_EPSILONS = 50.0


class LinearOperator(ABC):
    r"""A real symmetric matrix of shape ``(n, n)`` that is known by its products ``A @ v``.

    Operators add and scale (``H + 0.1 * G``), restrict to some of their coordinates, and export to SciPy. Subclasses
    write ``_matvec``; symmetry is theirs to guarantee (:func:`landscape.testing.check_operator` checks it).

    Parameters
    ----------
    size : int
        n.
    dtype, device
        Of the vectors that the operator takes and gives.

    Attributes
    ----------
    num_matvecs : int
        Products computed so far; a block of m columns counts m.
    blocks : mapping of str to slice
        Names of coordinate ranges, for :meth:`restrict`; empty if they have none.
    """

    def __init__(self, size: int, dtype: torch.dtype, device: torch.device) -> None:
        self.size = size
        self.dtype = dtype
        self.device = device
        self.num_matvecs = 0
        self.blocks: Mapping[str, slice] = {}

    @abstractmethod
    def _matvec(self, vector: Tensor) -> Tensor:
        """The product with one vector of shape ``(n,)``, which has been checked."""

    def _matmat(self, block: Tensor) -> Tensor:
        """The products with the columns of a block of shape ``(n, m)``, which has been checked."""
        return torch.stack([self._matvec(column) for column in block.T.contiguous()], dim=1)

    @property
    def shape(self) -> tuple[int, int]:
        """``(n, n)``."""
        return (self.size, self.size)

    @property
    def product_error(self) -> float:
        """How far a computed product may be off, relative to ``‖A‖ ‖v‖``: rounding, unless a subclass knows of more."""
        return ROUNDING_EPSILONS * float(torch.finfo(self.dtype).eps)

    @property
    def description(self) -> str:
        """What this matrix is, in words that end a sentence."""
        return f"a symmetric operator on {self.size} coordinates in {str(self.dtype).removeprefix('torch.')}"

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.description})"

    def __matmul__(self, other: Tensor) -> Tensor:
        """Multiply with a vector ``(n,)`` or with the columns of a block ``(n, m)``."""
        self._check(other)
        if other.dim() == 1:
            self.num_matvecs += 1
            return self._matvec(other)
        self.num_matvecs += other.shape[1]
        return self._matmat(other)

    def __add__(self, other: LinearOperator) -> LinearOperator:
        return SumOperator(self, other)

    def __sub__(self, other: LinearOperator) -> LinearOperator:
        return SumOperator(self, -1.0 * other)

    def __mul__(self, factor: float) -> LinearOperator:
        return ScaledOperator(self, float(factor))

    def __rmul__(self, factor: float) -> LinearOperator:
        return ScaledOperator(self, float(factor))

    def __neg__(self) -> LinearOperator:
        return ScaledOperator(self, -1.0)

    def restrict(self, which: str | Sequence[str] | Tensor | slice) -> LinearOperator:
        """The principal submatrix on some of the coordinates.

        Parameters
        ----------
        which : str or sequence of str, Tensor of integers, or slice
            Globs on the names in :attr:`blocks` (``"head.*"``), or coordinates.

        Raises
        ------
        ValueError
            If nothing matches, or a coordinate is out of range.
        """
        return RestrictedOperator(self, self.coordinates(which))

    def coordinates(self, which: str | Sequence[str] | Tensor | slice) -> Tensor:
        """The coordinates that ``which`` stands for in :meth:`restrict`, ascending and without repetition."""
        if isinstance(which, slice):
            chosen = torch.arange(self.size)[which]
        elif isinstance(which, Tensor):
            if which.dtype.is_floating_point or which.dtype == torch.bool or which.dim() != 1:
                raise ValueError(
                    f"coordinates are a {which.dtype} tensor of {which.dim()} dimensions; needed: integers, 1."
                )
            chosen = which.detach().cpu().unique()
        else:
            names = self.matching_blocks(which)
            chosen = torch.cat([torch.arange(self.size)[self.blocks[name]] for name in names])
        if chosen.numel() == 0 or int(chosen[0]) < 0 or int(chosen[-1]) >= self.size:
            raise ValueError(f"restrict({which!r}) chooses no coordinates between 0 and {self.size - 1}.")
        return chosen.to(self.device)

    def matching_blocks(self, globs: str | Sequence[str]) -> list[str]:
        """Names of the blocks that any of the globs matches, in order."""
        patterns = [globs] if isinstance(globs, str) else list(globs)
        for pattern in patterns:
            if not any(fnmatch.fnmatchcase(name, pattern) for name in self.blocks):
                listed = ", ".join(self.blocks) or "(none: use coordinates)"
                raise ValueError(f"restrict({pattern!r}) matches none of the names: {listed}. '*' stands for anything.")
        return [name for name in self.blocks if any(fnmatch.fnmatchcase(name, pattern) for pattern in patterns)]

    def to_dense(self) -> Tensor:
        """The whole matrix ``(n, n)``, column by column: n products, n² numbers. For small n."""
        return self @ torch.eye(self.size, dtype=self.dtype, device=self.device)

    def to_scipy(self) -> ScipyOperator:
        """A ``scipy.sparse.linalg.LinearOperator`` with the same products, for NumPy vectors on the host."""
        from scipy.sparse.linalg import LinearOperator as ScipyOperator

        def matvec(vector: Any) -> Any:
            given = torch.as_tensor(vector.reshape(-1)).to(device=self.device, dtype=self.dtype)
            return (self @ given).cpu().numpy()

        numpy_dtype = torch.zeros((), dtype=self.dtype).numpy().dtype
        return ScipyOperator(self.shape, matvec=matvec, rmatvec=matvec, dtype=numpy_dtype)

    def _check(self, other: Tensor) -> None:
        if not isinstance(other, Tensor) or other.dim() not in (1, 2) or other.shape[0] != self.size:
            given = f"shape {tuple(other.shape)}" if isinstance(other, Tensor) else f"a {type(other).__name__}"
            raise ValueError(
                f"the product was asked with {given}; this operator is {self.size} x {self.size}, so a tensor of shape "
                f"({self.size},) or ({self.size}, m) is needed."
            )
        if other.dtype != self.dtype or other.device != self.device:
            raise ValueError(
                f"the vector is {other.dtype} on {other.device}, the operator {self.dtype} on {self.device}. Convert it "
                f"with vector.to(device={str(self.device)!r}, dtype={self.dtype})."
            )


class SumOperator(LinearOperator):
    """A + B. Its product costs one of each; the errors of the parts add."""

    def __init__(self, left: LinearOperator, right: LinearOperator) -> None:
        if not isinstance(right, LinearOperator) or left.size != right.size:
            given = right.shape if isinstance(right, LinearOperator) else type(right).__name__
            raise ValueError(f"an operator of shape {left.shape} was added to {given}; shapes must agree.")
        if left.dtype != right.dtype or left.device != right.device:
            raise ValueError(
                f"an operator in {left.dtype} on {left.device} was added to one in {right.dtype} on {right.device}."
            )
        super().__init__(left.size, left.dtype, left.device)
        self.left, self.right = left, right
        self.blocks = left.blocks or right.blocks

    @property
    def product_error(self) -> float:
        """Sum of the parts' errors, relative to the larger part: where they cancel it is more of the whole."""
        return self.left.product_error + self.right.product_error

    @property
    def description(self) -> str:
        """Both parts."""
        return f"{self.left.description} plus {self.right.description}"

    def restrict(self, which: str | Sequence[str] | Tensor | slice) -> LinearOperator:
        """Restrict both parts, which may save them work."""
        coordinates = self.coordinates(which)
        named = not isinstance(which, (Tensor, slice))
        parts = [part.restrict(which if named and part.blocks else coordinates) for part in (self.left, self.right)]
        return SumOperator(parts[0], parts[1])

    def _matvec(self, vector: Tensor) -> Tensor:
        return self.left @ vector + self.right @ vector


class ScaledOperator(LinearOperator):
    """factor * A."""

    def __init__(self, base: LinearOperator, factor: float) -> None:
        super().__init__(base.size, base.dtype, base.device)
        self.base, self.factor = base, factor
        self.blocks = base.blocks

    @property
    def product_error(self) -> float:
        """That of A: scaling changes no relative error."""
        return self.base.product_error

    @property
    def description(self) -> str:
        """The factor and A."""
        return f"{self.factor:g} times {self.base.description}"

    def restrict(self, which: str | Sequence[str] | Tensor | slice) -> LinearOperator:
        """Restrict A."""
        return ScaledOperator(self.base.restrict(which), self.factor)

    def _matvec(self, vector: Tensor) -> Tensor:
        return self.factor * (self.base @ vector)


class RestrictedOperator(LinearOperator):
    """P'AP, with P the columns of the identity at some coordinates."""

    def __init__(self, base: LinearOperator, coordinates: Tensor) -> None:
        super().__init__(coordinates.numel(), base.dtype, base.device)
        self.base, self.indices = base, coordinates

    @property
    def product_error(self) -> float:
        """That of A."""
        return self.base.product_error

    @property
    def description(self) -> str:
        """A, and how much of it."""
        return f"{self.base.description}, restricted to {self.size} coordinates"

    def _matvec(self, vector: Tensor) -> Tensor:
        whole = torch.zeros(self.base.size, dtype=self.dtype, device=self.device)
        whole[self.indices] = vector
        return (self.base @ whole)[self.indices]
