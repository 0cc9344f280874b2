"""A comparison as tables: flat rows, pandas, xarray, and Markdown for a paper."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from landscape.comparison.arm import Arm, ArmResult
from landscape.comparison.comparison import Comparison
from landscape.comparison.phrases import epoch_text, metric_name, short_regret
from landscape.comparison.response import FloatArray, fixed_values, worst_where_missing
from landscape.comparison.scores import NEVER, PolicyScore, policy_scores, reference_scores
from landscape.comparison.statistics.regret import best_of, relative_regret
from landscape.comparison.statistics.wording import counted, p_text

if TYPE_CHECKING:
    import pandas as pd
    import xarray as xr

#: Numbers of every result: their unit, and what they are.
_NUMBERS = {
    "swap_epoch": ("epochs", "first-phase epochs before the swap; missing where it never swapped"),
    "probing_equivalents": ("GE", "gradient equivalents of the policy's measurements"),
    "gradient_equivalents": ("GE", "gradient equivalents spent at the end"),
    "seconds": ("s", "seconds of training, both phases, without measurements"),
    "target_equivalents": (
        "GE",
        "gradient equivalents until the training loss was at most the target; missing where it never was",
    ),
    "regret": ("1", "(loss - best) / best, where best is the lowest of the fixed epochs and never with that seed"),
}
_HEADINGS = (
    "way of spending the budget",
    "claim",
    "swap epoch",
    "loss",
    "regret (95 % interval)",
    "IQM of regret",
    "loss / never",
    "p (Holm)",
)
_MORE = ("probes, GE", "target reached", "failed")


def to_table(comparison: Comparison) -> list[dict[str, Any]]:
    """One flat row for each arm and seed.

    Parameters
    ----------
    comparison : Comparison
        All arms with all seeds.

    Returns
    -------
    list of dict
        In the order of the arms, then the seeds. ``arm`` names each arm uniquely; what does not exist is None. ``regret``
        refers to the best grid point with the arm's own finisher where policies swap to it, else with the first finisher.
    """
    names, claims = arm_names(comparison), {policy.name: policy.claim for policy in comparison.policies}
    measured = value_names(comparison)
    rows = []
    for arm, name in names.items():
        for result, regret in zip(comparison.of(arm), _regrets(comparison, arm).tolist(), strict=True):
            rows.append(
                {
                    "arm": name,
                    "kind": arm.kind,
                    "policy": arm.policy or None,
                    "claim": claims.get(arm.policy),
                    "finisher": arm.finisher or None,
                    "seed": result.seed,
                    "status": result.status,
                    "swap_epoch": result.swap_epoch,
                    **{metric: result.values.get(metric) for metric in measured},
                    "regret": None if math.isnan(regret) else regret,
                    "probing_equivalents": result.probing_equivalents,
                    "gradient_equivalents": result.gradient_equivalents,
                    "target_equivalents": result.target_equivalents,
                    "seconds": result.seconds,
                    "reason": result.reason,
                }
            )
    return rows


def to_pandas(comparison: Comparison) -> pd.DataFrame:
    """A data frame of :func:`to_table`; the swap epoch, which may be missing, is of pandas' type ``Int64``.

    Parameters
    ----------
    comparison : Comparison
        All arms with all seeds.

    Returns
    -------
    pandas.DataFrame
        One row for each arm and seed; missing numbers are NaN, missing texts None.
    """
    import pandas as pd

    numbers = [*value_names(comparison), *(name for name in _NUMBERS if name != "swap_epoch")]
    types = {"seed": "int64", "swap_epoch": "Int64", **dict.fromkeys(numbers, "float64")}
    frame: pd.DataFrame = pd.DataFrame(to_table(comparison)).astype(types)
    return frame


def to_xarray(comparison: Comparison) -> xr.Dataset:
    """A labelled data set with dimensions (arm, seed).

    Parameters
    ----------
    comparison : Comparison
        All arms with all seeds.

    Returns
    -------
    xarray.Dataset
        A variable for each value at the end, for regret, swap epoch, costs and status, with ``units`` and ``long_name``; the
        arms carry their kind, finisher and policy. Missing numbers are NaN.

    Raises
    ------
    ModuleNotFoundError
        If xarray is not installed.
    """
    try:
        import xarray as xr
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            "a comparison becomes a data set with xarray. Install it with `pip install 'torch-landscape[results]'`, or use "
            "to_pandas()."
        ) from error

    arms, dims = arm_names(comparison), ("arm", "seed")
    variables: dict[str, Any] = {}
    for name in value_names(comparison):
        described = {"units": "1", "long_name": f"{metric_name(name)} at the end"}
        variables[name] = (dims, np.stack([comparison.values(arm, name) for arm in arms]), described)
    for name, (unit, meaning) in _NUMBERS.items():
        rows = [_regrets(comparison, arm) if name == "regret" else _numbers(comparison.of(arm), name) for arm in arms]
        variables[name] = (dims, np.stack(rows), {"units": unit, "long_name": meaning})
    statuses = np.array([[result.status for result in comparison.of(arm)] for arm in arms], dtype=str)
    variables["status"] = (dims, statuses, {"long_name": "how the arm ended"})
    labels: dict[str, Any] = {"arm": list(arms.values()), "seed": list(comparison.seeds)}
    for name in ("kind", "finisher", "policy"):
        labels[name] = ("arm", np.array([getattr(arm, name) for arm in arms], dtype=str))
    about = {
        "title": comparison.title,
        "budget": comparison.budget,
        "metric": comparison.metric,
        "floor": comparison.floor,
    }
    return xr.Dataset(variables, coords=labels, attrs=about)


def to_markdown(comparison: Comparison, finisher: str | None = None, seconds: bool = False) -> str:
    """A table for a paper, with what it must say beside it.

    Parameters
    ----------
    comparison : Comparison
        All arms with all seeds.
    finisher : str, optional
        One of ``comparison.finishers``; by default the first.
    seconds : bool
        Add the median seconds of training. Without them, the same runs give the same text.

    Returns
    -------
    str
        One row for each policy that was asked and for never, by median regret; then the best fixed epoch, the controls and
        what never saw a first phase; below, a caption.

    Raises
    ------
    ValueError
        If policies do not swap to that finisher, or the deciding value was not measured.
    """
    finisher = _first(comparison) if finisher is None else finisher
    scores, references = policy_scores(comparison, finisher), reference_scores(comparison, finisher)
    asked = [score for score in scores if score.verdict != "not asked"]
    beside = [name for name in value_names(comparison) if name not in (comparison.metric, "swap_train_loss")]
    words = [name.replace("_", " ") for name in beside]
    headings = [*_HEADINGS, *words, *_MORE, *(["seconds"] if seconds else [])]
    lines = [_line(headings), _line(["---", "---", *["---:"] * (len(headings) - 2)])]
    for score in (*asked, *references):
        cells = _cells(score, beside)
        lines.append(_line([*cells, f"{score.seconds:.3g}"] if seconds else cells))
    return "\n".join([*lines, "", _caption(comparison, finisher, scores)]) + "\n"


def arm_names(comparison: Comparison) -> dict[Arm, str]:
    """Every arm with a name that no other one has: where two are alike, their kinds tell them apart."""
    arms = comparison.arms()
    names = [arm.name for arm in arms]
    return {arm: f"{arm.name} ({arm.kind})" if names.count(arm.name) > 1 else arm.name for arm in arms}


def value_names(comparison: Comparison) -> list[str]:
    """The values at the end that some result has: the one that decides, then by name."""
    found = {name for result in comparison.results for name in result.values}
    return sorted(found, key=lambda name: (name != comparison.metric, name))


def _regrets(comparison: Comparison, arm: Arm) -> FloatArray:
    """Of one arm, for each seed; an arm that ended without the value has lost infinitely, a seed that did not run nothing."""
    results = comparison.of(arm)
    finisher = arm.finisher if arm.finisher in comparison.finishers else _first(comparison)
    best = best_of(fixed_values(comparison, finisher)).losses
    losses = worst_where_missing(comparison.values(arm))
    asked = np.array([result.status != "unavailable" for result in results])
    return np.where(asked, relative_regret(losses, best, comparison.floor), np.nan)


def _first(comparison: Comparison) -> str:
    if not comparison.finishers:
        raise ValueError(
            "the comparison has no finisher (finishers=()), so there is nothing that a policy could swap to."
        )
    return comparison.finishers[0]


def _numbers(results: Sequence[ArmResult], name: str) -> FloatArray:
    values = [getattr(result, name) for result in results]
    return np.array([math.nan if value is None else value for value in values], dtype=np.float64)


def _cells(score: PolicyScore, beside: Sequence[str]) -> list[str]:
    regret, equal = short_regret(score.regret.estimate), score.against_never.num_ties == score.against_never.n
    if not math.isnan(score.regret.low) and not math.isnan(score.regret.high):
        regret += f" ({short_regret(score.regret.low)} to {short_regret(score.regret.high)})"
    name = f"*{score.name}*" if score.name == NEVER else score.name
    return [
        name,
        score.claim or "-",
        _epochs(score),
        f"{score.median_loss:.3g}",
        regret,
        short_regret(score.interquartile_regret),
        f"{score.ratio_to_never:.3g}",
        "-" if equal else p_text(score.p_holm).removeprefix("p ").removeprefix("= "),
        *(f"{score.medians.get(name, math.nan):.3g}" for name in beside),
        f"{score.probing:.3g}",
        _reached(score),
        f"{score.num_failed} of {len(score.losses)}",
    ]


def _reached(score: PolicyScore) -> str:
    target = score.target
    told = f"{target.num_reached} of {target.num_seeds}"
    return f"{told} after {target.equivalents:.3g} GE" if math.isfinite(target.equivalents) else told


def _epochs(score: PolicyScore) -> str:
    """The median, and the range where seeds differ."""
    told, known = epoch_text(score.median_epoch), score.epochs
    if not known or min(known) == max(known):
        return told
    return f"{told} ({epoch_text(min(known))} to {epoch_text(max(known))})"


def _line(cells: Sequence[str]) -> str:
    escaped = (" ".join(cell.split()).replace("|", "\\|") for cell in cells)
    return f"| {' | '.join(escaped)} |"


def _caption(comparison: Comparison, finisher: str, scores: Sequence[PolicyScore]) -> str:
    grid = ", ".join(map(str, comparison.grid)) or "none"
    seeds, metric = counted(len(comparison.seeds), "seed"), metric_name(comparison.metric)
    told = (
        f"{comparison.title or 'Comparison'}: {seeds}, {comparison.budget:g} gradient equivalents (GE) each, probes included; "
        f"policies swap to {finisher}. Loss: median {metric} at the end. Regret: median over the seeds of loss / best - 1, "
        "with a bootstrap interval of the median (x: loss / best); best is the lowest of the fixed epochs "
        f"({grid}) and never with that seed. p: paired sign-flip test against never (signed ranks where a loss is infinite), "
        "two-sided, after Holm's correction, for policies and for the rows below them apart; -: every loss is that of never."
    )
    if comparison.grid and len(comparison.seeds) > 1:
        told += " Best fixed epoch and controls: the epoch is chosen on the other seeds, each time."
    silent = [f"{score.name} ({score.reason})" for score in scores if score.verdict == "not asked"]
    return f"{told} Not asked: {', '.join(silent)}." if silent else told
