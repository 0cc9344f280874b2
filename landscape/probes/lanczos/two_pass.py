"""Lanczos without a stored basis: three vectors in the first pass, Ritz vectors rebuilt in a second."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from landscape.autodiff.guards import exact_arithmetic
from landscape.operators.base import LinearOperator
from landscape.probes.lanczos.basis import unit_rows
from landscape.probes.lanczos.krylov import KrylovSpace


class TwoPassSpace(KrylovSpace):
    r"""A :class:`KrylovSpace` that holds two vectors and its start instead of a basis.

    Parameters
    ----------
    operator, start
        As for :class:`KrylovSpace`.

    Notes
    -----
    Without a basis nothing is reorthogonalised: copies of converged eigenvalues appear, and :attr:`stray` and the
    orthogonality defect cannot be known (0 and NaN). Ritz values at the ends stay right (Paige 1980, Linear Algebra Appl.
    34), but multiplicities, densities and probability statements do not hold. :meth:`ritz_vectors` repeats the k - 1
    products of the first pass, with the coefficients found there; the products must be repeatable bit for bit.

    References
    ----------
    Cullum, Willoughby (1985), Lanczos Algorithms for Large Symmetric Eigenvalue Computations, volume 1.
    """

    def __init__(self, operator: LinearOperator, start: Tensor) -> None:
        super().__init__(operator, start)
        self._before: Tensor | None = None
        self._now = self._basis.row(0)

    @property
    def has_room(self) -> bool:
        """Always: nothing is stored. Rounding may let it take more than n steps."""
        return True

    @property
    def is_plain(self) -> bool:
        """False: nothing is kept orthogonal."""
        return False

    @property
    def next_vector(self) -> Tensor | None:
        """q_{k+1}: where the recurrence stands."""
        return self._now

    @property
    def basis(self) -> Tensor:
        """Not held: an empty tensor ``(0, n)``."""
        return self._basis.stack()[:0]

    def ritz_vectors(self, indices: list[int]) -> Tensor:
        """Ritz vectors as unit rows ``(m, n)``, by a second pass of k - 1 products."""
        weights = self.ritz().coefficients[:, indices].to(self.operator.device, self.operator.dtype)
        rows = torch.zeros(len(indices), self.operator.size, dtype=self.operator.dtype, device=self.operator.device)
        before, now = None, self._basis.row(0)
        with exact_arithmetic(self.operator.device):
            for step in range(self.num_steps):
                rows.addr_(weights[step], now)
                if step + 1 == self.num_steps:
                    break
                residual = (self.operator @ now).detach() - self._number(self._alphas[step]) * now
                if before is not None:
                    residual.sub_(before * self._number(self._betas[step - 1]))
                before, now = now, residual / self._number(self._betas[step])
            return unit_rows(rows)

    def orthogonality_defect(self) -> float:
        """NaN: there is no basis to measure."""
        return math.nan

    def _number(self, value: float) -> Tensor:
        """As in the first pass, where coefficients are 0-dimensional tensors: the rounding must be the same."""
        return torch.tensor(value, dtype=torch.float64, device=self.operator.device)

    def _current(self) -> Tensor:
        return self._now

    def _subtract_couplings(self, residual: Tensor) -> None:
        if self._before is not None:
            beta = self._pending[-1][1] if self._pending else self._number(self._betas[-1])
            residual.sub_(self._before * beta)

    def _orthogonalise(self, residual: Tensor) -> Tensor:
        return torch.zeros(1, dtype=torch.float64, device=self.operator.device)

    def _store_next(self, vector: Tensor) -> None:
        self._before, self._now = self._now, vector

    def _is_exhausted(self) -> bool:
        """Never by the number of steps: some of them find copies of what was found before."""
        return False

    def _drop_rows(self, kept: int) -> None:
        """Nothing is held that could be dropped."""
