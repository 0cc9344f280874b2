"""``landscape replay``."""

from __future__ import annotations

import csv
import io
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from landscape.cli.figure_files import FIGURE_FORMATS, figure_bytes

if TYPE_CHECKING:
    from landscape.replaying.result import Replay


@dataclass(frozen=True)
class Options:
    """The options of ``landscape replay``."""

    run: Path
    """Folder of a run (--run-dir of landscape train), or its history.jsonl."""
    policies: tuple[str, ...] = ("all",)
    """Names with settings, such as loss-plateau:window=5; all means every policy with its defaults."""
    json: bool = False
    """Print JSON instead of the table."""
    figure: Path | None = None
    """Draw the run's signals and when each policy fires, as .svg, .pdf or .png."""
    csv: Path | None = None
    """Write the table as comma-separated values, one policy a line."""


def replay_command(arguments: Sequence[str]) -> int:
    """Parse the options, replay, and print the table.

    Parameters
    ----------
    arguments : sequence of str
        What follows ``landscape replay``.

    Returns
    -------
    int
        0.

    Raises
    ------
    ValueError
        If the file is no history, a policy is not known, or the figure's ending is none of svg, pdf and png.
    OSError
        If a file cannot be read or written.
    SystemExit
        If the flags are wrong (2) or ask for help (0).
    """
    options = parse(arguments)
    # Only now: --help and a mistyped option must not wait for numpy.
    from landscape.replaying.replay import replay

    found = replay(options.run, list(options.policies))
    written = []
    if options.csv is not None:
        _write(options.csv, _as_csv(found))
        written.append(f"table: {options.csv}")
    if options.figure is not None:
        _write(options.figure, _as_figure(found, options.figure))
        written.append(f"figure: {options.figure}")
    sys.stdout.write(f"{found.to_json() if options.json else found}\n")
    if written:  # beside JSON, standard output is for a program
        (sys.stderr if options.json else sys.stdout).write("\n" + "\n".join(written) + "\n")
    sys.stdout.flush()
    return 0


def parse(arguments: Sequence[str]) -> Options:
    """Read the options of ``landscape replay``.

    Raises
    ------
    ValueError
        If a file to write has an ending that says nothing, or its folder does not exist.
    SystemExit
        If the flags are wrong (2) or ask for help (0).
    """
    import tyro

    options = tyro.cli(
        Options,
        prog="landscape replay",
        description=_DESCRIPTION,
        args=list(arguments),
        config=(tyro.conf.PositionalRequiredArgs, tyro.conf.FlagCreatePairsOff),
    )
    if options.figure is not None and options.figure.suffix.lstrip(".").lower() not in FIGURE_FORMATS:
        raise ValueError(f"--figure {options.figure} was given; its ending must be .{', .'.join(FIGURE_FORMATS)}.")
    for path in (options.figure, options.csv):
        if path is not None and not path.parent.is_dir():
            raise ValueError(f"{path} cannot be written: there is no folder {path.parent}. Make it first.")
    return options


def _write(path: Path, content: bytes) -> None:
    from landscape.files import write_atomically

    write_atomically(path, content)


def _as_csv(found: Replay) -> bytes:
    buffer = io.StringIO()
    table = found.to_table()
    writer = csv.DictWriter(buffer, fieldnames=list(table[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(table)
    return buffer.getvalue().encode()


def _as_figure(found: Replay, path: Path) -> bytes:
    from landscape.plots.replay import plot_replay

    return figure_bytes(lambda: plot_replay(found), path.suffix.lstrip(".").lower())


_DESCRIPTION = """When would each swap criterion have fired on a recorded run, why, and at what price? Trains nothing: the
policies are asked about the recorded epochs of the first phase, as the trainer asks them.

What a policy would have said after the run's own swap cannot be known. To compare policies over a whole run, record one
that never swaps: landscape train --policy never.

The run comes first: landscape replay runs/mine --policies loss-plateau:window=5 'patience:3(gradient-norm-peak)'"""
