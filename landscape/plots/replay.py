"""When each policy would have fired: the run's signals above, one row of marks for each policy below."""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING, Any

import numpy as np

from landscape.plots.firings import FONT_SIZE, LETTERS, MARGIN, SWAP, draw_marks, names_width, rows_of
from landscape.plots.palette import INK
from landscape.plots.series import floats
from landscape.plots.signals import Panel, draw_panel, recorded_panels, scale_words
from landscape.replaying.result import Replay
from landscape.replaying.rows import epoch_at
from landscape.replaying.text import known_until
from landscape.tracking.history import History

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

#: Inches: a policy's row, a panel of signals, what lies between two of them, and a line of words.
_ROW, _PANEL, _GAP, _LINE = 0.148, 0.62, 0.24, 0.135


def plot_replay(replay: Replay, width: float = 5.0, *, log_epochs: bool = False) -> Figure:
    """Draw when each policy would have fired, below the signals of the run.

    Policies stand in groups by the claim that they test. A filled mark with its epoch says when a policy first fired; a hollow
    one at the right edge that it never did, or could not be asked, and why. The work spent by each epoch, recording
    included, stands below the epochs.

    Parameters
    ----------
    replay : Replay
        See :func:`landscape.replay`.
    width : float
        In inches, at least 3. Text has 8 points, so draw at the width at which the figure is going to be seen: 3.4 for a column
        of two.
    log_epochs : bool
        Epochs on a logarithmic axis, from 1: for many that fire early in a long run.

    Returns
    -------
    Figure
        As high as needed. Unknown to pyplot.

    Raises
    ------
    ValueError
        If the width is below 3 inches.

    Examples
    --------
    >>> from landscape.replaying.replay import replay
    >>> from landscape.tracking.history import History
    >>> rows = [{"epoch": t, "phase": "first", "loss": 2.0**-t, "gradient_norm": n} for t, n in enumerate([1.0, 2.0, 3.0, 2.0])]
    >>> figure = plot_replay(replay(History(rows), ["gradient-norm-peak", "never"]))
    >>> [label.get_text() for label in figure.axes[-1].get_yticklabels()]
    ['gradient-norm-peak', 'never']
    """
    from matplotlib.figure import Figure

    if not width >= 3:
        raise ValueError(f"width={width} was given; it must be at least 3 inches, or names and marks do not fit.")
    panels, rows = recorded_panels(replay.history), rows_of(replay, max_name=int(7 * width))
    title, notes = (textwrap.wrap(text, int(width * LETTERS)) for text in (_title(replay), _notes(replay)))
    above, below = 0.06 + _LINE * len(title) + _GAP, 0.45 + _LINE * len(notes)
    marks = max(len(rows), 1) * _ROW
    height = above + len(panels) * (_PANEL + _GAP) + marks + below
    figure = Figure(figsize=(width, height))
    left, right = max(names_width(rows), 1.1), width - 0.12
    lows = [height - above - _PANEL - i * (_PANEL + _GAP) for i in range(len(panels))]
    boxes = [(low, _PANEL) for low in lows] + [(below, marks)]
    all_axes = [figure.add_axes((left / width, b / height, (right - left) / width, h / height)) for b, h in boxes]
    first, last = _ends(replay, log=log_epochs)
    for axes in all_axes:
        _set_epochs(axes, first, last, log=log_epochs)
        _mark_phases(axes, replay)
        axes.tick_params(labelsize=FONT_SIZE, length=2.5, pad=2)
        axes.spines[["top", "right"]].set_visible(False)
    for axes, panel, low in zip(all_axes, panels, lows, strict=False):
        _draw_signals(axes, panel, replay.history, (first, last))
        if replay.swap_epoch is not None:
            axes.axvline(replay.swap_epoch, **SWAP)
        _write(figure, low + _PANEL / 2, scale_words(panel, axes), va="center")
    draw_marks(all_axes[-1], rows, replay.swap_epoch)
    _label_epochs(all_axes[-1], replay, below)
    _write(figure, height - 0.06, "\n".join(title), va="top")
    _write(figure, 0.05, "\n".join(notes), va="bottom")
    return figure


def _write(figure: Figure, height: float, text: str, **look: Any) -> None:
    """Text at the left edge, at a height in inches."""
    width, total = figure.get_size_inches()
    figure.text(MARGIN / width, height / total, text, fontsize=FONT_SIZE, linespacing=1.15, **look)


def _draw_signals(axes: Axes, panel: Panel, history: History, ends: tuple[float, float]) -> None:
    epochs = np.array([float(epoch_at(history, row)) for row in range(len(history))])
    shown = np.where((epochs >= ends[0]) & (epochs <= ends[1]), epochs, np.nan)
    draw_panel(axes, panel, history, shown, font_size=FONT_SIZE)
    axes.tick_params(labelbottom=False)


def _title(replay: Replay) -> str:
    known = known_until(replay).partition(":")[0].removesuffix(".")
    num = len(replay.outcomes)
    fired, never = (sum(1 for o in replay.outcomes if o.answer == answer) for answer in ("fired", "never"))
    counts = f"{fired} did, {never} never, {num - fired - never} could not be asked"
    return f"When each of {num} policies would first have fired: {counts}. {known}."


def _ends(replay: Replay, *, log: bool) -> tuple[float, float]:
    """The epochs that are drawn: those after which policies were asked, and the start."""
    last = epoch_at(replay.history, replay.asked[-1]) if replay.asked else 1
    return (1.0 if log else 0.0), float(max(last, 2 if log else 1))


def _set_epochs(axes: Axes, first: float, last: float, *, log: bool) -> None:
    """The same horizontal axis for all parts, with room at its end for hollow marks."""
    from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullLocator

    if log:
        axes.set_xscale("log")
        axes.xaxis.set_major_locator(LogLocator(subs=(1, 3) if last > 30 else (1, 2, 5)))
        axes.xaxis.set_minor_locator(NullLocator())
        axes.set_xlim(first / (last / first) ** 0.02, last * (last / first) ** 0.06)
    else:
        axes.xaxis.set_major_locator(MaxNLocator(nbins=4, integer=True))
        axes.set_xlim(first - 0.02 * (last - first), last + 0.06 * (last - first))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:.0f}"))


def _mark_phases(axes: Axes, replay: Replay) -> None:
    """Shade the second phases from which the run came back."""
    if replay.swap_row is None:
        return
    asked = [row for row in replay.asked if row > replay.swap_row]
    for before, row in zip([replay.swap_row, *asked], asked, strict=False):
        if row > before + 1:
            ends = epoch_at(replay.history, before), epoch_at(replay.history, row - 1)
            axes.axvspan(*ends, color=INK, alpha=0.08, linewidth=0, zorder=0)


def _notes(replay: Replay) -> str:
    """What the marks mean."""
    notes = ["Filled: fires for the first time, after the epoch beside it. Hollow: never, or not asked."]
    if replay.swap_row is not None:
        notes.append("Dashed: the run's own swap.")
    if any(o.hindsight for o in replay.outcomes):
        notes.append("\N{DAGGER} needs a finished run's end.")
    if any(o.after_swap for o in replay.outcomes):
        notes.append("* after a second phase (shaded).")
    return " ".join(notes)


def _label_epochs(axes: Axes, replay: Replay, below: float) -> None:
    """The epochs, and under each the work spent by then."""
    figure = axes.get_figure(root=True)
    assert figure is not None
    spent = floats(replay.history, "gradient_equivalents")
    known = np.isfinite(spent)
    words = "epoch"
    if known.any():
        epochs = np.array([float(epoch_at(replay.history, row)) for row in range(len(spent))])
        axes.xaxis.set_major_formatter(
            lambda tick, _: f"{tick:.0f}\n{np.interp(tick, epochs[known], spent[known]):,.4g}"
        )
        words = "epoch\nwork (GE)"
    _write(figure, below - 0.05, words, va="top")
