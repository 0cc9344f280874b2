"""How much memory a benchmark's process has held."""

from __future__ import annotations

from pathlib import Path


def peak_resident() -> int:
    """Bytes of this process's largest resident set so far; getrusage would count that of the parent before it."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    raise RuntimeError("the peak of the resident set is read from /proc/self/status, which Linux has")
