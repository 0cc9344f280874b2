"""Policies that need the same measurements, asked along a first phase as if they were alone."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from landscape.comparison.asked import Asked
from landscape.comparison.shared_snapshot import Shared, SharingSnapshot
from landscape.cost import Cost
from landscape.operators.choose import HessianMethod
from landscape.problem import Problem
from landscape.tracking.history import History, Row, Value, number_in
from landscape.tracking.snapshot import Snapshot
from landscape.tracking.tracker import StepPart
from landscape.training.recording import choose_hessian_method, merged
from landscape.training.state import spent_columns
from landscape.vectors import norm


class Group:
    """Policies that need the same measurements: one schedule and one history, as a run with any of them alone would have.

    Parameters
    ----------
    members : sequence of Asked
        The policies.
    budget : float
        Gradient equivalents of a run.
    """

    def __init__(self, members: Sequence[Asked], budget: float) -> None:
        self.budget = budget
        self.waiting = list(members)
        self.recording = members[0].recording
        self.schedule = self.recording.schedule()
        self.history = History()
        self.second = members[0].second
        self.spent: Cost | None = None
        self.verifications: dict[Any, Any] = {}
        self._method: HessianMethod | None = None

    @property
    def step_parts(self) -> frozenset[StepPart]:
        """What the trackers read of a step."""
        return frozenset() if self.schedule is None else self.schedule.step_parts

    def measure(self, snapshot: Snapshot, shared: Shared, given: Mapping[str, Value]) -> Row:
        """The row that a run with these policies alone would record."""
        problem = snapshot.problem
        before = problem.cost.copy()
        row: dict[str, Value] = dict(given)
        own = SharingSnapshot(snapshot, shared, row, self.second, self._hessian_method(problem))
        wanted = self.recording.measured("first") - row.keys()
        if "gradient_norm" in wanted:
            gradient_norm = norm(own.gradient)
            row.update(loss=own.loss, gradient_norm=gradient_norm)
        elif "loss" in wanted:
            row["loss"] = own.loss
        own.row.update(row)
        if self.schedule is not None:
            measured = self.schedule.measure(own)
            row = merged(row, measured)
        self._charge(problem.cost.since(before))
        return row

    def _hessian_method(self, problem: Problem) -> HessianMethod:
        """Tried once, as a run does."""
        if self._method is None:
            self._method = "autograd" if self.schedule is None else choose_hessian_method(problem, self.schedule)
        return self._method

    def _charge(self, cost: Cost) -> None:
        if self.spent is None:
            self.spent = Cost(cost.num_samples)
        self.spent.add(cost)

    def probing(self) -> float:
        """Gradient equivalents of all measurements so far."""
        return 0.0 if self.spent is None else self.spent.gradient_equivalents

    def record(self, snapshot: Snapshot, measured: Row) -> None:
        """Add the row with its bookkeeping."""
        none = Cost(snapshot.problem.num_samples)
        spent = spent_columns(snapshot.training or none, self.spent or none)
        self.history.append(
            {
                "epoch": snapshot.epoch,
                "phase": snapshot.phase,
                "step": snapshot.step,
                **measured,
                **spent,
                "spent_share": (number_in(spent, "gradient_equivalents") or 0.0) / self.budget,
                "seconds": snapshot.seconds,
            }
        )

    @contextlib.contextmanager
    def own_verifications(self, problem: Problem) -> Iterator[None]:
        """The problem as this group knows it: what another one has verified, it would have to verify itself."""
        others = problem._verifications
        problem._verifications = self.verifications
        try:
            yield
        finally:
            problem._verifications = others

    def estimated_cost(self, snapshot: Snapshot) -> float:
        """Gradient equivalents that measuring would be charged now, if nothing were known."""
        if self.schedule is None:
            return 0.0
        self.schedule._find_again(snapshot.problem)  # what was verified before an interruption is free after it, too
        own = SharingSnapshot(snapshot, Shared(), {}, self.second, "autograd")
        return sum(tracker.estimated_cost(own) for tracker in self.schedule.trackers)

    def state_dict(self) -> dict[str, Any]:
        """Everything needed to go on."""
        return {
            "waiting": [asked.key for asked in self.waiting],
            "rows": [dict(row) for row in self.history],
            "spent": None if self.spent is None else self.spent.state_dict(),
            "schedule": None if self.schedule is None else self.schedule.state_dict(),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on where :meth:`state_dict` was taken."""
        self.waiting = [asked for asked in self.waiting if asked.key in state["waiting"]]
        self.history = History(state["rows"])
        if state["spent"] is not None:
            self.spent = Cost(state["spent"]["num_samples"])
            self.spent.load_state_dict(state["spent"])
        if self.schedule is not None:
            self.schedule.load_state_dict(state["schedule"])
