"""``landscape train``."""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from landscape.cli.main import INTERRUPTED
from landscape.config import TrainConfig, read_config


@dataclass(frozen=True)
class Options(TrainConfig):
    """The options of ``landscape train``: the choices of a run, and where to take them from."""

    config: Path | None = None
    """TOML file with settings by their names here; flags win over it."""
    resume: Path | None = None
    """Go on with the run in this folder; only --epochs or --budget-ge may be given with it."""


def train_command(arguments: Sequence[str]) -> int:
    """Parse the options, train, and print the verdict.

    Parameters
    ----------
    arguments : sequence of str
        What follows ``landscape train``.

    Returns
    -------
    int
        0; or 1 if the run diverged, 130 if it was interrupted.
    """
    resume, settings = parse(arguments)
    # Only now: --help and a mistyped option must not wait for torch.
    from landscape.cli.progress import ProgressBar
    from landscape.experiment.training import train
    from landscape.report.verdict import describe_run
    from landscape.status import Status

    result = train(resume=resume, listeners=[ProgressBar()], **settings)
    interrupted = result.status is Status.INTERRUPTED
    out = sys.stdout
    out.write(f"\n{describe_run(result)}\n\n")
    out.write(f"report: {result.run_dir}/report.html\n")
    if interrupted:
        out.write(f"resume: landscape train --resume {result.run_dir}\n")
    out.flush()
    return INTERRUPTED if interrupted else int(result.status is Status.NONFINITE)


def parse(arguments: Sequence[str]) -> tuple[Path | None, dict[str, Any]]:
    """Read the options of ``landscape train``.

    Parameters
    ----------
    arguments : sequence of str
        What follows ``landscape train``.

    Returns
    -------
    resume : Path or None
        The run to go on with.
    settings : dict
        The settings that differ from the defaults, by the file and by flags.

    Raises
    ------
    ValueError
        If the file has a setting that does not exist, or is given together with a run to resume.
    SystemExit
        If the flags are wrong (2) or ask for help (0).
    """
    options = _read(arguments)
    if options.config is not None:
        if options.resume is not None:
            raise ValueError("both --config and --resume were given; a resumed run brings its own configuration.")
        # The file's settings take the way of flags, before the flags: types are checked alike, and the last one wins.
        table = read_config(options.config)
        words = [word for name, value in table.items() for word in (f"--{name.replace('_', '-')}", str(value))]
        options = _read([*words, *arguments])
    defaults = TrainConfig()
    settings = {field.name: getattr(options, field.name) for field in dataclasses.fields(TrainConfig)}
    return options.resume, {name: value for name, value in settings.items() if value != getattr(defaults, name)}


def _read(words: Sequence[str]) -> Options:
    import tyro

    return tyro.cli(Options, prog="landscape train", description=_DESCRIPTION, args=list(words))


_DESCRIPTION = """Train a model with a first optimiser until a policy detects the swap point, finish with a second
one, and write a report. Without options: the digits data, an MLP, Adam, then conjugate gradients; about a minute.

Parts with settings are written NAME:key=value,key=value, for example
--policy gradient-norm-peak:factor=0.9,norm=full or --second cg:beta=hz,line_search=golden."""
