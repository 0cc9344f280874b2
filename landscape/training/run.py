"""One run of a trainer: the loop, and how its state is saved and restored."""

from __future__ import annotations

import functools
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from landscape.autodiff.leave_no_trace import get_random_states, set_random_states
from landscape.operators.choose import HessianMethod
from landscape.policies.base import claim_of
from landscape.problem import Problem
from landscape.status import Status
from landscape.tracking.history import Value, number_in
from landscape.tracking.schedule import Schedule
from landscape.tracking.snapshot import Snapshot
from landscape.training.checkpoint import CheckpointError
from landscape.training.interruption import Interruption
from landscape.training.phases import FullBatch, Phase, Remaining
from landscape.training.point import go_to, point_file, save_point
from landscape.training.recording import choose_hessian_method, merged
from landscape.training.result import Evaluation, Swap, TrainingResult, has_diverged
from landscape.training.state import TrainingState
from landscape.vectors import norm

if TYPE_CHECKING:
    from landscape.training.trainer import Trainer


#: What a second phase may report after which it has nothing more to do.
_ENDS = (Status.CONVERGED.name, Status.STALLED.name, Status.SCHEDULE_ENDED.name)
#: Checkpoints of large models are made less often, so that writing them takes at most this share of the time.
CHECKPOINT_SHARE = 0.05


class Run:
    """A trainer at work on one problem.

    Parameters
    ----------
    trainer : Trainer
        The settings.
    problem : Problem
        What is trained.
    validation : Problem, optional
        What is evaluated beside it.
    data_id : str
        Fingerprint of the data.
    """

    def __init__(self, trainer: Trainer, problem: Problem, validation: Problem | None, data_id: str) -> None:
        self.trainer = trainer
        self.problem = problem
        self.validation = validation
        self.data_id = data_id
        self.directory = trainer.directory
        self.state = TrainingState(problem.num_samples)
        generator = torch.Generator().manual_seed(trainer.seed)
        self.phases: dict[str, Phase] = {
            "first": trainer.first.start(problem, generator),
            "second": trainer.second.start(problem, generator),
        }
        self.schedule = self._make_schedule()
        self._saved_at = self._clock = time.monotonic()
        self._interval = trainer.checkpoint_seconds
        self._spent = problem.cost.copy()

    def _make_schedule(self) -> Schedule | None:
        """The trackers, and the phases showing them their steps; None if there are none."""
        recording = self.trainer.recording
        schedule = recording.schedule()
        if schedule is None:
            return None
        schedule.check(self.problem)
        recording.refuse_unavailable(self.problem)
        if schedule.step_parts:
            for phase in self.phases.values():
                if (watch := getattr(phase, "watch", None)) is not None:
                    watch(schedule.step_parts, schedule.observe_step)
        return schedule

    def begin(self, point: dict[str, Any] | None = None) -> None:
        """Record the start, row 0; or the epoch of a point of an earlier first phase, after which the policy is asked."""
        if self.directory is not None:
            self.directory.begin_history()
        if point is not None:
            go_to(self, point)
        with self._charged_to("probing"):
            measured = self._measure({})
        self._record(measured)
        self._evaluate("start")
        self._keep_weights("start")
        if point is None:
            self._keep_point()
        else:
            self._decide()
        self.save()

    def go_on(self, interruption: Interruption) -> None:
        """Train until something ends the run."""
        self.state.status = Status.RUNNING
        self._end_if_done()
        while self.state.status is Status.RUNNING:
            with self._charged_to("training"):
                complete = self.phases[self.state.phase].run_epoch(self._tick(interruption))
            if complete:
                self._finish_epoch()
                self._end_if_done()
            if interruption.requested and self.state.status is Status.RUNNING:
                self.state.status = Status.INTERRUPTED
        if self.state.status is not Status.INTERRUPTED:
            self._evaluate("end")
            self._keep_weights("end")
        self.save()

    def result(self) -> TrainingResult:
        """What the run has come to."""
        trainer, state = self.trainer, self.state
        return TrainingResult(
            history=state.history,
            swaps=tuple(state.swaps),
            evaluations=tuple(state.evaluations),
            status=state.status,
            cost={purpose: cost.copy() for purpose, cost in state.cost.items()},
            settings={**trainer.settings(), "claim": claim_of(trainer.policy) or "none"},
            run_dir=None if self.directory is None else self.directory.path,
        )

    # -- an epoch -----------------------------------------------------------------------------------------------

    def _tick(self, interruption: Interruption) -> Any:
        """What a phase calls after every step."""
        listeners, state = self.trainer.listeners, self.state

        def tick(share: float) -> bool:
            if listeners:
                spent = state.gradient_equivalents + self.problem.cost.since(self._spent).gradient_equivalents
                for listener in listeners:
                    listener.progressed(state.epoch + share, spent, state.phase)
            if share < 1 and self._due():  # a complete epoch is saved once it is recorded
                self._charge("training")
                self.save()
            return interruption.requested

        return tick

    def _finish_epoch(self) -> None:
        """Measure, record, decide."""
        state, phase = self.state, self.phases[self.state.phase]
        given = phase.finish_epoch()
        state.epoch += 1
        with self._charged_to("probing"):
            measured = self._measure(given)
        self._record(measured)
        self._keep_point()
        self._decide()
        if self._due():
            self.save()

    def _measure(self, given: dict[str, Value]) -> dict[str, Value]:
        """What the phase gave, what is always measured, and what the trackers add."""
        row, gradient = dict(given), None
        wanted = self.trainer.recording.measured(self.state.phase) - given.keys()
        if "gradient_norm" in wanted:
            loss, gradient = self.problem.loss_and_gradient()
            row.update(loss=float(loss), gradient_norm=norm(gradient))
        elif "loss" in wanted:
            row["loss"] = float(self.problem.loss())
        if self.schedule is None:
            return row
        self.schedule.required = self.trainer.recording.required(self.state.phase)
        return merged(row, self.schedule.measure(self._snapshot(row, gradient)))

    def _snapshot(self, row: dict[str, Value], gradient: Tensor | None) -> Snapshot:
        """What trackers measure, with what is known already."""
        state, phase = self.state, self.phases[self.state.phase]
        known = getattr(phase, "full_gradient", None)
        if gradient is None and known is not None:
            gradient = known()
        return Snapshot(
            self.problem,
            epoch=state.epoch,
            phase=state.phase,
            step=self._num_steps,
            batch_size=getattr(getattr(phase, "settings", None), "batch_size", None),
            optimizer=getattr(phase, "optimizer", None),
            training=state.cost["training"].copy(),
            seconds=state.seconds,
            loss=number_in(row, "loss"),
            gradient=gradient,
            row=row,
            second=self.trainer.second.optimizer if isinstance(self.trainer.second, FullBatch) else None,
            hessian_method=self._hessian_method,
        )

    @functools.cached_property
    def _hessian_method(self) -> HessianMethod:
        assert self.schedule is not None
        return choose_hessian_method(self.problem, self.schedule)

    @property
    def _num_steps(self) -> int:
        return sum(phase.num_steps for phase in self.phases.values())

    def _record(self, measured: dict[str, Value]) -> None:
        self._advance_clock()
        history = self.state.history
        if self.trainer.recording.tells_share:
            measured = {**measured, "spent_share": self._spent_share()}
        row = history.append(self.state.row(self._num_steps, measured))
        if self.directory is not None:
            self.directory.append(row, history.skipped())
        for listener in self.trainer.listeners:
            listener.recorded(row)

    def _spent_share(self) -> float:
        epochs, budget = self.trainer.epochs, self.trainer.budget
        of_epochs = 0.0 if epochs is None else self.state.epoch / epochs
        return max(of_epochs, 0.0 if budget is None else self.state.gradient_equivalents / budget)

    def _decide(self) -> None:
        """Ask the policy of the present phase, and go over to the other one if it says so."""
        state, trainer = self.state, self.trainer
        policy = trainer.policy_in(state.phase)
        if policy is None or (state.phase == "second" and state.num_swap_backs >= trainer.max_swap_backs):
            return
        decision = policy.decide(state.history)
        if not decision.swap or has_diverged(state.history[-1]):
            return
        back = state.phase == "second"
        before = self.phases[state.phase]
        state.phase = "first" if back else "second"
        if (take_over := getattr(self.phases[state.phase], "take_over", None)) is not None:
            with self._charged_to("training"):
                take_over(before, self._remaining())
        swap = Swap(state.epoch, state.phase, decision.reason, decision.score, dict(decision.evidence))
        state.swaps.append(swap)
        self._evaluate("swap back" if back else "swap")
        self._keep_weights(f"swap-{len(state.swaps)}")
        self.save()
        for listener in trainer.listeners:
            listener.swapped(swap)

    def _remaining(self) -> Remaining:
        """What is left of the epochs and of the budget."""
        epochs, budget = self.trainer.epochs, self.trainer.budget
        return Remaining(
            None if epochs is None else max(0, epochs - self.state.epoch),
            None if budget is None else max(0.0, budget - self.state.gradient_equivalents),
        )

    def _end_if_done(self) -> None:
        state, trainer = self.state, self.trainer
        last = state.history[-1]
        if has_diverged(last):
            state.status = Status.NONFINITE
        elif last.get("phase") == state.phase == "second" and last.get("status") in _ENDS:
            state.status = Status[str(last["status"])]
        elif trainer.epochs is not None and state.epoch >= trainer.epochs:
            state.status = Status.MAX_STEPS
        elif trainer.budget is not None and state.gradient_equivalents >= trainer.budget:
            state.status = Status.BUDGET_SPENT

    def _evaluate(self, moment: str) -> None:
        """Losses and metrics on training and validation data, paid for by no budget."""
        values: dict[str, float] = {}
        with self._charged_to("reporting"):
            for name, problem in (("train", self.problem), ("validation", self.validation)):
                if problem is not None:
                    values[f"{name}_loss"] = float(problem.loss())
                    for metric, function in self.trainer.metrics.items():
                        values[f"{name}_{metric}"] = problem.metric(function)
        # The end of a run that is resumed with more epochs is an end no longer.
        kept = [item for item in self.state.evaluations if item.moment != "end"]
        self.state.evaluations = [*kept, Evaluation(moment, self.state.epoch, values)]

    # -- saving -------------------------------------------------------------------------------------------------

    def _due(self) -> bool:
        return self.directory is not None and time.monotonic() - self._saved_at >= self._interval

    def save(self) -> None:
        """Write a checkpoint of everything."""
        if self.directory is None:
            return
        self._advance_clock()
        started = time.monotonic()
        self.directory.save_checkpoint(
            {
                "identity": self._identity(),
                "state": self.state.state_dict(),
                "model": self.problem.model.state_dict(),
                "phases": {name: phase.state_dict() for name, phase in self.phases.items()},
                "schedule": None if self.schedule is None else self.schedule.state_dict(),
                "random": get_random_states(),
                "arithmetic": _arithmetic(),
            }
        )
        self._saved_at = time.monotonic()
        if self.trainer.checkpoint_seconds > 0:
            self._interval = max(self.trainer.checkpoint_seconds, (self._saved_at - started) / CHECKPOINT_SHARE)

    def load(self) -> None:
        """Go back to the last checkpoint."""
        assert self.directory is not None
        saved = self.directory.load_checkpoint()
        self._check_identity(saved.get("identity", {}))
        _warn_of_other_arithmetic(saved)
        rows = self.directory.cut_history(saved["state"]["num_rows"])
        self.problem.model.load_state_dict(saved["model"])
        self.state.load_state_dict(saved["state"], rows)
        for name, phase in self.phases.items():
            phase.load_state_dict(saved["phases"][name])
        if self.schedule is not None:
            self.schedule.load_state_dict(saved["schedule"])
        set_random_states(saved["random"])
        for cost in self.state.cost.values():
            self.problem.cost.add(cost)
        self._spent = self.problem.cost.copy()
        self._clock = time.monotonic()

    def _identity(self) -> dict[str, Any]:
        """What must be the same for a checkpoint to fit."""
        layout = self.problem.layout
        return {
            **self.trainer.settings(),
            "parameters": "; ".join(f"{n} {tuple(s)}" for n, s in zip(layout.names, layout.shapes, strict=True)),
            "dtype": str(layout.dtype),
            "num_samples": str(self.problem.num_samples),
            "data": self.data_id,
        }

    def _check_identity(self, saved: dict[str, Any]) -> None:
        differences = [
            f"{name} was {saved.get(name)!r} and is now {value!r}"
            for name, value in self._identity().items()
            if saved.get(name) != value
        ]
        if differences:
            assert self.directory is not None
            raise CheckpointError(
                f"the run in {self.directory.path} was made with other settings: {'; '.join(differences)}. Resume it with "
                "the problem and the trainer that it was begun with, or begin a new run in another directory."
            )

    def _keep_point(self) -> None:
        keep, directory, state = self.trainer.keep_points, self.directory, self.state
        if (
            keep is not None
            and directory is not None
            and state.phase == "first"
            and not state.swaps
            and keep(state.epoch)
        ):
            with directory.writing(f"the point after epoch {state.epoch}"):
                save_point(self, point_file(directory.path, state.epoch))

    def _keep_weights(self, name: str) -> None:
        if self.directory is not None:
            self.directory.save_weights(name, self.problem.model.state_dict())

    # -- what time and work are charged to ----------------------------------------------------------------------

    @contextmanager
    def _charged_to(self, purpose: str) -> Iterator[None]:
        yield
        self._charge(purpose)

    def _charge(self, purpose: str) -> None:
        """Enter what the problem's ledger has gained since the last time."""
        self.state.cost[purpose].add(self.problem.cost.since(self._spent))
        self._spent = self.problem.cost.copy()

    def _advance_clock(self) -> None:
        now = time.monotonic()
        self.state.seconds += now - self._clock
        self._clock = now


def _arithmetic() -> dict[str, str]:
    """What decides how sums are rounded, besides the hardware."""
    return {"torch": str(torch.__version__), "threads": str(torch.get_num_threads())}


def _warn_of_other_arithmetic(saved: dict[str, Any]) -> None:
    before, now = saved.get("arithmetic", {}), _arithmetic()
    differences = [
        f"{name} was {before.get(name)} and is {value}" for name, value in now.items() if before.get(name) != value
    ]
    if differences:
        warnings.warn(
            f"the run goes on, but not bit for bit as it would have: {'; '.join(differences)}. Sums are rounded otherwise.",
            stacklevel=4,
        )
