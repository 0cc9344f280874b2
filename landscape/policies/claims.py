"""Which claims a combination of policies tests."""

from __future__ import annotations

from collections.abc import Sequence

_NONE = "none"


def both(claims: Sequence[str | None]) -> str | None:
    """All of them hold: those that claim something, joined by "and".

    Examples
    --------
    >>> both(["B", None, "A' or B"])
    "B and (A' or B)"
    """
    return _joined([claim for claim in claims if claim is not None], "and")


def either(claims: Sequence[str | None]) -> str | None:
    """At least one holds, and nobody knows which: "none" is among them where one claims nothing.

    Examples
    --------
    >>> either(["B", None])
    'B or none'
    """
    named = [claim if claim is not None else _NONE for claim in claims]
    joined = _joined(named, "or")
    return None if joined == _NONE else joined


def some(votes: int, claims: Sequence[str | None]) -> str | None:
    """So many of them hold.

    Examples
    --------
    >>> some(2, ["A'", "B", None])
    "2 of (A', B, none)"
    """
    if len(set(claims)) == 1:
        return claims[0]
    return f"{votes} of ({', '.join(claim or _NONE for claim in claims)})"


def _joined(claims: Sequence[str], word: str) -> str | None:
    distinct = list(dict.fromkeys(claims))
    if not distinct:
        return None
    if len(distinct) == 1:
        return distinct[0]
    return f" {word} ".join(f"({claim})" if " " in claim else claim for claim in distinct)
