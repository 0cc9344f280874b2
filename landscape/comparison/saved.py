"""A comparison as a JSON document, and back."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any, get_args

from landscape.comparison.arm import Arm, ArmKind, ArmResult, ArmStatus
from landscape.comparison.comparison import ComparedPolicy, Comparison, SignalAt, Work
from landscape.tracking.jsonl import from_json_value, json_value

FORMAT = "landscape-comparison"
VERSION = 1

_PARTS = ("policies", "results", "signals")


class ComparisonFormatError(ValueError):
    """A document that is no comparison, is damaged, or was written by a newer version."""


def to_json(comparison: Comparison) -> str:
    """Write a comparison as strict JSON.

    Parameters
    ----------
    comparison : Comparison
        Anything in it that counts is written; what follows from it, such as regrets and tests, is computed again.

    Returns
    -------
    str
        One object, with each policy, result and signal on a line of its own, so that two of them can be told apart by
        ``diff``. Numbers that are not finite are the texts "NaN", "Infinity" and "-Infinity"; every finite one reads back to
        the same bits.

    Examples
    --------
    >>> empty = Comparison("nothing", {}, 10.0, (), "train_loss", 0.0, (), ("cg",), (), (), ())
    >>> from_json(to_json(empty)) == empty
    True
    """
    head = {
        "format": FORMAT,
        "version": VERSION,
        "title": comparison.title,
        "settings": dict(comparison.settings),
        "budget": _number(comparison.budget),
        "seeds": [int(seed) for seed in comparison.seeds],
        "metric": comparison.metric,
        "floor": _number(comparison.floor),
        "grid": [int(epoch) for epoch in comparison.grid],
        "finishers": list(comparison.finishers),
        "controls": list(comparison.controls),
        "target": {str(seed): _number(value) for seed, value in comparison.target.items()},
        "work": {name: _plain(value) for name, value in vars(comparison.work).items()},
    }
    entries = [f"{_dumped(name)}: {_dumped(value)}" for name, value in head.items()]
    entries.append(f'"policies": {_lines(vars(policy) for policy in comparison.policies)}')
    entries.append(f'"results": {_lines(_result(result) for result in comparison.results)}')
    entries.append(f'"signals": {_lines(_signal(signal) for signal in comparison.signals)}')
    return "{\n" + ",\n".join(entries) + "\n}\n"


def from_json(text: str) -> Comparison:
    """Read back what :func:`to_json` wrote.

    Parameters
    ----------
    text : str
        The document.

    Returns
    -------
    Comparison
        Equal to the one that was written (but that a NaN equals nothing).

    Raises
    ------
    ComparisonFormatError
        If it is something else, damaged, or from a newer version of landscape.
    """
    try:
        data = json.loads(text)
    except ValueError as error:
        raise ComparisonFormatError(
            f"the text is no JSON ({error}), so it is no comparison either. Was it cut off? Take another copy, or save the "
            "comparison again."
        ) from error
    found = data if isinstance(data, dict) else {}
    name, version = found.get("format"), found.get("version")
    if name != FORMAT or not isinstance(version, int) or version > VERSION:
        raise ComparisonFormatError(
            f"a document of format {name!r}, version {version!r} was given; needed is {FORMAT!r}, version {VERSION} or lower. "
            "Was it written by a newer landscape?"
        )
    try:
        return _comparison(found)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise ComparisonFormatError(
            f"the document says that it is a comparison, but cannot be read as one ({type(error).__name__}: {error}). It was "
            "changed after it was written; take another copy."
        ) from error


def _comparison(data: Mapping[str, Any]) -> Comparison:
    policies, results, signals = ([dict(entry) for entry in data[part]] for part in _PARTS)
    return Comparison(
        title=data["title"],
        settings=dict(data["settings"]),
        budget=_read(data["budget"]),
        seeds=tuple(data["seeds"]),
        metric=data["metric"],
        floor=_read(data["floor"]),
        grid=tuple(data["grid"]),
        finishers=tuple(data["finishers"]),
        controls=tuple(data["controls"]),
        policies=tuple(ComparedPolicy(**entry) for entry in policies),
        results=tuple(_read_result(entry) for entry in results),
        signals=tuple(SignalAt(**{**entry, "value": _read(entry["value"])}) for entry in signals),
        target={int(seed): _read(value) for seed, value in data["target"].items()},
        work=Work(**{name: _read(value) for name, value in data["work"].items()}),
    )


def _result(result: ArmResult) -> dict[str, Any]:
    """Texts stay as they are: one that reads "NaN" is no number."""
    return {
        "arm": vars(result.arm),
        "seed": int(result.seed),
        "status": result.status,
        "swap_epoch": None if result.swap_epoch is None else int(result.swap_epoch),
        "reason": result.reason,
        "probing_equivalents": _number(result.probing_equivalents),
        "gradient_equivalents": _number(result.gradient_equivalents),
        "seconds": _number(result.seconds),
        "values": {name: _number(value) for name, value in result.values.items()},
        "target_equivalents": None if result.target_equivalents is None else _number(result.target_equivalents),
        "curve": [[_number(equivalents), _number(loss)] for equivalents, loss in result.curve],
    }


def _read_result(entry: dict[str, Any]) -> ArmResult:
    _check_one_of(entry["arm"]["kind"], get_args(ArmKind))
    _check_one_of(entry["status"], get_args(ArmStatus))
    numbers = ("probing_equivalents", "gradient_equivalents", "seconds", "target_equivalents")
    return ArmResult(
        **{
            **entry,
            **{name: None if entry[name] is None else _read(entry[name]) for name in numbers},
            "arm": Arm(**entry["arm"]),
            "values": {name: _read(value) for name, value in entry["values"].items()},
            "curve": tuple((_read(equivalents), _read(loss)) for equivalents, loss in entry["curve"]),
        }
    )


def _signal(signal: SignalAt) -> dict[str, Any]:
    return {"seed": int(signal.seed), "epoch": int(signal.epoch), "name": signal.name, "value": _number(signal.value)}


def _check_one_of(value: str, known: tuple[str, ...]) -> None:
    if value not in known:
        raise ValueError(f"{value!r} is none of {', '.join(map(repr, known))}")


def _number(value: float) -> Any:
    return json_value(float(value))


def _plain(value: float) -> Any:
    return value if isinstance(value, int) else _number(value)


def _read(value: Any) -> Any:
    """A number, written as one or as a text.

    Raises
    ------
    TypeError
        If it is something else.
    """
    number = from_json_value(value)
    if not isinstance(number, (int, float)) or isinstance(number, bool):
        raise TypeError(f"{value!r} is not a number")
    return number


def _lines(entries: Iterable[Mapping[str, Any]]) -> str:
    lines = [_dumped(entry) for entry in entries]
    return "[\n" + ",\n".join(lines) + "\n]" if lines else "[]"


def _dumped(value: Any) -> str:
    return json.dumps(value, allow_nan=False, ensure_ascii=False)
