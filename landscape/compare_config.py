"""What one comparison of swap criteria is: every choice in one place, readable without importing torch."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from landscape.config import ProblemConfig, read_settings_of

#: One text, several, or a table of names of one's own and texts, such as ``"loss-plateau:window=5"``.
Specs = tuple[str, ...] | Mapping[str, str]

#: Asked by default: that of ``landscape train``, the seed paper's rule and a stricter reading of it, and one criterion each of
#: slope, loss and curvature.
FEW_POLICIES: Mapping[str, str] = {
    "step-price": "step-price",
    "gradient-norm-peak (paper)": "gradient-norm-peak:norm=mean_batch,min_epochs=2",
    "gradient-norm-peak (rise)": "gradient-norm-peak:norm=mean_batch,require_rise=true",
    "gradient-norm-slope": "gradient-norm-slope",
    "loss-plateau": "loss-plateau",
    "directional-curvature": "directional-curvature",
}


@dataclass(frozen=True)
class CompareConfig(ProblemConfig):
    """Choices of a comparison: a problem, what is compared on it, and how; see :func:`landscape.compare`.

    Examples
    --------
    >>> config = CompareConfig(policies=("all",), finishers={"CG": "cg:beta=hz", "L-BFGS": "lbfgs"})
    >>> config.check()
    >>> config.finisher_names
    ('CG', 'L-BFGS')
    """

    problem: str | None = None
    """Instead of data, model and loss: package.module:function of one's own, called with the seed; it gives a Problem, or a
    pair of it and the same model on validation data."""
    problem_args: Mapping[str, Any] = field(default_factory=dict)
    """Other arguments of that function."""
    first: str = "adam:lr=0.001,batch_size=512"
    """First phase: adam, adamw, rmsprop or sgd."""
    policies: Specs = field(default_factory=lambda: dict(FEW_POLICIES))
    """Swap criteria; "all" is every one that is known, with its defaults. Default: six. "never" is always compared."""
    finishers: Specs = ("cg",)
    """Second phases that policies swap to: cg, lbfgs, ssbroyden, newton-cg, soap-cosine ..."""
    controls: Specs | None = None
    """Second phases tried from some fixed epochs only: what else could have made the difference. Default: adam-cosine and
    adam-full-batch, unless policies swap to them anyway."""
    control_epochs: tuple[int, ...] | None = None
    """From which. Default: every second one of the grid but 0."""
    from_start: Specs = ("adam-cosine",)
    """Second phases tried without any first phase: the tuned baseline."""
    grid: tuple[int, ...] | None = None
    """Fixed swap epochs; 0 is no first phase at all. Default: nine, from 0 to 0.8 of the budget."""
    seeds: int | tuple[int, ...] = 10
    """So many, or these."""
    budget_ge: float = 150.0
    """Gradient equivalents of every arm: both phases, line searches and the policy's measurements."""
    metric: str = "train_loss"
    """What decides: train_loss or validation_loss."""
    metrics: Mapping[str, str] | None = None
    """Evaluated beside the losses: names, and "accuracy" or package.module:function of (output, target). Default: accuracy for
    data sets by name, nothing for a problem of one's own."""
    floor: float | None = None
    """Losses below count as this one. Default: what rounding leaves of the loss at the start."""
    target: float | None = None
    """Training loss to be reached, for the time to target. Default: for each seed what the first phase alone comes to."""
    swap_every: int = 1
    """Let policies swap after multiples of so many epochs only: more of them share a branch."""
    max_signal_cost: float = 5.0
    """Signals are measured at grid epochs if that costs at most so many gradient equivalents; nobody is charged."""
    threads: int = 1
    """Threads of torch for each job; local processes beside each other have one each."""
    title: str = ""
    """Of the results. Default: model and data, or the problem's name."""
    store: str | None = None
    """Folder of results; what is in it is not computed again. Default: runs/comparisons/<name of the file>."""

    @property
    def finisher_names(self) -> tuple[str, ...]:
        """What results call the finishers."""
        return tuple(self.finishers)

    def check(self) -> None:
        """Refuse values of the wrong kind or out of range, before anything is loaded.

        Raises
        ------
        ValueError
            With the name of the setting, what was given, and what is needed.
        """
        for name, (is_right, needed) in _KINDS.items():
            value = getattr(self, name)
            if not (is_right(value) or (value is None and name in _MAY_BE_NONE)):
                raise ValueError(f"{name} = {_shown(value)} was given; needed is {needed}.")
        super().check()
        self._check_positive("threads", "budget_ge", *(["seeds"] if isinstance(self.seeds, int) else []))
        if self.problem is None:
            if self.problem_args:
                raise ValueError("problem_args were given without a problem; give problem = 'package.module:function'.")
            return
        if ":" not in self.problem:
            raise ValueError(
                f"problem = {self.problem!r} was given; needed is 'package.module:function', whose function takes a seed."
            )
        others = [f.name for f in dataclasses.fields(ProblemConfig) if getattr(self, f.name) != f.default]
        if others:
            raise ValueError(
                f"{', '.join(others)} was given together with problem = {self.problem!r}, which makes model, data and loss "
                "itself. Give one or the other; arguments of the function stand in the table problem_args."
            )


def read_compare_config(path: Path | str) -> CompareConfig:
    """Read a comparison from a TOML file.

    Parameters
    ----------
    path : Path or str
        A table with the names of :class:`CompareConfig`; dashes in names count as underscores.

    Returns
    -------
    CompareConfig
        Checked.

    Raises
    ------
    ValueError
        If the file is not TOML, has a setting that does not exist, or one of the wrong kind.
    OSError
        If it cannot be read.
    """
    settings = {name: _read(name, value) for name, value in read_settings_of(CompareConfig, path).items()}
    config = CompareConfig(**settings)
    try:
        config.check()
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error
    return config


def _read(name: str, value: Any) -> Any:
    """Lists become tuples; one text for several is a list of one."""
    if name in _SPECS and isinstance(value, str):
        return (value,)
    return tuple(value) if isinstance(value, list) and name != "problem_args" else value


def _is_text(value: Any) -> bool:
    return isinstance(value, str)


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _is_whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _are_whole(value: Any) -> bool:
    return isinstance(value, (tuple, list)) and all(map(_is_whole, value))


def _are_specs(value: Any) -> bool:
    texts = value.values() if isinstance(value, Mapping) else value
    return isinstance(value, (tuple, list, Mapping)) and all(map(_is_text, texts))


def _shown(value: Any) -> str:
    return repr(list(value)) if isinstance(value, tuple) else repr(value)


_Kind = tuple[Callable[[Any], bool], str]
_SPECS = ("policies", "finishers", "controls", "from_start")
_MAY_BE_NONE = (
    "data_root",
    "num_train",
    "problem",
    "controls",
    "control_epochs",
    "grid",
    "metrics",
    "floor",
    "target",
    "store",
)
_KINDS: Mapping[str, _Kind] = {
    **dict.fromkeys(("data_root", "device", "problem", "first", "metric", "title", "store"), (_is_text, "a text")),
    **dict.fromkeys(("num_train", "micro_batch_size", "threads", "swap_every"), (_is_whole, "a whole number")),
    **dict.fromkeys(("budget_ge", "floor", "target", "max_signal_cost"), (_is_number, "a number")),
    **dict.fromkeys(("control_epochs", "grid"), (_are_whole, "a list of epochs, which are whole numbers")),
    "seeds": (lambda value: _is_whole(value) or _are_whole(value), "a whole number, or a list of them"),
    **dict.fromkeys(_SPECS, (_are_specs, "a text, a list of texts, or a table of names and texts")),
    "problem_args": (lambda value: isinstance(value, Mapping), "a table of the function's arguments"),
    "metrics": (
        lambda value: isinstance(value, Mapping) and all(map(_is_text, value.values())),
        "a table of names and texts, such as {accuracy = 'accuracy'}",
    ),
}
