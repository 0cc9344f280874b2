"""What one training run is: every choice in one place, readable without importing torch."""

from __future__ import annotations

import dataclasses
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args, get_type_hints

from landscape.specs import suggestion

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

DataName = Literal["digits", "fashion-mnist", "mnist", "mnist-5k", "cifar-10", "cifar-100"]
ModelName = Literal["mlp", "vit-mlp", "vit-nomlp", "vit-nomlp-wkewq", "vit-nomlp-wkewq-wvwo", "vgg5-max-relu"]


@dataclass(frozen=True)
class ProblemConfig:
    """Choices of a problem: which model learns which data by which loss.

    Examples
    --------
    >>> ProblemConfig(data="fashion-mnist", model="vit-mlp").loss
    'mse'
    """

    data: DataName = "digits"
    """Data set; digits needs no files."""
    data_root: str | None = None
    """Folder with the data set's files. Default: the environment variable LANDSCAPE_DATA, then the usual places."""
    num_train: int | None = None
    """Train on so many images of the training set, chosen by the seed. Default: all."""
    model: ModelName = "mlp"
    """Model; the vit and vgg5 ones are the seed paper's, on images padded to 32 x 32."""
    loss: Literal["mse", "cross-entropy"] = "mse"
    """Mean squared error on one-hot targets, as in the seed paper, or cross-entropy."""
    micro_batch_size: int = 2048
    """Images per evaluation in full passes: bounds memory, does not change results."""
    dtype: Literal["float32", "float64"] = "float32"
    """Precision of model and data."""
    device: str = "auto"
    """Device: auto takes CUDA where there is one."""

    def check(self) -> None:
        """Refuse values out of range, before anything is loaded.

        Raises
        ------
        ValueError
            With the name of the setting, what was given, and what is needed.
        """
        for name, choices in choices_of(type(self)).items():
            value = getattr(self, name)
            if value not in choices:
                hint = suggestion(str(value), choices)
                raise ValueError(f"{name}={value!r} was given; it is one of {', '.join(choices)}.{hint}")
        self._check_positive("num_train", "micro_batch_size")

    def _check_positive(self, *names: str) -> None:
        for name in names:
            value = getattr(self, name)
            if value is not None and not value > 0:
                raise ValueError(f"{name}={value} was given; it must be more than 0.")


@dataclass(frozen=True)
class TrainConfig(ProblemConfig):
    """Choices of a training run.

    Parts with settings of their own are written ``name:key=value,key=value``.

    Examples
    --------
    >>> TrainConfig(data="fashion-mnist", model="vit-mlp", epochs=60).policy
    'step-price'
    """

    first: str = "adam:lr=0.001,batch_size=512"
    """First phase: adam, adamw, rmsprop or sgd."""
    policy: str = "step-price"
    """When to swap: step-price had the least regret on docs/swap_suite.md; gradient-norm-peak is the paper's Algorithm 1; or
    after-epochs, budget-share, never, or any other: a wrong name brings the list."""
    second: str = "cg"
    """Second phase: cg, lbfgs, ssbroyden, newton-cg, soap-cosine; controls: adam-cosine, adam-constant, adam-full-batch."""
    second_batch: str = "full"
    """Data per step of the second phase: full, a number of samples, or norm-test, which begins small and grows."""
    second_dtype: Literal["same", "float64"] = "same"
    """Precision of the second phase; float64 where float32 hides what its steps gain. The model keeps its own."""
    swap_back: str = "search-failures:patience=3"
    """When the first phase takes over again: search-failures, or never."""
    epochs: int | None = None
    """Epochs of both phases together: passes over the data, then full-batch steps."""
    budget_ge: float | None = None
    """Gradient equivalents to spend, recording included. Default, without --epochs: 5000."""
    record: Literal["norms", "loss", "free", "all"] = "norms"
    """Over all data after each first-phase epoch: loss and gradient norm (1 GE), loss, nothing, or all that policies read."""
    trackers: str = ""
    """What else to record, separated by blanks: parameter-norm, extreme-eigenvalues:every=5; a wrong name brings the list."""
    max_overhead: float = 0.1
    """What trackers may cost that no policy needs, as a share of the cost of training; what does not fit is skipped."""
    threads: int | None = None
    """Threads of torch. Default: 1 for mlp, where more would wait for each other; else torch's own choice."""
    seed: int = 0
    """Initial weights, order of the data, choice of images."""
    run_dir: str | None = None
    """Folder to keep the run in. Default: runs/<time>-<data>-<model>."""
    checkpoint_seconds: float = 10.0
    """At most so much work is lost when the process is killed."""

    def resolved(self) -> TrainConfig:
        """The same with the default budget filled in, if neither epochs nor a budget is given."""
        if self.epochs is None and self.budget_ge is None:
            return dataclasses.replace(self, budget_ge=DEFAULT_BUDGET)
        return self

    def check(self) -> None:
        """Refuse values out of range, before anything is loaded.

        Raises
        ------
        ValueError
            With the name of the setting, what was given, and what is needed.
        """
        super().check()
        if self.second_batch not in ("full", "norm-test") and not (
            self.second_batch.isdecimal() and int(self.second_batch)
        ):
            raise ValueError(
                f"second_batch={self.second_batch!r} was given; it is full, norm-test or a number of samples."
            )
        self._check_positive("epochs", "budget_ge", "threads")
        for name in ("checkpoint_seconds", "max_overhead"):
            if not getattr(self, name) >= 0:
                raise ValueError(f"{name}={getattr(self, name)} was given; it must be 0 or more.")


DEFAULT_BUDGET = 5000.0


def choices_of(kind: type) -> dict[str, tuple[str, ...]]:
    """For each setting that is one of a few names: these.

    Examples
    --------
    >>> choices_of(ProblemConfig)["loss"]
    ('mse', 'cross-entropy')
    """
    hints = get_type_hints(kind)
    return {name: get_args(hint) for name, hint in hints.items() if getattr(hint, "__origin__", None) is Literal}


def read_config(path: Path | str) -> dict[str, Any]:
    """Read the settings of a training run from a TOML file.

    Parameters
    ----------
    path : Path or str
        A flat table with the names of :class:`TrainConfig`; dashes in names count as underscores.

    Returns
    -------
    dict
        The settings that the file gives.

    Raises
    ------
    ValueError
        If the file is not TOML or has a setting that does not exist.
    OSError
        If it cannot be read.
    """
    settings = read_settings_of(TrainConfig, path)
    for name, value in settings.items():
        if isinstance(value, (dict, list)):
            raise ValueError(f"{path}: {name!r} is a {type(value).__name__}; every setting is one number or one text.")
    return settings


def read_settings_of(kind: type, path: Path | str) -> dict[str, Any]:
    """Read a TOML file whose names are the fields of a dataclass; dashes in names count as underscores.

    Raises
    ------
    ValueError
        If the file is not TOML, or has a setting that does not exist or stands there twice.
    OSError
        If it cannot be read.
    """
    path = Path(path)
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"{path} is not a TOML file: {error}.") from error
    known = [field.name for field in dataclasses.fields(kind)]
    settings: dict[str, Any] = {}
    for key, value in table.items():
        name = key.replace("-", "_")
        if name not in known:
            hint = suggestion(name, known)
            raise ValueError(f"{path} has a setting {key!r} that does not exist.{hint} Known: {', '.join(known)}.")
        if name in settings:
            raise ValueError(f"{path} has the setting {name!r} twice, with dashes and with underscores; leave one out.")
        settings[name] = value
    return settings


def write_config(config: TrainConfig) -> bytes:
    """The settings as a TOML file; those that are None are left out."""
    import tomli_w

    values = {name: value for name, value in dataclasses.asdict(config).items() if value is not None}
    return tomli_w.dumps(values).encode()
