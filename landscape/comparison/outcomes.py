"""What every arm came to, read off the runs that were made: one branch answers for all arms that swap there."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from landscape.comparison.arm import Arm, ArmResult
from landscape.comparison.asked import Settled
from landscape.comparison.rows import row_at, values_at
from landscape.training.phases import PhaseFactory

#: Points of a curve that are kept.
_POINTS = 80


@dataclass(frozen=True)
class Way:
    """How an arm spends its budget: the first phase to some epoch, then a branch.

    Parameters
    ----------
    swap_epoch : int or None
        None: the first phase to the end.
    probing : float
        Gradient equivalents of the policy's measurements.
    reason : str
        The policy's.
    end_epoch : int or None
        With which the budget was spent, measurements included, before the policy fired.
    """

    swap_epoch: int | None
    probing: float = 0.0
    reason: str = ""
    end_epoch: int | None = None


def way_of(answer: Settled) -> Way:
    """What a policy's answer means."""
    if answer.answer == "fired":
        return Way(answer.epoch, answer.probing, answer.reason)
    return Way(None, answer.probing, answer.reason, answer.epoch)


def budget_of(finisher: PhaseFactory, budget: float, way: Way) -> float:
    """What a branch may spend: a finisher that plans with what is left must be told; the others are read off earlier."""
    return budget - way.probing if getattr(finisher, "follows_budget", False) else budget


def outcome(
    arm: Arm,
    seed: int,
    way: Way,
    first: Mapping[str, Any],
    branch: Mapping[str, Any] | None,
    budget: float,
    target: float,
    losses: Sequence[str],
) -> ArmResult:
    """What an arm came to.

    Parameters
    ----------
    arm : Arm
        Which.
    seed : int
        Which.
    way : Way
        How it spent the budget.
    first : mapping
        The first phase's result.
    branch : mapping or None
        The branch's; None where the arm does not swap.
    budget : float
        Of the arm.
    target : float
        The training loss that counts as reached.
    losses : sequence of str
        Values that are infinite where an arm diverged.
    """
    course = first if branch is None else branch
    if branch is None:
        ends = [e for e in (way.end_epoch, way.swap_epoch) if e is not None]
        index = min([*ends, len(course["rows"]) - 1])
    else:
        index = row_at(course["rows"], budget - way.probing)
    row, values = course["rows"][index], values_at(course, index)
    before = [r for r in first["rows"] if branch is None or r["epoch"] <= (way.swap_epoch or 0)]
    if branch is None:
        before, after = before[: index + 1], []
    else:
        after = list(course["rows"][1 : index + 1])
    path = [(r["gradient_equivalents"] + way.probing, r["train_loss"]) for r in [*before, *after] if "train_loss" in r]
    is_finite = all(math.isfinite(values[name]) for name in losses if name in values)
    if before[-1]["epoch"] == way.swap_epoch:
        values["swap_train_loss"] = before[-1].get("train_loss", math.nan)
    if not is_finite:
        values.update(dict.fromkeys(losses, math.inf))
    reached = next((spent for spent, loss in path if loss <= target), None)
    seconds = before[-1]["seconds"] - first["rows"][0]["seconds"]
    if branch is not None:
        seconds += row["seconds"] - course["rows"][0]["seconds"]
    return ArmResult(
        arm,
        seed,
        "finished" if is_finite else "diverged",
        way.swap_epoch,
        way.reason,
        way.probing,
        row["gradient_equivalents"] + way.probing,
        seconds,
        values,
        reached,
        thinned(path),
    )


def not_run(arm: Arm, seed: int, status: Any, reason: str, losses: Sequence[str]) -> ArmResult:
    """The result of an arm that crashed or could not be asked."""
    values = dict.fromkeys(losses, math.inf) if status == "crashed" else {}
    return ArmResult(arm, seed, status, reason=reason, values=values)


def thinned(path: Sequence[tuple[float, float]]) -> tuple[tuple[float, float], ...]:
    """At most so many points of a curve, the first and the last among them, even in gradient equivalents.

    Examples
    --------
    >>> len(thinned([(float(i), 1.0) for i in range(1000)])), thinned([(0.0, 2.0), (1.0, 1.0)])
    (80, ((0.0, 2.0), (1.0, 1.0)))
    """
    if len(path) <= _POINTS:
        return tuple(path)
    low, high = path[0][0], path[-1][0]
    kept = [path[0]]
    for point in path[1:-1]:
        if point[0] >= low + (high - low) * len(kept) / (_POINTS - 1):
            kept.append(point)
    return (*kept[: _POINTS - 1], path[-1])
