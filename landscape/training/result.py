"""What a training run gives back."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from landscape.cost import Cost
from landscape.status import Status
from landscape.tracking.history import History, Row, number_in


@dataclass(frozen=True)
class Swap:
    """One change of phase.

    Parameters
    ----------
    epoch : int
        The last epoch of the phase that was left.
    to_phase : str
        "second" for a swap, "first" for a swap back.
    reason : str
        The policy's, in words.
    score : float
        The policy's.
    evidence : mapping of str to float
        The policy's.
    """

    epoch: int
    to_phase: str
    reason: str
    score: float
    evidence: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Evaluation:
    """Losses and metrics at one moment of a run: at the start, at a swap, at the end.

    Parameters
    ----------
    moment : str
        "start", "swap", "swap back" or "end".
    epoch : int
        After which epoch.
    values : mapping of str to float
        ``train_loss`` and, if there is validation data, ``validation_loss``; the same for every metric.
    """

    moment: str
    epoch: int
    values: Mapping[str, float]


@dataclass(frozen=True)
class Segment:
    """A stretch of one phase and what it gained.

    Parameters
    ----------
    phase : str
        "first" or "second".
    first_epoch, last_epoch : int
        Its epochs, both included.
    loss_before, loss_after : float
        Loss over all data at its two ends; the running loss where the full one was not recorded; NaN if neither was.
    gradient_equivalents : float
        What its steps cost, without probing.
    probing_equivalents : float
        What recording along it cost.
    """

    phase: str
    first_epoch: int
    last_epoch: int
    loss_before: float
    loss_after: float
    gradient_equivalents: float
    probing_equivalents: float

    @property
    def num_epochs(self) -> int:
        """How many epochs it has."""
        return self.last_epoch - self.first_epoch + 1

    @property
    def halvings_per_100_equivalents(self) -> float:
        """How often the loss was halved per 100 GE of steps, log2(before / after) / GE * 100; NaN if that says nothing."""
        losses = (self.loss_before, self.loss_after)
        if not (all(0 < loss < math.inf for loss in losses) and self.gradient_equivalents > 0):
            return math.nan
        return (math.log2(self.loss_before) - math.log2(self.loss_after)) / self.gradient_equivalents * 100


@dataclass(frozen=True)
class TrainingResult:
    """A finished, interrupted or stopped run.

    Parameters
    ----------
    history : History
        One row per epoch; row 0 is the start.
    swaps : tuple of Swap
        In order.
    evaluations : tuple of Evaluation
        At the start, at each swap, and at the end.
    status : Status
        Why the run ended.
    cost : mapping of str to Cost
        ``"training"`` (steps, with their line searches), ``"probing"`` (recorded quantities) and ``"reporting"``
        (evaluations, which no budget pays for).
    settings : mapping of str to str
        How the run was made.
    run_dir : Path, optional
        Where it is kept.
    """

    history: History
    swaps: tuple[Swap, ...]
    evaluations: tuple[Evaluation, ...]
    status: Status
    cost: Mapping[str, Cost]
    settings: Mapping[str, str]
    run_dir: Path | None = None

    @property
    def segments(self) -> tuple[Segment, ...]:
        """The stretches of the two phases, in order."""
        return segments_of(self.history)

    @property
    def swap_epoch(self) -> int | None:
        """Epoch after which the second phase first took over; None if it never did."""
        return next((swap.epoch for swap in self.swaps if swap.to_phase == "second"), None)


def loss_of(row: Row) -> float:
    """The loss over all data of a row, or the running loss, or NaN."""
    values = (number_in(row, name) for name in ("loss", "loss_running"))
    return next((value for value in values if value is not None), math.nan)


def has_diverged(row: Row) -> bool:
    """Whether a loss was seen that is not finite; a row without any loss says nothing."""
    return any(name in row for name in ("loss", "loss_running")) and not math.isfinite(loss_of(row))


def segments_of(history: History) -> tuple[Segment, ...]:
    """Cut a history at its swaps."""
    segments: list[Segment] = []
    before = history[0] if len(history) else {}
    rows = [row for row in history if row.get("epoch") != 0]
    start = 0
    for index, row in enumerate(rows):
        if index + 1 < len(rows) and rows[index + 1].get("phase") == row.get("phase"):
            continue
        segments.append(_segment(before, rows[start], row))
        before, start = row, index + 1
    return tuple(segments)


def _segment(before: Row, first: Row, last: Row) -> Segment:
    spent, probing = (
        (number_in(last, name) or 0.0) - (number_in(before, name) or 0.0)
        for name in ("gradient_equivalents", "probing_equivalents")
    )
    return Segment(
        phase=str(last.get("phase")),
        first_epoch=int(number_in(first, "epoch") or 0),
        last_epoch=int(number_in(last, "epoch") or 0),
        loss_before=loss_of(before),
        loss_after=loss_of(last),
        gradient_equivalents=spent - probing,
        probing_equivalents=probing,
    )
