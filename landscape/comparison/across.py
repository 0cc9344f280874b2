"""Several comparisons together: which policies are good on most problems, and how badly each one fails at worst."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from landscape.comparison.comparison import Comparison
from landscape.comparison.phrases import regret_text
from landscape.comparison.scores import BEST_FIXED, NEVER, PolicyScore, policy_scores, reference_scores
from landscape.comparison.statistics.location import median
from landscape.comparison.statistics.wording import counted


@dataclass(frozen=True)
class AcrossScore:
    """One policy over several problems ("tasks").

    Parameters
    ----------
    name : str
        What it is called.
    claim : str or None
        Which of :data:`landscape.policies.CLAIMS` it tests; None if none.
    median_regret : float
        Median over the tasks of the median regret over the seeds.
    worst_against_never : float
        Largest median over seeds of loss / loss of never, on any task.
    worst_task : str
        On which; the first of equals.
    num_better, num_worse : int
        Tasks where it is better and worse than never, each after Holm's correction on that task.
    regrets : mapping of str to float
        Median regret over the seeds on each task where it was compared, in the order of the tasks.
    ratios : mapping of str to float
        Median over the seeds of loss / loss of never, on the same tasks.
    as_never : tuple of str
        Tasks where it could not be measured and counts as never.
    """

    name: str
    claim: str | None
    median_regret: float
    worst_against_never: float
    worst_task: str
    num_better: int
    num_worse: int
    regrets: Mapping[str, float] = field(repr=False)
    ratios: Mapping[str, float] = field(repr=False)
    as_never: tuple[str, ...] = ()

    @property
    def num_tasks(self) -> int:
        """On which it was compared, those among them on which it counts as never."""
        return len(self.regrets)

    def __str__(self) -> str:
        told = (
            f"{self.name}: median regret {regret_text(self.median_regret)} over {counted(self.num_tasks, 'task')}; "
            f"better than never on {self.num_better}, worse on {self.num_worse}; at worst {self.worst_against_never:.3g} times "
            f"the loss of never ({self.worst_task})"
        )
        if self.as_never:
            told += f"; not measurable on {', '.join(self.as_never)}, where it counts as never"
        return f"{told}."


@dataclass(frozen=True)
class Across:
    """Policies over several tasks.

    Parameters
    ----------
    tasks : tuple of str
        In the order given.
    finishers : mapping of str to str
        The second phase on each task.
    policies : tuple of AcrossScore
        Least median regret first; "never" is among them.
    best_fixed : AcrossScore or None
        The best fixed epoch of each task, chosen on the other seeds: what somebody with a grid of runs on that task would
        have. None if some task has no grid.
    """

    tasks: tuple[str, ...]
    finishers: Mapping[str, str]
    policies: tuple[AcrossScore, ...]
    best_fixed: AcrossScore | None = None

    def __getitem__(self, name: str) -> AcrossScore:
        """The score of the policy of this name."""
        for score in self.policies:
            if score.name == name:
                return score
        raise KeyError(f"no policy {name!r}; there are {', '.join(score.name for score in self.policies)}")

    def __str__(self) -> str:
        shown = [*self.policies, *([self.best_fixed] if self.best_fixed else [])]
        return "\n".join(str(score) for score in shown)


def across(comparisons: Mapping[str, Comparison], finisher: str | None = None) -> Across:
    """Put several comparisons together, policy by policy.

    Parameters
    ----------
    comparisons : mapping of str to Comparison
        By the names of the tasks.
    finisher : str, optional
        The second phase; by default the first of each comparison.

    Returns
    -------
    Across

    Raises
    ------
    ValueError
        If no comparison is given, or one has no such finisher.

    Notes
    -----
    A policy that cannot be measured on a problem never swaps there, so it counts as never on that task: as neither better nor
    worse, with never's regret and a ratio of 1 (``as_never`` names these tasks). Left out instead, a policy that only works
    where problems are easy would look good. On a task whose comparison does not have the policy at all it is left out, and
    ``num_tasks`` says so. Tasks weigh alike, however many seeds they have.

    Holm's correction is for the policies of one task, so that each task has a false finding with a chance of 5 % at most; over
    T tasks as many as T / 20 of them must be expected.

    Examples
    --------
    >>> across({})
    Traceback (most recent call last):
        ...
    ValueError: no comparisons were given; needed is at least one, by the name of its task.
    """
    if not comparisons:
        raise ValueError("no comparisons were given; needed is at least one, by the name of its task.")
    finishers = {task: _finisher(task, comparison, finisher) for task, comparison in comparisons.items()}
    scores = {task: policy_scores(comparison, finishers[task]) for task, comparison in comparisons.items()}
    names = dict.fromkeys([NEVER, *(policy.name for each in comparisons.values() for policy in each.policies)])
    found = [_across(name, scores) for name in names]
    ordered = sorted(found, key=lambda score: (math.isnan(score.median_regret), score.median_regret))
    return Across(tuple(comparisons), finishers, tuple(ordered), _best_fixed(comparisons, finishers, scores))


def _finisher(task: str, comparison: Comparison, finisher: str | None) -> str:
    known = comparison.finishers
    if not known or finisher not in (None, *known):
        raise ValueError(
            f"finisher={finisher!r} was given, but on {task!r} policies swap to {', '.join(map(repr, known)) or 'none'}. Give "
            "one that all comparisons have, or none to take the first of each."
        )
    return known[0] if finisher is None else finisher


def _best_fixed(
    comparisons: Mapping[str, Comparison], finishers: Mapping[str, str], scores: Mapping[str, Sequence[PolicyScore]]
) -> AcrossScore | None:
    if not all(comparison.grid for comparison in comparisons.values()):
        return None
    fixed = {
        task: [*_named(NEVER, scores[task]), *_named(BEST_FIXED, reference_scores(comparison, finishers[task]))]
        for task, comparison in comparisons.items()
    }
    return _across(BEST_FIXED, fixed)


def _named(name: str, scores: Iterable[PolicyScore]) -> list[PolicyScore]:
    return [score for score in scores if score.name == name]


def _across(name: str, scores: Mapping[str, Sequence[PolicyScore]]) -> AcrossScore:
    found = {task: each[0] for task, of_task in scores.items() if (each := _named(name, of_task))}
    as_never = tuple(task for task, score in found.items() if score.verdict == "not asked")
    counted = {task: _named(NEVER, scores[task])[0] if task in as_never else score for task, score in found.items()}
    ratios = {task: score.ratio_to_never for task, score in counted.items()}
    worst = max(ratios, key=lambda task: ratios[task])
    return AcrossScore(
        name=name,
        claim=next(iter(found.values())).claim,
        median_regret=float(median([score.regret.estimate for score in counted.values()])),
        worst_against_never=ratios[worst],
        worst_task=worst,
        num_better=sum(score.verdict == "better than never" for score in counted.values()),
        num_worse=sum(score.verdict == "worse than never" for score in counted.values()),
        regrets={task: score.regret.estimate for task, score in counted.items()},
        ratios=ratios,
        as_never=as_never,
    )
