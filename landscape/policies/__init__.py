"""When to leave one optimiser for another: pure functions of what a run has recorded."""

from landscape.policies.base import (
    CLAIMS,
    Decision,
    MissingColumnError,
    SwapPolicy,
    check_requirements,
    claim_of,
    needs_hindsight,
    reads_clock,
)
from landscape.policies.certified import Certified, delta_at
from landscape.policies.combinations import AllOf, AnyOf, Vote, WithSwapBack, all_of, any_of, vote
from landscape.policies.curvature import DirectionalCurvature, GaussNewtonShare, ModelAgreement, TrialCurvature
from landscape.policies.custom import FunctionPolicy, policy
from landscape.policies.description import Description
from landscape.policies.dual_norm import DualNormPeak
from landscape.policies.every import Every
from landscape.policies.gradient_norm import GradientNormPeak
from landscape.policies.loss import LossPlateau
from landscape.policies.noise import Evidence, NoiseScale, NormTest
from landscape.policies.path import MonotoneGradient, NoPathWitness, SegmentConvexity
from landscape.policies.plugins import BrokenPluginError
from landscape.policies.precision import PrecisionSuffices
from landscape.policies.race import Race, TrialSearch
from landscape.policies.reference import PLRatio, ReferenceConvexity, RestrictedSecant
from landscape.policies.registry import build, describe, names, wrapper_names
from landscape.policies.scale_free import LayerwisePeak, ScaleFreePeak
from landscape.policies.schedule import AfterEpochs, BudgetShare, Never
from landscape.policies.search import SearchFailures
from landscape.policies.slope import GradientNormSlope
from landscape.policies.spectrum import (
    EdgeOfStability,
    EigenvalueRatio,
    GradientNegativeMass,
    NegativeMass,
    NoSymmetryWitness,
)
from landscape.policies.stationarity import DistanceSlope, PflugTest, YaidaTest
from landscape.policies.step import Swats
from landscape.policies.step_price import StepPrice
from landscape.policies.wrappers import AfterWarmup, Deadline, MinEpochs, Patience, Smooth

__all__ = [
    "CLAIMS",
    "AfterEpochs",
    "AfterWarmup",
    "AllOf",
    "AnyOf",
    "BrokenPluginError",
    "BudgetShare",
    "Certified",
    "Deadline",
    "Decision",
    "Description",
    "DirectionalCurvature",
    "DistanceSlope",
    "DualNormPeak",
    "EdgeOfStability",
    "EigenvalueRatio",
    "Every",
    "Evidence",
    "FunctionPolicy",
    "GaussNewtonShare",
    "GradientNegativeMass",
    "GradientNormPeak",
    "GradientNormSlope",
    "LayerwisePeak",
    "LossPlateau",
    "MinEpochs",
    "MissingColumnError",
    "ModelAgreement",
    "MonotoneGradient",
    "NegativeMass",
    "Never",
    "NoPathWitness",
    "NoSymmetryWitness",
    "NoiseScale",
    "NormTest",
    "PLRatio",
    "Patience",
    "PflugTest",
    "PrecisionSuffices",
    "Race",
    "ReferenceConvexity",
    "RestrictedSecant",
    "ScaleFreePeak",
    "SearchFailures",
    "SegmentConvexity",
    "Smooth",
    "StepPrice",
    "SwapPolicy",
    "Swats",
    "TrialCurvature",
    "TrialSearch",
    "Vote",
    "WithSwapBack",
    "YaidaTest",
    "all_of",
    "any_of",
    "build",
    "check_requirements",
    "claim_of",
    "delta_at",
    "describe",
    "names",
    "needs_hindsight",
    "policy",
    "reads_clock",
    "vote",
    "wrapper_names",
]
