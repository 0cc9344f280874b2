"""Slurm's commands as far as submitit uses them, for one machine: real processes, no queue.

Each command is this script under the command's name; jobs are files ``<id>.state`` in $SCHEDULER_FOLDER.
"""

from __future__ import annotations

import itertools
import os
import re
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path

FOLDER = Path(os.environ.get("SCHEDULER_FOLDER", "."))


def sbatch(script: str) -> None:
    """Start every task of an array (or the one job) as a process group of its own."""
    number = str(os.getpid())
    array = re.search(r"^#SBATCH --array=0-(\d+)", Path(script).read_text(), re.MULTILINE)
    names = [f"{number}_{task}" for task in range(int(array[1]) + 1)] if array else [number]
    for name in names:
        (FOLDER / f"{name}.state").write_text("PENDING 0")
        silent = {"stdin": subprocess.DEVNULL, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        subprocess.Popen([sys.executable, __file__, name, script], start_new_session=True, **silent)
    while any((FOLDER / f"{name}.state").read_text().startswith("PENDING") for name in names):
        time.sleep(0.01)  # scancel here finds running jobs only
    if "SCHEDULER_INTERRUPTS" in os.environ:  # as if somebody pressed Ctrl-C before the answer
        os.kill(os.getppid(), signal.SIGINT)
    sys.stdout.write(f"Submitted batch job {number}\n")


def supervise(name: str, script: str) -> None:
    (FOLDER / f"{name}.state").write_text(f"RUNNING {os.getpid()}")
    number, _, task = name.partition("_")
    variables = {"SLURM_JOB_ID": number, "SLURM_PROCID": "0"}
    if task:
        variables.update(SLURM_ARRAY_JOB_ID=number, SLURM_ARRAY_TASK_ID=task)
    code = subprocess.run(["bash", script], env={**os.environ, **variables}).returncode
    (FOLDER / f"{name}.state").write_text(f"{'FAILED' if code else 'COMPLETED'} 0")


def srun(arguments: list[str]) -> None:
    """Run the rest of the arguments with its streams in files."""
    patterns = {"%A": "SLURM_ARRAY_JOB_ID", "%a": "SLURM_ARRAY_TASK_ID", "%j": "SLURM_JOB_ID", "%t": "SLURM_PROCID"}
    command = arguments[arguments.index("--error") + 2 :]
    for descriptor, option in ((1, "--output"), (2, "--error")):
        path = arguments[arguments.index(option) + 1]
        for pattern, variable in patterns.items():
            path = path.replace(pattern, os.environ.get(variable, ""))
        os.dup2(os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o666), descriptor)
    os.execvp(command[0], command)


def sacct(arguments: list[str]) -> None:
    sys.stdout.write("JobID|State|NodeList\n")
    numbers = {number for flag, number in itertools.pairwise(arguments) if flag == "-j"}
    for path in sorted(FOLDER.glob("*.state")):
        if path.stem.split("_")[0] in numbers:
            sys.stdout.write(f"{path.stem}|{path.read_text().split()[0]}|here\n")


def scancel(arguments: list[str]) -> None:
    number = signal.SIGKILL if "--signal=KILL" in arguments else signal.SIGTERM
    for name in arguments:
        path = FOLDER / f"{name}.state"
        if path.exists() and path.read_text().startswith(("RUNNING", "CANCELLED")):
            leader = int(path.read_text().split()[1])
            path.write_text(f"CANCELLED {leader}")
            try:
                os.killpg(leader, number)
            except ProcessLookupError:
                path.write_text("CANCELLED 0")


def install(folder: Path) -> dict[str, str]:
    """Put the commands into a folder, and give the environment in which they are found."""
    folder.mkdir()
    for command in ("sbatch", "srun", "sacct", "scancel"):
        path = folder / command
        path.write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} {shlex.quote(__file__)} {command} "$@"\n')
        path.chmod(0o755)
    return {"PATH": f"{folder}{os.pathsep}{os.environ['PATH']}", "SCHEDULER_FOLDER": str(folder)}


def running(folder: Path) -> list[int]:
    """The process groups of jobs that have not ended."""
    states = [path.read_text().split() for path in folder.glob("*.state")]
    return [int(leader) for state, leader in states if state in ("RUNNING", "CANCELLED") and leader != "0"]


if __name__ == "__main__":
    name, *rest = sys.argv[1:]
    if name == "sbatch":
        sbatch(rest[0])
    elif name in ("srun", "sacct", "scancel"):
        {"srun": srun, "sacct": sacct, "scancel": scancel}[name](rest)
    else:
        supervise(name, rest[0])
