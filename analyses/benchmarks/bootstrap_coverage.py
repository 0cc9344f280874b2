"""How often does a confidence interval from a few seeds hold the true value? Bootstrap intervals, measured.

    python analyses/benchmarks/bootstrap_coverage.py            # the table that the docs quote, 2 minutes
    python analyses/benchmarks/bootstrap_coverage.py --tiny     # seconds, to see that it runs

Drawn are paired differences (log ratios of two arms per seed), whose common part of a seed has cancelled: normal, skewed
(log-normal), heavy-tailed (Student t with 3 degrees of freedom) and a mixture in which one seed in five does much worse.
For each interval: in what share of the trials it held the true value (asked for: 95 %), and its median width in units of
the percentile interval's. "expanded" is `landscape`'s; percentile, basic and BCa are SciPy's; bootstrap-t divides by
s / sqrt(n), by the Winsorised standard error (interquartile mean) or by McKean and Schrader's (median). Student's t is no
bootstrap, and stands beside them for the mean.
"""

from __future__ import annotations

import argparse
import functools
import itertools
import math
import warnings
from collections.abc import Callable

import numpy as np
from scipy import stats

from landscape.comparison.statistics.bootstrap import bootstrap_interval
from landscape.comparison.statistics.location import STATISTICS

LEVEL = 0.95
METHODS = ["percentile", "basic", "BCa", "bootstrap-t", "expanded", "Student t"]
Draw = Callable[[np.random.Generator, tuple[int, ...]], np.ndarray]


def mixture(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    """Most seeds near 0, one in five around 2 and wider."""
    worse = rng.random(shape) < 0.2
    return np.where(worse, 2 + rng.standard_normal(shape), 0.3 * rng.standard_normal(shape))


DISTRIBUTIONS: dict[str, Draw] = {
    "normal": lambda rng, shape: rng.standard_normal(shape),
    "log-normal": lambda rng, shape: rng.lognormal(size=shape),
    "t, 3 d.o.f.": lambda rng, shape: rng.standard_t(3, size=shape),
    "mixture": mixture,
}


def standard_error(values: np.ndarray, statistic: str) -> np.ndarray:
    """By which bootstrap-t divides, of the last axis."""
    n = values.shape[-1]
    ordered = np.sort(values, axis=-1)
    if statistic == "median":  # McKean and Schrader (1984), Commun. Stat. 13:751
        rank = max(1, round((n + 1) / 2 - 2.5758 * math.sqrt(n / 4)))
        return (ordered[..., n - rank] - ordered[..., rank - 1]) / (2 * 2.5758)
    if statistic == "iqm":  # Tukey and McLaughlin (1963), Sankhya A 25:331
        cut = n // 4
        clipped = np.clip(ordered, ordered[..., [cut]], ordered[..., [n - 1 - cut]])
        return clipped.std(axis=-1, ddof=1) / (0.5 * math.sqrt(n))
    return values.std(axis=-1, ddof=1) / math.sqrt(n)


def bootstrap_t(values: np.ndarray, statistic: str, num_resamples: int, rng: np.random.Generator) -> np.ndarray:
    """Ends (2, trials) of the bootstrap-t interval; resamples without spread are left out."""
    function = STATISTICS[statistic]
    n = values.shape[-1]
    resampled = values[:, rng.integers(n, size=(num_resamples, n))]
    estimate, error = function(values), standard_error(values, statistic)
    spread = standard_error(resampled, statistic)
    with np.errstate(divide="ignore", invalid="ignore"):
        pivots = np.where(spread > 0, (function(resampled) - estimate[:, None]) / spread, np.nan)
    lower, upper = np.nanquantile(pivots, [(1 - LEVEL) / 2, (1 + LEVEL) / 2], axis=-1)
    return np.stack([estimate - upper * error, estimate - lower * error])


def intervals(values: np.ndarray, statistic: str, num_resamples: int, seed: int) -> dict[str, np.ndarray]:
    """Ends (2, trials) by every method, of values (trials, n)."""
    function = STATISTICS[statistic]
    found: dict[str, np.ndarray] = {}
    result = None
    for method in ("percentile", "basic", "BCa"):
        result = stats.bootstrap(
            (values,), lambda x, axis: function(np.moveaxis(x, axis, -1)), vectorized=True, axis=-1, method=method,
            confidence_level=LEVEL, n_resamples=num_resamples if result is None else 0, bootstrap_result=result, rng=seed,
        )  # fmt: skip
        found[method] = np.stack(result.confidence_interval)
    found["bootstrap-t"] = bootstrap_t(values, statistic, num_resamples, np.random.default_rng(seed))
    ours = [bootstrap_interval(row, statistic, level=LEVEL, num_resamples=num_resamples, seed=seed) for row in values]
    found["expanded"] = np.array([[one.low for one in ours], [one.high for one in ours]])
    if statistic == "mean":
        half = stats.t.isf((1 - LEVEL) / 2, values.shape[-1] - 1) * standard_error(values, "mean")
        found["Student t"] = np.stack([values.mean(axis=-1) - half, values.mean(axis=-1) + half])
    return found


@functools.cache
def true_value(name: str, statistic: str) -> float:
    """From four million values: known to a thousandth of the spread, where 20 values know a fifth."""
    return float(STATISTICS[statistic](DISTRIBUTIONS[name](np.random.default_rng(1), (1 << 22,))))


def measure(name: str, statistic: str, n: int, trials: int, num_resamples: int) -> dict[str, tuple[float, float]]:
    """Coverage and median width by method. Blocks of trials share their resamples; an end that is NaN never covers."""
    draw, truth = DISTRIBUTIONS[name], true_value(name, statistic)
    rng = np.random.default_rng(2)
    blocks = [
        intervals(draw(rng, (min(50, trials - start), n)), statistic, num_resamples, seed=start)
        for start in range(0, trials, 50)
    ]
    ends = {method: np.concatenate([block[method] for block in blocks], axis=1) for method in blocks[0]}
    return {
        method: (float(((low <= truth) & (truth <= high)).mean()), float(np.nanmedian(high - low)))
        for method, (low, high) in ends.items()
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tiny", action="store_true", help="few trials and resamples")
    parser.add_argument("--trials", type=int, default=1000)
    parser.add_argument("--resamples", type=int, default=2000)
    options = parser.parse_args()
    trials, num_resamples = (20, 200) if options.tiny else (options.trials, options.resamples)
    sizes = [5] if options.tiny else [3, 5, 10, 20]
    # SciPy warns where a BCa interval is degenerate: NaN ends, counted as not covering. So does nanquantile, where no
    # resample has a spread.
    warnings.filterwarnings("ignore", category=stats.DegenerateDataWarning)
    warnings.filterwarnings("ignore", category=RuntimeWarning)

    error = math.sqrt(LEVEL * (1 - LEVEL) / trials)
    print(f"Coverage in % of intervals at 95 % ({trials} trials, +-{100 * error:.1f}), and median width in units of")
    print(f"the percentile interval's in brackets. {num_resamples} resamples.\n")
    print(f"| statistic | distribution | n | {' | '.join(METHODS)} |")
    print("| --- " * (3 + len(METHODS)) + "|")
    for statistic, n, name in itertools.product(STATISTICS, sizes, DISTRIBUTIONS):
        found = measure(name, statistic, n, trials, num_resamples)
        unit = found["percentile"][1]
        cells = [
            f"{100 * found[method][0]:.1f} ({found[method][1] / unit:.2f})" if method in found else ""
            for method in METHODS
        ]
        print(f"| {statistic} | {name} | {n} | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
