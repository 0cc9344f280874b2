"""Refuses options and parameters that an optimiser over one flat vector cannot serve, before any work."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from numbers import Real
from typing import Any, SupportsIndex, TypeVar

import torch

T = TypeVar("T")


def name_of(option: str, value: str | Callable[..., Any]) -> str:
    """The name under which an option stands in a checkpoint, which cannot hold functions."""
    if isinstance(value, str):
        return value
    if not callable(value):
        raise TypeError(f"{option}={value!r} is neither a name nor a function. Pass one of the two.")
    return getattr(value, "__qualname__", type(value).__qualname__)


def look_up(option: str, name: str, table: Mapping[str, T]) -> T:
    """The entry of that name, or an error that lists the names there are."""
    if name in table:
        return table[name]
    raise ValueError(
        f"There is no {option}={name!r}; choose one of {', '.join(map(repr, table))}, or pass a function. If it comes from "
        "a checkpoint of a run with a function of that name, construct the optimiser with the same function."
    )


def whole_number(option: str, value: object, lowest: int) -> int | None:
    """An integer of at least ``lowest``, or None."""
    if value is None:
        return None
    if isinstance(value, SupportsIndex) and value.__index__() >= lowest and not _is_bool(value):
        return value.__index__()  # a plain int: checkpoints that load with weights_only=True hold no numpy numbers
    raise ValueError(f"{option}={value!r} was given; it has to be a whole number of at least {lowest}, or None.")


def tolerance(option: str, value: object) -> float:
    """A finite number of at least 0."""
    if isinstance(value, Real) and not _is_bool(value) and 0.0 <= float(value) < math.inf:
        return float(value)
    raise ValueError(f"{option}={value!r} was given; it has to be a finite number of at least 0.")


def _is_bool(value: object) -> bool:
    return isinstance(value, bool)


def check_groups(groups: Sequence[Mapping[str, Any]], options: Iterable[str]) -> None:
    """All groups share their options; all parameters are dense, real, of one dtype and on one device."""
    first = groups[0]["params"][0]
    for index, group in enumerate(groups):
        for name in options:
            if group[name] != groups[0][name]:
                raise ValueError(
                    f"Parameter group {index} has {name}={group[name]!r}, group 0 has {groups[0][name]!r}. One direction "
                    "and one step size serve all parameters: give the option once, to the optimiser itself."
                )
        for param in group["params"]:
            given = f"A parameter of shape {tuple(param.shape)} in group {index}"
            if param.layout is not torch.strided or not param.is_floating_point():
                raise TypeError(
                    f"{given} has dtype {param.dtype} and layout {param.layout}; parameters have to be dense, real and "
                    "floating-point. Optimise torch.view_as_real(p) instead of a complex p."
                )
            if param.dtype != first.dtype or param.device != first.device:
                raise TypeError(
                    f"{given} is {param.dtype} on {param.device}, the first one is {first.dtype} on {first.device}; all "
                    "have to share one dtype and one device. Convert the model with model.to(...)."
                )
