"""Jobs that do real, quick work; importable by worker processes without the test framework."""

from __future__ import annotations

import dataclasses
import os
import random
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from landscape.files import write_atomically


def note(log: Path, line: str) -> None:
    """Append one line, whole, from any process."""
    descriptor = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    try:
        os.write(descriptor, f"{line}\n".encode())
    finally:
        os.close(descriptor)


def lines(log: Path) -> list[str]:
    return log.read_text().splitlines() if log.exists() else []


@dataclasses.dataclass(frozen=True)
class Walk:
    """A random walk in a few pieces, each kept in a file, so that a killed walk goes on where it was."""

    seed: int
    log: Path
    pieces: int = 3
    rest: float = 0.0
    equivalents: float = 1.0
    kind: str = "first-phase"

    @property
    def label(self) -> str:
        return f"walk {self.seed}"

    @property
    def identity(self) -> dict[str, Any]:
        return {"seed": self.seed, "pieces": self.pieces, "scale": 0.1, "start": None}

    def run(self, folder: Path) -> dict[str, Any]:
        note(self.log, f"{self.seed} begun")
        position = 0.0
        for piece in range(self.pieces):
            path = folder / f"piece-{piece}.txt"
            if not path.exists():
                chance = random.Random(f"{self.seed} {piece}")
                step = sum(0.1 * chance.gauss(0, 1) for _ in range(1000))
                time.sleep(self.rest)
                write_atomically(path, repr(step).encode())
            position += float(path.read_text())
        return {"position": position, "worst": float("inf") if self.seed % 2 else float("nan"), "seed": self.seed}


@dataclasses.dataclass(frozen=True)
class Call:
    """A job that is any function of its folder."""

    name: str
    function: Callable[[Path], Any]
    equivalents: float = 1.0
    kind: str = "branch"

    @property
    def label(self) -> str:
        return self.name

    @property
    def identity(self) -> dict[str, Any]:
        return {"name": self.name}

    def run(self, folder: Path) -> Any:
        return self.function(folder)


@dataclasses.dataclass(frozen=True)
class Named:
    """Nothing but a name."""

    identity: dict[str, Any]
    kind: str = "branch"
    label: str = "a job"
    equivalents: float = 1.0


IDENTITY = {"seed": 3, "rate": 0.1, "tiny": 5e-324, "name": "Ünsinn", "nothing": None, "limit": float("inf")}


def die() -> None:
    """What the kernel does to a process that wants too much memory."""
    os.kill(os.getpid(), signal.SIGKILL)
