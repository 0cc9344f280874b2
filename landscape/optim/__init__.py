"""Second-phase optimisers over all parameters at once: their directions, line searches and preconditioners."""

from __future__ import annotations

from landscape.optim.beta import BETAS, BetaFormula
from landscape.optim.conjugate_gradient import ConjugateGradient
from landscape.optim.descent import DescentOptimizer
from landscape.optim.lbfgs import LBFGS
from landscape.optim.line_search import (
    LINE_SEARCHES,
    Brent,
    GoldenSection,
    HagerZhang,
    LineSearch,
    QuadraticSearch,
    StrongWolfe,
)
from landscape.optim.newton_cg import NewtonCG
from landscape.optim.preconditioner import PRECONDITIONERS, Preconditioner
from landscape.optim.ssbroyden import SelfScaledBroyden
from landscape.optim.step_result import Restart, StepResult

__all__ = [
    "BETAS",
    "LBFGS",
    "LINE_SEARCHES",
    "PRECONDITIONERS",
    "BetaFormula",
    "Brent",
    "ConjugateGradient",
    "DescentOptimizer",
    "GoldenSection",
    "HagerZhang",
    "LineSearch",
    "NewtonCG",
    "Preconditioner",
    "QuadraticSearch",
    "Restart",
    "SelfScaledBroyden",
    "StepResult",
    "StrongWolfe",
]
