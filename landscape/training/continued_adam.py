"""Second phases on mini-batches: Adam goes on, with a decayed rate or on full batches, or SOAP takes its place."""

from __future__ import annotations

import copy
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch

from landscape.cost import Cost
from landscape.optim.soap import SOAP
from landscape.problem import Problem
from landscape.status import Status
from landscape.tracking.history import Value
from landscape.training.mini_batch_phase import MiniBatchPhase
from landscape.training.phases import MiniBatches, Phase, Remaining, Tick

_KINDS: dict[str, type[torch.optim.Optimizer]] = {
    kind.__name__: kind for kind in (torch.optim.Adam, torch.optim.AdamW, torch.optim.NAdam, torch.optim.RMSprop, SOAP)
}


@dataclass(frozen=True)
class ContinuedAdam:
    r"""A second phase that goes on with the first phase's own optimiser, its moments included.

    What every other second phase has to be compared with: a learning rate that decays costs nothing, and full batches show
    what the batch alone does.

    Parameters
    ----------
    schedule : {"cosine", "constant"}
        "cosine": the learning rate falls from its value at the swap to 0 at the end of the run, as
        :math:`\tfrac12 (1 + \cos(\pi t))`; t is the spent share of the budget or of the epochs that were left at the swap,
        whichever is larger.
    lr : float, optional
        To begin with. Default: that of the first phase.
    batch_size : int or "full", optional
        Samples per step. Default: that of the first phase.
    method : {"adam", "soap"}
        "adam": the first phase's own optimiser. "soap": a new :class:`landscape.optim.soap.SOAP` at its learning rate, which
        turns Adam's second moment into the eigenbases of the gradient's.

    Notes
    -----
    Where the first phase had no Adam, AdamW, NAdam or RMSprop, a new Adam begins. The run ends when the schedule does.
    What is recorded counts towards the budget: if the last row costs the rest of it, the run ends with a rate that is not
    quite 0. Full batches are mini-batches of all data at once, in memory and in the first phase's mode.

    References
    ----------
    Loshchilov, Hutter (2017), SGDR: stochastic gradient descent with warm restarts, ICLR.

    Examples
    --------
    >>> ContinuedAdam(batch_size="full", schedule="constant").describe()
    'ContinuedAdam, schedule=constant, lr=None, batch_size=full'
    """

    schedule: Literal["cosine", "constant"] = "cosine"
    lr: float | None = None
    batch_size: int | Literal["full"] | None = None
    method: Literal["adam", "soap"] = "adam"

    def __post_init__(self) -> None:
        if self.method not in ("adam", "soap"):
            raise ValueError(f"method={self.method!r} was given; it is 'adam' or 'soap'.")
        if self.schedule not in ("cosine", "constant"):
            raise ValueError(f"schedule={self.schedule!r} was given; it is 'cosine' or 'constant'.")
        if self.lr is not None and not 0.0 < self.lr < math.inf:
            raise ValueError(f"lr={self.lr} was given; it must be a positive number.")
        if self.batch_size not in (None, "full") and not (isinstance(self.batch_size, int) and self.batch_size >= 1):
            raise ValueError(f"batch_size={self.batch_size!r} was given; it is a number of at least 1, or 'full'.")

    @property
    def records(self) -> frozenset[str]:
        """The mini-batches' own norms and losses."""
        return MiniBatches().records

    @property
    def follows_budget(self) -> bool:
        """Whether its course depends on what is left of the run, so that a shorter run is no part of a longer one."""
        return self.schedule == "cosine"

    def start(self, problem: Problem, generator: torch.Generator) -> ContinuedAdamPhase:
        """Make a new Adam, which goes on with another one's moments once it takes over."""
        return ContinuedAdamPhase(problem, self, generator)

    def describe(self) -> str:
        """The settings as text."""
        kind = "" if self.method == "adam" else f", method={self.method}"
        return f"ContinuedAdam, schedule={self.schedule}, lr={self.lr}, batch_size={self.batch_size}{kind}"


class ContinuedAdamPhase(MiniBatchPhase):
    """A running :class:`ContinuedAdam` phase."""

    def __init__(self, problem: Problem, chosen: ContinuedAdam, generator: torch.Generator) -> None:
        size = problem.num_samples if chosen.batch_size == "full" else chosen.batch_size or MiniBatches().batch_size
        adam = torch.optim.Adam(problem.parameters, lr=chosen.lr or 1e-3)
        super().__init__(problem, adam, MiniBatches(batch_size=size), generator)
        self.chosen = chosen
        self._schedule = _Schedule()
        self._spent = Cost(problem.num_samples)  # since the swap
        self._counted: Cost | None = None  # the problem's ledger when that was counted

    def take_over(self, first: Phase, remaining: Remaining) -> None:
        """Go on with a copy of the first phase's optimiser, its moments, its batch size and its mode."""
        before = getattr(first, "optimizer", None)
        if self.chosen.method == "soap":
            rate = 1e-3 if before is None else float(before.param_groups[0]["lr"])
            self.optimizer = SOAP(self.problem.parameters, lr=self.chosen.lr or rate)
        elif before is not None and type(before) in _KINDS.values():
            self._make(type(before).__name__, self._positions(before), copy.deepcopy(before.state_dict()))
            if self.chosen.lr is not None:
                self._set_rates([self.chosen.lr] * len(self.optimizer.param_groups))
        if isinstance(settings := getattr(first, "settings", None), MiniBatches):
            size = settings.batch_size if self.chosen.batch_size is None else self.settings.batch_size
            self.settings = MiniBatches(batch_size=size, mode=settings.mode)
        # Orders as the first phase would have drawn them.
        self._order = self.generator.get_state()
        rates = [float(group["lr"]) for group in self.optimizer.param_groups]
        self._schedule = _Schedule(rates, 0, remaining.gradient_equivalents, remaining.epochs)
        # Counted from the first step on: the evaluation at the swap is paid for by no budget.
        self._spent, self._counted = Cost(self.problem.num_samples), None

    def run_epoch(self, tick: Tick) -> bool:
        """One pass, the learning rate following its schedule from step to step."""
        if self._counted is None:
            self._counted = self.problem.cost.copy()

        def step_done(share: float) -> bool:
            self._follow_schedule(share)
            return tick(share)

        return super().run_epoch(step_done)

    def finish_epoch(self) -> dict[str, Value]:
        """The pass's means, and whether it was the last one."""
        columns = super().finish_epoch()
        self._schedule.epochs_done += 1
        self._follow_schedule(0.0)
        if self.chosen.schedule == "cosine" and self._share(0.0) >= 1.0:
            columns["status"] = Status.SCHEDULE_ENDED.name
        return columns

    def state_dict(self) -> dict[str, Any]:
        """The optimiser with its kind, the pass in progress, and where the schedule stands."""
        self._count()
        return {
            **super().state_dict(),
            "kind": type(self.optimizer).__name__,
            "positions": self._positions(self.optimizer),
            "batches": {"batch_size": self.settings.batch_size, "mode": self.settings.mode},
            "schedule": vars(self._schedule).copy(),
            "spent": self._spent.state_dict(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on where :meth:`state_dict` was taken."""
        self._make(state["kind"], state["positions"], state["optimizer"])
        self.settings = MiniBatches(**state["batches"])
        self._schedule = _Schedule(**state["schedule"])
        self._spent.load_state_dict(state["spent"])
        self._counted = None  # the run is about to enter on the ledger what was spent before
        super().load_state_dict(state)

    def _make(self, kind: str, positions: Sequence[Sequence[int]], state: dict[str, Any]) -> None:
        """An optimiser with the same parameter groups, in that state."""
        groups = [{"params": [self.problem.parameters[place] for place in group]} for group in positions]
        self.optimizer = _KINDS[kind](groups)  # type: ignore[call-arg]
        self.optimizer.load_state_dict(state)

    def _positions(self, optimizer: torch.optim.Optimizer) -> list[list[int]]:
        """Which of the problem's parameters stand in which group."""
        places = {id(parameter): place for place, parameter in enumerate(self.problem.parameters)}
        return [[places[id(parameter)] for parameter in group["params"]] for group in optimizer.param_groups]

    def _set_rates(self, rates: list[float]) -> None:
        for group, rate in zip(self.optimizer.param_groups, rates, strict=True):
            group["lr"] = rate

    def _follow_schedule(self, share_of_epoch: float) -> None:
        if self.chosen.schedule == "cosine" and self._schedule.rates:
            factor = 0.5 * (1.0 + math.cos(math.pi * min(1.0, self._share(share_of_epoch))))
            self._set_rates([rate * factor for rate in self._schedule.rates])

    def _count(self) -> None:
        """Bring what was spent up to date; in samples, so that a resumed run has the very same numbers."""
        if self._counted is not None:
            self._spent.add(self.problem.cost.since(self._counted))
            self._counted = self.problem.cost.copy()

    def _share(self, share_of_epoch: float) -> float:
        """What part of the schedule is over; 0 for a run without an end."""
        self._count()
        schedule = self._schedule
        shares = [0.0]
        if schedule.budget is not None:
            shares.append(self._spent.gradient_equivalents / schedule.budget if schedule.budget > 0 else 1.0)
        if schedule.epochs is not None:
            done = schedule.epochs_done + share_of_epoch
            shares.append(done / schedule.epochs if schedule.epochs > 0 else 1.0)
        return max(shares)


@dataclass
class _Schedule:
    """What the learning rates follow, in plain numbers."""

    rates: list[float] | None = None  # at the swap
    epochs_done: int = 0
    budget: float | None = None  # GE that were left at the swap
    epochs: int | None = None  # that were left at the swap
