"""A Krylov space of a symmetric operator, grown one product at a time and kept orthonormal."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from landscape.autodiff.guards import exact_arithmetic
from landscape.operators.base import LinearOperator
from landscape.probes.lanczos.basis import Basis, unit_rows
from landscape.probes.lanczos.inputs import check_precision, memory_rows, unit_vector
from landscape.status import Status
from landscape.vectors import dot_on_device

# The space is taken as invariant when beta_k falls to this many epsilons of ‖A‖: what is left then is rounding. A guard
# at sqrt(epsilon) would stop spaces that still have something to say.
BREAKDOWN_EPSILONS = 10.0
# Steps between two looks at the coefficients where a look means waiting for the device.
SYNC_EVERY = 5
# Rows that `orthogonality_defect` compares with all others.
SAMPLED_ROWS = 16


class Ritz(NamedTuple):
    """Eigenpairs of the projected matrix, on the host in float64."""

    #: ``(k,)``, ascending.
    values: Tensor
    #: ``(k, k)``: column i holds Ritz vector i in terms of the basis.
    coefficients: Tensor
    #: ``(k,)``: ‖A y - θ y‖ of each.
    residual_norms: Tensor


class KrylovSpace:
    r"""Span of :math:`b, Ab, \ldots, A^{k-1}b` with an orthonormal basis in which A is tridiagonal.

    After k steps :math:`A Q_k = Q_k T_k + \beta_k q_{k+1} e_k^\top`, with the vectors q as columns of Q here and as rows
    of :attr:`basis`.

    Parameters
    ----------
    operator : LinearOperator of shape (n, n)
        In float32 or float64, which is also the dtype of the basis.
    start : Tensor of shape (n,)
        b, of any length but 0.
    max_memory : int, optional
        Bytes that the basis may take. Default: no limit.

    Attributes
    ----------
    project : callable or None
        An orthogonal projector that commutes with the operator: if set, every new vector is put back into its range, which
        rounding would leave otherwise.
    status : Status
        ``RUNNING``; ``BREAKDOWN`` once the space is invariant (its Ritz values are eigenvalues); ``NONFINITE_PRODUCT``
        once a product held NaN or infinity (that step is not counted among the steps).

    Raises
    ------
    ValueError
        If ``start`` is not a finite vector other than 0 of the operator's size, dtype and device, if the dtype is not
        float32 or float64, or if the memory holds less than two vectors.

    Notes
    -----
    A step costs one product and two passes of classical Gram-Schmidt over the whole basis, each two matrix products
    (8 k n multiplications); without them, copies of converged eigenvalues appear (Paige 1972, J. Inst. Math. Appl. 10).
    Coefficients are accumulated in float64, stay on the device and are fetched by :meth:`sync`, which happens by itself
    at each step on a CPU, every five steps elsewhere, and when they are read. Memory: k + 1 vectors, allocated at
    least 8 at a time, and two more while a step is taken.

    An interrupted step (an exception out of the product) leaves the space as it was before that step.

    References
    ----------
    Lanczos (1950), J. Res. Natl. Bur. Stand. 45. Parlett (1998), The Symmetric Eigenvalue Problem, chapter 13.

    Examples
    --------
    >>> from landscape.operators.matrix import MatrixOperator
    >>> A = MatrixOperator(torch.diag(torch.tensor([1.0, 2.0, 3.0, 100.0], dtype=torch.float64)))
    >>> space = KrylovSpace(A, torch.ones(4, dtype=torch.float64))
    >>> for _ in range(3):
    ...     space.extend()
    >>> ritz = space.ritz()
    >>> bool(abs(ritz.values[-1] - 100.0) <= ritz.residual_norms[-1]), A.num_matvecs
    (True, 3)
    """

    def __init__(self, operator: LinearOperator, start: Tensor, *, max_memory: int | None = None) -> None:
        check_precision(operator)
        self.operator = operator
        self.status = Status.RUNNING
        self.project: Callable[[Tensor], Tensor] | None = None
        self.capacity = memory_rows(operator, max_memory, least=2)
        self._basis = Basis(operator.size, operator.dtype, operator.device, self.capacity)
        self._basis.store(0, unit_vector(operator, start))
        self._alphas: list[float] = []
        self._betas: list[float] = []
        self._strays: list[float] = []
        self._stray_norms: list[float] = []
        self._pending: list[Tensor] = []
        # False while the basis is being replaced: an exception in between leaves it torn, with the coefficients still right.
        self.intact = True
        # Rows before the first whose coefficients are in `_alphas`: none, unless a subclass puts Ritz vectors there.
        self._head = 0
        self.sync_every = steps_between_looks(operator.device)

    @property
    def num_steps(self) -> int:
        """k: steps whose coefficients are known and finite."""
        self.sync()
        return len(self._alphas)

    @property
    def dimension(self) -> int:
        """Vectors in the basis of the space, without the one that the next step would multiply."""
        self.sync()
        return self._length()

    @property
    def has_room(self) -> bool:
        """Whether the memory limit allows another step."""
        return self._length() + 1 < self.capacity or self._length() + 1 == self.operator.size

    @property
    def is_plain(self) -> bool:
        """Whether this is the Krylov space of the start vector, so that what is known of Lanczos in theory holds."""
        return True

    @property
    def alphas(self) -> Tensor:
        """Diagonal of the tridiagonal matrix ``(k,)``, float64 on the host."""
        self.sync()
        return torch.tensor(self._alphas, dtype=torch.float64)

    @property
    def betas(self) -> Tensor:
        """``(k,)``, float64 on the host: couplings of q_j to q_{j+1}, that of the last step to the next vector included."""
        self.sync()
        return torch.tensor(self._betas, dtype=torch.float64)

    @property
    def couplings(self) -> Tensor:
        """The betas, the last one replaced by 0 after a breakdown, where it is rounding."""
        couplings = self.betas
        if self.status is Status.BREAKDOWN:
            couplings[-1] = 0.0
        return couplings

    @property
    def basis(self) -> Tensor:
        """The k basis vectors as rows ``(k, n)``: a copy."""
        return self._basis.stack()[: self.dimension]

    @property
    def next_vector(self) -> Tensor | None:
        """q_{k+1}, or None after a breakdown."""
        dimension = self.dimension
        return self._basis.row(dimension) if self._basis.rows > dimension else None

    @property
    def stray(self) -> float:
        r"""Largest :math:`|q_i^\top A q_j - T_{ij}|`, i < j, met in a first pass of Gram-Schmidt.

        For an exact, symmetric product it is 0, so it measures, without further products, how far the computed products
        are from those of one symmetric matrix.
        """
        self.sync()
        return max(self._strays, default=0.0)

    @property
    def stray_norm(self) -> float:
        """Frobenius norm of all strays, both triangles: it bounds what they can do to an eigenvalue of the projected matrix."""
        self.sync()
        return math.sqrt(2.0 * sum(norm**2 for norm in self._stray_norms))

    @property
    def norm_estimate(self) -> float:
        """A bound on the norm of the projected matrix: close to ‖A‖ after a few steps."""
        self.sync()
        return self._scale(len(self._alphas))

    def extend(self) -> None:
        """Take one step: one product.

        Raises
        ------
        RuntimeError
            If the space cannot grow: it broke down, a product was not finite, or the memory limit is reached.
        """
        if self.status is not Status.RUNNING or not self.has_room:
            reason = (
                str(self.status) if self.status is not Status.RUNNING else f"{self.capacity} vectors are its limit."
            )
            raise RuntimeError(f"the Krylov space cannot grow: {reason}")
        with exact_arithmetic(self.operator.device):
            vector = self._current()
            # Not in place: an operator may give back the very vector that it was given.
            product = (self.operator @ vector).detach()
            alpha = dot_on_device(vector, product)
            residual = product - alpha * vector
            self._subtract_couplings(residual)
            strays = self._orthogonalise(residual)
            if self.project is not None:
                residual = self.project(residual)
            beta = dot_on_device(residual, residual).sqrt()
            self._store_next(residual / beta)
        self._pending.append(torch.stack([alpha, beta, strays.abs().max(), strays.norm()]))
        if len(self._pending) >= self.sync_every or self._is_exhausted():
            self.sync()

    def sync(self) -> None:
        """Fetch the coefficients of the steps taken, and look for a breakdown or a non-finite product among them."""
        if not self._pending:
            return
        fetched = torch.stack(self._pending).tolist()
        self._pending.clear()
        for alpha, beta, stray, stray_norm in fetched:
            if not all(map(math.isfinite, (alpha, beta, stray))):
                self.status = Status.NONFINITE_PRODUCT
                self._drop_rows(self._length() + 1)
                return
            self._alphas.append(alpha)
            self._betas.append(beta)
            self._strays.append(stray)
            self._stray_norms.append(stray_norm)
            guard = BREAKDOWN_EPSILONS * torch.finfo(self.operator.dtype).eps * self._scale(len(self._alphas))
            if beta <= guard or self._is_exhausted():
                self.status = Status.BREAKDOWN
                self._drop_rows(self._length())
                return

    def tridiagonal(self) -> Tensor:
        """The projected matrix ``(k, k)``, float64 on the host."""
        inner = self.betas[:-1]
        return torch.diag(self.alphas) + torch.diag(inner, 1) + torch.diag(inner, -1)

    def projected(self) -> Tensor:
        """A in the basis of the space; here the same as :meth:`tridiagonal`."""
        return self.tridiagonal()

    def ritz(self) -> Ritz:
        """Ritz values, Ritz vectors in terms of the basis, and residual norms."""
        if self.dimension == 0:
            nothing = torch.empty(0, dtype=torch.float64)
            return Ritz(nothing, torch.empty(0, 0, dtype=torch.float64), nothing)
        values, coefficients = torch.linalg.eigh(self.projected())
        return Ritz(values, coefficients, self._betas[-1] * coefficients[-1].abs())

    def ritz_vectors(self, indices: list[int]) -> Tensor:
        """Ritz vectors with these positions in :meth:`ritz`, as unit rows ``(m, n)``."""
        with exact_arithmetic(self.operator.device):
            return unit_rows(self._basis.combine(self.ritz().coefficients[:, indices]))

    def orthogonality_defect(self) -> float:
        """Largest entry of |Q'Q - I| between 16 basis vectors, evenly spaced, and all."""
        self.sync()
        return self._basis.defect(SAMPLED_ROWS)

    def _length(self) -> int:
        """Basis vectors multiplied so far, those included whose coefficients are still on the device."""
        return self._head + len(self._alphas) + len(self._pending)

    def _current(self) -> Tensor:
        """The vector that the next step multiplies."""
        return self._basis.row(self._length())

    def _last_beta(self) -> Tensor | float:
        return self._pending[-1][1] if self._pending else self._betas[-1]

    def _subtract_couplings(self, residual: Tensor) -> None:
        """Take away what symmetry says A q has along earlier vectors; what is found there afterwards is stray."""
        if self._alphas or self._pending:
            residual.sub_(self._basis.row(self._length() - 1) * self._last_beta())

    def _orthogonalise(self, residual: Tensor) -> Tensor:
        """Make the residual orthogonal to the basis, in place, and give the stray coefficients, at least one."""
        strays = self._basis.orthogonalise(residual)[: self._length()]
        return strays if len(strays) else torch.zeros(1, dtype=torch.float64, device=self.operator.device)

    def _store_next(self, vector: Tensor) -> None:
        """Keep q_{k+1}. An interrupted step leaves a row too many, which the next attempt overwrites."""
        if self._length() + 1 < self.operator.size:
            self._basis.store(self._length() + 1, vector)

    def _is_exhausted(self) -> bool:
        """Whether the space is all there is."""
        return self._length() == self.operator.size

    def _drop_rows(self, kept: int) -> None:
        self._basis.truncate(kept)

    def _scale(self, count: int) -> float:
        """Largest absolute row sum of the tridiagonal matrix, which bounds its norm (Gershgorin)."""
        betas = [0.0, *self._betas[:count]]
        return max((abs(self._alphas[j]) + betas[j] + betas[j + 1] for j in range(count)), default=0.0)


def steps_between_looks(device: torch.device) -> int:
    """1 where looking costs nothing."""
    return 1 if device.type == "cpu" else SYNC_EVERY
