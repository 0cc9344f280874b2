"""Trackers by name, and by the columns that they record."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, cast

from landscape.problem import Problem
from landscape.specs import build_from, parse_spec, suggestion
from landscape.tracking.columns import members
from landscape.tracking.tracker import Measurement, Tracker
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

_KINDS: tuple[type[Measurement], ...] = (
    Loss,
    GradientNorm,
    ParameterNorm,
    Settings,
    DistanceFromStart,
    LastStep,
    AdamGradientNorm,
    LayerGradientNorms,
    LayerParameterNorms,
    BatchNorms,
    GradientVariance,
    MiniBatchTests,
    GradientAutocorrelation,
    Stationarity,
    GradientCurvature,
    UpdateCurvature,
    AdamCurvature,
    GaussNewtonGap,
    TrialCGCurvature,
    SymmetryCurvature,
    ExtremeEigenvalues,
    NegativeMass,
    GradientNegativeMass,
    CertificateOfConvexity,
    PreconditionedSharpness,
    SecantCurvature,
    LowerBoundGap,
    SegmentSecondDifference,
    ReferencePoint,
    TrialSearch,
    Race,
    FirstPhaseRate,
    ModelAgreement,
    RoundingFloor,
)

_TRACKERS: dict[str, Callable[..., Any]] = {kind.name: kind for kind in _KINDS}


class UnknownColumnError(ValueError):
    """A column that no tracker records."""


def names() -> tuple[str, ...]:
    """Names of the trackers that :func:`build` knows."""
    return tuple(_TRACKERS)


def build(spec: str, /, **settings: Any) -> Tracker:
    """Make a tracker by name.

    Parameters
    ----------
    spec : str
        A name, or a name with settings: ``"extreme-eigenvalues:every=10,rtol=0.05"``.
    **settings
        Further settings, which win over those in ``spec``.

    Raises
    ------
    ValueError
        If the name or a setting is not known, or a value is out of range.

    Examples
    --------
    >>> build("lower-bound-gap:every=2,window=4")
    LowerBoundGap(every=2, window=4)
    """
    name, given = parse_spec(spec)
    return cast(Tracker, build_from("tracker", _TRACKERS, name, {**given, **settings}))


def columns_of(name: str) -> frozenset[str]:
    """The columns that the tracker of a name records.

    Examples
    --------
    >>> sorted(columns_of("stationarity"))
    ['position_dot_gradient', 'update_square']
    """
    return build(name).records


def trackers_for(columns: Iterable[str], *, every: int | None = None) -> list[Tracker]:
    """The trackers, at their default settings, that record given columns: what a policy requires.

    Parameters
    ----------
    columns : iterable of str
        Names; ``name/*`` or a member of the family for a family.
    every : int, optional
        Epochs from one measurement to the next. Default: each tracker's own.

    Returns
    -------
    list of Tracker
        Each once, in the order of :func:`names`.

    Raises
    ------
    UnknownColumnError
        If nobody records a column; all such columns are named.

    Examples
    --------
    >>> [tracker.name for tracker in trackers_for({"lambda_min", "lambda_max", "loss"})]
    ['loss', 'extreme-eigenvalues']
    """
    wanted = sorted(columns)
    chosen: dict[str, None] = {}
    missing = []
    for column in wanted:
        family = f"{column.partition('/')[0]}/*" if "/" in column else column
        found = [kind.name for kind in _KINDS if members(family, sorted(kind.records))]
        chosen.update(dict.fromkeys(found))
        missing += [] if found else [column]
    if missing:
        known = sorted(frozenset[str]().union(*(kind.records for kind in _KINDS)))
        raise UnknownColumnError(
            f"no tracker records {', '.join(map(repr, missing))}.{suggestion(missing[0], known)} Known columns: "
            f"{', '.join(known)}."
        )
    settings: Mapping[str, Any] = {} if every is None else {"every": every}
    return [build(name, **settings) for name in names() if name in chosen]


def all_trackers(problem: Problem | None = None) -> list[Tracker]:
    """One of each, at their default settings: what "record everything" means.

    Parameters
    ----------
    problem : Problem, optional
        Leaves out what cannot be measured on it.

    Returns
    -------
    list of Tracker
        Without ``batch-norms``, whose columns a trainer's phases give by themselves, and without ``reference-point``,
        which needs a point.
    """
    made = [build(name) for name in names() if name not in (BatchNorms.name, ReferencePoint.name)]
    return [tracker for tracker in made if problem is None or tracker.unavailable(problem) is None]
