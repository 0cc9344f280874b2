"""Training loss against work of the arms that stand out: what each way of spending the budget bought on the way."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from landscape.comparison.arm import ArmResult
from landscape.comparison.comparison import Comparison
from landscape.comparison.response import seeds_that_ran
from landscape.comparison.statistics.location import median
from landscape.plots.axes import drawable, finish, say_nothing_to_draw, set_scale, wants_log
from landscape.plots.compared import FONT_SIZE, chosen_finisher, control_lines, lines_of, raised
from landscape.plots.series import Array

if TYPE_CHECKING:
    from matplotlib.figure import Figure

#: Places on the axis of work at which curves are read.
_PLACES = 161
#: Policies in this figure, at most.
_POLICIES = 3


def plot_curves(comparison: Comparison, finisher: str | None = None, seed: int | None = None) -> Figure:
    """Draw the training loss against the work spent, of never, the best fixed epoch, the best policies, and controls.

    Without a seed, the median over seeds at every amount of work. A seed that ended before the budget was spent keeps its last
    loss; one that diverged or crashed counts as infinite from there on.

    Parameters
    ----------
    comparison : Comparison
    finisher : str, optional
        The second phase. Default: the first of the comparison.
    seed : int, optional
        Draw this one alone.

    Returns
    -------
    Figure
        Unknown to pyplot.

    Raises
    ------
    ValueError
        If the comparison has no such finisher or seed.
    """
    from matplotlib.figure import Figure

    finisher = chosen_finisher(comparison, finisher)
    if seed is not None and seed not in comparison.seeds:
        raise ValueError(
            f"seed={seed!r} was given; the seeds of this comparison are {', '.join(map(str, comparison.seeds))}. Choose one."
        )
    figure = Figure(figsize=(5.0, 4.1), layout="constrained")
    axes = figure.subplots()
    work = np.linspace(0.0, comparison.budget, _PLACES)
    seeds = [
        s for s, ran in zip(comparison.seeds, seeds_that_ran(comparison), strict=True) if seed in (None, s) and ran
    ]
    found = []
    for line in (*lines_of(comparison, finisher, most=_POLICIES), *control_lines(comparison)):
        results = [result for result in comparison.of(line.arm) if result.seed in seeds]
        loss = median_curve(results, work, comparison.floor)
        if np.isfinite(loss).any():
            found.append((line, loss))
    if not found:
        say_nothing_to_draw(axes, "no curve was kept")
        return figure
    values = np.concatenate([loss for _, loss in found])
    log = wants_log(values)
    set_scale(axes, "y", values, log=log)
    handles = []
    for line, loss in found:
        look: dict[str, Any] = line.look
        handles += axes.plot(work, drawable(loss, log=log), label=line.name, **look)
    axes.set_xlim(0.0, comparison.budget)
    axes.set_xlabel("work spent, measurements included (GE)")
    axes.set_ylabel("training loss, median of seeds" if seed is None else f"training loss, seed {seed}")
    finish(axes, [])
    figure.legend(
        handles=handles, loc="outside upper left", ncols=2, frameon=False, fontsize=FONT_SIZE, handlelength=2.8
    )
    return figure


def median_curve(results: list[ArmResult], work: Array, floor: float) -> Array:
    """The median over seeds of the loss at each amount of work; NaN where half of the seeds have not begun.

    Examples
    --------
    >>> from landscape.comparison.arm import Arm
    >>> one = ArmResult(Arm("never"), 0, "finished", curve=((0.0, 4.0), (2.0, 2.0)))
    >>> two = ArmResult(Arm("never"), 1, "diverged", curve=((0.0, 2.0), (2.0, 2.0)))
    >>> median_curve([one, two], np.array([0.0, 1.0, 3.0]), 0.0).tolist()
    [3.0, 2.5, inf]
    """
    kept = [result for result in results if result.curve]
    if not kept:
        return np.full(len(work), np.nan)
    curves = np.stack([_read(result, work) for result in kept], axis=1)
    begun = ~np.isnan(curves)
    lines = np.array(
        [float(median(row[known])) if known.any() else np.nan for row, known in zip(curves, begun, strict=True)]
    )
    lines[2 * begun.sum(axis=1) < len(results)] = np.nan
    return raised(lines, floor)


def _read(result: ArmResult, work: Array) -> Array:
    """One seed's loss at each amount of work."""
    spent, losses = (np.array(column, dtype=np.float64) for column in zip(*result.curve, strict=True))
    order = np.argsort(spent, kind="stable")
    spent, losses = spent[order], losses[order]
    failed = result.status in ("diverged", "crashed")
    finite = np.where(np.isnan(losses), np.inf, losses)
    values: Array = np.interp(work, spent, np.where(np.isinf(finite), np.nan, finite), left=np.nan)
    values[np.isnan(values) & (work >= spent[0])] = np.inf
    return np.where((work > spent[-1]) & failed, np.inf, values)
