"""Performance profiles: on which share of the seeds, or of tasks and seeds, an arm is within a factor of the best one."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from landscape.comparison.arm import Arm
from landscape.comparison.comparison import Comparison
from landscape.comparison.response import seeds_that_ran
from landscape.comparison.statistics.profiles import performance_profile
from landscape.plots.axes import FIGURE_SIZE, finish, say_nothing_to_draw
from landscape.plots.compared import (
    FIXED,
    FONT_SIZE,
    MAX_POLICIES,
    NEVER,
    POLICY_LOOKS,
    best_fixed,
    chosen_finisher,
    lines_of,
    losses_of,
    shared_name,
)
from landscape.plots.series import Array

if TYPE_CHECKING:
    from matplotlib.figure import Figure

#: An arm beyond this factor may as well not have arrived.
_LARGEST_FACTOR = 1e6


def plot_profiles(comparison: Comparison, finisher: str | None = None) -> Figure:
    """Draw on which share of the seeds an arm ends within a factor of the best arm with that seed.

    The best arm is that of all policies, fixed epochs and never. The higher a curve, the better; where it begins it says how
    often the arm is the best itself, and it never reaches 1 if it lost a seed.

    Parameters
    ----------
    comparison : Comparison
    finisher : str, optional
        The second phase. Default: the first of the comparison.

    Returns
    -------
    Figure
        Unknown to pyplot.

    Raises
    ------
    ValueError
        If the comparison has no such finisher.

    References
    ----------
    Dolan and More (2002), Mathematical Programming 91:201.
    """
    finisher = chosen_finisher(comparison, finisher)
    losses = _losses(comparison, finisher)
    looks = [(line.name, line.arm, line.look) for line in lines_of(comparison, finisher)]
    solvers = {arm.name: values for arm, values in losses.items()}
    drawn = [(name, arm.name, look) for name, arm, look in looks]
    return _figure(solvers, drawn, f"share of {int(seeds_that_ran(comparison).sum())} seeds")


def plot_profiles_across(comparisons: Mapping[str, Comparison], finisher: str | None = None) -> Figure:
    """Draw the profiles over all pairs of a task and a seed.

    A policy that could not be asked on a task counts as never there; one that was not compared on all tasks is left out. The
    best fixed epoch is another one on each task, known only afterwards.

    Parameters
    ----------
    comparisons : mapping of str to Comparison
        By task.
    finisher : str, optional
        The second phase. Default: the first of each comparison.

    Returns
    -------
    Figure
        Unknown to pyplot.

    Raises
    ------
    ValueError
        If a comparison has no such finisher.
    """
    parts = [_by_role(comparison, chosen_finisher(comparison, finisher)) for comparison in comparisons.values()]
    if not parts:
        return _figure({}, [], "share of tasks and seeds")
    shared = [name for name in parts[0] if all(name in part for part in parts)]
    solvers = {name: np.concatenate([part[name] for part in parts]) for name in shared}
    looks: list[tuple[str, str, dict[str, Any]]] = [
        ("never", "never", {"color": NEVER, "linewidth": 2.0}),
        ("best fixed epoch of each task", "fixed", {"color": FIXED, "linewidth": 2.0}),
    ]
    num = len(next(iter(solvers.values())))
    for name, (color, dashes) in zip(_best_policies(solvers), POLICY_LOOKS, strict=False):
        label = shared_name([other.removeprefix("policy: ") for other in name])
        looks.append((label, name[0], {"color": color, "linestyle": dashes, "linewidth": 1.4}))
    drawn = [entry for entry in looks if entry[1] in solvers]
    return _figure(solvers, drawn, f"share of {num} pairs of task and seed")


def _losses(comparison: Comparison, finisher: str) -> dict[Arm, Array]:
    """Floored, of every arm that competes; policies that were not asked do not."""
    arms = [Arm("never"), *comparison.arms("grid", finisher), *comparison.arms("policy", finisher)]
    asked = [arm for arm in arms if any(result.status != "unavailable" for result in comparison.of(arm))]
    return {arm: losses_of(comparison, arm) for arm in asked}


def _by_role(comparison: Comparison, finisher: str) -> dict[str, Array]:
    """Never, the best fixed epoch, and every policy: over the least loss of each seed, so that tasks can be pooled."""
    losses = _losses(comparison, finisher)
    never = losses[Arm("never")]
    roles = {"never": never}
    fixed = best_fixed(comparison, finisher)
    if fixed is not None:
        roles["fixed"] = losses[fixed]
    for policy in comparison.policies:
        roles[f"policy: {policy.name}"] = losses.get(Arm("policy", finisher, policy=policy.name), never)
    least = np.min(list(losses.values()), axis=0)
    return {name: _over(values, least) for name, values in {**roles, "least": least}.items()}


def _over(values: Array, least: Array) -> Array:
    """The ratio to the least; 1 where both are 0 or infinite."""
    ratio = np.ones(len(values))
    differs = values != least
    ratio[differs] = np.where(
        least[differs] > 0, values[differs] / np.where(least[differs] > 0, least[differs], 1.0), math.inf
    )
    return ratio


def _best_policies(solvers: Mapping[str, Array]) -> list[list[str]]:
    """Names of the policies that are nearest to the best on the whole, those with equal values together."""
    groups: dict[Any, list[str]] = {}
    for name, values in solvers.items():
        if name.startswith("policy: ") and not np.array_equal(values, solvers["never"]):
            groups.setdefault(tuple(values), []).append(name)
    ranked = sorted(groups.items(), key=lambda group: float(np.mean(np.log(np.minimum(group[0], _LARGEST_FACTOR)))))
    return [names for _, names in ranked[:MAX_POLICIES]]


def _figure(solvers: Mapping[str, Array], drawn: list[tuple[str, str, dict[str, Any]]], words: str) -> Figure:
    from matplotlib.figure import Figure

    figure = Figure(figsize=FIGURE_SIZE, layout="constrained")
    axes = figure.subplots()
    if not solvers or not drawn:
        say_nothing_to_draw(axes, "no arm was compared")
        return figure
    least = np.min(list(solvers.values()), axis=0)
    ratios = np.concatenate([_over(solvers[key], least) for _, key, _ in drawn])
    finite = ratios[ratios <= _LARGEST_FACTOR]
    last = max(float(finite.max()) if len(finite) else 2.0, 1.2) ** 1.05
    factors = np.unique([1.0, *finite, last])  # where some curve steps
    profile = performance_profile(dict(solvers), factors)
    handles = []
    for label, key, look in drawn:
        shares = profile.share(key)
        handles += axes.step(factors, shares, where="post", label=label, **look)
    axes.set_xscale("log")
    _tick(axes, last)
    axes.set_xlim(1.0, last)
    axes.set_ylim(-0.02, 1.04)
    axes.yaxis.set_major_formatter(lambda value, _: f"{100 * value:.0f} %")
    axes.set_xlabel("within this factor of the best arm")
    axes.set_ylabel(words)
    finish(axes, [])
    figure.legend(
        handles=handles, loc="outside upper left", ncols=2, frameon=False, fontsize=FONT_SIZE, handlelength=2.8
    )
    return figure


def _tick(axes: Any, last: float) -> None:
    from matplotlib.ticker import LogLocator, NullLocator

    subs = (1.0, 1.2, 1.5, 2.0, 3.0, 5.0, 7.0) if last < 10 else (1.0, 2.0, 5.0) if last < 200 else (1.0,)
    axes.xaxis.set_major_locator(LogLocator(subs=subs))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:,.6g}")
