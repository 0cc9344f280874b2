"""Does a signal at the swap tell how much the swap brings? Rank correlation, within seeds."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from landscape.comparison.statistics.arrays import FloatArray, checked_count, numbers, same_length
from landscape.comparison.statistics.wording import counted, p_text

#: Numbers permuted at once, to bound the memory.
_BLOCK = 1 << 20


@dataclass(frozen=True)
class RankCorrelation:
    """A rank correlation and how likely it is by chance; :func:`rank_correlation` makes it.

    Attributes
    ----------
    coefficient : float
        Between -1 and 1. NaN where one side is the same everywhere (within each group), so that there are no ranks.
    p_value : float
        Two-sided, by permutation; NaN where the coefficient is.
    n : int
        Pairs that count.
    num_groups : int
        Groups among them; 1 where none were given.
    num_missing : int
        Pairs left out since one of the two is NaN.
    """

    coefficient: float
    p_value: float
    n: int
    num_groups: int
    num_missing: int

    def __str__(self) -> str:
        within = f" within {self.num_groups} groups" if self.num_groups > 1 else ""
        missing = f", {self.num_missing} missing" if self.num_missing else ""
        pairs = f"{counted(self.n, 'pair')}{missing}"
        if math.isnan(self.coefficient):
            reason = "one of the two does not vary" if self.n > 1 else "it takes two pairs"
            return f"no rank correlation{within}: {reason} ({pairs})"
        return f"rank correlation {self.coefficient:+.2f}{within} ({p_text(self.p_value)}, {pairs})"


def rank_correlation(
    signal: ArrayLike,
    benefit: ArrayLike,
    groups: ArrayLike | None = None,
    *,
    num_permutations: int = 9999,
    seed: int = 0,
) -> RankCorrelation:
    r"""Spearman's rank correlation of a signal and a benefit, pooled within groups.

    Parameters
    ----------
    signal, benefit : array_like of shape (n,)
        Pairs: what was measured at a grid point, and what swapping there brought. Infinite values have ranks like others.
        A pair with a NaN is left out and counted.
    groups : array_like of shape (n,), optional
        Which pairs belong together, by seed for example. Ranks are then taken within each group and centred there, so that
        a seed which is better everywhere adds nothing. Labels of any kind that can be compared.
    num_permutations : int
        For the p-value.
    seed : int
        Of the permutations.

    Returns
    -------
    RankCorrelation
        Coefficient, p-value and counts.

    Raises
    ------
    ValueError
        If the arrays are empty or their lengths differ.

    Notes
    -----
    With :math:`u, v` the ranks within groups (ties share the mean rank), less their mean in each group,

    .. math:: \rho = \frac{\sum_i u_i v_i}{\sqrt{\sum_i u_i^2 \sum_i v_i^2}},

    Spearman's coefficient where there is one group. Groups of more pairs weigh more, a group of one nothing. The p-value
    permutes benefits within groups, which is right where the pairs of a group are exchangeable if there is no relation.
    Points along one run are not quite: both may merely drift with the epoch, and a p-value that ignores this is too small.
    The permutation observed counts among them, so that p is at least 1 / (num_permutations + 1).

    Cost: ``num_permutations`` shuffles of n numbers.

    References
    ----------
    Spearman (1904), Am. J. Psychol. 15:72. Taylor (1987), Kendall's and Spearman's correlation coefficients in the
    presence of a blocking variable, Biometrics 43:409.

    Examples
    --------
    >>> result = rank_correlation([1, 2, 3, 1, 2, 3], [5, 6, 9, 1, 2, 3], groups=["a", "a", "a", "b", "b", "b"])
    >>> result.coefficient, result.n, result.num_groups
    (1.0, 6, 2)
    """
    signals, benefits = numbers(signal, "signal", ndim=1), numbers(benefit, "benefit", ndim=1)
    same_length(signal=signals, benefit=benefits)
    labels = _labels(groups, len(signals))
    num_permutations = checked_count(num_permutations, "num_permutations")
    known = ~(np.isnan(signals) | np.isnan(benefits))
    pairs = [
        (_centred_ranks(signals[known & (labels == label)]), _centred_ranks(benefits[known & (labels == label)]))
        for label in np.unique(labels[known])
    ]
    n = int(known.sum())
    scale = math.sqrt(sum(float(u @ u) for u, _ in pairs) * sum(float(v @ v) for _, v in pairs))
    observed = sum(float(u @ v) for u, v in pairs)
    if scale == 0:
        coefficient = p_value = math.nan
    else:
        coefficient = min(1.0, max(-1.0, observed / scale))
        permuted = _permuted_products(pairs, num_permutations, np.random.default_rng(seed))
        # Ranks are multiples of a half: sums are exact but for the centring, whose rounding must not break ties.
        reached = int((np.abs(permuted) >= abs(observed) - 1e-9 * scale).sum())
        p_value = (1 + reached) / (num_permutations + 1)
    return RankCorrelation(coefficient, p_value, n, len(pairs), len(signals) - n)


def _labels(groups: ArrayLike | None, n: int) -> NDArray[Any]:
    """The number of the group of each pair."""
    if groups is None:
        return np.zeros(n, dtype=np.intp)
    given = np.asarray(groups)
    if given.shape != (n,):
        raise ValueError(
            f"groups has shape {given.shape}, and there are {n} pairs; needed is one label for each pair, shape ({n},)."
        )
    return np.unique(given, return_inverse=True)[1]


def _centred_ranks(values: FloatArray) -> FloatArray:
    """Ranks, ties sharing their mean, less the mean rank."""
    from scipy.stats import rankdata

    centred: FloatArray = rankdata(values) - (len(values) + 1) / 2
    return centred


def _permuted_products(
    pairs: list[tuple[FloatArray, FloatArray]], num_permutations: int, rng: np.random.Generator
) -> FloatArray:
    """The sum of products for each permutation within groups, of shape (num_permutations,)."""
    total = np.zeros(num_permutations)
    for u, v in pairs:
        rows = max(1, _BLOCK // len(v))
        for start in range(0, num_permutations, rows):
            block = total[start : start + rows]  # a view
            block += rng.permuted(np.tile(v, (len(block), 1)), axis=1) @ u
    return total
