"""A comparison that is killed, or stopped, and begun again comes to what it would have come to."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_killed_and_stopped_comparisons_go_on_to_the_same_table(tmp_path):
    """Two stops by Ctrl-C and up to eight kills at random moments, in one process and in two; what was done stays as it was."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.comparison.survivor", str(tmp_path)],
        capture_output=True,
        text=True,
        cwd=ROOT,
        env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)},
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    assert found["same-1"] and found["same-2"]
    assert found["kills-1"] >= 3 and found["kills-2"] >= 1  # of them, those that left something to be done
    assert max(found["stopped-1"], found["stopped-2"]) < 5 + found["whole"]  # the machine may be busy: in its own units
