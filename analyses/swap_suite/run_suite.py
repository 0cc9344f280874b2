r"""Compare all swap criteria on all tasks of the suite: tables, figures and pages.

    python analyses/swap_suite/run_suite.py --output swap_suite --jobs 2          # under two hours on two cores
    python analyses/swap_suite/run_suite.py --output tiny --tiny                  # under two minutes
    python analyses/swap_suite/run_suite.py --output big --full --cluster slurm   # GPUs
    python analyses/swap_suite/run_suite.py --output held_out --held-out --jobs 2 # six other tasks

Whatever is in the folder is not computed again, so a run that was stopped goes on where it was.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path

import torch
from held_out import HELD_OUT
from suite_task import SuiteTask
from summary import put_page, put_tables, tables
from tasks import TASKS

import landscape as ls
from landscape.comparison.across import across
from landscape.comparison.comparison import Comparison
from landscape.comparison.running.executor import Executor
from landscape.experiment.problems import accuracy
from landscape.files import save_page
from landscape.report.suite_page import suite_html

#: What practitioners write for policies without defaults, and the readings of the paper's rule.
SHARES = (0.1, 0.3, 0.6, 0.8)
PEAKS = {
    "gradient-norm-peak (faithful)": "gradient-norm-peak:norm=mean_batch,min_epochs=2",
    "gradient-norm-peak (rise)": "gradient-norm-peak:norm=mean_batch,require_rise=true",
}
#: Tasks that have an accuracy.
CLASSIFIED = ("digits", "mnist", "fashion", "recurrent", "breast")
CONTROLS = ("lbfgs", "adam-cosine", "adam-full-batch")


def asked_policies(budget: float) -> dict[str, str]:
    """All policies: with their defaults, and those that have none at several shares of the budget."""
    needed = ("after-epochs", "budget-share", "search-failures")
    chosen = {name: name for name in ls.policies.names() if name not in needed}
    chosen["step-price (late 0.8)"] = "step-price:late=0.8,min_left=10"
    shares = {f"budget-share {share:g}": f"budget-share:budget={budget:g},share={share:g}" for share in SHARES}
    return {**PEAKS, **chosen, **shares}


def compare_task(task: SuiteTask, options: argparse.Namespace, executor: Executor | int) -> Comparison:
    """One task, from what is in the store and what has still to be run."""
    grid = [0, *(max(1, round(share * task.budget)) for share in (0.01, 0.02, 0.05, 0.1, 0.2, 0.4, 0.6, 0.8))]
    found = ls.compare(
        task.make_problem,
        title=task.title,
        policies=asked_policies(task.budget),
        first=task.first,
        finishers={"cg": task.second("cg")},
        controls={name: task.second(name) for name in CONTROLS},
        control_epochs=sorted({grid[2], grid[4], grid[6]}),
        from_start={name: task.second(name) for name in task.from_start},
        grid=sorted(set(grid)),
        seeds=task.seeds if options.seeds is None else min(task.seeds, options.seeds),
        budget=ls.GradientEquivalents(task.budget),
        metric=task.metric,
        metrics={"accuracy": accuracy} if task.name.startswith(CLASSIFIED) else {},
        store=options.output / "store" / task.name,
        executor=executor,
        retry=options.retry,
    )
    found.save(options.output / f"{task.name}.html")
    return found


def across_json(found: Mapping[str, Comparison]) -> str:
    """What the suite's page says, as data."""
    return json.dumps(asdict(across(found)), indent=1) + "\n"


def executor_of(options: argparse.Namespace) -> Executor | int:
    """Local processes, or a cluster."""
    if options.cluster is None:
        return int(options.jobs)
    from landscape.comparison.running.cluster import ClusterExecutor

    return ClusterExecutor(options.output / "cluster", cluster=options.cluster, max_concurrent=options.jobs)


def main() -> None:
    """Run, and write what was found."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--held-out", action="store_true", help=f"other tasks: {', '.join(HELD_OUT)}")
    parser.add_argument("--tasks", nargs="+", metavar="TASK", help=f"some of {', '.join(TASKS)}, or of those held out")
    parser.add_argument("--output", type=Path, required=True, help="folder for results, tables and pages")
    parser.add_argument("--jobs", type=int, default=1, help="local processes, or jobs on the cluster at a time")
    parser.add_argument("--cluster", choices=("slurm", "local"), help="submit jobs instead (needs submitit)")
    parser.add_argument("--seeds", type=int, help="at most so many seeds")
    size = parser.add_mutually_exclusive_group()
    size.add_argument("--tiny", action="store_true", help="seconds a task, to see that it runs")
    size.add_argument("--full", action="store_true", help="the sizes of papers, for GPUs")
    parser.add_argument(
        "--docs", type=Path, help="bring the tables (and the page and figure) in this folder up to date"
    )
    parser.add_argument("--retry", action="store_true", help="try again what crashed before")
    options = parser.parse_args()
    suite = HELD_OUT if options.held_out else TASKS
    unknown = set(options.tasks or ()) - suite.keys()
    if unknown:
        parser.error(f"there is no task {', '.join(sorted(unknown))}; known are {', '.join(suite)}.")
    torch.set_num_threads(1)  # as in the workers
    options.output.mkdir(parents=True, exist_ok=True)
    found: dict[str, Comparison] = {}
    for name in options.tasks or suite:
        task = suite[name].tiny() if options.tiny else suite[name].full() if options.full else suite[name]
        began = time.perf_counter()
        found[name] = compare_task(task, options, executor_of(options))
        sys.stdout.write(f"{name}: {time.perf_counter() - began:.0f} s\n{found[name]}\n\n")
        sys.stdout.flush()
        save_page(options.output / "suite.html", suite_html(found), across_json(found))
    made = tables(found)
    for name, table in made.items():
        sys.stdout.write(f"\n{name}\n\n{table}\n")
    if options.docs is not None and options.held_out:
        put_tables(options.docs, {f"held-out-{name}": table for name, table in made.items() if name != "work"})
    elif options.docs is not None:
        put_tables(options.docs, made)
        put_page(options.docs, found, across_json(found))
    sys.stdout.write(f"\n{across(found)}\n\n{options.output / 'suite.html'}\n")


if __name__ == "__main__":
    main()
