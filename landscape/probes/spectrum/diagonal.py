"""The diagonal of a symmetric operator from a few products, with a standard error for each entry."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from landscape.operators.base import LinearOperator
from landscape.probes.spectrum.trace import LeaveOneOutSketch, check_budget, exact_diagonal, random_signs
from landscape.probes.target import Target, operator_of

DiagonalMethod = Literal["xdiag", "hutchinson"]

_FEWEST = {"xdiag": 4, "hutchinson": 2}


@dataclass(frozen=True)
class DiagonalEstimate:
    """A diagonal and how far each entry may be off.

    Attributes
    ----------
    values : Tensor of shape (n,)
        In the operator's dtype, on its device; NaN where a product was not finite.
    standard_errors : Tensor of shape (n,)
        Of sampling; rounding of the products comes on top. 0 if ``method`` is "exact".
    num_matvecs : int
        Products used.
    method : str
        "xdiag", "hutchinson", or "exact" if there were products enough for every coordinate.
    """

    values: Tensor
    standard_errors: Tensor
    num_matvecs: int
    method: str

    def __str__(self) -> str:
        if bool(torch.isnan(self.values).any()):
            return f"The diagonal is unknown in part: one of {self.num_matvecs} products was not finite."
        typical = float(self.standard_errors.double().square().mean().sqrt())
        return (
            f"A diagonal of {self.values.numel()} entries between {float(self.values.min()):.4g} and "
            f"{float(self.values.max()):.4g}, with a standard error of {typical:.2g} (root mean square; {self.method}, "
            f"{self.num_matvecs} products)."
        )


def diagonal(
    operator: Target,
    *,
    num_matvecs: int = 40,
    method: DiagonalMethod = "xdiag",
    generator: torch.Generator | None = None,
) -> DiagonalEstimate:
    r"""Estimate the diagonal of a symmetric operator.

    Parameters
    ----------
    operator : LinearOperator of shape (n, n), or Problem
        A problem stands for its Hessian where the model is. Of any sign.
    num_matvecs : int
        Products allowed: at least 4 (xdiag, which uses an even number) or 2 (hutchinson). From n on the diagonal is
        computed exactly, with n products.
    method : {"xdiag", "hutchinson"}
        XDiag unless the spectrum is known to be flat or memory is short; see the notes.
    generator : torch.Generator, optional
        Source of the random signs. Default: a private one, the same at every call.

    Returns
    -------
    DiagonalEstimate
        ``values`` and ``standard_errors``, both (n,), ``num_matvecs`` and ``method``.

    Raises
    ------
    ValueError
        If ``num_matvecs`` is too small or the method unknown.

    Notes
    -----
    With random signs :math:`\omega_i`, *Hutchinson* (Bekas, Kokiopoulou, Saad) averages
    :math:`\omega_i \odot A \omega_i`: exact for diagonal matrices; the error of an entry is the norm of the rest of its
    row over the square root of the number of products. *XDiag* uses half as many test vectors; with :math:`P_i` the
    projector onto the range of A times all of them but the i-th it averages

    .. math:: d_i = \mathrm{diag}(P_i A) + \omega_i \odot (I - P_i) A \omega_i,

    exact (to rounding) for ranks below k = num_matvecs / 2. Standard errors are taken from the spread of the terms, for
    XDiag as if they were independent (they are exchangeable, and correlated weakly).

    Cost: ``num_matvecs`` products, each 2 GE nominal for a Hessian; memory of 5 k n numbers (Hutchinson: 3 n).

    References
    ----------
    Epperly, Tropp, Webber (2024), XTrace: making the most of every sample in stochastic trace estimation, SIAM J. Matrix
    Anal. Appl. 45(1). Bekas, Kokiopoulou, Saad (2007), An estimator for the diagonal of a matrix, Appl. Numer. Math. 57.

    Examples
    --------
    >>> from landscape.operators.matrix import MatrixOperator
    >>> factor = torch.randn(100, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    >>> matrix = factor @ factor.T  # of rank 3
    >>> bool(torch.allclose(diagonal(MatrixOperator(matrix), num_matvecs=10).values, matrix.diagonal()))
    True
    """
    if method not in _FEWEST:
        raise ValueError(f"method={method!r} was given; choose one of {', '.join(map(repr, _FEWEST))}.")
    operator = operator_of(operator)
    check_budget(num_matvecs, _FEWEST[method], operator.size, method)
    generator = torch.Generator().manual_seed(0) if generator is None else generator
    if num_matvecs >= operator.size:
        values = exact_diagonal(operator)
        return DiagonalEstimate(values.to(operator.dtype), 0 * values.to(operator.dtype), operator.size, "exact")
    estimator = _xdiag if method == "xdiag" else _hutchinson
    return estimator(operator, num_matvecs, generator)


def _xdiag(operator: LinearOperator, num_matvecs: int, generator: torch.Generator) -> DiagonalEstimate:
    k = num_matvecs // 2
    signs = random_signs(operator, k, generator)
    sketch = LeaveOneOutSketch(operator, signs)
    S = sketch.S.to(operator.dtype)
    left_out, image = sketch.Q @ S, sketch.Z @ S
    # (I - P_i) A w_i = Q s_i (s_i'r_i), since A w_i = Q r_i and the other columns of R are orthogonal to s_i.
    lengths = (sketch.S * sketch.R).sum(dim=0).to(operator.dtype)
    terms = left_out.mul_(signs * lengths - image)
    whole = (sketch.Q * sketch.Z).sum(dim=1)
    return DiagonalEstimate(whole + terms.mean(dim=1), terms.std(dim=1) / math.sqrt(k), 2 * k, "xdiag")


def _hutchinson(operator: LinearOperator, num_matvecs: int, generator: torch.Generator) -> DiagonalEstimate:
    mean = torch.zeros(operator.size, dtype=operator.dtype, device=operator.device)
    squares = torch.zeros_like(mean)  # sum of squared deviations from the mean, updated with it (Welford 1962)
    for count in range(1, num_matvecs + 1):
        signs = random_signs(operator, 1, generator)[:, 0].contiguous()
        sample = signs * (operator @ signs)
        change = sample - mean
        mean += change / count
        squares += change * (sample - mean)
    errors = (squares.clamp_(min=0) / (num_matvecs * (num_matvecs - 1))).sqrt_()
    return DiagonalEstimate(mean, errors, num_matvecs, "hutchinson")
