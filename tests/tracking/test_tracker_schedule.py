import copy
import io
import math
from dataclasses import dataclass
from typing import Any, ClassVar

import pytest
import torch
from torch import nn

from landscape.autodiff.leave_no_trace import get_random_states
from landscape.problem import Problem
from landscape.testing.problems import function_problem
from landscape.tracking.history import History
from landscape.tracking.schedule import Schedule, UnavailableColumnError
from landscape.tracking.snapshot import Snapshot
from landscape.tracking.tracker import Measurement, StepObserver
from landscape.tracking.trackers import GradientNorm, ReferencePoint, all_trackers, build, names
from tests.tracking.training import Training, data, mlp


@dataclass(frozen=True)
class Priced(Measurement):
    """Costs so many forwards, and counts its measurements."""

    name: ClassVar[str] = "priced"
    records: ClassVar[frozenset[str]] = frozenset({"priced"})
    forwards: int = 1

    def estimated_cost(self, snapshot):
        return self.forwards / 3

    def measure(self, snapshot):
        for _ in range(self.forwards):
            snapshot.problem.loss()
        self._state["count"] = self._state.get("count", 0) + 1
        return {next(iter(self.records)): float(self._state["count"])}


@dataclass(frozen=True)
class AlsoPriced(Priced):
    name: ClassVar[str] = "also priced"
    records: ClassVar[frozenset[str]] = frozenset({"also_priced"})


def rows_of(schedule: Schedule, epochs: int, training_per_epoch: float = 1.0) -> list[dict[str, Any]]:
    problem = function_problem(lambda x: (x**2).sum(), torch.ones(2).double())
    snapshots = (Snapshot(problem, epoch=e, training_equivalents=e * training_per_epoch) for e in range(epochs + 1))
    return [schedule.measure(snapshot) for snapshot in snapshots]


def test_a_tracker_waits_until_the_ceiling_allows_for_it_and_its_rows_say_so() -> None:
    schedule = Schedule([Priced()], max_overhead=0.1)
    column = [row["priced"] for row in rows_of(schedule, 10)]
    assert column == [None, None, None, None, 1.0, None, None, 2.0, None, None, 3.0]
    assert schedule.skips == {"priced": 8}
    assert History([{"epoch": 0, "priced": None}, {"epoch": 1, "priced": 1.0}]).column("priced") == [None, 1.0]


def test_what_is_not_due_is_not_in_the_row() -> None:
    schedule = Schedule([build("parameter-norm:every=3")])
    assert [epoch for epoch, row in enumerate(rows_of(schedule, 7)) if row] == [0, 3, 6]
    assert schedule.skips == {"parameter-norm": 0}


def test_what_a_policy_needs_is_measured_beyond_the_ceiling_and_beside_it() -> None:
    schedule = Schedule([Priced(forwards=30), AlsoPriced()], required={"priced"}, max_overhead=0.1)
    rows = rows_of(schedule, 10)
    assert [row["priced"] for row in rows] == [float(t) for t in range(1, 12)]
    assert sum(row["also_priced"] is not None for row in rows) == 3


def test_an_expensive_tracker_gets_its_turn_once_the_cheap_one_has_spent_as_much() -> None:
    schedule = Schedule([Priced(), AlsoPriced(forwards=12)], max_overhead=0.1)
    rows = rows_of(schedule, 400)
    counts = [sum(row[name] is not None for row in rows) for name in ("priced", "also_priced")]
    assert counts[1] == 5
    assert 58 <= counts[0] <= 62  # the other half of 40 GE
    assert schedule.spent["priced"] + schedule.spent["also priced"] <= 40.0 + 1e-9


def test_what_was_spent_for_a_policy_does_not_count_once_no_policy_needs_it() -> None:
    schedule = Schedule([Priced(forwards=30)], required={"priced"}, max_overhead=0.1)
    rows_of(schedule, 5)
    schedule.required = frozenset()
    problem = function_problem(lambda x: (x**2).sum(), torch.ones(2).double())
    assert schedule.measure(Snapshot(problem, epoch=6, training_equivalents=99.0)) == {"priced": None}
    assert schedule.measure(Snapshot(problem, epoch=7, training_equivalents=100.0)) == {"priced": 7.0}


def test_an_infinite_ceiling_is_none() -> None:
    schedule = Schedule([Priced(forwards=9)], max_overhead=math.inf)
    assert [row["priced"] for row in rows_of(schedule, 3)] == [1.0, 2.0, 3.0, 4.0]


def test_a_mandatory_gradient_is_shared_so_that_others_ride_along() -> None:
    trackers = [build(name) for name in ("gradient-norm", "layer-gradient-norms", "loss", "secant-curvature")]
    training = Training()
    training.schedule = Schedule(trackers, required={"gradient_norm"}, max_overhead=0.0)
    for _ in range(2):
        row = training.schedule.measure(training.snapshot())
        training.train_epoch()
    assert {"gradient_norm", "gradient_norm/0", "loss", "secant_curvature"} <= set(row)
    assert training.schedule.spent == {"gradient-norm": 2.0, **{t.name: 0.0 for t in trackers[1:]}}


def test_the_ceiling_holds_in_every_row_with_all_trackers() -> None:
    training = Training(samples=data(200))
    schedule = training.schedule = Schedule(all_trackers(), max_overhead=2.0)
    seen: dict[str, int] = {}
    for _ in range(40):
        training.train_epoch()
        before = training.problem.cost.copy(), sum(schedule.spent.values())
        row = schedule.measure(training.snapshot())
        charged = training.problem.cost.since(before[0]).gradient_equivalents
        assert charged == pytest.approx(sum(schedule.spent.values()) - before[1], abs=1e-9)
        # The estimate of a trial is no bound: what its line searches take beyond it is saved in the rows that follow.
        assert sum(schedule.spent.values()) <= 2.0 * training.training + 2.0
        for name, value in row.items():
            seen[name] = seen.get(name, 0) + (value is not None)
    assert sum(schedule.spent.values()) > 1.8 * training.training
    assert {"loss", "gradient_norm", "curvature_gradient", "trial_search"} <= {k for k in seen if seen[k]}


@pytest.mark.parametrize("name", names())
def test_estimates_are_near_to_what_is_charged(name) -> None:
    training = Training(samples=data(400))
    settings = {"point": training.problem.params() + 0.1} if name == "reference-point" else {}
    tracker, mandatory = build(name, every=1, **settings), [build("settings")]
    training.schedule = Schedule([tracker] + (mandatory if name != "settings" else []), max_overhead=math.inf)
    for epoch in range(6):
        if epoch:
            training.train_epoch()
        snapshot = training.snapshot()
        snapshot.facts = training.schedule._facts
        estimate = training.schedule._trackers[name].estimated_cost(snapshot)
        before = training.problem.cost.copy()
        training.schedule.measure(snapshot)
        charged = training.problem.cost.since(before).gradient_equivalents
        # Of an iteration that stops by itself, the first estimate is what it may take; warm starts then take less.
        assert charged <= 1.1 * estimate + 0.2, (epoch, estimate, charged)
        assert epoch < 4 or estimate <= 2 * charged + 0.2, (epoch, estimate, charged)


# -- resumed runs -----------------------------------------------------------------------------------------------


def every_tracker() -> list[Any]:
    point = torch.linspace(-1, 1, 26).double()
    return [build(n, every=1, **({"point": point} if n == "reference-point" else {})) for n in names()]


def through_a_file(state: Any) -> Any:
    buffer = io.BytesIO()
    torch.save(state, buffer)
    buffer.seek(0)
    return torch.load(buffer, weights_only=True)


def go_on(training: Training, epochs: int) -> list[Any]:
    rows = []
    for _ in range(epochs):
        training.train_epoch()
        row = training.schedule.measure(training.snapshot())
        rows.append((row, training.problem.cost.state_dict()))
    return rows


def resumed(training: Training, schedule: Schedule) -> Training:
    """What a new process makes of a checkpoint of the run."""
    cost = training.problem.cost.state_dict()
    saved = through_a_file(
        {
            "schedule": training.schedule.state_dict(),
            "model": training.model.state_dict(),
            "optimizer": training.optimizer.state_dict(),
        }
    )
    again = Training(model=mlp(nn.ReLU), steps=[*training.steps], schedule=schedule)
    again.model.load_state_dict(saved["model"])
    again.optimizer.load_state_dict(saved["optimizer"])
    again.problem.cost.load_state_dict(cost)
    again.schedule.load_state_dict(saved["schedule"])
    again.epoch, again.training = training.epoch, training.training
    return again


@pytest.mark.parametrize("max_overhead", [math.inf, 3.0])
def test_a_resumed_run_records_the_same_bits_at_the_same_cost(max_overhead) -> None:
    training = Training(model=mlp(nn.ReLU))
    training.schedule = Schedule(every_tracker(), max_overhead=max_overhead)
    training.schedule.measure(training.snapshot())
    go_on(training, 3)
    again = resumed(training, Schedule(every_tracker(), max_overhead=max_overhead))
    expected, found = go_on(training, 3), go_on(again, 3)
    for (row, cost), (row_again, cost_again) in zip(expected, found, strict=True):
        assert History([row]) == History([row_again])
        assert cost == cost_again
    assert again.schedule.state_dict().keys() == training.schedule.state_dict().keys()
    assert (again.schedule.skips, again.schedule.spent) == (training.schedule.skips, training.schedule.spent)


def test_a_run_resumed_in_the_middle_of_an_epoch_sums_up_the_same_steps() -> None:
    observers = [tracker for tracker in every_tracker() if isinstance(tracker, StepObserver)]
    assert len(observers) == 4
    training = Training()
    for _ in range(2):
        training.train_epoch()
    whole, first = Schedule(observers), Schedule(observers)
    for step in training.steps:
        whole.observe_step(step)
    for step in training.steps[:7]:
        first.observe_step(step)
    second = Schedule(observers)
    second.load_state_dict(through_a_file(first.state_dict()))
    for step in training.steps[7:]:
        second.observe_step(step)
    snapshot = training.snapshot()
    assert second.measure(snapshot) == whole.measure(snapshot)


def test_a_state_that_was_taken_stays_as_it_was() -> None:
    training = Training()
    training.schedule = Schedule(every_tracker(), max_overhead=math.inf)
    go_on(training, 2)
    taken = training.schedule.state_dict()
    before = copy.deepcopy(taken)
    go_on(training, 1)
    torch.testing.assert_close(_tensors(taken), _tensors(before), rtol=0, atol=0)


def _tensors(state: Any) -> list[Any]:
    if isinstance(state, dict):
        return [item for value in state.values() for item in _tensors(value)]
    if isinstance(state, list):
        return [item for value in state for item in _tensors(value)]
    return [state] if isinstance(state, torch.Tensor) else []


def test_the_state_of_other_trackers_is_refused() -> None:
    with pytest.raises(ValueError, match="the state is of the trackers loss, but this schedule has race"):
        Schedule([build("race")]).load_state_dict(Schedule([build("loss")]).state_dict())


# -- no trace, no sharing ---------------------------------------------------------------------------------------


def test_measuring_everything_leaves_no_trace() -> None:
    model = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Dropout(0.5), nn.ReLU(), nn.Linear(4, 2)).double()
    training = Training(model=model)
    training.train_epoch()
    model.train()
    model[1].eval()

    def everything() -> Any:
        flags = [module.training for module in model.modules()]
        grads = [p.grad.clone() for p in model.parameters()]
        versions = [p._version for p in model.parameters()]
        state = copy.deepcopy((model.state_dict(), training.optimizer.state_dict(), get_random_states()))
        return flags, versions, _tensors([grads, *state[:2], state[2]["torch"]]), repr(state[2]["python"])

    before = everything()
    every = [tracker for tracker in all_trackers() if tracker.name != "reference-point"]
    row = Schedule(every, max_overhead=math.inf).measure(training.snapshot())
    after = everything()
    assert len(row) > 40
    assert before[:2] == after[:2]
    assert before[3] == after[3]
    torch.testing.assert_close(before[2], after[2], rtol=0, atol=0)


def test_schedules_do_not_share_what_trackers_have_seen() -> None:
    tracker = build("secant-curvature")
    for _ in range(2):
        training = Training()
        training.schedule = Schedule([tracker], max_overhead=math.inf)
        assert training.schedule.measure(training.snapshot()) == {}
    assert tracker.state_dict() == {}


def test_settings_are_text_that_tells_trackers_apart() -> None:
    first, second = (Schedule([build("lower-bound-gap", window=w)]).settings() for w in (3, 4))
    assert first == {"trackers": "LowerBoundGap(every=1, window=3)", "max_overhead": "0.1"}
    assert first != second


def test_two_trackers_for_one_thing_are_refused() -> None:
    with pytest.raises(ValueError, match="two trackers are called 'gradient-norm'"):
        Schedule([GradientNorm(), GradientNorm(every=2)])

    @dataclass(frozen=True)
    class Another(GradientNorm):
        name: ClassVar[str] = "another"

    with pytest.raises(ValueError, match="'gradient-norm' and 'another' both record the column 'gradient_norm'"):
        Schedule([GradientNorm(), Another()])
    with pytest.raises(ValueError, match=r"max_overhead=-1 was given"):
        Schedule([], max_overhead=-1)


def test_a_policy_whose_column_cannot_be_had_is_refused_before_any_work() -> None:
    problem = Problem(mlp(), nn.functional.mse_loss, data())
    schedule = Schedule([ReferencePoint(), build("loss")], required={"reference_gap"})
    with pytest.raises(UnavailableColumnError, match="'reference_gap', which cannot be measured here: no reference"):
        schedule.check(problem)
    assert set(schedule.absences(problem)) == {"reference_gap", "restricted_secant", "error_bound"}
    assert problem.cost.samples == 0
    assert schedule.measure(Snapshot(problem)) == {"loss": None}


def test_only_what_observers_read_is_asked_of_a_phase() -> None:
    assert Schedule([build("loss")]).step_parts == frozenset()
    assert Schedule([build("gradient-autocorrelation")]).step_parts == {"gradient"}
    assert Schedule(every_tracker()).step_parts == {"gradient", "before", "after", "loss"}
