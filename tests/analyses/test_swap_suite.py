"""The suite of comparisons, at its tiny size: it runs, writes its pages, and brings the documentation up to date."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
TASKS = ["digits-ce-tanh", "one-pass"]


def suite(*options: str) -> subprocess.CompletedProcess[str]:
    script = ROOT / "analyses" / "swap_suite" / "run_suite.py"
    return subprocess.run([sys.executable, str(script), *options], capture_output=True, text=True)


def test_the_suite_runs_and_puts_its_tables_into_the_docs(tmp_path):
    docs = tmp_path / "docs"
    (docs / "images").mkdir(parents=True)
    shutil.copy(ROOT / "docs" / "swap_suite.md", docs)
    options = ["--output", str(tmp_path / "out"), "--tiny", "--seeds", "1", "--docs", str(docs), "--tasks", *TASKS]
    done = suite(*options)
    assert done.returncode == 0, done.stderr
    for task in TASKS:
        assert (tmp_path / "out" / f"{task}.html").exists()
        assert (tmp_path / "out" / f"{task}.json").exists()
    text = (docs / "swap_suite.md").read_text()
    table = re.search(r"<!-- policies -->\n(.*?)<!-- end -->", text, re.DOTALL)[1]
    assert table.splitlines()[0].endswith("| digits-ce-tanh | one-pass |")
    assert "`step-price`" in table and "`never`" in table and "`gradient-norm-peak (faithful)`" in table
    assert (docs / "swap_suite.html").exists() and (docs / "images" / "swap_suite.svg").exists()
    again = suite(*options)
    assert (docs / "swap_suite.md").read_text() == text, again.stderr


def test_held_out_tasks_have_tables_of_their_own(tmp_path):
    shutil.copy(ROOT / "docs" / "swap_suite.md", tmp_path)
    before = (tmp_path / "swap_suite.md").read_text()
    options = ["--output", str(tmp_path / "out"), "--tiny", "--docs", str(tmp_path), "--tasks", "diabetes"]
    done = suite(*options, "--held-out")
    assert done.returncode == 0, done.stderr
    text = (tmp_path / "swap_suite.md").read_text()
    table = re.search(r"<!-- held-out-policies -->\n(.*?)<!-- end -->", text, re.DOTALL)[1]
    assert table.splitlines()[0].endswith("| diabetes |") and "`step-price`" in table
    assert re.search(r"<!-- policies -->.*?<!-- end -->", text, re.DOTALL)[0] in before, "the suite's own stays"
    refused = suite(*options)
    assert refused.returncode == 2 and "there is no task diabetes; known are digits-mse-tanh," in refused.stderr
