"""The recorded signals of a run over its epochs, one panel for each unit."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

from landscape.plots.axes import drawable, set_scale, wants_log
from landscape.plots.series import Array, floats, thin
from landscape.tracking.history import History

if TYPE_CHECKING:
    from matplotlib.axes import Axes

#: Blue, vermilion, bluish green, reddish purple and orange of Okabe and Ito's palette; dashes tell them apart without colour.
LOOKS = (
    ("#0072b2", "-"),
    ("#d55e00", (0, (4, 1.2))),
    ("#009e73", (0, (1.2, 1))),
    ("#cc79a7", (0, (5, 1, 1, 1))),
    ("#e69f00", (0, (7, 2))),
)


@dataclass(frozen=True)
class Panel:
    """Signals of one unit.

    Parameters
    ----------
    label : str
        What they are, with their unit, for the axis.
    signals : mapping of str to str
        Columns, with the words of the legend.
    scale : {"log", "signed", "share"}
        Logarithmic where that says more; logarithmic on both sides of 0; or linear from 0.
    """

    label: str
    signals: dict[str, str]
    scale: Literal["log", "signed", "share"]


PANELS = (
    Panel("loss", {"loss": "over all data", "loss_running": "mean of the epoch's batches"}, "log"),
    Panel(
        "gradient norm\n(loss/param.)",
        {
            "gradient_norm": "full",
            "gradient_norm_mean_batch": "mean of batches'",
            "gradient_norm_batch_mean": "of batches' mean",
        },
        "log",
    ),
    Panel("dual norm\n(\N{SQUARE ROOT}loss)", {"gradient_norm_adam": "\N{SQUARE ROOT}g'Pg, in Adam's metric"}, "log"),
    Panel(
        "curvature\n(loss/param.\N{SUPERSCRIPT TWO})",
        {
            "curvature_gradient": "gradient",
            "curvature_update": "update",
            "curvature_adam": "Adam",
            "trial_cg_curvature": "trial CG",
            "secant_curvature": "secant",
        },
        "signed",
    ),
    Panel(
        "eigenvalues\n(loss/param.\N{SUPERSCRIPT TWO})",
        {
            "lambda_min": "smallest",
            "lambda_max": "largest",
            "certificate_lower": "bound",
            "symmetry_curvature": "symmetry",
        },
        "signed",
    ),
    Panel(
        "negative share",
        {"negative_mass": "of eigenvalues", "gradient_negative_mass": "of |g|\N{SUPERSCRIPT TWO}"},
        "share",
    ),
)


def recorded_panels(history: History) -> list[Panel]:
    """The panels with the signals that a history holds; none without any.

    Examples
    --------
    >>> [panel.signals for panel in recorded_panels(History([{"epoch": 1, "lambda_min": -0.5}]))]
    [{'lambda_min': 'smallest'}]
    """
    panels = []
    for panel in PANELS:
        held = {name: words for name, words in panel.signals.items() if np.isfinite(floats(history, name)).any()}
        if panel.label == "loss" and "loss" in held:
            held.pop("loss_running", None)  # it follows the other one closely, and hides it
        if held:
            panels.append(Panel(panel.label, held, panel.scale))
    return panels


def draw_panel(axes: Axes, panel: Panel, history: History, x: Array, *, font_size: float) -> None:
    """Draw the signals of a panel over ``x``, with their legend above; the horizontal axis must be set before."""
    # Only what lies within the axis decides the scale.
    inside = np.isfinite(x)
    columns = {name: np.where(inside, drawable(floats(history, name), log=False), np.nan) for name in panel.signals}
    both = np.concatenate(list(columns.values()))
    both = both[np.isfinite(both)]
    log = panel.scale == "log" and wants_log(both)
    for (name, values), (color, dashes) in zip(columns.items(), LOOKS, strict=False):
        shown = drawable(values, log=log)
        rows = np.flatnonzero(np.isfinite(shown))
        rows = thin(rows, shown, share=1 / len(columns))
        few = {"marker": ".", "markersize": 3.0} if len(rows) <= 30 else {}
        axes.plot(x[rows], shown[rows], color=color, linestyle=dashes, linewidth=1.0, label=panel.signals[name], **few)  # type: ignore[arg-type]
    if panel.scale == "signed":
        _sign_axis(axes, both)
    else:
        set_scale(axes, "y", both, log=log)
        if panel.scale == "share":
            axes.set_ylim(bottom=0)
    keep_apart(axes, font_size)
    axes.legend(
        loc="lower right",
        bbox_to_anchor=(1.0, 0.98),
        ncols=len(columns),
        frameon=False,
        fontsize=font_size,
        borderaxespad=0.0,
        borderpad=0.1,
        handlelength=1.3,
        handletextpad=0.25,
        columnspacing=0.55,
    )


def scale_words(panel: Panel, axes: Axes) -> str:
    """What a panel shows, in which unit, on which scale."""
    return panel.label + {"log": "\nlog scale", "symlog": "\nsigned log scale"}.get(axes.get_yscale(), "")


def keep_apart(axes: Axes, font_size: float) -> None:
    """Keep those ticks of the vertical axis whose numbers do not cover each other: 0 first, then round ones."""
    from matplotlib.ticker import FixedLocator

    low, high = sorted(axes.get_ylim())
    ticks = [float(tick) for tick in axes.yaxis.get_majorticklocs() if low <= tick <= high]
    kept: list[float] = []
    figure = axes.get_figure(root=True)
    assert figure is not None
    apart = 1.15 * font_size / 72 * figure.dpi
    for tick in sorted(ticks, key=_roundness):
        height = axes.transData.transform((1.0, tick))[1]
        if all(abs(height - axes.transData.transform((1.0, other))[1]) >= apart for other in kept):
            kept.append(tick)
    axes.yaxis.set_major_locator(FixedLocator(sorted(kept)))


def _roundness(tick: float) -> tuple[int, float]:
    """0 comes first, then powers of ten, the largest first."""
    if tick == 0:
        return 0, 0.0
    exponent = float(np.log10(abs(tick)))
    return (1 if abs(exponent - round(exponent)) < 1e-9 else 2), -abs(tick)


def _sign_axis(axes: Axes, values: Array) -> None:
    """Both signs on one axis, logarithmic beyond a threshold where the sizes span much; 0 is marked."""
    from matplotlib.ticker import FuncFormatter, MaxNLocator, SymmetricalLogLocator

    sizes = np.abs(values[values != 0])
    if len(sizes) and sizes.max() > 30 * np.quantile(sizes, 0.1):
        # Linear within the smaller tenth of the sizes, at most three powers of ten below the greatest.
        threshold = 10.0 ** float(np.floor(np.log10(max(np.quantile(sizes, 0.1), sizes.max() / 1e3))))
        axes.set_yscale("symlog", linthresh=threshold, linscale=0.5)
        locator = SymmetricalLogLocator(base=10, linthresh=threshold)
        locator.set_params(numticks=20)
        axes.yaxis.set_major_locator(locator)
        axes.minorticks_off()
    else:
        axes.yaxis.set_major_locator(MaxNLocator(nbins=4))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:.6g}".replace("-", "\N{MINUS SIGN}")))
    axes.axhline(0.0, color="#000000", linewidth=0.6, alpha=0.6, zorder=1)
