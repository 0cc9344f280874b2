"""Which trackers measure at the end of which epoch, within a ceiling on what probing may cost."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from landscape.problem import Problem
from landscape.tracking.columns import members
from landscape.tracking.facts import ProblemFacts, uncharged
from landscape.tracking.history import Value
from landscape.tracking.snapshot import Snapshot
from landscape.tracking.tracker import Step, StepObserver, StepPart, Tracker

#: Rounding of sums of gradient equivalents.
_SLACK = 1e-9


class UnavailableColumnError(ValueError):
    """A column that a policy needs cannot be measured on this problem."""


class Schedule:
    """Decides at the end of every epoch which trackers measure.

    A tracker is *due* if ``every`` epochs have passed since it last measured, or if it never did. Of those that are due:

    1. what a policy needs (``required``) measures, whatever it costs, and first, so that others find its gradient made;
    2. what costs nothing measures;
    3. the others share ``max_overhead`` of what training has cost so far. Next is the one whose measurements so far, this
       one included, would be worth least (among equals the most overdue one); where it does not fit, it waits for the
       budget to grow, and the others wait behind it. So cheap trackers measure often, and an expensive one gets its turn
       once each of the cheap ones has had as much. A measurement is worth what it would cost alone, also where another
       tracker has just paid for the gradient: those that share one do not count for several.

    What was due and is left out is *skipped*: its columns are None in the row, which a :class:`landscape.History` takes for
    "not measured", and it stays due. No value is carried over or made up. What is not due is not in the row at all.

    Parameters
    ----------
    trackers : sequence of Tracker
        Taken as settings: the schedule works on fresh ones, so they may be given to several schedules.
    required : iterable of str
        Columns that a policy reads. A tracker that records any of them is mandatory. The attribute may be set anew where
        another policy takes over.
    max_overhead : float
        Gradient equivalents for trackers that no policy needs, as a share of those spent on training; infinity for no
        ceiling. What policies need comes on top.

    Attributes
    ----------
    skips : dict of str to int
        For each tracker, in how many rows it was due and left out.
    spent : dict of str to float
        For each tracker, what it has charged, in gradient equivalents. What several use is paid for by the first of them.

    Raises
    ------
    ValueError
        If ``max_overhead`` is negative, or two trackers have one name or record one column.

    Examples
    --------
    >>> from landscape.testing.problems import least_squares
    >>> from landscape.tracking.trackers.registry import build
    >>> schedule = Schedule([build("gradient-norm"), build("parameter-norm")], max_overhead=0.1)
    >>> snapshot = Snapshot(least_squares().problem, epoch=1, training_equivalents=5.0)
    >>> row = schedule.measure(snapshot)  # half a gradient may be spent by now
    >>> row["gradient_norm"], round(row["parameter_norm"], 3), schedule.skips["gradient-norm"]
    (None, 2.717, 1)
    """

    def __init__(self, trackers: Sequence[Tracker], *, required: Iterable[str] = (), max_overhead: float = 0.1) -> None:
        if not max_overhead >= 0:
            raise ValueError(
                f"max_overhead={max_overhead} was given; it is a share of what training costs, 0 or more, such as 0.1."
            )
        _check_disjoint(trackers)
        self._trackers: dict[str, Tracker] = {tracker.name: tracker.fresh() for tracker in trackers}
        self._observers = [tracker for tracker in self._trackers.values() if isinstance(tracker, StepObserver)]
        self.required = frozenset(required)
        self.max_overhead = max_overhead
        self.skips = dict.fromkeys(self._trackers, 0)
        self.spent = dict.fromkeys(self._trackers, 0.0)
        self._worth = dict.fromkeys(self._trackers, 0.0)
        self._optional_spent = 0.0  # what was mandatory when it was spent stays outside the ceiling
        self._last: dict[str, int] = {}
        self._facts = ProblemFacts()
        self._verified: list[str] = []
        self._found_before: list[str] = []
        self._resumed = False

    def __repr__(self) -> str:
        return f"Schedule({', '.join(self._trackers) or 'no trackers'}; max_overhead={self.max_overhead:g})"

    @property
    def trackers(self) -> tuple[Tracker, ...]:
        """The schedule's own trackers, in the order given."""
        return tuple(self._trackers.values())

    @property
    def records(self) -> frozenset[str]:
        """All columns that may be measured; ``name/*`` for families."""
        return frozenset[str]().union(*(tracker.records for tracker in self.trackers))

    @property
    def step_parts(self) -> frozenset[StepPart]:
        """What of each step the phase has to show to :meth:`observe_step`; empty if no tracker looks at steps."""
        return frozenset[StepPart]().union(*(observer.step_parts for observer in self._observers))

    def is_mandatory(self, tracker: Tracker) -> bool:
        """Whether a policy needs a column of the tracker."""
        columns = sorted(tracker.records)
        return any(members(name, columns) for name in self.required)

    def settings(self) -> dict[str, str]:
        """What decides what is recorded, as text that is the same in every process."""
        return {
            "trackers": "; ".join(repr(tracker) for tracker in self.trackers),
            "max_overhead": repr(self.max_overhead),
        }

    def absences(self, problem: Problem) -> dict[str, str]:
        """Columns that cannot be measured on this problem, with the reason as a sentence."""
        reasons = {tracker: tracker.unavailable(problem) for tracker in self.trackers}
        return {name: reason for tracker, reason in reasons.items() if reason for name in sorted(tracker.records)}

    def check(self, problem: Problem) -> None:
        """Refuse a run whose policy needs what cannot be measured on this problem, before any work.

        Raises
        ------
        UnavailableColumnError
            With the reason.
        """
        absent = self.absences(problem)
        missing = sorted(name for needed in self.required for name in members(needed, sorted(absent)))
        if missing:
            raise UnavailableColumnError(
                f"a policy needs the column {missing[0]!r}, which cannot be measured here: {absent[missing[0]]} Choose "
                "another policy."
            )

    def observe_step(self, step: Step) -> None:
        """Show an optimiser step to the trackers that look at steps; call it only if :attr:`step_parts` is not empty."""
        for observer in self._observers:
            observer.observe_step(step)

    def measure(self, snapshot: Snapshot) -> dict[str, Value]:
        """Let those trackers measure that are due and may; free what the snapshot holds.

        Parameters
        ----------
        snapshot : Snapshot
            Of the epoch that has just ended.

        Returns
        -------
        dict
            Columns of the row; None for those of trackers that were skipped.
        """
        self._find_again(snapshot.problem)
        snapshot.facts = self._facts
        due = [name for name in self._trackers if self._is_due(name, snapshot)]
        mandatory = [name for name in due if self.is_mandatory(self._trackers[name])]
        alone = {name: self._trackers[name].estimated_cost(snapshot) for name in due}
        row: dict[str, Value] = {}
        for name in self._cheapest_together(mandatory, snapshot):
            row.update(self._run(name, snapshot))
        waiting = [name for name in due if name not in mandatory]
        row.update(self._run_optional(waiting, snapshot, alone))
        for name in waiting:  # those that are left
            self.skips[name] += 1
            columns = (column for column in self._trackers[name].records if not column.endswith("/*"))
            row.update(dict.fromkeys((column for column in columns if column not in snapshot.row), None))
        for tracker in self.trackers:
            tracker.after_row(snapshot)
        snapshot.release()
        self._verified = sorted(snapshot.problem._verifications)
        return row

    def _is_due(self, name: str, snapshot: Snapshot) -> bool:
        tracker, last = self._trackers[name], self._last.get(name)
        if last is not None and snapshot.epoch - last < tracker.every:
            return False
        return tracker.unavailable(snapshot.problem) is None

    def _cheapest_together(self, names: list[str], snapshot: Snapshot) -> list[str]:
        """An order in which a gradient is made before a loss is asked for: the loss comes along with it."""
        return sorted(names, key=lambda name: ("gradient" not in self._trackers[name].needs, name))

    def _run_optional(self, waiting: list[str], snapshot: Snapshot, alone: Mapping[str, float]) -> dict[str, Value]:
        """Let trackers measure as far as the ceiling allows; those that did are taken out of ``waiting``."""
        row: dict[str, Value] = {}
        allowed = self.max_overhead * snapshot.training_equivalents if math.isfinite(self.max_overhead) else math.inf
        costs = {name: self._trackers[name].estimated_cost(snapshot) for name in waiting}
        while waiting:
            name = min(waiting, key=lambda name: self._rank(name, costs[name], snapshot))
            if costs[name] > 0 and self._optional_spent + costs[name] > allowed + _SLACK:
                break
            waiting.remove(name)
            before = self.spent[name]
            row.update(self._run(name, snapshot))
            charged = self.spent[name] - before
            self._optional_spent += charged
            self._worth[name] += alone[name]
            if charged > 0:  # what was paid for is shared, so that others may now cost less
                costs = {name: self._trackers[name].estimated_cost(snapshot) for name in waiting}
        return row

    def _rank(self, name: str, cost: float, snapshot: Snapshot) -> tuple[bool, float, float, str]:
        """Free ones first, then by what they have had, then by how many times over they are due."""
        last = self._last.get(name)
        overdue = math.inf if last is None else (snapshot.epoch - last) / self._trackers[name].every
        return cost > 0, self._worth[name] + cost, -overdue, name

    def _run(self, name: str, snapshot: Snapshot) -> Mapping[str, Value]:
        before = snapshot.problem.cost.copy()
        try:
            measured = self._trackers[name].measure(snapshot)
        finally:
            self.spent[name] += snapshot.problem.cost.since(before).gradient_equivalents
        self._last[name] = snapshot.epoch
        snapshot.row.update(measured)
        return measured

    def state_dict(self) -> dict[str, Any]:
        """Everything needed to go on, the trackers' states included; loads with ``weights_only=True``."""
        return {
            "skips": dict(self.skips),
            "spent": dict(self.spent),
            "worth": dict(self._worth),
            "optional_spent": self._optional_spent,
            "last": dict(self._last),
            "verified": list(self._verified),
            "found": self._facts.known or list(self._found_before),
            "trackers": {name: tracker.state_dict() for name, tracker in self._trackers.items()},
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on where :meth:`state_dict` was taken, with the same trackers.

        Raises
        ------
        ValueError
            If it was taken from other trackers.
        """
        if set(state["trackers"]) != set(self._trackers):
            raise ValueError(
                f"the state is of the trackers {', '.join(sorted(state['trackers'])) or 'none'}, but this schedule has "
                f"{', '.join(sorted(self._trackers)) or 'none'}. Make it with the trackers that it was begun with."
            )
        self.skips.update(state["skips"])
        self.spent.update(state["spent"])
        self._worth.update(state["worth"])
        self._optional_spent = float(state["optional_spent"])
        self._last = dict(state["last"])
        self._verified = list(state["verified"])
        self._facts, self._found_before = ProblemFacts(), list(state["found"])
        self._resumed = True
        for name, tracker in self._trackers.items():
            tracker.load_state_dict(state["trackers"][name])

    def _find_again(self, problem: Problem) -> None:
        """In a resumed run, verify and find out what was before, without charging it a second time."""
        if not self._resumed:
            return
        self._resumed = False
        with uncharged(problem):
            for method in self._verified:
                problem.verify(method)  # type: ignore[arg-type]  # it was one of them when it was saved
        self._facts.restore(problem, self._found_before)


def _check_disjoint(trackers: Sequence[Tracker]) -> None:
    """Refuse two trackers for one thing."""
    names: set[str] = set()
    columns: dict[str, str] = {}
    for tracker in trackers:
        if tracker.name in names:
            raise ValueError(f"two trackers are called {tracker.name!r}; leave one out.")
        names.add(tracker.name)
        for column in sorted(tracker.records):
            if column in columns:
                raise ValueError(
                    f"the trackers {columns[column]!r} and {tracker.name!r} both record the column {column!r}; leave one out."
                )
            columns[column] = tracker.name
