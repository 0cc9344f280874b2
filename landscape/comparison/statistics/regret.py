"""What a policy lost against the best fixed swap epoch of the same seed."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from landscape.comparison.statistics.arrays import FloatArray, checked_floor, losses_of


@dataclass(frozen=True)
class BestOfGrid:
    """The best grid point of each seed.

    Attributes
    ----------
    losses : ndarray of shape (seeds,)
        The least loss that is known; infinite where every point diverged, NaN where none is known.
    indices : ndarray of int, shape (seeds,)
        The first grid point with that loss; -1 where none is known.
    num_missing : ndarray of int, shape (seeds,)
        Points whose loss is not known. Where it is not 0, the true best may be lower than ``losses``.
    """

    losses: FloatArray
    indices: NDArray[np.intp]
    num_missing: NDArray[np.intp]


def best_of(grid_losses: ArrayLike) -> BestOfGrid:
    """The least loss over a grid of fixed swap epochs, for each seed.

    Parameters
    ----------
    grid_losses : array_like of shape (points, seeds)
        At least 0. Infinite: diverged, never best unless all are. NaN: missing, left out and counted.

    Returns
    -------
    BestOfGrid
        Losses, indices and the number of missing points, each of shape (seeds,).

    Raises
    ------
    ValueError
        If the array is empty, of another number of axes, or holds a negative loss.

    Notes
    -----
    A least value over noisy points is lower than the expected loss of any of them, so a regret against it is above 0 on
    average even for a policy that always picks the best epoch. It is the same yardstick for every policy, which is what
    it is for; a policy against ``never`` or against one fixed epoch has no such bias.

    Examples
    --------
    >>> best = best_of([[3.0, float("inf")], [2.0, float("nan")]])
    >>> best.losses.tolist(), best.indices.tolist(), best.num_missing.tolist()
    ([2.0, inf], [1, 0], [0, 1])
    """
    losses = losses_of(grid_losses, "grid_losses", ndim=2)
    missing = np.isnan(losses)
    best = np.min(losses, axis=0, where=~missing, initial=np.inf)
    best[missing.all(axis=0)] = np.nan
    # Not nanargmin: it takes a NaN for an infinite loss, and would name a missing point where all others diverged.
    is_best = losses == best
    indices = np.where(is_best.any(axis=0), is_best.argmax(axis=0), -1)
    return BestOfGrid(losses=best, indices=indices, num_missing=missing.sum(axis=0))


def relative_regret(losses: ArrayLike, best: ArrayLike, floor: float = 0.0) -> FloatArray:
    r"""How much higher losses are than the best ones, in units of the best.

    Parameters
    ----------
    losses : array_like of shape (..., seeds)
        At least 0. Infinite: diverged. NaN: missing.
    best : array_like of shape (seeds,)
        The best loss of each seed, as :func:`best_of` finds it; anything that broadcasts against ``losses``.
    floor : float
        Losses below it count as the floor: differences that are rounding noise, or that nobody cares for.

    Returns
    -------
    ndarray of shape (..., seeds)
        0 where a loss equals the best (both infinite or both 0 among them), infinite where only the loss is infinite or
        only the best is 0, negative, down to -1, where a policy beats the grid, NaN where either is missing.

    Raises
    ------
    ValueError
        If an argument is empty or negative, or the shapes do not fit.

    Notes
    -----
    .. math:: r = \frac{\max(L, f) - \max(L^*, f)}{\max(L^*, f)},

    with the limits of this at 0 and infinity.

    Examples
    --------
    >>> relative_regret([3.0, 1.0, float("inf")], [2.0, 2.0, 2.0]).tolist()
    [0.5, -0.5, inf]
    """
    above, below = _floored(losses, best, "best", floor)
    # Not above / below - 1, which loses the digits of a regret that is small.
    with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
        regret = (above - below) / below
    regret = np.where(np.isinf(below) & np.isfinite(above), -1.0, regret)
    return np.where(above == below, 0.0, regret)


def log_ratio(losses: ArrayLike, baseline: ArrayLike, floor: float = 0.0) -> FloatArray:
    r"""By how many doublings losses are above a baseline: -1 is half of it, +1 twice as much.

    Parameters
    ----------
    losses : array_like of shape (..., seeds)
        At least 0. Infinite: diverged. NaN: missing.
    baseline : array_like of shape (seeds,)
        The losses to compare with; anything that broadcasts against ``losses``.
    floor : float
        Losses below it count as the floor.

    Returns
    -------
    ndarray of shape (..., seeds)
        0 where both are equal (both infinite or both 0 among them), infinite where one of them is infinite or 0, NaN
        where either is missing.

    Raises
    ------
    ValueError
        If an argument is empty or negative, or the shapes do not fit.

    Notes
    -----
    .. math:: \log_2 \frac{\max(L, f)}{\max(B, f)}

    Antisymmetric: swapping the arguments changes the sign, so a halving and a doubling cancel in a mean. A relative
    regret is not, which is why :func:`~landscape.comparison.statistics.paired.paired_test` takes log ratios.

    Examples
    --------
    >>> log_ratio([1.0, 8.0, float("inf")], [2.0, 2.0, 2.0]).tolist()
    [-1.0, 2.0, inf]
    """
    above, below = _floored(losses, baseline, "baseline", floor)
    high, low = np.maximum(above, below), np.minimum(above, below)
    with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
        # A ratio of finite losses may overflow, its logarithm does not; of losses nearly equal, logarithms lose the difference.
        far, near = np.log2(high) - np.log2(low), np.log1p((high - low) / low) / np.log(2.0)
        size = np.where(high < 2.0 * low, near, far)
    return np.where(above == below, 0.0, np.where(above > below, size, -size))


def _floored(losses: ArrayLike, reference: ArrayLike, name: str, floor: float) -> tuple[FloatArray, FloatArray]:
    """Both, raised to the floor (NaN stays NaN) and of one shape."""
    floor = checked_floor(floor)
    above, below = losses_of(losses, "losses"), losses_of(reference, name)
    try:
        above, below = np.broadcast_arrays(above, below)
    except ValueError:
        raise ValueError(
            f"losses has shape {above.shape} and {name} {below.shape}; needed are shapes that broadcast, with the seeds "
            "last in both: (policies, seeds) and (seeds,), for example."
        ) from None
    return np.maximum(above, floor), np.maximum(below, floor)
