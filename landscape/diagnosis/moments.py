"""A run's model at the start, at its swaps and at the end, diagnosed side by side."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from landscape.diagnosis.bar import Progress
from landscape.diagnosis.diagnose import LevelName
from landscape.diagnosis.diagnosis import CostEstimate
from landscape.diagnosis.many import Diagnoses, diagnose_many
from landscape.problem import Problem
from landscape.specs import suggestion
from landscape.tracking.history import History, number_in
from landscape.training.run_directory import RunDirectory, RunDirectoryError

#: The latest state of a run that has not come to its end.
LATEST = "latest"


@dataclass(frozen=True)
class Moment:
    """A point of a run whose weights were kept.

    Attributes
    ----------
    name : str
        ``"start"``, ``"swap-1"``, ``"swap-2"`` ..., ``"end"``, or ``"latest"`` for a run without an end.
    epoch : int or None
        After which it was; None if the history does not say.
    """

    name: str
    epoch: int | None

    def __str__(self) -> str:
        return self.name if self.epoch is None else f"{self.name}, epoch {self.epoch}"


def moments_of(directory: Path | str) -> tuple[Moment, ...]:
    """The moments of a run at which it can be diagnosed, in their order.

    Parameters
    ----------
    directory : Path or str
        The folder of a run.

    Raises
    ------
    RunDirectoryError
        If no weights were kept there.
    """
    run = RunDirectory(directory)
    kept = {file.stem for file in run.weights_folder.glob("*.pt")}
    history = _history(run)
    swaps = sorted((name for name in kept if name.startswith("swap-")), key=lambda name: int(name.partition("-")[2]))
    names = [name for name in ("start", *swaps, "end") if name in kept]
    if "end" not in kept and run.checkpoint_file.exists():
        names.append(LATEST)
    if not names:
        raise RunDirectoryError(
            f"{run.path} holds no weights of a run: there is no weights/*.pt in it. Give the folder that `landscape train` "
            "named when it began, or that was given to Trainer(run_dir=...)."
        )
    return tuple(Moment(name, _epoch(name, history)) for name in names)


def diagnose_moments(
    directory: Path | str,
    problem: Problem,
    held_out: Problem | None = None,
    *,
    moments: Sequence[str] | None = None,
    level: LevelName = "standard",
    budget: float | None = None,
    batch_size: int | None = None,
    seed: int = 0,
    progress: bool | Progress | None = None,
    announce: Callable[[str, CostEstimate], None] | None = None,
) -> Diagnoses:
    """Diagnose the model of a run at several moments.

    Parameters
    ----------
    directory : Path or str
        The run's folder, as ``Trainer(run_dir=...)`` fills it.
    problem : Problem
        What was trained, or the like: the weights of each moment are put into its model, and its own come back in the end.
    held_out : Problem, optional
        The same model on other data.
    moments : sequence of str, optional
        ``"start"``, ``"swap"`` (the first one), ``"swap-2"``, ``"end"``, ``"latest"``. Default: the first swap, if there was
        one, and the end, or the latest state of a run that has none.
    level, budget, batch_size, seed, progress, announce
        As for :func:`landscape.diagnosis.many.diagnose_many`.

    Returns
    -------
    Diagnoses
        With the run's history.

    Raises
    ------
    ValueError
        If a moment was not kept; the message lists those that were.
    RunDirectoryError
        If the folder holds no run.
    """
    run = RunDirectory(directory)
    chosen = choose_moments(moments_of(directory), moments)
    own = {name: tensor.clone() for name, tensor in problem.model.state_dict().items() if torch.is_tensor(tensor)}
    try:
        return diagnose_many(
            {str(moment): _at(moment, run, problem) for moment in chosen},
            level=level,
            budget=budget,
            held_out=held_out,
            batch_size=batch_size,
            seed=seed,
            history=_history(run),
            progress=progress,
            announce=announce,
        )
    finally:
        problem.model.load_state_dict(own, strict=False)


def choose_moments(kept: Sequence[Moment], asked: Sequence[str] | None) -> tuple[Moment, ...]:
    """Those asked for, in the order of the run, each once.

    Raises
    ------
    ValueError
        If one was not kept.

    Examples
    --------
    >>> kept = [Moment("start", 0), Moment("swap-1", 7), Moment("end", 20)]
    >>> [str(moment) for moment in choose_moments(kept, None)]
    ['swap-1, epoch 7', 'end, epoch 20']
    """
    by_name = {moment.name: moment for moment in kept}
    if asked is None:
        names = [name for name in ("swap-1", "end", LATEST) if name in by_name] or list(by_name)[-1:]
    else:
        names = ["swap-1" if name == "swap" else name for name in asked]
    missing = [name for name in names if name not in by_name]
    if missing or not names:
        there = ", ".join(map(str, kept))
        given = (
            f"moment {missing[0]!r} was asked for, at which no weights were kept" if missing else "no moment was given"
        )
        hint = suggestion(missing[0], by_name) if missing else ""
        raise ValueError(
            f"{given}; there are: {there}.{hint} A run keeps its weights at the start, at each swap and at the end."
        )
    return tuple(moment for moment in kept if moment.name in names)


def _at(moment: Moment, run: RunDirectory, problem: Problem) -> Callable[[], Problem]:
    """Put the model there when its turn has come."""

    def put() -> Problem:
        problem.model.load_state_dict(_weights(moment, run))
        return problem

    return put


def _weights(moment: Moment, run: RunDirectory) -> Mapping[str, Any]:
    if moment.name == LATEST:
        saved: Mapping[str, Any] = run.load_checkpoint()["model"]
        return saved
    weights: Mapping[str, Any] = torch.load(
        run.weights_folder / f"{moment.name}.pt", map_location="cpu", weights_only=True
    )
    return weights


def _history(run: RunDirectory) -> History:
    return History.from_jsonl(run.history_file) if run.history_file.exists() else History()


def _epoch(name: str, history: History) -> int | None:
    """The last epoch before a moment: swaps are where the phase of the rows changes."""
    rows = list(history)
    if not rows:
        return None
    if name == "start":
        return 0
    changes = [before for before, after in itertools.pairwise(rows) if before.get("phase") != after.get("phase")]
    if name.startswith("swap-"):
        number = int(name.partition("-")[2])
        # A run may have stopped in the very epoch of its last swap.
        row = changes[number - 1] if number <= len(changes) else rows[-1]
    else:
        row = rows[-1]
    epoch = number_in(row, "epoch")
    return None if epoch is None else int(epoch)
