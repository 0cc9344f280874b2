"""How good each policy was: its regret beside the best fixed epoch, and whether it beats never swapping."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np

from landscape.comparison.arm import Arm, ArmResult
from landscape.comparison.comparison import Comparison
from landscape.comparison.phrases import last_line
from landscape.comparison.response import (
    FloatArray,
    check_finisher,
    chosen_on_others,
    fixed_values,
    ratio_of,
    seeds_that_ran,
    worst_where_missing,
)
from landscape.comparison.response import Response as Response
from landscape.comparison.response import response as response
from landscape.comparison.statistics.bootstrap import Interval, bootstrap_interval
from landscape.comparison.statistics.holm import holm
from landscape.comparison.statistics.location import interquartile_mean, median
from landscape.comparison.statistics.paired import PairedTest, paired_test
from landscape.comparison.statistics.regret import best_of, log_ratio, relative_regret
from landscape.comparison.time_to_target import TimeToTarget, time_to_target

Verdict = Literal["better than never", "worse than never", "no difference found", "not asked"]

#: Adjusted p-values up to this one are a difference.
ALPHA = 0.05
NEVER = "never"
BEST_FIXED = "best fixed epoch"
_NEVER_ASKED = TimeToTarget(0, 0, math.nan)


@dataclass(frozen=True)
class PolicyScore:
    """One policy, or another way of spending the budget, with one finisher over all seeds.

    Parameters
    ----------
    name : str
        What it is called; "never" for the first phase alone.
    finisher : str
        What it swaps to.
    claim : str or None
        Which of :data:`landscape.policies.CLAIMS` it tests; None if none.
    swap_epochs : tuple of (int or None)
        For each seed; None where it never swapped.
    losses : tuple of float
        The value that decides, for each seed: infinite where it diverged or crashed, NaN where it was not asked, or where
        the seed's first phase crashed and every arm with it.
    regrets : tuple of float
        For each seed (loss - best) / best, where best is the least loss of the grid points with that finisher and seed, 0 and
        never among them. Negative where it ended below all of them. NaN where it was not asked.
    regret : Interval
        Median of the regrets with a bootstrap interval.
    against_never : PairedTest
        Of log2(loss / loss of never), paired by seeds.
    ratio_to_never : float
        Median over the seeds of loss / loss of never.
    p_holm : float
        The test's p-value after Holm's correction for all that were tested with it; 1 where there was nothing to test, since
        every loss equals that of never; NaN where it was not asked.
    probing : float
        Median gradient equivalents (GE) of its measurements.
    num_failed : int
        Seeds with which it diverged or crashed.
    verdict : {"better than never", "worse than never", "no difference found", "not asked"}
        By ``p_holm`` at 5 %. "not asked": it reads what cannot be measured on this problem.
    reason : str
        Why it was not asked, or why it failed the first time, in a line; else empty.
    target : TimeToTarget
        When it reached the target.
    epochs : tuple of float
        After which it swapped, infinite for never, for the seeds with which that is known: a policy that crashed may have
        been about to. In no order.
    seconds : float
        Median over the seeds that count, of training alone; another one in every run.
    medians : mapping of str to float
        Of everything that was evaluated at the end, over the seeds that count: losses, accuracies.
    """

    name: str
    finisher: str
    claim: str | None
    swap_epochs: tuple[int | None, ...]
    losses: tuple[float, ...]
    regrets: tuple[float, ...]
    regret: Interval
    against_never: PairedTest
    ratio_to_never: float
    p_holm: float
    probing: float
    num_failed: int
    verdict: Verdict
    reason: str = ""
    target: TimeToTarget = _NEVER_ASKED
    epochs: tuple[float, ...] = ()
    seconds: float = math.nan
    medians: Mapping[str, float] = field(default_factory=dict)

    @property
    def interquartile_regret(self) -> float:
        """The interquartile mean of the regrets (Agarwal et al. 2021), over the seeds with which it was asked."""
        asked = [regret for regret in self.regrets if not math.isnan(regret)]
        return float(interquartile_mean(np.array(asked))) if asked else math.nan

    @property
    def median_loss(self) -> float:
        """Over the seeds with which it was asked."""
        return _median([loss for loss in self.losses if not math.isnan(loss)])

    @property
    def num_swapped(self) -> int:
        """Seeds with which it swapped."""
        return sum(epoch is not None for epoch in self.swap_epochs)

    @property
    def median_epoch(self) -> float:
        """Of the swap; infinite where most never swapped, NaN where that is known with no seed."""
        return _median(self.epochs)


def policy_scores(comparison: Comparison, finisher: str) -> tuple[PolicyScore, ...]:
    """Score every policy, and never swapping as if it were one.

    Parameters
    ----------
    comparison : Comparison
        All arms with all seeds.
    finisher : str
        One of ``comparison.finishers``.

    Returns
    -------
    tuple of PolicyScore
        Least median regret first, "never" before its equals; those that were not asked last.

    Raises
    ------
    ValueError
        If policies do not swap to that finisher, or the deciding value was not measured.

    Notes
    -----
    Holm's correction counts the policies that were asked and whose losses are not those of never with every seed: a policy
    that never swapped and measured nothing *is* never. One that never swapped but paid for measurements is tested.

    References
    ----------
    Holm (1979), Scand. J. Stat. 6:65.
    """
    check_finisher(comparison, finisher)
    entries = [_Entry(NEVER, None, comparison.of(Arm("never")))]
    for policy in comparison.policies:
        results = comparison.of(Arm("policy", finisher, policy=policy.name))
        if policy.name == NEVER and all(result.swap_epoch is None for result in results):
            continue  # the same arm under the same name
        entries.append(_Entry(policy.name, policy.claim, results))
    return _ordered(_scored(comparison, finisher, entries))


def reference_scores(comparison: Comparison, finisher: str) -> tuple[PolicyScore, ...]:
    """Score what policies must be compared with: the best fixed epoch, controls and what never saw a first phase.

    Parameters
    ----------
    comparison : Comparison
        All arms with all seeds.
    finisher : str
        Its fixed epochs are the best fixed epoch's, and what regrets refer to.

    Returns
    -------
    tuple of PolicyScore
        "best fixed epoch", then each control and each finisher that never saw a first phase, such as "cg (control)" and
        "adam-cosine (from start)".
        Where there are several epochs, each seed has the one with the least median over the *other* seeds
        (:class:`landscape.comparison.response.SwapTime` says why). They are a family of their own for Holm's correction.

    Raises
    ------
    ValueError
        If policies do not swap to that finisher, or the deciding value was not measured.
    """
    check_finisher(comparison, finisher)
    entries = []
    grid = [comparison.of(Arm("grid", finisher, epoch=epoch)) for epoch in comparison.grid]
    if grid:
        entries.append(_Entry(BEST_FIXED, None, _best_on_others(grid, comparison)))
    for control in comparison.controls:
        points = [comparison.of(arm) for arm in comparison.arms("control", control)]
        if points:
            entries.append(_Entry(f"{control} (control)", None, _best_on_others(points, comparison)))
    entries += [
        _Entry(f"{arm.finisher} (from start)", None, comparison.of(arm)) for arm in comparison.arms("from start")
    ]
    return _scored(comparison, finisher, entries)


@dataclass(frozen=True)
class _Entry:
    """What is to be scored: one result for each seed."""

    name: str
    claim: str | None
    results: Sequence[ArmResult]


def _best_on_others(points: Sequence[Sequence[ArmResult]], comparison: Comparison) -> tuple[ArmResult, ...]:
    values = worst_where_missing(np.array([[result.value(comparison.metric) for result in row] for row in points]))
    ran = seeds_that_ran(comparison)
    chosen = np.zeros(len(ran), dtype=np.intp)
    chosen[ran] = chosen_on_others(np.maximum(values[:, ran], comparison.floor))
    return tuple(points[position][seed] for seed, position in enumerate(chosen.tolist()))


def _scored(comparison: Comparison, finisher: str, entries: Sequence[_Entry]) -> tuple[PolicyScore, ...]:
    """All that are corrected for one another."""
    if not entries:
        return ()
    floor, ran = comparison.floor, seeds_that_ran(comparison)
    fixed = fixed_values(comparison, finisher)
    never, best = fixed[-1], best_of(fixed).losses
    losses = [np.where(ran, _losses(entry.results, comparison.metric), np.nan) for entry in entries]
    ratios = [log_ratio(loss, never, floor) for loss in losses]
    tests = [paired_test(ratio, alpha=ALPHA) for ratio in ratios]
    is_tested = [_differs(entry, ratio) for entry, ratio in zip(entries, ratios, strict=True)]
    raw = [test.p_value if tested else math.nan for test, tested in zip(tests, is_tested, strict=True)]
    return tuple(
        _score(entry, finisher, loss, ratio, relative_regret(loss, best, floor), test, p if tested else test.p_value)
        for entry, loss, ratio, test, tested, p in zip(
            entries, losses, ratios, tests, is_tested, holm(raw).tolist(), strict=True
        )
    )


def _losses(results: Sequence[ArmResult], metric: str) -> FloatArray:
    """NaN only where it was not asked."""
    found = worst_where_missing(np.array([result.value(metric) for result in results]))
    asked = np.array([result.status != "unavailable" for result in results])
    return np.where(asked, found, np.nan)


def _differs(entry: _Entry, ratios: FloatArray) -> bool:
    """Whether it was asked and is anything but never under another name."""
    asked = not bool(np.isnan(ratios).all())
    swapped = any(result.swap_epoch is not None for result in entry.results)
    return asked and (swapped or bool(np.any(ratios[~np.isnan(ratios)] != 0)))


def _score(
    entry: _Entry,
    finisher: str,
    losses: FloatArray,
    ratios: FloatArray,
    regrets: FloatArray,
    test: PairedTest,
    p_holm: float,
) -> PolicyScore:
    results = [result for result, loss in zip(entry.results, losses, strict=True) if not math.isnan(loss)]
    asked = ~np.isnan(losses)
    failed = [result for result in results if result.status in ("diverged", "crashed")]
    silent = [result for result in entry.results if result.status == "unavailable"]
    stayed = sum(result.swap_epoch is None and result.status != "crashed" for result in results)
    return PolicyScore(
        name=entry.name,
        finisher=finisher,
        claim=entry.claim,
        swap_epochs=tuple(result.swap_epoch for result in entry.results),
        losses=tuple(losses.tolist()),
        regrets=tuple(regrets.tolist()),
        regret=bootstrap_interval(regrets[asked] if results else regrets, "median"),
        against_never=test,
        ratio_to_never=ratio_of(float(median(ratios[asked]))) if results else math.nan,
        p_holm=p_holm,
        probing=_median([result.probing_equivalents for result in results]),
        num_failed=len(failed),
        verdict=_verdict(test, p_holm),
        reason=last_line((failed or silent)[0].reason) if failed or silent else "",
        target=time_to_target(results),
        epochs=(*(float(each.swap_epoch) for each in results if each.swap_epoch is not None), *[math.inf] * stayed),
        seconds=_median([result.seconds for result in results]),
        medians={
            name: _median([result.value(name) for result in results if name in result.values])
            for name in _values_of(results)
        },
    )


def _values_of(results: Sequence[ArmResult]) -> list[str]:
    """What every one of them has."""
    names = [set(result.values) for result in results if result.status == "finished"]
    return sorted(set.intersection(*names)) if names else []


def _median(values: Sequence[float]) -> float:
    return float(median(values)) if values else math.nan


def _verdict(test: PairedTest, p_holm: float) -> Verdict:
    if test.n == 0:
        return "not asked"
    if p_holm <= ALPHA:
        return "better than never" if test.standardised < 0 else "worse than never"
    return "no difference found"


def _ordered(scores: Sequence[PolicyScore]) -> tuple[PolicyScore, ...]:
    """Sorting keeps the order of equals."""
    return tuple(sorted(scores, key=lambda score: (score.verdict == "not asked", score.regret.estimate)))
