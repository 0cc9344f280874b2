"""What a subcommand's help says, and what that costs."""

from __future__ import annotations

import subprocess
import sys


def help_of(command: str) -> tuple[str, set[str]]:
    """The text of ``landscape COMMAND --help``, and the names of all modules that were imported for it."""
    words = [sys.executable, "-X", "importtime", "-m", "landscape", command, "--help"]
    done = subprocess.run(words, check=True, capture_output=True, text=True)
    return done.stdout, {line.split("|")[-1].strip() for line in done.stderr.splitlines()}
