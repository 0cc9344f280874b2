"""Does curvature measured once, on top of Adam's scale, make a second phase faster, and does it earn what it costs?

    python analyses/benchmarks/ritz_preconditioner.py                          # digits and burgers, 5 seeds: half an hour
    python analyses/benchmarks/ritz_preconditioner.py --tasks digits --seeds 2
    python analyses/benchmarks/ritz_preconditioner.py --table                  # what has been measured so far
    python analyses/benchmarks/ritz_preconditioner.py --tiny                   # seconds, to see that it runs

From the state in which Adam leaves the task (see second_phase_tasks.py), CG and L-BFGS go on with three metrics: none,
Adam's diagonal, and that with the k leading curvatures made equal, which Lanczos measures at the start with 1.25 k Hessian
products (2 gradient equivalents each). Compared is the lowest training loss within the budget, as a ratio to Adam's
diagonal alone on the same seed: "charged" with the products paid from the budget, "paid for" without, as where a
certificate or a monitor needed them anyway. Below 1 is better. The ratio at half the budget has the same price charged.
The check of the derivatives, which a problem's first Hessian product brings with it, is left out and not charged.
"""

from __future__ import annotations

import argparse
import functools
import json
import os
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

os.environ.setdefault("OMP_NUM_THREADS", "1")
sys.path.insert(0, str(Path(__file__).parent))

import torch
from second_phase_meter import Meter
from second_phase_tables import print_table, short, spread
from second_phase_tasks import TASKS, Task, start_of

from landscape.cost import Cost
from landscape.optim.conjugate_gradient import ConjugateGradient
from landscape.optim.descent import DescentOptimizer
from landscape.optim.lbfgs import LBFGS
from landscape.optim.preconditioner import from_adam, ritz_preconditioner

FOLDER = Path("runs/second-phase")
METHODS: dict[str, Callable[..., DescentOptimizer]] = {
    "cg": ConjugateGradient,
    "lbfgs": functools.partial(LBFGS, history=100),
}
PAIRS = (5, 10, 20, 40)
# What scales the parameters, and measured pairs in its variables.
METRICS = [("none", 0), ("adam", 0), *(("adam", pairs) for pairs in PAIRS), ("none", 10)]
CURVE_POINTS = 100


class Arm(NamedTuple):
    """A method in a metric."""

    method: str
    metric: str
    pairs: int

    def __str__(self) -> str:
        return f"{self.method}, {self.metric}" + (f" + {self.pairs} pairs" if self.pairs else "")


ARMS = [Arm(method, *metric) for method in METHODS for metric in METRICS]


def run_arm(task: Task, arm: Arm, seed: int, states: Path) -> dict[str, Any]:
    """Lowest loss against GE spent since the metric was there, and what the metric cost."""
    start = start_of(task, seed, states)
    problem = start.problem
    base = from_adam(start.adam, problem.parameters) if arm.metric == "adam" else None
    before: Cost = problem.cost.copy()
    pairs = min(arm.pairs, problem.num_params)
    metric = ritz_preconditioner(problem.hessian(verify=False), pairs, base=base) if pairs else base
    price = problem.cost.since(before).gradient_equivalents
    optimizer = METHODS[arm.method](problem.parameters, precond=metric, check_repeatable=False)
    meter, closure = Meter(problem, task.budget), problem.closure()
    while not meter.is_spent:
        spent = meter.spent
        optimizer.step(closure)
        assert optimizer.last is not None
        meter.see(optimizer.last.loss)
        if meter.spent == spent:
            break
    points = [task.budget * index / CURVE_POINTS for index in range(CURVE_POINTS + 1)]
    points = sorted({*points, *(max(at - price, 0.0) for at in (task.budget, task.budget / 2))})
    return {"price": price, "curve": meter.curve(points), "seconds": meter.seconds}


class Results:
    """What has been measured, by task, arm and seed."""

    def __init__(self, path: Path) -> None:
        self.path = path
        lines = [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []
        self.lines = {(line["task"], Arm(*line["arm"]), line["seed"]): line for line in lines}

    def add(self, task: Task, arm: Arm, seed: int, found: dict[str, Any]) -> None:
        """Keep a line, in the file too."""
        line = {"task": task.name, "arm": list(arm), "seed": seed, **found}
        self.lines[task.name, arm, seed] = line
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with self.path.open("a") as file:
            file.write(json.dumps(line) + "\n")

    def lowest(self, task: Task, arm: Arm, at: float, *, charged: bool) -> dict[int, float]:
        """The lowest loss within ``at`` GE, by seed; the metric's price is part of them if it is charged."""
        found = {}
        for (name, which, seed), line in self.lines.items():
            if (name, which) == (task.name, arm):
                left = at - (line["price"] if charged else 0.0)
                found[seed] = min(loss for spent, loss in line["curve"] if spent <= max(left, 0.0) + 1e-6)
        return found

    def ratios(self, task: Task, arm: Arm, at: float, *, charged: bool) -> list[float]:
        """To the same method with Adam's scale alone, on the seeds that both have."""
        ours = self.lowest(task, arm, at, charged=charged)
        theirs = self.lowest(task, Arm(arm.method, "adam", 0), at, charged=charged)
        return [ours[seed] / theirs[seed] for seed in sorted(ours.keys() & theirs.keys())]


def table_of(results: Results, task: Task) -> None:
    """One row an arm."""
    rows = []
    for arm in ARMS:
        found = results.lowest(task, arm, task.budget, charged=True)
        if not found:
            continue
        price = max(line["price"] for key, line in results.lines.items() if key[:2] == (task.name, arm))
        charged = results.ratios(task, arm, task.budget, charged=True)
        rows.append(
            [
                str(arm),
                f"{price:g}",
                spread(found.values()),
                spread(charged),
                f"{sum(ratio < 1 for ratio in charged)} of {len(charged)}",
                spread(results.ratios(task, arm, task.budget / 2, charged=True)),
                spread(results.ratios(task, arm, task.budget, charged=False)),
            ]
        )
    title = f"{task.name}: lowest loss after {short(task.budget)} GE, and ratios to Adam's scale alone; median [least, most]"
    header = ["arm", "price (GE)", "loss, charged", "ratio, charged", "lower", "at half", "paid for"]
    print_table(title, header, rows)


def missing(results: Results, tasks: list[Task], seeds: int) -> Iterator[tuple[Task, Arm, int]]:
    """What is still to be measured; seeds outside, so that tables fill evenly."""
    for task in tasks:
        for seed in range(seeds):
            for arm in ARMS:
                if (task.name, arm, seed) not in results.lines:
                    yield task, arm, seed


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tasks", nargs="+", choices=list(TASKS), default=["digits", "burgers"])
    parser.add_argument("--seeds", type=int, default=5, help="how many")
    parser.add_argument("--states", type=Path, help=f"folder of the start states; default {FOLDER / 'states'}")
    parser.add_argument("--results", type=Path, help=f"default {FOLDER / 'ritz.jsonl'}")
    parser.add_argument("--table", action="store_true", help="only print what is in the results")
    parser.add_argument("--tiny", action="store_true", help="4 GE from 2 epochs, one seed; keeps nothing")
    chosen = parser.parse_args()
    torch.set_num_threads(1)
    tasks = [TASKS[name].tiny() if chosen.tiny else TASKS[name] for name in chosen.tasks]
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch) if chosen.tiny else FOLDER
        results = Results(chosen.results or folder / "ritz.jsonl")
        if not chosen.table:
            for task, arm, seed in missing(results, tasks, 1 if chosen.tiny else chosen.seeds):
                results.add(task, arm, seed, run_arm(task, arm, seed, chosen.states or folder / "states"))
                print(f"{task.name}, {arm}, seed {seed}", file=sys.stderr, flush=True)
        for task in tasks:
            table_of(results, task)


if __name__ == "__main__":
    main()
