"""A replay as text for a terminal of 100 columns."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from landscape.policies.base import CLAIMS
from landscape.replaying.rows import epoch_at

if TYPE_CHECKING:
    from landscape.replaying.result import Outcome, Replay

WIDTH = 100
_NAME, _CLAIM, _NUMBER = 30, 14, 12
_INDENT = "    "


def replay_text(replay: Replay) -> str:
    """What fired, by epoch, with reasons and prices; then what never did, and what could not be asked."""
    never = [o for o in replay.outcomes if o.answer == "never"]
    others = [o for o in replay.outcomes if o.answer in ("not recorded", "not asked", "failed")]
    parts = [_wrapped(_opening(replay), "")]
    if replay.fired:
        head = _line("WOULD HAVE FIRED", "claim", "epoch", "loss", "GE", "probes")
        parts.append("\n".join([head, *map(_fired, replay.fired)]))
    if never:
        parts.append("\n".join([_line("NEVER FIRED", "claim", "closest"), *map(_never, never)]))
    if others:
        parts.append("\n".join([_line("COULD NOT BE ASKED", "claim", left="why"), *map(_other, others)]))
    return "\n\n".join([*parts, "\n".join(_wrapped(note, "") for note in _notes(replay))])


def known_until(replay: Replay) -> str:
    """How far the replay can know, in a sentence."""
    if replay.swap_row is None:
        return "The run never left its first phase."
    later = any(row > replay.swap_row for row in replay.asked)
    return (
        f"The run itself swapped after epoch {replay.swap_epoch}: what a policy would have said later cannot be known, since "
        "no first phase was recorded that went on from there"
        + ("; what fires after it had come back to the first phase is marked *." if later else ".")
    )


def _opening(replay: Replay) -> str:
    num = len(replay.outcomes)
    what = f"Replay{' of ' + replay.source if replay.source else ''}: {num} {'policy' if num == 1 else 'policies'}"
    if not replay.asked:
        return f"{what}, and no first-phase epoch after which they could be asked."
    first, last = (epoch_at(replay.history, row) for row in (replay.asked[0], replay.asked[-1]))
    epochs = f"epoch {first}" if first == last else f"each of {len(replay.asked)} epochs ({first} to {last})"
    return f"{what}, asked after {epochs} of the first phase. {known_until(replay)}"


def _fired(o: Outcome) -> str:
    epoch = f"{o.epoch}{'*' if o.after_swap else ''}"
    numbers = (_number(value) for value in (o.loss, o.gradient_equivalents, o.probing_equivalents))
    return "\n".join([_line(o.name, _claim(o), epoch, *numbers), _why(o, o.reason)])


def _never(o: Outcome) -> str:
    closest = "" if o.closest_epoch is None else str(o.closest_epoch)
    return "\n".join([_line(o.name, _claim(o), closest), _why(o, o.reason)])


def _other(o: Outcome) -> str:
    """On the line of its name, with what does not fit below."""
    line, room = _line(o.name, _claim(o)), _NAME + _CLAIM
    reason = _wrapped(o.reason, " " * room)
    return f"{line:<{room}}{reason.lstrip()}" if "\n" not in line else f"{line}\n{reason}"


def _why(o: Outcome, reason: str) -> str:
    return _wrapped(f"from {', '.join(o.requires)}: {reason}" if o.requires else reason, _INDENT)


def _claim(o: Outcome) -> str:
    return f"{o.claim or '-'}{' (hindsight)' if o.hindsight else ''}"


def _line(name: str, claim: str, *numbers: str, left: str = "") -> str:
    """Columns; a name or a claim that is too long stands on a line of its own."""
    before = ""
    if len(name) >= _NAME or len(claim) >= _CLAIM:
        shown = f"{name}  [{claim}]" if len(claim) >= _CLAIM else name
        before, name, claim = f"{_wrapped(shown, '')}\n", "", "" if len(claim) >= _CLAIM else claim
    columns = "".join(f"{number:>{_NUMBER}}" for number in numbers)
    return f"{before}{name:<{_NAME}}{claim:<{_CLAIM}}{left}{columns}".rstrip()


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.4g}"


def _notes(replay: Replay) -> Iterable[str]:
    """What the columns mean, as far as they are there."""
    if replay.fired:
        yield (
            "GE: what the run had cost by then, in gradients over all data. probes: the part of it spent on recording, for all "
            "policies together; one policy alone needs no more than that, and only the columns it is said to read."
        )
    claims = [o.claim or "" for o in replay.outcomes]
    words = [f"{claim}: {meaning}" for claim, meaning in CLAIMS.items() if _is_named(claim, claims)]
    if words:
        yield f"claims: {'; '.join(words)}; -: none, it watches the clock, the noise or the outcome."
    if any(o.hindsight for o in replay.outcomes):
        yield "hindsight: needs a reference point that only a finished run has."


def _is_named(claim: str, claims: Sequence[str]) -> bool:
    """Whether a claim is one of them, or part of a combination such as "2 of (A', B)"."""
    return any(claim in text.replace("(", " ").replace(")", " ").replace(",", " ").split() for text in claims)


def _wrapped(text: str, indent: str) -> str:
    return textwrap.fill(text, WIDTH, initial_indent=indent, subsequent_indent=indent, break_on_hyphens=False)
