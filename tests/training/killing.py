"""Runs a training in child processes, kills them at random, and compares the survivors with undisturbed runs.

A script of its own: it forks, which a test worker with threads must not do. Prints one line of JSON.
"""

from __future__ import annotations

import fcntl
import json
import os
import random
import signal
import sys
import time
import traceback
import warnings
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import nn

import landscape as ls
from landscape import files
from landscape.policies import GradientNormPeak
from landscape.tracking.columns import COLUMNS
from landscape.tracking.trackers import columns_of, names
from landscape.training.phases import MiniBatches
from tests.problems import regression_data

WEEKS = 10**6
#: Columns that need a reference point, or that this model has no symmetry for.
NOT_HERE = {"reference_gap", "restricted_secant", "error_bound", "symmetry_curvature"}


def run(folder: Path, seed: int, record: str) -> None:
    """Begin or go on with a run that swaps in its midst, with dropout, so that random states matter too."""
    torch.set_num_threads(1)
    seed = 0 if record == "all" else seed  # in this run every tracker gets its turn
    torch.manual_seed(seed)
    model = nn.Sequential(nn.Linear(4, 16), nn.BatchNorm1d(16), nn.Tanh(), nn.Dropout(0.2), nn.Linear(16, 2))
    problem = ls.Problem(model, F.mse_loss, regression_data(90, torch.float32), batch_size=40)
    policy = GradientNormPeak(factor=0.99, norm="mean_batch", min_epochs=3)
    trainer = ls.Trainer(
        first=MiniBatches(batch_size=16),
        policy=policy,
        epochs=10 if record == "all" else 25,
        record=record,
        max_overhead=60.0,  # so that some measurements are made in every epoch, and some are skipped
        seed=seed,
        run_dir=folder,
        checkpoint_seconds=0.0,
    )
    result = trainer.fit(problem, resume=trainer.directory.has_run, data_id="synthetic")
    assert result.status is ls.Status.MAX_STEPS and result.swap_epoch is not None
    if record == "all":
        never = set(COLUMNS) & set().union(*map(columns_of, names())) - set().union(*result.history)
        assert never <= NOT_HERE, never
        assert any(result.history.skipped(index) for index in range(len(result.history)))
    torch.save(problem.params(), folder / "final.pt")


def child(folder: Path, seed: int, record: str, die_in_write: int | None) -> int:
    """Fork a process that runs; it dies in the middle of its ``die_in_write``-th write, if that is given."""
    pid = os.fork()
    if pid:
        return pid
    try:
        warnings.simplefilter("error")
        if die_in_write is not None:
            files.os = _DyingInWrite(die_in_write)
        run(folder, seed, record)
        os._exit(0)
    except BaseException:
        traceback.print_exc()
        os._exit(1)


class _DyingInWrite:
    """Stands for the module ``os`` in landscape.files: the n-th flush finds half of the file and a killed process."""

    def __init__(self, countdown: int) -> None:
        self.countdown = countdown

    def __getattr__(self, name: str):
        return getattr(os, name)

    def fsync(self, descriptor: int) -> None:
        writable = fcntl.fcntl(descriptor, fcntl.F_GETFL) & os.O_ACCMODE != os.O_RDONLY  # not a folder
        self.countdown -= writable
        if writable and self.countdown == 0:
            os.ftruncate(descriptor, os.fstat(descriptor).st_size // 2)
            os.kill(os.getpid(), signal.SIGKILL)
        os.fsync(descriptor)


def trace(folder: Path) -> tuple[list[dict], bytes, list[str]]:
    """Everything that must be the same: history without the clock, parameters, kept weights, names of files."""
    rows = [{k: v for k, v in row.items() if k != "seconds"} for row in ls.History.from_jsonl(folder / "history.jsonl")]
    weights = b"".join(
        tensor.numpy().tobytes()
        for path in sorted((folder / "weights").iterdir())
        for tensor in torch.load(path, weights_only=True).values()
    )
    final = torch.load(folder / "final.pt", weights_only=True).numpy().tobytes()
    names = sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))
    return rows, weights + final, names


def main(root: Path, min_kills: int, record: str) -> dict[str, int]:
    chance = random.Random(0)
    counts = {"kills": 0, "in_write": 0, "leftovers": 0, "runs": 0}
    while counts["kills"] < min_kills or counts["runs"] < (1 if record == "all" else 3):
        seed = counts["runs"]
        undisturbed, disturbed = root / f"whole-{seed}", root / f"killed-{seed}"
        started = time.monotonic()
        assert os.waitpid(child(undisturbed, seed, record, None), 0)[1] == 0
        duration = time.monotonic() - started
        for attempt in range(WEEKS):
            in_write = chance.randint(1, 40) if attempt % 3 == 2 else None
            pid = child(disturbed, seed, record, in_write)
            if in_write is None:
                time.sleep(chance.uniform(0, 0.6 * duration))
                os.kill(pid, signal.SIGKILL)
            status = os.waitpid(pid, 0)[1]
            if os.WIFEXITED(status):
                assert os.WEXITSTATUS(status) == 0, "the run failed"
                break
            assert os.WTERMSIG(status) == signal.SIGKILL
            counts["kills"] += 1
            counts["in_write"] += in_write is not None
            counts["leftovers"] += len(list(disturbed.rglob("*.tmp")))
        assert trace(disturbed) == trace(undisturbed), f"seed {seed}: not the same after being killed"
        counts["runs"] += 1
    return counts


if __name__ == "__main__":
    sys.stdout.write(json.dumps(main(Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3])) + "\n")
