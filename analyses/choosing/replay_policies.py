"""When does each swap policy fire on four tasks, and what is the swap worth there? The numbers of docs/choosing_a_policy.md.

    python analyses/choosing/replay_policies.py digits-mse                # minutes
    python analyses/choosing/replay_policies.py digits-mse --seed 1
    python analyses/choosing/replay_policies.py digits-ce
    python analyses/choosing/replay_policies.py pinn --swaps 7
    python analyses/choosing/replay_policies.py vit --swaps 6
    python analyses/choosing/replay_policies.py digits-mse --tiny         # seconds, to see that it runs

For each task three things are made and kept in ``--output`` (what is there already is not made again):

1. a run of the first phase alone, without probes; its end is the reference point of the policies with hindsight;
2. the same run again with everything recorded that any policy could read (``history.jsonl``), and the replay of all
   policies on it, with settings given where a policy has no default;
3. swaps to conjugate gradients at the epochs where policies fired (``--swaps`` of them, spread over all), and two controls
   that never swap: the first phase going on, and the same at ten times the learning rate. Each runs until the same budget of
   gradient equivalents is spent, without probes: what a policy's own probes cost has to be added
   (analyses/benchmarks/monitor_overhead.py).
"""

from __future__ import annotations

import argparse
import json
import math
import time
from collections.abc import Sequence
from pathlib import Path

import torch
from tasks import TASKS, Task

import landscape as ls
from landscape.plots.replay import plot_replay
from landscape.replaying.result import Outcome, Replay

HERE = Path(__file__).parent
#: A share of the recorded run's epochs, for the policies that need a number.
SHARES = (0.1, 0.3)


def reference_point(task: Task, seed: int, folder: Path) -> Path:
    """Where the first phase ends: a file of the parameters."""
    file = folder / "reference.pt"
    if not file.exists():
        problem = task.problem(seed)
        ls.Trainer(first=task.first, policy=ls.policies.Never(), epochs=task.epochs, record="free", seed=seed).fit(
            problem
        )
        torch.save(problem.params(), file)
    return file


def recorded_run(task: Task, seed: int, folder: Path) -> Path:
    """The run with everything recorded; one that was interrupted goes on."""
    reference = reference_point(task, seed, folder)
    # Phases of mini-batches give these norms by themselves.
    norms = [ls.trackers.BatchNorms()] if isinstance(task.first, ls.FullBatch) else []
    trainer = ls.Trainer(
        first=task.first,
        policy=ls.policies.Never(),
        epochs=task.epochs,
        record="all",
        max_overhead=task.max_overhead,
        trackers=[ls.trackers.ReferencePoint(point=torch.load(reference, weights_only=True)), *norms],
        seed=seed,
        run_dir=folder / "run",
    )
    file = folder / "run" / "history.jsonl"
    if not file.exists() or ls.History.from_jsonl(file)[-1]["epoch"] < task.epochs:
        trainer.fit(task.problem(seed), resume=file.exists())
    return file


def asked_policies(task: Task) -> dict[str, str]:
    """All policies; those without defaults with the settings that practitioners give."""
    chosen = {name: name for name in ls.policies.names() if name not in ("after-epochs", "budget-share")}
    for share in SHARES:
        chosen[f"after-epochs:{max(1, round(share * task.epochs))}"] = (
            f"after-epochs:{max(1, round(share * task.epochs))}"
        )
    peaks = {
        "gradient-norm-peak (default)": "gradient-norm-peak:norm=mean_batch,min_epochs=2",  # that of a Trainer
        "gradient-norm-peak (rise)": "gradient-norm-peak:norm=mean_batch,require_rise=true",
    }
    return {**peaks, **chosen}


def chosen_epochs(found: Replay, most: int) -> list[int]:
    """Epochs at which policies fired: all, or ``most`` of them, the first and the last among them."""
    epochs = sorted({outcome.epoch for outcome in found.fired if outcome.epoch})
    if len(epochs) <= most:
        return epochs
    return sorted({epochs[round(i * (len(epochs) - 1) / (most - 1))] for i in range(most)})


def final_loss(task: Task, seed: int, swap_epoch: int | str | None, folder: Path) -> float:
    """The training loss when the budget is spent, by a run without probes; "tenfold" and None are the two controls."""
    file = folder / "swaps.json"
    known = json.loads(file.read_text()) if file.exists() else {}
    if str(swap_epoch) not in known:
        policy = ls.policies.AfterEpochs(swap_epoch) if isinstance(swap_epoch, int) else ls.policies.Never()
        first = task.tenfold if swap_epoch == "tenfold" else task.first
        # A trainer swaps where the loss is known to be finite; full-batch Adam gives none for free, so it pays 1/3 GE a step.
        record = "loss" if isinstance(first, ls.FullBatch) and isinstance(swap_epoch, int) else "free"
        problem = task.problem(seed)
        result = ls.Trainer(first=first, policy=policy, budget=task.budget, record=record, seed=seed).fit(problem)
        if result.swap_epoch != (swap_epoch if isinstance(swap_epoch, int) else None):
            raise RuntimeError(f"the run was to swap at epoch {swap_epoch}, but swapped at {result.swap_epoch}.")
        known[str(swap_epoch)] = float(problem.loss())
        file.write_text(json.dumps(known))
    return float(known[str(swap_epoch)])


def firing_table(found: Replay) -> list[str]:
    """One line for each policy, the earliest first."""
    order = {"fired": 0, "never": 1, "not recorded": 2, "not asked": 3, "failed": 4}

    def key(outcome: Outcome) -> tuple[float, float]:
        return order[outcome.answer], outcome.epoch if outcome.epoch is not None else math.inf

    lines = ["| policy | claim | fires at epoch | loss there | its reason |", "|---|---|---|---|---|"]
    for outcome in sorted(found, key=key):
        epoch = outcome.epoch if outcome.answer == "fired" else outcome.answer
        loss = "" if outcome.loss is None or outcome.answer != "fired" else f"{outcome.loss:.3g}"
        claim = (outcome.claim or "none") + (" (hindsight)" if outcome.hindsight else "")
        lines.append(f"| {outcome.name} | {claim} | {epoch} | {loss} | {outcome.reason} |")
    return lines


def swap_table(task: Task, seed: int, found: Replay, epochs: Sequence[int], folder: Path) -> list[str]:
    """What the swaps are worth, and whose they are."""
    lines = ["| swap at epoch | final loss | policies that fire there |", "|---|---|---|"]
    titles = {None: "the control: Adam goes on", "tenfold": "another control: Adam at ten times the learning rate"}
    for epoch in (*epochs, *titles):
        began = time.perf_counter()
        loss = final_loss(task, seed, epoch, folder)
        whose = titles.get(epoch) or ", ".join(o.name for o in found.fired if o.epoch == epoch)
        lines.append(f"| {'never' if epoch in titles else epoch} | {loss:.3g} | {whose} |")
        print(f"{lines[-1]}  ({time.perf_counter() - began:.0f} s)", flush=True)
    return lines


def main() -> None:
    """Record, replay, swap; print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("task", choices=TASKS)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--swaps", type=int, default=100, help="at most so many swap epochs (default: all)")
    parser.add_argument("--output", type=Path, default=HERE / "output", help="where runs are kept")
    parser.add_argument("--figure", type=Path, help="also draw the replay")
    parser.add_argument("--tiny", action="store_true", help="a few epochs, to see that it runs")
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    task = TASKS[options.task].tiny() if options.tiny else TASKS[options.task]
    folder = options.output / f"{task.name}-{options.seed}{'-tiny' if options.tiny else ''}"
    folder.mkdir(parents=True, exist_ok=True)
    history = recorded_run(task, options.seed, folder)
    found = ls.replay(history, asked_policies(task))
    if options.figure:
        plot_replay(found, width=6.5, log_epochs=True).savefig(
            options.figure, metadata={"Date": None} if options.figure.suffix == ".svg" else None
        )
    print(f"{task.title}, seed {options.seed}: {task.epochs} epochs of the first phase\n")
    print("\n".join(firing_table(found)), flush=True)
    print(f"\nTraining loss after {task.budget:g} gradient equivalents:\n", flush=True)
    swap_table(task, options.seed, found, chosen_epochs(found, max(2, options.swaps)), folder)


if __name__ == "__main__":
    main()
