"""How policies and their combinations are written in one line, for the command line and for configuration files."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Union

_SPECIAL = "&|;()"


@dataclass(frozen=True)
class Named:
    """A name with settings, and the policies that it goes around."""

    spec: str
    inner: tuple[Expression, ...] = ()


@dataclass(frozen=True)
class Joined:
    """Policies joined by ``&`` (all of them) or by ``|`` (any of them)."""

    sign: str
    parts: tuple[Expression, ...]


Expression = Union["Named", "Joined"]


def parse(text: str) -> Expression:
    """Read an expression.

    Parameters
    ----------
    text : str
        ``name:key=value,key=value``, or such with what it goes around in parentheses, separated by ``;``; joined by ``&`` (all
        of them, binds tighter) and ``|`` (any of them), with parentheses for grouping.

    Raises
    ------
    ValueError
        If the text is not complete, or holds a character too many; the message marks the place.

    Examples
    --------
    >>> parse("loss-plateau | never")
    Joined(sign='|', parts=(Named(spec='loss-plateau', inner=()), Named(spec='never', inner=())))
    """
    reader = _Reader(text)
    expression = reader.alternatives()
    if reader.peek():
        raise reader.error(f"{reader.peek()!r} is not expected here")
    return expression


class _Reader:
    """Reads an expression from left to right."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.at = 0

    def peek(self) -> str:
        """The next character that is no blank; empty at the end."""
        while self.at < len(self.text) and self.text[self.at].isspace():
            self.at += 1
        return self.text[self.at : self.at + 1]

    def error(self, what: str) -> ValueError:
        return ValueError(
            f"{self.text!r} is no policy: at character {self.at + 1}, {what}. Write name:key=value,key=value, join with & "
            "(all) or | (any), and put what a wrapper goes around in parentheses: patience:times=3(loss-plateau)."
        )

    def alternatives(self) -> Expression:
        return self._joined("|", self._together)

    def _together(self) -> Expression:
        return self._joined("&", self._one)

    def _joined(self, sign: str, part: Callable[[], Expression]) -> Expression:
        parts = [part()]
        while self.peek() == sign:
            self.at += 1
            parts.append(part())
        return parts[0] if len(parts) == 1 else Joined(sign, tuple(parts))

    def _one(self) -> Expression:
        if self.peek() == "(":
            self.at += 1
            grouped = self.alternatives()
            self._close()
            return grouped
        start = self.at
        while self.at < len(self.text) and self.text[self.at] not in _SPECIAL:
            self.at += 1
        spec = self.text[start : self.at].strip()
        if not spec:
            raise self.error("a policy's name is missing")
        return Named(spec, self._inner() if self.peek() == "(" else ())

    def _inner(self) -> tuple[Expression, ...]:
        self.at += 1
        inner = [self.alternatives()]
        while self.peek() == ";":
            self.at += 1
            inner.append(self.alternatives())
        self._close()
        return tuple(inner)

    def _close(self) -> None:
        if self.peek() != ")":
            raise self.error("a closing parenthesis is missing")
        self.at += 1
