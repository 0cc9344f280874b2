"""One thing that a diagnosis found out: a number, how sure it is, what it means, and what to do next."""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any

from landscape.tracking.history import from_json_value, json_value


class Outlook(str, enum.Enum):
    """What a finding says for a deterministic second phase; the value is a sentence."""

    FAVOURABLE = "Speaks for convexity, or for a second-order method here."
    UNFAVOURABLE = "Speaks against it."
    NEUTRAL = "A fact that speaks neither for nor against it."
    UNDECIDED = "Measured, but not well enough to say."
    NOT_MEASURED = "Not measured."

    def __str__(self) -> str:
        return self.value


#: The five claims of convexity, strongest first, and the approximate form of the first.
CLAIMS: Mapping[str, str] = {
    "A": "local convexity: the Hessian has no negative eigenvalue here",
    "A'": "approximate local convexity: no eigenvalue is below a small negative share of the largest one",
    "B": "no negative curvature along the directions that an optimiser uses: gradient, steps, their Krylov space",
    "C": "convexity along the path: what the visited points say about each other",
    "D": "convexity towards a reference point",
    "E": "growth like that of a convex function: the gradient norm bounds the distance to the lowest loss",
}


@dataclass(frozen=True)
class Finding:
    """One measured quantity, or the reason why it was not measured.

    Attributes
    ----------
    key : str
        Stable name: ``"lambda_min"``, ``"held_out"``.
    title : str
        For people.
    claim : str
        Which of :data:`CLAIMS` it tests; empty for none.
    outlook : Outlook
    meaning : str
        What it means here, in a sentence or two.
    value : float or None
        The number; None where there is none. NaN is kept.
    error : float or None
        Its standard error, or residual; None where it has none.
    interval : (float, float) or None
        It lies in between, as ``status`` and ``meaning`` say how surely.
    unit : str
        Of value, error, interval and threshold; empty for pure numbers.
    threshold : float or None
        What it is compared with.
    threshold_text : str
        Where that comes from.
    status : str
        How the measurement ended, or why there is none.
    next_step : str
        What to do; empty if nothing.
    gradient_equivalents, seconds : float
        What it cost.
    details : mapping of str to Any
        Numbers, texts and lists of them for figures and tables.
    """

    key: str
    title: str
    claim: str
    outlook: Outlook
    meaning: str
    value: float | None = None
    error: float | None = None
    interval: tuple[float, float] | None = None
    unit: str = ""
    threshold: float | None = None
    threshold_text: str = ""
    status: str = ""
    next_step: str = ""
    gradient_equivalents: float = 0.0
    seconds: float = 0.0
    details: Mapping[str, Any] = field(default_factory=dict)

    @property
    def is_measured(self) -> bool:
        """Whether there is anything but the reason why not."""
        return self.outlook is not Outlook.NOT_MEASURED

    def to_dict(self) -> dict[str, Any]:
        """Plain data for strict JSON; numbers that are not finite are the texts "NaN", "Infinity", "-Infinity"."""
        values = {entry.name: getattr(self, entry.name) for entry in fields(self)}
        plain: dict[str, Any] = plain_value({**values, "outlook": self.outlook.name})
        return plain

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Finding:
        """Read back what :meth:`to_dict` wrote."""
        values = {entry.name: data[entry.name] for entry in fields(cls)}
        for name in ("value", "error", "threshold", "gradient_equivalents", "seconds"):
            values[name] = from_json_value(values[name])
        if values["interval"] is not None:
            values["interval"] = tuple(from_json_value(end) for end in values["interval"])
        return cls(**{**values, "outlook": Outlook[data["outlook"]], "details": numeric_value(values["details"])})


def not_measured(key: str, title: str, claim: str, reason: str, next_step: str = "") -> Finding:
    """The place that a finding would have had, with the reason why there is none."""
    return Finding(key, title, claim, Outlook.NOT_MEASURED, reason, status=reason, next_step=next_step)


def plain_value(value: Any) -> Any:
    """Dicts, lists, texts, finite numbers and None only."""
    if isinstance(value, Mapping):
        return {str(name): plain_value(entry) for name, entry in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain_value(entry) for entry in value]
    return json_value(value)


def numeric_value(value: Any) -> Any:
    """The numbers again that :func:`plain_value` wrote as texts."""
    if isinstance(value, Mapping):
        return {name: numeric_value(entry) for name, entry in value.items()}
    if isinstance(value, list):
        return [numeric_value(entry) for entry in value]
    return from_json_value(value) if isinstance(value, str) else value
