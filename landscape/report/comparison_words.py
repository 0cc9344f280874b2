"""Regrets, ratios, p-values and reasons of a comparison as its pages write them."""

from __future__ import annotations

import math
from collections.abc import Mapping

from landscape.comparison import phrases, words
from landscape.comparison.scores import ALPHA, PolicyScore
from landscape.comparison.statistics.wording import p_text
from landscape.report.words import count, number

#: What stands where there is nothing to say.
NOTHING = "\N{EN DASH}"
#: Letters of a reason on a page, at most; the JSON document has all.
_REASON = 240

#: What two ends of an interval need not say twice.
_UNITS = ("\N{NO-BREAK SPACE}%", "\N{NO-BREAK SPACE}times\N{NO-BREAK SPACE}the\N{NO-BREAK SPACE}best")

#: Class, sign and word of each verdict: shape and word tell it without colour.
MARKS: Mapping[str, tuple[str, str, str]] = {
    "better than never": ("for", "+", "better than never"),
    "worse than never": ("against", "\N{MINUS SIGN}", "worse than never"),
    "no difference found": ("undecided", "?", "no difference found"),
    "not asked": ("missing", NOTHING, "not asked"),
}


def regret_text(regret: float) -> str:
    r"""A regret as the verdict tells it, kept on one line.

    Examples
    --------
    >>> regret_text(0.123), regret_text(0.0), regret_text(float("inf")), regret_text(float("nan"))
    ('12\xa0%', '0\xa0%', 'infinite', '–')
    """
    return NOTHING if math.isnan(regret) else phrases.regret_text(regret).replace(" ", "\N{NO-BREAK SPACE}")


def short_regret_text(regret: float) -> str:
    r"""A regret in a narrow cell: multiples of the best with a sign.

    Examples
    --------
    >>> short_regret_text(0.123), short_regret_text(32.6)
    ('12\xa0%', '33.6×')
    """
    return regret_text(regret).replace(_UNITS[1], "\N{MULTIPLICATION SIGN}")


def interval_text(score: PolicyScore) -> str:
    """The interval of a median regret; empty where there is none."""
    low, high = score.regret.low, score.regret.high
    if math.isnan(low) or math.isnan(high):
        return ""
    ends = regret_text(low), regret_text(high)
    unit = next((unit for unit in _UNITS if all(end.endswith(unit) for end in ends)), "")
    return f"{ends[0].removesuffix(unit)} to\N{NO-BREAK SPACE}{ends[1]}"


def ratio_text(ratio: float) -> str:
    """Loss over loss of never.

    Examples
    --------
    >>> ratio_text(0.01234), ratio_text(float("inf")), ratio_text(float("nan"))
    ('0.0123', 'infinite', '–')
    """
    if math.isnan(ratio):
        return NOTHING
    return f"{ratio:.3g}" if math.isfinite(ratio) else "infinite"


def p_value_text(p_value: float) -> str:
    """A p-value without its letter.

    Examples
    --------
    >>> p_value_text(0.0312), p_value_text(0.0001), p_value_text(float("nan"))
    ('.031', '< .001', '–')
    """
    return NOTHING if math.isnan(p_value) else p_text(p_value).removeprefix("p ").removeprefix("= ")


def seeds_needed_text(score: PolicyScore) -> str:
    """How many seeds would tell, where a difference was looked for and not found."""
    if score.verdict != "no difference found" or words.is_never(score):
        return ""
    needed = score.against_never.seeds_needed(alpha=ALPHA)
    return "" if needed is None else f"one test: about {count(needed, 'seed')}"


def reason_text(reason: str) -> str:
    r"""The last line of a reason, which says most of an error; shortened if it is long.

    Examples
    --------
    >>> reason_text("Traceback:\n  File\nValueError: no such column\n"), reason_text("")
    ('ValueError: no such column', '')
    """
    lines = [line.strip() for line in reason.splitlines() if line.strip()]
    text = lines[-1] if lines else ""
    return text if len(text) <= _REASON else f"{text[: _REASON - 1]}\N{HORIZONTAL ELLIPSIS}"


def seeds_text(seeds: tuple[int, ...], num_seeds: int) -> str:
    """Which seeds.

    Examples
    --------
    >>> seeds_text((0, 1, 2), 3), seeds_text((4,), 5), seeds_text((1, 3), 5)
    ('all 3 seeds', 'seed 4', 'seeds 1, 3')
    """
    if len(seeds) == num_seeds > 1:
        return f"all {count(num_seeds, 'seed')}"
    return f"seed{'' if len(seeds) == 1 else 's'} {', '.join(map(str, seeds))}"


def loss_text(loss: float) -> str:
    """A loss, or its absence."""
    return NOTHING if math.isnan(loss) else number(loss)
