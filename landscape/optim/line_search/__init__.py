"""Searches for a step size along a direction: a common line object, and one module for each search."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

from landscape.optim.line_search.bracketing import NR_XTOL
from landscape.optim.line_search.brent import Brent
from landscape.optim.line_search.golden import GoldenSection
from landscape.optim.line_search.hager_zhang import HagerZhang
from landscape.optim.line_search.line import Line, LineSearch, SearchResult, Trial
from landscape.optim.line_search.quadratic import QuadraticSearch
from landscape.optim.line_search.strong_wolfe import StrongWolfe


def _without_xtol(search: Callable[..., LineSearch]) -> Callable[..., LineSearch]:
    """A search that stops by conditions on the slope: a tolerance of step sizes has no meaning there."""

    def make(**settings: Any) -> LineSearch:
        settings.pop("xtol", None)
        return search(**settings)

    return make


LINE_SEARCHES: Mapping[str, Callable[..., LineSearch]] = MappingProxyType(
    {
        "quadratic": QuadraticSearch,
        "golden": GoldenSection,
        "brent": Brent,
        "hager-zhang": _without_xtol(HagerZhang),
        "strong-wolfe": _without_xtol(StrongWolfe),
    }
)
"""Short names of the searches, as ``ConjugateGradient(line_search=...)`` takes them.

Called with the settings ``xtol`` and ``max_evaluations``; ``"hager-zhang"`` and ``"strong-wolfe"`` stop by conditions on
the slope and ignore the first.
"""

__all__ = [
    "LINE_SEARCHES",
    "NR_XTOL",
    "Brent",
    "GoldenSection",
    "HagerZhang",
    "Line",
    "LineSearch",
    "QuadraticSearch",
    "SearchResult",
    "StrongWolfe",
    "Trial",
]
