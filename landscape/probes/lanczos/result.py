"""What Lanczos found at the ends of a spectrum."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from landscape.status import Status


@dataclass(frozen=True, eq=False)
class RitzPair:
    """An approximate eigenpair at one end.

    Attributes
    ----------
    value : float
        Ritz value: never outside the spectrum, up to rounding. NaN if no product was finished.
    vector : Tensor of shape (n,) or None
        Of length 1. None if it is not known (nothing finished, or interrupted before the second pass).
    residual_norm : float
        ‖A y - θ y‖: some eigenvalue is that near to the value.
    gap_error : float
        Estimate of the distance to that eigenvalue: residual_norm, or residual_norm² / gap if less.
    bound : float
        The true end lies between ``value`` and this, except with half the ``miss_probability`` of the run. NaN if the
        start was not random, or the basis not whole from it.
    converged : bool
        Whether ``gap_error``, and the distance to ``bound`` where there is one, are within the tolerance.
    """

    value: float
    vector: Tensor | None
    residual_norm: float
    gap_error: float
    bound: float
    converged: bool

    def __str__(self) -> str:
        return f"{self.value:.6g} (residual {self.residual_norm:.2g}{'' if self.converged else ', not converged'})"


@dataclass(frozen=True, eq=False)
class LanczosResult:
    """What :func:`lanczos` found.

    Attributes
    ----------
    ritz_values, residual_norms : Tensor of shape (k,)
        Of the whole projected matrix, ascending, float64 on the host.
    smallest, largest : RitzPair
        The ends; both are given, whichever was asked for.
    alphas, betas : Tensor of shape (k,)
        The tridiagonal matrix, the coupling to the next vector included; empty for blocks and after restarts.
    status : Status
        ``SETTLED``, ``MAX_MATVECS``, ``BREAKDOWN`` (the values are eigenvalues to rounding), ``NONFINITE_PRODUCT`` or
        ``INTERRUPTED``.
    num_matvecs : int
        Products spent, those of a second pass included.
    orthogonality_defect : float
        Largest entry of |Q'Q - I| in a sample of the basis; NaN without a basis.
    stray : float
        What the products lack of being those of one symmetric matrix, see :attr:`KrylovSpace.stray`.
    start : {"random", "given", "warm"}
        Where the space began. Only "random" allows statements of probability.
    norm_estimate : float
        The largest Ritz value in magnitude: ‖A‖ to the accuracy of that end, never more.
    num_restarts : int
        Thick restarts.
    """

    ritz_values: Tensor
    residual_norms: Tensor
    smallest: RitzPair
    largest: RitzPair
    alphas: Tensor
    betas: Tensor
    status: Status
    num_matvecs: int
    orthogonality_defect: float
    stray: float
    start: str
    norm_estimate: float
    num_restarts: int

    def __str__(self) -> str:
        return f"Spectrum from {self.smallest} to {self.largest} after {self.num_matvecs} products. {self.status}"
