"""Leading curvature, measured by Lanczos where a second phase begins, as a preconditioner for it."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from landscape.operators.base import LinearOperator
from landscape.optim.preconditioner.diagonal import DiagonalPreconditioner
from landscape.optim.preconditioner.protocol import Preconditioner
from landscape.optim.preconditioner.ritz import RitzPreconditioner
from landscape.probes.lanczos.inputs import random_start
from landscape.probes.lanczos.krylov import KrylovSpace
from landscape.status import Status

#: Products for each pair. Pairs that have not converged serve as well, but the last few Ritz values of a space are too low.
MATVECS_PER_PAIR = 1.25
#: Ritz values below so many product errors are noise.
MIN_PRODUCT_ERRORS = 10.0


class PreconditionedOperator(LinearOperator):
    """S^T A S: the matrix A in the variables of a preconditioner; its eigenvalues are those of P A.

    Parameters
    ----------
    base : LinearOperator of shape (n, n)
        A.
    preconditioner : Preconditioner
        S.
    """

    def __init__(self, base: LinearOperator, preconditioner: Preconditioner) -> None:
        super().__init__(base.size, base.dtype, base.device)
        self.base, self.preconditioner = base, preconditioner

    @property
    def product_error(self) -> float:
        """That of A, which the scales may stretch unevenly."""
        return self.base.product_error

    @property
    def description(self) -> str:
        """A, and in which variables."""
        return f"{self.base.description}, in the variables of a preconditioner"

    def _matvec(self, vector: Tensor) -> Tensor:
        return self.preconditioner.scale_transposed(self.base @ self.preconditioner.scale(vector))


def ritz_preconditioner(
    operator: LinearOperator,
    num_pairs: int = 20,
    *,
    base: DiagonalPreconditioner | None = None,
    num_matvecs: int | None = None,
    generator: torch.Generator | None = None,
) -> RitzPreconditioner | None:
    r"""Measure the leading curvatures at one point, and make them equal.

    Parameters
    ----------
    operator : LinearOperator of shape (n, n)
        The Hessian where the second phase begins: ``problem.hessian()``.
    num_pairs : int, default 20
        Ritz pairs to keep, the largest by magnitude.
    base : DiagonalPreconditioner, optional
        D, in whose variables it is measured: :func:`landscape.optim.preconditioner.diagonal.from_adam`. Default: the
        identity.
    num_matvecs : int, optional
        Products to spend. Default: a quarter more than ``num_pairs``.
    generator : torch.Generator, optional
        Source of the start vector. Default: one of its own, with seed 0.

    Returns
    -------
    RitzPreconditioner or None
        Of fewer pairs, if the others are noise. None if there is no curvature, or the first product is not finite.

    Raises
    ------
    ValueError
        If not ``1 <= num_pairs <= num_matvecs``, or ``base`` is of another size or dtype.

    Notes
    -----
    Lanczos on :math:`D H D` with full reorthogonalisation. A pair does not have to have converged: with orthonormal Ritz
    vectors any P of this form is positive definite, and the leading pairs, which count, converge first.

    *What it is worth.* analyses/benchmarks/ritz_preconditioner.py compares it with ``base`` alone, the products charged. On
    digits (float32, 5 seeds, 400 GE) 20 pairs lower the loss of CG to 0.72 of what it is without, and of L-BFGS to 0.89,
    each on all seeds; had the products been paid for anyway, to 0.64 and 0.74. On the Burgers equation (float64, 1000 GE) 5
    pairs lower it to 0.70 (CG, 5 of 5 seeds) and 0.81 (L-BFGS, 4 of 5; between 0.27 and 1.24), but 10 or more gain nothing
    for CG that holds on all seeds, and cost L-BFGS a fifth to several times: pairs go out of date. Without Adam's scale,
    measured pairs do not make up for it on digits.

    Cost: ``num_matvecs`` products (2 GE each) and as many vectors of memory, of which ``num_pairs`` are kept.

    References
    ----------
    Parlett (1998), The Symmetric Eigenvalue Problem, chapter 13.

    Examples
    --------
    >>> from landscape.operators.matrix import MatrixOperator
    >>> H = MatrixOperator(torch.diag(torch.tensor([1000.0, 100.0, 3.0, 2.0, 1.0], dtype=torch.float64)))
    >>> made = ritz_preconditioner(H, 2, num_matvecs=5)
    >>> curvatures = torch.linalg.eigvalsh(PreconditionedOperator(H, made).to_dense())
    >>> [round(value, 8) for value in curvatures.tolist()]
    [1.0, 2.0, 3.0, 100.0, 100.0]
    """
    budget = math.ceil(MATVECS_PER_PAIR * num_pairs) if num_matvecs is None else num_matvecs
    if not 1 <= num_pairs <= budget:
        raise ValueError(
            f"num_pairs={num_pairs} and num_matvecs={num_matvecs} were given; at least 1 pair is needed, and a product for "
            "each: a quarter more products than pairs is usual."
        )
    if base is not None and (len(base.diagonal), base.diagonal.dtype) != (operator.size, operator.dtype):
        raise ValueError(
            f"base scales {len(base.diagonal)} parameters in {base.diagonal.dtype}, and the operator is "
            f"{operator.description}. Both have to be those of the same parameters."
        )
    generator = generator if generator is not None else torch.Generator().manual_seed(0)
    studied = operator if base is None else PreconditionedOperator(operator, base)
    space = KrylovSpace(studied, random_start(studied, generator))
    while space.status is Status.RUNNING and space.num_steps < budget:
        space.extend()
    if space.num_steps == 0:
        return None
    values = space.ritz().values
    leading = values.abs().argsort(descending=True)[:num_pairs]
    noise = MIN_PRODUCT_ERRORS * studied.product_error * float(values.abs().max())
    kept = [index for index in leading.tolist() if abs(float(values[index])) > noise]
    return RitzPreconditioner(values[kept], space.ritz_vectors(kept).T, base) if kept else None
