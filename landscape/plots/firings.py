"""One row of marks for each policy of a replay: when it fires, or why it does not."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from landscape.plots.palette import INK
from landscape.policies.base import CLAIMS
from landscape.replaying.result import Outcome, Replay

if TYPE_CHECKING:
    from matplotlib.axes import Axes

FONT_SIZE = 8.0
#: Inches between the figure's edge and its words.
MARGIN = 0.1
#: Letters that go into an inch, by and large.
LETTERS = 16
#: The line of the run's own swap.
SWAP: dict[str, Any] = {"color": INK, "linestyle": (0, (4, 3)), "linewidth": 0.8, "alpha": 0.7, "zorder": 1}
_GREY = "#595959"
#: Where hollow marks stand, as a share of the axis.
_EDGE = 0.985

#: Colour-blind safe and of different brightness; the mark tells the claim without colour.
_LOOKS: dict[str, tuple[str, str]] = {
    "A": ("#0072b2", "D"),
    "A'": ("#56b4e9", "d"),
    "B": ("#d55e00", "o"),
    "C": ("#009e73", "s"),
    "D": ("#cc79a7", "^"),
    "E": ("#e69f00", "v"),
    "several": ("#000000", "P"),
    "none": ("#595959", "X"),
}

#: The claims in the words of a heading; landscape.policies.CLAIMS has the full ones.
_HEADINGS = {
    "A": "claim A: no negative eigenvalue here",
    "A'": "claim A': negative eigenvalues are small",
    "B": "claim B: curvature \N{GREATER-THAN OR EQUAL TO} 0 along used directions",
    "C": "claim C: convex along the path",
    "D": "claim D: convex towards a reference point",
    "E": "claim E: gradient grows with the loss",
    "several": "several claims",
    "none": "no claim: clock, noise or outcome",
}


@dataclass(frozen=True)
class Row:
    """A line of the lower part: a group's heading, or a policy."""

    group: str
    name: str
    outcome: Outcome | None = None


def rows_of(replay: Replay, max_name: int) -> list[Row]:
    """Groups by claim, strongest first; in each, what fired by epoch, then what did not."""
    order = {"fired": 0, "never": 1}
    groups: dict[str, list[Outcome]] = {}
    for outcome in replay.outcomes:
        groups.setdefault(_group(outcome.claim), []).append(outcome)
    rows = []
    for group in sorted(groups, key=list(_LOOKS).index):
        rows.append(Row(group, _HEADINGS[group]))
        found = sorted(groups[group], key=lambda o: (order.get(o.answer, 2), o.row or 0))
        rows += [Row(group, _shown_name(outcome, max_name), outcome) for outcome in found]
    return rows


def names_width(rows: list[Row]) -> float:
    """Inches that the widest name takes, as it is going to be drawn."""
    from matplotlib.font_manager import FontProperties
    from matplotlib.textpath import TextPath

    font = FontProperties(size=FONT_SIZE)
    widths = [TextPath((0, 0), row.name, prop=font).get_extents().width for row in rows if row.outcome]
    return max(widths, default=0.0) / 72 + 0.16 + MARGIN


def draw_marks(axes: Axes, rows: list[Row], swap_epoch: int | None) -> None:
    """One line for each policy, from above to below."""
    import matplotlib.transforms as mtransforms

    figure = axes.get_figure(root=True)
    assert figure is not None
    across = mtransforms.blended_transform_factory(figure.transFigure, axes.transData)
    left = MARGIN / figure.get_size_inches()[0]
    axes.set_ylim(max(len(rows), 1) - 0.5, -0.5)
    axes.spines["left"].set_visible(False)
    for at, row in enumerate(rows):
        if row.outcome is None:
            look: dict[str, Any] = {"fontsize": FONT_SIZE, "va": "center_baseline", "weight": "bold"}
            axes.text(left, at, row.name, transform=across, **look)
            ends = 0.0
        else:
            ends = _draw_outcome(axes, at, row.outcome, _LOOKS[row.group])
        if swap_epoch is not None and _place(axes, swap_epoch) > ends:  # a line through words makes both hard to read
            axes.plot([swap_epoch] * 2, [at - 0.5, at + 0.5], **SWAP)
    named = [(at, row) for at, row in enumerate(rows) if row.outcome is not None]
    axes.set_yticks([at for at, _ in named], [row.name for _, row in named])
    axes.tick_params(axis="y", length=0)
    for label, (_, row) in zip(axes.get_yticklabels(), named, strict=True):
        if row.outcome is not None and row.outcome.answer not in ("fired", "never"):
            label.set_color(_GREY)


def _group(claim: str | None) -> str:
    if claim is None:
        return "none"
    return claim if claim in CLAIMS else "several"


def _shown_name(outcome: Outcome, most: int) -> str:
    """The name, without its middle if it is long, and with a sign for hindsight."""
    name = outcome.name
    if len(name) > most:
        name = f"{name[: most - most // 3 - 1]}\N{HORIZONTAL ELLIPSIS}{name[-(most // 3) :]}"
    return f"{name} \N{DAGGER}" if outcome.hindsight else name


def _draw_outcome(axes: Axes, at: int, outcome: Outcome, look: tuple[str, str]) -> float:
    """A filled mark with its epoch, or a hollow one at the edge with the reason; gives where the reason ends."""
    if outcome.answer == "fired" and outcome.epoch is not None:
        _draw_fired(axes, at, outcome, outcome.epoch, look)
        return 0.0
    color, marker = look
    asked = outcome.answer == "never"
    where = axes.get_yaxis_transform()
    axes.plot(
        [_EDGE],
        [at],
        transform=where,
        marker=marker if asked else "o",
        markerfacecolor="none",
        markeredgecolor=color if asked else _GREY,
        markeredgewidth=0.9,
        markersize=5 if asked else 3,
        linestyle="none",
        zorder=4,
        clip_on=False,
    )
    figure = axes.get_figure(root=True)
    assert figure is not None
    letters = axes.get_position().width * figure.get_size_inches()[0] * LETTERS
    note = _note(outcome, room=int(letters - 3))
    words: dict[str, Any] = {"color": _GREY, "va": "center_baseline", "fontsize": FONT_SIZE}
    axes.annotate(note, (0.0, at), xycoords=where, xytext=(4, 0), textcoords="offset points", **words)
    return float((3 + len(note)) / letters)


def _draw_fired(axes: Axes, at: int, outcome: Outcome, epoch: int, look: tuple[str, str]) -> None:
    color, marker = look
    axes.axhline(at, color=INK, alpha=0.12, linewidth=0.5, zorder=0)
    axes.plot([epoch], [at], marker=marker, color=color, markersize=5, linestyle="none", zorder=4)
    beyond = _place(axes, epoch) > 0.85
    axes.annotate(
        f"{epoch}{'*' if outcome.after_swap else ''}",
        (epoch, at),
        xytext=(-5 if beyond else 5, 0),
        textcoords="offset points",
        ha="right" if beyond else "left",
        va="center_baseline",
        fontsize=FONT_SIZE,
    )


def _note(outcome: Outcome, room: int) -> str:
    """Why there is no epoch, in as many letters as there is room for."""
    if outcome.answer == "never":
        notes = ["never"]
        if outcome.closest_epoch is not None:
            notes = [f"never, closest at {outcome.closest_epoch}", "never"]
    elif outcome.answer == "not recorded":
        num = len(outcome.missing)
        more = f" + {num - 1}" if num > 1 else ""
        notes = [f"needs {', '.join(outcome.missing)}", f"needs {outcome.missing[0]}{more}", "not recorded"]
    elif outcome.answer == "failed":
        notes = ["raised an error"]
    else:
        notes = ["needs a setting" if not outcome.settings else "no first phase"]
    return next((note for note in notes if len(note) <= room), notes[-1])


def _place(axes: Axes, epoch: float) -> float:
    """Where an epoch lies, as a share of the axis."""
    place: float = axes.transAxes.inverted().transform(axes.transData.transform((epoch, 0.0)))[0]
    return place
