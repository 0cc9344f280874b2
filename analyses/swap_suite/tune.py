"""The learning rates of the suite: what each gives when Adam never swaps, on a seed that the suite does not use.

    python analyses/swap_suite/tune.py                  # all tasks, twenty minutes
    python analyses/swap_suite/tune.py burgers text     # some
    python analyses/swap_suite/tune.py --tiny           # seconds, to see that it runs

Prints a Markdown table: the task's own metric at the end of its budget for each constant rate, the best one bold, and the same
for rates that fall to 0 as a cosine. "seconds/GE" is what one gradient equivalent of Adam takes.
"""

from __future__ import annotations

import argparse
import math
import time

import torch
from held_out import HELD_OUT
from suite_task import TUNING_SEED, SuiteTask
from tasks import TASKS

import landscape as ls

EVERY = {**TASKS, **HELD_OUT}
RATES = (3e-4, 1e-3, 3e-3, 1e-2, 3e-2, 1e-1)


def loss_at_budget(task: SuiteTask, seed: int, *, second: str | None = None) -> tuple[float, float]:
    """The task's metric when the budget is spent, without a swap, and the seconds it took; inf if it diverged.

    With ``second`` that phase goes on after the first epoch, which is the earliest that a trainer swaps.
    """
    problem, validation = task.make_problem(seed)
    policy = ls.policies.Never() if second is None else ls.policies.AfterEpochs(1)
    phase = None if second is None else task.second(second)
    trainer = ls.Trainer(
        first=task.first, second=phase, policy=policy, swap_back=None, budget=task.budget, record="free", seed=seed
    )
    began = time.perf_counter()
    evaluation = trainer.fit(problem, validation).evaluations[-1]
    loss = evaluation.values[task.metric]
    return loss if math.isfinite(loss) else math.inf, time.perf_counter() - began


def row(task: SuiteTask, seed: int) -> str:
    """One line of the table."""
    runs = {rate: loss_at_budget(task.at_rate(rate), seed) for rate in RATES}
    falling = {rate: loss_at_budget(task.at_rate(rate), seed, second=f"adam-cosine:lr={rate:g}")[0] for rate in RATES}
    best, best_falling = (min(given, key=given.__getitem__) for given in (runs, falling))
    cells = [f"**{loss:.3g}**" if rate == best else f"{loss:.3g}" for rate, (loss, _) in runs.items()]
    cells += [f"**{loss:.3g}**" if rate == best_falling else f"{loss:.3g}" for rate, loss in falling.items()]
    seconds = min(taken for _, taken in runs.values()) / task.budget
    return f"| {task.name} | {task.metric} | {task.budget:g} | {' | '.join(cells)} | {seconds:.2g} |"


def main() -> None:
    """Print the table, a row as soon as it is there."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("tasks", nargs="*", metavar="TASK", help=f"of {', '.join(EVERY)} (default: all)")
    parser.add_argument("--seed", type=int, default=TUNING_SEED)
    parser.add_argument("--tiny", action="store_true", help="little data and short budgets, to see that it runs")
    options = parser.parse_args()
    unknown = set(options.tasks) - EVERY.keys()
    if unknown:
        parser.error(f"there is no task {', '.join(sorted(unknown))}; known are {', '.join(EVERY)}.")
    torch.set_num_threads(1)
    rates = [f"{rate:g}" for rate in RATES]
    titles = ["task", "metric", "budget (GE)", *rates, *(f"cosine {rate}" for rate in rates), "seconds/GE"]
    print(f"| {' | '.join(titles)} |\n|{'---|' * len(titles)}", flush=True)
    for name in options.tasks or EVERY:
        print(row(EVERY[name].tiny() if options.tiny else EVERY[name], options.seed), flush=True)


if __name__ == "__main__":
    main()
