"""What the figures of a comparison share: its finisher, the arms that stand out, their looks, and medians with infinities."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from landscape.comparison.arm import Arm
from landscape.comparison.comparison import Comparison
from landscape.comparison.phrases import metric_name
from landscape.comparison.response import seeds_that_ran, worst_where_missing
from landscape.comparison.scores import PolicyScore, policy_scores
from landscape.comparison.statistics.location import median
from landscape.config import TrainConfig
from landscape.plots.diagnosed import plain_name
from landscape.plots.palette import INK, PHASES, UNKNOWN
from landscape.plots.series import Array
from landscape.policies.registry import build

#: Points of the letters in these figures.
FONT_SIZE = 8.0
#: "Never" and text; the fixed epochs; the policies; other finishers. All suit light and dark paper.
NEVER, FIXED, POLICY, CONTROL = INK, PHASES["first"].color, PHASES["second"].color, UNKNOWN.color
GREY = "#7a7a7a"
#: Policies that a figure of lines shows, at most.
MAX_POLICIES = 6
#: Colour and dashes of the policies that stand out, best first: told apart without colour, too.
POLICY_LOOKS: tuple[tuple[str, Any], ...] = (
    (POLICY, "solid"),
    ("#b0609a", (0, (6, 1.5))),
    ("#8a7000", (0, (3, 1.2))),
    (POLICY, (0, (1, 1))),
    ("#b0609a", (0, (6, 1.5, 1, 1.5))),
    ("#8a7000", (0, (1, 2))),
)
#: The same for controls.
_CONTROL_LOOKS: tuple[tuple[str, Any], ...] = (
    (CONTROL, "solid"),
    (CONTROL, (0, (5, 1.5))),
    (CONTROL, (0, (1, 1.2))),
    (GREY, "solid"),
    (GREY, (0, (5, 1.5))),
    (GREY, (0, (1, 1.2))),
)


@dataclass(frozen=True)
class Line:
    """An arm as a line of a figure.

    Parameters
    ----------
    name : str
        In a legend.
    arm : Arm
        Whose values are drawn.
    look : dict
        matplotlib's words for it.
    """

    name: str
    arm: Arm
    look: dict[str, Any]


def chosen_finisher(comparison: Comparison, finisher: str | None) -> str:
    """The finisher asked for, by default the first.

    Raises
    ------
    ValueError
        If the comparison has no such finisher.
    """
    if finisher is None and comparison.finishers:
        return comparison.finishers[0]
    if finisher is None or finisher not in comparison.finishers:
        raise ValueError(
            f"finisher={finisher!r} was given; the finishers of this comparison are "
            f"{', '.join(map(repr, comparison.finishers)) or 'none'}. Choose one of them."
        )
    return finisher


def raised(values: Array, floor: float) -> Array:
    """Losses below the floor as the floor; NaN stays NaN."""
    return np.maximum(values, floor)


def losses_of(comparison: Comparison, arm: Arm) -> Array:
    """What decides, for each seed that ran at all, floored; infinite where there is none."""
    losses: Array = raised(worst_where_missing(comparison.values(arm)), comparison.floor)
    return losses[seeds_that_ran(comparison)]


def swap_epochs(score: PolicyScore) -> tuple[int | None, ...]:
    """When a policy swapped, for each seed that it was asked with."""
    pairs = zip(score.swap_epochs, score.losses, strict=True)
    return tuple(epoch for epoch, loss in pairs if not np.isnan(loss))


def epochs_text(epochs: Sequence[float | None]) -> str:
    """When a policy swapped, over all seeds.

    Examples
    --------
    >>> epochs_text([3, 3]), epochs_text([2, 9, 4]), epochs_text([None, None]), epochs_text([5, None, 7])
    ('3', '4 (2–9)', 'never', '7 (5–never)')
    >>> epochs_text([6, None])
    '6–never'
    """
    if not epochs or all(epoch is None for epoch in epochs):
        return "never"
    known = [epoch for epoch in epochs if epoch is not None]
    ends = f"{min(known):g}", "never" if len(known) < len(epochs) else f"{max(known):g}"
    middle = float(median([np.inf if epoch is None else float(epoch) for epoch in epochs]))
    if np.isinf(middle):
        return f"{ends[0]}\N{EN DASH}never"
    return f"{middle:g}" if ends[0] == ends[1] else f"{middle:g} ({ends[0]}\N{EN DASH}{ends[1]})"


def best_fixed(comparison: Comparison, finisher: str) -> Arm | None:
    """The fixed swap epoch with the least median over seeds, the earliest of several; None without a grid."""
    ran = seeds_that_ran(comparison)
    if not comparison.grid or not ran.any():
        return None
    medians = median(worst_where_missing(comparison.grid_values(finisher)[:-1, ran]))
    return Arm("grid", finisher, epoch=comparison.grid[int(np.argmin(medians))])


def best_policies(comparison: Comparison, finisher: str, most: int = MAX_POLICIES) -> list[tuple[str, PolicyScore]]:
    """The policies with the least regret that ever swapped, each with its name in a legend.

    Those that swapped at the same epochs and ended at the same losses are one.
    """
    groups: dict[Any, list[PolicyScore]] = {}
    for score in policy_scores(comparison, finisher):
        if score.name == "never" or score.verdict == "not asked" or not score.num_swapped:
            continue
        groups.setdefault((score.swap_epochs, str(score.losses)), []).append(score)
    chosen = list(groups.values())[:most]
    return [(shared_name([score.name for score in scores]), scores[0]) for scores in chosen]


def shared_name(names: Sequence[str]) -> str:
    """Several names as one.

    Examples
    --------
    >>> shared_name(["race"]), shared_name(["race", "swats", "evidence"])
    ('race', 'race + 2 alike')
    >>> len(shared_name(["a-policy-with-a-long-name:and=settings", "swats"]))
    28
    """
    more = f" + {len(names) - 1} alike" if len(names) > 1 else ""
    return plain_name(names[0], most=28 - len(more)) + more


def lines_of(comparison: Comparison, finisher: str, most: int = MAX_POLICIES) -> list[Line]:
    """Never, the best fixed epoch, the best policies, and the trainer's default policy if it was compared."""
    lines = [Line("never", Arm("never"), {"color": NEVER, "linestyle": "solid", "linewidth": 2.0})]
    fixed = best_fixed(comparison, finisher)
    if fixed is not None:
        look = {"color": FIXED, "linestyle": "solid", "linewidth": 2.0}
        lines.append(Line(f"best fixed epoch, {fixed.epoch}", fixed, look))
    chosen = [(name, score.name) for name, score in best_policies(comparison, finisher, most)]
    default = default_policy(comparison)
    if default is not None and default not in [name for _, name in chosen]:
        chosen = [*chosen[: most - 1], (plain_name(default, most=28), default)]
    for (name, policy), (color, dashes) in zip(chosen, POLICY_LOOKS, strict=False):
        look = {"color": color, "linestyle": dashes, "linewidth": 1.4}
        lines.append(Line(name, Arm("policy", finisher, policy=policy), look))
    return lines


def default_policy(comparison: Comparison) -> str | None:
    """Name of the policy that ``landscape train`` takes by itself, if it was compared and could be asked."""
    settings = repr(build(TrainConfig().policy))
    for policy in comparison.policies:
        if policy.settings == settings or policy.name in ("default", "gradient-norm-peak (default)"):
            arms = [arm for arm in comparison.arms("policy") if arm.policy == policy.name]
            if arms and any(result.status != "unavailable" for result in comparison.of(arms[0])):
                return policy.name
    return None


def control_lines(comparison: Comparison) -> list[Line]:
    """What began with its finisher, and each control at its best epoch."""
    lines = []
    best: dict[str, Arm] = {}
    for arm in (*comparison.arms("control"), *comparison.arms("from start")):
        key = f"{arm.kind} {arm.finisher}"
        values = [float(median(losses_of(comparison, a))) for a in (arm, best.get(key, arm))]
        if key not in best or values[0] < values[1]:
            best[key] = arm
    for number, arm in enumerate(best.values()):
        color, dashes = _CONTROL_LOOKS[number % len(_CONTROL_LOOKS)]
        look = {"color": color, "linestyle": dashes, "linewidth": 1.2}
        lines.append(Line(plain_name(arm.name, most=34), arm, look))
    return lines


def interval_words(level: float) -> str:
    """What an interval of a median holds; empty where there is none, as with one seed.

    Examples
    --------
    >>> interval_words(0.9375), interval_words(0.0)
    ('94 % interval', '')
    """
    return f"{100 * level:.0f} % interval" if level > 0 else ""


def metric_words(comparison: Comparison) -> str:
    """The deciding value in words.

    Examples
    --------
    >>> metric_words(Comparison("", {}, 1.0, (), "train_loss", 0.0, (), (), (), (), ()))
    'training loss at the end'
    """
    return f"{metric_name(comparison.metric)} at the end"


def names_width(names: Sequence[str]) -> float:
    """Inches that the widest name takes, with a margin on both sides."""
    from matplotlib.font_manager import FontProperties
    from matplotlib.textpath import TextPath

    font = FontProperties(size=FONT_SIZE)
    widths = [TextPath((0, 0), name, prop=font).get_extents().width for name in names if name]
    return max(widths, default=0.0) / 72 + 0.2
