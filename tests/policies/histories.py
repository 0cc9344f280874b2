"""Histories written by hand, and the epochs at which a policy fires on them."""

from __future__ import annotations

from landscape.tracking.history import History


def history_of(start=None, phase="first", first_epoch=1, **columns):
    """A start row and one row for each value; None leaves a value out."""
    length = max(len(values) for values in columns.values())
    rows = [{"epoch": 0, "phase": phase, **(start or {})}] if first_epoch == 1 else []
    for i in range(length):
        row = {"epoch": first_epoch + i, "phase": phase}
        rows.append({**row, **{name: values[i] for name, values in columns.items() if i < len(values)}})
    return History(rows)


def fires_at(policy, history):
    """All epochs after which the policy, asked as a trainer asks, says swap."""
    rows = list(history)
    decisions = [policy.decide(History(rows[:n])) for n in range(1, len(rows) + 1)]
    return [row["epoch"] for row, decision in zip(rows, decisions, strict=True) if decision.swap]


def first_firing(policy, history):
    """The first of them; None if it never fires."""
    return next(iter(fires_at(policy, history)), None)
