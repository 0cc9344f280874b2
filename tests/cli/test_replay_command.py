"""`landscape replay` as a user meets it."""

from __future__ import annotations

import csv
import io
import json
import subprocess
import sys

import pytest

from landscape.cli.main import main
from landscape.replaying.replay import replay
from tests.cli.helping import help_of
from tests.replaying.runs import full_history

LANDSCAPE = [sys.executable, "-m", "landscape"]


@pytest.fixture
def run_dir(tmp_path):
    folder = tmp_path / "run"
    folder.mkdir()
    full_history(25, swap=20).to_jsonl(folder / "history.jsonl")
    return folder


def test_the_help_names_the_command_and_tells_it_without_numpy_or_torch(capsys):
    assert main(["--help"]) == 0
    assert "replay     when would each swap criterion have fired" in capsys.readouterr().out
    text, imported = help_of("replay")
    assert "--policies" in text and "--figure" in text
    assert "tyro" in imported and not {"torch", "numpy", "matplotlib"} & imported


def test_a_replay_needs_no_torch(run_dir):
    code = "import sys; from landscape.cli.main import main; main(['replay', sys.argv[1]]); assert 'torch' not in sys.modules"
    done = subprocess.run([sys.executable, "-c", code, str(run_dir)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_the_table_of_a_run_directory_is_printed_in_a_hundred_columns(run_dir, capsys):
    assert main(["replay", str(run_dir)]) == 0
    out = capsys.readouterr().out
    assert out == f"{replay(run_dir)}\n"
    assert max(map(len, out.splitlines()[3:])) <= 100 and "WOULD HAVE FIRED" in out


def test_chosen_policies_are_asked_in_a_real_process(run_dir):
    command = [
        *LANDSCAPE,
        "replay",
        "run/history.jsonl",
        "--policies",
        "after-epochs:3",
        "patience:2(loss-plateau:window=2)",
    ]
    done = subprocess.run(command, cwd=run_dir.parent, capture_output=True, text=True)
    assert done.returncode == 0 and "Traceback" not in done.stderr
    assert "Replay of run/history.jsonl: 2 policies" in done.stdout and "3 of 3 epochs" in done.stdout


def test_the_files_asked_for_are_written_and_named(run_dir, capsys):
    table = run_dir / "table.csv"
    for name, begin in (("a.svg", b"<?xml"), ("a.png", b"\x89PNG"), ("a.PDF", b"%PDF")):
        words = ["--figure", str(run_dir / name), "--csv", str(table), "--policies", "never", "after-epochs:3"]
        assert main(["replay", str(run_dir), *words]) == 0
        assert (run_dir / name).read_bytes().startswith(begin)
        out = capsys.readouterr().out
        assert f"figure: {run_dir / name}" in out and f"table: {table}" in out
    rows = list(csv.DictReader(io.StringIO(table.read_text())))
    assert [(row["policy"], row["epoch"]) for row in rows] == [("never", ""), ("after-epochs:3", "3")]
    again = (run_dir / "a.svg").read_bytes()
    assert (
        main(["replay", str(run_dir), "--figure", str(run_dir / "a.svg"), "--policies", "never", "after-epochs:3"]) == 0
    )
    assert (run_dir / "a.svg").read_bytes() == again


def test_json_alone_goes_to_standard_output(run_dir, capsys):
    assert main(["replay", str(run_dir), "--json", "--csv", str(run_dir / "t.csv")]) == 0
    captured = capsys.readouterr()
    assert json.loads(captured.out)["format"] == "landscape-replay"
    assert "table: " in captured.err


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (["nowhere"], 1, "No such file"),
        (["."], 1, "holds no history.jsonl"),
        (["foreign.txt"], 2, "is not a history: its first line"),
        (["damaged.jsonl"], 2, "line 4: not a row of a history"),
        (["empty.jsonl"], 2, "is not a history"),
        (["run", "--policies", "loss-plateu"], 2, "Did you mean 'loss-plateau'"),
        (["run", "--policies"], 2, "no policy was given"),
        (["run", "--figure", "a.gif"], 2, "its ending must be .svg, .pdf, .png"),
        (["run", "--csv", "no/such/folder.csv"], 2, "there is no folder no/such"),
    ],
)
def test_a_wrong_call_is_explained_in_one_message(words, code, message, run_dir, monkeypatch, capsys):
    monkeypatch.chdir(run_dir.parent)
    (run_dir.parent / "foreign.txt").write_text("epoch loss\n1 2\n")
    (run_dir.parent / "empty.jsonl").write_text("")
    lines = (run_dir / "history.jsonl").read_text().splitlines(keepends=True)
    (run_dir.parent / "damaged.jsonl").write_text("".join([*lines[:3], "{broken\n", *lines[4:]]))

    assert main(["replay", *words]) == code
    error = capsys.readouterr().err
    assert error.startswith("landscape replay: ") and message in error and len(error.splitlines()) == 1


def test_a_missing_run_or_a_mistyped_flag_exits_with_two(capsys):
    for words in ([], ["run", "--policy", "never"]):
        with pytest.raises(SystemExit) as raised:
            main(["replay", *words])
        assert raised.value.code == 2
