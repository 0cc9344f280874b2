"""A diagnosis of a training run, from its own configuration."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Literal

from landscape.config import TrainConfig, read_config
from landscape.diagnosis.bar import Progress
from landscape.diagnosis.diagnose import LevelName
from landscape.diagnosis.diagnosis import CostEstimate
from landscape.diagnosis.many import Diagnoses
from landscape.diagnosis.moments import choose_moments, diagnose_moments, moments_of
from landscape.experiment.problems import default_threads, threads
from landscape.experiment.training import CONFIG_FILE, build_experiment
from landscape.training.registry import build_first
from landscape.training.run_directory import RunDirectoryError


def diagnose_run(
    directory: Path | str,
    *,
    moments: Sequence[str] | None = None,
    level: LevelName = "standard",
    budget: float | None = None,
    seed: int = 0,
    device: str | None = None,
    dtype: Literal["float32", "float64"] | None = None,
    progress: bool | Progress | None = None,
    announce: Callable[[str, CostEstimate], None] | None = None,
) -> Diagnoses:
    """Diagnose the model of a run at its swap, its end or its start, side by side: ``landscape diagnose RUN``.

    Parameters
    ----------
    directory : Path or str
        A folder that :func:`train` has filled; nothing in it is changed.
    moments, level, budget, seed, progress, announce
        As for :func:`landscape.diagnosis.moments.diagnose_moments`.
    device, dtype : str, optional
        Where and in which precision it is measured. Default: the run's own.

    Returns
    -------
    Diagnoses
        Over the run's training images, with its test images as other data, and with its history.

    Raises
    ------
    ValueError
        If a moment was not kept, or a setting is out of range.
    RunDirectoryError
        If the folder holds no such run.
    DatasetError
        If the data's files are missing or damaged.
    """
    path = Path(directory) / CONFIG_FILE
    if not path.exists():
        raise RunDirectoryError(
            f"{directory} holds no run of `landscape train`: there is no {CONFIG_FILE} in it. Give the folder that it named "
            "when it began; for a run of your own, diagnose_moments(directory, problem)."
        )
    choose_moments(moments_of(directory), moments)  # refuses what it must before any data are read
    config = TrainConfig(**read_config(path))
    config.check()
    # What is only for training may be of a package that is not here.
    config = dataclasses.replace(config, policy="never", swap_back="never", trackers="", run_dir=str(directory))
    config = dataclasses.replace(config, device=device or config.device, dtype=dtype or config.dtype)
    experiment = build_experiment(config)
    with threads(config.threads or default_threads(config)):
        return diagnose_moments(
            directory,
            experiment.problem,
            experiment.validation,
            moments=moments,
            level=level,
            budget=budget,
            batch_size=build_first(config.first).batch_size,
            seed=seed,
            progress=progress,
            announce=announce,
        )
