"""All policies on all recorded runs in one table: the epoch at which each fires, and the loss that swapping there leads to.

    python analyses/choosing/summary.py                                    # runs that replay_policies.py has kept
    python analyses/choosing/summary.py --histories analyses/choosing/histories    # the committed ones: no training needed

A cell is "epoch" or "epoch -> final loss", if a run that swapped at this epoch was made; "-" is never, "n/a" could not be
asked.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from replay_policies import HERE, asked_policies
from tasks import TASKS

import landscape as ls
from landscape.replaying.result import Outcome


def recorded(options: argparse.Namespace) -> dict[str, tuple[Path, dict[str, float]]]:
    """For each run its history, and the final losses by swap epoch."""
    found = {}
    for name in TASKS:
        for seed in range(10):
            run = f"{name}-{seed}"
            folder = options.output / run
            history = options.histories / f"{run}.jsonl" if options.histories else folder / "run" / "history.jsonl"
            swaps = options.histories / f"{run}-swaps.json" if options.histories else folder / "swaps.json"
            if history.exists():
                found[run] = (history, json.loads(swaps.read_text()) if swaps.exists() else {})
    return found


def cell(outcome: Outcome | None, swaps: dict[str, float]) -> str:
    """One policy on one run."""
    if outcome is None or outcome.answer not in ("fired", "never"):
        return "n/a"
    if outcome.answer == "never":
        return "-"
    loss = swaps.get(str(outcome.epoch))
    return f"{outcome.epoch}" if loss is None else f"{outcome.epoch} -> {loss:.2g}"


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, default=HERE / "output", help="where replay_policies.py keeps runs")
    parser.add_argument("--histories", type=Path, help="a folder of TASK-SEED.jsonl instead")
    options = parser.parse_args()
    runs = recorded(options)
    if not runs:
        raise SystemExit("no recorded run was found: make one with replay_policies.py first, or give --histories.")
    columns: dict[str, dict[str, str]] = {}
    claims: dict[str, str] = {}
    for run, (history, swaps) in runs.items():
        task = TASKS[run.rpartition("-")[0]]
        shares = [f"after-epochs:{share:.0%}" for share in (0.1, 0.3)]
        for asked, outcome in zip(asked_policies(task), ls.replay(history, asked_policies(task)), strict=True):
            name = shares.pop(0) if asked.startswith("after-epochs") else asked
            claims[name] = outcome.claim or "none"
            columns.setdefault(name, {})[run] = cell(outcome, swaps)
        for key, title in (("None", "(control: Adam goes on)"), ("tenfold", "(control: Adam at ten times the rate)")):
            if key in swaps:
                columns.setdefault(title, {})[run] = f"{swaps[key]:.2g}"
    print(f"| policy | claim | {' | '.join(runs)} |\n|---|---|{'---|' * len(runs)}")
    for name, cells in columns.items():
        print(f"| {name} | {claims.get(name, '')} | {' | '.join(cells.get(run, '') for run in runs)} |")


if __name__ == "__main__":
    main()
