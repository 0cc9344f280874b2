"""One task of the suite: what is minimised, how the first phase trains, for how long, how often.

Every task has three sizes: as it is (a laptop's two hours for all of the suite), ``tiny()`` (to see that it runs) and
``full()`` (a GPU).
"""

from __future__ import annotations

import functools
import importlib
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields, replace
from types import ModuleType
from typing import Any

import problems
import torch
from problems.stream import Draw, OnStream
from torch import nn

import landscape as ls
from landscape.training.continued_adam import ContinuedAdam
from landscape.training.phases import PhaseFactory
from landscape.training.registry import build_second

#: A seed on which learning rates are chosen, and no task is run.
TUNING_SEED = 100
#: Of tiny sizes that would take long otherwise.
SHORT = {"budget": 4.0, "seeds": 1}


@dataclass(frozen=True)
class SuiteTask:
    """One task.

    Parameters
    ----------
    name : str
        On the command line.
    title : str
        In tables.
    make_problem : callable
        ``make_problem(seed)`` gives the training problem and the validation problem, on the same model. The seed decides
        initial weights, split or sample of the data, and points (Bouthillier et al. 2021: vary all together).
    first : PhaseFactory
        The first phase: Adam with the constant rate that was best on ``TUNING_SEED``. Where the data are one batch, as points
        are, a mini-batch is all of them; unlike ``FullBatch`` it gives loss and gradient norm for free.
    budget : float
        Gradient equivalents of a whole run, both phases together.
    seeds : int
        How many: 0, 1, ...
    metric : str
        What decides, as in the evaluations of a run: "train_loss" or "validation_loss".
    from_start : tuple of str
        Names of second phases, for :meth:`second`, that take the whole run: Adam with a schedule and another rate.
    note : str
        What a reader of the results should know.
    error : callable, optional
        ``error(model)``: distance to the exact solution, where one is known.
    stream : callable, optional
        Where mini-batches are drawn instead of from the problem's data: ``stream(num_samples, generator)``.
    tiny_size, full_size : mapping, optional
        What changes in these sizes: keywords of ``make_problem``, and fields of the task.
    """

    name: str
    title: str
    make_problem: Callable[[int], tuple[ls.Problem, ls.Problem | None]]
    first: PhaseFactory
    budget: float
    seeds: int
    metric: str = "train_loss"
    from_start: tuple[str, ...] = ()
    note: str = ""
    error: Callable[[nn.Module], float] | None = None
    stream: Draw | None = None
    tiny_size: Mapping[str, Any] = field(default_factory=dict)
    full_size: Mapping[str, Any] = field(default_factory=dict)

    def second(self, spec: str) -> PhaseFactory:
        """A second phase by name; where the task is a stream, an Adam that goes on stays on the stream."""
        phase = build_second(spec)
        if self.stream is not None and isinstance(phase, ContinuedAdam) and phase.batch_size != "full":
            return OnStream(phase, self.stream)
        return phase

    def at_rate(self, learning_rate: float) -> SuiteTask:
        """The same with another learning rate in the first phase."""
        first = adam(learning_rate, self.first.batch_size)  # type: ignore[attr-defined]  # MiniBatches, or OnStream
        return replace(self, first=first if self.stream is None else OnStream(first, self.stream))

    def tiny(self) -> SuiteTask:
        """Seconds, to see that it runs: little data, one or two seeds, a short budget."""
        return self._sized(self.tiny_size, budget=8.0, seeds=2)

    def full(self) -> SuiteTask:
        """For a GPU: the data and budgets of papers, ten seeds."""
        return self._sized({"device": "auto", **self.full_size}, seeds=10)

    def _sized(self, changed: Mapping[str, Any], **settings: Any) -> SuiteTask:
        own = {each.name for each in fields(self)}
        sizes = {name: value for name, value in changed.items() if name not in own}
        others = {name: value for name, value in changed.items() if name in own}
        return replace(self, make_problem=functools.partial(self.make_problem, **sizes), **{**settings, **others})


def adam(learning_rate: float, batch_size: int) -> ls.MiniBatches:
    """A first phase."""
    return ls.MiniBatches(functools.partial(torch.optim.Adam, lr=learning_rate), batch_size=batch_size)


def cosine(batch_size: int, *learning_rates: float) -> tuple[str, ...]:
    """Baselines: Adam from the start at these rates, each falling to 0 with the budget."""
    return tuple(f"adam-cosine:lr={rate:g},batch_size={batch_size}" for rate in learning_rates)


def carry_by_value(*modules: ModuleType) -> None:
    """Let cloudpickle, joblib's own copy of it among them, pickle what these modules define by value."""
    for name in ("cloudpickle", "joblib.externals.cloudpickle"):
        try:
            pickler = importlib.import_module(name)
        except ImportError:
            continue
        for module in modules:
            pickler.register_pickle_by_value(module)


carry_by_value(sys.modules[__name__], problems)
