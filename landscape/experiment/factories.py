"""What makes the problem of each seed, by name, so that other processes can make it as well."""

from __future__ import annotations

import dataclasses
import functools
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from landscape.comparison.setting import as_pair
from landscape.config import ProblemConfig
from landscape.experiment.problems import make_problems
from landscape.experiment.user_code import UserCodeError, call, find
from landscape.problem import Problem


@dataclass(frozen=True, repr=False)
class ImageProblem:
    """A model of landscape's on image data.

    Parameters
    ----------
    config : ProblemConfig
        Which.

    Examples
    --------
    >>> ImageProblem(ProblemConfig(num_train=50))
    mlp on digits (50 images), mse, float32
    """

    config: ProblemConfig

    def __call__(self, seed: int) -> tuple[Problem, Problem]:
        """The model on training and on test images."""
        _, problem, validation = make_problems(self.config, seed)
        return problem, validation

    def __repr__(self) -> str:
        config = self.config
        images = f" ({config.num_train} images)" if config.num_train is not None else ""
        return f"{config.model} on {config.data}{images}, {config.loss}, {config.dtype}"

    @classmethod
    def of(cls, config: ProblemConfig) -> ImageProblem:
        """From a larger configuration, of which only the problem's part is kept."""
        names = [each.name for each in dataclasses.fields(ProblemConfig)]
        return cls(ProblemConfig(**{name: getattr(config, name) for name in names}))


@dataclass(frozen=True)
class OwnPart:
    """A function of a user's own project, by name: it travels to other processes as that.

    Parameters
    ----------
    setting : str
        Where it was given, for messages.
    name : str
        ``package.module:function``.
    folder : str
        Which is searched first; by default the current one.
    """

    setting: str = field(repr=False)
    name: str
    folder: str = field(default_factory=lambda: str(Path.cwd()), repr=False)

    def found(self) -> Any:
        """The function.

        Raises
        ------
        UserCodeError
            If the module cannot be imported, or has no such function.
        """
        if self.folder not in sys.path:
            sys.path.insert(0, self.folder)
        function = find(self.setting, self.name)
        if not callable(function):
            raise UserCodeError(
                f"{self.setting} {self.name} is a {type(function).__name__}; needed is a function that can be called."
            )
        return function


@dataclass(frozen=True)
class OwnProblem(OwnPart):
    """What makes a user's own problem.

    Parameters
    ----------
    setting, name, folder : str
        See :class:`OwnPart`.
    arguments : mapping
        Given to the function beside the seed.
    """

    arguments: Mapping[str, Any] = field(default_factory=dict)

    def __call__(self, seed: int) -> tuple[Problem, Problem | None]:
        """Call the function, and look at what it gives."""
        made = call(self.setting, self.name, functools.partial(self.found(), seed), self.arguments)
        try:
            return as_pair(made)
        except TypeError as error:
            raise UserCodeError(
                f"{self.setting} {self.name} gave {error} for seed {seed}; needed is a landscape.Problem, or a tuple of it and "
                "the same model on validation data (a Problem, or None)."
            ) from error


@dataclass(frozen=True)
class OwnMetric(OwnPart):
    """A user's own metric of output and target, a mean over samples."""

    def __call__(self, output: Any, target: Any) -> Any:
        """Call the function."""
        return self.found()(output, target)
