"""The job that swaps where a first phase stood after some epoch, and spends what is left of the budget."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

from landscape.comparison.course import course, fit
from landscape.comparison.evaluation import ArmEvaluation
from landscape.comparison.first_phase import RUN
from landscape.comparison.setting import Setting
from landscape.policies.base import Decision
from landscape.policies.schedule import Never
from landscape.tracking.history import History
from landscape.training.checkpoint import CheckpointError
from landscape.training.phases import FullBatch, PhaseFactory
from landscape.training.point import kept_points, load_point, point_file
from landscape.training.run_directory import RunDirectory
from landscape.training.trainer import Trainer


@dataclass(frozen=True)
class AtOnce:
    """Swap where the run begins."""

    @property
    def requires(self) -> frozenset[str]:
        """Nothing."""
        return frozenset()

    def decide(self, history: History) -> Decision:
        """Say yes."""
        return Decision(True, "the branch begins here")


@dataclass(frozen=True)
class BranchJob:
    """A second phase from a point of a first phase to the end of the budget.

    Parameters
    ----------
    setting : Setting
        Problem, seed, first phase.
    epoch : int
        After which it begins.
    finisher : PhaseFactory
        The second phase.
    budget : float
        Gradient equivalents of both phases: less than the setting's for a finisher that plans with what is left, after a policy
        that has spent some of it.
    first_phases : tuple of Path
        Folders of first phases of this setting, some of which have kept points. Where this one was not kept, it is made again
        from the last one before it.
    """

    kind: ClassVar[str] = "branch"

    setting: Setting
    epoch: int
    finisher: PhaseFactory
    budget: float
    first_phases: tuple[Path, ...]

    @cached_property
    def identity(self) -> Mapping[str, str]:
        """What decides the outcome."""
        own = {"epoch": str(self.epoch), "finisher": self.finisher.describe(), "until": repr(self.budget)}
        return {**self.setting.identity, **own}

    @property
    def label(self) -> str:
        """For people."""
        return f"seed {self.setting.seed}: branch after epoch {self.epoch}"

    @property
    def equivalents(self) -> float:
        """Gradient equivalents, estimated."""
        return max(1.0, self.budget - self.epoch)

    def run(self, folder: Path) -> dict[str, Any]:
        """Train, or go on; see :class:`landscape.comparison.running.job.Job`."""
        setting = self.setting
        problem, validation = setting.make()
        trust = isinstance(self.finisher, FullBatch) and self.finisher.batch == "full"
        trainer = Trainer(
            first=setting.first,
            second=self.finisher,
            policy=AtOnce(),
            swap_back=None,
            budget=self.budget,
            record="free",
            trackers=[ArmEvaluation(validation, setting.metrics, trust=trust)],
            seed=setting.seed,
            run_dir=folder / RUN,
        )
        directory = trainer.directory
        assert directory is not None
        point = None if directory.checkpoint_file.exists() else self._point(folder)
        result = fit(trainer, problem, validation, point)
        found = course(result, problem, validation, setting.metrics)
        _tidy(directory)
        return found

    def _point(self, folder: Path) -> Path:
        """The point's file: one that was kept, or one made from the last one before."""
        way = folder / "way"
        kept = [item for run in (*self.first_phases, way) for item in kept_points(run / RUN).items()]
        near = sorted((item for item in kept if item[0] <= self.epoch), key=lambda item: -item[0])
        start = next(((epoch, path) for epoch, path in near if _is_whole(path)), None)
        if start is not None and start[0] == self.epoch:
            return start[1]
        if point_file(way / RUN, self.epoch).exists():  # damaged, like all others of this epoch
            shutil.rmtree(way)
        return self._walk(way, None if start is None else start[1])

    def _walk(self, folder: Path, start: Path | None) -> Path:
        """Go on with the first phase alone to where the branch begins."""
        problem, _ = self.setting.make()
        way = Trainer(
            first=self.setting.first,
            policy=Never(),
            swap_back=None,
            epochs=max(1, self.epoch),
            record="free",
            seed=self.setting.seed,
            run_dir=folder / RUN,
            keep_points=lambda epoch: epoch == self.epoch,
        )
        result = fit(way, problem, point=start)
        found = kept_points(folder / RUN).get(self.epoch)
        if found is None:
            raise RuntimeError(
                f"the first phase ended ({result.status}) after epoch {result.history[-1]['epoch']}, before the branch after "
                f"epoch {self.epoch} could begin."
            )
        return found


def _is_whole(path: Path) -> bool:
    """Whether a point is there and not damaged."""
    try:
        load_point(path)
    except (OSError, CheckpointError):
        return False
    return True


def _tidy(directory: RunDirectory) -> None:
    """Drop what only an unfinished run needs, and what the first phase has kept already."""
    directory.checkpoint_file.unlink(missing_ok=True)
    for name in ("start", "swap-1"):
        (directory.weights_folder / f"{name}.pt").unlink(missing_ok=True)
