"""Is one arm better than another on the same seeds? A sign-flip test, and how many seeds it would take."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from landscape.comparison.statistics.arrays import FloatArray, checked_count, checked_share, numbers
from landscape.comparison.statistics.location import interquartile_mean, mean
from landscape.comparison.statistics.wording import change_text, counted, p_text

#: Up to this many pairs that differ, all sign patterns are listed: 2^19 sums, some 10 ms.
LISTED_UP_TO = 20

#: Beyond this many seeds the normal approximation is exact enough to count them by.
_MANY_SEEDS = 100_000

#: More than this many is told as that.
_SEEDS_TOLD = 1000


@dataclass(frozen=True)
class PairedTest:
    """What paired seeds say about two arms; :func:`paired_test` makes it.

    Attributes
    ----------
    p_value : float
        Two-sided. NaN where no pair is known. ``dataclasses.replace(test, p_value=...)`` puts in one that was adjusted for
        several tests (:func:`~landscape.comparison.statistics.holm.holm`), and the sentence follows it.
    mean, interquartile_mean : float
        Of the log2 ratios: below 0 is better, -1 is half the loss.
    standardised : float
        Mean over standard deviation of what was tested: the log ratios, or their signed ranks. Infinite where they are
        all the same, NaN for fewer than two pairs, 0 where all are ties.
    n : int
        Pairs known, ties among them.
    num_ties : int
        Pairs with a log ratio of exactly 0: both arms ended alike, often because both swapped at the same epoch.
    num_missing : int
        Pairs left out because their log ratio is NaN.
    method : str
        ``"sign flips"`` or, where a log ratio is infinite, ``"signed ranks"``.
    alpha : float
        The level at which the sentence calls a difference found.
    """

    p_value: float
    mean: float
    interquartile_mean: float
    standardised: float
    n: int
    num_ties: int
    num_missing: int
    method: str
    alpha: float = 0.05

    @property
    def effect(self) -> float:
        """The mean log2 ratio; the interquartile mean where an infinite one would decide the mean alone."""
        return self.mean if math.isfinite(self.mean) else self.interquartile_mean

    @property
    def least_p(self) -> float:
        """The smallest p-value that this many pairs can give, 2 / 2^n: all of one sign."""
        return _least_p(self.n)

    def seeds_needed(self, power: float = 0.8, alpha: float | None = None) -> int | None:
        r"""How many seeds would find a difference of the observed size.

        Parameters
        ----------
        power : float
            The chance to find it.
        alpha : float, optional
            The level of the two-sided test; that of this test by default.

        Returns
        -------
        int or None
            None where no number would do or none can be told: no difference, or fewer than two pairs.

        Raises
        ------
        ValueError
            If ``power`` or ``alpha`` is not between 0 and 1.

        Notes
        -----
        The least m for which a two-sided t-test of m values with the observed mean over standard deviation d has the
        power asked for,

        .. math:: P(|T'_{m-1}(d\sqrt m)| > t_{\alpha/2,\, m-1}) \ge \text{power}

        with a noncentral t, and not below the least m with :math:`2/2^m \le \alpha`, under which the test cannot
        reject. A sign-flip test has about the power of the t-test where that may be used. Signed ranks are treated like
        values (Conover and Iman 1981, Am. Stat. 35:124).

        The observed size is itself uncertain by about :math:`1/\sqrt n` in d: the number is for planning, and says
        nothing about the present result that its p-value did not (Hoenig and Heisey 2001, Am. Stat. 55:19). The smallest
        difference that matters is a better thing to plan by, where one is known.
        """
        power = checked_share(power, "power")
        alpha = self.alpha if alpha is None else checked_share(alpha, "alpha")
        size = abs(self.standardised)
        if math.isnan(size) or size == 0:
            return None
        least = _least_seeds(alpha)
        return least if math.isinf(size) else max(least, _seeds_for(size, power, alpha))

    def __str__(self) -> str:
        told = self._finding()
        if self.num_missing:
            told += f"; {self.num_missing} of {counted(self.n + self.num_missing, 'pair')} missing"
        return told

    def _finding(self) -> str:
        """The sentence, but for what is missing."""
        if self.n == 0:
            return "nothing can be said: no pair of losses is known"
        if self.least_p > self.alpha:
            seeds = "1 seed" if self.n == 1 else f"{self.n} seeds"
            return (
                f"{seeds} cannot show a difference at the {100 * self.alpha:g} % level whatever "
                f"{'it gives' if self.n == 1 else 'they give'}; at least {_least_seeds(self.alpha)} are needed"
            )
        if self.num_ties == self.n:
            return f"no difference: all {self.n} seeds give the same loss"
        if self.p_value <= self.alpha:
            return f"{self._effect_text()} ({p_text(self.p_value)})"
        return f"no difference found ({p_text(self.p_value)}; {self._remedy()})"

    def _effect_text(self) -> str:
        """The effect in words, never against the sign of what was tested."""
        if self.standardised * self.effect > 0:
            return change_text(self.effect)
        # Signed ranks and interquartile mean may disagree, or the latter be no number.
        return "better on most seeds" if self.standardised < 0 else "worse on most seeds"

    def _remedy(self) -> str:
        """What would find a difference, if there is one."""
        differing = self.n - self.num_ties
        if _least_p(differing) > self.alpha:
            return f"{counted(self.num_ties, 'seed')} of {self.n} give the same loss, and the other {differing} cannot show one"
        needed = self.seeds_needed()
        if needed is None:
            return "the seeds even out, so no number of them would show one"
        told = f"about {needed}" if needed <= _SEEDS_TOLD else f"more than {_SEEDS_TOLD}"
        return f"{told} seeds would be needed to find a difference of this size"


def paired_test(
    log_ratios: ArrayLike, *, alpha: float = 0.05, num_resamples: int = 99_999, seed: int = 0
) -> PairedTest:
    r"""Test whether two arms differ, from one log ratio of their losses per seed.

    Parameters
    ----------
    log_ratios : array_like of shape (n,)
        As :func:`~landscape.comparison.statistics.regret.log_ratio` gives them: below 0 is better. Infinite where one arm
        diverged; NaN is left out and counted.
    alpha : float
        The level at which the sentence calls a difference found; the p-value does not depend on it.
    num_resamples : int
        Random sign patterns, where more than 20 pairs differ. With fewer, all patterns are listed and the p-value is exact.
    seed : int
        Of the random patterns.

    Returns
    -------
    PairedTest
        p-value, effect and the sentence as ``str()``.

    Raises
    ------
    ValueError
        If ``log_ratios`` is empty or has another number of axes, or another argument is out of its range.

    Notes
    -----
    If the two arms are exchangeable within a seed, every sign of :math:`x_i` is as likely as the other, so that

    .. math:: p = 2^{-n}\, \#\left\{ s \in \{-1, 1\}^n : \left|\sum_i s_i x_i\right| \ge \left|\sum_i x_i\right| \right\}

    (Fisher 1935, The Design of Experiments, section 21). No shape is assumed. A tie (0) says nothing and changes nothing; if
    all are ties, p = 1. With random patterns the observed one counts among them (Phipson and Smyth 2010, Stat. Appl. Genet.
    Mol. Biol. 9:39), so that p is never 0.

    An infinite log ratio has a sign and is larger than any other, but no size. Where there is one, x is replaced by its
    signed ranks, with ties in size sharing a rank and zeros ranked but not counted (Pratt 1959, J. Am. Stat. Assoc.
    54:655). This is the exact Wilcoxon signed-rank test.

    Cost: at most 2^19 sums.

    Examples
    --------
    >>> print(paired_test([-0.4, -0.3, -0.5, -0.2, -0.4, -0.45]))
    better by 23 % (p = .031)
    >>> print(paired_test([-0.4, -0.3, -0.5]))
    3 seeds cannot show a difference at the 5 % level whatever they give; at least 6 are needed
    """
    given = numbers(log_ratios, "log_ratios", ndim=1)
    alpha = checked_share(alpha, "alpha")
    num_resamples = checked_count(num_resamples, "num_resamples")
    known = given[~np.isnan(given)]
    ranked = bool(np.isinf(known).any())
    tested = _signed_ranks(known) if ranked else known
    return PairedTest(
        p_value=_sign_flip_p(tested[tested != 0], num_resamples, seed) if len(known) else math.nan,
        mean=float(mean(known)) if len(known) else math.nan,
        interquartile_mean=float(interquartile_mean(known)) if len(known) else math.nan,
        standardised=_standardised(tested),
        n=len(known),
        num_ties=int((known == 0).sum()),
        num_missing=len(given) - len(known),
        method="signed ranks" if ranked else "sign flips",
        alpha=alpha,
    )


def _sign_flip_p(values: FloatArray, num_resamples: int, seed: int) -> float:
    """Two-sided p-value of values that are finite and not 0."""
    n = len(values)
    if n == 0:
        return 1.0
    values = values / np.abs(values).max()  # nothing overflows, and the tolerance has a scale
    observed = abs(values.sum())
    # Patterns whose sum is the observed one in exact arithmetic must count, whatever the order of summation.
    enough = observed - 1e-12 * n
    if n <= LISTED_UP_TO:
        sums = values[:1]  # a pattern and its opposite have the same size: the first sign may stay
        for value in values[1:]:
            sums = np.concatenate([sums + value, sums - value])
        return float((np.abs(sums) >= enough).mean())
    rng = np.random.default_rng(seed)
    reached, left = 0, num_resamples
    while left:
        block = min(left, max(1, (1 << 20) // n))
        signs = 2.0 * rng.integers(2, size=(block, n)) - 1.0
        reached += int((np.abs(signs @ values) >= enough).sum())
        left -= block
    return (reached + 1) / (num_resamples + 1)


def _signed_ranks(values: FloatArray) -> FloatArray:
    """Ranks of the sizes with the signs of the values; ties in size share a rank, zeros stay 0."""
    from scipy.stats import rankdata

    ranks: FloatArray = np.sign(values) * rankdata(np.abs(values))
    return ranks


def _standardised(values: FloatArray) -> float:
    """Mean over standard deviation, of finite values."""
    if len(values) < 2:
        return math.nan
    largest = np.abs(values).max()
    if largest == 0:
        return 0.0
    scaled = values / largest
    if (scaled == scaled[0]).all():
        return math.copysign(math.inf, scaled[0])
    middle = float(scaled.mean())
    if abs(middle) <= len(values) * np.finfo(np.float64).eps:  # they cancel, up to the rounding of their sum
        return 0.0
    return middle / float(scaled.std(ddof=1))


def _least_p(n: int) -> float:
    """The smallest two-sided p-value of n pairs."""
    return min(1.0, 2.0 ** (1 - n))


def _least_seeds(alpha: float) -> int:
    """The least n with 2 / 2^n <= alpha."""
    n = 1
    while _least_p(n) > alpha:
        n += 1
    return n


def _seeds_for(size: float, power: float, alpha: float) -> int:
    """The least number of values for which a two-sided t-test finds this mean over standard deviation."""
    from scipy.stats import nct, norm, t

    def reached(n: int) -> float:
        critical, shift = t.isf(alpha / 2, n - 1), size * math.sqrt(n)
        return float(nct.sf(critical, n - 1, shift) + nct.cdf(-critical, n - 1, shift))

    size = min(size, 100.0)  # two values do then, and the noncentral t stays within what can be computed
    rough = ((float(norm.isf(alpha / 2)) + float(norm.ppf(power))) / size) ** 2
    if rough > _MANY_SEEDS:
        return math.ceil(rough)
    low, high = 1, 2  # the power grows with n: double until it is enough, then bisect
    while reached(high) < power:
        low, high = high, 2 * high
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if reached(middle) >= power else (middle, high)
    return high
