"""The last steps and gradient changes of a minimisation, as an approximation of the inverse Hessian."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from landscape.vectors import dot, norm

# A pair is kept if the cosine between step and change of gradient is above this: cosines lose their sign in rounding of
# n products, and pairs below it make the approximation ill-conditioned.
CURVATURE_RTOL = 1e-8
# Numbers turned into float64 at a time (8 MB).
CHUNK = 2**20


class LimitedMemory:
    r"""The inverse Hessian according to the last ``size`` pairs of step s and change of gradient y (L-BFGS).

    The matrix H that :math:`\gamma I` becomes by one BFGS update for each pair, oldest first, where
    :math:`\gamma = s^\top y / y^\top y` of the newest. It is positive definite, maps the newest y to its s, and is the
    identity while there is no pair.

    Parameters
    ----------
    size : int
        Pairs kept; a new one then takes the place of the oldest.
    curvature_rtol : float, default 1e-8
        A pair is kept if :math:`s^\top y >` ``curvature_rtol`` :math:`\|s\| \|y\|`. Relative, so that nothing depends on
        the units of loss and parameters.

    Attributes
    ----------
    num_pairs : int
        Pairs held at present.
    scale : float
        The :math:`\gamma` above; 1 while there is no pair.

    Notes
    -----
    The product is that of the two-loop recursion (Nocedal 1980) in its compact form (Byrd, Nocedal, Schnabel 1994,
    theorem 2.2): with the pairs as columns of S and Y, R the upper triangle of :math:`S^\top Y` and D its diagonal,

    .. math::

        w = R^{-1} S^\top v, \qquad
        H v = \gamma v + S\, R^{-\top} \left( (D + \gamma Y^\top Y) w - \gamma Y^\top v \right) - \gamma Y w.

    Four products of a (size, n) matrix with a vector, and two more for every new pair, instead of 4 size dot products and
    sums one after the other, each of which has to be launched and waited for. All are accumulated in float64, and the
    small matrices are float64. (CPU, one thread, 100 pairs: 0.3 ms instead of 0.9 ms at n = 921 in float64, 1.0 ms instead
    of 1.2 ms at n = 4,810 in float32; for very long float32 vectors turning them into float64 costs more than is gained, 41
    ms instead of 24 ms at n = 156,000.)

    *Memory:* 2 size n numbers in the dtype of the vectors, taken with the first pair.

    References
    ----------
    Nocedal (1980), Updating quasi-Newton matrices with limited storage, Math. Comp. 35. Byrd, Nocedal, Schnabel (1994),
    Representations of quasi-Newton matrices and their use in limited memory methods, Math. Programming 63.

    Examples
    --------
    >>> memory = LimitedMemory(5)
    >>> step, change = torch.tensor([1.0, 0.0]), torch.tensor([4.0, 1.0])
    >>> memory.push(step, change)
    True
    >>> torch.allclose(memory.product(change), step)
    True
    >>> memory.push(step, -change)  # negative curvature
    False
    """

    def __init__(self, size: int, *, curvature_rtol: float = CURVATURE_RTOL) -> None:
        self.size = size
        self.curvature_rtol = curvature_rtol
        self.num_pairs = 0
        self.scale = 1.0
        self._newest = -1  # row of the newest pair
        self._steps, self._changes = torch.empty(0), torch.empty(0)  # (size, n), rows in a ring
        self._products = torch.empty(0)  # (2, size, size): s_i'y_j and y_i'y_j, right where i is not newer than j

    def push(self, step: Tensor, change: Tensor) -> bool:
        """Learn from one step, if it shows positive curvature.

        Parameters
        ----------
        step, change : Tensor of shape (n,)
            How the parameters and the gradient have changed; copied.

        Returns
        -------
        bool
            Whether the pair was kept.
        """
        if not is_curved(step, change, self.curvature_rtol):
            return False
        if self._steps.numel() == 0:
            # Zeros: products run over all rows, so that a reloaded history repeats them bit for bit.
            self._allocate(*(step.new_zeros(self.size, step.numel()) for _ in range(2)))
        self._newest = (self._newest + 1) % self.size
        self.num_pairs = min(self.num_pairs + 1, self.size)
        self._steps[self._newest] = step
        self._changes[self._newest] = change
        self._multiply(self._newest)
        return True

    def product(self, vector: Tensor) -> Tensor:
        """Multiply a vector of shape (n,) by the approximate inverse Hessian."""
        if self.num_pairs == 0:
            return vector.clone()
        rows = self._rows_by_age()
        sy, yy = self._products[:, rows][:, :, rows]
        R, gamma = sy.triu(), self.scale
        yy = yy.triu() + yy.triu(1).T
        w = _solve(R, _times(self._steps, vector)[rows], upper=True)
        inner = sy.diagonal() * w + gamma * (yy @ w) - gamma * _times(self._changes, vector)[rows]
        coefficients = torch.zeros(2, self.size, dtype=torch.float64, device=vector.device)
        coefficients[0, rows] = _solve(R.T, inner, upper=False)
        coefficients[1, rows] = -gamma * w
        return _combination(gamma, vector, coefficients, (self._steps, self._changes))

    def clear(self) -> None:
        """Forget all pairs."""
        self.__init__(self.size, curvature_rtol=self.curvature_rtol)  # type: ignore[misc]

    def tensors(self) -> dict[str, Tensor]:
        """What a checkpoint keeps, in the dtype of the vectors; no copies."""
        if self.num_pairs == 0:
            return {}
        is_newest = self._steps.new_zeros(self.size)
        is_newest[self._newest] = 1.0
        return {"steps": self._steps, "changes": self._changes, "is_newest": is_newest}

    def load(self, tensors: dict[str, Tensor]) -> None:
        """Take over what :meth:`tensors` returned; later products are the same, bit for bit."""
        self.clear()
        if not tensors:
            return
        self._allocate(tensors["steps"], tensors["changes"])
        self.num_pairs = int(self._steps.any(dim=1).sum())  # no step that was kept is 0
        self._newest = int(tensors["is_newest"].argmax())
        for row in self._rows_by_age().tolist():
            self._multiply(row)

    def _allocate(self, steps: Tensor, changes: Tensor) -> None:
        self.size = len(steps)
        self._steps, self._changes = steps, changes
        self._products = torch.zeros(2, self.size, self.size, dtype=torch.float64, device=steps.device)

    def _multiply(self, row: int) -> None:
        """Inner products of the pair in ``row`` with those that are older."""
        change = self._changes[row]
        self._products[0, :, row] = _times(self._steps, change)
        self._products[1, :, row] = _times(self._changes, change)
        self.scale = float(self._products[0, row, row] / self._products[1, row, row])

    def _rows_by_age(self) -> Tensor:
        """Row numbers, oldest pair first."""
        ages = torch.arange(self.num_pairs - 1, -1, -1, device=self._steps.device)
        return (self._newest - ages) % self.size


def is_curved(step: Tensor, change: Tensor, rtol: float) -> bool:
    r"""Whether :math:`s^\top y >` ``rtol`` :math:`\|s\| \|y\|`; not if anything is NaN or infinite."""
    lengths = norm(step) * norm(change)
    return 0.0 < lengths < math.inf and dot(step, change) > rtol * lengths


def _times(rows: Tensor, vector: Tensor) -> Tensor:
    """Matrix times vector, accumulated in float64."""
    if rows.dtype == torch.float64:
        return rows @ vector
    width = max(1, CHUNK // len(rows))
    parts = zip(rows.split(width, dim=1), vector.split(width), strict=True)
    return torch.stack([part.double() @ piece.double() for part, piece in parts]).sum(dim=0)


def _combination(gamma: float, vector: Tensor, coefficients: Tensor, matrices: tuple[Tensor, Tensor]) -> Tensor:
    """``gamma * vector`` plus combinations of rows, accumulated in float64."""
    width = vector.numel() if vector.dtype == torch.float64 else max(1, CHUNK // len(matrices[0]))
    result = torch.empty_like(vector)
    pieces = zip(
        result.split(width), vector.split(width), *(rows.split(width, dim=1) for rows in matrices), strict=True
    )
    for out, piece, steps, changes in pieces:
        total = gamma * piece.double()
        out.copy_(total.addmv_(steps.double().T, coefficients[0]).addmv_(changes.double().T, coefficients[1]))
    return result


def _solve(triangle: Tensor, right: Tensor, *, upper: bool) -> Tensor:
    solution: Tensor = torch.linalg.solve_triangular(triangle, right[:, None], upper=upper)
    return solution[:, 0]
