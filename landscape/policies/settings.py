"""Refusing settings that are out of range, with what was given and what is needed."""

from __future__ import annotations

import math
from collections.abc import Iterable


def at_least(name: str, value: float, minimum: float) -> None:
    """Refuse a value below ``minimum`` (or NaN)."""
    if not value >= minimum:
        raise ValueError(f"{name}={value} was given; it must be at least {minimum:g}.")


def between(name: str, value: float, low: float, high: float) -> None:
    """Refuse a value outside the open interval."""
    if not low < value < high:
        raise ValueError(f"{name}={value} was given; it must lie between {low:g} and {high:g}, both excluded.")


def positive(name: str, value: float) -> None:
    """Refuse what is not above 0 and finite."""
    if not (value > 0 and math.isfinite(value)):
        raise ValueError(f"{name}={value} was given; it must be a finite number above 0.")


def one_of(name: str, value: object, known: Iterable[str]) -> None:
    """Refuse what is not among ``known``."""
    options = tuple(known)
    if value not in options:
        raise ValueError(f"{name}={value!r} was given; it is one of {', '.join(map(repr, options))}.")
