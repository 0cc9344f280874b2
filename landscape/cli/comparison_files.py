"""The tables and figures of a comparison, as files."""

from __future__ import annotations

import csv
import functools
import io
import re
from collections.abc import Sequence
from pathlib import Path

from landscape.cli.figure_files import figure_bytes
from landscape.comparison.comparison import Comparison
from landscape.files import write_atomically
from landscape.plots.arm_curves import plot_curves
from landscape.plots.profiles import plot_profiles
from landscape.plots.regret import plot_regret
from landscape.plots.response import plot_response

_FIGURES = {"response": plot_response, "regret": plot_regret, "profiles": plot_profiles, "curves": plot_curves}


def csv_bytes(found: Comparison) -> bytes:
    """One line for each arm and seed; what does not exist is empty."""
    table = found.to_table()
    buffer = io.StringIO()
    writer = csv.DictWriter(
        buffer, fieldnames=list(dict.fromkeys(name for row in table for name in row)), lineterminator="\n"
    )
    writer.writeheader()
    writer.writerows(table)
    return buffer.getvalue().encode()


def write_figures(found: Comparison, finishers: Sequence[str], folder: Path, kind: str) -> list[Path]:
    """Write the four figures of each finisher.

    Parameters
    ----------
    found : Comparison
        What they tell.
    finishers : sequence of str
        Second phases; of several, their names are part of the files'.
    folder : Path
        Made if it is not there.
    kind : {"svg", "pdf", "png"}
        The format.

    Returns
    -------
    list of Path
        What was written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    written = []
    for number, finisher in enumerate(finishers, start=1):
        for name, plot in _FIGURES.items():
            end = f"-{number}-{re.sub(r'[^a-zA-Z0-9.=]+', '-', finisher).strip('-')}" if len(finishers) > 1 else ""
            path = folder / f"{name}{end}.{kind}"
            write_atomically(path, figure_bytes(functools.partial(plot, found, finisher), kind))
            written.append(path)
    return written
