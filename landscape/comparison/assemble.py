"""Putting the arms together from the runs that were made."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from landscape.comparison.arm import Arm, ArmResult
from landscape.comparison.asked import Settled
from landscape.comparison.comparison import Comparison, SignalAt, Work
from landscape.comparison.outcomes import not_run, outcome
from landscape.comparison.running.job import job_key
from landscape.comparison.seed_runs import SeedRuns, branch_of, ways
from landscape.comparison.study import Study
from landscape.training.recording import BOOKKEEPING

#: What stands for a job of which the store holds nothing.
CANCELLED: Mapping[str, Any] = {"status": "crashed", "error": "it was cancelled"}


def put_together(study: Study, seeds: Sequence[SeedRuns], done: Mapping[str, Mapping[str, Any]]) -> Comparison:
    """What every arm came to with every seed, and what it all cost.

    Parameters
    ----------
    study : Study
        What was compared.
    seeds : sequence of SeedRuns
        Its first phases.
    done : mapping of str to mapping
        What the store holds of the branches, by key.
    """
    losses = _loss_names(seeds)
    targets = {seed.setting.seed: _target(study, seed) for seed in seeds}
    by_arm: dict[Arm, list[ArmResult]] = {}
    for seed in seeds:
        for result in _results(study, seed, done, targets[seed.setting.seed], losses):
            by_arm.setdefault(result.arm, []).append(result)
    beginnings = [seed.beginning for seed in seeds]
    floor = study.floor
    if floor is None:  # what a sum of terms of the first loss's size loses to rounding
        floor = max(beginning.precision * beginning.loss for beginning in beginnings)
    return Comparison(
        title=study.title,
        settings={
            **study.settings(),
            "parameters": str(beginnings[0].num_params),
            "training samples": str(beginnings[0].num_samples),
            **{name: seeds[0].setting.identity[name] for name in ("landscape", "torch")},
        },
        budget=study.budget,
        seeds=study.seeds,
        metric=study.metric,
        floor=floor,
        grid=study.grid,
        finishers=tuple(study.finishers),
        controls=tuple(study.controls),
        policies=study.policies,
        results=tuple(result for results in by_arm.values() for result in results),
        signals=tuple(_signals(study, seeds)),
        target=targets,
        work=_work(seeds, by_arm, done),
    )


def _loss_names(seeds: Sequence[SeedRuns]) -> list[str]:
    finals = [value["final"] for seed in seeds for _, value in seed.firsts]
    return sorted({name for final in finals for name in final if name.endswith("_loss")} | {"train_loss"})


def _target(study: Study, seed: SeedRuns) -> float:
    """The training loss that counts as reached: by default, what the first phase alone comes to."""
    if study.target is not None:
        return study.target
    return float(seed.firsts[0][1]["final"]["train_loss"]) if seed.firsts else math.nan


def _results(
    study: Study, seed: SeedRuns, done: Mapping[str, Mapping[str, Any]], target: float, losses: Sequence[str]
) -> Iterator[ArmResult]:
    number = seed.setting.seed
    for arm, finisher, way in ways(study, seed):
        if isinstance(way, str):
            yield not_run(arm, number, "unavailable", way, losses)
        elif isinstance(way, Settled):
            yield not_run(arm, number, way.answer, way.reason, losses)
        elif not seed.firsts:
            yield not_run(arm, number, "crashed", seed.error, losses)
        else:
            job = branch_of(study, seed, way, finisher)
            found: Mapping[str, Any] = (
                {"status": "done", "value": None} if job is None else done.get(job_key(job), CANCELLED)
            )
            if found["status"] == "done":
                first = seed.firsts[0][1]
                yield outcome(arm, number, way, first, found["value"], study.budget, target, losses)
            else:
                yield not_run(arm, number, "crashed", str(found["error"]), losses)


def _signals(study: Study, seeds: Sequence[SeedRuns]) -> Iterator[SignalAt]:
    """Each signal at each epoch of the grid once, without the bookkeeping."""
    for seed in seeds:
        seen = set()
        for _, value in seed.firsts:
            for epoch, name, number in value["signals"]:
                if epoch in study.grid and (epoch, name) not in seen and name not in BOOKKEEPING:
                    seen.add((epoch, name))
                    yield SignalAt(seed.setting.seed, int(epoch), str(name), float(number))


def _work(
    seeds: Sequence[SeedRuns],
    by_arm: Mapping[Arm, Sequence[ArmResult]],
    done: Mapping[str, Mapping[str, Any]],
) -> Work:
    arms = [result for arm, results in by_arm.items() if arm.kind == "policy" for result in results]
    ran = [result for result in arms if result.status in ("finished", "diverged")]
    values = [found["value"] for found in done.values() if found["status"] == "done"]
    return Work(
        first_phase=sum(value["spent"] for seed in seeds for _, value in seed.firsts),
        probing=sum(value["measured"] for seed in seeds for _, value in seed.firsts),
        branches=sum(
            value["rows"][-1]["gradient_equivalents"] - value["rows"][0]["gradient_equivalents"] for value in values
        ),
        num_branches=len(values),
        num_policy_arms=len(ran),
        separate=sum(result.gradient_equivalents for result in ran),
    )
