"""The response to the swap epoch: what each fixed one ends at, which is best, and whether it matters at all."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from landscape.comparison.arm import Arm
from landscape.comparison.comparison import Comparison
from landscape.comparison.phrases import last_line
from landscape.comparison.statistics.bootstrap import bootstrap_interval
from landscape.comparison.statistics.location import median
from landscape.comparison.statistics.paired import PairedTest, paired_test
from landscape.comparison.statistics.regret import log_ratio

FloatArray = NDArray[np.float64]

#: Friedman's test needs as many treatments and blocks.
LEAST_FOR_FRIEDMAN = 3


@dataclass(frozen=True)
class Response:
    """What swapping after each fixed epoch ends at, with one finisher.

    Parameters
    ----------
    epochs : tuple of int
        The grid; 0 is no first phase at all.
    values : ndarray of shape (points, seeds)
        The value that decides: a row for each epoch and a last one for never. Infinite where the arm diverged or crashed,
        NaN with a seed with which every arm crashed (:func:`seeds_that_ran`), which counts nowhere.
    median, low, high : ndarray of shape (points,)
        Over the seeds, with a 95 % bootstrap interval of the median; its ends are NaN with one seed.
    """

    epochs: tuple[int, ...]
    values: FloatArray = field(repr=False)
    median: FloatArray = field(repr=False)
    low: FloatArray = field(repr=False)
    high: FloatArray = field(repr=False)

    @property
    def best_epoch(self) -> int | None:
        """The grid point with the least median; None if that is never. The earliest of equals."""
        position = int(np.argmin(np.where(np.isnan(self.median), np.inf, self.median)))
        return self.epochs[position] if position < len(self.epochs) else None


@dataclass(frozen=True)
class SwapTime:
    """Whether it matters when one swaps, by fixed epochs alone, with one finisher.

    Parameters
    ----------
    best_epoch : int or None
        The fixed epoch (never is not one) with the least median over all seeds: chosen in hindsight. None without a grid.
    chosen : tuple of int
        For each seed that ran, the epoch with the least median over the *other* seeds; with one seed, that seed's own best.
    losses : tuple of float
        For each of them, what the epoch chosen for it ends at.
    is_hindsight : bool
        Whether the choice knew the seed on which it is judged: with one seed it must.
    against_never : PairedTest
        Of those losses.
    ratio_to_never : float
        Median over the seeds of loss / loss of never.
    spread : float
        Largest median of a fixed epoch over the least one; infinite if some epoch fails in most seeds.
    seed_spread : float
        Median over the epochs of the largest loss over the least one among seeds.
    friedman_p : float
        Of Friedman's test that the epochs are exchangeable within every seed; NaN with fewer than 3 epochs or seeds.

    Notes
    -----
    The least of several noisy medians is too low a number to promise anybody (the winner's curse), so the epoch is chosen on
    the other seeds and judged on the one left out. Friedman's test ranks the epochs within each seed, so that seeds on which
    all losses are larger weigh no more than others; its chi-square approximation is rough below some 10 seeds.

    References
    ----------
    Friedman (1937), J. Am. Stat. Assoc. 32:675.
    """

    best_epoch: int | None
    chosen: tuple[int, ...]
    losses: tuple[float, ...]
    is_hindsight: bool
    against_never: PairedTest
    ratio_to_never: float
    spread: float
    seed_spread: float
    friedman_p: float


def response(comparison: Comparison, finisher: str) -> Response:
    """The swap-time response curve of one finisher.

    Parameters
    ----------
    comparison : Comparison
        With a fixed-epoch arm for each of its grid.
    finisher : str
        One of ``comparison.finishers``.

    Returns
    -------
    Response

    Raises
    ------
    ValueError
        If policies do not swap to that finisher, or the deciding value is nowhere.
    """
    check_finisher(comparison, finisher)
    values = fixed_values(comparison, finisher)
    intervals = [bootstrap_interval(row, "median") for row in values[:, seeds_that_ran(comparison)]]
    return Response(
        epochs=comparison.grid,
        values=values,
        median=np.array([interval.estimate for interval in intervals]),
        low=np.array([interval.low for interval in intervals]),
        high=np.array([interval.high for interval in intervals]),
    )


def swap_time(comparison: Comparison, finisher: str) -> SwapTime:
    """Ask the fixed epochs whether the swap time matters.

    Parameters
    ----------
    comparison : Comparison
        With at least one fixed epoch.
    finisher : str
        One of ``comparison.finishers``.

    Returns
    -------
    SwapTime

    Raises
    ------
    ValueError
        If policies do not swap to that finisher, the deciding value is nowhere, or there is no fixed epoch.
    """
    check_finisher(comparison, finisher)
    if not comparison.grid:
        raise ValueError(
            "the comparison has no fixed swap epochs (grid=()); give at least one to ask whether the time matters."
        )
    values = fixed_values(comparison, finisher)[:, seeds_that_ran(comparison)]
    fixed, never = np.maximum(values[:-1], comparison.floor), values[-1]
    positions = chosen_on_others(fixed)
    losses = values[positions, np.arange(values.shape[1])]
    ratios = log_ratio(losses, never, comparison.floor)
    medians = median(fixed)
    return SwapTime(
        best_epoch=comparison.grid[int(np.argmin(medians))],
        chosen=tuple(comparison.grid[position] for position in positions),
        losses=tuple(losses.tolist()),
        is_hindsight=values.shape[1] == 1,
        against_never=paired_test(ratios),
        ratio_to_never=ratio_of(float(median(ratios))),
        spread=_ratio(float(medians.max()), float(medians.min())),
        seed_spread=float(median([_ratio(float(row.max()), float(row.min())) for row in fixed])),
        friedman_p=_friedman(fixed),
    )


def chosen_on_others(values: FloatArray) -> NDArray[np.intp]:
    """For each seed the row with the least median over the other seeds; with one seed, over that one.

    Parameters
    ----------
    values : ndarray of shape (rows, seeds)
        Losses, without NaN.

    Returns
    -------
    ndarray of shape (seeds,)
        Positions of rows; the first of equals.

    Examples
    --------
    >>> chosen_on_others(np.array([[1.0, 9.0, 9.0], [2.0, 2.0, 2.0]])).tolist()
    [1, 1, 1]
    >>> chosen_on_others(np.array([[1.0, 1.0, 9.0], [2.0, 2.0, 2.0]])).tolist()  # the third seed is told by the others
    [1, 1, 0]
    """
    num_seeds = values.shape[1]
    if num_seeds == 1:
        return np.array([np.argmin(values[:, 0])])
    return np.array([np.argmin(median(np.delete(values, seed, axis=1))) for seed in range(num_seeds)])


def check_finisher(comparison: Comparison, finisher: str) -> None:
    """Refuse a finisher that policies do not swap to, and a comparison whose deciding value nobody measured.

    Raises
    ------
    ValueError
        In these cases.
    """
    if finisher not in comparison.finishers:
        raise ValueError(
            f"finisher={finisher!r} was given; the policies of this comparison swap to "
            f"{', '.join(map(repr, comparison.finishers)) or 'none'}. Give one of those."
        )
    if not comparison.seeds or np.isnan(comparison.values(Arm("never"))).all():
        measured = sorted({name for result in comparison.results for name in result.values})
        raise ValueError(
            f"no run that never swapped has a value {comparison.metric!r}, by which the comparison is decided; measured are "
            f"{', '.join(map(repr, measured)) or 'none'}. Give one of those as the metric."
        )
    if not seeds_that_ran(comparison).any():
        raise ValueError(f"nothing can be compared: every arm crashed with every seed ({why_nothing_ran(comparison)}).")


def seeds_that_ran(comparison: Comparison) -> NDArray[np.bool_]:
    """Which seeds say anything: with the others every arm crashed, so that its first phase did, and none is to blame.

    Parameters
    ----------
    comparison : Comparison
        All arms with all seeds.

    Returns
    -------
    ndarray of bool, shape (seeds,)
        In the order of ``comparison.seeds``.
    """
    ran = {result.seed for result in comparison.results if result.status in ("finished", "diverged")}
    return np.array([seed in ran for seed in comparison.seeds], dtype=np.bool_)


def why_nothing_ran(comparison: Comparison) -> str:
    """The first error of a seed with which every arm crashed; empty if there is none."""
    lost = {seed for seed, ran in zip(comparison.seeds, seeds_that_ran(comparison), strict=True) if not ran}
    crashed = (result for result in comparison.results if result.seed in lost and result.status == "crashed")
    return next((last_line(result.reason) for result in crashed), "")


def fixed_values(comparison: Comparison, finisher: str) -> FloatArray:
    """The response (points, seeds) with never last: infinite where an arm failed, NaN with a seed that did not run."""
    values = worst_where_missing(comparison.grid_values(finisher))
    return np.where(seeds_that_ran(comparison), values, np.nan)


def worst_where_missing(values: FloatArray) -> FloatArray:
    """A loss that an arm ended without is the worst, so that it is neither dropped nor takes others with it."""
    return np.where(np.isnan(values), np.inf, values)


def ratio_of(log2_ratio: float) -> float:
    """2 to that power; infinite where no float is as large."""
    return math.inf if log2_ratio >= 1024 else 2.0**log2_ratio


def _ratio(largest: float, least: float) -> float:
    """1 if both are infinite or 0."""
    if largest == least:
        return 1.0
    return largest / least if least > 0 else math.inf


def _friedman(fixed: FloatArray) -> float:
    if min(fixed.shape) < LEAST_FOR_FRIEDMAN:
        return math.nan
    if (fixed == fixed[0]).all():  # nothing to rank: scipy divides by zero
        return 1.0
    from scipy.stats import friedmanchisquare

    return float(friedmanchisquare(*fixed).pvalue)
