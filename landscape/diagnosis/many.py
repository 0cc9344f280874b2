"""Several models, or moments of one, diagnosed one after the other and told side by side."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import nn

from landscape.diagnosis.bar import Bar, Progress, progress_of
from landscape.diagnosis.diagnose import LevelName, diagnose
from landscape.diagnosis.diagnosis import CostEstimate, Diagnosis, DiagnosisFormatError
from landscape.diagnosis.finding import numeric_value, plain_value
from landscape.diagnosis.inputs import checked_level
from landscape.diagnosis.measurements import ORDER, places
from landscape.files import save_page
from landscape.problem import Problem
from landscape.status import Status
from landscape.tracking.history import History

FORMAT = "landscape-diagnoses"
VERSION = 1

#: A problem, what makes one, or a call without arguments that gives either when its turn has come.
Subject = Problem | tuple[Any, ...] | Callable[[], "Problem | tuple[Any, ...]"]


@dataclass(frozen=True)
class Diagnoses:
    """Diagnoses of several models, in the order in which they were given.

    Attributes
    ----------
    items : tuple of Diagnosis
        One each. A model that could not be measured is among them: its ``status`` is ``UNMEASURABLE``, its headline the
        error.
    history : History or None
        Of the run that all of them come from.
    """

    items: tuple[Diagnosis, ...]
    history: History | None = None

    def __iter__(self) -> Iterator[Diagnosis]:
        return iter(self.items)

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, name: str) -> Diagnosis:
        for item in self.items:
            if item.name == name:
                return item
        raise KeyError(f"no diagnosis {name!r}; there are {', '.join(repr(item.name) for item in self.items)}")

    @property
    def failures(self) -> dict[str, str]:
        """The error of each model that could not be measured."""
        return {item.name: item.headline for item in self.items if item.status is Status.UNMEASURABLE}

    @property
    def was_stopped(self) -> bool:
        """Whether somebody asked to stop before all was measured."""
        return any(item.status is Status.CUT_SHORT for item in self.items)

    def __str__(self) -> str:
        from landscape.diagnosis.side_by_side import (
            side_by_side,  # it is told in words, which needs these classes first
        )

        return side_by_side(self.items)

    def to_dict(self) -> dict[str, Any]:
        """Plain data for strict JSON; :meth:`from_dict` reads it back."""
        rows = None if self.history is None else [dict(row) for row in self.history]
        plain: dict[str, Any] = plain_value(
            {
                "format": FORMAT,
                "version": VERSION,
                "items": [item.to_dict() for item in self.items],
                "history": rows,
            }
        )
        return plain

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Diagnoses:
        """Read back what :meth:`to_dict` wrote.

        Raises
        ------
        DiagnosisFormatError
            If it is something else, or of a newer version.
        """
        if data.get("format") != FORMAT or not data.get("version", VERSION + 1) <= VERSION:
            raise DiagnosisFormatError(
                f"a document of format {data.get('format')!r}, version {data.get('version')!r} was given; needed is "
                f"{FORMAT!r}, version {VERSION} or lower. One model's document is read by Diagnosis.from_dict."
            )
        rows = data["history"]
        return cls(
            items=tuple(Diagnosis.from_dict(item) for item in data["items"]),
            history=None if rows is None else History([numeric_value(row) for row in rows]),
        )

    def to_json(self) -> str:
        """Strict JSON."""
        return json.dumps(self.to_dict(), allow_nan=False, indent=1)

    def save(self, path: Path | str) -> Path:
        """Write one page for all, and the same facts as JSON beside it.

        Parameters
        ----------
        path : Path or str
            Of the page, ``.html``; the other file has the same name and ends in ``.json``.

        Returns
        -------
        Path
            Of the page.
        """
        from landscape.report.diagnosis_page import diagnosis_html  # reports read results, which know nothing of them

        return save_page(Path(path), diagnosis_html(self.items, self.history), self.to_json())


def diagnose_many(
    models: Mapping[str, Subject],
    *,
    level: LevelName = "standard",
    budget: float | None = None,
    held_out: Any = None,
    batch_size: int | None = None,
    micro_batch_size: int | None = None,
    seed: int = 0,
    history: History | None = None,
    progress: bool | Progress | None = None,
    announce: Callable[[str, CostEstimate], None] | None = None,
) -> Diagnoses:
    """Diagnose several models with the same probes, for one table and one page.

    Parameters
    ----------
    models : mapping of str to Problem, tuple or callable
        By the names they are to have: a problem, a tuple ``(model, loss_fn, data)``, or a function without arguments that
        gives either. The function is called when its turn has come, so that one model at a time is in memory.
    level : {"quick", "standard", "thorough"}
        As for :func:`landscape.diagnosis.diagnose.diagnose`.
    budget : float, optional
        Gradient equivalents for each model.
    held_out : data, or mapping of str to data or Problem, optional
        On which negative curvature is tested again: the same for all, or by the models' names. In place of data it may be
        a function without arguments, called in its model's turn.
    batch_size, micro_batch_size, seed
        As for ``diagnose``; the seed is the same for all, and so are the random vectors where the sizes are.
    history : History, optional
        Of the run that all models come from; it is drawn on the page.
    progress : bool or callable, optional
        A bar on standard error, or ``progress(what, share)`` over all models; ``what`` names the model, too, and is empty
        at the very end. Default: a bar if standard error is a terminal.
    announce : callable, optional
        ``announce(name, estimate)`` before the work on each model. Default: the bar tells it.

    Returns
    -------
    Diagnoses
        As many as models. One that raises is recorded with its error, and the others go on. After Ctrl-C, what is known
        by then.

    Raises
    ------
    TypeError, ValueError
        If nothing is given, or something that is no model, before any work.

    Examples
    --------
    >>> from landscape.testing import logistic_regression
    >>> found = diagnose_many({"a": logistic_regression().problem, "b": lambda: 1 / 0}, level="quick")
    >>> found["a"].status.name, found.failures
    ('COMPLETED', {'b': 'ZeroDivisionError: division by zero'})
    """
    _check(models)
    checked_level(level, budget, batch_size)
    shown = progress_of(progress)
    items: list[Diagnosis] = []
    fresh = _by_name(held_out, models)
    stopped = False
    for index, (name, subject) in enumerate(models.items()):
        if stopped:
            items.append(_unmeasured(name, level, budget, Status.CUT_SHORT, "Stopped on request before its turn came."))
            continue
        try:
            item = diagnose(
                *_made(name, subject),
                level=level,
                budget=budget,
                held_out=_called(fresh.get(name)),
                name=name,
                batch_size=batch_size,
                micro_batch_size=micro_batch_size,
                seed=seed,
                progress=False if shown is None else _share_of(shown, name, index, len(models)),
                announce=_announcing(announce, shown, name, level),
            )
        except KeyboardInterrupt:
            item = _unmeasured(
                name, level, budget, Status.CUT_SHORT, "Stopped on request before anything was measured."
            )
        except Exception as error:  # whatever is wrong with one model must not take the others' answers away
            item = _unmeasured(name, level, budget, Status.UNMEASURABLE, sentence_of(error))
        stopped = item.status is Status.CUT_SHORT
        items.append(item)
    if shown is not None:
        shown("", 1.0)
    return Diagnoses(tuple(items), history)


def sentence_of(error: Exception) -> str:
    """An error as a person reads it: messages of this package as they are, others with the class of the error.

    Examples
    --------
    >>> sentence_of(KeyError("weight"))
    "KeyError: 'weight'"
    """
    told = str(error).strip() or "no message"
    own = type(error) is ValueError or type(error).__module__.startswith("landscape.")
    return told if own else f"{type(error).__name__}: {told}"


def _check(models: Mapping[str, Subject]) -> None:
    """Refuse what would fail for every model alike."""
    if not isinstance(models, Mapping):
        raise TypeError(
            f"models is a {type(models).__name__}; needed is a mapping from names to problems or tuples (model, loss_fn, data)."
        )
    if not models:
        raise ValueError("no model was given; needed is at least one: diagnose_many({'mine': (model, loss_fn, data)}).")
    for name, subject in models.items():
        if isinstance(subject, nn.Module) or not (isinstance(subject, (Problem, tuple)) or callable(subject)):
            raise TypeError(_what_is_needed(name, subject))


def _what_is_needed(name: str, given: object) -> str:
    return (
        f"{name!r} is a {type(given).__name__}; needed is a Problem, a tuple (model, loss_fn, data), or a function without "
        "arguments that gives one of them."
    )


def _made(name: str, subject: Subject) -> tuple[Any, ...]:
    """The first arguments of ``diagnose``."""
    made = subject if isinstance(subject, (Problem, tuple)) else subject()
    if isinstance(made, Problem):
        return (made,)
    if isinstance(made, tuple) and len(made) == 3:
        return made
    raise TypeError(_what_is_needed(name, made))


def _by_name(held_out: Any, models: Mapping[str, Subject]) -> Mapping[str, Any]:
    if isinstance(held_out, Mapping) and set(held_out) <= set(models):
        return held_out
    return dict.fromkeys(models, held_out)


def _called(held_out: Any) -> Any:
    return held_out() if callable(held_out) else held_out


def _share_of(progress: Progress, name: str, index: int, count: int) -> Progress:
    """Progress with one model as a part of all."""

    def told(what: str, share: float) -> None:
        if what:  # the end of one is not the end of all
            progress(f"{name}: {what}" if count > 1 else what, (index + share) / count)

    return told


def _announcing(
    announce: Callable[[str, CostEstimate], None] | None, shown: Progress | None, name: str, level: str
) -> Callable[[CostEstimate], None] | None:
    if announce is not None:
        told = announce
        return lambda estimate: told(name, estimate)
    if isinstance(shown, Bar):
        bar = shown
        return lambda estimate: bar.announce(f"{name}, {level}", estimate)
    return None


def _unmeasured(name: str, level: str, budget: float | None, status: Status, reason: str) -> Diagnosis:
    """The place that a diagnosis would have had."""
    findings = {finding.key: finding for finding in places(reason)}
    return Diagnosis(
        name=name,
        headline=reason,
        verdict=None,
        findings=tuple(findings[key] for key in ORDER),
        level=level,
        budget=budget,
        status=status,
        estimate=CostEstimate(math.nan, math.nan, math.nan, math.nan),
        gradient_equivalents=0.0,
        seconds=0.0,
    )
