"""The suite of comparisons, at its tiny size: it runs, writes its pages, and brings the documentation up to date."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
TASKS = ["digits-ce-tanh", "one-pass"]


def test_the_suite_runs_and_puts_its_tables_into_the_docs(tmp_path):
    docs = tmp_path / "docs"
    (docs / "images").mkdir(parents=True)
    shutil.copy(ROOT / "docs" / "swap_suite.md", docs)
    command = [
        sys.executable,
        str(ROOT / "analyses" / "swap_suite" / "run_suite.py"),
        "--output",
        str(tmp_path / "out"),
    ]
    options = ["--tiny", "--seeds", "1", "--docs", str(docs), "--tasks", *TASKS]
    done = subprocess.run([*command, *options], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    for task in TASKS:
        assert (tmp_path / "out" / f"{task}.html").exists()
        assert (tmp_path / "out" / f"{task}.json").exists()
    text = (docs / "swap_suite.md").read_text()
    table = re.search(r"<!-- policies -->\n(.*?)<!-- end -->", text, re.DOTALL)[1]
    assert table.splitlines()[0].endswith("| digits-ce-tanh | one-pass |")
    assert "`step-price`" in table and "`never`" in table and "`gradient-norm-peak (faithful)`" in table
    assert (docs / "swap_suite.html").exists() and (docs / "images" / "swap_suite.svg").exists()
    again = subprocess.run([*command, *options], capture_output=True, text=True)
    assert (docs / "swap_suite.md").read_text() == text, again.stderr
