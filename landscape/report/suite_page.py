"""The page of several comparisons: which swap criteria are good on most tasks, and how badly each fails at worst."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from landscape.comparison.across import Across, AcrossScore, across
from landscape.comparison.comparison import Comparison
from landscape.comparison.response import seeds_that_ran, why_nothing_ran
from landscape.comparison.scores import NEVER
from landscape.comparison.words import swap_time_sentences
from landscape.policies.base import CLAIMS
from landscape.report.comparison_figures import suite_pictures
from landscape.report.comparison_page import GLOSSARY, page_environment
from landscape.report.comparison_words import NOTHING, ratio_text, regret_text, short_regret_text
from landscape.report.diagnosis_page import claim_id
from landscape.report.words import amount, count

TEMPLATE = "suite.html.j2"

#: Regrets up to these are coloured alike, from blue to vermilion.
LEVELS: tuple[tuple[float, str, str], ...] = (
    (0.1, "r0", "up to 10 %"),
    (0.5, "r1", "up to 50 %"),
    (2.0, "r2", "up to 200 %"),
    (10.0, "r3", "up to 11\N{MULTIPLICATION SIGN}"),
    (math.inf, "r4", "more"),
)
_WORDS = ("regret", "interval", "never", "best fixed epoch", "beside never", "p, Holm", "GE", "failed")


def suite_html(comparisons: Mapping[str, Comparison], finisher: str | None = None) -> str:
    """Write the page of several comparisons.

    Parameters
    ----------
    comparisons : mapping of str to Comparison
        By the names of the tasks; at least one.
    finisher : str, optional
        The second phase. Default: the first of each comparison.

    Returns
    -------
    str
        A page without scripts and without links to anything outside it. Every text in the comparisons is escaped.

    Raises
    ------
    ValueError
        If no comparison is given, one has no such finisher, or every arm crashed on every task.
    """
    ran = {task: comparison for task, comparison in comparisons.items() if seeds_that_ran(comparison).any()}
    lost = [(task, why_nothing_ran(comparisons[task])) for task in comparisons if task not in ran]
    found = across(ran or comparisons, finisher)
    text = (
        page_environment()
        .get_template(TEMPLATE)
        .render(
            title=f"{count(len(found.tasks), 'task')}: {', '.join(found.tasks)}",
            headline=_headline(found),
            sentences=_sentences(found),
            tasks=found.tasks,
            rows=[_row(score, found) for score in (found.best_fixed, *found.policies) if score is not None],
            has_daggers=any(score.as_never for score in found.policies),
            levels=[(name, words) for _, name, words in LEVELS],
            pictures=suite_pictures(ran, finisher),
            lost=lost,
            told=[_task(task, comparisons[task], found.finishers[task]) for task in found.tasks],
            claims={letter: (claim_id(letter), words) for letter, words in CLAIMS.items()},
            glossary={word: GLOSSARY[word] for word in _WORDS},
        )
    )
    # Text from outside may hold what is no character, such as a file name's stray bytes.
    return text.encode(errors="backslashreplace").decode()


def level_of(regret: float) -> str:
    """The class of a regret's colour; empty where there is none.

    Examples
    --------
    >>> level_of(0.03), level_of(-0.2), level_of(1.0), level_of(float("inf")), level_of(float("nan"))
    ('r0', 'r0', 'r2', 'r4', '')
    """
    return "" if math.isnan(regret) else next(name for most, name, _ in LEVELS if regret <= most)


def _everywhere(found: Across) -> list[AcrossScore]:
    """Policies that were compared on every task and could be asked somewhere."""
    num = len(found.tasks)
    return [
        score
        for score in found.policies
        if score.name != NEVER
        and score.num_tasks == num
        and len(score.as_never) < num
        and not math.isnan(score.median_regret)
    ]


def _headline(found: Across) -> str:
    never, policies = found[NEVER], _everywhere(found)
    told = f"never swapping has {regret_text(never.median_regret)}"
    where = f"Over {count(len(found.tasks), 'task')}"
    if not policies:
        return f"{where} no policy was compared everywhere; {told}."
    best = policies[0]
    which = "policy" if len(policies) == 1 else f"{len(policies)} policies that were compared on all of them"
    return (
        f"{where}, {best.name} has the least median regret of the {which}: {regret_text(best.median_regret)}; {told}."
    )


def _sentences(found: Across) -> list[str]:
    policies, num = _everywhere(found), len(found.tasks)
    sentences = []
    if found.best_fixed is not None:
        sentences.append(
            "The best fixed epoch of each task, chosen on the other seeds, has a median regret of "
            f"{regret_text(found.best_fixed.median_regret)}."
        )
    if not policies:
        return sentences
    best = policies[0]
    sentences.append(
        f"At worst {best.name} ends at {ratio_text(best.worst_against_never)} times never's loss ({best.worst_task}). "
        f"It beats never on {best.num_better} of {count(num, 'task')} and loses on {best.num_worse}, by Holm's correction "
        "within each task."
    )
    safe = [score.name for score in policies if score.worst_against_never <= 1]
    lower = [score for score in policies if score.median_regret < found[NEVER].median_regret]
    sentences.append(
        f"{len(lower)} of the {len(policies)} policies that were compared everywhere have less median regret than never; "
        f"{len(safe)} end at no more than its loss on every task."
    )
    return sentences


def _row(score: AcrossScore, found: Across) -> dict[str, Any]:
    return {
        "name": score.name,
        "kind": "never" if score.name == NEVER else "fixed" if score is found.best_fixed else "",
        "claim": score.claim or "",
        "claim_id": claim_id(score.claim or ""),
        "median": short_regret_text(score.median_regret),
        "level": level_of(score.median_regret),
        "num_tasks": "" if score.num_tasks == len(found.tasks) else f"of {count(score.num_tasks, 'task')}",
        "worst": ratio_text(score.worst_against_never),
        "worst_task": score.worst_task,
        "better": str(score.num_better),
        "worse": str(score.num_worse),
        "cells": [_cell(score, task) for task in found.tasks],
    }


def _cell(score: AcrossScore, task: str) -> dict[str, str]:
    if task not in score.regrets:
        return {"text": NOTHING, "level": "", "title": "not compared"}
    dagger = "\N{DAGGER}" if task in score.as_never else ""
    regret = score.regrets[task]
    return {
        "text": f"{short_regret_text(regret)}{dagger}",
        "level": level_of(regret),
        "title": f"{ratio_text(score.ratios[task])} times the loss of never",
    }


def _task(task: str, comparison: Comparison, finisher: str) -> dict[str, Any]:
    facts = f"{count(len(comparison.seeds), 'seed')}, {amount(comparison.budget)} GE, then {finisher}"
    return {
        "name": task,
        "title": comparison.title,
        "facts": facts,
        "sentences": swap_time_sentences(comparison, finisher),
    }
