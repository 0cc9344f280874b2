"""Do signals know where swapping pays? Rank correlations between what was measured there and what it brought."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from landscape.comparison.comparison import Comparison
from landscape.comparison.response import check_finisher, fixed_values
from landscape.comparison.statistics.correlation import RankCorrelation, rank_correlation
from landscape.comparison.statistics.holm import holm
from landscape.comparison.statistics.regret import log_ratio

#: The number of the epoch itself, which every signal that rises or falls all along is as good as.
CLOCK = "epoch"


@dataclass(frozen=True)
class SignalCorrelation:
    """How well one signal ranks the fixed epochs of a seed by what swapping there brings.

    Parameters
    ----------
    signal : str
        The column, or "epoch": the number of the epoch, measured by nobody and free.
    correlation : RankCorrelation
        Of the signal at a grid point with log2(loss of never / loss of swapping there), ranked within each seed. Positive:
        swapping pays where the signal is large.
    p_holm : float
        Its p-value after Holm's correction for all signals; NaN where there is no correlation. That of "epoch", which is no
        signal but what they are compared with, is as it was.
    """

    signal: str
    correlation: RankCorrelation
    p_holm: float

    @property
    def is_clock(self) -> bool:
        """Whether it is the number of the epoch."""
        return self.signal == CLOCK

    def __str__(self) -> str:
        return f"{self.signal}: {self.correlation}"


def signal_correlations(comparison: Comparison, finisher: str) -> tuple[SignalCorrelation, ...]:
    """Correlate every signal where a fixed epoch's branch began with what the branch brought.

    Parameters
    ----------
    comparison : Comparison
        With signals at its fixed epochs. Those at epochs where only policies swapped do not count: the losses there have
        been paid for by different measurements.
    finisher : str
        One of ``comparison.finishers``.

    Returns
    -------
    tuple of SignalCorrelation
        The closest to -1 or 1 first, then by name; those without a correlation last. "epoch" is among them, where any
        signal was measured: one that does no better has told nothing that a clock does not. Empty without signals or
        fixed epochs.

    Raises
    ------
    ValueError
        If policies do not swap to that finisher, or the deciding value was not measured.

    Notes
    -----
    Along a run nearly everything rises or falls with time, and so does the benefit while the curve of the swap times does:
    p-values, which take the epochs of a seed as exchangeable, are too small for that reason, and comparing with "epoch" is
    the better test.
    """
    check_finisher(comparison, finisher)
    if not comparison.grid:
        return ()
    benefits = _benefits(comparison, finisher)
    measured: dict[str, dict[tuple[int, int], float]] = {}
    for signal in comparison.signals:
        if (signal.seed, signal.epoch) in benefits and signal.name != CLOCK:
            measured.setdefault(signal.name, {})[signal.seed, signal.epoch] = signal.value
    if not measured:
        return ()
    places = {place for values in measured.values() for place in values}
    measured[CLOCK] = {(seed, epoch): float(epoch) for seed, epoch in places}
    correlations = {name: _correlation(values, benefits) for name, values in measured.items()}
    clock = correlations.pop(CLOCK)
    adjusted = holm([correlation.p_value for correlation in correlations.values()]).tolist()
    found = [SignalCorrelation(name, each, p) for (name, each), p in zip(correlations.items(), adjusted, strict=True)]
    return tuple(sorted([*found, SignalCorrelation(CLOCK, clock, clock.p_value)], key=_place))


def _benefits(comparison: Comparison, finisher: str) -> dict[tuple[int, int], float]:
    """By seed and epoch."""
    values = fixed_values(comparison, finisher)
    gains = -log_ratio(values[:-1], values[-1], comparison.floor)
    return {
        (seed, epoch): float(gains[row, column])
        for row, epoch in enumerate(comparison.grid)
        for column, seed in enumerate(comparison.seeds)
    }


def _correlation(values: dict[tuple[int, int], float], benefits: dict[tuple[int, int], float]) -> RankCorrelation:
    """Where the signal was not measured it is missing, and counted so."""
    places = list(benefits)
    signal = np.array([values.get(place, math.nan) for place in places])
    return rank_correlation(signal, [benefits[place] for place in places], [seed for seed, _ in places])


def _place(found: SignalCorrelation) -> tuple[bool, float, str]:
    size = abs(found.correlation.coefficient)
    return math.isnan(size), -size if not math.isnan(size) else 0.0, found.signal
