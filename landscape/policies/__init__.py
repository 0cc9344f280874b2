"""When to leave one optimiser for another: pure functions of what a run has recorded."""

from landscape.policies.base import Decision, MissingColumnError, SwapPolicy
from landscape.policies.gradient_norm import GradientNormPeak
from landscape.policies.registry import build, names
from landscape.policies.schedule import AfterEpochs, Never
from landscape.policies.search import SearchFailures

__all__ = [
    "AfterEpochs",
    "Decision",
    "GradientNormPeak",
    "MissingColumnError",
    "Never",
    "SearchFailures",
    "SwapPolicy",
    "build",
    "names",
]
