"""Figures as text for the inside of a page."""

from __future__ import annotations

import hashlib
import html
import io
import re
from typing import TYPE_CHECKING

from landscape.plots.palette import INK, PHASES, UNKNOWN

if TYPE_CHECKING:
    from matplotlib.figure import Figure, SubFigure


def figure_svg(figure: Figure | SubFigure | None, description: str = "") -> str:
    """Write a figure as an ``<svg>`` element for the inside of an HTML page.

    The background is transparent. What is black takes the colour of the page's text (``currentColor``); the colours of
    the phases can be set by the page with the CSS variables ``--first-phase`` and ``--second-phase``. Letters are
    drawn as paths, so the figure looks the same whatever fonts the reader has. The same figure always gives the same
    text, and ids differ between figures, so that several fit in one page.

    Parameters
    ----------
    figure : Figure
        For instance ``plot_loss_against_cost(history).figure``.
    description : str
        Read out to those who cannot see the figure.

    Returns
    -------
    str
        The element, without XML header and without links to anything.

    Examples
    --------
    >>> from matplotlib.figure import Figure
    >>> figure_svg(Figure(figsize=(1, 1)))[:4]
    '<svg'
    """
    import matplotlib as mpl

    if figure is None or not hasattr(figure, "savefig"):
        raise ValueError(
            f"{figure!r} was given; needed is a whole matplotlib Figure, such as axes.get_figure(root=True)."
        )
    buffer = io.StringIO()
    with mpl.rc_context({"svg.hashsalt": "landscape", "svg.fonttype": "path", "path.simplify": False}):
        figure.savefig(buffer, format="svg", transparent=True, metadata={"Date": None})
    return _prepared(buffer.getvalue(), description)


def _prepared(document: str, description: str) -> str:
    """Cut the element out of the document, and make it fit for a page."""
    text = document[document.index("<svg") :]
    # The style element would speak to the whole page; the root's own style, below, says the same to its children.
    text = re.sub(r"<metadata>.*?</metadata>|<defs>\s*<style.*?</style>\s*</defs>", "", text, flags=re.DOTALL)
    text = re.sub(r'\s+xmlns(:\w+)?="[^"]*"', "", text).replace("xlink:href", "href")
    text = text.replace(INK, "currentColor")
    for look in (*PHASES.values(), UNKNOWN):
        text = text.replace(look.color, f"var({look.variable}, {look.color})")
    prefix = f"f{hashlib.sha256(text.encode()).hexdigest()[:8]}-"
    text = re.sub(r'(\sid="|url\(#|href="#)', lambda match: match.group() + prefix, text)
    # What has no colour of its own, above all the letters, takes the page's.
    root = f'<svg role="img" aria-label="{html.escape(description)}" fill="currentColor" style="stroke-linejoin: round"'
    return text.replace("<svg", root, 1).strip()
