"""Figures as files: the same figure gives the same bytes."""

from __future__ import annotations

import io
import warnings
from collections.abc import Callable
from typing import Any

#: What the ending of a figure's file says.
FIGURE_FORMATS = ("svg", "pdf", "png")


def figure_bytes(draw: Callable[[], Any], kind: str) -> bytes:
    """Draw a figure and write it without a date or random names.

    Parameters
    ----------
    draw : callable
        Gives the matplotlib figure.
    kind : {"svg", "pdf", "png"}
        The format.

    Returns
    -------
    bytes
        Of the file.
    """
    import matplotlib as mpl

    undated = {"svg": {"Date": None}, "pdf": {"CreationDate": None}}.get(kind)
    buffer = io.BytesIO()
    with mpl.rc_context({"svg.hashsalt": "landscape", "svg.fonttype": "path"}), warnings.catch_warnings():
        # A name in letters that the font lacks is drawn with boxes; it stands in the tables, too.
        warnings.filterwarnings("ignore", message=r"Glyph .* missing from", category=UserWarning)
        draw().savefig(buffer, format=kind, dpi=200, metadata=undated)
    return buffer.getvalue()
