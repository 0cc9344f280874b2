"""`landscape compare` as a user meets it: real files, real processes, real signals."""

from __future__ import annotations

import csv
import signal
import subprocess
import sys
import time

import pytest

import landscape as ls
from landscape.cli.main import main
from landscape.cli.share_lines import ShareDone
from landscape.compare_config import CompareConfig, read_compare_config
from landscape.comparison.comparison import Comparison
from landscape.comparison.running.store import Store
from landscape.experiment.comparing import compare_config
from tests.cli.helping import help_of

LANDSCAPE = [sys.executable, "-m", "landscape"]
TINY = """
num-train = 100
policies = ["after-epochs:3", "never"]
controls = []
from_start = []
grid = [0, 4]
seeds = 2
budget_ge = 12
"""
OWN = '''
from pathlib import Path

import torch

import landscape as ls


@ls.policy(requires=["loss_running"])
def half_way(history):
    """Swap after six epochs."""
    return history[-1]["epoch"] >= 6


def largest_error(output, target):
    if Path("broken").exists():
        raise RuntimeError("the metric is broken")
    return (output - target).abs().mean()


def make(seed, width=4):
    generator = torch.Generator().manual_seed(seed)
    inputs = torch.rand(64, 1, generator=generator)
    model = torch.nn.Sequential(torch.nn.Linear(1, width), torch.nn.Tanh(), torch.nn.Linear(width, 1))
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, generator=generator)
    train = ls.Problem(model, torch.nn.functional.mse_loss, (inputs, (6 * inputs).sin()))
    return train, ls.Problem(model, torch.nn.functional.mse_loss, (inputs + 0.01, (6 * inputs).sin()))


def wrong(seed):
    return "no problem"


def raising(seed):
    raise KeyError("weights")
'''
OWN_TOML = """
problem = "own_task:make"
problem_args = {width = 3}
policies = {mine = "half-way"}
metrics = {error = "own_task:largest_error"}
metric = "validation_loss"
title = "a sine"
controls = []
from_start = []
grid = [2]
seeds = [3, 5]
budget_ge = 12
"""


@pytest.fixture
def here(tmp_path, monkeypatch):
    """A folder with a configuration, where the command is typed."""
    (tmp_path / "tiny.toml").write_text(TINY)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def own(here):
    (here / "own_task.py").write_text(OWN)
    (here / "own.toml").write_text(OWN_TOML)
    paths, modules = list(sys.path), set(sys.modules)
    yield here
    sys.path[:] = paths
    for name in set(sys.modules) - modules:
        if name == "own_task":
            del sys.modules[name]


def test_the_help_shows_a_file_and_needs_no_torch(capsys):
    assert main(["--help"]) == 0
    assert "compare    which swap criterion knows when to swap" in capsys.readouterr().out
    text, imported = help_of("compare")
    assert "--dry-run" in text and 'policies = ["all"]' in text
    assert "landscape.compare_config" in imported and not {"torch", "numpy", "matplotlib"} & imported


def test_the_example_in_the_help_is_a_configuration(here):
    from landscape.cli.compare import _DESCRIPTION

    lines = [line for line in _DESCRIPTION.splitlines() if line.startswith("  ") and " = " in line]
    (here / "example.toml").write_text("\n".join(lines))
    config = read_compare_config(here / "example.toml")
    assert config.data == "fashion-mnist" and config.policies == ("all",) and len(lines) == 8


def test_a_dry_run_says_the_cost_and_writes_nothing(here, capsys):
    assert main(["compare", "tiny.toml", "--dry-run", "--jobs", "2", "--seeds", "4"]) == 0
    captured = capsys.readouterr()
    # For each seed a first phase (2 x 12 GE), two fixed epochs, and a branch of at most 12 GE for each policy.
    assert "8 to 16 branches, 176 to 272 gradient equivalents" in captured.err
    assert "with 2 jobs at a time" in captured.err and "runs/comparisons/tiny" in captured.err
    assert captured.out == "" and [path.name for path in here.iterdir()] == ["tiny.toml"]


def test_a_comparison_ends_with_table_verdict_and_files_and_is_not_computed_twice(here, capsys):
    words = ["--csv", "arms.csv", "--json", "copy.json", "--figures", "figures"]
    assert main(["compare", "tiny.toml", *words]) == 0
    first = capsys.readouterr()
    store = here / "runs" / "comparisons" / "tiny"
    found = Comparison.from_json((store / "comparison.json").read_text())
    assert first.out.startswith(f"{found}\n") and "page: runs/comparisons/tiny/comparison.html" in first.out
    assert "2 policies compared on mlp on digits" in first.out and "100 % after" in first.err
    assert "<svg" in (store / "comparison.html").read_text()
    assert (here / "copy.json").read_bytes() == (store / "comparison.json").read_bytes()
    assert (store / "comparison.md").read_text() == found.to_markdown()
    rows = list(csv.DictReader((here / "arms.csv").read_text().splitlines()))
    assert len(rows) == len(found.results) == 2 * 5  # never, two policies, two fixed epochs
    figures = {path.name: path.read_bytes() for path in (here / "figures").iterdir()}
    assert sorted(figures) == ["curves.svg", "profiles.svg", "regret.svg", "response.svg"]

    jobs = {path: path.stat().st_mtime_ns for path in store.glob("*/result.json")}
    assert main(["compare", "tiny.toml", *words, "--html", "page.html"]) == 0
    again = capsys.readouterr()
    assert again.out.splitlines()[0] == first.out.splitlines()[0] and "(done earlier)" in again.err
    assert {path: path.stat().st_mtime_ns for path in store.glob("*/result.json")} == jobs
    assert {path.name: path.read_bytes() for path in (here / "figures").iterdir()} == figures
    assert (here / "page.md").read_bytes() == (store / "comparison.md").read_bytes()
    assert (here / "page.html").read_bytes() == (store / "comparison.html").read_bytes()


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGKILL, -9)])
def test_a_stopped_comparison_goes_on_to_the_same_table(here, number, code):
    words = ["compare", "tiny.toml", "--seeds", "4", "--budget-ge", "40"]
    process = subprocess.Popen([*LANDSCAPE, *words, "--store", "stopped"], stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 120
    while not (done := list((here / "stopped").glob("first-phase-*/result.json"))):
        assert process.poll() is None and time.monotonic() < deadline, "it does not get anywhere"
        time.sleep(0.005)
    process.send_signal(number)
    _, err = process.communicate(timeout=60)
    assert process.returncode == code, err
    assert not (here / "stopped" / "comparison.md").exists()
    if number == signal.SIGINT:
        assert err.endswith("What is done is kept in stopped; the same command goes on from there.\n")
    times = {path: path.stat().st_mtime_ns for path in done}
    assert main([*words, "--store", "stopped"]) == 0
    assert {path: path.stat().st_mtime_ns for path in done} == times
    assert main([*words, "--store", "whole"]) == 0
    assert (here / "stopped" / "comparison.md").read_bytes() == (here / "whole" / "comparison.md").read_bytes()


def test_an_own_problem_policy_and_metric_reach_other_processes(own, capsys):
    """The command's folder comes first, as with python -m; here the installed script's does not."""
    code = "import sys; sys.path.remove(''); from landscape.cli.main import main; sys.exit(main(sys.argv[1:]))"
    words = ["compare", "own.toml", "--jobs", "2", "--store", "two"]
    done = subprocess.run([sys.executable, "-c", code, *words], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "1 policy compared on a sine: 2 seeds" in done.stdout
    found = Comparison.from_json((own / "two" / "comparison.json").read_text())
    assert (
        found.seeds == (3, 5)
        and found.settings["problem"] == "OwnProblem(name='own_task:make', arguments={'width': 3})"
    )
    mine = found.of(found.arms("policy")[0])
    assert [result.swap_epoch for result in mine] == [6, 6]
    assert all({"train_error", "validation_error", "validation_loss"} <= set(result.values) for result in mine)

    assert main(["compare", "own.toml", "--store", "one"]) == 0
    assert (own / "one" / "comparison.md").read_bytes() == (own / "two" / "comparison.md").read_bytes()


def test_what_crashed_is_told_and_tried_again_if_asked(own, capsys):
    (own / "broken").touch()
    words = ["compare", "own.toml", "--seeds", "3,5"]
    assert main(words) == 1
    captured = capsys.readouterr()
    assert "all of 6 arms crashed" in captured.err and captured.out == ""
    assert "the metric is broken" in captured.err and "Nothing was compared or written. --retry" in captured.err
    (own / "broken").unlink()
    assert main(words) == 1  # kept, until somebody asks
    assert main([*words, "--retry"]) == 0


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("polices = ['all']", "has a setting 'polices' that does not exist. Did you mean 'policies'?"),
        ("data = 'digit'", "data='digit' was given; it is one of digits"),
        ("budget_ge = '300'", "budget_ge = '300' was given; needed is a number"),
        ("seeds = 2.5", "needed is a whole number, or a list of them"),
        ("seeds = 0", "seeds=0 was given; it must be more than 0"),
        ("seeds = [1, 1]", "seeds=[1, 1] were given; needed is at least one, 0 or more, each once"),
        ("grid = ['a']", "needed is a list of epochs"),
        ("finishers = [3]", "finishers = [3] was given; needed is a text"),
        ("policies = ['loss-plateu']", "Did you mean 'loss-plateau'"),
        ("finishers = ['lbfg']", "Did you mean 'lbfgs'"),
        ("first = 'adm'", "Did you mean 'adam'"),
        ("metric = 'test_loss'", "metric='test_loss' was given"),
        ("problem_args = {width = 3}", "problem_args were given without a problem"),
        ("problem = 'own_task:make'\nmodel = 'vit-mlp'", "model was given together with problem = 'own_task:make'"),
        ("problem = 'own_task'", "needed is 'package.module:function'"),
        ("problem = 'own_tusk:make'", "Did you mean 'own_task'"),
        ("problem = 'own_task:mak'", "Did you mean 'make'"),
        ("problem = 'own_task:wrong'", "gave str for seed 0; needed is a landscape.Problem"),
        ("problem = 'own_task:raising'", "raised KeyError: 'weights'"),
        ("problem = 'own_task:make'\nproblem_args = {with = 3}", "Give its arguments in the table problem_args"),
        ("metrics = {error = 'own_task:nothing'}", "has no 'nothing'"),
        ("seeds = = 3", "is not a TOML file"),
    ],
)
def test_a_wrong_file_is_explained_in_one_message(text, message, own, capsys):
    (own / "wrong.toml").write_text(text)
    assert main(["compare", "wrong.toml"]) == 2
    error = capsys.readouterr().err
    assert error.startswith("landscape compare: ") and message in error and len(error.splitlines()) == 1
    assert not (own / "runs").exists()


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (["nowhere.toml"], 1, "No such file"),
        (["--jobs", "0"], 2, "--jobs 0 was given; needed is at least 1"),
        (["--seeds", "a"], 2, "--seeds a was given"),
        (["--budget-ge", "-1"], 2, "budget_ge=-1.0 was given; it must be more than 0"),
        (["--cluster-args", "timeout_min=3"], 2, "--cluster-args was given without --cluster"),
        (["--cluster", "slurm"], 2, "needs Slurm's commands"),
        (["--cluster", "local", "--cluster-args", "timeout=3"], 2, "timeout"),
        (["--finisher", "cgg"], 2, "Did you mean 'cg'"),
        (["--html", "a.txt"], 2, "its ending must be .html"),
        (["--csv", "no/such/file.csv"], 2, "there is no folder no/such"),
        (["--store", "tiny.toml"], 2, "tiny.toml was given as a folder, but is a file"),
    ],
)
def test_a_wrong_call_is_explained_in_one_message(words, code, message, here, monkeypatch, capsys):
    monkeypatch.setenv("PATH", str(here))  # without Slurm's commands
    assert main(["compare", *words]) == code
    error = capsys.readouterr().err
    assert error.startswith("landscape compare: ") and message in error and len(error.splitlines()) == 1


def test_a_store_that_is_in_use_is_refused(here, capsys):
    with Store(here / "held").hold():
        assert main(["compare", "tiny.toml", "--store", "held"]) == 1
    assert "another process is writing to held" in capsys.readouterr().err


def test_several_threads_go_with_one_process_only():
    with pytest.raises(ValueError, match="threads = 2 was given with 3 processes"):
        compare_config(CompareConfig(threads=2), executor=3)


def test_default_policies_can_be_made_and_test_different_claims():
    for spec in CompareConfig().policies.values():
        assert ls.policies.build(spec).requires is not None


def test_a_file_gets_a_line_for_each_tenth(capsys):
    shown = ShareDone(is_terminal=False)
    for percent in range(1, 101):
        shown(f"job {percent}", percent / 100)
    shown("", 1.0)
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) in (10, 11) and lines[0].startswith(" 10 % after 1 s") and "left" in lines[0]
    assert lines[-1] == "100 % after 1 s (job 100)"


def test_a_terminal_gets_a_bar_that_is_closed_without_having_begun(capsys):
    shown = ShareDone(is_terminal=True)
    shown("", 1.0)
    assert capsys.readouterr().err == ""
    shown("seed 0", 0.5)
    assert "%|" in capsys.readouterr().err
    shown("", 1.0)
