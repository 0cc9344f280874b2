"""Checks what `landscape train` left behind: every file, whole, with a story that hangs together."""

from __future__ import annotations

import json
import math
import sys
from pathlib import Path

import landscape as ls


def main(run: Path) -> None:
    """Raise AssertionError with what is wrong."""
    history = ls.History.from_jsonl(run / "history.jsonl")
    report = json.loads((run / "report.json").read_text())
    page = (run / "report.html").read_text()
    losses = [row["loss"] for row in history]
    phases = [row["phase"] for row in history]
    assert phases[0] == "first" and phases[-1] == "second", "the default run must swap"
    assert all(math.isfinite(loss) for loss in losses) and losses[-1] < 0.2 * losses[0], losses[-1]
    assert report["status"]["name"] == "BUDGET_SPENT", report["status"]
    assert page.count("<svg") >= 2 and "<script" not in page and len(page.encode()) < 1_000_000
    for name in ("config.toml", "checkpoint.pt", "weights/start.pt", "weights/swap-1.pt", "weights/end.pt"):
        assert (run / name).stat().st_size > 0, name
    sys.stdout.write(
        f"{run.name}: loss {losses[0]:.4f} -> {losses[-1]:.4f} in {len(history) - 1} epochs, report checked\n"
    )


if __name__ == "__main__":
    main(Path(sys.argv[1]))
