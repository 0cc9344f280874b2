"""The job that runs a first phase to the end of the budget and asks all policies along it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

from landscape.comparison.asked import Asked
from landscape.comparison.course import course, fit
from landscape.comparison.evaluation import ArmEvaluation
from landscape.comparison.panel import Book, Panel
from landscape.comparison.setting import Setting
from landscape.policies.schedule import Never
from landscape.training.trainer import Trainer

RUN = "run"


@dataclass(frozen=True)
class FirstPhaseJob:
    """A first phase to the end of the budget, evaluated at each epoch, with points kept where branches begin.

    Parameters
    ----------
    setting : Setting
        Problem, seed, first phase, budget.
    asked : tuple of Asked
        The policies.
    grid : tuple of int
        Epochs at which branches begin whatever the policies say.
    max_signal_cost : float
        See :class:`landscape.comparison.panel.Panel`.
    starts : tuple of int
        Other epochs at which branches begin. They decide nothing of the outcome: a point that was not kept is made again.
    attempt : int
        Which one: where policies crashed, they can be asked again.
    """

    kind: ClassVar[str] = "first-phase"

    setting: Setting
    asked: tuple[Asked, ...]
    grid: tuple[int, ...]
    max_signal_cost: float
    starts: tuple[int, ...] = ()
    attempt: int = 0

    @cached_property
    def identity(self) -> Mapping[str, str]:
        """What decides the outcome."""
        return {
            **self.setting.identity,
            "policies": "; ".join(sorted({asked.key for asked in self.asked})),
            "grid": ", ".join(map(str, self.grid)),
            "max_signal_cost": repr(self.max_signal_cost),
            **({"attempt": str(self.attempt)} if self.attempt else {}),
        }

    @property
    def label(self) -> str:
        """For people."""
        return f"seed {self.setting.seed}: first phase, {len(self.asked)} policies asked"

    @property
    def equivalents(self) -> float:
        """Gradient equivalents, estimated: the first phase, and as much again for measurements."""
        return self.setting.budget * (2.0 if self.asked else 1.0)

    def run(self, folder: Path) -> dict[str, Any]:
        """Train, or go on; see :class:`landscape.comparison.running.job.Job`."""
        setting, book, grid = self.setting, Book(), frozenset(self.grid)
        starts = grid | set(self.starts)
        problem, validation = setting.make()
        given = setting.first.records
        panel = Panel(self.asked, given, setting.budget, grid, self.max_signal_cost, book)
        trainer = Trainer(
            first=setting.first,
            policy=Never(),
            swap_back=None,
            budget=setting.budget,
            record="free",
            trackers=[panel, ArmEvaluation(validation, setting.metrics, trust=False)],
            max_overhead=math.inf,
            seed=setting.seed,
            run_dir=folder / RUN,
            keep_points=lambda epoch: epoch in starts or epoch in book.swap_epochs,
        )
        result = fit(trainer, problem, validation)
        return {
            **course(result, problem, validation, setting.metrics),
            "answers": {key: asdict(answer) for key, answer in book.answers.items()},
            "signals": [list(signal) for signal in book.signals],
            "measured": book.measured,
        }
