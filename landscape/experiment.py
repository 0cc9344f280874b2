"""An experiment from one configuration: data, model, trainer, run directory, report."""

from __future__ import annotations

import contextlib
import dataclasses
import datetime
import functools
import platform
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

import landscape
from landscape import datasets, models, policies
from landscape.config import TrainConfig, read_config, write_config
from landscape.datasets import ImageData
from landscape.diagnosis.bar import Progress
from landscape.diagnosis.diagnose import LevelName
from landscape.diagnosis.diagnosis import CostEstimate
from landscape.diagnosis.many import Diagnoses
from landscape.diagnosis.moments import choose_moments, diagnose_moments, moments_of
from landscape.problem import Problem
from landscape.report.training_report import report_document, write_report
from landscape.training.listener import Listener
from landscape.training.registry import build_first, build_second
from landscape.training.result import TrainingResult
from landscape.training.run_directory import RunDirectoryError
from landscape.training.trainer import Trainer

CONFIG_FILE = "config.toml"
#: The paper's models take images of this size; smaller ones are padded with zeros.
_PAPER_SIZE = 32


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
    with _threads(config.threads or _default_threads(config)):
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
        with _threads(self.config.threads):
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
    device = usable_device(config.device)
    data = datasets.load(
        config.data,
        root=config.data_root,
        num_train=config.num_train,
        pad_to=None if config.model == "mlp" else _PAPER_SIZE,
        seed=config.seed,
    )
    dtype = torch.float64 if config.dtype == "float64" else torch.float32
    model = models.build(
        config.model,
        channels=data.channels,
        num_classes=data.num_classes,
        image_size=data.image_size,
        seed=config.seed,
    ).to(device, dtype)
    run_dir = Path(config.run_dir) if config.run_dir is not None else _new_run_dir(config)
    return Experiment(
        config=dataclasses.replace(config, run_dir=str(run_dir), threads=config.threads or _default_threads(config)),
        data=data,
        problem=_problem(model, data, "train", config, dtype),
        validation=_problem(model, data, "test", config, dtype),
        trainer=make_trainer(run_dir=run_dir),
    )


def accuracy(output: Tensor, target: Tensor) -> Tensor:
    """Share of samples whose largest output is that of the target's class; targets are labels or one-hot."""
    labels = target if target.dim() == 1 else target.argmax(dim=1)
    return (output.argmax(dim=1) == labels).double().mean()


def _problem(model: nn.Module, data: ImageData, part: str, config: TrainConfig, dtype: torch.dtype) -> Problem:
    inputs = (data.train_inputs if part == "train" else data.test_inputs).to(dtype)
    labels = data.train_labels if part == "train" else data.test_labels
    targets = data.one_hot(labels).to(dtype) if config.loss == "mse" else labels
    device = next(model.parameters()).device
    loss_fn = F.mse_loss if config.loss == "mse" else F.cross_entropy
    return Problem(model, loss_fn, (inputs.to(device), targets.to(device)), batch_size=config.micro_batch_size)


def _second_batch(config: TrainConfig) -> int | Literal["norm-test"] | None:
    if config.second_batch == "full":
        return None
    return "norm-test" if config.second_batch == "norm-test" else int(config.second_batch)


def _default_threads(config: TrainConfig) -> int:
    """Small models gain nothing from threads, and lose much where another process wants the cores, too."""
    return 1 if config.model == "mlp" else torch.get_num_threads()


@contextlib.contextmanager
def _threads(number: int) -> Iterator[None]:
    """Let torch use so many threads; how sums are rounded depends on it, so a resumed run must have as many."""
    before = torch.get_num_threads()
    torch.set_num_threads(number)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def usable_device(name: str) -> torch.device:
    """The device of that name, ``"auto"`` for CUDA where there is one, tried out.

    Raises
    ------
    ValueError
        If it cannot be used here.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.zeros(1, device=device)
    except (RuntimeError, AssertionError) as error:
        raise ValueError(
            f"device={name!r} cannot be used here: {str(error).splitlines()[0]} Use 'cpu' or 'auto'."
        ) from error
    return device


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
