"""Second-phase optimisers: nonlinear conjugate gradients, its beta formulas and its line searches."""

from __future__ import annotations

from landscape.optim.beta import BETAS, BetaFormula
from landscape.optim.conjugate_gradient import ConjugateGradient
from landscape.optim.line_search import LINE_SEARCHES, GoldenSection, LineSearch, QuadraticSearch
from landscape.optim.step_result import Restart, StepResult

__all__ = [
    "BETAS",
    "LINE_SEARCHES",
    "BetaFormula",
    "ConjugateGradient",
    "GoldenSection",
    "LineSearch",
    "QuadraticSearch",
    "Restart",
    "StepResult",
]
