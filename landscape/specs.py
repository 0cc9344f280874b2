"""Names with settings, as a command line gives them: ``gradient-norm-peak:factor=0.9,norm=full``."""

from __future__ import annotations

import ast
import difflib
import inspect
from collections.abc import Callable, Iterable, Mapping
from typing import Any


def parse_spec(spec: str) -> tuple[str, dict[str, Any]]:
    """Split ``name:key=value,key=value`` into the name and its settings.

    Values are read as Python numbers, booleans, ``none`` or, failing that, as text.

    Raises
    ------
    ValueError
        If a setting has no ``=`` or is given twice.

    Examples
    --------
    >>> parse_spec("gradient-norm-peak:factor=0.8,norm=full")
    ('gradient-norm-peak', {'factor': 0.8, 'norm': 'full'})
    """
    name, _, rest = spec.partition(":")
    settings: dict[str, Any] = {}
    for part in filter(None, (part.strip() for part in rest.split(","))):
        key, equals, value = part.partition("=")
        key = key.strip().replace("-", "_")
        if not equals or not key:
            raise ValueError(f"{spec!r}: the setting {part!r} has no value. Write name:key=value,key=value.")
        if key in settings:
            raise ValueError(f"{spec!r}: the setting {key!r} is given twice.")
        settings[key] = _value(value.strip())
    return name.strip(), settings


def build_from(kind: str, registry: Mapping[str, Callable[..., Any]], name: str, settings: Mapping[str, Any]) -> Any:
    """Make the part that ``registry`` has under ``name``, with a message that helps when a name is wrong.

    Parameters
    ----------
    kind : str
        What is being built, for the message: "policy".
    registry : mapping of str to callable
        Factories by name.
    name : str
        The name asked for.
    settings : mapping
        Keyword arguments of the factory.

    Raises
    ------
    ValueError
        If the name or a setting is not known, or the factory refuses a value.
    """
    if name not in registry:
        raise ValueError(f"unknown {kind} {name!r}.{suggestion(name, registry)} Known: {', '.join(registry)}.")
    factory = registry[name]
    known = [
        parameter.name
        for parameter in inspect.signature(factory).parameters.values()
        if parameter.kind in (parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY)
    ]
    unknown = [key for key in settings if key not in known]
    if unknown:
        raise ValueError(
            f"{kind} {name!r} has no setting {unknown[0]!r}.{suggestion(unknown[0], known)} "
            f"It takes: {', '.join(known) or 'none'}."
        )
    try:
        return factory(**settings)
    except TypeError as error:
        raise ValueError(f"{kind} {name!r} cannot be made with {dict(settings)}: {error}.") from error


def _value(text: str) -> Any:
    lowered = text.lower()
    if lowered in ("true", "false"):
        return lowered == "true"
    if lowered == "none":
        return None
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError):
        return text


def suggestion(name: str, known: Iterable[str]) -> str:
    """A sentence that proposes the nearest known name, or nothing."""
    close = difflib.get_close_matches(name, list(known), n=1)
    return f" Did you mean {close[0]!r}?" if close else ""
