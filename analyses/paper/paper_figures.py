"""What the scripts of this folder share: their options, their data files, and the look of their figures."""

from __future__ import annotations

import argparse
import io
import json
import re
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from landscape.files import write_atomically
from landscape.plots.axes import finish, set_scale
from landscape.plots.palette import INK, PHASES, UNKNOWN
from landscape.tracking.history import from_json_value, json_value

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D

FOLDER = Path(__file__).parent / "output"
#: Width of a column of a two-column page in inches, and the size of the letters in it in points.
COLUMN_WIDTH = 3.5
FONT_SIZE = 8.0
DPI = 300  # of the PNG
#: So many digits are kept in a data file; the last bits of a float differ between machines.
DIGITS = 10

#: Okabe and Ito's palette: the colours of the package's figures first, then the other two that stand out on white.
COLORS = (PHASES["first"].color, PHASES["second"].color, UNKNOWN.color, "#cc79a7", "#e69f00")
GREY = "#767676"


@dataclass(frozen=True)
class Options:
    """Where results go, and whether the run is a small one."""

    out: Path
    tiny: bool


def options_of(description: str) -> Options:
    """Read the command line; in a notebook, which has none, take the defaults."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, help="folder for data and figures (default: output/, or output/tiny/)")
    parser.add_argument("--tiny", action="store_true", help="a small run, to see that it works")
    given = parser.parse_args([] if "ipykernel" in sys.modules else None)
    out = given.out or (FOLDER / "tiny" if given.tiny else FOLDER)
    out.mkdir(parents=True, exist_ok=True)
    return Options(out, given.tiny)


def write_data(path: Path, data: Any) -> None:
    """Write plain data as JSON, one line for each list of numbers."""
    text = json.dumps(_rounded(data), indent=1, allow_nan=False)
    lines = text.splitlines()
    write_atomically(path, ("\n".join(_joined(lines)) + "\n").encode())


def read_data(path: Path) -> Any:
    """Read what :func:`write_data` wrote."""
    return _restored(json.loads(path.read_text(encoding="utf-8")))


def _rounded(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _rounded(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_rounded(item) for item in value]
    return json_value(float(f"{value:.{DIGITS}g}")) if isinstance(value, float) else value


def _restored(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _restored(item) for key, item in value.items()}
    return [_restored(item) for item in value] if isinstance(value, list) else from_json_value(value)


def _joined(lines: Iterable[str]) -> list[str]:
    """Put the numbers of a list on the line on which the list begins."""
    joined: list[str] = []
    for line in lines:
        word = line.strip()
        if joined and not joined[-1].endswith(("{", "}", "},")) and word[0] in "-0123456789]":
            joined[-1] += word if joined[-1].endswith("[") or word[0] == "]" else " " + word
        else:
            joined.append(line)
    return joined


def new_figure(height: float, ratios: Sequence[float] = (1.0,), **subplots: Any) -> tuple[Figure, list[Axes]]:
    """A figure as wide as a column, unknown to pyplot, with one axes under the other."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(COLUMN_WIDTH, height), layout="constrained")
    axes = figure.subplots(len(ratios), 1, squeeze=False, height_ratios=ratios, **subplots)
    return figure, list(axes[:, 0])


def dress(axes: Axes, x_label: str, y_label: str, title: str = "", *, ticks: bool = True) -> None:
    """Labels, a grid, plain numbers at the ticks, and the letters in the size of a column."""
    import numpy as np

    if ticks:
        set_scale(axes, "x", np.zeros(0), log=False)
        set_scale(axes, "y", np.zeros(0), log=False)
    axes.set_xlabel(x_label)
    axes.set_ylabel(y_label)
    finish(axes, [])
    axes.set_title(title, loc="left", fontsize=FONT_SIZE)
    axes.xaxis.label.set_fontsize(FONT_SIZE)
    axes.yaxis.label.set_fontsize(FONT_SIZE)
    axes.tick_params(labelsize=FONT_SIZE)


def entry(label: str, **look: Any) -> Line2D:
    """A legend entry of its own."""
    from matplotlib.lines import Line2D

    return Line2D([], [], label=label, **{"color": INK, "linestyle": "none", "markersize": 5, **look})


def legend(target: Axes | Figure, handles: Sequence[Line2D], loc: Any, **settings: Any) -> None:
    """A legend without a frame in the size of a column."""
    target.legend(
        handles=list(handles),
        loc=loc,
        **{"frameon": False, "fontsize": FONT_SIZE, "handletextpad": 0.5, "columnspacing": 1.2, **settings},
    )


def draw_by_curvature(axes: Axes, x: Sequence[float], y: Sequence[float], convex: Sequence[bool], color: str) -> None:
    """A curve, thick where the loss is convex and thin and dashed where it is not."""
    import numpy as np

    inside = np.array(convex)
    beside = np.zeros_like(inside)
    beside[1:] |= inside[:-1] != inside[1:]
    # Both parts share the point where they meet, so that no gap is left.
    axes.plot(x, np.where(inside | beside, y, np.nan), color=color, linewidth=1.8, solid_capstyle="butt")
    axes.plot(x, np.where(~inside | beside, y, np.nan), color=color, linewidth=0.9, linestyle=(0, (3, 1.5)))


def curvature_entries() -> list[Line2D]:
    """What the two kinds of line mean."""
    return [
        entry("convex", linestyle="-", linewidth=1.8),
        entry("not convex", linestyle=(0, (3, 1.5)), linewidth=0.9),
    ]


def save_figure(figure: Figure, path: Path) -> None:
    """Write a figure as SVG and as PNG, the same bytes each time, small enough to be kept beside the code."""
    import matplotlib as mpl
    from PIL import Image

    text, pixels = io.StringIO(), io.BytesIO()
    with mpl.rc_context({"svg.hashsalt": "landscape", "svg.fonttype": "path"}):
        figure.savefig(text, format="svg", metadata={"Date": None})
        figure.savefig(pixels, format="png", dpi=DPI)
    # A hundredth of a point is finer than any print, where matplotlib writes millionths; indentation is a fifth of the file.
    short = re.sub(r'\bd="[^"]*"', lambda path: re.sub(r"(\.\d\d)\d+", r"\1", path.group()), text.getvalue())
    write_atomically(path.with_suffix(".svg"), re.sub(r"\n\s+", "\n", short).encode())
    # A line drawing needs few colours: 64 of them look the same as all, at a third of the size.
    Image.open(pixels).convert("RGB").quantize(64).save(path.with_suffix(".png"), optimize=True, dpi=(DPI, DPI))
