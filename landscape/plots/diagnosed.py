"""Findings of several diagnoses as things to draw: which, in which colour, under which name, and on which signed axis."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from landscape.diagnosis.diagnosis import Diagnosis
from landscape.diagnosis.finding import Finding
from landscape.plots.axes import LARGEST
from landscape.plots.palette import INK, PHASES, UNKNOWN
from landscape.plots.series import Array

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

#: What curves up, and what curves down: blue and vermilion, as in the rest of the palette.
POSITIVE, NEGATIVE = PHASES["first"].color, PHASES["second"].color
#: Colour and mark of each model. The first three follow the page's scheme, the others suit light and dark paper.
LOOKS = (
    (PHASES["first"].color, "o"),
    (PHASES["second"].color, "s"),
    (UNKNOWN.color, "D"),
    ("#b0609a", "^"),
    ("#8a7000", "v"),
    ("#7a7a7a", "P"),
)
#: Values that span more than this factor are drawn on a logarithmic axis with both signs.
SPAN = 100.0
#: Powers of ten that such an axis shows on one side of 0, at most.
MAX_DECADES = 6
#: Numbers under such an axis on one side of 0, at most.
MAX_TICKS = 3
#: Letters of a name in a figure.
MAX_NAME = 24
CURVATURE_WORDS = "loss / parameter\N{SUPERSCRIPT TWO}"


@dataclass(frozen=True)
class Drawn:
    """A finding of one of the diagnoses.

    Parameters
    ----------
    name : str
        Of the diagnosis, fit for a figure.
    color, marker : str
        The same in every figure.
    finding : Finding
        Measured.
    diagnosis : Diagnosis
        That it belongs to.
    """

    name: str
    color: str
    marker: str
    finding: Finding
    diagnosis: Diagnosis


def drawn(diagnoses: Sequence[Diagnosis], key: str) -> list[Drawn]:
    """The findings of this key that were measured, in the order of the diagnoses."""
    found = []
    for index, diagnosis in enumerate(diagnoses):
        color, marker = LOOKS[index % len(LOOKS)]
        for finding in diagnosis.findings:
            if finding.key == key and finding.is_measured:
                found.append(Drawn(plain_name(diagnosis.name), color, marker, finding, diagnosis))
    return found


def plain_name(name: str, most: int = MAX_NAME) -> str:
    """A name from outside as matplotlib may have it: on one line, without its middle if it is long, never mathematics.

    Examples
    --------
    >>> plain_name("a very long name of a layer.weight", most=16)
    'a very lon…eight'
    """
    name = " ".join(str(name).encode(errors="backslashreplace").decode().split())
    name = "".join(letter if letter.isprintable() else "\N{REPLACEMENT CHARACTER}" for letter in name)
    if len(name) > most:
        name = f"{name[: most - most // 3 - 1]}\N{HORIZONTAL ELLIPSIS}{name[-(most // 3) :]}"
    return name.replace("$", r"\$")


def numbers(values: Iterable[Any]) -> Array:
    """As an array; what is none, or no number, is NaN."""
    return np.array([float(v) if isinstance(v, (int, float)) else math.nan for v in values], dtype=float)


def signed(value: float, digits: int = 3) -> str:
    """A number with a minus sign as long as a plus.

    Examples
    --------
    >>> signed(-0.01234), signed(float("-inf"))
    ('−0.0123', '−∞')
    """
    text = "\N{INFINITY}" if math.isinf(value) else f"{abs(value):.{digits}g}"
    return "NaN" if math.isnan(value) else ("\N{MINUS SIGN}" if value < 0 else "") + text


def bare_figure(height: float, width: float = 5.0) -> Figure:
    """A figure unknown to pyplot, in inches."""
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), layout="constrained")


def set_signed_scale(
    axes: Axes,
    which: Literal["x", "y"],
    values: Array,
    linear_range: float | None = None,
    *,
    span: float = SPAN,
    zero: bool = True,
) -> bool:
    """Scale an axis for values of both signs, logarithmic on either side of 0 where they span much.

    Parameters
    ----------
    axes : Axes
    which : {"x", "y"}
    values : array
        What is going to be drawn; what is not finite is left out.
    linear_range : float, optional
        Where the axis turns from linear to logarithmic. Default: from the smallest of the values, at most ``MAX_DECADES``
        powers of ten below the greatest.
    span : float
        Without ``linear_range``, sizes that differ by more than this factor get a logarithmic axis.
    zero : bool
        Whether 0 gets a line.

    Returns
    -------
    bool
        Whether it is logarithmic.
    """
    from matplotlib.ticker import FixedLocator, FuncFormatter, MaxNLocator, NullLocator

    axis = axes.xaxis if which == "x" else axes.yaxis
    sizes = np.abs(values[np.isfinite(values) & (np.abs(values) <= LARGEST) & (values != 0)])
    top = float(sizes.max()) if len(sizes) else 1.0
    log = linear_range is not None or bool(len(sizes) and top > span * float(sizes.min()))
    if log:
        reach = max(float(sizes.min()), top * 10.0**-MAX_DECADES) if linear_range is None else linear_range
        set_scale = axes.set_xscale if which == "x" else axes.set_yscale
        set_scale("symlog", linthresh=reach, linscale=0.25)
        axis.set_major_locator(FixedLocator(_ticks(reach, values)))
        axis.set_minor_locator(NullLocator())
    else:
        axis.set_major_locator(MaxNLocator(nbins=5))
    axis.set_major_formatter(FuncFormatter(lambda value, _: signed(value, 6) if value else "0"))
    if zero:
        line = axes.axvline if which == "x" else axes.axhline
        line(0.0, color=INK, linewidth=0.7, alpha=0.7, zorder=1)
    return log


def _ticks(reach: float, values: Array) -> list[float]:
    """0 and a few powers of ten on each side that has values."""
    ticks = [0.0]
    for sign in (-1.0, 1.0):
        side = np.abs(values[np.isfinite(values) & (np.sign(values) == sign)])
        if not len(side) or side.max() < reach:
            continue
        low, high = math.ceil(math.log10(reach) - 1e-9), math.floor(math.log10(float(side.max())) + 0.1)
        if high <= low:  # hardly a power of ten in between: a round number near the end says more
            ticks.append(sign * float(f"{side.max():.0e}"))
            continue
        step = math.ceil((high - low + 1) / MAX_TICKS)
        ticks += [sign * 10.0**power for power in range(high, low - 1, -step)]
    return sorted(ticks)


def close_frame(axes: Axes) -> None:
    """Rows without a left edge: names stand beside them."""
    axes.spines[["left"]].set_visible(False)
    axes.tick_params(axis="y", length=0)
