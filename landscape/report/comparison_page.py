"""The page of a comparison of swap criteria: one HTML file that stands alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from landscape.comparison.comparison import Comparison
from landscape.comparison.response import check_finisher, seeds_that_ran
from landscape.comparison.scores import NEVER, PolicyScore, policy_scores, reference_scores
from landscape.comparison.signals import SignalCorrelation, signal_correlations
from landscape.comparison.words import verdict_parts, verdict_text
from landscape.plots.compared import epochs_text, interval_words, metric_words, swap_epochs
from landscape.policies.base import CLAIMS
from landscape.report.comparison_figures import comparison_pictures
from landscape.report.comparison_words import (
    MARKS,
    NOTHING,
    interval_text,
    loss_text,
    p_value_text,
    ratio_text,
    reason_text,
    regret_text,
    seeds_needed_text,
    seeds_text,
)
from landscape.report.diagnosis_page import claim_id
from landscape.report.diagnosis_words import typographic_minus
from landscape.report.page import commands, template_environment
from landscape.report.words import amount, count, number

if TYPE_CHECKING:
    from jinja2 import Environment

TEMPLATE = "comparison.html.j2"

GLOSSARY: Mapping[str, str] = {
    "seed": (
        "Decides initial weights, data order and whatever else is random. With one seed all arms share the course of the first "
        "phase until they swap, so that arms are compared seed by seed."
    ),
    "regret": (
        "(loss - best) / best, where best is the least loss of the fixed epochs and of never with the same seed: what was lost "
        "by not knowing when to swap. Told is the median over the seeds."
    ),
    "interval": (
        "A bootstrap interval of that median. It is meant to hold the true one with the chance that is given; very few seeds "
        "cannot hold 95 %. IQM is the interquartile mean of the regrets: of the middle half of the seeds."
    ),
    "never": "The first phase goes on until the budget is spent; nothing swaps and nothing is measured.",
    "best fixed epoch": (
        "The swap epoch with the least median loss over the other seeds, judged on the one that was left out. No policy, but "
        "what a policy must come near to."
    ),
    "beside never": "Median over the seeds of loss / loss of never. Below 1 is better.",
    "p, Holm": (
        "Two-sided sign-flip test of the log ratios to never, paired by seeds, then corrected for all policies that were "
        "tested. A difference counts up to .05."
    ),
    "no difference found": (
        "Not the same as no difference: fewer seeds find only larger ones. Under it stands how many seeds one test of a "
        "difference as large as the observed one would need."
    ),
    "control": "Another second phase, or one that began at the start: what the gain has to be compared with before CG gets it.",
    "GE": (
        "Gradient equivalent: the work of one gradient over all data. Every arm has the same budget of them: steps, line "
        "searches and the policy's own measurements."
    ),
    "failed": "Diverged or crashed. Its loss counts as infinite, so it is the worst and never left out.",
}


def comparison_html(comparison: Comparison) -> str:
    """Write the page of a comparison.

    Parameters
    ----------
    comparison : Comparison
        With at least one finisher and one seed. Each finisher has its own tables and figures.

    Returns
    -------
    str
        A page without scripts and without links to anything outside it. Every text in the comparison is escaped.

    Raises
    ------
    ValueError
        If it has no finisher, or the deciding value was not measured.
    """
    if not comparison.finishers:
        raise ValueError(
            "the comparison has no finisher, so that there is nothing to tell; give at least one when comparing."
        )
    finishers = comparison.finishers if seeds_that_ran(comparison).any() else ()
    for finisher in finishers:
        check_finisher(comparison, finisher)
    headline, told = _verdict(comparison, finishers)
    text = (
        page_environment()
        .get_template(TEMPLATE)
        .render(
            title=comparison.title,
            headline=headline,
            verdicts=told,
            facts=_facts(comparison),
            finishers=[_finisher(comparison, finisher) for finisher in finishers],
            metric=metric_words(comparison),
            failures=_lost(comparison, ("diverged", "crashed")),
            unavailable=_lost(comparison, ("unavailable",)),
            costs=_costs(comparison),
            settings=_settings(comparison),
            policies=[
                (p.name, p.settings, p.claim or "", claim_id(p.claim or ""), p.reads_clock) for p in comparison.policies
            ],
            claims={letter: (claim_id(letter), words) for letter, words in CLAIMS.items()},
            glossary=GLOSSARY,
        )
    )
    # Text from outside may hold what is no character, such as a file name's stray bytes.
    return text.encode(errors="backslashreplace").decode()


def page_environment() -> Environment:
    """Templates whose texts get their minus signs and commands."""
    environment = template_environment()
    environment.filters["prose"] = lambda text: commands(typographic_minus(text))
    return environment


def _verdict(
    comparison: Comparison, finishers: Sequence[str]
) -> tuple[str, list[tuple[str, tuple[tuple[str, ...], ...]]]]:
    """The first sentence, and the others for each finisher, by what they are about."""
    if not finishers:
        return verdict_text(comparison), []
    told = [(finisher, verdict_parts(comparison, finisher)) for finisher in finishers]
    if len(finishers) > 1:
        return f"With {finishers[0]}: {told[0][1][0][0]}", told
    finisher, (first, *others) = told[0]
    return first[0], [(finisher, tuple(part for part in (first[1:], *others) if part))]


def _facts(comparison: Comparison) -> str:
    facts = [
        count(len(comparison.seeds), "seed"),
        f"{amount(comparison.budget)} GE for every arm",
        f"decided by {metric_words(comparison)}",
        f"{len(comparison.policies)} policies",
        f"{len(comparison.grid)} fixed epochs",
    ]
    return " \N{MIDDLE DOT} ".join(facts)


def _finisher(comparison: Comparison, finisher: str) -> dict[str, Any]:
    """All that is told of one second phase."""
    scores = policy_scores(comparison, finisher)
    level = next(score.regret.attainable_level for score in scores if score.name == NEVER)
    return {
        "name": finisher,
        "head": ", ".join(filter(None, ["Regret", interval_words(level)])),
        "rows": [score_row(score, comparison) for score in scores],
        "references": [score_row(score, comparison) for score in reference_scores(comparison, finisher)],
        "pictures": comparison_pictures(comparison, finisher),
        "signals": [_signal(found) for found in signal_correlations(comparison, finisher)],
    }


def score_row(score: PolicyScore, comparison: Comparison) -> dict[str, Any]:
    """One row of a table of policies, as text."""
    is_never = score.name == NEVER
    asked = score.verdict != "not asked"
    return {
        "name": score.name,
        "is_never": is_never,
        "claim": score.claim or "",
        "claim_id": claim_id(score.claim or ""),
        "regret": regret_text(score.regret.estimate),
        "interval": interval_text(score) if asked else "",
        "iqm": f"IQM {regret_text(score.interquartile_regret)}" if asked else "",
        "loss": loss_text(score.median_loss),
        "beside": [
            f"{name.replace('_', ' ')} {value:.3g}"
            for name, value in score.medians.items()
            if name not in (comparison.metric, "swap_train_loss")
        ],
        "ratio": ratio_text(score.ratio_to_never),
        "p": NOTHING if is_never else p_value_text(score.p_holm),
        "mark": None if is_never else MARKS[score.verdict],
        "needed": seeds_needed_text(score),
        "epochs": epochs_text(swap_epochs(score)) if asked else NOTHING,
        "swapped": f"{score.num_swapped} of {len(score.swap_epochs)}",
        "probing": amount(score.probing) if asked else NOTHING,
        "failed": f"{score.num_failed} of {len(comparison.seeds)}" if score.num_failed else "",
    }


def _signal(found: SignalCorrelation) -> dict[str, str]:
    correlation = found.correlation
    known = correlation.coefficient == correlation.coefficient
    return {
        "name": "epoch (a clock)" if found.is_clock else found.signal,
        "coefficient": f"{correlation.coefficient:+.2f}" if known else NOTHING,
        "p": p_value_text(found.p_holm),
        "pairs": f"{correlation.n:,}",
        "seeds": f"{correlation.num_groups:,}",
        "missing": f"{correlation.num_missing:,}" if correlation.num_missing else "",
    }


def _lost(comparison: Comparison, statuses: Sequence[str]) -> list[dict[str, str]]:
    """Arms with one of these statuses, one row an arm and reason."""
    found: dict[tuple[str, str, str], list[int]] = {}
    for result in comparison.results:
        if result.status in statuses:
            found.setdefault((result.arm.name, result.status, reason_text(result.reason)), []).append(result.seed)
    return [
        {"name": name, "status": status, "seeds": seeds_text(tuple(seeds), len(comparison.seeds)), "reason": reason}
        for (name, status, reason), seeds in found.items()
    ]


def _costs(comparison: Comparison) -> list[tuple[str, str]]:
    """What was spent, and what separate runs would have."""
    work = comparison.work
    total = work.first_phase + work.probing + work.branches
    rows = [
        (f"first phases, {count(len(comparison.seeds), 'seed')}", f"{amount(work.first_phase)} GE"),
        ("measurements for policies and signals", f"{amount(work.probing)} GE"),
        (f"{work.num_branches:,} second phases", f"{amount(work.branches)} GE"),
        ("in all", f"{amount(total)} GE"),
        (f"as {work.num_policy_arms:,} separate runs of the policies", f"{amount(work.separate)} GE"),
    ]
    if total > 0 and work.separate > 0:
        rows.append(("separate runs beside what was spent", f"{number(work.separate / total)} times as much"))
    return rows


def _settings(comparison: Comparison) -> list[tuple[str, str]]:
    target = sorted(set(comparison.target.values()))
    told = [] if not target else [number(target[0])] if len(target) == 1 else [number(target[0]), number(target[-1])]
    return [
        *comparison.settings.items(),
        ("budget", f"{amount(comparison.budget)} GE"),
        ("seeds", ", ".join(map(str, comparison.seeds))),
        ("fixed swap epochs", ", ".join(map(str, comparison.grid)) or "none"),
        ("second phases that policies swap to", ", ".join(comparison.finishers)),
        ("controls", ", ".join(comparison.controls) or "none"),
        ("decided by", metric_words(comparison)),
        ("losses count as at least", number(comparison.floor)),
        *([("training loss that counts as reached", " to ".join(told))] if told else []),
    ]
