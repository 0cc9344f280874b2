"""The contract of a swap policy, as a check that anybody can run on their own."""

from __future__ import annotations

import math
import random
from collections.abc import Mapping, Sequence
from typing import Any, NoReturn

import numpy as np
import torch

from landscape.policies.base import (
    CLAIMS,
    Decision,
    MissingColumnError,
    SwapPolicy,
    check_requirements,
    reads_clock,
)
from landscape.tracking.columns import CLOCK_COLUMNS, describe_column
from landscape.tracking.history import History, Row, Value, encode_row

# Text that columns may hold; any other column of text gets these too.
TEXTS = {"status": ("ACCEPTED", "SEARCH_FAILED"), "certificate": ("ABOVE", "UNDECIDED", "NEGATIVE")}
LAYERS = ("first", "last")
NUM_EPOCHS = 24
_REMEDY = "Let it be recorded."


def check_policy(policy: SwapPolicy, *, histories: Sequence[History] = ()) -> None:
    """Check that a policy is a pure function of a history that a trainer and a replay can rely on.

    Parameters
    ----------
    policy : SwapPolicy
        Any object with ``requires`` and ``decide``.
    histories : sequence of History, optional
        Histories to ask it about besides the made-up ones, for instance those on which it should fire.

    Raises
    ------
    AssertionError
        At the first of these that fails, saying what was found and what to do: ``requires`` is a set of names, and ``claim``,
        ``hindsight`` and ``reads_clock``, where given, are of their kinds; the same history gives the same decision, whatever
        was asked in between; neither history, policy nor a global random state is changed; empty histories and the start row
        do not fire; a decision has a bool, a sentence, a float and numbers as evidence; the last row's signals being NaN, or
        not measured, does not fire (unless it ``reads_clock``); a column that nobody records is named; what epochs, steps and
        costs are called does not matter, unless the policy requires them.

    Examples
    --------
    >>> from landscape.policies import GradientNormPeak
    >>> check_policy(GradientNormPeak())
    """
    _check_declarations(policy)
    described = repr(policy)
    made = [_made_up(policy, seed, phase) for seed in range(3) for phase in ("first", "second")]
    _check_beginnings(policy, made[0])
    _check_unchanged(policy, described)
    for history in [*made, *histories]:
        _check_pure(policy, history)
        _check_unchanged(policy, described)
        _check_relabelled(policy, history)
    for history in made:
        _check_silence(policy, history)
    _check_missing(policy, made[0])


def _check_declarations(policy: SwapPolicy) -> None:
    if not callable(getattr(policy, "decide", None)):
        _fail(policy, "it has no method decide(history). See landscape.policies.base.SwapPolicy.")
    requires = getattr(policy, "requires", None)
    if not isinstance(requires, frozenset) or not all(isinstance(name, str) for name in requires):
        _fail(policy, f"requires is {requires!r}; it must be a frozenset of column names, empty if it reads none.")
    claim = getattr(policy, "claim", None)
    if claim is not None and not (isinstance(claim, str) and any(label in claim for label in CLAIMS)):
        _fail(policy, f"claim is {claim!r}; it is one of {', '.join(CLAIMS)}, a combination of them in words, or None.")
    for name in ("hindsight", "reads_clock"):
        if not isinstance(getattr(policy, name, False), bool):
            _fail(policy, f"{name} is {getattr(policy, name)!r}; it must be True or False.")


def _check_beginnings(policy: SwapPolicy, history: History) -> None:
    for start, what in ((History(), "an empty history"), (History([history[0]]), "the start row alone (epoch 0)")):
        if _ask(policy, start, what).swap:
            _fail(policy, f"it fires on {what}. Nothing has happened yet: answer Decision(False, ...).")
    _ask(policy, History(list(history)[:2]), "a history of one epoch")


def _check_pure(policy: SwapPolicy, history: History) -> None:
    before, states = _encoded(history), _random_states()
    prefixes = [History(list(history)[:num_rows]) for num_rows in range(1, len(history) + 1)]
    first = [_ask(policy, prefix, f"a history of {len(prefix)} rows") for prefix in prefixes]
    again = [_ask(policy, prefix, f"a history of {len(prefix)} rows") for prefix in reversed(prefixes)][::-1]
    for prefix, one, two in zip(prefixes, first, again, strict=True):
        if not _same(one, two):
            _fail(
                policy,
                f"asked twice about the same {len(prefix)} rows it answered {one} and {two}. A decision must follow from the "
                "history alone: keep nothing between calls, and draw no random numbers.",
            )
    if any(_encoded(prefix) != before[: len(prefix)] for prefix in prefixes):
        _fail(policy, "it changed the history that it was asked about. Copy what is to be changed.")
    if _random_states() != states:
        _fail(policy, "it drew from a global random state, which changes the run that it watches.")


def _check_unchanged(policy: SwapPolicy, described: str) -> None:
    if repr(policy) != described:
        _fail(policy, f"it changed itself from {described} while it decided. Make it a frozen dataclass.")


def _check_silence(policy: SwapPolicy, history: History) -> None:
    """No swap on a last row whose signals are NaN or were not measured."""
    names = [name for name in _expanded(policy.requires) if name in history[-1]]
    numbers = [name for name in names if _kind(name) == "float"]
    if reads_clock(policy) or not names:
        return
    for num_rows in range(2, len(history) + 1):
        rows = list(history)[:num_rows]
        cases: list[tuple[dict[str, Value], str]] = [(dict.fromkeys(names), "were not measured")]
        if numbers:
            cases.append(({name: math.nan if name in numbers else None for name in names}, "are NaN"))
        for changes, what in cases:
            last = {**rows[-1], **changes}
            decision = _ask(policy, History([*rows[:-1], last]), f"a last row whose signals {what}")
            if decision.swap:
                _fail(
                    policy,
                    f"it fires on a last row whose signals {what}: {decision.reason}. Answer Decision(False, ...) there; or "
                    "declare reads_clock = True if it fires by the time that has passed.",
                )


def _check_missing(policy: SwapPolicy, history: History) -> None:
    if not policy.requires:
        return
    try:
        check_requirements(policy, ["loss_of_something_else"], _REMEDY)
    except MissingColumnError as error:
        unnamed = [name for name in policy.requires if name not in str(error)]
        if unnamed or _REMEDY not in str(error):
            _fail(policy, f"the message on missing columns does not name {unnamed}: {error}")
    stripped = History(_without(row, _expanded(policy.requires)) for row in history)
    try:
        decision = policy.decide(stripped)
    except MissingColumnError as error:
        said = str(error)
    except Exception as error:
        _fail(
            policy,
            f"without its columns it raised {type(error).__name__}: {error}. Answer Decision(False, ...) with the column's "
            "name in the reason, or raise MissingColumnError.",
        )
    else:
        said = decision.reason
        if decision.swap and not reads_clock(policy):
            _fail(policy, f"it fires although none of its columns was recorded: {said}")
    if not reads_clock(policy) and not any(name in said for name in policy.requires):
        _fail(policy, f"without its columns it says {said!r}, which names none of {sorted(policy.requires)}.")


def _check_relabelled(policy: SwapPolicy, history: History) -> None:
    labels = CLOCK_COLUMNS - policy.requires
    relabelled = [_relabel(row, labels) for row in history]
    for num_rows in range(1, len(history) + 1):
        one = _ask(policy, History(list(history)[:num_rows]), f"a history of {num_rows} rows")
        two = _ask(policy, History(relabelled[:num_rows]), "the same history with other epochs, steps and costs")
        if one.swap != two.swap or not _same_number(one.score, two.score):
            _fail(
                policy,
                f"with other labels of epochs, steps and costs, in the same order, it answered {two} instead of {one}. Count "
                "rows instead, or name the column of the clock in requires.",
            )


def _ask(policy: SwapPolicy, history: History, what: str) -> Decision:
    """A decision, checked for its form."""
    try:
        decision = policy.decide(history)
    except MissingColumnError:
        if any(_expanded(policy.requires)) and not all(
            name in history.columns() for name in _expanded(policy.requires)
        ):
            return Decision(False, "a column is missing")
        raise
    except Exception as error:
        _fail(policy, f"on {what} it raised {type(error).__name__}: {error}. A history may be short, or lack a value.")
    if not isinstance(decision, Decision):
        _fail(policy, f"on {what} it answered {decision!r} ({type(decision).__name__}); it must be a Decision.")
    if type(decision.swap) is not bool:
        _fail(policy, f"Decision.swap is {decision.swap!r} ({type(decision.swap).__name__}); it must be a bool.")
    if not isinstance(decision.reason, str) or " " not in decision.reason.strip():
        _fail(policy, f"Decision.reason is {decision.reason!r}; it must be a sentence.")
    if decision.swap and not any(character.isdigit() for character in decision.reason):
        _fail(
            policy,
            f"Decision.reason is {decision.reason!r}: there is no number in it. Say what was compared with what.",
        )
    if type(decision.score) is not float:
        _fail(policy, f"Decision.score is {decision.score!r} ({type(decision.score).__name__}); it must be a float.")
    evidence: Any = decision.evidence
    if not isinstance(evidence, Mapping) or not all(type(value) in (int, float) for value in evidence.values()):
        _fail(policy, f"Decision.evidence is {evidence!r}; it must map names to numbers.")
    return decision


def _made_up(policy: SwapPolicy, seed: int, phase: str) -> History:
    """A start row and some epochs in which everything that the policy reads was measured."""
    random_numbers = random.Random(seed)
    rows: list[dict[str, Value]] = []
    for epoch in range(NUM_EPOCHS + 1):
        row: dict[str, Value] = {"epoch": epoch, "phase": phase, "step": 3 * epoch, "gradient_equivalents": 2.0 * epoch}
        row |= {
            name: _value(name, epoch, seed, random_numbers) for name in _expanded(policy.requires) if name not in row
        }
        rows.append(row)
    return History(rows)


def _value(name: str, epoch: int, seed: int, random_numbers: random.Random) -> Value:
    """What a column may hold: seed 0 falls, seed 1 rises and falls, the others go up and down around zero."""
    kind = _kind(name)
    if kind == "str":
        return random_numbers.choice(TEXTS.get(name, ("yes", "no")))
    if kind == "int":
        return random_numbers.randint(0, 1) if name == "trial_search" else 100
    size = (1.0 / (1 + epoch), epoch * 0.8**epoch + 0.01, random_numbers.gauss(0, 1))[seed]
    return size * (1 + 0.1 * random_numbers.random())


def _kind(name: str) -> str:
    column = describe_column(name)
    return "float" if column is None else column.kind


def _expanded(requires: frozenset[str]) -> list[str]:
    """Names of columns, with those of two layers for a family."""
    return [
        f"{name[:-1]}{layer}" if layer else name
        for name in sorted(requires)
        for layer in (LAYERS if name.endswith("/*") else ("",))
    ]


def _without(row: Row, names: Sequence[str]) -> dict[str, Value]:
    return {name: value for name, value in row.items() if name not in names}


def _relabel(row: Row, labels: frozenset[str]) -> dict[str, Value]:
    """Other numbers in the same order; 0 stays 0, since epoch 0 is the start."""
    changed: dict[str, Value] = {}
    for name in labels & set(row):
        value = row[name]
        if isinstance(value, (int, float)):
            changed[name] = value * value + 7 * value  # rises with value, and keeps whole numbers whole
    return {**row, **changed}


def _same(one: Decision, two: Decision) -> bool:
    same_evidence = one.evidence.keys() == two.evidence.keys() and all(
        _same_number(one.evidence[name], two.evidence[name]) for name in one.evidence
    )
    return one.swap == two.swap and one.reason == two.reason and _same_number(one.score, two.score) and same_evidence


def _same_number(one: float, two: float) -> bool:
    return one == two or (math.isnan(one) and math.isnan(two))


def _encoded(history: History) -> list[str]:
    return [encode_row(row) for row in history]


def _random_states() -> tuple[Any, ...]:
    numpy_state: Any = np.random.get_state()  # noqa: NPY002 - the very thing that must not change
    return random.getstate(), str(numpy_state), torch.get_rng_state().numpy().tobytes()


def _fail(policy: object, message: str) -> NoReturn:
    raise AssertionError(f"{policy!r}: {message}")
