"""`landscape train` as a user meets it: a real process, a real terminal's signals, real files."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

import landscape as ls
from landscape.cli.main import main
from landscape.cli.train import parse
from tests.cli.helping import help_of

LANDSCAPE = [sys.executable, "-m", "landscape"]
QUICK = ["--num-train", "300", "--policy", "after-epochs:epochs=3"]


def rows_without_clock(folder: Path) -> list[dict]:
    history = ls.History.from_jsonl(folder / "history.jsonl")
    return [{name: value for name, value in row.items() if name != "seconds"} for row in history]


def end_weights(folder: Path) -> list[torch.Tensor]:
    return list(torch.load(folder / "weights" / "end.pt", weights_only=True).values())


def test_help_and_version_do_not_import_torch():
    code = "import sys; from landscape.cli.main import main; main({}); assert 'torch' not in sys.modules"
    for words in ('["--help"]', '["--version"]'):
        subprocess.run([sys.executable, "-c", code.format(words)], check=True, capture_output=True)
    text, imported = help_of("train")
    assert "--budget-ge" in text and not any("torch" in name for name in imported)


def test_importing_landscape_imports_nothing_heavy():
    code = "import sys, landscape; print([m for m in ('torch', 'matplotlib', 'pandas', 'sklearn') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert done.stdout.strip() == "[]"
    code = (
        "import sys, landscape as ls; ls.Problem, ls.Trainer, ls.ConjugateGradient, ls.datasets, ls.models, ls.policies;"
        "print([m for m in ('matplotlib', 'seaborn', 'pandas', 'sklearn', 'scipy', 'tyro') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert done.stdout.strip() == "[]"


def test_a_run_ends_with_a_verdict_in_words_and_a_report(tmp_path):
    command = [*LANDSCAPE, "train", *QUICK, "--epochs", "8", "--run-dir", "run"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "epoch 3: swap to the second phase: 3 of 3 epochs of this phase are done" in done.stderr
    assert "report: run/report.html" in done.stdout
    assert "GE" in done.stdout and "accuracy" in done.stdout
    assert "second phase" in done.stderr and "loss" in done.stderr  # the progress bar
    report = json.loads((tmp_path / "run" / "report.json").read_text())
    assert report["status"]["name"] == "MAX_STEPS"
    assert "<svg" in (tmp_path / "run" / "report.html").read_text()


def test_the_same_seed_gives_the_same_run_and_its_config_repeats_it(tmp_path):
    for name in ("one", "two"):
        assert main(["train", *QUICK, "--epochs", "5", "--run-dir", str(tmp_path / name)]) == 0
    config = (tmp_path / "one" / "config.toml").read_text()
    (tmp_path / "again.toml").write_text(config)
    assert main(["train", "--config", str(tmp_path / "again.toml"), "--run-dir", str(tmp_path / "three")]) == 0
    for name in ("two", "three"):
        assert rows_without_clock(tmp_path / name) == rows_without_clock(tmp_path / "one")


def test_a_run_remembers_its_threads_and_gives_them_back(tmp_path):
    """Sums of several threads are rounded otherwise; a resumed run must not depend on where it is resumed."""
    assert main(["train", *QUICK, "--epochs", "4", "--threads", "2", "--run-dir", str(tmp_path)]) == 0
    assert "threads = 2" in (tmp_path / "config.toml").read_text()
    assert torch.get_num_threads() == 1
    assert main(["train", "--resume", str(tmp_path), "--epochs", "6"]) == 0  # would warn of other threads


def wait_for_rows(folder: Path, count: int, process: subprocess.Popen) -> None:
    file = folder / "history.jsonl"
    deadline = time.monotonic() + 60
    while not file.exists() or file.read_bytes().count(b"\n") < count:
        assert process.poll() is None, "the run ended too early"
        assert time.monotonic() < deadline, "the run does not get anywhere"
        time.sleep(0.01)


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 130), (signal.SIGKILL, -9)])
def test_a_stopped_process_is_resumed_to_the_same_end(tmp_path, number, code):
    """Ctrl-C, a cluster's termination signal, and kill -9, of a real process."""
    whole, stopped = tmp_path / "whole", tmp_path / "stopped"
    command = [*LANDSCAPE, "train", *QUICK, "--budget-ge", "300", "--checkpoint-seconds", "0"]
    process = subprocess.Popen(
        [*command, "--run-dir", str(stopped)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    wait_for_rows(stopped, 12, process)
    process.send_signal(number)
    out, err = process.communicate(timeout=60)
    assert process.returncode == code, err
    if code == 130:
        assert f"resume: landscape train --resume {stopped}" in out
        assert "stopping after this step" in err
        assert (stopped / "report.html").exists()

    assert main(["train", "--resume", str(stopped)]) == 0
    assert main([*command[len(LANDSCAPE) :], "--run-dir", str(whole)]) == 0
    assert rows_without_clock(stopped) == rows_without_clock(whole)
    assert all(torch.equal(a, b) for a, b in zip(end_weights(stopped), end_weights(whole), strict=True))


def test_a_finished_run_can_be_made_longer_from_the_command_line(tmp_path):
    short, long = tmp_path / "short", tmp_path / "long"
    assert main(["train", *QUICK, "--epochs", "5", "--run-dir", str(short)]) == 0
    assert main(["train", "--resume", str(short), "--epochs", "9"]) == 0
    assert main(["train", *QUICK, "--epochs", "9", "--run-dir", str(long)]) == 0
    assert rows_without_clock(short) == rows_without_clock(long)


def test_a_moved_run_resumes_where_it_is(tmp_path):
    assert main(["train", *QUICK, "--epochs", "4", "--run-dir", str(tmp_path / "here")]) == 0
    (tmp_path / "here").rename(tmp_path / "there")
    assert main(["train", "--resume", str(tmp_path / "there"), "--epochs", "5"]) == 0
    assert not (tmp_path / "here").exists() and len(rows_without_clock(tmp_path / "there")) == 6


def test_two_processes_do_not_share_a_run(tmp_path):
    command = [*LANDSCAPE, "train", *QUICK, "--epochs", "1000000", "--run-dir", str(tmp_path)]
    first = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        wait_for_rows(tmp_path, 3, first)
        again = subprocess.run([*LANDSCAPE, "train", "--resume", str(tmp_path)], capture_output=True, text=True)
        assert again.returncode == 1
        assert "another process is writing to" in again.stderr and "Traceback" not in again.stderr
    finally:
        first.kill()
        first.communicate()


WRONG = {
    "epochs=0 was given": ["--epochs", "0"],
    "threads=0 was given": ["--threads", "0"],
    "unknown policy 'gradient-norm-peek'. Did you mean": ["--policy", "gradient-norm-peek"],
    "policy 'never' has no setting 'factor'": ["--policy", "never:factor=1"],
    "unknown first phase 'adamm'": ["--first", "adamm"],
    "unknown second phase 'cgg'": ["--second", "cgg"],
    "second phase 'cg' has no setting 'betaa'": ["--second", "cg:betaa=hz"],
    "nope": ["--second", "cg:beta=nope"],
    "num_train=5000": ["--num-train", "5000"],
    "device='tpu' cannot be used": ["--device", "tpu"],
    "holds no run to resume": ["--resume", "nowhere"],
    "No such file": ["--config", "missing.toml"],
}


@pytest.mark.parametrize("message", sorted(WRONG))
def test_a_wrong_call_is_explained_in_one_message_and_leaves_nothing(message, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    code = main(["train", *WRONG[message]])
    error = capsys.readouterr().err
    assert code in (1, 2) and message in error and error.startswith("landscape train: ")
    assert list(tmp_path.iterdir()) == []


def test_a_run_directory_in_use_for_something_else_is_left_alone(tmp_path, capsys):
    assert main(["train", *QUICK, "--epochs", "4", "--run-dir", str(tmp_path)]) == 0
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    assert main(["train", *QUICK, "--epochs", "9", "--run-dir", str(tmp_path)]) == 1
    assert "already holds a run" in capsys.readouterr().err
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before


def test_missing_data_are_explained_with_the_remedy(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["train", "--data", "cifar-10", "--model", "vgg5-max-relu", "--data-root", str(tmp_path)]) == 2
    assert "cifar-10" in capsys.readouterr().err and not list(tmp_path.iterdir())


def test_a_mistyped_flag_exits_with_two(capsys):
    with pytest.raises(SystemExit) as raised:
        main(["train", "--epoch", "3"])
    assert raised.value.code == 2
    assert main(["trian"]) == 2 and main([]) == 2
    assert "there is no command 'trian'" in capsys.readouterr().err


def test_settings_come_from_the_file_and_flags_win(tmp_path):
    file = tmp_path / "c.toml"
    file.write_text('data = "mnist-5k"\nepochs = 5\ncheckpoint-seconds = 2\n')
    resume, settings = parse(["--config", str(file), "--epochs", "7"])
    assert resume is None
    assert settings == {"data": "mnist-5k", "epochs": 7, "checkpoint_seconds": 2.0}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("epoch = 5", "has a setting 'epoch' that does not exist. Did you mean 'epochs'"),
        ("epochs = [5]", "is a list"),
        ("epochs = ", "is not a TOML file"),
    ],
)
def test_a_wrong_file_is_explained(text, message, tmp_path):
    file = tmp_path / "c.toml"
    file.write_text(text)
    with pytest.raises(ValueError, match=message):
        parse(["--config", str(file)])


def test_a_resumed_run_takes_no_other_settings(tmp_path, capsys):
    assert main(["train", *QUICK, "--epochs", "4", "--run-dir", str(tmp_path)]) == 0
    assert main(["train", "--resume", str(tmp_path), "--seed", "3"]) == 2
    assert "seed was given. Only epochs and budget_ge may be given" in capsys.readouterr().err


def test_damaged_images_do_not_resume_an_old_run(tmp_path, capsys):
    assert main(["train", *QUICK, "--epochs", "4", "--run-dir", str(tmp_path)]) == 0
    config = tmp_path / "config.toml"
    config.write_text(config.read_text().replace("num_train = 300", "num_train = 299"))
    assert main(["train", "--resume", str(tmp_path)]) == 2
    assert "was made with other settings" in capsys.readouterr().err


def test_the_names_on_the_command_line_are_those_of_the_packages():
    from landscape.config import TrainConfig, choices_of

    choices = choices_of(TrainConfig)
    assert choices["data"] == ls.datasets.NAMES
    assert set(choices["model"]) == set(ls.models.NAMES)


def test_output_to_a_closed_pipe_does_not_lose_the_run(tmp_path):
    """`landscape train | head` must not be worth more than the run."""
    command = [*LANDSCAPE, "train", *QUICK, "--epochs", "5", "--run-dir", str(tmp_path / "run")]
    reader, writer = os.pipe()
    os.close(reader)
    done = subprocess.run(command, stdout=writer, stderr=subprocess.PIPE, text=True, check=False)
    os.close(writer)
    assert done.returncode == 1 and "Traceback" not in done.stderr and "Exception" not in done.stderr
    assert (tmp_path / "run" / "report.html").exists()
