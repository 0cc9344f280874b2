"""A Krylov space in bounded memory: when the basis is full, it is condensed to its best Ritz vectors."""

from __future__ import annotations

import torch
from torch import Tensor

from landscape.operators.base import LinearOperator
from landscape.probes.lanczos.inputs import memory_rows
from landscape.probes.lanczos.krylov import KrylovSpace, Ritz

#: Rows below which a restart would keep too little of both ends to get anywhere.
LEAST_ROWS = 8


class ThickRestartSpace(KrylovSpace):
    r"""A :class:`KrylovSpace` that can be condensed to some of its Ritz vectors and grown on.

    Parameters
    ----------
    operator, start
        As for :class:`KrylovSpace`.
    max_memory : int, optional
        Bytes for the basis: eight vectors at least.

    Attributes
    ----------
    num_restarts : int
        How often it was condensed. While 0 it is a plain Krylov space.

    Notes
    -----
    Of a full space the Ritz pairs :math:`(\theta_i, y_i)` kept and the vector :math:`q_{k+1}` satisfy
    :math:`A y_i = \theta_i y_i + \sigma_i q_{k+1}`, with :math:`\sigma_i = \beta_k s_{ki}`. So the basis
    :math:`y_1, \ldots, y_l, q_{k+1}` goes on growing by the Lanczos recurrence, and the projected matrix is an arrowhead
    (the thetas, and the sigmas in the row of :math:`q_{k+1}`) continued by a tridiagonal part. No product is repeated, the
    Ritz vectors are combined tile by tile within the same memory (2 k l n multiplications), and residual norms mean what
    they did. What is lost is the polynomial behind the start vector, and with it every probability statement.

    References
    ----------
    Wu, Simon (2000), Thick-restart Lanczos method for large symmetric eigenvalue problems, SIAM J. Matrix Anal. Appl. 22.
    """

    def __init__(self, operator: LinearOperator, start: Tensor, *, max_memory: int | None = None) -> None:
        memory_rows(operator, max_memory, least=LEAST_ROWS)
        super().__init__(operator, start, max_memory=max_memory)
        self.num_restarts = 0
        self._thetas: list[float] = []
        self._sigmas: list[float] = []

    @property
    def is_plain(self) -> bool:
        """True until the first restart."""
        return self.num_restarts == 0

    def restart(self, low: int, high: int) -> None:
        """Condense the space to its ``low`` smallest and ``high`` largest Ritz pairs and the next vector.

        Raises
        ------
        ValueError
            If that would not make the space smaller, or the space has no next vector.
        """
        dimension = self.dimension
        if low < 0 or high < 0 or not 0 < low + high < dimension or self.next_vector is None:
            raise ValueError(
                f"restart({low}, {high}) of a space of dimension {dimension}: keep fewer pairs, at least 1."
            )
        ritz = self.ritz()
        kept = [*range(low), *range(dimension - high, dimension)]
        # The next vector is one more combination: of the rows, the one after the last.
        weights = torch.zeros(dimension + 1, len(kept) + 1, dtype=torch.float64)
        weights[:dimension, :-1] = ritz.coefficients[:, kept]
        weights[-1, -1] = 1.0
        thetas, sigmas = ritz.values[kept].tolist(), self._last_row(ritz)[kept].tolist()
        self.intact = False
        self._basis.replace(weights)
        self._thetas, self._sigmas, self._head, self._alphas, self._betas = thetas, sigmas, len(kept), [], []
        self.num_restarts += 1
        self.intact = True

    def projected(self) -> Tensor:
        """A in the basis of the space: arrowhead, then tridiagonal."""
        tridiagonal = self.tridiagonal()
        matrix = torch.zeros(self.dimension, self.dimension, dtype=torch.float64)
        head = self._head
        matrix[:head, :head] = torch.diag(torch.tensor(self._thetas, dtype=torch.float64))
        matrix[head:, head:] = tridiagonal
        if len(tridiagonal):
            matrix[head, :head] = matrix[:head, head] = torch.tensor(self._sigmas, dtype=torch.float64)
        return matrix

    def ritz(self) -> Ritz:
        """Ritz values, Ritz vectors in terms of the basis, and residual norms."""
        if self.num_steps or not self._head:
            return super().ritz()
        values = torch.tensor(self._thetas, dtype=torch.float64)
        return Ritz(values, torch.eye(self._head, dtype=torch.float64), torch.tensor(self._sigmas).abs().double())

    def _last_row(self, ritz: Ritz) -> Tensor:
        """Coupling of each Ritz vector to the next vector, with its sign."""
        return self._betas[-1] * ritz.coefficients[-1]

    def _subtract_couplings(self, residual: Tensor) -> None:
        if self._alphas or self._pending or not self._head:
            super()._subtract_couplings(residual)
            return
        sigmas = torch.tensor(self._sigmas, dtype=torch.float64, device=residual.device)
        self._basis.subtract(residual, sigmas)

    def _scale(self, count: int) -> float:
        return max([super()._scale(count), *(abs(theta) for theta in self._thetas)])
