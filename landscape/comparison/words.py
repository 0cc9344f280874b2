"""What a comparison says, in sentences with numbers."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

import numpy as np

from landscape.comparison.comparison import Comparison
from landscape.comparison.phrases import metric_name, regret_text
from landscape.comparison.response import SwapTime, response, seeds_that_ran, swap_time, why_nothing_ran
from landscape.comparison.scores import ALPHA, BEST_FIXED, NEVER, PolicyScore, policy_scores, reference_scores
from landscape.comparison.signals import signal_correlations
from landscape.comparison.statistics.wording import counted, p_text

#: Regrets up to this one are close to the best fixed epoch.
CLOSE = 0.1
#: Names told before the rest is only counted.
_NAMES = 6


def verdict_text(comparison: Comparison, finisher: str | None = None) -> str:
    """What the comparison found, for people.

    Parameters
    ----------
    comparison : Comparison
        All arms with all seeds.
    finisher : str, optional
        One of ``comparison.finishers``; by default all of them, one after the other.

    Returns
    -------
    str
        Four lines for each finisher, an empty one between: whether the swap time matters; which policies have the least regret,
        which are better and worse than never, and which differences were not found, with the seeds that would take; what
        failed and what could not be asked; what other ways of spending the budget came to, the target, and the signals.

    Raises
    ------
    ValueError
        If policies do not swap to that finisher, or the deciding value was not measured.
    """
    if comparison.seeds and not seeds_that_ran(comparison).any():
        return f"Nothing can be compared: every arm crashed with every seed ({why_nothing_ran(comparison)})."
    told = comparison.finishers if finisher is None else (finisher,)
    prefix = len(comparison.finishers) > 1
    return "\n\n".join(
        (f"With {name}: " if prefix else "") + "\n".join(" ".join(part) for part in verdict_parts(comparison, name))
        for name in told
    )


def verdict_parts(comparison: Comparison, finisher: str) -> tuple[tuple[str, ...], ...]:
    """The sentences of :func:`verdict_text` for one finisher, by what they are about.

    Returns
    -------
    tuple of tuple of str
        On the swap time, on the policies, on those that failed or could not be asked, and on everything beside them; a part
        without sentences is left out.
    """
    scores = policy_scores(comparison, finisher)
    policies = [score for score in scores if score.name != NEVER]
    asked = [score for score in policies if score.verdict != "not asked"]
    never = next(score for score in scores if score.name == NEVER)
    beside = "the best grid point of each seed" if comparison.grid else "never"
    parts = (
        swap_time_sentences(comparison, finisher),
        [_least_regret(asked, never, beside), *_against_never(asked, never)] if asked else [],
        [*_failed(scores, len(comparison.seeds)), _not_asked(policies), _lost_seeds(comparison)],
        [
            *_references(reference_scores(comparison, finisher), asked),
            _target(comparison, asked, never),
            _signals(comparison, finisher),
        ],
    )
    told = [tuple(sentence for sentence in part if sentence) for part in parts]
    return tuple(part for part in told if part)


def swap_time_sentences(comparison: Comparison, finisher: str) -> list[str]:
    """Whether the swap time matters at all, by the fixed epochs."""
    if not comparison.grid:
        return ["No fixed swap epochs were tried, so it cannot be said whether the swap time matters."]
    curve, time = response(comparison, finisher), swap_time(comparison, finisher)
    least, never = float(np.min(curve.median[:-1])), float(curve.median[-1])
    name, test, num = metric_name(comparison.metric), time.against_never, len(time.losses)
    ends = f"at a median {name} of {least:.3g}; never swapping ends at {never:.3g}."
    if len(comparison.grid) == 1:
        opening = f"Swapping at epoch {time.best_epoch} ends {ends}"
        return [opening, f"Beside never: {test}.", "One epoch cannot tell whether it matters which."]
    grid = ", ".join(map(str, comparison.grid))
    choice = f"Over {num} seeds, each time chosen on the others" if num > 1 else "Judged on the seed it was chosen by"
    return [
        f"Of the fixed swap epochs ({grid}), {time.best_epoch} ends lowest, {ends}",
        f"{choice}, the best epoch beside never: {test}.",
        _does_it_matter(time, num),
    ]


def _does_it_matter(time: SwapTime, num_seeds: int) -> str:
    factors = f"the medians of the fixed epochs differ by a factor of {_factor(time.spread)}"
    if num_seeds > 1:
        factors += f", the seeds of one epoch by {_factor(time.seed_spread)}"
    if math.isnan(time.friedman_p):
        return f"Whether it matters which epoch cannot be tested with fewer than 3 epochs or 3 seeds; {factors}."
    test = f"Friedman's test within seeds, {p_text(time.friedman_p)}, {counted(num_seeds, 'seed')}"
    if time.friedman_p <= ALPHA:
        return f"Which epoch matters: {factors} ({test})."
    return f"No difference was found between the fixed epochs, so it may not matter which: {factors} ({test})."


def _least_regret(asked: Sequence[PolicyScore], never: PolicyScore, beside: str) -> str:
    best = [f"{_named(score)} {regret_text(score.regret.estimate)}" for score in asked[:3]]
    close = sum(score.regret.estimate <= CLOSE for score in asked)
    return (
        f"Least median regret beside {beside}: {_listed(best)}; never swapping "
        f"{regret_text(never.regret.estimate)}. {close} of {counted(len(asked), 'policy')} "
        f"{'is' if close == 1 else 'are'} within {100 * CLOSE:.0f} %."
    ).replace("policys", "policies")


def _against_never(asked: Sequence[PolicyScore], never: PolicyScore) -> Iterable[str]:
    idle = [score for score in asked if is_never(score)]
    tested = [score for score in asked if not is_never(score)]
    num = never.against_never.n
    holm_text = ""
    if len(tested) > 1:
        holm_text = f", and {p_text(least_p_holm(num, len(tested)))} after Holm's correction for {len(tested)} tests"
    if tested and least_p_holm(num, len(tested)) > ALPHA:
        seeds, least = counted(num, "seed"), p_text(least_p_holm(num, 1))
        yield (
            f"With {seeds} no difference from never could be found, whatever the losses: the least they can give is {least}"
            f"{holm_text}; at least {seeds_for(len(tested))} seeds are needed."
        )
    else:
        for verdict in ("better than never", "worse than never"):
            found = [score for score in tested if score.verdict == verdict]
            told = [f"{score.name} ({_beside(score.ratio_to_never)}, {p_text(score.p_holm)})" for score in found]
            correction = (
                f"after Holm's correction for {len(tested)} tests, {num} seeds" if len(tested) > 1 else f"{num} seeds"
            )
            yield f"{verdict.capitalize()} ({correction}): {_listed(told) if told else 'none'}."
        yield _no_difference([score for score in tested if score.verdict == "no difference found"])
    if idle:
        yield f"Never swapped and is never under another name: {_listed([score.name for score in idle])}."


def _no_difference(unsure: Sequence[PolicyScore]) -> str:
    """Those that the fewest more seeds would decide come first."""
    if not unsure:
        return ""
    needed = [(_seeds_needed(score), score.name) for score in unsure]
    needed.sort(key=lambda pair: math.inf if pair[0] is None else pair[0])
    told = [f"{name} ({'the seeds even out' if seeds is None else f'about {seeds}'})" for seeds, name in needed]
    return (
        f"No difference from never was found for {_listed(told)}; in brackets, how many seeds one test would need to find "
        "a difference of the observed size."
    )


def _seeds_needed(score: PolicyScore) -> int | None:
    return score.against_never.seeds_needed(alpha=ALPHA)


def _failed(scores: Sequence[PolicyScore], num_seeds: int) -> Iterable[str]:
    told = [
        f"{score.name} with {score.num_failed} of {counted(num_seeds, 'seed')} ({score.reason})"
        for score in scores
        if score.num_failed
    ]
    if told:
        yield f"Diverged or crashed, which counts as an infinite loss: {_listed(told)}."


def _lost_seeds(comparison: Comparison) -> str:
    lost = [str(seed) for seed, ran in zip(comparison.seeds, seeds_that_ran(comparison), strict=True) if not ran]
    if not lost:
        return ""
    told = f"{'seed' if len(lost) == 1 else 'seeds'} {', '.join(lost)} ({why_nothing_ran(comparison)})"
    return f"Every arm crashed with {told}, so {'it counts' if len(lost) == 1 else 'they count'} nowhere."


def _not_asked(policies: Sequence[PolicyScore]) -> str:
    silent = [score for score in policies if score.verdict == "not asked"]
    if not silent:
        return ""
    names = _listed([f"{score.name} ({score.reason})" for score in silent])
    return f"Could not be asked on this problem: {names}."


def _references(references: Sequence[PolicyScore], asked: Sequence[PolicyScore]) -> Iterable[str]:
    """Other ways of spending the budget, and whether they make policies unnecessary."""
    others = sorted(
        (score for score in references if score.name != BEST_FIXED), key=lambda score: score.regret.estimate
    )
    if not others:
        return
    told = [f"{score.name} {regret_text(score.regret.estimate)}" for score in others]
    yield f"Other ways of spending the budget, by median regret: {_listed(told)}."
    least = min((score.regret.estimate for score in asked), default=math.inf)
    lower = [score.name for score in others if score.regret.estimate < least]
    if lower:
        yield f"Lower than every policy with {others[0].finisher}: {_listed(lower)}."


def _target(comparison: Comparison, asked: Sequence[PolicyScore], never: PolicyScore) -> str:
    if not comparison.target or not asked:
        return ""
    soonest = min(asked, key=lambda score: (-score.target.share, score.target.equivalents))
    if not soonest.target.num_reached:
        return f"No policy reached the target; never swapping: {never.target}."
    told = f"The target was reached most reliably and soonest by {soonest.name}: {soonest.target}"
    return f"{told}; never swapping: {never.target}."


def _signals(comparison: Comparison, finisher: str) -> str:
    found = [each for each in signal_correlations(comparison, finisher) if not math.isnan(each.correlation.coefficient)]
    measured = [each for each in found if not each.is_clock]
    if not measured:
        return ""
    best, clock = measured[0], next((each.correlation.coefficient for each in found if each.is_clock), math.nan)
    beside = (
        f"the number of the epoch alone has {clock:+.2f}"
        if not math.isnan(clock)
        else "the number of the epoch has none"
    )
    opening = "No signal ranks the epochs of a seed by what swapping brings better than the number of the epoch; the closest is"
    if math.isnan(clock) or abs(best.correlation.coefficient) > abs(clock):
        opening = "The signal that best ranks the epochs of a seed by what swapping brings is"
    number, found_p = counted(len(measured), "signal"), p_text(best.p_holm)
    within = f"{counted(best.correlation.n, 'pair')} in {counted(best.correlation.num_groups, 'seed')}"
    told = f"rank correlation {best.correlation.coefficient:+.2f} ({found_p} after Holm's correction, {within})"
    return f"{opening} {best.signal}, of {number}: {told}; {beside}."


def is_never(score: PolicyScore) -> bool:
    """Whether a policy never swapped and ended like never with every seed."""
    test = score.against_never
    return score.num_swapped == 0 and test.n > 0 and test.num_ties == test.n


def least_p_holm(num_seeds: int, num_tests: int) -> float:
    """The least adjusted p-value that so many seeds can give."""
    return min(1.0, num_tests * 2.0 ** (1 - num_seeds))


def seeds_for(num_tests: int) -> int:
    """How many seeds it takes at least before one of so many tests can find anything.

    Examples
    --------
    >>> seeds_for(1), seeds_for(30)
    (6, 11)
    """
    num_seeds = 1
    while least_p_holm(num_seeds, num_tests) > ALPHA:
        num_seeds += 1
    return num_seeds


def _named(score: PolicyScore) -> str:
    return f"{score.name} (claim {score.claim})" if score.claim else f"{score.name} (no claim)"


def _beside(ratio: float) -> str:
    return "infinite loss" if math.isinf(ratio) else f"{_factor(ratio)} times its loss"


def _factor(value: float) -> str:
    return "infinity" if math.isinf(value) else f"{value:.2g}"


def _listed(names: Sequence[str]) -> str:
    """The first few, and how many more."""
    if len(names) <= _NAMES:
        return ", ".join(names)
    return f"{', '.join(names[: _NAMES - 1])} and {len(names) - _NAMES + 1} more"
