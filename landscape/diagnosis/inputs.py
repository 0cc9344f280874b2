"""What a diagnosis may be given, checked before any work."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from landscape.diagnosis.levels import LEVELS, Level
from landscape.problem import Problem


def checked_level(level: str, budget: float | None, batch_size: int | None) -> Level:
    """The level's settings, if all three can be."""
    if level not in LEVELS:
        raise ValueError(f"level={level!r} was given; it is one of {', '.join(map(repr, LEVELS))}.")
    if budget is not None and not budget > 0:
        raise ValueError(f"budget={budget} was given; it must be more than 0 gradient equivalents.")
    if batch_size is not None and batch_size < 1:
        raise ValueError(f"batch_size={batch_size} was given; mini-batches hold at least 1 sample.")
    return LEVELS[level]


def problem_of(
    model: nn.Module | Problem,
    loss_fn: Callable[..., torch.Tensor] | None,
    data: Any,
    micro_batch_size: int | None,
) -> Problem:
    """What was given as the model, its loss and its data, as a problem that Lanczos can work on."""
    if isinstance(model, Problem):
        if loss_fn is not None or data is not None:
            raise ValueError("a Problem was given together with loss_fn or data; it has both already. Give it alone.")
        return _of_usable_precision(model)
    if not isinstance(model, nn.Module):
        raise TypeError(f"model is a {type(model).__name__}; a torch.nn.Module or a landscape.Problem is needed.")
    missing = " and ".join(name for name, value in (("loss_fn", loss_fn), ("data", data)) if value is None)
    if loss_fn is None or data is None:
        raise ValueError(f"{missing} is missing: diagnose(model, loss_fn, data), or diagnose(problem).")
    return _of_usable_precision(Problem(model, loss_fn, data, batch_size=micro_batch_size))


def held_out_problem(given: Any, problem: Problem, micro_batch_size: int | None) -> Problem:
    """The same model and loss on other data."""
    if isinstance(given, Problem):
        if given.model is not problem.model or given.layout.names != problem.layout.names:
            raise ValueError(
                "held_out is a Problem of another model or other parameters; it has to be the same model with the same "
                "params=, on other data."
            )
        return given
    if problem.loss_fn is None:
        raise ValueError(
            "held_out was given as data for a problem made from a closure. Give a problem: "
            "Problem.from_closure(model, closure, held_out_batches)."
        )
    params = problem.layout.globs
    return Problem(problem.model, problem.loss_fn, given, batch_size=micro_batch_size, params=params, mode=problem.mode)


def _of_usable_precision(problem: Problem) -> Problem:
    if problem.layout.dtype not in (torch.float32, torch.float64):
        raise ValueError(
            f"the parameters are in {str(problem.layout.dtype).removeprefix('torch.')}; eigenvalues need float32 or float64. "
            "Convert a copy of the model, and the data: copy.deepcopy(model).float()."
        )
    return problem
