"""Searches for a step size along a direction: a common line object, and one module for each search."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType

from landscape.optim.line_search.golden import NR_XTOL, GoldenSection
from landscape.optim.line_search.line import Line, LineSearch, SearchResult, Trial
from landscape.optim.line_search.quadratic import QuadraticSearch

LINE_SEARCHES: Mapping[str, Callable[..., LineSearch]] = MappingProxyType(
    {"quadratic": QuadraticSearch, "golden": GoldenSection}
)
"""Short names of the searches, as ``ConjugateGradient(line_search=...)`` takes them; called with their settings."""

__all__ = [
    "LINE_SEARCHES",
    "NR_XTOL",
    "GoldenSection",
    "Line",
    "LineSearch",
    "QuadraticSearch",
    "SearchResult",
    "Trial",
]
