"""Runs that are killed, interrupted, resumed, and kept from being mixed up."""

from __future__ import annotations

import contextlib
import json
import os
import resource
import shutil
import signal
import subprocess
import sys
import textwrap
import threading
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import landscape as ls
from landscape.policies import AfterEpochs
from landscape.tracking.history import HistoryFormatError
from landscape.training.checkpoint import CheckpointError, load_checkpoint
from landscape.training.phases import MiniBatches
from landscape.training.run_directory import RunDirectory, RunDirectoryError
from tests.problems import regression_data

ROOT = Path(__file__).parents[2]


def problem_of(seed: int = 3, num_samples: int = 50) -> ls.Problem:
    torch.manual_seed(seed)
    model = nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 2)).double()
    return ls.Problem(model, F.mse_loss, regression_data(num_samples))


def trainer_of(run_dir: Path | None, epochs: int = 8, **settings) -> ls.Trainer:
    defaults = {"first": MiniBatches(batch_size=16), "policy": AfterEpochs(3), "checkpoint_seconds": 0.0}
    return ls.Trainer(epochs=epochs, run_dir=run_dir, **{**defaults, **settings})


def rows_without_clock(history: ls.History) -> list[dict]:
    return [{name: value for name, value in row.items() if name != "seconds"} for row in history]


@pytest.mark.parametrize(("record", "kills", "writes"), [("norms", 25, 5), ("all", 5, 1)])
def test_processes_killed_at_random_moments_continue_bit_for_bit(tmp_path, record, kills, writes):
    """Real kills, a third of them with a half-written file on the disk; with every tracker on, too."""
    command = [sys.executable, "-m", "tests.training.killing", str(tmp_path), str(kills), record]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=280)
    assert done.returncode == 0, done.stderr
    counts = json.loads(done.stdout)
    assert counts["kills"] >= kills and counts["in_write"] >= writes and counts["leftovers"] >= writes, counts


@pytest.mark.parametrize("stop_at", [2, 7, 12, 15])
def test_a_run_stopped_by_a_signal_and_resumed_is_the_run_that_was_not(tmp_path, stop_at):
    """The stop comes after some step, in the middle of an epoch too; steps 13 and later are full-batch."""
    handler = signal.getsignal(signal.SIGINT)
    whole = problem_of()
    expected = trainer_of(None).fit(whole)

    class Stop(ls.Listener):
        steps = 0

        def progressed(self, epochs, gradient_equivalents, phase):
            self.steps += 1
            if self.steps == stop_at:
                signal.raise_signal(signal.SIGINT)

    stopped = trainer_of(tmp_path, listeners=[Stop()]).fit(problem_of())
    assert stopped.status is ls.Status.INTERRUPTED and len(stopped.history) < len(expected.history)
    assert signal.getsignal(signal.SIGINT) is handler

    problem = problem_of(seed=99)  # other initial weights: the checkpoint's count
    result = trainer_of(tmp_path).fit(problem, resume=True)

    assert torch.equal(problem.params(), whole.params())
    assert rows_without_clock(result.history) == rows_without_clock(expected.history)
    assert ls.History.from_jsonl(tmp_path / "history.jsonl") == result.history
    assert result.swaps == expected.swaps and result.evaluations == expected.evaluations
    assert {k: v.state_dict() for k, v in result.cost.items()} == {k: v.state_dict() for k, v in expected.cost.items()}


def test_a_finished_run_can_be_made_longer(tmp_path):
    whole = problem_of()
    expected = trainer_of(None, epochs=9).fit(whole)
    trainer_of(tmp_path, epochs=5).fit(problem_of())
    problem = problem_of()
    result = trainer_of(tmp_path, epochs=9).fit(problem, resume=True)
    assert torch.equal(problem.params(), whole.params())
    assert rows_without_clock(result.history) == rows_without_clock(expected.history)
    assert result.evaluations == expected.evaluations


def test_resuming_a_finished_run_changes_nothing(tmp_path):
    first = trainer_of(tmp_path).fit(problem_of())
    again = trainer_of(tmp_path).fit(problem_of(), resume=True)
    assert again.history == first.history and again.evaluations == first.evaluations and again.swaps == first.swaps


def test_a_second_signal_stops_at_once_and_the_checkpoint_stays(tmp_path):
    class Impatient(ls.Listener):
        def progressed(self, epochs, gradient_equivalents, phase):
            if epochs > 4:
                signal.raise_signal(signal.SIGINT)
                signal.raise_signal(signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        trainer_of(tmp_path, listeners=[Impatient()]).fit(problem_of())
    whole, problem = problem_of(), problem_of()
    trainer_of(None).fit(whole)
    trainer_of(tmp_path).fit(problem, resume=True)
    assert torch.equal(problem.params(), whole.params())


def test_outside_the_main_thread_a_run_needs_no_signals():
    results = []
    thread = threading.Thread(target=lambda: results.append(trainer_of(None, epochs=4).fit(problem_of())))
    thread.start()
    thread.join()
    assert results[0].status is ls.Status.MAX_STEPS


def test_a_directory_that_holds_a_run_is_not_overwritten(tmp_path):
    trainer_of(tmp_path).fit(problem_of())
    before = (tmp_path / "history.jsonl").read_bytes()
    with pytest.raises(RunDirectoryError, match=r"already holds a run.*resume"):
        trainer_of(tmp_path).fit(problem_of())
    assert (tmp_path / "history.jsonl").read_bytes() == before


def test_a_second_process_in_the_same_directory_is_refused(tmp_path):
    code = f"""
        import sys
        from landscape.training.run_directory import RunDirectory
        with RunDirectory({str(tmp_path)!r}).hold():
            print("held", flush=True)
            sys.stdin.read()
    """
    other = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(code)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    try:
        assert other.stdout.readline() == "held\n"
        with pytest.raises(RunDirectoryError, match="another process is writing to"):
            trainer_of(tmp_path).fit(problem_of())
        assert not (tmp_path / "history.jsonl").exists()
    finally:
        other.kill()  # the lock must die with the process
        other.wait()
        other.stdin.close()
        other.stdout.close()
    assert trainer_of(tmp_path, epochs=4).fit(problem_of()).status is ls.Status.MAX_STEPS


@pytest.mark.parametrize(
    ("settings", "problem", "data_id", "message"),
    [
        (
            {"policy": AfterEpochs(2)},
            {},
            "a",
            r"policy was 'AfterEpochs\(epochs=3\)' and is now 'AfterEpochs\(epochs=2\)'",
        ),
        ({"first": MiniBatches(batch_size=8)}, {}, "a", "first was .*batch_size=16.* and is now .*batch_size=8"),
        ({"seed": 1}, {}, "a", "seed was '0' and is now '1'"),
        ({}, {"num_samples": 40}, "a", "num_samples was '50' and is now '40'"),
        ({}, {}, "b", "data was 'a' and is now 'b'"),
    ],
)
def test_a_run_is_not_resumed_as_another_one(tmp_path, settings, problem, data_id, message):
    trainer_of(tmp_path, epochs=4).fit(problem_of(), data_id="a")
    with pytest.raises(CheckpointError, match=message):
        trainer_of(tmp_path, **settings).fit(problem_of(**problem), resume=True, data_id=data_id)


def test_other_arithmetic_is_announced(tmp_path):
    trainer_of(tmp_path, epochs=4).fit(problem_of())
    torch.set_num_threads(2)
    try:
        with pytest.warns(UserWarning, match="not bit for bit as it would have: threads was 1 and is 2"):
            trainer_of(tmp_path).fit(problem_of(), resume=True)
    finally:
        torch.set_num_threads(1)


def test_every_damaged_byte_of_a_checkpoint_is_noticed(tmp_path):
    trainer_of(tmp_path, epochs=4).fit(problem_of())
    path = tmp_path / "checkpoint.pt"
    content = path.read_bytes()
    load_checkpoint(path)
    for position in range(0, len(content), len(content) // 60):
        damaged = bytearray(content)
        damaged[position] ^= 0x10
        path.write_bytes(damaged)
        with pytest.raises(CheckpointError, match="is damaged|is not a checkpoint"):
            load_checkpoint(path)
    for size in (0, 10, 60, len(content) // 2, len(content) - 1):
        path.write_bytes(content[:size])
        with pytest.raises(CheckpointError, match="is damaged|is not a checkpoint"):
            load_checkpoint(path)


def test_a_checkpoint_that_would_run_code_is_not_loaded(tmp_path):
    import hashlib
    import io

    from landscape.training.checkpoint import MAGIC

    class Evil:
        def __reduce__(self):
            return (os.system, (f"touch {tmp_path}/owned",))

    buffer = io.BytesIO()
    torch.save({"model": Evil()}, buffer)
    payload = buffer.getvalue()
    path = tmp_path / "checkpoint.pt"
    path.write_bytes(MAGIC + hashlib.sha256(payload).hexdigest().encode() + b"\n" + payload)
    with pytest.raises(CheckpointError, match="holds more than plain data"):
        load_checkpoint(path)
    assert not (tmp_path / "owned").exists()


def test_a_history_that_lost_rows_is_refused(tmp_path):
    trainer_of(tmp_path, epochs=4).fit(problem_of())
    lines = (tmp_path / "history.jsonl").read_bytes().splitlines(keepends=True)
    (tmp_path / "history.jsonl").write_bytes(b"".join(lines[:-1]))
    with pytest.raises(HistoryFormatError, match="has 4 rows, but 5 were written to it"):
        trainer_of(tmp_path).fit(problem_of(), resume=True)


def test_a_directory_that_cannot_be_made_is_explained(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(RunDirectoryError, match="could not write the directory.*Nothing had been saved yet"):
        trainer_of(tmp_path / "file" / "run").fit(problem_of())


def assert_survived(folder: Path, error: str) -> None:
    """The last checkpoint is whole and the run goes on from it to where it would have come."""
    assert "is intact: make room, then go on with `landscape train --resume" in error
    load_checkpoint(folder / "checkpoint.pt")
    whole, problem = problem_of(), problem_of()
    trainer_of(None).fit(whole)
    trainer_of(folder).fit(problem, resume=True)
    assert torch.equal(problem.params(), whole.params())


def test_a_file_size_limit_leaves_the_last_checkpoint_intact(tmp_path):
    """The kernel's own limit: the history grows up to it, as it would up to the end of a disk."""

    class Limit(ls.Listener):
        def recorded(self, row):
            if row["epoch"] == 5:
                signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
                size = (tmp_path / "history.jsonl").stat().st_size
                resource.setrlimit(resource.RLIMIT_FSIZE, (size + 50, resource.RLIM_INFINITY))

    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    try:
        with pytest.raises(RunDirectoryError) as raised:
            trainer_of(tmp_path, listeners=[Limit()]).fit(problem_of())
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert "File too large" in str(raised.value)
    assert_survived(tmp_path, str(raised.value))


def test_a_full_disk_leaves_the_last_checkpoint_intact(tmp_path):
    """A real file system of its own, filled to the last byte in the midst of the run."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = shutil.which("mount") and subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=400k", "tmpfs", str(disk)], capture_output=True
    )
    if not mounted or mounted.returncode != 0:
        pytest.skip("mounting a small file system needs root; the size-limit test beside this one covers the same code")

    class Fill(ls.Listener):
        def recorded(self, row):
            if row["epoch"] == 5:
                with contextlib.suppress(OSError), (disk / "ballast").open("wb", buffering=0) as file:
                    while True:
                        file.write(b"x" * 512)

    try:
        with pytest.raises(RunDirectoryError, match="No space left on device") as raised:
            trainer_of(disk / "run", listeners=[Fill()]).fit(problem_of())
        (disk / "ballast").unlink()
        assert_survived(disk / "run", str(raised.value))
    finally:
        subprocess.run(["umount", str(disk)], check=True)


def test_leftovers_of_killed_writers_are_removed(tmp_path):
    (tmp_path / ".checkpoint.pt.12345.tmp").write_bytes(b"half")
    with RunDirectory(tmp_path).hold():
        assert not list(tmp_path.glob(".*.tmp"))
