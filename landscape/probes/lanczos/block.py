"""A Krylov space grown from several vectors at once, which sees eigenvalues of higher multiplicity."""

from __future__ import annotations

import torch
from torch import Tensor

from landscape.autodiff.guards import exact_arithmetic
from landscape.operators.base import LinearOperator
from landscape.probes.lanczos.basis import Basis, unit_rows
from landscape.probes.lanczos.inputs import check_precision, memory_rows
from landscape.probes.lanczos.krylov import BREAKDOWN_EPSILONS, SAMPLED_ROWS, Ritz
from landscape.status import Status


class BlockKrylovSpace:
    r"""Span of :math:`X, AX, A^2X, \ldots` for a block of start vectors, with an orthonormal basis.

    From one start vector Lanczos finds each eigenvalue once. From b vectors it finds up to b copies, and a GPU may
    multiply b vectors in less time than b times one.

    Parameters
    ----------
    operator : LinearOperator of shape (n, n)
        In float32 or float64.
    start : Tensor of shape (b, n)
        Rows; linearly dependent ones are dropped.
    max_memory : int, optional
        Bytes that the basis may take.

    Attributes
    ----------
    status : Status
        As for :class:`~landscape.probes.lanczos.krylov.KrylovSpace`.

    Raises
    ------
    ValueError
        If the start is not a finite block of vectors of the operator's size other than 0, or the memory is too small.

    Notes
    -----
    The projected matrix T is block tridiagonal. After a step the block W that is left is factored as
    :math:`W = Q R` and R by its singular values; directions below rounding are *deflated*, so the block gets narrower
    when the space becomes invariant in part, and the space breaks down when nothing is left. A step costs as many
    products as the block is wide, and Gram-Schmidt twice before and twice after the factorisation.

    References
    ----------
    Golub, Underwood (1977), The block Lanczos method for computing eigenvalues. Parlett (1998), The Symmetric Eigenvalue
    Problem, section 13.10.

    Examples
    --------
    >>> from landscape.operators.matrix import MatrixOperator
    >>> A = MatrixOperator(torch.diag(torch.tensor([5.0, 5.0, 1.0, 1.0], dtype=torch.float64)))
    >>> space = BlockKrylovSpace(A, torch.tensor([[1.0, 2.0, 3.0, 4.0], [1.0, -1.0, 1.0, 1.0]], dtype=torch.float64))
    >>> while space.status is Status.RUNNING:
    ...     space.extend()
    >>> [round(value, 10) for value in space.ritz().values.tolist()]
    [1.0, 1.0, 5.0, 5.0]
    """

    def __init__(self, operator: LinearOperator, start: Tensor, *, max_memory: int | None = None) -> None:
        check_precision(operator)
        if start.dim() != 2 or start.shape[1] != operator.size or not 1 <= len(start) <= operator.size:
            raise ValueError(
                f"start has shape {tuple(start.shape)}; a block (b, {operator.size}) is needed, b at most n."
            )
        if not bool(torch.isfinite(start).all()):
            raise ValueError("the start block holds NaN or infinite entries.")
        self.operator = operator
        self.status = Status.RUNNING
        self.intact = True
        self.sync_every = 1
        self.stray = 0.0
        self.capacity = memory_rows(operator, max_memory, least=2 * len(start))
        self._basis = Basis(operator.size, operator.dtype, operator.device, self.capacity)
        lengths = torch.linalg.vector_norm(start, dim=1, keepdim=True, dtype=torch.float64).clamp(min=1e-300)
        block, _ = self._factor((start.double() / lengths).to(operator.dtype).T, floor=0.0)
        if not block.shape[1]:
            raise ValueError("the start block is 0; vectors other than 0 are needed.")
        self._append(block)
        self._matrix = torch.zeros(0, 0, dtype=torch.float64)
        # The coupling (rows of the next block, rows of the last one multiplied).
        self._coupling = torch.zeros(0, 0, dtype=torch.float64)
        self._norm = 0.0

    @property
    def dimension(self) -> int:
        """Basis vectors that have been multiplied."""
        return len(self._matrix)

    @property
    def width(self) -> int:
        """Vectors, and so products, of the next step."""
        return self._basis.rows - self.dimension

    @property
    def has_room(self) -> bool:
        """Whether the memory limit allows another step."""
        return self._basis.rows + self.width <= self.capacity or self._basis.rows == self.operator.size

    @property
    def basis(self) -> Tensor:
        """The basis vectors as rows: a copy."""
        return self._basis.stack()[: self.dimension]

    @property
    def norm_estimate(self) -> float:
        """A bound on the norm of the projected matrix and its last coupling."""
        return self._norm

    def sync(self) -> None:
        """Nothing to do: the factorisation of a block waits for the device."""

    def extend(self) -> None:
        """Take one step: as many products as :attr:`width`.

        Raises
        ------
        RuntimeError
            If the space cannot grow.
        """
        if self.status is not Status.RUNNING or not self.has_room:
            raise RuntimeError(f"the Krylov space cannot grow: {self.status}")
        old, width = self.dimension, self.width
        with exact_arithmetic(self.operator.device):
            block = torch.stack([self._basis.row(old + index) for index in range(width)], dim=1)
            residual = (self.operator @ block).detach().clone()
            if not bool(torch.isfinite(residual).all()):
                self.status = Status.NONFINITE_PRODUCT
                self._basis.truncate(old)
                return
            found = self._basis.orthogonalise(residual).cpu()
            matrix = torch.zeros(old + width, old + width, dtype=torch.float64)
            matrix[:old, :old] = self._matrix
            above = old - self._coupling.shape[1]
            if old:
                matrix[old:, above:old] = self._coupling
                matrix[above:old, old:] = self._coupling.T
            matrix[old:, old:] = (found[old:] + found[old:].T) / 2
            stray = float((found - matrix[:, old:]).abs().max())
            norm = max(self._norm, float(matrix[:, old:].abs().sum(dim=0).max()))
            floor = BREAKDOWN_EPSILONS * torch.finfo(self.operator.dtype).eps * max(norm, _largest_column(residual))
            fresh, coupling = self._factor(residual, floor=floor)
            self._append(fresh[:, : self.operator.size - old - width])
        self._matrix, self._coupling = matrix, coupling[: self.operator.size - old - width]
        self._norm = max(norm, float((matrix[:, old:].abs().sum(dim=0) + coupling.abs().sum(dim=0)).max()))
        self.stray = max(self.stray, stray)
        if self._coupling.shape[0] == 0:
            self.status = Status.BREAKDOWN

    def projected(self) -> Tensor:
        """A in the basis of the space: block tridiagonal, float64 on the host."""
        return self._matrix

    def ritz(self) -> Ritz:
        """Ritz values, Ritz vectors in terms of the basis, and residual norms."""
        if not self.dimension:
            nothing = torch.empty(0, dtype=torch.float64)
            return Ritz(nothing, torch.empty(0, 0, dtype=torch.float64), nothing)
        values, coefficients = torch.linalg.eigh(self._matrix)
        last = coefficients[self.dimension - self._coupling.shape[1] :]
        return Ritz(values, coefficients, torch.linalg.vector_norm(self._coupling @ last, dim=0))

    def ritz_vectors(self, indices: list[int]) -> Tensor:
        """Ritz vectors with these positions in :meth:`ritz`, as unit rows ``(m, n)``."""
        with exact_arithmetic(self.operator.device):
            return unit_rows(self._basis.combine(self.ritz().coefficients[:, indices]))

    def orthogonality_defect(self) -> float:
        """Largest entry of |Q'Q - I| between 16 basis vectors, evenly spaced, and all."""
        return self._basis.defect(SAMPLED_ROWS)

    def _factor(self, block: Tensor, *, floor: float) -> tuple[Tensor, Tensor]:
        """Orthonormal columns, also to the basis, and their coefficients in the block; rounding is left out."""
        columns, triangle = torch.linalg.qr(block)
        left, singular, right = torch.linalg.svd(triangle.double())
        eps = torch.finfo(block.dtype).eps
        rank = int((singular > max(floor, 10 * eps * float(singular[0]) if floor == 0.0 else floor)).sum())
        columns = columns @ left[:, :rank].to(columns.dtype)
        if not rank:
            return columns, torch.zeros(0, block.shape[1], dtype=torch.float64)
        # What was small before it was scaled up has lost digits of its orthogonality.
        if self._basis.rows:
            self._basis.orthogonalise(columns)
        columns, again = torch.linalg.qr(columns)
        return columns, (again.double() @ torch.diag(singular[:rank]) @ right[:rank]).cpu()

    def _append(self, columns: Tensor) -> None:
        for column in columns.T:
            self._basis.store(self._basis.rows, column)


def _largest_column(block: Tensor) -> float:
    return float(torch.linalg.vector_norm(block, dim=0, dtype=torch.float64).max())
