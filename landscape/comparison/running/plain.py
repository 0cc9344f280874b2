"""What a job computed as strict JSON, and back."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from landscape.tracking.jsonl import from_json_value, json_value


def encode(value: Any) -> Any:
    """Turn a result into what strict JSON can say; NaN and infinities become text, as in history files.

    Parameters
    ----------
    value : None, bool, int, float, str, or lists, tuples and mappings of them
        Tuples read back as lists. Every finite float reads back to the same bits.

    Raises
    ------
    TypeError
        If something else is in it, or a name that is not text.
    ValueError
        If a text would read back as a number.

    Examples
    --------
    >>> encode({"loss": float("nan"), "steps": (1, 2)})
    {'loss': 'NaN', 'steps': [1, 2]}
    """
    if isinstance(value, str):
        if from_json_value(value) is not value:
            raise ValueError(f"the text {value!r} would read back as a number. Give the float itself, or another text.")
        return str(value)
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, int):
        return int(value)
    if isinstance(value, float):
        return json_value(float(value))  # numpy's float64 is a float, and prints in its own way
    if isinstance(value, list | tuple):
        return [encode(entry) for entry in value]
    if isinstance(value, Mapping):
        return {_name(name): encode(entry) for name, entry in value.items()}
    raise TypeError(
        f"a result holds text, numbers, None, and lists and dicts of them, but there is a {type(value).__name__} in it. "
        "Convert it first, with .item() or .tolist()."
    )


def decode(value: Any) -> Any:
    """Undo :func:`encode`.

    Examples
    --------
    >>> decode({"loss": "-Infinity", "steps": [1, 2]})
    {'loss': -inf, 'steps': [1, 2]}
    """
    if isinstance(value, list):
        return [decode(entry) for entry in value]
    if isinstance(value, dict):
        return {name: decode(entry) for name, entry in value.items()}
    return from_json_value(value)


def _name(name: object) -> str:
    if not isinstance(name, str):
        raise TypeError(f"names in a result are text, but {name!r} is a {type(name).__name__}. Convert it with str().")
    return str(name)
