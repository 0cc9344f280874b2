"""A preconditioner for linear equations from a random sketch of the matrix."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class NystromApproximation:
    r"""A positive semidefinite matrix of low rank, :math:`U \,\mathrm{diag}(\lambda)\, U^\top`.

    Attributes
    ----------
    vectors : Tensor of shape (n, r)
        U, orthonormal columns; r is the rank asked for, or less.
    eigenvalues : Tensor of shape (r,)
        Descending, none below 0; in the dtype of the vectors.
    lowest_curvature : float
        Smallest eigenvalue of the sketched matrix on the space of the test vectors: at least its own smallest one, so
        a negative number shows that it is not positive semidefinite.
    num_products : int
    """

    vectors: Tensor
    eigenvalues: Tensor
    lowest_curvature: float
    num_products: int

    def preconditioner(self, damping: float) -> Callable[[Tensor], Tensor]:
        r"""The map :math:`v \mapsto P^{-1} v` for equations with the sketched matrix plus ``damping`` times the identity.

        :math:`P^{-1} = (\lambda_r + \mu)\, U (\Lambda + \mu I)^{-1} U^\top + I - U U^\top`, with :math:`\mu` the damping:
        the sketched eigenvalues are all turned into the smallest of them, the rest is left as it is.

        Parameters
        ----------
        damping : float
            Above 0 if the smallest eigenvalue of the approximation is 0.

        Raises
        ------
        ValueError
            If that would divide by zero.
        """
        smallest = float(self.eigenvalues[-1]) + damping
        if not 0.0 < smallest < math.inf:
            raise ValueError(
                f"damping={damping!r} with a smallest sketched eigenvalue of {float(self.eigenvalues[-1]):g} leaves a matrix "
                "that cannot be inverted. Give a damping above 0."
            )
        excess = (smallest / (self.eigenvalues.double() + damping) - 1.0).to(self.vectors.dtype)

        def apply(vector: Tensor) -> Tensor:
            return vector + self.vectors @ (excess * (self.vectors.T @ vector))

        return apply


def nystrom(
    product: Callable[[Tensor], Tensor],
    size: int,
    rank: int,
    *,
    generator: torch.Generator,
    dtype: torch.dtype = torch.float32,
    device: torch.device | str = "cpu",
) -> NystromApproximation | None:
    r"""Approximate a symmetric matrix by its action on random vectors.

    With an orthonormal test matrix :math:`\Omega` and :math:`Y = A \Omega`, the approximation is
    :math:`Y_\nu (\Omega^\top Y_\nu)^{-1} Y_\nu^\top - \nu I`, cut at zero, where :math:`Y_\nu = Y + \nu \Omega`.

    Parameters
    ----------
    product : callable
        ``v (n,) -> Av (n,)``, called ``rank`` times. A should be positive semidefinite; see the notes if it is not.
    size : int
        n.
    rank : int
        Columns of the sketch, from 1 to n.
    generator : torch.Generator
        Of the test vectors, on the CPU.
    dtype, device
        Of the vectors that ``product`` takes.

    Returns
    -------
    NystromApproximation or None
        None if a product is not finite.

    Raises
    ------
    ValueError
        If ``rank`` is not between 1 and n.

    Notes
    -----
    The shift :math:`\nu` is the rounding of the sketch, :math:`\sqrt n\, eps\, \|Y\|_F`. The inverse is taken on the part of
    the test space where A is above it, and, where A is indefinite on the test vectors, above the absolute value of its
    most negative value there: what is kept is the large positive part of A, which is what a preconditioner is for.

    Cost: ``rank`` products; ``4 n rank^2`` operations. Memory: three times n x rank float64 numbers, then one in
    ``dtype``.

    References
    ----------
    Frangella, Tropp, Udell (2023), Randomized Nyström preconditioning, SIAM J. Matrix Anal. Appl. 44(2), algorithm 2.1.
    Rathore et al. (2024), Challenges in training PINNs: a loss landscape perspective, ICML, for its use in Newton-CG.

    Examples
    --------
    >>> A = torch.diag(torch.tensor([9.0, 4.0, 0.0, 0.0]))
    >>> nystrom(lambda v: A @ v, 4, 3, generator=torch.Generator().manual_seed(0)).eigenvalues[:2]
    tensor([9.0000, 4.0000])
    """
    if not 1 <= rank <= size:
        raise ValueError(f"rank={rank!r} was given; it has to be between 1 and the number of coordinates, {size}.")
    normal = torch.randn(size, rank, dtype=torch.float64, generator=generator).to(device)
    # What is multiplied are the rounded columns, so the algebra has to use those.
    test = torch.linalg.qr(normal).Q.to(dtype).double()
    sketch = torch.stack([product(column.to(dtype).contiguous()).double() for column in test.T], dim=1)
    if not bool(torch.isfinite(sketch).all()):
        return None
    values, basis = torch.linalg.eigh(0.5 * (test.T @ sketch + sketch.T @ test))
    lowest = float(values[0])
    shift = math.sqrt(size) * float(torch.finfo(dtype).eps * sketch.norm())
    kept = values > max(shift, -lowest)
    if not bool(kept.any()):
        return NystromApproximation(test[:, :1].to(dtype), test.new_zeros(1).to(dtype), lowest, rank)
    basis = basis[:, kept]
    half = (sketch + shift * test) @ basis / (values[kept] + shift).sqrt()
    vectors, singular, _ = torch.linalg.svd(half, full_matrices=False)
    eigenvalues = (singular.square() - shift).clamp_(min=0.0)
    return NystromApproximation(vectors.to(dtype), eigenvalues.to(dtype), lowest, rank)
