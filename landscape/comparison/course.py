"""Running a trainer inside a job, and what the job gives of its run."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from landscape.comparison.evaluation import Metric, evaluate
from landscape.comparison.rows import rows_of
from landscape.problem import Problem
from landscape.status import Status
from landscape.tracking.facts import uncharged
from landscape.training.result import TrainingResult
from landscape.training.trainer import Trainer


def fit(
    trainer: Trainer, problem: Problem, validation: Problem | None = None, point: Path | None = None
) -> TrainingResult:
    """Train, or go on with the run in the trainer's folder.

    Raises
    ------
    KeyboardInterrupt
        If it was stopped: a job that is not done gives no result.
    """
    assert trainer.directory is not None
    result = trainer.fit(problem, validation, resume=trainer.directory.has_run, point=point)
    if result.status is Status.INTERRUPTED:
        raise KeyboardInterrupt
    return result


def course(
    result: TrainingResult, problem: Problem, validation: Problem | None, metrics: Mapping[str, Metric]
) -> dict[str, Any]:
    """Why the run ended, its rows, what it came to, and the gradient equivalents of its steps."""
    with uncharged(problem):
        final = {"train_loss": float(problem.loss()), **evaluate(problem, validation, metrics)}
    return {
        "status": result.status.name,
        "rows": rows_of(result.history),
        "final": final,
        "spent": result.cost["training"].gradient_equivalents,
    }
