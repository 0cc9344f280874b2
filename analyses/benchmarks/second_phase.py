"""Which second phase reaches the lowest training loss at equal cost, from the same state of Adam?

    pip install -c constraints.txt -e . -r analyses/benchmarks/requirements-second-phase.txt
    python analyses/benchmarks/second_phase.py                            # digits and burgers, 5 seeds: hours on one core
    python analyses/benchmarks/second_phase.py --tasks vit                # a day
    python analyses/benchmarks/second_phase.py --tasks digits --arms cg 'lbfgs*' scipy-cg --seeds 2
    python analyses/benchmarks/second_phase.py --table                    # what has been measured so far
    python analyses/benchmarks/second_phase.py --tiny                     # a minute, to see that it runs

Every arm continues from the same parameters and the same moments of Adam. The unit is the gradient equivalent (GE): a
gradient over all data costs 1, a forward pass 1/3, a Hessian-vector product 2, a step of Adam on b of N samples b/N. What
is compared is the lowest loss over *all* training data at any point reached within the budget. Adam and the phases on
samples of the data are told it at the end of each pass or step for nothing. Ours count what a finished step leaves in
the model, peers every evaluation they make (see second_phase_peers.py).

``torch-adam`` is the Adam that led to the start, going on with its moments and its batch size at another learning rate,
constant or decayed to zero at the end of the budget along a cosine; the best of them *on the result*, chosen for each
task by its median, is the "tuned Adam" of the tables. Smaller batches (``batch=128``) give Adam more steps for the same
price, and all data (``batch=all``) fewer; they stand in the tables, but are not what "tuned Adam" chooses from.

Each result is a line of JSON, written when it is there; a run that was stopped goes on where it was, and a later line
replaces an earlier one of the same task, arm, seed and budget (``--again``). What cannot be run here (a peer that is not
installed, a phase that this version does not know) is named on stderr.
"""

from __future__ import annotations

import argparse
import fnmatch
import importlib.metadata
import json
import math
import os
import sys
import tempfile
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")
sys.path.insert(0, str(Path(__file__).parent))

import torch
from second_phase_meter import Meter
from second_phase_peers import PEERS, run_peer
from second_phase_tables import Results, print_tables, setup_of, shown_budgets
from second_phase_tasks import TASKS, Start, Task, start_of

from landscape.specs import parse_spec
from landscape.status import Status
from landscape.training.full_batch_phase import FullBatchPhase
from landscape.training.phases import MiniBatches, Remaining
from landscape.training.registry import build_second

FOLDER = Path("runs/second-phase")
CURVE_POINTS = 50
RATES = {"vit": (3e-4, 1e-3)}
ALL_RATES = (3e-4, 1e-3, 3e-3, 1e-2, 3e-2)
OURS = (
    "cg",
    "cg:precond=none",
    "cg:line_search=golden,xtol=nr",
    "lbfgs",
    "lbfgs:precond=none",
    "ssbroyden",
    "newton-cg",
    "adam-cosine",
    "adam-full-batch",
    "cg:batch=norm-test",
    "lbfgs:batch=norm-test",
)
# A matrix of n x n numbers, and what would take a day more.
NOT_ON_VIT = ("ssbroyden", "newton-cg", "torchmin-*", "ncg-optimizer", "*history=10", "scipy-lbfgs*")
# Their first phase takes full batches already.
NOT_ON_BURGERS = ("*batch=norm-test", "torch-adam:*batch=all", "adam-full-batch")
THEIRS = (
    "scipy-cg",
    "torchmin-cg",
    "ncg-optimizer",
    "scipy-lbfgs:history=100",
    "scipy-lbfgs:history=10",
    "torch-lbfgs:history=100",
    "torch-lbfgs:history=10",
    "torchmin-lbfgs",
)


class NotHereError(Exception):
    """An arm that this version, this environment or this task does not have."""


def arms_of(task: str) -> list[str]:
    """What is compared on a task unless the command line says otherwise."""
    rates = RATES.get(task, ALL_RATES)
    adams = [f"torch-adam:lr={rate:g}{rest}" for rest in ("", ",schedule=cosine") for rate in rates]
    adams += [f"torch-adam:lr={rate:g},batch=all" for rate in rates]
    if task == "digits":  # more steps for the same price
        adams += [f"torch-adam:lr={rate:g},batch={size}" for size in (128, 32) for rate in (1e-3, 3e-3, 1e-2)]
    left_out = {"vit": NOT_ON_VIT, "burgers": NOT_ON_BURGERS}.get(task, ())
    arms = [*OURS, *adams, *THEIRS]
    return [arm for arm in arms if not any(fnmatch.fnmatchcase(arm, pattern) for pattern in left_out)]


def chosen_arms(task: str, patterns: list[str] | None) -> list[str]:
    """Patterns choose among the usual arms; what matches none of them is an arm of its own, by its spec."""
    usual = arms_of(task)
    if patterns is None:
        return usual
    arms: list[str] = []
    for pattern in patterns:
        found = fnmatch.filter(usual, pattern)
        arms += found if found or any(c in pattern for c in "*?[") else [pattern]
    return list(dict.fromkeys(arms))


def take_over(phase: Any, start: Start, task: Task) -> None:
    """Hand the first phase to the second, as the trainer does at the swap."""
    problem = start.problem
    first = MiniBatches(batch_size=task.batch_size or problem.num_samples).start(problem, torch.Generator())
    first.optimizer = start.adam
    if hasattr(phase, "take_over"):
        phase.take_over(first, Remaining(epochs=None, gradient_equivalents=task.budget))


def run_ours(spec: str, start: Start, task: Task, generator: torch.Generator, meter: Meter) -> dict[str, Any]:
    """A second phase of landscape, epoch by epoch: a step on all data, or steps worth a pass over them."""
    try:
        factory = build_second(spec)
        phase = factory.start(start.problem, generator)
    except ValueError as error:
        raise NotHereError(error) from error
    take_over(phase, start, task)
    # The losses that other phases know are those of samples, or of a model of more digits than the one that is kept.
    is_full_batch = type(phase) is FullBatchPhase
    accepted = 0
    status = "the budget is spent"
    while not meter.is_spent:
        before = meter.spent
        phase.run_epoch(lambda _: False)
        columns = phase.finish_epoch()
        meter.see(float(columns["loss"]) if is_full_batch else meter.free_loss())
        accepted += columns.get("status") == Status.ACCEPTED.name
        if meter.spent == before:
            status = f"stopped: {columns.get('status')}"
            break
    steps = accepted if is_full_batch else phase.num_steps
    return {"steps": steps, "status": status, "settings": factory.describe()}


def run_adam(
    start: Start,
    task: Task,
    generator: torch.Generator,
    meter: Meter,
    *,
    lr: float,
    schedule: str = "constant",
    batch: int | str | None = None,
) -> dict[str, Any]:
    """The first phase's own Adam going on, at another learning rate, or on batches of another size ("all" data)."""
    problem, adam = start.problem, start.adam
    num_epochs = int(meter.budget)
    wanted = batch or task.batch_size or "all"
    size = problem.num_samples if wanted == "all" else int(wanted)
    num_steps = num_epochs * math.ceil(problem.num_samples / size)
    whole = problem.closure()
    step = 0
    for _ in range(num_epochs):
        for piece in [None] if size == problem.num_samples else problem.minibatches(size, generator):
            decay = (1 + math.cos(math.pi * step / num_steps)) / 2 if schedule == "cosine" else 1.0
            for group in adam.param_groups:
                group["lr"] = lr * decay
            adam.zero_grad()
            if piece is None:
                whole()
            else:
                problem.minibatch_loss(piece).backward()
            adam.step()
            step += 1
        meter.see(meter.free_loss())
    return {"steps": step, "status": "the budget is spent", "settings": f"batches of {size}"}


def run_arm(task: Task, arm: str, seed: int, states: Path) -> dict[str, Any]:
    """One arm from one start.

    Raises
    ------
    NotHereError
        If the arm is not to be had here.
    """
    name, settings = parse_spec(arm)
    start = start_of(task, seed, states)
    generator = torch.Generator().manual_seed(1000 + seed)
    meter = Meter(start.problem, task.budget)
    if name == "torch-adam":
        outcome = run_adam(start, task, generator, meter, **settings)
    elif name in PEERS:
        try:
            outcome = run_peer(name, settings, meter)
        except ImportError as error:
            raise NotHereError(f"not installed here ({error})") from error
    else:
        outcome = run_ours(arm, start, task, generator, meter)
    grid = {task.budget * k / CURVE_POINTS for k in range(CURVE_POINTS + 1)}
    grid.update(shown_budgets(task))
    return {
        "task": task.name,
        "arm": arm,
        "seed": seed,
        "budget": task.budget,
        "setup": setup_of(task),
        "start": meter.start,
        "lowest": meter.lowest,
        "curve": meter.curve(sorted(grid)),
        "spent": meter.spent,
        "seconds": round(meter.seconds, 2),
        **outcome,
        "versions": versions(),
    }


def versions() -> dict[str, str]:
    """Of everything that takes part, as far as it is installed."""
    found = {"python": ".".join(str(part) for part in sys.version_info[:3])}
    for package in ("torch-landscape", "torch", "numpy", "scipy", "pytorch-minimize", "NCG-Optimizer"):
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def jobs(tasks: list[Task], patterns: list[str] | None, num_seeds: int) -> Iterator[tuple[Task, int, str]]:
    """All arms on one seed before the next seed, so that a comparison is there early."""
    for task in tasks:
        for seed in range(num_seeds):
            for arm in chosen_arms(task.name, patterns):
                yield task, seed, arm


def measure(todo: Iterator[tuple[Task, int, str]], states: Path, path: Path, again: bool) -> bool:
    """Run what is not in the file yet; False if something that is to be had here broke."""
    done = Results.read(path)
    left_out: set[tuple[str, str]] = set()
    is_whole = True
    for task, seed, arm in todo:
        if (task.name, arm) in left_out or (not again and done.has(task, arm, seed)):
            continue
        try:
            line = run_arm(task, arm, seed, states)
        except NotHereError as error:
            print(f"{task.name}, {arm}: left out, {error}", file=sys.stderr, flush=True)
            left_out.add((task.name, arm))
            continue
        except Exception:
            print(f"{task.name}, {arm}, seed {seed}: broke\n{traceback.format_exc()}", file=sys.stderr, flush=True)
            is_whole = False
            continue
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("a") as file:
            file.write(json.dumps(line) + "\n")
        told = f"{line['start']:.4g} -> {line['lowest']:.4g} in {line['spent']:.1f} GE, {line['steps']} steps"
        print(f"{task.name}, seed {seed}, {arm}: {told}, {line['seconds']:.0f} s", file=sys.stderr, flush=True)
    return is_whole


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tasks", nargs="+", choices=list(TASKS), default=["digits", "burgers"])
    parser.add_argument("--arms", nargs="+", help="patterns such as 'torch-adam*', or specs of second phases")
    parser.add_argument("--seeds", type=int, default=5, help="how many")
    parser.add_argument("--states", type=Path, help=f"folder of the start states; default {FOLDER / 'states'}")
    parser.add_argument("--results", type=Path, help=f"default {FOLDER / 'results.jsonl'}")
    parser.add_argument("--again", action="store_true", help="measure also what is in the results already")
    parser.add_argument("--table", action="store_true", help="only print what is in the results")
    parser.add_argument(
        "--tiny", action="store_true", help="4 GE from 2 epochs, one seed; keeps nothing unless told where"
    )
    chosen = parser.parse_args()
    torch.set_num_threads(1)
    tasks = [TASKS[name].tiny() if chosen.tiny else TASKS[name] for name in chosen.tasks]
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch) if chosen.tiny else FOLDER
        results = chosen.results or folder / "results.jsonl"
        is_whole = True
        if not chosen.table:
            todo = jobs(tasks, chosen.arms, 1 if chosen.tiny else chosen.seeds)
            is_whole = measure(todo, chosen.states or folder / "states", results, chosen.again)
        print_tables(Results.read(results), tasks)
    return 0 if is_whole else 1


if __name__ == "__main__":
    sys.exit(main())
