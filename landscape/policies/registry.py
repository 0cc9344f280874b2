"""Policies by name, for the command line and for configuration files."""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Callable, Mapping
from typing import Any, cast

from landscape.policies import plugins
from landscape.policies.base import SwapPolicy
from landscape.policies.certified import Certified
from landscape.policies.combinations import AllOf, AnyOf, Vote, WithSwapBack
from landscape.policies.curvature import DirectionalCurvature, GaussNewtonShare, ModelAgreement, TrialCurvature
from landscape.policies.custom import FunctionPolicy
from landscape.policies.description import Description, describe_factory
from landscape.policies.dual_norm import DualNormPeak
from landscape.policies.every import Every
from landscape.policies.expressions import Expression, Joined, Named, parse
from landscape.policies.gradient_norm import GradientNormPeak
from landscape.policies.loss import LossPlateau
from landscape.policies.noise import Evidence, NoiseScale, NormTest
from landscape.policies.path import MonotoneGradient, NoPathWitness, SegmentConvexity
from landscape.policies.precision import PrecisionSuffices
from landscape.policies.race import Race, TrialSearch
from landscape.policies.reference import PLRatio, ReferenceConvexity, RestrictedSecant
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
from landscape.specs import build_from, parse_spec, suggestion

Factory = Callable[..., Any]

_POLICIES: dict[str, Factory] = {
    "gradient-norm-peak": GradientNormPeak,
    "after-epochs": AfterEpochs,
    "budget-share": BudgetShare,
    "never": Never,
    "step-price": StepPrice,
    "search-failures": SearchFailures,
    "loss-plateau": LossPlateau,
    "gradient-norm-slope": GradientNormSlope,
    "dual-norm-peak": DualNormPeak,
    "scale-free-peak": ScaleFreePeak,
    "layerwise-peak": LayerwisePeak,
    "swats": Swats,
    "noise-scale": NoiseScale,
    "norm-test": NormTest,
    "evidence": Evidence,
    "pflug-test": PflugTest,
    "yaida-test": YaidaTest,
    "distance-slope": DistanceSlope,
    "directional-curvature": DirectionalCurvature,
    "model-agreement": ModelAgreement,
    "gauss-newton-share": GaussNewtonShare,
    "trial-curvature": TrialCurvature,
    "monotone-gradient": MonotoneGradient,
    "no-path-witness": NoPathWitness,
    "segment-convexity": SegmentConvexity,
    "reference-convexity": ReferenceConvexity,
    "restricted-secant": RestrictedSecant,
    "pl-ratio": PLRatio,
    "trial-search": TrialSearch,
    "race": Race,
    "eigenvalue-ratio": EigenvalueRatio,
    "negative-mass": NegativeMass,
    "gradient-negative-mass": GradientNegativeMass,
    "certified": Certified,
    "edge-of-stability": EdgeOfStability,
    "no-symmetry-witness": NoSymmetryWitness,
    "precision-suffices": PrecisionSuffices,
}

#: Around one policy, around several, and around one for each direction.
_AROUND_ONE: dict[str, Factory] = {
    "patience": Patience,
    "min-epochs": MinEpochs,
    "every": Every,
    "smooth": Smooth,
    "after-warmup": AfterWarmup,
    "deadline": Deadline,
}
_AROUND_MANY: dict[str, Factory] = {"all-of": AllOf, "any-of": AnyOf, "vote": Vote}
_AROUND_TWO: dict[str, Factory] = {"with-swap-back": WithSwapBack}
_WRAPPERS = {**_AROUND_ONE, **_AROUND_MANY, **_AROUND_TWO}

_CUSTOM: dict[str, FunctionPolicy] = {}


def names() -> tuple[str, ...]:
    """Names of the policies that :func:`build` knows: landscape's, one's own, and those of installed packages.

    A policy of another package that cannot be loaded is left out, with a warning that names it.
    """
    return (*_POLICIES, *_CUSTOM, *_working_plugins())


def wrapper_names() -> tuple[str, ...]:
    """Names of what goes around policies."""
    return tuple(_WRAPPERS)


def build(spec: str, /, **settings: Any) -> SwapPolicy:
    """Make a policy by name.

    Parameters
    ----------
    spec : str
        A name, or a name with settings: ``"gradient-norm-peak:factor=0.8,norm=full"``. A first setting that is a number
        needs no key: ``"after-epochs:300"``. What a wrapper goes around stands in parentheses, several separated by ``;``:
        ``"patience:3(loss-plateau)"``, ``"vote:2(a; b; c)"``, ``"with-swap-back(a; search-failures)"``. Policies are joined by
        ``&`` (all of them, binds tighter) and ``|`` (any of them). A shell needs quotes around parentheses, ``&`` and ``|``.
    **settings
        Further settings of the outermost name, which win over those in ``spec``.

    Raises
    ------
    ValueError
        If the name or a setting is not known, a value is out of range, or the expression is not complete.

    Examples
    --------
    >>> build("gradient-norm-peak", norm="mean_batch", min_epochs=2)
    GradientNormPeak(factor=0.9, min_epochs=2, norm='mean_batch', require_rise=False)
    >>> build("patience:2(loss-plateau:window=5) & monotone-gradient").claim
    'C'
    """
    return _build(parse(spec), settings)


def describe(name: str) -> Description:
    """What a policy is, claims, reads and takes.

    Parameters
    ----------
    name : str
        A name of :func:`names` or :func:`wrapper_names`.

    Examples
    --------
    >>> print(describe("monotone-gradient"))
    monotone-gradient: Swap once the gradient has been monotone from checkpoint to checkpoint, several times in a row.
      claim: C (the loss is convex along the path that was walked)
      reads: secant_curvature
      settings: mu=0.0, checks=3
    """
    custom = _CUSTOM.get(name)
    factory = custom.function if custom is not None else _factory(name)
    return describe_factory(name, factory, custom)


def register(name: str, policy: FunctionPolicy) -> None:
    """Let :func:`build` know a policy of one's own; one of the same name, from a cell that is run again, is replaced.

    Raises
    ------
    ValueError
        If the name is that of one of landscape's own policies, or cannot be written in a spec.
    """
    if name in _POLICIES or name in _WRAPPERS:
        raise ValueError(f"name={name!r} is the name of one of landscape's own policies. Choose another one.")
    if not name or any(character in "&|;(),:= " for character in name):
        raise ValueError(f"name={name!r} was given; it must be free of blanks and of & | ; ( ) , : =")
    _CUSTOM[name] = policy


def _build(expression: Expression, settings: Mapping[str, Any]) -> SwapPolicy:
    if isinstance(expression, Joined):
        if settings:
            listed = ", ".join(settings)
            raise ValueError(f"{listed} was given beside policies joined by {expression.sign}: put it in the text.")
        parts = tuple(_build(part, {}) for part in expression.parts)
        return AllOf(parts) if expression.sign == "&" else AnyOf(parts)
    name = expression.spec.partition(":")[0].strip()
    factory = _factory(name)
    given = {**_settings(expression.spec, factory), **settings, **_inner(name, expression)}
    return cast(SwapPolicy, build_from("policy", {name: factory}, name, given))


def _inner(name: str, expression: Named) -> dict[str, Any]:
    """The policies in the parentheses as arguments of the wrapper ``name``."""
    inner = tuple(_build(part, {}) for part in expression.inner)
    if name in _AROUND_MANY:
        if not inner:
            raise ValueError(f"policy {name!r} goes around several policies: write {name}(a; b; c).")
        return {"policies": inner}
    most = 1 if name in _AROUND_ONE else 2 if name in _AROUND_TWO else 0
    if most and not inner:
        raise ValueError(f"policy {name!r} goes around a policy: write {name}(gradient-norm-peak).")
    if len(inner) > most:
        around = f"at most {most}" if most else "no other policy; what does: " + ", ".join(_WRAPPERS)
        raise ValueError(f"policy {name!r} was given {len(inner)} policies in parentheses; it goes around {around}.")
    return dict(zip(("policy", "swap_back"), inner, strict=False))


def _settings(spec: str, factory: Factory) -> dict[str, Any]:
    """The settings in a spec; a number without a key goes to the first setting."""
    name, colon, rest = spec.partition(":")
    first, comma, others = rest.partition(",")
    if _is_number(first):
        keys = [key for key in inspect.signature(factory).parameters if key not in ("policy", "policies")]
        if not keys:
            raise ValueError(f"policy {name.strip()!r} takes no setting, but {first.strip()!r} was given.")
        rest = f"{keys[0]}={first}{comma}{others}"
    return parse_spec(f"{name}{colon}{rest}")[1]


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _factory(name: str) -> Factory:
    if name in _POLICIES or name in _WRAPPERS:
        return _POLICIES.get(name) or _WRAPPERS[name]
    if name in _CUSTOM:
        return _custom_factory(_CUSTOM[name])
    points = plugins.found()
    if name in points:
        return _as_factory(plugins.load(points[name]))
    known = [*_POLICIES, *_WRAPPERS, *_CUSTOM, *points]
    raise ValueError(f"unknown policy {name!r}.{suggestion(name, known)} Known: {', '.join(known)}.")


def _as_factory(loaded: Factory) -> Factory:
    return _custom_factory(loaded) if isinstance(loaded, FunctionPolicy) else loaded


def _custom_factory(policy: FunctionPolicy) -> Factory:
    """A function that makes the policy with settings, with the signature of those."""

    def make(**settings: Any) -> FunctionPolicy:
        return policy.with_settings(**settings)

    make.__signature__ = inspect.Signature(list(policy.parameters().values()))  # type: ignore[attr-defined]
    return make


def _working_plugins() -> list[str]:
    """Names of the entry points that load; the others are warned of."""
    working = []
    for name, point in plugins.found().items():
        if name in _POLICIES or name in _WRAPPERS or name in _CUSTOM:
            warnings.warn(
                f"policy {name!r} = {point.value!r} of another package is left out: the name is taken.", stacklevel=3
            )
            continue
        try:
            plugins.load(point)
        except plugins.BrokenPluginError as error:
            warnings.warn(str(error), stacklevel=3)
        else:
            working.append(name)
    return working
