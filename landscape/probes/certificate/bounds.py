r"""What Lanczos from a random start has not missed: bounds on the extreme eigenvalues, each with its probability.

Throughout, A is symmetric with n coordinates, the start vector is uniform on the sphere (a normalised standard normal
vector), k steps were taken without breakdown, :math:`\theta_1 \le \ldots \le \theta_k` are the Ritz values and
:math:`\beta_1, \ldots, \beta_k` the couplings, the last one included. All functions work on the host, in float64.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from torch import Tensor

# Newton's method below gains digits quadratically once it is near; this many steps were never needed.
MAX_NEWTON_STEPS = 200
# Kuczyński, Woźniakowski (1992), theorem 4.2.
KW_CONSTANT = 1.648

Numbers = Tensor | Sequence[float]


def start_component_quantile(n: int, delta: float) -> float:
    r"""A length s that one coordinate of a random unit vector falls short of with probability at most ``delta``.

    Parameters
    ----------
    n : int
        Dimension.
    delta : float
        Between 0 and 1.

    Returns
    -------
    float
        :math:`s = \delta \sqrt{\pi / (2 n)}`, and 1 for n = 1.

    Raises
    ------
    ValueError
        If n < 1 or delta is not between 0 and 1.

    Notes
    -----
    For n >= 3 the density of a coordinate is largest at 0, where it is
    :math:`\Gamma(n/2) / (\sqrt\pi\, \Gamma((n-1)/2)) \le \sqrt{(n - 1) / (2 \pi)}` (Wendel 1948), so
    :math:`P(|\gamma| < s) \le s \sqrt{2 n / \pi} = \delta`. For n = 2 the probability is
    :math:`(2/\pi) \arcsin s`, which is convex in s and less than delta at both ends of 0 <= delta <= 1. The exact quantile,
    :math:`I_{s^2}(1/2, (n-1)/2) = \delta`, is larger by a factor of 1.8 for n = 2, 1.4 for n = 3 and about
    :math:`1 + 3/(4n)` beyond.
    """
    check_dimension(n)
    check_probability("delta", delta)
    return 1.0 if n == 1 else delta * math.sqrt(math.pi / (2 * n))


def van_dorsselaer_lower_bound(ritz_values: Numbers, betas: Numbers, n: int, delta: float) -> float:
    r"""A number that is at most lambda_min with probability at least ``1 - delta``, from what Lanczos has computed.

    Parameters
    ----------
    ritz_values, betas : Tensor or sequence of float, of the same length k
        Of a run that was neither restarted nor started from anything but a random vector.
    n : int
        Dimension of the space in which the start vector is uniform.
    delta : float
        Between 0 and 1.

    Returns
    -------
    float
        At most :math:`\theta_1`; equal to it after a breakdown (a beta of 0); -inf for k = 0; NaN if an input is NaN.

    Raises
    ------
    ValueError
        If the lengths differ, n < 1, or delta is not between 0 and 1.

    Notes
    -----
    The next Lanczos vector is :math:`p_k(A) v_1` with :math:`p_k(t) = \prod_i (t - \theta_i) / \prod_j \beta_j`, and has
    length 1. Its part along the eigenvector of lambda_min is :math:`|\gamma\, p_k(\lambda_{min})| \le 1`, gamma being that
    of the start vector. Unless :math:`|\gamma| < s`, which has probability delta at most
    (:func:`start_component_quantile`), lambda_min is therefore at least the one :math:`t < \theta_1` with

    .. math:: \sum_i \ln(\theta_i - t) - \sum_j \ln \beta_j = \ln(1/s).

    *Every step at once.* The event :math:`|\gamma| < s` concerns the start vector alone, not k. Outside it the bound holds
    at all k, so it may be looked at after every step, the best one taken, and a run stopped because of it.

    *Solution.* In :math:`x = \ln(\theta_1 - t)` the left side is increasing and convex, and not less than the right side at
    :math:`x = (\ln(1/s) + \sum_j \ln \beta_j) / k`. From there Newton's method descends to the root without passing it, so
    that every iterate is a valid bound.

    References
    ----------
    van Dorsselaer, Hochstenbach, van der Vorst (2000), Computing probabilistic bounds for extreme eigenvalues of symmetric
    matrices with the Lanczos method, SIAM J. Matrix Anal. Appl. 22(3).

    Examples
    --------
    >>> round(van_dorsselaer_lower_bound([0.5, 2.0, 9.0], [2.0, 1.0, 0.001], n=1000, delta=0.01), 3)
    0.185
    """
    log_quantile = math.log(start_component_quantile(n, delta))
    theta, beta = np.asarray(ritz_values, dtype=np.float64), np.asarray(betas, dtype=np.float64)
    if theta.shape != beta.shape or theta.ndim != 1:
        raise ValueError(
            f"{theta.shape} Ritz values and {beta.shape} betas were given; there must be as many betas as Ritz values, the "
            "coupling to the vector after the last one included."
        )
    if theta.size == 0:
        return -math.inf
    if not (np.isfinite(theta).all() and np.isfinite(beta).all()):
        return math.nan
    smallest = float(theta.min())
    if n == 1 or not (beta > 0).all():
        return smallest
    return smallest - _distance(theta - smallest, float(np.log(beta).sum()) - log_quantile)


def van_dorsselaer_upper_bound(ritz_values: Numbers, betas: Numbers, n: int, delta: float) -> float:
    """A number that is at least lambda_max with probability at least ``1 - delta``.

    :func:`van_dorsselaer_lower_bound` of -A. The event in which it fails is another one, so both bounds hold at once with
    probability ``1 - 2 * delta``.
    """
    return -van_dorsselaer_lower_bound(-np.asarray(ritz_values, dtype=np.float64), betas, n, delta)  # type: ignore[arg-type]


def kuczynski_wozniakowski_error(num_steps: int, n: int, delta: float) -> float:
    r"""Share of the spread that the smallest Ritz value may still be above lambda_min, known before the first step.

    Parameters
    ----------
    num_steps : int
        k, fixed beforehand.
    n : int
        Dimension.
    delta : float
        Probability with which it may be wrong.

    Returns
    -------
    float
        :math:`\eta = (\ln(1.648 \sqrt n / \delta) / (2 k - 1))^2`, at most 1, and 0 if k >= n.

    Raises
    ------
    ValueError
        If k < 1, n < 1, or delta is not between 0 and 1.

    Notes
    -----
    For a positive semi-definite matrix the largest Ritz value falls short of lambda_max by more than
    :math:`\eta \lambda_{max}` with probability at most :math:`1.648 \sqrt n\, e^{-(2k-1)\sqrt\eta}`. Lanczos does not notice
    shifts, so with :math:`\lambda_{max} I - A`: :math:`\theta_1 - \lambda_{min} \le \eta (\lambda_{max} - \lambda_{min})`.

    References
    ----------
    Kuczyński, Woźniakowski (1992), Estimating the largest eigenvalue by the power and Lanczos algorithms with a random
    start, SIAM J. Matrix Anal. Appl. 13(4), theorem 4.2.
    """
    check_dimension(n)
    check_probability("delta", delta)
    if num_steps < 1:
        raise ValueError(f"num_steps={num_steps} was given; at least 1 is needed.")
    if num_steps >= n:
        return 0.0
    return min(1.0, (math.log(KW_CONSTANT * math.sqrt(n) / delta) / (2 * num_steps - 1)) ** 2)


def kuczynski_wozniakowski_lower_bound(smallest: float, largest: float, num_steps: int, n: int, delta: float) -> float:
    r"""A number that is at most lambda_min with probability at least ``1 - delta``, from the extreme Ritz values alone.

    Parameters
    ----------
    smallest, largest : float
        The extreme Ritz values after ``num_steps`` steps.
    num_steps, n, delta
        As in :func:`kuczynski_wozniakowski_error`.

    Returns
    -------
    float
        :math:`\theta_1 - \eta\, (\theta_k - \theta_1) / (1 - 2 \eta)`, with eta for ``delta / 2``; -inf if eta >= 1/2.

    Notes
    -----
    The spread is not known. Both ends are wrong by at most eta times it, each with probability delta / 2, hence
    :math:`\lambda_{max} - \lambda_{min} \le (\theta_k - \theta_1) / (1 - 2 \eta)`. Unlike that of
    :func:`van_dorsselaer_lower_bound` the event changes with k: looked at repeatedly, use :func:`delta_at_check`.
    """
    share = kuczynski_wozniakowski_error(num_steps, n, delta / 2)
    if share >= 0.5:
        return -math.inf
    return smallest - share * (largest - smallest) / (1 - 2 * share)


def kuczynski_wozniakowski_steps(error: float, n: int, delta: float) -> int:
    """Steps after which :func:`kuczynski_wozniakowski_error` is at most ``error``; never more than n.

    Examples
    --------
    >>> [kuczynski_wozniakowski_steps(error, 10**6, 0.05) for error in (1e-2, 1e-3, 1e-4)]
    [53, 165, 521]
    """
    check_dimension(n)
    check_probability("delta", delta)
    if not error > 0:
        raise ValueError(f"error={error} was given; a positive share of the spread is needed.")
    if error >= 1:
        return 1
    return min(n, math.ceil(0.5 + math.log(KW_CONSTANT * math.sqrt(n) / delta) / (2 * math.sqrt(error))))


def delta_at_check(delta: float, check_number: int) -> float:
    r"""The probability of error to allow at check t, so that all checks together are wrong with at most ``delta``.

    Returns
    -------
    float
        :math:`6 \delta / (\pi^2 t^2)`, which adds up to delta over t = 1, 2, 3, ...

    Raises
    ------
    ValueError
        If ``check_number`` is less than 1, or delta is not between 0 and 1.
    """
    check_probability("delta", delta)
    if check_number < 1:
        raise ValueError(f"check_number={check_number} was given; checks are counted from 1.")
    return 6 * delta / (math.pi * check_number) ** 2


def check_probability(name: str, value: float) -> None:
    """Refuse what is not strictly between 0 and 1."""
    if not 0.0 < value < 1.0:
        raise ValueError(f"{name}={value} was given; a number between 0 and 1, both excluded, is needed.")


def check_dimension(n: int) -> None:
    """Refuse dimensions below 1."""
    if n < 1:
        raise ValueError(f"n={n} was given; a dimension of at least 1 is needed.")


def _distance(offsets: np.ndarray, target: float) -> float:
    """The u > 0 with sum(log(offsets + u)) = target, one of the offsets being 0 and none negative; never too small."""
    x = target / offsets.size
    for _ in range(MAX_NEWTON_STEPS):
        distance = math.exp(x)
        if distance == 0.0:
            return 0.0
        shifted = offsets + distance
        slope = float((distance / shifted).sum())
        excess = float(np.log(shifted).sum()) - target
        if excess <= 1e-13 * (abs(target) + offsets.size):
            break
        x -= excess / slope
    return math.exp(x)
