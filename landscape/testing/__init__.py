"""Contracts as checks that others can run on their own parts, and operators and problems whose answers are known."""

from landscape.testing.operators import check_operator
from landscape.testing.policies import check_policy
from landscape.testing.problems import (
    KNOWN_PROBLEMS,
    KnownProblem,
    function_problem,
    least_squares,
    logistic_regression,
    quadratic,
    saddle,
)
from landscape.testing.spectra import SPECTRA, KnownOperator, known_spectrum

__all__ = [
    "KNOWN_PROBLEMS",
    "SPECTRA",
    "KnownOperator",
    "KnownProblem",
    "check_operator",
    "check_policy",
    "function_problem",
    "known_spectrum",
    "least_squares",
    "logistic_regression",
    "quadratic",
    "saddle",
]
