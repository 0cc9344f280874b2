"""Moments of a first phase that are kept, so that other runs can begin there."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from landscape.autodiff.leave_no_trace import get_random_states, set_random_states
from landscape.training.checkpoint import CheckpointError, load_checkpoint, save_checkpoint

if TYPE_CHECKING:
    from landscape.training.run import Run

_FOLDER = "points"


def point_file(run_dir: Path, epoch: int) -> Path:
    """Where the run in a folder keeps its point after an epoch."""
    return run_dir / _FOLDER / f"epoch-{epoch:06}.pt"


def kept_points(run_dir: Path) -> dict[int, Path]:
    """The points that a run has kept, by epoch.

    Examples
    --------
    >>> kept_points(Path("there/is/no/such/run"))
    {}
    """
    files = sorted((run_dir / _FOLDER).glob("epoch-*.pt"))
    return {int(file.stem.removeprefix("epoch-")): file for file in files}


def save_point(run: Run, path: Path) -> None:
    """Keep where a run's first phase stands at the end of an epoch: weights, optimiser, order of the data, what it has cost.

    Parameters
    ----------
    run : Run
        In its first phase, which it has not left before.
    path : Path
        The file; its folder is made.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    save_checkpoint(
        path,
        {
            "epoch": run.state.epoch,
            "model": run.problem.model.state_dict(),
            "first": run.phases["first"].state_dict(),
            "training": run.state.cost["training"].state_dict(),
            "seconds": run.state.seconds,
            "random": get_random_states(),
            "settings": _settings(run),
        },
    )


def load_point(path: Path) -> dict[str, Any]:
    """Read a point.

    Raises
    ------
    CheckpointError
        If the file is damaged, or is no point.
    OSError
        If it cannot be read.
    """
    point = load_checkpoint(path)
    if not {"epoch", "model", "first", "training", "random"} <= point.keys():
        raise CheckpointError(f"{path} is no point of a first phase; give a file from the folder {_FOLDER!r} of a run.")
    return point


def go_to(run: Run, point: dict[str, Any]) -> None:
    """Put a run that has not begun where the point was kept.

    Raises
    ------
    CheckpointError
        If the point is of another first phase, seed or model.
    """
    differences = [
        f"{name} was {point['settings'].get(name)!r} and is now {value!r}"
        for name, value in _settings(run).items()
        if point["settings"].get(name) != value
    ]
    if differences:
        raise CheckpointError(
            f"the point was kept by another run: {'; '.join(differences)}. Begin with the problem, the first phase and the "
            "seed that it was made with."
        )
    run.problem.model.load_state_dict(point["model"])
    run.phases["first"].load_state_dict(point["first"])
    run.state.epoch = int(point["epoch"])
    run.state.seconds = float(point["seconds"])
    run.state.cost["training"].load_state_dict(point["training"])
    set_random_states(point["random"])


def _settings(run: Run) -> dict[str, str]:
    """What decides the course of a first phase."""
    layout = run.problem.layout
    return {
        "first": run.trainer.first.describe(),
        "seed": str(run.trainer.seed),
        "parameters": "; ".join(f"{n} {tuple(s)}" for n, s in zip(layout.names, layout.shapes, strict=True)),
        "dtype": str(layout.dtype),
    }
