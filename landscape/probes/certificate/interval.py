"""What one random start says about lambda_min: an interval that narrows with every product."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from landscape.probes.certificate.bounds import (
    delta_at_check,
    kuczynski_wozniakowski_lower_bound,
    van_dorsselaer_lower_bound,
    van_dorsselaer_upper_bound,
)
from landscape.probes.lanczos.krylov import KrylovSpace
from landscape.status import Status

#: The bounds are theorems about an orthonormal basis; with a larger defect than this, none is claimed.
MAX_DEFECT = 1e-6


@dataclass(frozen=True)
class Interval:
    """Where lambda_min lies, as known from one start.

    Attributes
    ----------
    ritz_value : float
        Smallest Ritz value.
    lower, lambda_max_upper, kw_lower : float
        Bounds that hold with a probability; the error of the products is taken off.
    upper : float
        Bound that holds with certainty, up to the error stated.
    lambda_max : float
        Largest Ritz value.
    error : float
        What products, rounding and asymmetry may have done to a Ritz value, in units of the eigenvalues.
    num_steps : int
        Steps from the start on which the lower bound rests.
    """

    ritz_value: float = math.nan
    lower: float = -math.inf
    upper: float = math.inf
    lambda_max: float = math.nan
    lambda_max_upper: float = math.inf
    kw_lower: float = -math.inf
    error: float = math.nan
    num_steps: int = 0

    @classmethod
    def unknown(cls) -> Interval:
        """Nothing but NaN: there is no spectrum to bound."""
        return cls(math.nan, math.nan, math.nan, math.nan, math.nan, math.nan, math.nan)

    @property
    def is_tight(self) -> bool:
        """Whether what is left between the bounds is the error alone."""
        return self.upper - self.lower <= 3.0 * self.error

    def without_bounds(self) -> Interval:
        """The same without what holds only with a probability."""
        return replace(self, lower=-math.inf, lambda_max_upper=math.inf, kw_lower=-math.inf)


def narrowed(interval: Interval, space: KrylovSpace, *, n: int, delta: float) -> Interval:
    r"""The interval after another look at a space that began with a random vector.

    Parameters
    ----------
    interval : Interval
        Before; its bounds stay valid.
    space : KrylovSpace
        Of at least one step. If it was restarted, only the upper bound can still improve.
    n : int
        Dimension in which the start vector was uniform.
    delta : float
        Probability that ``lower`` or ``lambda_max_upper`` is wrong, at any step. Each gets half.

    Notes
    -----
    With e the error stated, the theorems are about :math:`T_k`, the projection of a symmetric matrix within e of A, and
    an eigenvalue moves by no more than the matrix does (Weyl). e is the operator's ``product_error`` times a bound on the
    norm of T, plus the Frobenius norm of the stray coefficients, plus the last beta after a breakdown.
    """
    ritz = space.ritz()
    smallest, largest = float(ritz.values[0]), float(ritz.values[-1])
    betas = space.couplings
    error = space.operator.product_error * space.norm_estimate + space.stray_norm
    if space.status is Status.BREAKDOWN:
        error += float(space.betas[-1])
    fresh = replace(interval, ritz_value=smallest, lambda_max=largest, error=error)
    fresh = replace(fresh, upper=min(interval.upper, smallest + error))
    if not space.is_plain:
        return fresh
    steps = space.num_steps
    kw_lower = kuczynski_wozniakowski_lower_bound(smallest, largest, steps, n, delta_at_check(delta, steps))
    # A breakdown before n steps is not what that theorem is about, but the other bound is exact then.
    return replace(
        fresh,
        num_steps=steps,
        lower=max(interval.lower, van_dorsselaer_lower_bound(ritz.values, betas, n, delta / 2) - error),
        lambda_max_upper=min(
            interval.lambda_max_upper, van_dorsselaer_upper_bound(ritz.values, betas, n, delta / 2) + error
        ),
        kw_lower=max(interval.kw_lower, kw_lower - error),
    )


def rayleigh_quotient(space: KrylovSpace, direction: Tensor) -> float:
    """The curvature along a direction, by one product that is new: no recurrence, no theorem."""
    product = (space.operator @ direction).detach()
    wide = direction.double()
    return float(torch.dot(wide, product.double()) / torch.dot(wide, wide))


def steps_needed(interval: Interval, eps: float) -> int | None:
    r"""Steps after which the lower bound should reach ``-eps * lambda_max``; None if no number of steps would do.

    Notes
    -----
    An estimate: near a dense edge of the spectrum the distance from the Ritz value to the bound shrinks like
    :math:`1/k^2` (as in the bound of Kuczyński and Woźniakowski); where an eigenvalue stands apart it shrinks faster.
    """
    scale = max(interval.lambda_max, 0.0)
    room = interval.ritz_value - interval.error + eps * scale
    width = interval.ritz_value - interval.error - interval.lower
    if not room > 0 or not math.isfinite(width) or interval.num_steps < 1:
        return None
    return max(interval.num_steps + 1, math.ceil(interval.num_steps * math.sqrt(width / room)))
