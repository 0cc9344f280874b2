"""Changes of variables for second-phase optimisers: Adam's diagonal, measured curvature, or one's own."""

from __future__ import annotations

from landscape.optim.preconditioner.choose import PRECONDITIONERS, as_preconditioner, restored, saved
from landscape.optim.preconditioner.diagonal import DiagonalPreconditioner, from_adam
from landscape.optim.preconditioner.function import AsymmetricPreconditionerError, FunctionPreconditioner
from landscape.optim.preconditioner.measure import PreconditionedOperator, ritz_preconditioner
from landscape.optim.preconditioner.protocol import Preconditioner
from landscape.optim.preconditioner.ritz import RitzPreconditioner
from landscape.optim.preconditioner.second_moment import SecondMoment, second_moments

__all__ = [
    "PRECONDITIONERS",
    "AsymmetricPreconditionerError",
    "DiagonalPreconditioner",
    "FunctionPreconditioner",
    "PreconditionedOperator",
    "Preconditioner",
    "RitzPreconditioner",
    "SecondMoment",
    "as_preconditioner",
    "from_adam",
    "restored",
    "ritz_preconditioner",
    "saved",
    "second_moments",
]
