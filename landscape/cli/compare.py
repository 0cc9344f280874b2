"""``landscape compare``."""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import tyro

from landscape.cli.main import INTERRUPTED
from landscape.compare_config import CompareConfig, read_compare_config
from landscape.specs import suggestion

if TYPE_CHECKING:
    from landscape.comparison.comparison import Comparison
    from landscape.comparison.estimate import Estimate
    from landscape.comparison.running.executor import Executor

#: Where results are kept if nobody says.
STORES = Path("runs") / "comparisons"
PAGE = "comparison.html"

_Text = Annotated[str, tyro.conf.arg(metavar="TEXT", help_behavior_hint="")]
_File = Annotated[Path | None, tyro.conf.arg(metavar="FILE", help_behavior_hint="")]
_Folder = Annotated[Path | None, tyro.conf.arg(metavar="FOLDER", help_behavior_hint="")]
_Flag = Annotated[bool, tyro.conf.arg(help_behavior_hint="")]


@dataclass(frozen=True)
class Options:
    """The options of ``landscape compare``."""

    config: tyro.conf.Positional[Annotated[Path | None, tyro.conf.arg(metavar="[TOML]", help_behavior_hint="")]] = None
    """What to compare, as above. Without it: six criteria on digits with an MLP, ten seeds."""
    jobs: int = 1
    """Local processes of one thread each, such as one for each core; on a cluster, jobs at a time."""
    cluster: Annotated[Literal["slurm", "local"] | None, tyro.conf.arg(help_behavior_hint="")] = None
    """Submit jobs to Slurm instead (needs the extra `cluster`); local does the same on this machine, to try it out."""
    cluster_args: _Text = ""
    """For submitit: timeout_min=60,slurm_partition=gpu."""
    seeds: _Text = ""
    """So many (10), or these (0,3,7), instead of the file's."""
    budget_ge: Annotated[float | None, tyro.conf.arg(metavar="GE", help_behavior_hint="")] = None
    """Gradient equivalents of every arm, instead of the file's."""
    store: _Folder = None
    """Where results are kept; what is there is not computed again. Default: runs/comparisons/<name of the file>."""
    finisher: _Text = ""
    """Tables and figures of this second phase. Default: tables of the first, figures of all."""
    html: _File = None
    """The page; its data stand beside it as .json and .md. Default: comparison.html in the store."""
    markdown: _File = None
    """Write the table for a paper here instead."""
    csv: _File = None
    """Write one line for each arm and seed."""
    json: _File = None
    """Write the data once more, here."""
    figures: _Folder = None
    """Write the figures into this folder."""
    figure_format: Literal["svg", "pdf", "png"] = "svg"
    """Of the figures."""
    retry: _Flag = False
    """Try again what crashed before."""
    dry_run: _Flag = False
    """Say what it would cost, and stop."""


class _Enough(Exception):  # noqa: N818 - no error: the estimate was all that was asked for
    """Ends a dry run."""


def compare_command(arguments: Sequence[str]) -> int:
    """Parse the options, compare, print the table and the verdict, and write the page.

    Parameters
    ----------
    arguments : sequence of str
        What follows ``landscape compare``.

    Returns
    -------
    int
        0; 1 if no run got anywhere; 130 if it was interrupted.

    Raises
    ------
    ValueError
        If something that was given does not exist or does not fit.
    OSError
        If a file cannot be read or written.
    SystemExit
        If the flags are wrong (2) or ask for help (0).
    """
    options, config = parse(arguments)
    assert config.store is not None
    try:
        found = _compared(options, config)
    except _Enough:
        return 0
    except KeyboardInterrupt:
        sys.stderr.write(
            f"\nlandscape compare: stopped. What is done is kept in {config.store}; the same command goes on from there.\n"
        )
        return INTERRUPTED
    if not _is_worth_telling(found):
        return 1
    written = _write(found, options, Path(config.store))
    sys.stdout.write(f"{found}\n\n" + "\n".join(written) + "\n")
    sys.stdout.flush()
    return 0


def parse(arguments: Sequence[str]) -> tuple[Options, CompareConfig]:
    """Read the options of ``landscape compare`` and the file that they name.

    Returns
    -------
    options : Options
        The flags.
    config : CompareConfig
        The file's choices, with those of the flags and a store.

    Raises
    ------
    ValueError
        If the file or an option is wrong, or a file cannot be written where it should be.
    OSError
        If the file cannot be read.
    SystemExit
        If the flags are wrong (2) or ask for help (0).
    """
    options = tyro.cli(
        Options,
        prog="landscape compare",
        description=_DESCRIPTION,
        args=list(arguments),
        config=(tyro.conf.FlagCreatePairsOff,),
    )
    config = CompareConfig() if options.config is None else read_compare_config(options.config)
    changes: dict[str, Any] = {}
    if options.seeds:
        changes["seeds"] = _seeds(options.seeds)
    if options.budget_ge is not None:
        changes["budget_ge"] = options.budget_ge
    name = f"{config.data}-{config.model}" if options.config is None else options.config.stem
    changes["store"] = str(options.store or config.store or STORES / name)
    config = dataclasses.replace(config, **changes)
    config.check()
    _check(options, config)
    return options, config


def _seeds(text: str) -> int | tuple[int, ...]:
    words = text.replace(",", " ").split()
    if not words or not all(word.isdecimal() for word in words):
        raise ValueError(f"--seeds {text} was given; needed is how many (10), or which, with commas between (0,3,7).")
    return tuple(map(int, words)) if "," in text or len(words) > 1 else int(words[0])


def _check(options: Options, config: CompareConfig) -> None:
    """What can be refused without torch."""
    if options.jobs < 1:
        raise ValueError(f"--jobs {options.jobs} was given; needed is at least 1.")
    if options.cluster_args and options.cluster is None:
        raise ValueError("--cluster-args was given without --cluster; add --cluster slurm, or leave it out.")
    if options.finisher and options.finisher not in config.finisher_names:
        hint = suggestion(options.finisher, config.finisher_names)
        raise ValueError(
            f"--finisher {options.finisher} was given, but it is not compared.{hint} Needed is one of "
            f"{', '.join(config.finisher_names)}."
        )
    if options.html is not None and options.html.suffix != ".html":
        raise ValueError(f"--html {options.html} was given; its ending must be .html.")
    for path in (options.html, options.markdown, options.csv, options.json):
        if path is not None and not path.parent.is_dir():
            raise ValueError(f"{path} cannot be written: there is no folder {path.parent}. Make it first.")
    for path in (options.figures, Path(config.store or "")):
        if path is not None and path.exists() and not path.is_dir():
            raise ValueError(f"{path} was given as a folder, but is a file. Give another one.")


def _compared(options: Options, config: CompareConfig) -> Comparison:
    # Only now: --help and a mistyped option must not wait for torch.
    from landscape.cli.share_lines import ShareDone
    from landscape.cli.stopping import stopping
    from landscape.experiment.comparing import compare_config

    with stopping():
        return compare_config(
            config,
            executor=_executor(options, config),
            progress=ShareDone(),
            announce=_announcer(options, config),
            retry=options.retry,
        )


def _executor(options: Options, config: CompareConfig) -> Executor | int:
    """Local processes, or a cluster that is there."""
    if options.cluster is None:
        return options.jobs
    from landscape.comparison.running.cluster import ClusterExecutor
    from landscape.experiment.user_code import read_settings

    settings = {"cpus_per_task": config.threads, **read_settings("--cluster-args", options.cluster_args)}
    if "max_concurrent" in settings:
        raise ValueError("--cluster-args max_concurrent was given; give --jobs instead.")
    folder = Path(config.store or "") / "cluster"
    executor = ClusterExecutor(folder, options.cluster, options.jobs if options.jobs > 1 else None, **settings)
    try:
        executor.submitter()
    except ModuleNotFoundError as error:
        raise ValueError(
            "--cluster was given, but submitit is not installed. Install the extra: pip install 'torch-landscape[cluster]'."
        ) from error
    except (RuntimeError, NameError, TypeError) as error:
        reason = str(error).splitlines()[0]
        raise ValueError(f"--cluster {options.cluster} --cluster-args '{options.cluster_args}': {reason}") from error
    return executor


def _announcer(options: Options, config: CompareConfig) -> Callable[[Estimate, float], None]:
    from landscape.cli.share_lines import time_text
    from landscape.experiment.comparing import title_of

    def announce(estimate: Estimate, seconds: float) -> None:
        at_a_time = f"with {options.jobs} jobs at a time" if options.jobs > 1 else "one job after the other"
        least, most = (time_text(work * seconds / options.jobs) for work in (estimate.least, estimate.most))
        sys.stderr.write(
            f"{title_of(config)}: {estimate}\n"
            f"A gradient equivalent takes about {1000 * seconds:.2g} ms here, so that is {_range(least, most)} {at_a_time}.\n"
            f"Results are kept in {config.store}. Ctrl-C stops; the same command goes on.\n"
        )
        sys.stderr.flush()
        if options.dry_run:
            raise _Enough

    return announce


def _range(least: str, most: str) -> str:
    return least if least == most else f"{least} to {most}"


def _write(found: Comparison, options: Options, store: Path) -> list[str]:
    """All files, and a line for each."""
    from landscape.cli.comparison_files import csv_bytes, write_figures
    from landscape.files import write_atomically

    page = found.save(options.html or store / PAGE)
    written = [f"page: {page}"]
    texts = {
        "table": (options.markdown or page.with_suffix(".md"), found.to_markdown(options.finisher or None).encode()),
        "arms": (options.csv, csv_bytes(found) if options.csv is not None else b""),
        "data": (options.json, found.to_json().encode()),
    }
    for what, (path, content) in texts.items():
        if path is not None:
            write_atomically(path, content)
            written.append(f"{what}: {path}")
    if options.figures is not None:
        finishers = (options.finisher,) if options.finisher else found.finishers
        paths = write_figures(found, finishers, options.figures, options.figure_format)
        written += [f"figure: {path}" for path in paths]
    return written


def _is_worth_telling(found: Comparison) -> bool:
    """Tell of what crashed, and how to try again; say whether anything did not."""
    crashed = [result for result in found.results if result.status == "crashed"]
    if not crashed:
        return True
    some = len(crashed) < len(found.results)
    reason = (crashed[0].reason.strip().splitlines() or ["no reason is known"])[-1]
    sys.stderr.write(
        f"landscape compare: {len(crashed) if some else 'all'} of {len(found.results)} arms crashed, "
        f"{crashed[0].arm.name} with seed {crashed[0].seed} by: {reason}\n"
        f"{'They count as infinitely bad.' if some else 'Nothing was compared or written.'} --retry runs them again.\n"
    )
    return some


_DESCRIPTION = """Does it matter when training leaves its first optimiser, and which criterion knows when? For each seed one
first phase is run, all criteria are asked along it, and the second phase is run once for each distinct swap point, all with the
same budget. Prints a table and a verdict, and writes a page. What it would cost is said first.

  landscape compare --jobs 2
  landscape compare cifar.toml --cluster slurm --cluster-args timeout_min=60,slurm_partition=gpu

A file, of which every line may be left out (landscape.compare_config.CompareConfig has all names):

  data = "fashion-mnist"            # or problem = "mypackage.tasks:make_problem", called with the seed
  model = "mlp"
  num_train = 2000
  policies = ["all"]                # or names with settings: ["loss-plateau:window=5", "never"], or a table
  finishers = ["cg", "lbfgs"]
  seeds = 10
  budget_ge = 300
  metric = "validation_loss"

Exit codes: 0 it was compared, 1 it could not be, 2 the call was wrong, 130 interrupted (the same command goes on)."""
