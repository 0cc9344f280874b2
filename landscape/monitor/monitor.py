"""The user's own training loop, recorded and asked whether it is time to swap."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

import torch
from torch import Tensor

from landscape.policies.base import Decision, SwapPolicy
from landscape.policies.combinations import WithSwapBack
from landscape.problem import Problem
from landscape.tracking.history import History, Value
from landscape.tracking.jsonl import HistoryFile, decode_lines, encode_header, encode_row
from landscape.tracking.schedule import Schedule
from landscape.tracking.snapshot import OptimizerFactory, Snapshot
from landscape.tracking.tracker import Step, Tracker
from landscape.training.epoch_sums import EpochSums
from landscape.training.listener import Listener
from landscape.training.phases import MiniBatches
from landscape.training.recording import Recording, as_trackers, by_phase, choose_hessian_method, merged
from landscape.training.result import Swap
from landscape.training.state import TrainingState
from landscape.vectors import norm

NO_POLICY = Decision(False, "no policy is asked in this phase")


class Monitor:
    """Records a plain PyTorch training loop and asks a policy after every epoch.

    It never changes model, optimiser or random numbers; training goes on bit for bit as without it.

    Parameters
    ----------
    problem : Problem
        The model that the loop trains, its loss and all its data.
    optimizer : torch.optim.Optimizer
        The loop's; it is only read.
    policy : SwapPolicy, optional
        Asked by :meth:`end_epoch`. What it reads is measured in any case. A :class:`landscape.policies.WithSwapBack` is
        asked in both phases, any other policy in the first one.
    trackers : sequence of Tracker or str, or "all"
        What else to record, within ``max_overhead``; ``"all"`` is everything that any policy could read.
    max_overhead : float
        What trackers may cost that no policy needs, as a share of what training has cost so far.
    batch_size : int, optional
        Samples of each step, where :meth:`step` is not told.
    path : Path or str, optional
        Keep the history there, row by row, as JSON lines.
    second : callable, optional
        ``second(params) -> optimizer``: what the second phase would be, for trackers that try it out. Default: conjugate
        gradients.
    listeners : sequence of Listener
        Told of rows and swaps, such as :class:`landscape.adapters.tensorboard.TensorBoardListener`.
    state : mapping, optional
        From :meth:`state_dict`: go on with that run.

    Attributes
    ----------
    history : History
        One row per epoch; row 0 is where the monitor was made.
    phase : str
        "first", and "second" after :meth:`swap_to`.

    Raises
    ------
    MissingColumnError, UnavailableColumnError
        If the policy reads what nothing records, or what cannot be measured on this problem.
    FileExistsError
        If there is a file at ``path``, and no ``state`` to go on with.

    Notes
    -----
    What is assumed of the loop:

    * :meth:`step` is called once for each ``optimizer.step()``, right after it and before ``zero_grad()``: norms are of the
      gradients that stand in ``.grad`` then, after any clipping or unscaling. With gradient accumulation it is called once for
      the accumulated step, with the samples of all its parts.
    * Between two calls only the optimiser moves the parameters.
    * One process. Under data parallelism ``.grad`` is of all processes, but losses and samples are of this one.

    Training is charged one gradient over the samples of each step. A loop that takes its gradients through the problem, such
    as an optimiser with ``problem.closure()``, charges them itself; that is noticed, and nothing is counted twice.

    Cost: what the policy needs, at most ``max_overhead`` more, and a copy of the gradient in each step.

    Examples
    --------
    >>> from landscape.testing.problems import least_squares
    >>> problem = least_squares().problem
    >>> optimizer = torch.optim.Adam(problem.parameters)
    >>> monitor = Monitor(problem, optimizer, trackers=["parameter-norm"], batch_size=problem.num_samples)
    >>> for epoch in range(3):
    ...     optimizer.zero_grad()
    ...     loss = problem.closure()()
    ...     optimizer.step()
    ...     monitor.step(loss)
    ...     decision = monitor.end_epoch()
    >>> monitor.history.column("step"), decision.swap
    ([0, 1, 2, 3], False)
    """

    def __init__(
        self,
        problem: Problem,
        optimizer: torch.optim.Optimizer,
        *,
        policy: SwapPolicy | None = None,
        trackers: Sequence[Tracker | str] | str = (),
        max_overhead: float = 0.1,
        batch_size: int | None = None,
        path: Path | str | None = None,
        second: OptimizerFactory | None = None,
        listeners: Iterable[Listener] = (),
        state: Mapping[str, Any] | None = None,
    ) -> None:
        self.problem = problem
        self.optimizer = optimizer
        self.batch_size = batch_size
        self.listeners = tuple(listeners)
        self._second = second
        ways = policy.directions() if isinstance(policy, WithSwapBack) else {"policy": policy, "swap_back": None}
        self._policies = by_phase(ways["policy"], ways["swap_back"])
        everything = trackers == "all"
        given = dict.fromkeys(("first", "second"), MiniBatches().records)
        asked = () if everything else as_trackers(trackers)
        self._recording = Recording("all" if everything else "free", asked, self._policies, given, max_overhead)
        self._recording.check()
        self._schedule = self._recording.schedule() or Schedule([], max_overhead=max_overhead)
        self._schedule.check(problem)
        self._recording.refuse_unavailable(problem)
        self._file = None if path is None else HistoryFile(path)
        if self._file is not None and self._file.path.exists() and state is None:
            raise FileExistsError(
                f"{self._file.path} exists. Go on with its run (state=..., from monitor.state_dict()) or choose another path."
            )
        self._state = TrainingState(problem.num_samples)
        self._num_steps = 0
        self._has_gradients = self._has_losses = True
        self._sums = EpochSums(problem.layout)
        self._before = problem.params() if self._schedule.step_parts & {"before", "after"} else None
        self._hessian_method = choose_hessian_method(problem, self._schedule)
        self._clock = time.monotonic()
        self._seen = problem.cost.copy()
        if state is None:
            self._begin()
        else:
            self.load_state_dict(state)

    def __repr__(self) -> str:
        return f"Monitor({self.problem!r}, {len(self.history)} rows, {self.phase} phase)"

    @property
    def history(self) -> History:
        """What was recorded."""
        return self._state.history

    @property
    def phase(self) -> str:
        """The present phase."""
        return self._state.phase

    @property
    def swaps(self) -> tuple[Swap, ...]:
        """The changes of phase that :meth:`swap_to` was told of."""
        return tuple(self._state.swaps)

    @property
    def gradient_equivalents(self) -> dict[str, float]:
        """What ``"training"`` and ``"probing"`` have cost so far."""
        return {purpose: self._state.cost[purpose].gradient_equivalents for purpose in ("training", "probing")}

    def _begin(self) -> None:
        if self._file is not None:
            self._file.begin()
        for listener in self.listeners:
            listener.started(self.history, None, None)
        self._record({})

    # -- what the loop calls ------------------------------------------------------------------------------------

    def step(self, loss: Tensor | float | None = None, *, num_samples: int | None = None) -> None:
        """Tell of an ``optimizer.step()`` that was just made; nothing is read from the device.

        Parameters
        ----------
        loss : Tensor of shape () or float, optional
            The mean loss of the mini-batch. Left out, the row has no ``loss_running``.
        num_samples : int, optional
            Samples that the step was made from. Default: ``batch_size`` of the monitor.

        Raises
        ------
        ValueError
            If neither is known.
        """
        number = num_samples if num_samples is not None else self.batch_size
        if number is None or number < 1:
            raise ValueError(
                f"num_samples={num_samples} was given and the monitor's batch_size is {self.batch_size}, so what the step cost "
                "is not known. Call monitor.step(loss, num_samples=len(inputs)), or make the monitor with batch_size=..."
            )
        self._charge_training(number)
        self._has_losses = self._has_losses and loss is not None
        self._has_gradients = self._has_gradients and any(p.grad is not None for p in self.problem.parameters)
        value = loss if isinstance(loss, Tensor) else torch.tensor(0.0 if loss is None else float(loss))
        value = value.detach().reshape(()).to(self._sums.gradient)
        self._sums.add(value, number)
        self._num_steps += 1
        if self._schedule.step_parts:
            self._show_step(number, value if loss is not None else None)

    def end_epoch(self) -> Decision:
        """Record an epoch that is complete, and ask the policy.

        Returns
        -------
        Decision
            ``decision.swap`` says whether to go over to the other phase now; ``decision.reason`` why. The row is
            ``monitor.history[-1]``.
        """
        self._charge_training(0)
        self._state.epoch += 1
        row = self._sums.columns() if self._sums.sizes else {}
        if not self._has_losses:
            row.pop("loss_running", None)
        if not self._has_gradients:
            row = {name: value for name, value in row.items() if not name.startswith("gradient_norm")}
        self._sums.clear()
        self._has_gradients = self._has_losses = True
        self._record(row)
        policy = self._policies.get(self.phase)
        return NO_POLICY if policy is None else policy.decide(self.history)

    def swap_to(self, optimizer: torch.optim.Optimizer, *, phase: str = "second", reason: str = "") -> None:
        """Tell that the loop goes on with another optimiser.

        Parameters
        ----------
        optimizer : torch.optim.Optimizer
            The new one.
        phase : {"first", "second"}
            What the following rows belong to.
        reason : str
            For listeners: the decision's.
        """
        if phase not in ("first", "second"):
            raise ValueError(f"phase={phase!r} was given; it is 'first' or 'second'.")
        self.optimizer = optimizer
        self._state.phase = phase
        swap = Swap(self._state.epoch, phase, reason, float("nan"))
        self._state.swaps.append(swap)
        for listener in self.listeners:
            listener.swapped(swap)

    def close(self) -> None:
        """Close what listeners hold open; the history is on the disk already."""
        for listener in self.listeners:
            listener.close()

    def __enter__(self) -> Monitor:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    # -- measuring ----------------------------------------------------------------------------------------------

    def _charge_training(self, num_samples: int) -> None:
        """Gradients that the loop took through the problem are charged already; else count the samples it tells of."""
        if self.problem.cost.since(self._seen).gradient_samples == 0:
            self.problem.cost.charge_gradient(num_samples)
        self._charge("training")

    def _charge(self, purpose: str) -> None:
        self._state.cost[purpose].add(self.problem.cost.since(self._seen))
        self._seen = self.problem.cost.copy()

    def _show_step(self, num_samples: int, loss: Tensor | None) -> None:
        after = None if self._before is None else self.problem.params()
        gradient = self._sums.gradient if self._has_gradients else None
        self._schedule.observe_step(Step(num_samples, gradient, self._before, after, loss))
        self._before = after

    def _record(self, row: dict[str, Value]) -> None:
        state = self._state
        self._schedule.required = self._recording.required(state.phase)
        loss_needed = self._recording.measured(state.phase)
        snapshot = Snapshot(
            self.problem,
            epoch=state.epoch,
            phase=state.phase,
            step=self._num_steps,
            batch_size=self.batch_size,
            optimizer=self.optimizer,
            training_equivalents=state.cost["training"].gradient_equivalents,
            row=row,
            second=self._second,
            hessian_method=self._hessian_method,
        )
        with torch.inference_mode(False), torch.enable_grad():
            row = {**row, **_always(snapshot, loss_needed)}
            snapshot.row.update(row)
            row = merged(row, self._schedule.measure(snapshot))
        self._charge("probing")
        now = time.monotonic()
        state.seconds, self._clock = state.seconds + now - self._clock, now
        recorded = self.history.append(state.row(self._num_steps, row))
        if self._file is not None:
            self._file.append(recorded, self.history.skipped())
        for listener in self.listeners:
            listener.recorded(recorded)

    # -- saving -------------------------------------------------------------------------------------------------

    def state_dict(self) -> dict[str, Any]:
        """Everything needed to go on, the history included; loads with ``weights_only=True``."""
        rows = [
            encode_row({**row, **dict.fromkeys(self.history.skipped(index))}) for index, row in enumerate(self.history)
        ]
        return {
            "state": self._state.state_dict(),
            "history": "\n".join([encode_header(), *rows]) + "\n",
            "schedule": self._schedule.state_dict(),
            "settings": json.dumps(self._recording.settings()),
            "num_steps": self._num_steps,
            "sums": self._sums.state_dict(),
            "complete": [self._has_losses, self._has_gradients],
            "before": None if self._before is None else self._before.clone(),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on where :meth:`state_dict` was taken; model and optimiser are the loop's to restore.

        Rows that a file at ``path`` has beyond that are dropped: they will come again.

        Raises
        ------
        ValueError
            If the monitor was made with other trackers.
        """
        settings = json.dumps(self._recording.settings())
        if settings != state["settings"]:
            raise ValueError(
                f"the state is of a monitor that recorded {state['settings']}, but this one records {settings}. Make it with "
                "the trackers, the policy and the ceiling that it was begun with."
            )
        rows, _ = decode_lines(str(state["history"]).encode(), "the state's history")
        if self._file is not None:
            if self._file.path.exists():
                self._file.cut(len(rows))
            else:
                History(rows).to_jsonl(self._file.path)
        self._state.load_state_dict(dict(state["state"]), rows)
        self._schedule.load_state_dict(state["schedule"])
        self._num_steps = state["num_steps"]
        self._sums.load_state_dict(state["sums"])
        self._has_losses, self._has_gradients = state["complete"]
        before = state["before"]
        self._before = None if before is None else before.to(self._sums.gradient)
        for cost in self._state.cost.values():
            self.problem.cost.add(cost)
        self._seen = self.problem.cost.copy()
        self._clock = time.monotonic()
        for listener in self.listeners:
            listener.started(self.history, None, None)


def _always(snapshot: Snapshot, wanted: frozenset[str]) -> dict[str, Value]:
    """Loss and gradient norm, as far as the policy reads them."""
    if "gradient_norm" in wanted:
        return {"gradient_norm": norm(snapshot.gradient), "loss": snapshot.loss}  # the loss comes along
    return {"loss": snapshot.loss} if "loss" in wanted else {}
