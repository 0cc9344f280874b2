"""What the suite found, as Markdown tables, and put into the documentation."""

from __future__ import annotations

import functools
import math
import re
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from landscape.cli.figure_files import figure_bytes
from landscape.comparison.across import Across, AcrossScore, across
from landscape.comparison.arm import Arm
from landscape.comparison.comparison import Comparison
from landscape.comparison.scores import reference_scores
from landscape.comparison.text import short_regret
from landscape.files import save_page, write_atomically
from landscape.plots.responses import plot_responses
from landscape.report.suite_page import suite_html

PAGE = "swap_suite.html"
IMAGE = "images/swap_suite.svg"


def tables(found: Mapping[str, Comparison]) -> dict[str, str]:
    """The tables of the suite's page in the documentation, by the names of their places there."""
    scores = across(found)
    return {"tasks": tasks_table(found), "policies": policies_table(scores), "work": work_table(found)}


def tasks_table(found: Mapping[str, Comparison]) -> str:
    """For each task what fixed swap epochs and baselines come to, as multiples of the loss of never swapping."""
    lines = [
        "| task | seeds | GE | loss of never | CG, early | best epoch | CG there | L-BFGS | Adam decays | decayed Adam |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    for name, comparison in found.items():
        never = comparison.values(Arm("never"))
        finisher = comparison.finishers[0]
        early = comparison.values(Arm("grid", finisher, epoch=comparison.grid[1]))
        references = {score.name: score for score in reference_scores(comparison, finisher)}
        best = references["best fixed epoch"]
        starts = [score.ratio_to_never for key, score in references.items() if key.endswith("(from start)")]
        cells = [
            name,
            str(len(comparison.seeds)),
            f"{comparison.budget:g}",
            f"{np.median(never):.3g}",
            _times(_ratio(comparison, early, never)),
            _epoch(best.median_epoch),
            _times(best.ratio_to_never),
            _times(references["lbfgs (control)"].ratio_to_never),
            _times(references["adam-cosine (control)"].ratio_to_never),
            _times(min(starts)),
        ]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def policies_table(scores: Across) -> str:
    """Median regret of every policy on every task, least median first."""
    lines = [
        f"| policy | claim | median | worst / never | better, worse | {' | '.join(scores.tasks)} |",
        "|---" * (5 + len(scores.tasks)) + "|",
    ]
    shown = [score for score in scores.policies if score.num_tasks == len(scores.tasks)]
    for score in [*([scores.best_fixed] if scores.best_fixed else []), *shown]:
        lines.append(_policy_row(score, scores))
    return "\n".join(lines)


def _policy_row(score: AcrossScore, scores: Across) -> str:
    cells = [
        f"`{score.name}`",
        score.claim or "",
        short_regret(score.median_regret),
        f"{_times(score.worst_against_never)} ({score.worst_task})",
        f"{score.num_better}, {score.num_worse}",
        *(short_regret(score.regrets[task]) + ("*" if task in score.as_never else "") for task in scores.tasks),
    ]
    return f"| {' | '.join(cells)} |"


def work_table(found: Mapping[str, Comparison]) -> str:
    """What it cost."""
    lines = [
        "| task | policy arms | branches | GE spent | GE of the policies' runs alone |",
        "|---|---|---|---|---|",
    ]
    for name, comparison in found.items():
        work = comparison.work
        spent = work.first_phase + work.probing + work.branches
        lines.append(f"| {name} | {work.num_policy_arms} | {work.num_branches} | {spent:,.0f} | {work.separate:,.0f} |")
    return "\n".join(lines)


def put_page(folder: Path, found: Mapping[str, Comparison], document: str) -> None:
    """Bring the documentation's page and figure up to date."""
    save_page(folder / PAGE, suite_html(found), document)
    write_atomically(folder / IMAGE, figure_bytes(functools.partial(plot_responses, found), "svg"))


def put_tables(folder: Path, made: Mapping[str, str]) -> None:
    """Put tables between their marks in the documentation."""
    page = folder / "swap_suite.md"
    text = page.read_text(encoding="utf-8")
    for name, table in made.items():
        mark = re.compile(rf"(<!-- {name} -->\n).*?(<!-- end -->)", re.DOTALL)
        text, count = mark.subn(lambda match, table=table: f"{match[1]}{table}\n{match[2]}", text)
        if count != 1:
            raise SystemExit(
                f"{page} has {count} places for the table {name!r}; it needs one, between <!-- {name} --> and <!-- end -->."
            )
    page.write_text(text, encoding="utf-8")


def _ratio(comparison: Comparison, losses: np.ndarray, never: np.ndarray) -> float:
    floor = comparison.floor
    return float(np.median(np.maximum(losses, floor) / np.maximum(never, floor)))


def _times(ratio: float) -> str:
    return "-" if math.isnan(ratio) else f"{ratio:.3g}" if ratio < 100 else f"{ratio:,.0f}"


def _epoch(epoch: float) -> str:
    return "never" if math.isinf(epoch) else f"{epoch:g}"
