"""A comparison of swap criteria from one configuration."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any

from landscape.compare_config import CompareConfig
from landscape.comparison.compare import compare
from landscape.comparison.comparison import Comparison
from landscape.comparison.conduct import Progress
from landscape.comparison.estimate import Estimate
from landscape.comparison.evaluation import Metric
from landscape.comparison.running.executor import Executor
from landscape.comparison.setting import MakeProblem, made_by
from landscape.experiment.factories import ImageProblem, OwnMetric, OwnProblem
from landscape.experiment.problems import accuracy, threads
from landscape.policies.schedule import AfterEpochs
from landscape.status import Status
from landscape.tracking.facts import uncharged
from landscape.training.registry import build_first
from landscape.training.trainer import Trainer

#: A gradient that takes so many seconds tells what training takes; else so many epochs of each phase do.
_LONG = 1.0
_EPOCHS = 5


def compare_config(
    config: CompareConfig | None = None,
    *,
    executor: Executor | int = 1,
    progress: bool | Progress | None = None,
    announce: Callable[[Estimate, float], None] | None = None,
    retry: bool = False,
) -> Comparison:
    """Compare swap criteria on a problem by name, or on one's own: what ``landscape compare`` does.

    Parameters
    ----------
    config : CompareConfig, optional
        The choices. Default: six policies on digits with an MLP, ten seeds.
    executor, progress, retry
        As for :func:`landscape.compare`.
    announce : callable, optional
        Told, before anything is run, of the estimated cost and of the seconds that a gradient equivalent takes here, measured
        on the first seed's problem.

    Returns
    -------
    Comparison

    Raises
    ------
    ValueError
        If a setting is wrong, or a part of one's own project cannot be found or used.
    DatasetError
        If the data's files are missing or damaged.
    StoreError
        If another process holds the store.
    KeyboardInterrupt
        After Ctrl-C, when all processes have stopped.

    Examples
    --------
    >>> config = CompareConfig(
    ...     num_train=50, policies=("never",), controls=(), from_start=(), grid=(2,), seeds=2, budget_ge=6
    ... )
    >>> found = compare_config(config)
    >>> found.title, found.seeds, len(found.results)
    ('mlp on digits', (0, 1), 6)
    """
    config = CompareConfig() if config is None else config
    config.check()
    if config.threads > 1 and isinstance(executor, int) and executor > 1:
        raise ValueError(
            f"threads = {config.threads} was given with {executor} processes beside each other, which have one thread each. "
            "Leave threads out, or run one job at a time."
        )
    make_problem = problem_maker(config)
    seeds = config.seeds if isinstance(config.seeds, int) else list(config.seeds)
    first_seed = 0 if isinstance(seeds, int) else next(iter(seeds), 0)

    def tell(estimate: Estimate) -> None:
        if announce is not None:
            announce(estimate, seconds_per_equivalent(config, make_problem, first_seed))

    with threads(config.threads):
        return compare(
            make_problem,
            policies=config.policies,
            finishers=config.finishers,
            seeds=seeds,
            budget=float(config.budget_ge),
            first=config.first,
            grid=config.grid,
            controls=config.controls,
            control_epochs=config.control_epochs,
            from_start=config.from_start,
            metrics=_metrics(config),
            metric=config.metric,
            floor=config.floor,
            target=config.target,
            swap_every=config.swap_every,
            max_signal_cost=config.max_signal_cost,
            store=config.store,
            executor=executor,
            progress=progress,
            announce=tell,
            retry=retry,
            title=title_of(config),
        )


def problem_maker(config: CompareConfig) -> MakeProblem:
    """What makes the problem of each seed.

    Raises
    ------
    UserCodeError
        If it is a function of one's own that is not there.
    """
    if config.problem is None:
        return ImageProblem.of(config)
    own = OwnProblem("problem", config.problem, arguments=dict(config.problem_args))
    own.found()  # refused before any work; policies that the module registers can be asked for from now on
    return own


def title_of(config: CompareConfig) -> str:
    """What the results are called."""
    return config.title or config.problem or f"{config.model} on {config.data}"


def seconds_per_equivalent(config: CompareConfig, make_problem: MakeProblem, seed: int) -> float:
    """How long a gradient equivalent of training takes here, with everything around it.

    One gradient tells where that is long. Where it is short, steps cost more than their gradients, so a few epochs of both
    phases are run instead, twice, since the first time also loads what torch needs.
    """
    problem, _ = made_by(make_problem, seed)
    began = time.perf_counter()
    with uncharged(problem):
        float(problem.loss_and_gradient()[0])  # the number waits for a GPU
    seconds = time.perf_counter() - began
    if seconds > _LONG:
        return seconds
    for _ in range(2):
        problem, _ = made_by(make_problem, seed)
        trainer = Trainer(
            first=build_first(config.first),
            policy=AfterEpochs(_EPOCHS),
            epochs=2 * _EPOCHS,
            record="free",
            seed=seed,
        )
        began = time.perf_counter()
        result = trainer.fit(problem)
        seconds = (time.perf_counter() - began) / max(1.0, result.cost["training"].gradient_equivalents)
        if result.status is Status.INTERRUPTED:
            raise KeyboardInterrupt
    return seconds


def _metrics(config: CompareConfig) -> dict[str, Metric]:
    """By name; accuracy where classes are learnt."""
    given: Mapping[str, str] | None = config.metrics
    if given is None:
        given = {"accuracy": "accuracy"} if config.problem is None else {}
    found: dict[str, Any] = {}
    for name, text in given.items():
        if text == "accuracy":
            found[name] = accuracy
            continue
        found[name] = own = OwnMetric("metrics", text)
        own.found()
    return found
