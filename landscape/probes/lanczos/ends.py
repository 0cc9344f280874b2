"""When an end of the spectrum is known well enough to stop."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from landscape.probes.certificate.bounds import van_dorsselaer_lower_bound
from landscape.probes.lanczos.krylov import KrylovSpace, Ritz

#: What ``ends`` may be, and the ends that each stands for.
ENDS = {"both": ("smallest", "largest"), "smallest": ("smallest",), "largest": ("largest",)}
#: An end smaller than this share of the norm is known well enough to within ``rtol`` times this share: near 0, a relative
#: tolerance would ask for what no floating point product can give.
FLOOR = 1e-3
#: Checks in a row at which the test must hold where no probability bound applies. A Ritz value may come to rest at a wrong
#: eigenvalue, but not for long if the start vector has much of the right one; if it has little, only the bound can tell.
PATIENCE = 2


@dataclass(frozen=True)
class EndEstimate:
    """One end of the spectrum, as a Krylov space knows it."""

    index: int
    value: float
    residual_norm: float
    gap_error: float
    #: What the true end lies between the value and, except with the probability allowed; NaN if nothing is known.
    bound: float

    def is_within(self, tolerance: float) -> bool:
        """Whether the error estimate, and the bound where there is one, are within a tolerance."""
        return self.gap_error <= tolerance and not abs(self.value - self.bound) > tolerance


def estimate_end(ritz: Ritz, end: str, *, space: KrylovSpace | None = None, miss: float = math.nan) -> EndEstimate:
    r"""What is known of one end.

    Parameters
    ----------
    ritz : Ritz
        Of at least one Ritz value.
    end : {"smallest", "largest"}
    space : KrylovSpace, optional
        A plain space grown from a random start: for the bound.
    miss : float
        Probability with which the bound may be wrong.

    Notes
    -----
    The error is estimated as the residual norm r, or as :math:`r^2 / \mathrm{gap}` if that is less (Parlett 1998, theorem
    11.7.1). The gap to the rest of the spectrum is not known; the distance to the next Ritz value less that one's
    residual norm stands for it, which makes this an estimate and not a bound.
    """
    sign, index = (1.0, 0) if end == "smallest" else (-1.0, len(ritz.values) - 1)
    value, residual = float(ritz.values[index]), float(ritz.residual_norms[index])
    error = residual
    if len(ritz.values) > 1:
        next_one = index + int(sign)
        gap = sign * (float(ritz.values[next_one]) - value) - float(ritz.residual_norms[next_one])
        if gap > 0:
            error = min(residual, residual**2 / gap)
    bound = math.nan
    if space is not None:
        signed = sign * np.asarray(ritz.values)
        bound = sign * van_dorsselaer_lower_bound(signed, space.couplings, space.operator.size, miss)  # type: ignore[arg-type]
    return EndEstimate(index, value, residual, error, bound)


class Settling:
    """Watches the ends that were asked for and says when all of them are settled.

    Parameters
    ----------
    ends : str
        A key of ``ENDS``.
    rtol : float
        Tolerance relative to ``max(|value|, FLOOR * norm)``, the norm being the largest Ritz value in magnitude.
    miss : float
        Probability, for both ends together, of stopping at a wrong eigenvalue. It is split evenly between them, so that
        by the union bound both are right with probability 1 - miss.
    """

    def __init__(self, ends: str, rtol: float, miss: float) -> None:
        self.ends, self.rtol, self.miss = ENDS[ends], rtol, miss / 2
        self._held = dict.fromkeys(self.ends, 0)

    def tolerance(self, ritz: Ritz, value: float) -> float:
        """The error allowed to an end with this value."""
        norm = max(abs(float(ritz.values[0])), abs(float(ritz.values[-1])))
        return self.rtol * max(abs(value), FLOOR * norm)

    def estimate(self, ritz: Ritz, end: str, space: KrylovSpace | None) -> EndEstimate:
        """What is known of an end."""
        return estimate_end(ritz, end, space=space, miss=self.miss)

    def is_settled(self, ritz: Ritz, space: KrylovSpace | None) -> bool:
        """Look once more: whether all ends have been within tolerance at ``PATIENCE`` checks in a row, or at one with bounds.

        ``space`` is given while probability bounds apply to it. They are computed only where the residual is small enough.
        """
        if len(ritz.values) < 2:
            return False
        for end in self.ends:
            quick = self.estimate(ritz, end, None)
            tolerance = self.tolerance(ritz, quick.value)
            within = quick.is_within(tolerance) and self.estimate(ritz, end, space).is_within(tolerance)
            self._held[end] = self._held[end] + 1 if within else 0
        needed = PATIENCE if space is None else 1
        return all(held >= needed for held in self._held.values())

    def held(self, end: str) -> bool:
        """Whether this end was within tolerance at the last check."""
        return self._held.get(end, 0) > 0
