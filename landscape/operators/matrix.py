"""A symmetric matrix that is held whole."""

from __future__ import annotations

import torch
from torch import Tensor

from landscape.operators.base import LinearOperator


class MatrixOperator(LinearOperator):
    """A dense symmetric matrix as an operator: for tests, references and matrices from elsewhere.

    Parameters
    ----------
    matrix : Tensor of shape (n, n)
        Real, floating point, finite, and symmetric to rounding.

    Raises
    ------
    ValueError
        If it is not.

    Examples
    --------
    >>> A = MatrixOperator(torch.diag(torch.tensor([1.0, 2.0])))
    >>> (A @ torch.ones(2)).tolist(), ((A + 3.0 * A) @ torch.ones(2)).tolist(), A.num_matvecs
    ([1.0, 2.0], [4.0, 8.0], 3)
    """

    def __init__(self, matrix: Tensor) -> None:
        if matrix.dim() != 2 or matrix.shape[0] != matrix.shape[1] or matrix.numel() == 0:
            raise ValueError(f"a matrix of shape {tuple(matrix.shape)} was given; it must be square and not empty.")
        if not matrix.is_floating_point():
            raise ValueError(f"a matrix of {matrix.dtype} was given; it must be real floating point.")
        if not bool(torch.isfinite(matrix).all()):
            raise ValueError("the matrix holds NaN or infinite entries.")
        defect = float((matrix - matrix.T).abs().max())
        scale = float(matrix.abs().max())
        if defect > 1e3 * torch.finfo(matrix.dtype).eps * scale:
            raise ValueError(
                f"the matrix is not symmetric: A and its transpose differ by {defect:.3g} (largest entry {scale:.3g}). "
                "Give (A + A.T) / 2 if that is what is meant."
            )
        super().__init__(matrix.shape[0], matrix.dtype, matrix.device)
        self.matrix = matrix.detach()

    def _matvec(self, vector: Tensor) -> Tensor:
        return self.matrix @ vector
