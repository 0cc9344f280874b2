"""Over many problems at once: on what share of them each solver comes within a factor of the best."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from landscape.comparison.statistics.arrays import FloatArray, checked_floor, losses_of, numbers, same_length
from landscape.comparison.statistics.wording import counted


@dataclass(frozen=True)
class PerformanceProfile:
    """Performance profiles of several solvers on the same problems.

    Attributes
    ----------
    taus : ndarray of shape (k,)
        Factors of the best loss.
    names : tuple of str
        Of the solvers.
    shares : ndarray of shape (solvers, k)
        The share of problems on which a solver's loss is at most tau times the best; NaN where no problem counts.
    num_problems : int
        Problems that count: the loss of every solver is known.
    num_missing : int
        Problems left out since the loss of some solver is NaN.
    """

    taus: FloatArray
    names: tuple[str, ...]
    shares: FloatArray
    num_problems: int
    num_missing: int

    def share(self, name: str) -> FloatArray:
        """The profile of one solver, of shape (k,).

        Raises
        ------
        KeyError
            If there is no solver of that name.
        """
        if name not in self.names:
            raise KeyError(f"no profile of {name!r}; there are {', '.join(map(repr, self.names))}")
        row: FloatArray = self.shares[self.names.index(name)]
        return row

    def __str__(self) -> str:
        missing = f" ({self.num_missing} more left out: a loss is missing)" if self.num_missing else ""
        problems = counted(self.num_problems, "problem")
        if self.num_problems == 0:
            return f"{problems}{missing}, so there are no shares"
        ends = sorted({0, len(self.taus) - 1}, key=lambda at: self.taus[at])
        told = "; ".join(
            f"within a factor {self.taus[at]:g} of the best: "
            + ", ".join(f"{name} on {100 * row[at]:.0f} %" for name, row in zip(self.names, self.shares, strict=True))
            for at in ends
        )
        return f"{problems}{missing}; {told}"


def performance_profile(losses: Mapping[str, ArrayLike], taus: ArrayLike, floor: float = 0.0) -> PerformanceProfile:
    r"""Performance profiles: the distribution over problems of a solver's loss relative to the best solver's.

    Parameters
    ----------
    losses : mapping of str to array_like of shape (problems,)
        By the name of the solver, in the same order of problems; at least 0. A pair of a task and a seed may be a problem.
        Infinite: not solved, at any tau. NaN: missing, and then the problem is left out for all (it could have been the
        best there) and counted.
    taus : array_like of shape (k,)
        Factors of at least 1, infinity for "solved at all".
    floor : float
        Losses below it count as the floor, so that nobody wins by rounding noise.

    Returns
    -------
    PerformanceProfile
        Shares of shape (solvers, k).

    Raises
    ------
    ValueError
        If there are no solvers, lengths differ, a loss is negative, or a tau is below 1.

    Notes
    -----
    .. math:: \rho_s(\tau) = \frac{1}{|P|}
        \left|\left\{ p : \max(L_{p,s}, f) \le \tau \min_{s'} \max(L_{p,s'}, f) \right\}\right|

    At tau = 1 it is the share of problems on which the solver is best, ties counting for all who share them; for large tau
    the share that it solves. A profile depends on which solvers take part: the order of two of them may change when a third
    is left out (Gould and Scott 2016, ACM Trans. Math. Softw. 43:15). A loss of 0 with no floor is within a factor of
    itself only.

    References
    ----------
    Dolan and More (2002), Benchmarking optimization software with performance profiles, Math. Program. 91:201-213.

    Examples
    --------
    >>> profile = performance_profile({"a": [1.0, 4.0], "b": [3.0, 2.0]}, taus=[1.0, 2.0, 3.0])
    >>> profile.shares.tolist()
    [[0.5, 1.0, 1.0], [0.5, 0.5, 1.0]]
    """
    if not losses:
        raise ValueError("losses is empty; give one array of losses for each solver, by its name.")
    floor = checked_floor(floor)
    arrays = {name: losses_of(values, f"losses[{name!r}]", ndim=1) for name, values in losses.items()}
    same_length(**arrays)
    factors = numbers(taus, "taus", ndim=1)
    if not (factors >= 1).all():
        bad = factors[~(factors >= 1)][0]
        raise ValueError(f"taus holds {bad:g}; needed are factors of the best loss, at least 1.")
    table = np.maximum(np.stack(list(arrays.values())), floor)
    known = ~np.isnan(table).any(axis=0)
    table = table[:, known]
    # Ratios, not products with tau: the best has exactly 1. A ratio of two zeros is one of equals.
    best = table.min(axis=0)
    with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
        ratios = np.where(table == best, 1.0, table / best)
    solved = (ratios[:, :, None] <= factors) & np.isfinite(table)[:, :, None]
    count = int(known.sum())
    shares = solved.mean(axis=1) if count else np.full((len(arrays), len(factors)), np.nan)
    return PerformanceProfile(factors, tuple(arrays), shares, count, int((~known).sum()))
