"""One's own policy in five lines."""

from __future__ import annotations

import dataclasses
import inspect
import math
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from landscape.policies.base import CLAIMS, Decision
from landscape.policies.rewriting import with_stretch
from landscape.policies.signals import epochs_of
from landscape.tracking.columns import describe_column, members
from landscape.tracking.history import History, Row, number_in

Function = Callable[..., "bool | Decision"]


@dataclass(frozen=True, repr=False)
class FunctionPolicy:
    """A policy that asks a function; made by :func:`policy`.

    Parameters
    ----------
    function : callable
        ``function(history, **settings) -> bool or Decision``.
    name : str
        Its name, for reasons and for :func:`landscape.policies.build`.
    requires : frozenset of str
        Columns that it reads.
    claim : str, optional
        Which of :data:`~landscape.policies.base.CLAIMS` it tests.
    hindsight, reads_clock : bool
        See :class:`~landscape.policies.base.SwapPolicy`.
    settings : mapping
        Keyword arguments for the function.
    """

    function: Function
    name: str
    requires: frozenset[str] = frozenset()
    claim: str | None = None
    hindsight: bool = False
    reads_clock: bool = False
    settings: Mapping[str, Any] = field(default_factory=dict, hash=False)

    def __repr__(self) -> str:
        # Part of what a checkpoint is compared by, so it must be the same in every process.
        settings = "".join(f", {name}={value!r}" for name, value in sorted(self.settings.items()))
        return f"policy({self.function.__module__}.{self.function.__qualname__}{settings})"

    def __call__(self, history: History, **settings: Any) -> bool | Decision:
        """Call the function as it was written, for tests of one's own."""
        return self.function(history, **settings)

    def with_settings(self, **settings: Any) -> FunctionPolicy:
        """The same policy with other keyword arguments for its function."""
        known = self.parameters()
        unknown = [name for name in settings if name not in known]
        if unknown:
            raise TypeError(
                f"policy {self.name!r} has no setting {unknown[0]!r}; it takes: {', '.join(known) or 'none'}"
            )
        return dataclasses.replace(self, settings={**self.settings, **settings})

    def parameters(self) -> dict[str, inspect.Parameter]:
        """The function's parameters after the history."""
        return dict(list(inspect.signature(self.function).parameters.items())[1:])

    def decide(self, history: History) -> Decision:
        """Ask the function, if everything that it reads was measured in the last row.

        The function sees the rows since the last swap in which all that it requires was measured and is a finite number.
        """
        rows = epochs_of(history)
        if not rows:
            return Decision(False, "no epoch of this phase is recorded yet")
        unknown = self._unknown(rows[-1])
        if unknown:
            return Decision(
                False, f"{' or '.join(unknown)} was not measured, or is not a number, in epoch {rows[-1].get('epoch')}"
            )
        answer = self.function(with_stretch(history, [row for row in rows if not self._unknown(row)]), **self.settings)
        if isinstance(answer, Decision):
            return answer
        if not isinstance(answer, (bool, np.bool_)):
            raise TypeError(
                f"policy {self.name!r} answered {answer!r} ({type(answer).__name__}); it must answer with a bool or a "
                "Decision. For a tensor or an array, take bool(...) of it."
            )
        return self._decision(bool(answer), rows[-1])

    def _decision(self, swap: bool, row: Row) -> Decision:
        names = [name for family in sorted(self.requires) for name in members(family, list(row))]
        values = {name: value for name in names if (value := number_in(row, name)) is not None}
        seen = ", ".join(f"{name} {value:.4g}" for name, value in values.items())
        reason = f"{self.name} says {'yes' if swap else 'no'} in epoch {row.get('epoch')}{f' ({seen})' if seen else ''}"
        return Decision(swap, reason, next(iter(values.values()), math.nan), values)

    def _unknown(self, row: Row) -> list[str]:
        """What the function reads and the row does not hold."""
        columns = list(row)
        return [
            family
            for family in sorted(self.requires)
            if not (names := members(family, columns)) or not all(_is_known(row, name) for name in names)
        ]


def policy(
    *,
    requires: Iterable[str] = (),
    name: str | None = None,
    claim: str | None = None,
    hindsight: bool = False,
    reads_clock: bool = False,
) -> Callable[[Function], FunctionPolicy]:
    """Make a policy of a function from a history to a bool or a :class:`~landscape.policies.base.Decision`.

    Parameters
    ----------
    requires : iterable of str
        Columns that the function reads.
    name : str, optional
        For :func:`landscape.policies.build`, with which it is registered. Default: the function's, with ``-`` for ``_``.
    claim : {"A", "A'", "B", "C", "D", "E"}, optional
        Which claim it tests.
    hindsight, reads_clock : bool
        See :class:`~landscape.policies.base.SwapPolicy`.

    Raises
    ------
    ValueError
        If the claim is not known, or the name is that of one of landscape's own policies.
    TypeError
        If the function takes no history.

    Notes
    -----
    The function is only asked when the last row holds finite values of all it requires, and sees no row that does not: it needs
    no guard against None and NaN. Further parameters, with defaults, become settings: ``build("mine:window=5")``.

    Examples
    --------
    >>> @policy(requires={"curvature_gradient"}, claim="B")
    ... def settled(history: History, window: int = 3) -> bool:
    ...     return min(history.column("curvature_gradient")[-window:]) > 0
    >>> settled.decide(History([{"epoch": 1, "phase": "first", "curvature_gradient": 0.5}])).reason
    'settled says yes in epoch 1 (curvature_gradient 0.5)'
    """
    if isinstance(requires, str):
        raise TypeError(
            f"requires={requires!r} was given; it must be a set of column names: requires={{{requires!r}}}."
        )
    if claim is not None and claim not in CLAIMS:
        raise ValueError(f"claim={claim!r} was given; it is one of {', '.join(map(repr, CLAIMS))}, or None.")

    def decorate(function: Function) -> FunctionPolicy:
        from landscape.policies.registry import register

        if not inspect.signature(function).parameters:
            raise TypeError(f"{function.__qualname__} takes no argument; a policy takes the history.")
        spoken = name if name is not None else re.sub("_+", "-", function.__name__.strip("_"))
        made = FunctionPolicy(function, spoken, frozenset(requires), claim, hindsight, reads_clock)
        register(spoken, made)
        return made

    return decorate


def _is_known(row: Row, name: str) -> bool:
    column = describe_column(name)
    if column is not None and column.kind == "str":
        return name in row
    value = number_in(row, name)
    return math.isfinite(value) if value is not None else isinstance(row.get(name), str)
