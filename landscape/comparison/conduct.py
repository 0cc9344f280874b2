"""Carrying a study out: first phases, then branches, then what each arm came to."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from landscape.comparison.asked import Asked, Settled
from landscape.comparison.assemble import CANCELLED, put_together
from landscape.comparison.comparison import Comparison
from landscape.comparison.estimate import estimate
from landscape.comparison.first_phase import FirstPhaseJob
from landscape.comparison.running.executor import Executor
from landscape.comparison.running.job import job_key
from landscape.comparison.running.run_jobs import run_jobs
from landscape.comparison.running.store import Store
from landscape.comparison.seed_runs import SeedRuns, branches
from landscape.comparison.setting import Beginning, Setting, setting_for
from landscape.comparison.study import Study

Progress = Callable[[str, float], None]


def conduct(
    study: Study, store: Store, executor: Executor, progress: Progress | None = None, *, retry: bool = False
) -> Comparison:
    """Run what has not been run yet, and put the arms together.

    Parameters
    ----------
    study : Study
        What is compared.
    store : Store
        Where results are kept.
    executor : Executor
        What runs the jobs.
    progress : callable, optional
        ``progress(what, share)``.
    retry : bool
        Whether jobs that crashed before are tried again.

    Returns
    -------
    Comparison
    """
    settings = [setting_for(study.make_problem, seed, study.first, study.budget, study.metrics) for seed in study.seeds]
    share = _first_share(study)
    seeds = _run_first_phases(study, settings, store, executor, _part(progress, 0.0, share), retry)
    jobs = {key: job for seed in seeds for key, job in branches(study, seed)}
    done = run_jobs(jobs.values(), store, executor, _part(progress, share, 1.0), retry=retry)
    return put_together(study, seeds, done)


def _run_first_phases(
    study: Study,
    settings: Sequence[tuple[Setting, Beginning]],
    store: Store,
    executor: Executor,
    progress: Progress | None,
    retry: bool,
) -> list[SeedRuns]:
    """Those that are missing, for the policies that no earlier one has asked."""
    asked = list({item.key: item for item in study.asked.values() if isinstance(item, Asked)}.values())
    earlier = {setting.seed: _earlier(setting, store) for setting, _ in settings}
    jobs: dict[int, FirstPhaseJob] = {}
    for setting, _ in settings:
        known = _answers(earlier[setting.seed])
        crashed = {key for key, answer in known.items() if retry and answer.answer == "crashed"}
        missing = tuple(item for item in asked if item.key not in known or item.key in crashed)
        if missing or not earlier[setting.seed]:
            attempt = len(earlier[setting.seed]) if crashed else 0
            jobs[setting.seed] = FirstPhaseJob(
                setting, missing, study.grid, study.max_signal_cost, study.starts, attempt
            )
    done = run_jobs(jobs.values(), store, executor, progress, retry=retry)
    seeds = []
    for setting, beginning in settings:
        firsts, error = list(earlier[setting.seed]), ""
        if setting.seed in jobs:
            job = jobs[setting.seed]
            result = done.get(job_key(job), CANCELLED)
            if result["status"] == "done":
                firsts.append((store.folder(job), result["value"]))
            else:
                error = str(result["error"])
        seeds.append(SeedRuns(setting, beginning, tuple(firsts), _answers(firsts), error))
    return seeds


def _earlier(setting: Setting, store: Store) -> list[tuple[Path, Mapping[str, Any]]]:
    """First phases of this setting that are done, whichever policies were asked along them."""
    found: list[tuple[Path, Mapping[str, Any]]] = []
    for folder, identity, value in store.done(FirstPhaseJob.kind):
        if all(identity.get(name) == text for name, text in setting.identity.items()):
            found.append((folder, value))
    return found


def _answers(firsts: Sequence[tuple[Path, Mapping[str, Any]]]) -> dict[str, Settled]:
    """Of all policies that have been asked; one that crashed and was asked again, the better one."""
    found: dict[str, Settled] = {}
    for _, value in firsts:
        for key, answer in value["answers"].items():
            if key not in found or found[key].answer == "crashed":
                found[key] = Settled(**answer)
    return found


def _first_share(study: Study) -> float:
    found = estimate(study)
    return found.first_phases / (0.5 * (found.least + found.most))


def _part(progress: Progress | None, low: float, high: float) -> Progress | None:
    if progress is None:
        return None
    return lambda what, share: progress(what, low + (high - low) * share)
