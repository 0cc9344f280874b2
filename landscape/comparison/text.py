"""A comparison as text for a terminal of 100 columns."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Iterable, Mapping, Sequence

from landscape.comparison.comparison import Comparison
from landscape.comparison.phrases import epoch_text, metric_name, short_regret
from landscape.comparison.response import response, seeds_that_ran
from landscape.comparison.scores import PolicyScore, policy_scores, reference_scores
from landscape.comparison.statistics.bootstrap import Interval
from landscape.comparison.statistics.wording import counted, p_text
from landscape.comparison.words import verdict_text
from landscape.policies.base import CLAIMS

WIDTH = 100
_NAME, _CLAIM = 27, 6
#: Of epoch, loss, regret, its interval, the ratio to never, the test against it, and probing.
_COLUMNS = (7, 9, 8, 15, 8, 13, 7)
_VERDICTS: Mapping[str, str] = {"better than never": "better ", "worse than never": "worse "}


def comparison_text(comparison: Comparison) -> str:
    """What was compared and what was found, then a table for each finisher.

    Parameters
    ----------
    comparison : Comparison
        All arms with all seeds.

    Returns
    -------
    str
        No line is longer than 100 characters, but for a name that is.
    """
    parts = [_wrapped(_opening(comparison)), *map(_wrapped, verdict_text(comparison).split("\n\n"))]
    for finisher in comparison.finishers if seeds_that_ran(comparison).any() else ():
        policies = [score for score in policy_scores(comparison, finisher) if score.verdict != "not asked"]
        references = reference_scores(comparison, finisher)
        heading = f"POLICY, THEN {finisher}" if len(comparison.finishers) > 1 else "POLICY"
        parts.append("\n".join([_head(heading), *map(_row, policies)]))
        if references:
            parts.append("\n".join([_head("BESIDE THEM"), *map(_row, references)]))
        if comparison.grid:
            parts.append(_curve(comparison, finisher))
    return "\n\n".join([*parts, "\n".join(_wrapped(note) for note in _notes(comparison))])


def _opening(comparison: Comparison) -> str:
    policies = counted(len(comparison.policies), "policy").replace("policys", "policies")
    seeds, metric = counted(len(comparison.seeds), "seed"), metric_name(comparison.metric)
    work, title = comparison.work, f" on {comparison.title}" if comparison.title else ""
    told = (
        f"{policies} compared{title}: {seeds}, {comparison.budget:g} gradient equivalents (GE) each, decided by the "
        f"{metric} at the end."
    )
    if work.separate:
        spent = work.first_phase + work.probing + work.branches
        told += (
            f" It cost {spent:,.0f} GE, fixed epochs, controls and signals among them; the policies' runs alone, one by one, "
            f"would have cost {work.separate:,.0f}."
        )
    return told


def _head(first: str) -> str:
    return _line(first, "claim", "epoch", "loss", "regret", "95 %", "x never", "p", "probes")


def _row(score: PolicyScore) -> str:
    failed = f" ({score.num_failed} failed)" if score.num_failed else ""
    equal = score.against_never.num_ties == score.against_never.n
    p = f"{_VERDICTS.get(score.verdict, '')}{p_text(score.p_holm).removeprefix('p ').removeprefix('= ')}"
    return _line(
        f"{score.name}{failed}",
        score.claim or "-",
        epoch_text(score.median_epoch),
        f"{score.median_loss:.3g}",
        short_regret(score.regret.estimate),
        _interval(score.regret),
        f"{score.ratio_to_never:.2g}",
        "-" if equal else p,
        f"{score.probing:.0f}" if score.probing >= 10 else f"{score.probing:.2g}",
    )


def _line(name: str, claim: str, *columns: str) -> str:
    """A name or a claim that is too long stands on a line of its own."""
    before = ""
    if len(name) >= _NAME or len(claim) >= _CLAIM:
        before, name, claim = f"{_wrapped(name if claim == '-' else f'{name}  [{claim}]')}\n", "", ""
    numbers = "".join(f"{text:>{width}}" for text, width in zip(columns, _COLUMNS, strict=True))
    return f"{before}{name:<{_NAME}}{claim:<{_CLAIM}}{numbers}".rstrip()


def _interval(interval: Interval) -> str:
    if math.isnan(interval.low) or math.isnan(interval.high):
        return "-"
    low, high = short_regret(interval.low), short_regret(interval.high)
    if low == high:
        return low
    return f"{low.removesuffix(' %') if high.endswith('%') else low}..{high}"


def _curve(comparison: Comparison, finisher: str) -> str:
    """The response to the swap epoch, wrapped."""
    curve = response(comparison, finisher)
    points = [*map(str, curve.epochs), "never"]
    told = ", ".join(f"{point}: {value:.3g}" for point, value in zip(points, curve.median, strict=True))
    return _wrapped(f"Median {metric_name(comparison.metric)} by fixed swap epoch, then {finisher}: {told}.")


def _notes(comparison: Comparison) -> Iterable[str]:
    yield (
        "epoch: median of the swap over the seeds; loss: the median. regret: median over the seeds of loss / best - 1, where "
        "best is the lowest of the fixed epochs and never with that seed, with a bootstrap interval of the median (x: the loss "
        "as a multiple of the best). x never: median of loss / loss of never. p: paired test against never after Holm's "
        "correction, for policies and for what stands beside them apart. probes: median GE of the measurements."
    )
    if comparison.grid and len(comparison.seeds) > 1:
        yield "best fixed epoch, controls: the epoch is chosen on the other seeds, each time."
    claims = claims_text([policy.claim for policy in comparison.policies])
    if claims:
        yield claims


def claims_text(claims: Sequence[str | None]) -> str:
    """What the claims mean that are named among these; combinations name several."""
    named = " ".join(claim or "" for claim in claims)
    words = named.replace("(", " ").replace(")", " ").replace(",", " ").split()
    told = [f"{claim}: {meaning}" for claim, meaning in CLAIMS.items() if claim in words]
    return f"claims: {'; '.join(told)}; -: none, it watches the clock, the noise or the outcome." if told else ""


def _wrapped(text: str) -> str:
    """Each line by itself."""
    return "\n".join(textwrap.fill(line, WIDTH, break_on_hyphens=False) for line in text.split("\n"))
