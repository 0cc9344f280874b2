"""The runs of one seed, and which of them answers for which arm."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from landscape.comparison.arm import Arm
from landscape.comparison.asked import Settled
from landscape.comparison.branch import BranchJob
from landscape.comparison.outcomes import Way, budget_of, way_of
from landscape.comparison.rows import is_spent
from landscape.comparison.running.job import job_key
from landscape.comparison.setting import Beginning, Setting
from landscape.comparison.study import Study
from landscape.training.phases import PhaseFactory


@dataclass(frozen=True)
class SeedRuns:
    """The first phases of one seed.

    Parameters
    ----------
    setting : Setting
        What all its runs share.
    beginning : Beginning
        What its problem is like.
    firsts : tuple of (Path, mapping)
        Folders and results of the first phases, which differ only in the policies asked along them; none if the only one
        crashed.
    answers : mapping of str to Settled
        Of the policies, by their keys.
    error : str
        Of a first phase that crashed.
    """

    setting: Setting
    beginning: Beginning
    firsts: tuple[tuple[Path, Mapping[str, Any]], ...]
    answers: Mapping[str, Settled]
    error: str = ""

    @property
    def last_epoch(self) -> int:
        """With which the budget is spent if nothing swaps."""
        return int(self.firsts[0][1]["rows"][-1]["epoch"])


def ways(study: Study, seed: SeedRuns) -> Iterator[tuple[Arm, PhaseFactory | None, Way | Settled | str]]:
    """How every arm spends its budget with one seed; its answer or text where it does not get that far."""
    yield Arm("never"), None, Way(None)
    for arm, finisher in study.fixed_arms():
        yield arm, finisher, Way(arm.epoch)
    for arm, finisher in study.policy_arms():
        asked = study.asked[arm.policy, arm.finisher]
        if isinstance(asked, str):
            yield arm, finisher, asked
            continue
        answer = seed.answers.get(asked.key)
        if answer is None:
            yield arm, finisher, Settled("crashed", 0, 0.0, seed.error)
        else:
            yield arm, finisher, way_of(answer) if answer.answer in ("fired", "never") else answer


def branch_of(study: Study, seed: SeedRuns, way: Way, finisher: PhaseFactory | None) -> BranchJob | None:
    """The branch of an arm; None where it swaps when nothing is left, or never: the first phase answers for it."""
    if finisher is None or way.swap_epoch is None or way.swap_epoch >= seed.last_epoch:
        return None
    if is_spent(seed.firsts[0][1]["rows"][way.swap_epoch], study.budget - way.probing):
        return None
    folders = tuple(folder for folder, _ in seed.firsts)
    return BranchJob(seed.setting, way.swap_epoch, finisher, budget_of(finisher, study.budget, way), folders)


def branches(study: Study, seed: SeedRuns) -> Iterator[tuple[str, BranchJob]]:
    """Each distinct branch by its key."""
    if not seed.firsts:
        return
    for _, finisher, way in ways(study, seed):
        job = branch_of(study, seed, way, finisher) if isinstance(way, Way) else None
        if job is not None:
            yield job_key(job), job
