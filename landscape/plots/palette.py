"""Colours and marks of the two phases, the same in every figure."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Look:
    """How a phase is drawn.

    Parameters
    ----------
    label : str
        Its name in a legend.
    color : str
        On white paper.
    variable : str
        CSS variable that may replace the colour in a page, so that a dark page can use a lighter one.
    marker : str
        matplotlib's name of its mark, for readers who do not see the colour.
    """

    label: str
    color: str
    variable: str
    marker: str


#: Text, axes and swap marks; a page replaces it by the colour of its own text.
INK = "#000000"

#: Blue and vermilion of Okabe and Ito's palette, which people with any common colour blindness can tell apart.
PHASES = {
    "first": Look("first phase", "#0072b2", "--first-phase", "o"),
    "second": Look("second phase", "#d55e00", "--second-phase", "s"),
}
#: For histories of others, which know no phases.
UNKNOWN = Look("training", "#009e73", "--other-phase", "o")


def look_of(phase: str) -> Look:
    """How a phase of this name is drawn."""
    return PHASES.get(phase, UNKNOWN)
