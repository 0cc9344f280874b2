"""What can be recorded along a run: one tracker for each group of columns that are measured together."""

from landscape.tracking.trackers.curvature import (
    AdamCurvature,
    GaussNewtonGap,
    GradientCurvature,
    SymmetryCurvature,
    TrialCGCurvature,
    UpdateCurvature,
)
from landscape.tracking.trackers.noise import GradientVariance, MiniBatchTests
from landscape.tracking.trackers.path import LowerBoundGap, SecantCurvature, SegmentSecondDifference
from landscape.tracking.trackers.precision import RoundingFloor
from landscape.tracking.trackers.reference import ReferencePoint
from landscape.tracking.trackers.registry import (
    UnknownColumnError,
    all_trackers,
    build,
    columns_of,
    names,
    trackers_for,
)
from landscape.tracking.trackers.second_phase import FirstPhaseRate, ModelAgreement, Race, TrialSearch
from landscape.tracking.trackers.spectrum import (
    CertificateOfConvexity,
    ExtremeEigenvalues,
    GradientNegativeMass,
    NegativeMass,
    PreconditionedSharpness,
)
from landscape.tracking.trackers.steps import BatchNorms, GradientAutocorrelation, LastStep, Stationarity
from landscape.tracking.trackers.values import (
    AdamGradientNorm,
    DistanceFromStart,
    GradientNorm,
    LayerGradientNorms,
    LayerParameterNorms,
    Loss,
    ParameterNorm,
    Settings,
)

__all__ = [
    "AdamCurvature",
    "AdamGradientNorm",
    "BatchNorms",
    "CertificateOfConvexity",
    "DistanceFromStart",
    "ExtremeEigenvalues",
    "FirstPhaseRate",
    "GaussNewtonGap",
    "GradientAutocorrelation",
    "GradientCurvature",
    "GradientNegativeMass",
    "GradientNorm",
    "GradientVariance",
    "LastStep",
    "LayerGradientNorms",
    "LayerParameterNorms",
    "Loss",
    "LowerBoundGap",
    "MiniBatchTests",
    "ModelAgreement",
    "NegativeMass",
    "ParameterNorm",
    "PreconditionedSharpness",
    "Race",
    "ReferencePoint",
    "RoundingFloor",
    "SecantCurvature",
    "SegmentSecondDifference",
    "Settings",
    "Stationarity",
    "SymmetryCurvature",
    "TrialCGCurvature",
    "TrialSearch",
    "UnknownColumnError",
    "UpdateCurvature",
    "all_trackers",
    "build",
    "columns_of",
    "names",
    "trackers_for",
]
