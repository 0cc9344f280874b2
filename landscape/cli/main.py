"""The entry point: finds the command and answers for its failures. Imports nothing heavy."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence

from landscape import __version__

#: One line for each command; `landscape COMMAND --help` tells the rest.
COMMANDS = {
    "train": "train a model with Adam, swap at a detected point, finish with conjugate gradients, write a report",
    "diagnose": "is a trained model at a convex spot, in which sense, and how sure is that: your own model, or a run",
    "replay": "when would each swap criterion have fired on a recorded run, why, and at what price",
    "compare": "which swap criterion knows when to swap, and does it matter: all of them on one problem, many seeds",
}
USAGE_ERROR = 2
INTERRUPTED = 130


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command.

    Parameters
    ----------
    arguments : sequence of str, optional
        Default: those of the process.

    Returns
    -------
    int
        0 if all went well, 1 if the work failed, 2 if the call was wrong, 130 if it was interrupted.
    """
    given = list(sys.argv[1:] if arguments is None else arguments)
    if not given or given[0] in ("-h", "--help", "help"):
        _say(_help())
        return 0 if given else USAGE_ERROR
    if given[0] in ("-V", "--version"):
        _say(f"landscape {__version__}")
        return 0
    command = _find(given[0])
    if command is None:
        _complain(f"landscape: there is no command {given[0]!r}. Commands: {', '.join(COMMANDS)}.")
        return USAGE_ERROR
    try:
        return command(given[1:])
    except BrokenPipeError:
        # Whoever read our output has gone, as in `landscape train | head`; the run and its report are on the disk.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except (ValueError, OSError) as error:
        _complain(f"landscape {given[0]}: {error if str(error) else type(error).__name__}")
        return USAGE_ERROR if isinstance(error, ValueError) else 1
    except KeyboardInterrupt:
        _complain(f"\nlandscape {given[0]}: stopped at once; what the last checkpoint holds is kept.")
        return INTERRUPTED


def _find(name: str) -> Callable[[Sequence[str]], int] | None:
    if name == "train":
        from landscape.cli.train import train_command

        return train_command
    if name == "diagnose":
        from landscape.cli.diagnose import diagnose_command

        return diagnose_command
    if name == "replay":
        from landscape.cli.replay import replay_command

        return replay_command
    if name == "compare":
        from landscape.cli.compare import compare_command

        return compare_command
    return None


def _help() -> str:
    lines = [f"  {name:10} {summary}" for name, summary in COMMANDS.items()]
    return "\n".join(
        [
            "usage: landscape COMMAND [options]",
            "",
            "Is the loss convex where this model stands, and when should training leave Adam?",
            "",
            "commands:",
            *lines,
            "",
            "  landscape COMMAND --help   options of a command",
            "  landscape --version",
        ]
    )


def _say(text: str) -> None:
    sys.stdout.write(text + "\n")


def _complain(text: str) -> None:
    sys.stderr.write(text + "\n")
