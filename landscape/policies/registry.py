"""Policies by name, for the command line and for configuration files."""

from __future__ import annotations

from typing import Any, cast

from landscape.policies.base import SwapPolicy
from landscape.policies.gradient_norm import GradientNormPeak
from landscape.policies.schedule import AfterEpochs, Never
from landscape.policies.search import SearchFailures
from landscape.specs import build_from, parse_spec

_REGISTRY: dict[str, type[Any]] = {
    "gradient-norm-peak": GradientNormPeak,
    "after-epochs": AfterEpochs,
    "never": Never,
    "search-failures": SearchFailures,
}


def names() -> tuple[str, ...]:
    """Names that :func:`build` knows."""
    return tuple(_REGISTRY)


def build(spec: str, /, **settings: Any) -> SwapPolicy:
    """Make a policy by name.

    Parameters
    ----------
    spec : str
        A name, or a name with settings: ``"gradient-norm-peak:factor=0.8,norm=full"``.
    **settings
        Further settings, which win over those in ``spec``.

    Raises
    ------
    ValueError
        If the name or a setting is not known, or a value is out of range.

    Examples
    --------
    >>> build("gradient-norm-peak", norm="mean_batch", min_epochs=2)
    GradientNormPeak(factor=0.9, min_epochs=2, norm='mean_batch', require_rise=False)
    """
    name, given = parse_spec(spec)
    return cast(SwapPolicy, build_from("policy", _REGISTRY, name, {**given, **settings}))
