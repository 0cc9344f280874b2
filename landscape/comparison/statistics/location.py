"""The middle of a few numbers, one per seed: mean, median and interquartile mean."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
from numpy.typing import ArrayLike

from landscape.comparison.statistics.arrays import FloatArray, numbers

#: A statistic of the last axis: (..., n) -> (...).
Statistic = Callable[[FloatArray], FloatArray]


def mean(values: ArrayLike) -> FloatArray:
    """The arithmetic mean of the last axis.

    Parameters
    ----------
    values : array_like of shape (..., n)
        One infinite value makes it infinite, infinities of both signs make it NaN, and so does a NaN.

    Returns
    -------
    ndarray of shape (...)
        A ``float64`` scalar where ``values`` has one axis.

    Raises
    ------
    ValueError
        If ``values`` is empty or no array of real numbers.

    Examples
    --------
    >>> float(mean([1.0, 2.0, 6.0]))
    3.0
    """
    array = numbers(values, "values")
    with np.errstate(invalid="ignore", over="ignore"):  # inf - inf
        return np.asarray(array.mean(axis=-1))[()]


def median(values: ArrayLike) -> FloatArray:
    """The median of the last axis: the middle value, or the mean of the two in the middle.

    Parameters
    ----------
    values : array_like of shape (..., n)
        Infinite values are the largest and smallest of all; a NaN makes it NaN.

    Returns
    -------
    ndarray of shape (...)
        A ``float64`` scalar where ``values`` has one axis.

    Raises
    ------
    ValueError
        If ``values`` is empty or no array of real numbers.

    Examples
    --------
    >>> float(median([3.0, 1.0, float("inf")]))
    3.0
    """
    array = numbers(values, "values")
    with np.errstate(invalid="ignore"):  # inf - inf
        return np.asarray(np.median(array, axis=-1))[()]


def interquartile_mean(values: ArrayLike) -> FloatArray:
    r"""The mean of the middle half of the last axis, exact for any number of values.

    Parameters
    ----------
    values : array_like of shape (..., n)
        Infinite values are the largest and smallest of all and are cut off like others, so that the result is finite
        while they are a quarter of the values or fewer. A NaN makes it NaN: it could be anywhere.

    Returns
    -------
    ndarray of shape (...)
        A ``float64`` scalar where ``values`` has one axis. NaN where infinities of both signs are in the middle half.

    Raises
    ------
    ValueError
        If ``values`` is empty or no array of real numbers.

    Notes
    -----
    Sorted, :math:`x_{(i)}` holds the share :math:`[(i-1)/n, i/n]` of the sample. Its weight is the part of that which
    lies between the quartiles,

    .. math:: w_i = 2 \left| \left[\tfrac{i-1}{n}, \tfrac{i}{n}\right] \cap \left[\tfrac14, \tfrac34\right] \right|,

    so that the weights add up to 1 and the value at a quartile counts in part. For n a multiple of 4 this is the mean
    without the lower and upper n/4 values, as Agarwal et al. compute it; for other n they cut n/4 rounded down, which makes
    it the plain mean at n = 3.

    Cost: one sort.

    References
    ----------
    Agarwal, Schwarzer, Castro, Courville and Bellemare (2021), Deep reinforcement learning at the edge of the
    statistical precipice, NeurIPS, arXiv:2108.13264.

    Examples
    --------
    >>> float(interquartile_mean([1.0, 2.0, 4.0, float("inf")]))
    3.0
    """
    array = numbers(values, "values")
    weights = _middle_half(array.shape[-1])
    kept = weights > 0
    middle = np.sort(array, axis=-1)[..., kept]
    with np.errstate(invalid="ignore", over="ignore"):  # inf - inf
        found = middle @ weights[kept]
        # Rounding must not carry it out of the values: of equal ones it is exactly that.
        found = np.clip(found, middle[..., 0], middle[..., -1])
    # Sorting puts NaN last, where it would be cut off unseen.
    return np.asarray(np.where(np.isnan(array).any(axis=-1), np.nan, found))[()]


#: The statistics that can be asked for by name.
STATISTICS: Mapping[str, Statistic] = {"mean": mean, "median": median, "iqm": interquartile_mean}


def _middle_half(n: int) -> FloatArray:
    """Weights (n,) of the sorted values, computed in quarters of a value so that they are exact."""
    edges = 4 * np.arange(n + 1)
    inside = np.clip(edges, n, 3 * n)
    return np.diff(inside) / (2.0 * n)
