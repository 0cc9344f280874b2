"""Tables of what second_phase.py has measured, and of what the project promises about it."""

from __future__ import annotations

import json
import math
import statistics
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from second_phase_peers import PEERS
from second_phase_tasks import Task

from landscape.specs import parse_spec

#: Budgets that the tables show, in GE.
BUDGETS = {"digits": (25, 100, 200, 400), "burgers": (100, 300, 1000), "vit": (5, 10, 20, 30)}
#: Ours that stand for a family of methods when they are compared with the peers of that family.
FAMILIES = ("cg", "lbfgs")
GOLDEN = "cg:line_search=golden,xtol=nr"
PEER_MARGIN = 1.05


def setup_of(task: Task) -> dict[str, Any]:
    """What decides where Adam leaves a task, and what it costs to go on: results of another setup are no results of it."""
    return {"learning_rate": task.learning_rate, "batch_size": task.batch_size, "epochs": task.epochs}


class Results:
    """Lines of results; of several for the same task, arm, seed and budget the last one."""

    def __init__(self, lines: Iterable[dict[str, Any]]) -> None:
        self._lines = {(line["task"], line["arm"], line["seed"], line["budget"]): line for line in lines}

    @classmethod
    def read(cls, path: Path) -> Results:
        """From a file, which need not be there; a line that was cut off when a run was killed is passed over."""
        lines = []
        for text in path.read_text().splitlines() if path.exists() else []:
            try:
                lines.append(json.loads(text))
            except json.JSONDecodeError:
                continue
        return cls(lines)

    def has(self, task: Task, arm: str, seed: int) -> bool:
        """Whether it has been measured."""
        return seed in self.of(task, arm)

    def of(self, task: Task, arm: str) -> dict[int, dict[str, Any]]:
        """The lines of an arm by seed."""
        return {
            seed: line
            for (name, other, seed, budget), line in sorted(self._lines.items(), key=lambda item: item[0][2])
            if (name, other, budget) == (task.name, arm, task.budget)
            and line.get("setup", setup_of(task)) == setup_of(task)
        }

    def arms(self, task: Task) -> list[str]:
        """What has been measured on a task."""
        names = dict.fromkeys(arm for name, arm, _, budget in self._lines if (name, budget) == (task.name, task.budget))
        return [arm for arm in names if self.of(task, arm)]

    def mixed_starts(self, task: Task) -> list[int]:
        """Seeds on which arms began at different losses, so that their states were not the same."""
        starts: dict[int, set[float]] = {}
        for arm in self.arms(task):
            for seed, line in self.of(task, arm).items():
                starts.setdefault(seed, set()).add(float(short(line["start"])))
        return [seed for seed, values in starts.items() if len(values) > 1]

    def lowest(self, task: Task, arm: str, at: float | None = None) -> dict[int, float]:
        """Lowest loss within a budget, by seed; default: the task's whole budget."""
        return {
            seed: line["lowest"] if at is None else dict(map(tuple, line["curve"]))[at]
            for seed, line in self.of(task, arm).items()
        }

    def median(self, task: Task, arm: str, at: float | None = None) -> float:
        """Over the seeds; NaN if there are none."""
        return middle(self.lowest(task, arm, at).values())

    def ratio(self, task: Task, arm: str, other: str, at: float | None = None) -> float:
        """Median of the ratio on the same seed; NaN if they have none in common."""
        above, below = self.lowest(task, arm, at), self.lowest(task, other, at)
        return middle(above[seed] / below[seed] for seed in above.keys() & below.keys())

    def tuned_adam(self, task: Task) -> str | None:
        """The best of the Adams that go on with their own batch size, among those on the most seeds."""
        adams = [arm for arm in self.arms(task) if arm.startswith("torch-adam:") and "batch=" not in arm]
        most = max((len(self.of(task, arm)) for arm in adams), default=0)
        adams = [arm for arm in adams if len(self.of(task, arm)) == most]
        return min(adams, key=lambda arm: self.median(task, arm), default=None)

    def peers(self, task: Task, family: str) -> list[str]:
        """Arms of others that are of the same family of methods as ours."""
        names = {name for name, peer in PEERS.items() if peer.family == family}
        return [arm for arm in self.arms(task) if parse_spec(arm)[0] in names]


def middle(values: Iterable[float]) -> float:
    """The median, or NaN of nothing."""
    values = list(values)
    return statistics.median(values) if values else math.nan


def spread(values: Iterable[float]) -> str:
    """Median and range."""
    values = list(values)
    return f"{short(statistics.median(values))} [{short(min(values))}, {short(max(values))}]"


def short(value: float) -> str:
    """Three digits."""
    return f"{value:.3g}" if value >= 1e-3 or value == 0 or math.isnan(value) else f"{value:.1e}"


def shown_budgets(task: Task) -> list[float]:
    """What the tables show of a task, the whole budget last."""
    return [at for at in BUDGETS[task.name] if at < task.budget] + [task.budget]


def print_table(title: str, header: list[str], rows: list[list[str]]) -> None:
    print(f"\n### {title}\n\n| {' | '.join(header)} |\n|{' --- |' * len(header)}")
    for row in rows:
        print(f"| {' | '.join(row)} |", flush=True)


def print_tables(results: Results, tasks: list[Task]) -> None:
    """One table a task, best arm first, and the one of the checks."""
    for task in tasks:
        _print_task(results, task)
    rows = [row for task in tasks for row in checks(results, task)]
    print_table("Checks", ["task", "requirement", "measured", "met"], rows)


def _print_task(results: Results, task: Task) -> None:
    budgets = shown_budgets(task)
    tuned = results.tuned_adam(task)
    rows = []
    for arm in sorted(results.arms(task), key=lambda arm: results.median(task, arm)):
        lines = results.of(task, arm).values()
        ratio = results.ratio(task, arm, tuned) if tuned else math.nan
        rows.append(
            [
                arm + (" = tuned Adam" if arm == tuned else ""),
                *(spread(results.lowest(task, arm, at).values()) for at in budgets),
                short(ratio),
                f"{middle(line['spent'] / max(line['steps'], 1) for line in lines):.2f}",
                f"{middle(line['seconds'] for line in lines):.0f}",
                str(len(lines)),
                _remark(lines),
            ]
        )
    start = middle(line["start"] for arm in results.arms(task) for line in results.of(task, arm).values())
    header = ["", *(f"{at:g} GE" for at in budgets), "/ tuned Adam", "GE a step", "seconds", "seeds", ""]
    title = (
        f"{task.name}: lowest training loss, median [least, most] over seeds; {short(start)} at the start, after "
        f"{task.epochs} epochs of Adam at {task.learning_rate:g} on batches of {task.batch_size or 'all data'}"
    )
    print_table(title, header, rows)
    for seed in results.mixed_starts(task):
        print(f"\nOn seed {seed} arms began at different losses: measure them again from one state (`--again`).")


def _remark(lines: Iterable[dict[str, Any]]) -> str:
    """What is not as usual."""
    lines = list(lines)
    remarks = sorted({line["status"] for line in lines} - {"the budget is spent"})
    starts = max(line.get("starts", 1) for line in lines)
    return "; ".join(remarks + ([f"started up to {starts} times"] if starts > 1 else []))


@dataclass(frozen=True)
class Requirement:
    """Something that shall hold on one task: a measured value, and the bound that it must keep."""

    task: str
    text: str
    measured: Callable[[Results, Task], float]
    at_most: float = math.inf
    at_least: float = -math.inf

    def row(self, results: Results, task: Task) -> list[str]:
        """Its line in the table."""
        value = self.measured(results, task)
        if math.isnan(value):
            return [task.name, self.text, "", "not measured"]
        return [task.name, self.text, short(value), "yes" if self.at_least <= value <= self.at_most else "**no**"]


def to_tuned_adam(arm: str) -> Callable[[Results, Task], float]:
    """Ratio of an arm's loss to tuned Adam's."""

    def measured(results: Results, task: Task) -> float:
        tuned = results.tuned_adam(task)
        return results.ratio(task, arm, tuned) if tuned else math.nan

    return measured


def cost_of_a_step(results: Results, task: Task) -> float:
    """GE that an accepted step of the default conjugate gradients costs, all in all."""
    return middle(line["spent"] / max(line["steps"], 1) for line in results.of(task, "cg").values())


REQUIREMENTS = (
    Requirement("digits", "cg at most 0.8 of tuned Adam", to_tuned_adam("cg"), at_most=0.8),
    Requirement("digits", "lbfgs at most 0.35 of tuned Adam", to_tuned_adam("lbfgs"), at_most=0.35),
    Requirement(
        "digits",
        "cg with the golden section of Numerical Recipes at least 3 times cg",
        lambda results, task: results.ratio(task, GOLDEN, "cg"),
        at_least=3.0,
    ),
    Requirement("burgers", "cg at most 0.010", lambda results, task: results.median(task, "cg"), at_most=0.010),
    Requirement("burgers", "lbfgs at most 0.004", lambda results, task: results.median(task, "lbfgs"), at_most=0.004),
    Requirement(
        "burgers", "ssbroyden at most 1e-4", lambda results, task: results.median(task, "ssbroyden"), at_most=1e-4
    ),
    *(
        Requirement(name, "an accepted step of cg at most 1.4 GE", cost_of_a_step, at_most=1.4)
        for name in ("digits", "burgers", "vit")
    ),
)


def checks(results: Results, task: Task) -> list[list[str]]:
    """A line for each requirement, and one for each peer of a family."""
    rows = [requirement.row(results, task) for requirement in REQUIREMENTS if requirement.task == task.name]
    for family in FAMILIES:
        rows += [_against(results, task, family, peer) for peer in results.peers(task, family)]
    return rows


def _against(results: Results, task: Task, ours: str, peer: str) -> list[str]:
    """Ours compared with a peer of the same family at every budget of the tables."""
    budgets = shown_budgets(task)
    text = f"{ours} at most {PEER_MARGIN} of {peer}, at {', '.join(f'{at:g}' for at in budgets)} GE"
    ratios = [results.ratio(task, ours, peer, at) for at in budgets]
    if any(math.isnan(ratio) for ratio in ratios):
        return [task.name, text, "", "not measured"]
    return [task.name, text, ", ".join(map(short, ratios)), "yes" if max(ratios) <= PEER_MARGIN else "**no**"]
