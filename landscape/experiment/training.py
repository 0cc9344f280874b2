"""A training run from one configuration: data, model, trainer, run directory, report."""

from __future__ import annotations

import dataclasses
import datetime
import functools
import platform
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch

import landscape
from landscape import policies
from landscape.config import TrainConfig, read_config, write_config
from landscape.datasets import ImageData
from landscape.experiment.problems import accuracy, default_threads, make_problems, threads
from landscape.problem import Problem
from landscape.report.training_report import report_document, write_report
from landscape.training.listener import Listener
from landscape.training.registry import build_first, build_second
from landscape.training.result import TrainingResult
from landscape.training.run_directory import RunDirectoryError
from landscape.training.trainer import Trainer

CONFIG_FILE = "config.toml"


def train(
    config: TrainConfig | None = None,
    *,
    resume: Path | str | None = None,
    listeners: Sequence[Listener] = (),
    **settings: Any,
) -> TrainingResult:
    """Train a model on image data in two phases and write a report: what ``landscape train`` does.

    Parameters
    ----------
    config : TrainConfig, optional
        The choices. Default: digits with an MLP, about a minute.
    resume : Path or str, optional
        Go on with the run in this folder instead; then only ``epochs`` and ``budget_ge`` may be given, to go on for
        longer.
    listeners : sequence of Listener
        Told of progress.
    **settings
        Fields of :class:`TrainConfig`, which win over ``config``.

    Returns
    -------
    TrainingResult
        Also kept in ``result.run_dir``: ``config.toml``, ``history.jsonl``, ``checkpoint.pt``, ``weights/``,
        ``report.html`` and ``report.json``.

    Raises
    ------
    ValueError
        If a setting does not exist or is out of range.
    DatasetError
        If the data's files are missing or damaged.
    RunDirectoryError
        If the folder holds another run, is in use, or cannot be written.
    CheckpointError
        If a run to be resumed is damaged or was made with other data.

    Examples
    --------
    >>> import tempfile
    >>> folder = tempfile.TemporaryDirectory()
    >>> result = train(num_train=200, epochs=5, policy="after-epochs:epochs=2", run_dir=f"{folder.name}/run")
    >>> result.swap_epoch
    2
    >>> sorted(path.name for path in result.run_dir.iterdir() if not path.name.startswith("."))
    ['checkpoint.pt', 'config.toml', 'history.jsonl', 'report.html', 'report.json', 'weights']
    >>> folder.cleanup()
    """
    chosen = (
        _resumed(resume, settings) if resume is not None else dataclasses.replace(config or TrainConfig(), **settings)
    )
    if resume is not None and config is not None:
        raise ValueError("both config and resume were given; a resumed run brings its own configuration.")
    chosen.check()
    experiment = build_experiment(chosen.resolved(), listeners)
    return experiment.run(resume=resume is not None)


@dataclass(frozen=True)
class Experiment:
    """The parts of a run, made and ready.

    Parameters
    ----------
    config : TrainConfig
        Where they came from; every default filled in.
    data : ImageData
        The images.
    problem, validation : Problem
        The model on training and on test images.
    trainer : Trainer
        With its run directory.
    """

    config: TrainConfig
    data: ImageData
    problem: Problem
    validation: Problem
    trainer: Trainer

    @functools.cached_property
    def data_id(self) -> str:
        """The data's fingerprint, taken once: it reads every pixel."""
        return self.data.fingerprint()

    def run(self, *, resume: bool) -> TrainingResult:
        """Train, and write the report whatever way the run ended."""
        directory = self.trainer.directory
        assert directory is not None
        begun = (directory.path / CONFIG_FILE).exists() or directory.has_run
        if begun and not resume:
            raise RunDirectoryError(
                f"{directory.path} already holds a run. Go on with it (`landscape train --resume {directory.path}`) or choose "
                "another --run-dir."
            )
        with directory.hold():
            directory.write(CONFIG_FILE, write_config(self.config))
        assert self.config.threads is not None
        with threads(self.config.threads):
            result = self.trainer.fit(self.problem, self.validation, resume=directory.has_run, data_id=self.data_id)
        title = f"{self.config.model} on {self.config.data}"
        write_report(directory, report_document(result, title=title, provenance=self.provenance()))
        return result

    def provenance(self) -> dict[str, str]:
        """What somebody needs to repeat the run."""
        data = self.data
        return {
            "landscape": landscape.__version__,
            "torch": str(torch.__version__),
            "python": platform.python_version(),
            "machine": f"{platform.system()} {platform.machine()}",
            "threads": str(self.config.threads),
            "device": str(self.problem.layout.device),
            "model": f"{self.config.model}, {self.problem.num_params} parameters, {self.config.dtype}",
            "data": f"{data.name}, {data.num_train} training and {data.num_test} test images",
            "data fingerprint": self.data_id,
            "loss": self.config.loss,
            "seed": str(self.config.seed),
        }


def build_experiment(config: TrainConfig, listeners: Sequence[Listener] = ()) -> Experiment:
    """Make every part of a run, the cheap and refusable ones first.

    Parameters
    ----------
    config : TrainConfig
        Checked and resolved.
    listeners : sequence of Listener
        Told of progress.

    Returns
    -------
    Experiment
    """
    make_trainer = functools.partial(
        Trainer,
        first=build_first(config.first),
        second=build_second(config.second),
        second_batch=_second_batch(config),
        second_dtype="float64" if config.second_dtype == "float64" else None,
        policy=policies.build(config.policy),
        swap_back=None if config.swap_back == "never" else policies.build(config.swap_back),
        epochs=config.epochs,
        budget=config.budget_ge,
        record=config.record,
        trackers=config.trackers,
        max_overhead=config.max_overhead,
        metrics={"accuracy": accuracy},
        seed=config.seed,
        checkpoint_seconds=config.checkpoint_seconds,
        listeners=listeners,
    )
    make_trainer()  # refuses what it must before any data are read
    data, problem, validation = make_problems(config, config.seed)
    run_dir = Path(config.run_dir) if config.run_dir is not None else _new_run_dir(config)
    return Experiment(
        config=dataclasses.replace(config, run_dir=str(run_dir), threads=config.threads or default_threads(config)),
        data=data,
        problem=problem,
        validation=validation,
        trainer=make_trainer(run_dir=run_dir),
    )


def _second_batch(config: TrainConfig) -> int | Literal["norm-test"] | None:
    if config.second_batch == "full":
        return None
    return "norm-test" if config.second_batch == "norm-test" else int(config.second_batch)


def _resumed(folder: Path | str, settings: dict[str, Any]) -> TrainConfig:
    """The configuration of a run that was begun, with a new end if one is given."""
    path = Path(folder) / CONFIG_FILE
    if not path.exists():
        raise RunDirectoryError(
            f"{folder} holds no run to resume: there is no {CONFIG_FILE} in it. Give the folder that `landscape train` named "
            "when it began."
        )
    others = sorted(set(settings) - {"epochs", "budget_ge"})
    if others:
        raise ValueError(
            f"a resumed run brings its own settings, but {', '.join(others)} was given. Only epochs and budget_ge may be "
            "given with resume; for other settings begin a new run."
        )
    config = TrainConfig(**read_config(path))
    config = dataclasses.replace(config, run_dir=str(folder))  # it may have been moved
    if settings:  # a new end replaces the old one, whichever of the two it was
        config = dataclasses.replace(config, **{"epochs": None, "budget_ge": None, **settings})
    return config


def _new_run_dir(config: TrainConfig) -> Path:
    """A folder under runs/ that does not exist yet."""
    name = f"{datetime.datetime.now():%Y%m%d-%H%M%S}-{config.data}-{config.model}"
    path = Path("runs") / name
    for number in range(2, 1000):
        if not path.exists():
            break
        path = Path("runs") / f"{name}-{number}"
    return path
