"""Many policies asked along one first phase, each as if it were the only one, and each charged for what it alone would cost."""

from __future__ import annotations

import time
import traceback
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, ClassVar

from landscape.comparison.asked import Asked, Settled
from landscape.comparison.group import Group
from landscape.comparison.shared_snapshot import Shared
from landscape.problem import Problem
from landscape.tracking.facts import uncharged
from landscape.tracking.history import Value, number_in
from landscape.tracking.schedule import UnavailableColumnError
from landscape.tracking.snapshot import Snapshot
from landscape.tracking.tracker import Step, StepPart
from landscape.training.result import has_diverged


@dataclass
class Book:
    """What a panel has found, kept outside of it: a run makes panels of its own from the one it is given.

    Parameters
    ----------
    settled : dict of str to Settled
        By the key of the asked policy.
    waiting : dict of str to Settled
        What the others would be settled as if the run ended here.
    signals : list of (int, str, float)
        Epoch, column, value: what was measured where a branch may begin.
    measured : float
        Gradient equivalents that measuring took, what several policies share counted once.
    """

    settled: dict[str, Settled] = field(default_factory=dict)
    waiting: dict[str, Settled] = field(default_factory=dict)
    signals: list[tuple[int, str, float]] = field(default_factory=list)
    measured: float = 0.0

    def clear(self) -> None:
        """Forget everything."""
        self.settled.clear()
        self.waiting.clear()
        self.signals.clear()
        self.measured = 0.0

    @property
    def answers(self) -> dict[str, Settled]:
        """Of all policies, now that the run is over."""
        return {**self.waiting, **self.settled}

    @property
    def swap_epochs(self) -> set[int]:
        """Epochs at which some policy fired."""
        return {found.epoch for found in self.settled.values() if found.answer == "fired"}


class Panel:
    """A tracker that asks policies after every epoch of a first phase that goes on whatever they say.

    Each policy sees the rows, and is charged the gradient equivalents, of a run of its own with ``record="free"``: its
    decisions and its price are those of that run, bit for bit. What is shared in truth is the first phase, the loss and the
    gradient over all data, and everything else among policies that need the same trackers; a policy that has fired, or has
    spent the budget, is measured for no longer.

    Parameters
    ----------
    asked : sequence of Asked
        The policies.
    given : frozenset of str
        Columns that the first phase's epochs give.
    budget : float
        Gradient equivalents of a run.
    signal_epochs : frozenset of int
        Where branches may begin whatever the policies say: there, settled policies' columns are measured as well, as signals,
        at nobody's expense.
    max_signal_cost : float
        As far as measuring them is estimated to cost at most so many gradient equivalents.
    book : Book
        Where to write what is found.
    """

    name: ClassVar[str] = "panel"
    every: ClassVar[int] = 1
    records: ClassVar[frozenset[str]] = frozenset({"panel_seconds"})
    needs: ClassVar[frozenset[str]] = frozenset()

    def __init__(
        self,
        asked: Sequence[Asked],
        given: frozenset[str],
        budget: float,
        signal_epochs: frozenset[int],
        max_signal_cost: float,
        book: Book,
    ) -> None:
        self.asked = tuple(asked)
        self.given = given
        self.budget = budget
        self.signal_epochs = signal_epochs
        self.max_signal_cost = max_signal_cost
        self.book = book
        self._groups = _grouped(asked, budget)
        self._checked = False
        self._seconds = 0.0

    def __repr__(self) -> str:
        return f"Panel({'; '.join(asked.key for asked in self.asked)})"

    def fresh(self) -> Panel:
        """The same, on the same book: a schedule that is made to be described only must not wipe it out."""
        return Panel(self.asked, self.given, self.budget, self.signal_epochs, self.max_signal_cost, self.book)

    def unavailable(self, problem: Problem) -> str | None:
        """Each policy answers for itself."""
        return None

    def estimated_cost(self, snapshot: Snapshot) -> float:
        """At nobody's expense but each policy's own."""
        return 0.0

    @property
    def step_parts(self) -> frozenset[StepPart]:
        """What the trackers of all groups read of a step."""
        return frozenset[StepPart]().union(*(group.step_parts for group in self._groups))

    def observe_step(self, step: Step) -> None:
        """Show the step to every group that still asks."""
        for group in self._groups:
            if group.waiting and group.schedule is not None and group.step_parts:
                group.schedule.observe_step(step)

    def measure(self, snapshot: Snapshot) -> Mapping[str, Value]:
        """Measure for every group, and ask its policies."""
        began = time.monotonic()
        problem = snapshot.problem
        self._refuse_unavailable(problem)
        given = {name: value for name, value in snapshot.row.items() if name in self.given}
        shared = Shared()
        for group in self._groups:
            with uncharged(problem), group.own_verifications(problem):
                self._measure_group(group, snapshot, shared, given)
        self.book.measured -= shared.saved
        self._seconds += time.monotonic() - began
        return {"panel_seconds": self._seconds}

    def _measure_group(self, group: Group, snapshot: Snapshot, shared: Shared, given: Mapping[str, Value]) -> None:
        before = snapshot.problem.cost.copy()
        try:
            if group.waiting:
                row = group.measure(snapshot, shared, given)
                group.record(snapshot, row)
                self._ask(group, snapshot)
            elif snapshot.epoch in self.signal_epochs and group.estimated_cost(snapshot) <= self.max_signal_cost:
                row = group.measure(snapshot, shared, given)
            else:
                return
        except Exception:  # one policy's measurements must not take the others' away
            text = traceback.format_exc(limit=-3)
            for asked in group.waiting:
                self._settle(asked, Settled("crashed", snapshot.epoch, group.probing(), text))
            group.waiting = []
            return
        finally:
            self.book.measured += snapshot.problem.cost.since(before).gradient_equivalents
        if snapshot.epoch in self.signal_epochs:
            numbers = ((name, value) for name, value in row.items() if isinstance(value, (int, float)))
            self.book.signals.extend((snapshot.epoch, name, float(value)) for name, value in numbers)

    def _ask(self, group: Group, snapshot: Snapshot) -> None:
        """What a run does after an epoch: swap if the policy says so, end where the budget is spent."""
        last = group.history[-1]
        diverged = has_diverged(last)
        total = number_in(last, "gradient_equivalents") or 0.0
        if snapshot.epoch == 0:
            if total >= self.budget:
                reason = f"measuring the start cost {total:.4g} GE: the budget was spent before the first epoch"
                for asked in group.waiting:
                    self._settle(asked, Settled("never", 0, group.probing(), reason))
                group.waiting = []
            return
        for asked in tuple(group.waiting):
            try:
                decision = asked.policy.decide(group.history)
            except Exception:
                self._settle(asked, Settled("crashed", snapshot.epoch, group.probing(), traceback.format_exc(limit=-3)))
                group.waiting.remove(asked)
                continue
            if decision.swap and not diverged:
                found = Settled("fired", snapshot.epoch, group.probing(), decision.reason, decision.score)
            elif total >= self.budget or diverged:
                found = Settled("never", snapshot.epoch, group.probing(), decision.reason, decision.score)
            else:
                self.book.waiting[asked.key] = Settled(
                    "never", snapshot.epoch, group.probing(), decision.reason, decision.score
                )
                continue
            self._settle(asked, found)
            group.waiting.remove(asked)

    def _settle(self, asked: Asked, found: Settled) -> None:
        self.book.waiting.pop(asked.key, None)
        self.book.settled[asked.key] = found

    def _refuse_unavailable(self, problem: Problem) -> None:
        """Settle, before any work, the policies whose columns cannot be measured on this problem."""
        if self._checked:
            return
        self._checked = True
        for group in self._groups:
            try:
                if group.schedule is not None:
                    group.schedule.check(problem)
            except UnavailableColumnError as error:
                for asked in group.waiting:
                    self._settle(asked, Settled("unavailable", 0, 0.0, str(error)))
                group.waiting = []

    def after_row(self, snapshot: Snapshot) -> None:
        """Nothing to keep: the groups' schedules have seen to it."""

    def state_dict(self) -> dict[str, Any]:
        """Every group's, and the book."""
        return {
            "groups": [group.state_dict() for group in self._groups],
            "waiting": {key: asdict(found) for key, found in self.book.waiting.items()},
            "settled": {key: asdict(found) for key, found in self.book.settled.items()},
            "signals": [list(signal) for signal in self.book.signals],
            "measured": self.book.measured,
            "seconds": self._seconds,
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on where :meth:`state_dict` was taken, with the same policies."""
        for group, kept in zip(self._groups, state["groups"], strict=True):
            group.load_state_dict(kept)
        self.book.clear()
        self.book.settled.update({key: Settled(**found) for key, found in state["settled"].items()})
        self.book.waiting.update({key: Settled(**found) for key, found in state["waiting"].items()})
        self.book.signals[:] = [(int(epoch), str(name), float(value)) for epoch, name, value in state["signals"]]
        self.book.measured = float(state["measured"])
        self._seconds = float(state["seconds"])
        self._checked = True


def _grouped(asked: Sequence[Asked], budget: float) -> list[Group]:
    """Those that need the same measurements together, in the order given."""
    groups: dict[str, list[Asked]] = {}
    for item in asked:
        groups.setdefault(item.needs, []).append(item)
    return [Group(members, budget) for members in groups.values()]
