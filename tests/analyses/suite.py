"""The suite's modules, for its tests, and its tasks."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path

import pytest
import torch

import landscape as ls
from landscape.datasets import MissingDatasetError, MissingPackageError

FOLDER = Path(__file__).parents[2] / "analyses" / "swap_suite"


def module(name: str):
    """A module of the suite; its scripts import each other by plain names."""
    sys.path.insert(0, str(FOLDER))
    try:
        return importlib.import_module(name)
    finally:
        sys.path.remove(str(FOLDER))


suite_task, tasks, held_out = (module(name) for name in ("suite_task", "tasks", "held_out"))
ALL = {**tasks.TASKS, **held_out.HELD_OUT}


def problems_of(task, seed: int = 0):
    """The task's two problems, or a skip where its data are not on this machine."""
    try:
        return task.make_problem(seed)
    except (MissingDatasetError, MissingPackageError) as missing:
        pytest.skip(str(missing))


def contents(problem: ls.Problem) -> list[torch.Tensor]:
    """Every tensor of the data, in a fixed order."""
    (batch,) = problem.batches
    parts = batch.content.values() if isinstance(batch.content, dict) else batch.content
    return list(parts)
