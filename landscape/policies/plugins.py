"""Policies that other packages bring along, found by their entry points."""

from __future__ import annotations

import importlib.metadata
from collections.abc import Callable
from typing import Any

GROUP = "landscape.policies"


class BrokenPluginError(ValueError):
    """A package offers a policy that cannot be loaded."""


def found() -> dict[str, importlib.metadata.EntryPoint]:
    """The entry points of all installed packages by name; of two with one name, the first on the path. Nothing is loaded."""
    points: dict[str, importlib.metadata.EntryPoint] = {}
    for point in importlib.metadata.entry_points(group=GROUP):
        points.setdefault(point.name, point)
    return points


def load(point: importlib.metadata.EntryPoint) -> Callable[..., Any]:
    """Import what an entry point names.

    Raises
    ------
    BrokenPluginError
        If that fails for whatever reason, or gives nothing that can be called; it names the entry point and its package.
    """
    package = point.dist.name if point.dist is not None else "an unknown package"
    where = f"policy {point.name!r} = {point.value!r} of the package {package!r}"
    try:
        factory: Any = point.load()
    except Exception as error:
        raise BrokenPluginError(
            f"{where} cannot be loaded: {type(error).__name__}: {error}. Repair or remove the package; other policies are not "
            "touched by this."
        ) from error
    if not callable(factory):
        raise BrokenPluginError(f"{where} is {factory!r}; it must be a class or a function that makes a policy.")
    found_factory: Callable[..., Any] = factory
    return found_factory
