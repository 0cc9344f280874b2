"""What a run records: what the user asks for, and what its policies need."""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from landscape.operators.choose import FiniteDifferenceWarning, HessianMethod, why_no_double_backward
from landscape.policies.base import SwapPolicy, check_requirements
from landscape.problem import Problem
from landscape.tracking.columns import members
from landscape.tracking.facts import uncharged
from landscape.tracking.history import Value
from landscape.tracking.schedule import Schedule
from landscape.tracking.snapshot import Snapshot
from landscape.tracking.tracker import Step, StepObserver, StepPart, Tracker
from landscape.tracking.trackers.registry import all_trackers, build, columns_of, names, trackers_for

Record = Literal["norms", "loss", "free", "all"]

#: What is measured at the end of every epoch whatever it costs, unless the phase gave it.
ALWAYS_MEASURED: dict[str, frozenset[str]] = {
    "norms": frozenset({"loss", "gradient_norm"}),
    "loss": frozenset({"loss"}),
    "free": frozenset(),
    "all": frozenset(),
}
#: What a run itself measures, without a tracker.
_BY_THE_RUN = frozenset({"loss", "gradient_norm"})
#: What is in every row, but for the share that is spent, which depends on where the run is to end: it is there for a policy
#: that reads it, so that without one a run that is resumed for longer has the rows of one that was longer from the start.
BOOKKEEPING = frozenset(
    {"epoch", "phase", "step", "gradient_equivalents", "probing_equivalents", "forwards", "gradients"}
    | {"spent_share", "hessian_products", "samples", "seconds"}
)


def as_trackers(given: Iterable[Tracker | str] | str) -> tuple[Tracker, ...]:
    """Trackers as they are, names with settings built; one text may hold several, separated by blanks or ``;``.

    Examples
    --------
    >>> [tracker.name for tracker in as_trackers("parameter-norm; extreme-eigenvalues:every=10")]
    ['parameter-norm', 'extreme-eigenvalues']
    """
    items = [item for item in re.split(r"[;\s]+", given) if item] if isinstance(given, str) else list(given)
    for item in items:
        if not (isinstance(item, str) or hasattr(item, "measure")):
            raise TypeError(
                f"a tracker is {item!r} ({type(item).__name__}); needed is one of landscape.tracking.trackers, or a name such "
                "as 'parameter-norm'."
            )
    return tuple(build(item) if isinstance(item, str) else item for item in items)


@dataclass(frozen=True)
class Recording:
    """What is measured in which phase.

    Parameters
    ----------
    record : {"norms", "loss", "free", "all"}
        See :class:`landscape.Trainer`.
    asked : tuple of Tracker
        What the user asks for, in every phase, as far as the ceiling allows.
    policies : mapping of str to SwapPolicy
        For each phase the policy that is asked in it.
    given : mapping of str to frozenset of str
        For each phase the columns that its steps give for free.
    max_overhead : float
        The ceiling; see :class:`landscape.tracking.schedule.Schedule`.
    """

    record: Record
    asked: tuple[Tracker, ...]
    policies: Mapping[str, SwapPolicy]
    given: Mapping[str, frozenset[str]]
    max_overhead: float

    def check(self) -> None:
        """Refuse policies that read what nobody records, and settings out of range, before any work."""
        if self.record not in ALWAYS_MEASURED:
            listed = ", ".join(map(repr, ALWAYS_MEASURED))
            raise ValueError(f"record={self.record!r} was given; it is one of {listed}.")
        columns = self._recordable()
        for phase, policy in self.policies.items():
            known = columns | self.given[phase]
            layers = {name for name in policy.requires if members(_family(name), sorted(known))}
            check_requirements(policy, known | layers, "Choose a policy that reads these, or give a tracker of it.")
        self.schedule()

    def _recordable(self) -> frozenset[str]:
        own = (tracker.records for tracker in self.asked)
        return frozenset(BOOKKEEPING | _BY_THE_RUN).union(*own, *map(columns_of, names()))

    def measured(self, phase: str) -> frozenset[str]:
        """Of loss and gradient norm over all data, what is measured after every epoch of a phase whatever it costs."""
        return ALWAYS_MEASURED[self.record] | (self._needs(phase) & _BY_THE_RUN)

    def required(self, phase: str) -> frozenset[str]:
        """Columns whose trackers are mandatory in a phase."""
        asked = sorted(frozenset[str]().union(*(tracker.records for tracker in self.asked)))
        # What no one asked for measures nothing where its policy is not asked: it must not be taken for optional there.
        elsewhere = {name for other in self.policies for name in self._needs(other) if not members(name, asked)}
        return self._needs(phase) | elsewhere

    @property
    def tells_share(self) -> bool:
        """Whether rows hold the share of the run that is over."""
        return self.record == "all" or any("spent_share" in policy.requires for policy in self.policies.values())

    def schedule(self) -> Schedule | None:
        """A fresh schedule of all trackers; None if there is none."""
        asked = list(self.asked)
        if self.record == "all":
            own = {tracker.name for tracker in asked}
            columns = frozenset[str]().union(*(tracker.records for tracker in asked))
            asked += [t for t in all_trackers() if t.name not in own and t.records.isdisjoint(columns)]
        recorded = sorted(frozenset[str]().union(*(tracker.records for tracker in asked)))
        missing = {
            phase: {name for name in self._needs(phase) - _BY_THE_RUN if not members(name, recorded)}
            for phase in self.policies
        }
        needed = [
            for_phases(tracker, frozenset(phase for phase in missing if _records_any(tracker, missing[phase])))
            for tracker in trackers_for(frozenset[str]().union(*missing.values()))
        ]
        if not asked and not needed:
            if not self.max_overhead >= 0:
                Schedule([], max_overhead=self.max_overhead)  # which says what is wrong
            return None
        required = frozenset[str]().union(*map(self.required, self.policies))
        return Schedule([*asked, *needed], required=required, max_overhead=self.max_overhead)

    def settings(self) -> dict[str, str]:
        """What decides what is recorded, as text that is the same in every process."""
        measured = frozenset[str]().union(*map(self.measured, self.policies), ALWAYS_MEASURED[self.record])
        schedule = self.schedule()
        more = {} if schedule is None else schedule.settings()
        more = {name: re.sub(r" at 0x[0-9a-f]+", "", text) for name, text in more.items()}
        return {"measured": ", ".join(sorted(measured)), **more}

    def refuse_unavailable(self, problem: Problem) -> None:
        """Refuse trackers that were asked for and cannot measure anything on a problem, before any work.

        Raises
        ------
        ValueError
            With the reason.
        """
        for tracker in self.asked:
            reason = tracker.unavailable(problem)
            if reason is not None:
                raise ValueError(f"the tracker {tracker.name!r} measures nothing here: {reason} Leave it out.")

    def _needs(self, phase: str) -> frozenset[str]:
        """What the policy of a phase reads and neither the run nor the phase's steps give; families for their layers."""
        policy = self.policies.get(phase)
        if policy is None:
            return frozenset()
        return frozenset(map(_family, policy.requires - BOOKKEEPING - (self.given[phase] - _BY_THE_RUN)))


def _family(name: str) -> str:
    return f"{name.partition('/')[0]}/*" if "/" in name else name


def _records_any(tracker: Tracker, columns: Iterable[str]) -> bool:
    recorded = sorted(tracker.records)
    return any(members(name, recorded) for name in columns)


class PolicyTracker:
    """A tracker that only a policy needs: it measures in the phases in which that policy is asked.

    Parameters
    ----------
    tracker : Tracker
        What measures.
    phases : frozenset of str
        Where.
    """

    def __init__(self, tracker: Tracker, phases: frozenset[str]) -> None:
        self.tracker = tracker
        self.phases = phases

    def __repr__(self) -> str:
        return f"{self.tracker!r} in {' and '.join(sorted(self.phases))} phase"

    @property
    def name(self) -> str:
        """The tracker's."""
        return self.tracker.name

    @property
    def every(self) -> int:
        """The tracker's."""
        return self.tracker.every

    @property
    def records(self) -> frozenset[str]:
        """The tracker's."""
        return self.tracker.records

    @property
    def needs(self) -> frozenset[str]:
        """The tracker's."""
        return self.tracker.needs

    def fresh(self) -> PolicyTracker:
        """With a fresh tracker."""
        return type(self)(self.tracker.fresh(), self.phases)

    def unavailable(self, problem: Problem) -> str | None:
        """The tracker's."""
        return self.tracker.unavailable(problem)

    def estimated_cost(self, snapshot: Snapshot) -> float:
        """The tracker's, and nothing in other phases."""
        return self.tracker.estimated_cost(snapshot) if snapshot.phase in self.phases else 0.0

    def measure(self, snapshot: Snapshot) -> Mapping[str, Value]:
        """The tracker's, and nothing in other phases."""
        return self.tracker.measure(snapshot) if snapshot.phase in self.phases else {}

    def after_row(self, snapshot: Snapshot) -> None:
        """The tracker's: what it keeps must be there when the phase comes."""
        self.tracker.after_row(snapshot)

    def state_dict(self) -> dict[str, Any]:
        """The tracker's."""
        return self.tracker.state_dict()

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """The tracker's."""
        self.tracker.load_state_dict(state)


class PolicyStepTracker(PolicyTracker):
    """The same for a tracker of steps."""

    @property
    def step_parts(self) -> frozenset[StepPart]:
        """The tracker's."""
        assert isinstance(self.tracker, StepObserver)
        return self.tracker.step_parts

    def observe_step(self, step: Step) -> None:
        """The tracker's."""
        assert isinstance(self.tracker, StepObserver)
        self.tracker.observe_step(step)


def for_phases(tracker: Tracker, phases: frozenset[str]) -> PolicyTracker:
    """Let a tracker measure in some phases only."""
    kind = PolicyStepTracker if isinstance(tracker, StepObserver) else PolicyTracker
    return kind(tracker, phases)


def choose_hessian_method(problem: Problem, schedule: Schedule) -> HessianMethod:
    """Double backward; or, with a warning, differences of gradients where torch cannot: tried on two samples, uncharged."""
    if not any("hessian" in tracker.needs for tracker in schedule.trackers):
        return "autograd"
    with uncharged(problem):
        reason = why_no_double_backward(problem.objective)
    if reason is None:
        return "autograd"
    message = f"{reason}; Hessian products are taken as differences of gradients."
    warnings.warn(message, FiniteDifferenceWarning, stacklevel=3)
    return "finite-difference"


def merged(row: Mapping[str, Value], tracked: Mapping[str, Value]) -> dict[str, Value]:
    """A row and what trackers add to it: what was there stays."""
    return {**row, **{name: value for name, value in tracked.items() if row.get(name) is None}}


def by_phase(policy: SwapPolicy | None, swap_back: SwapPolicy | None) -> dict[str, SwapPolicy]:
    """The policies by the phase in which they are asked."""
    pairs: Sequence[tuple[str, SwapPolicy | None]] = (("first", policy), ("second", swap_back))
    return {phase: chosen for phase, chosen in pairs if chosen is not None}
