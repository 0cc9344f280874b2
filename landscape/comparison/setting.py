"""What all runs of one seed share: the problem, the first phase, the budget."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch

from landscape.comparison.evaluation import Metric
from landscape.diagnosis.provenance import data_fingerprint, fingerprint
from landscape.problem import Problem
from landscape.tracking.facts import uncharged
from landscape.training.phases import PhaseFactory, describe_callable
from landscape.vectors import norm

MakeProblem = Callable[[int], "Problem | tuple[Problem, Problem | None]"]


@dataclass(frozen=True)
class Setting:
    """What all runs of one seed share.

    Parameters
    ----------
    make_problem : callable
        ``make_problem(seed)`` gives the problem, or a pair of it and the same model on validation data.
    seed : int
        Of what ``make_problem`` draws, and of the order of the mini-batches.
    first : PhaseFactory
        The first phase.
    budget : float
        Gradient equivalents of every arm.
    metrics : mapping of str to callable
        Evaluated beside the losses.
    identity : mapping of str to str
        What decides the course of all these runs, as text; made by :func:`setting_for`.
    """

    make_problem: MakeProblem
    seed: int
    first: PhaseFactory
    budget: float
    metrics: Mapping[str, Metric]
    identity: Mapping[str, str]

    def make(self) -> tuple[Problem, Problem | None]:
        """The problem, its model as initialised, and the same model on validation data."""
        return made_by(self.make_problem, self.seed)


@dataclass(frozen=True)
class Beginning:
    """What the problem of a seed is like before the first step, measured while its setting was made.

    Parameters
    ----------
    num_params, num_samples : int
        Of the problem.
    loss : float
        Over all training data.
    precision : float
        The relative spacing of floating-point numbers in the parameters' type.
    """

    num_params: int
    num_samples: int
    loss: float
    precision: float


def setting_for(
    make_problem: MakeProblem, seed: int, first: PhaseFactory, budget: float, metrics: Mapping[str, Metric]
) -> tuple[Setting, Beginning]:
    """Make the problem once, and take the fingerprint of what it consists of (1 gradient).

    Two problems with the same weights, data, loss and gradient at the start are taken for the same, whatever the code that
    makes them is called; so results are not mixed up when the code has changed.

    Raises
    ------
    TypeError
        If ``make_problem`` gives something else.
    ValueError
        If the loss at the start is not finite.
    """
    problem, validation = made_by(make_problem, seed)
    with uncharged(problem):
        loss, gradient = problem.loss_and_gradient()
    if not math.isfinite(float(loss)):
        raise ValueError(
            f"the loss at the start is {float(loss)} with seed {seed}, so there is nothing to compare. Mend what "
            f"{describe_callable(make_problem)} makes."
        )
    model = problem.model.state_dict()
    identity = {
        "landscape": sys.modules["landscape"].__version__,  # not imported: the package stands above its parts
        "torch": str(torch.__version__),
        "seed": str(seed),
        "first": first.describe(),
        "budget": repr(budget),
        "weights": fingerprint(*(value for value in model.values() if isinstance(value, torch.Tensor))),
        "data": data_fingerprint(problem),
        "validation": "none" if validation is None else data_fingerprint(validation),
        # Rounded, so that another machine's sums make no other comparison.
        "start": f"{float(loss):.5e}, {norm(gradient):.3e}",
        "metrics": ", ".join(f"{name}={describe_callable(metric)}" for name, metric in metrics.items()),
    }
    beginning = Beginning(problem.num_params, problem.num_samples, float(loss), torch.finfo(problem.layout.dtype).eps)
    return Setting(make_problem, seed, first, budget, metrics, identity), beginning


def made_by(make_problem: MakeProblem, seed: int) -> tuple[Problem, Problem | None]:
    """Call the user's function and look at what it gives."""
    made = make_problem(seed)
    try:
        pair = as_pair(made)
    except TypeError as error:
        raise TypeError(
            f"make_problem({seed}) gave {error}; needed is a Problem, or a tuple of the training problem and the validation "
            "problem (or None) on the same model."
        ) from error
    if pair[1] is not None and pair[1].model is not pair[0].model:
        raise ValueError(
            f"make_problem({seed}) gave a validation problem on another model than the training problem's. Make both of the "
            "same model object, so that validation sees what was trained."
        )
    return pair


def as_pair(made: Any) -> tuple[Problem, Problem | None]:
    """A problem, or it and the one on validation data, as two.

    Raises
    ------
    TypeError
        If it is something else; the text says what.

    Examples
    --------
    >>> as_pair(("weights", 3))
    Traceback (most recent call last):
        ...
    TypeError: str, int
    """
    pair = made if isinstance(made, tuple) else (made, None)
    if len(pair) == 2 and isinstance(pair[0], Problem) and isinstance(pair[1], Problem | None):
        return pair
    parts = made if isinstance(made, tuple) else (made,)
    raise TypeError(", ".join(type(part).__name__ for part in parts) or "an empty tuple")
