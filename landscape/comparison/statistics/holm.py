"""Several tests at once: p-values adjusted so that the chance of any false finding keeps to its level."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from landscape.comparison.statistics.arrays import FloatArray, numbers


def holm(p_values: ArrayLike) -> FloatArray:
    r"""Adjust the p-values of a family of tests (Holm's step-down procedure).

    Parameters
    ----------
    p_values : array_like of shape (m,)
        Between 0 and 1. NaN is a test that was not made: it stays NaN and does not count.

    Returns
    -------
    ndarray of shape (m,)
        Adjusted p-values in the same order, at least the raw ones and at most 1. Rejecting where they are at or below a
        level keeps the chance of one or more false rejections at that level or below, however the tests depend on each
        other.

    Raises
    ------
    ValueError
        If ``p_values`` is empty, has another number of axes, or holds a number outside [0, 1].

    Notes
    -----
    With the m p-values that are known sorted,

    .. math:: \tilde p_{(i)} = \min\left(1, \max_{j \le i} (m - j + 1)\, p_{(j)}\right).

    References
    ----------
    Holm (1979), A simple sequentially rejective multiple test procedure, Scand. J. Stat. 6:65-70.

    Examples
    --------
    >>> holm([0.0625, 0.015625, float("nan"), 0.5]).tolist()
    [0.125, 0.046875, nan, 0.5]
    """
    raw = numbers(p_values, "p_values", ndim=1)
    known = np.flatnonzero(~np.isnan(raw))
    outside = raw[known][(raw[known] < 0) | (raw[known] > 1)]
    if outside.size:
        raise ValueError(f"p_values holds {outside[0]:.6g}; needed are probabilities between 0 and 1, or NaN.")
    order = known[np.argsort(raw[known], kind="stable")]
    steps = np.arange(len(order), 0, -1)
    adjusted = np.full(raw.shape, np.nan)
    adjusted[order] = np.minimum(np.maximum.accumulate(steps * raw[order]), 1.0)
    return adjusted
