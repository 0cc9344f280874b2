"""What does comparing 30 policies cost by branching, against 30 runs, each with one of them?

    python analyses/benchmarks/branching.py --seeds 1     # both tasks, both sets: about 20 minutes
    python analyses/benchmarks/branching.py --tiny        # half a minute, to see that it runs

Both ways come to the same for every policy, swap epoch and final loss bit for bit, or the script fails. Both run to the
end, one after the other for each seed, with one thread; counted are gradient equivalents (all that was computed, the
measurements among it, each where it was really made) and processor time, with nothing left out: a comparison also
evaluates training and validation loss after every epoch and step, and writes its results to the disk.

Two sets: "settings" has 30 settings of criteria that read little, as somebody writes them who asks which threshold to
take; "all" has every registered policy that can be asked here with its defaults, those that measure eigenvalues too.
Each with swaps after any epoch, and after every twentieth only (``swap_every``), where policies share more branches.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

import landscape as ls
from landscape.comparison.arm import Arm, ArmResult
from landscape.policies import Every, GradientNormPeak, LossPlateau, MonotoneGradient, Patience, Swats
from landscape.replaying.choice import choose

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "swap_suite"))

from suite_task import SuiteTask
from tasks import TASKS

FINISHER = "cg"
CASES = ("digits-ce-tanh", "digits-mse-tanh")

#: The seed paper's rule on the norm that mini-batches give for free, and on that over all data (1 GE an epoch).
FREE_PEAKS = [f"gradient-norm-peak:norm=mean_batch,min_epochs=2,factor={f}" for f in (0.95, 0.9, 0.8, 0.7, 0.5, 0.3)]
RISING = [f"gradient-norm-peak:norm=mean_batch,require_rise=true,factor={f}" for f in (0.9, 0.7)]
FULL_PEAKS = [f"gradient-norm-peak:norm=full,min_epochs=2,factor={f}" for f in (0.9, 0.7, 0.5)]
PLATEAUS = [f"loss-plateau:loss=loss_running,window={w},tau={t}" for w in (5, 20) for t in (0.1, 0.01, 0.001)]
SLOPES = [f"distance-slope:threshold={t}" for t in (0.4, 0.6, 0.8)]
STEPS = ["swats:tolerance=1e-05", "swats:tolerance=0.001", "pflug-test:burn_in=1", "pflug-test:burn_in=5"]
SECANTS = [f"monotone-gradient:checks={c}" for c in (3, 10)]
PATIENT = [
    Patience(GradientNormPeak(factor=0.9, norm="mean_batch"), times=3),
    Patience(LossPlateau(window=5, tau=0.01, loss="loss_running"), times=3),
    Patience(Swats(tolerance=1e-3), times=3),
    Patience(MonotoneGradient(checks=1), times=5),
]
SETTINGS = [*FREE_PEAKS, *RISING, *FULL_PEAKS, *PLATEAUS, *SLOPES, *STEPS, *SECANTS, *PATIENT]
assert len(SETTINGS) == 30
SETS: Mapping[str, object] = {"settings": SETTINGS, "all": "all"}


@dataclass(frozen=True)
class Work:
    """What one way of doing it has cost."""

    equivalents: float
    seconds: float


@dataclass(frozen=True)
class Turn:
    """Both ways with one seed, and counts."""

    branched: Work
    separate: Work
    num_policies: int
    num_points: int
    num_branches: int
    probing: float
    probing_separate: float


def turn(task: SuiteTask, policies: object, seed: int, every: int = 1) -> Turn:
    """Do it both ways, and see that they come to the same; policies may swap after multiples of ``every`` epochs."""
    began = time.process_time()
    found = ls.compare(
        task.make_problem,
        policies=policies,  # type: ignore[arg-type]  # one of the sets
        finishers=FINISHER,
        seeds=[seed],
        budget=task.budget,
        first=task.first,
        grid=(),
        controls=(),
        from_start=(),
        swap_every=every,
        max_signal_cost=0.0,
    )
    branched = Work(found.work.first_phase + found.work.probing + found.work.branches, time.process_time() - began)
    asked = {policy.name: found.of(Arm("policy", FINISHER, policy=policy.name))[0] for policy in found.policies}
    asked = {name: result for name, result in asked.items() if result.status != "unavailable"}
    began, spent, probing = time.process_time(), 0.0, 0.0
    for choice in choose(policies):
        if choice.name in asked:
            run, loss = alone(task, choice.policy if every == 1 else Every(choice.policy, every), seed)
            require_same(choice.name, asked[choice.name], run, loss)
            spent += float(run.history[-1]["gradient_equivalents"])  # type: ignore[arg-type]  # a number in every row
            probing += run.cost["probing"].gradient_equivalents
    separate = Work(spent, time.process_time() - began)
    points = {result.swap_epoch for result in asked.values()} - {None}
    return Turn(branched, separate, len(asked), len(points), found.work.num_branches, found.work.probing, probing)


def alone(task: SuiteTask, policy: object, seed: int) -> tuple[ls.TrainingResult, float]:
    """One policy in a run of its own, and the loss that it ends with."""
    problem, validation = task.make_problem(seed)
    trainer = ls.Trainer(
        first=task.first,
        second=FINISHER,
        policy=policy,  # type: ignore[arg-type]  # chosen from a set
        swap_back=None,
        budget=task.budget,
        record="free",
        seed=seed,
    )
    run = trainer.fit(problem, validation)
    if run.status is ls.Status.INTERRUPTED:
        raise KeyboardInterrupt
    return run, run.evaluations[-1].values["train_loss"]


def require_same(name: str, arm: ArmResult, run: ls.TrainingResult, loss: float) -> None:
    """Refuse to time two things that are not the same."""
    branched = (arm.swap_epoch, arm.values["train_loss"])
    if branched != (run.swap_epoch, loss):
        raise SystemExit(f"{name}: (swap epoch, loss) by branching {branched}, alone {(run.swap_epoch, loss)}")


def row(name: str, policies: str, every: int, turns: Sequence[Turn]) -> str:
    """One line of the table: medians over the seeds."""

    def middle(values: Sequence[float]) -> float:
        return statistics.median(values)

    cells = [
        name,
        policies,
        str(every),
        f"{middle([t.num_policies for t in turns]):g}",
        f"{middle([t.num_points for t in turns]):g}",
        f"{middle([t.num_branches for t in turns]):g}",
        f"{middle([t.branched.equivalents for t in turns]):,.0f}",
        f"{middle([t.separate.equivalents for t in turns]):,.0f}",
        f"{middle([t.separate.equivalents / t.branched.equivalents for t in turns]):.1f}",
        f"{middle([t.branched.seconds for t in turns]):.1f}",
        f"{middle([t.separate.seconds for t in turns]):.1f}",
        f"{middle([t.separate.seconds / t.branched.seconds for t in turns]):.1f}",
        f"{middle([t.probing for t in turns]):,.0f}",
        f"{middle([t.probing_separate for t in turns]):,.0f}",
    ]
    return f"| {' | '.join(cells)} |"


HEAD = (
    "| task | policies | swap every | asked | swap points | branches | GE branched | GE alone | ratio | s branched | s alone "
    "| ratio | measuring, branched | measuring, alone |\n" + "|---" * 14 + "|"
)


def main() -> None:
    """Run it, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tiny", action="store_true", help="little data, a short budget, one seed")
    parser.add_argument("--seeds", type=int, default=2, help="turns of each line (default 2)")
    parser.add_argument("--tasks", nargs="+", choices=CASES, default=CASES)
    parser.add_argument("--every", nargs="+", type=int, default=[1, 20], help="epochs between possible swaps")
    parser.add_argument("--sets", nargs="+", choices=list(SETS), default=list(SETS))
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    sys.stdout.write(f"{HEAD}\n")
    for name in arguments.tasks:
        task = TASKS[name].tiny() if arguments.tiny else TASKS[name]
        for policies in arguments.sets:
            seeds = range(1 if arguments.tiny else arguments.seeds)
            turn(TASKS[name].tiny(), SETTINGS[:2], 0)  # what is imported and built once
            for every in arguments.every:
                turns = [turn(task, SETS[policies], seed, every) for seed in seeds]
                sys.stdout.write(f"{row(name, policies, every, turns)}\n")
                sys.stdout.flush()


if __name__ == "__main__":
    main()
