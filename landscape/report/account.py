"""What a run gained and what it paid: numbers read off a result, before they become words."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, TypeGuard

from landscape.status import FAILED_SEARCHES
from landscape.tracking.history import History, Row, number_in
from landscape.training.result import Segment, TrainingResult

LossKind = Literal["full", "running"]


@dataclass(frozen=True)
class SegmentAccount:
    """A segment whose losses are known for what they are.

    Parameters
    ----------
    segment : Segment
        With the losses over all data at its ends where they are known: an evaluation fills in what the history lacks.
    before, after : {"full", "running"} or None
        What kind of loss each end has; None if none was measured there.
    """

    segment: Segment
    before: LossKind | None
    after: LossKind | None

    @property
    def loss_before(self) -> float | None:
        """Loss at the beginning; None if it was not measured."""
        return self.segment.loss_before if self.before else None

    @property
    def loss_after(self) -> float | None:
        """Loss at the end; None if it was not measured."""
        return self.segment.loss_after if self.after else None

    @property
    def halvings_per_100(self) -> float | None:
        """Gain per 100 GE of steps; None where it does not exist."""
        before, after = self.loss_before, self.loss_after
        if not (_positive(before) and _positive(after) and _positive(self.segment.gradient_equivalents)):
            return None
        if not _positive(before / after):  # beyond what a float holds
            return None
        return self.segment.halvings_per_100_equivalents


@dataclass(frozen=True)
class SecondPhasePrice:
    """What the second phase's steps cost.

    Parameters
    ----------
    num_steps : int
        Updates.
    num_epochs : int
        Epochs; for a full-batch optimiser as many as steps.
    gradient_equivalents : float
        GE of all of them, without recording.
    num_failed : int
        Line searches that found no lower loss.
    """

    num_steps: int
    num_epochs: int
    gradient_equivalents: float
    num_failed: int

    @property
    def per_epoch(self) -> float:
        """GE of an epoch: of a step, if the phase takes full batches."""
        return self.gradient_equivalents / self.num_epochs

    @property
    def is_full_batch(self) -> bool:
        """Whether each epoch was one step."""
        return self.num_steps == self.num_epochs


def segment_accounts(result: TrainingResult) -> tuple[SegmentAccount, ...]:
    """The segments of a run, with losses from evaluations where the history has none over all data."""
    return tuple(_account(result, segment) for segment in result.segments)


def phase_gain(accounts: Sequence[SegmentAccount], phase: str) -> float | None:
    """Halvings of the loss per 100 GE over all segments of a phase; None if some of them have no gain."""
    segments = [account for account in accounts if account.segment.phase == phase]
    spent = sum(account.segment.gradient_equivalents for account in segments)
    halvings = 0.0
    for account in segments:
        if account.halvings_per_100 is None:
            return None
        halvings += account.halvings_per_100 * account.segment.gradient_equivalents / 100
    return halvings / spent * 100 if spent > 0 else None


def second_phase_price(result: TrainingResult) -> SecondPhasePrice | None:
    """What steps and line searches of the second phase cost; None if it made no epoch."""
    segments = [segment for segment in result.segments if segment.phase == "second"]
    if not segments:
        return None
    rows = [row for row in result.history if row.get("phase") == "second" and row.get("epoch") != 0]
    num_epochs = len(rows)
    num_steps = 0
    for segment in segments:
        before = _step(row_of(result.history, segment.first_epoch - 1))
        after = _step(row_of(result.history, segment.last_epoch))
        num_steps += segment.num_epochs if before is None or after is None else after - before
    return SecondPhasePrice(
        num_steps=num_steps,
        num_epochs=num_epochs,
        gradient_equivalents=sum(segment.gradient_equivalents for segment in segments),
        num_failed=sum(1 for row in rows if row.get("status") in FAILED_SEARCHES),
    )


def row_of(history: History, epoch: int) -> Row:
    """The row of an epoch; an empty one if there is none."""
    return next((row for row in history if row.get("epoch") == epoch), {})


def spent_at(history: History, epoch: int) -> float | None:
    """GE spent up to the end of an epoch, recording included."""
    return number_in(row_of(history, epoch), "gradient_equivalents")


def spent(result: TrainingResult, purpose: Literal["training", "probing"]) -> float | None:
    """GE of steps or of recording: from the ledgers, else from the last row."""
    if purpose in result.cost:
        return result.cost[purpose].gradient_equivalents
    last: Row = result.history[-1] if len(result.history) else {}
    total, probing = number_in(last, "gradient_equivalents"), number_in(last, "probing_equivalents")
    if purpose == "probing":
        return probing
    return None if total is None else total - (probing or 0.0)


def last_epoch(result: TrainingResult) -> int:
    """The last complete epoch; 0 if there is none."""
    epochs = [row.get("epoch") for row in result.history]
    return next((int(epoch) for epoch in reversed(epochs) if isinstance(epoch, (int, float))), 0)


def evaluated(result: TrainingResult, epoch: int) -> dict[str, float]:
    """What was evaluated after an epoch."""
    return next((dict(item.values) for item in reversed(result.evaluations) if item.epoch == epoch), {})


def _account(result: TrainingResult, segment: Segment) -> SegmentAccount:
    (before, kind_before), (after, kind_after) = (
        _loss(result, segment.first_epoch - 1),
        _loss(result, segment.last_epoch),
    )
    return SegmentAccount(
        dataclasses.replace(segment, loss_before=before, loss_after=after), before=kind_before, after=kind_after
    )


def _loss(result: TrainingResult, epoch: int) -> tuple[float, LossKind | None]:
    """The loss after an epoch, the best kind there is."""
    row = row_of(result.history, epoch)
    full = number_in(row, "loss")
    full = evaluated(result, epoch).get("train_loss") if full is None else full
    if full is not None:
        return float(full), "full"
    running = number_in(row, "loss_running")
    return (math.nan, None) if running is None else (running, "running")


def _positive(value: float | None) -> TypeGuard[float]:
    return value is not None and math.isfinite(value) and value > 0


def _step(row: Row) -> int | None:
    value = row.get("step")
    return value if isinstance(value, int) else None
