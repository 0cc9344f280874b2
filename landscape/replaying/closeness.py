"""How near a policy that did not fire came to it."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from landscape import policies as p
from landscape.policies.base import Decision, SwapPolicy

#: (checks that held in a row, distance from the threshold): more checks are nearer, then a smaller distance.
Closeness = tuple[float, float]

_Rule = Callable[[Any, Decision], "float | None"]

#: What the score of a decision is compared with. Policies that ask for a threshold in so many checks put it in the evidence.
_THRESHOLDS: dict[type, _Rule] = {
    p.GradientNormPeak: lambda policy, _: policy.factor,
    p.DualNormPeak: lambda policy, _: policy.factor,
    p.ScaleFreePeak: lambda policy, _: policy.factor,
    p.LayerwisePeak: lambda policy, _: policy.share,
    p.LossPlateau: lambda policy, _: policy.tau,
    p.GradientNormSlope: lambda _, __: 0.0,
    p.PflugTest: lambda _, __: 0.0,
    p.ReferenceConvexity: lambda _, __: 0.0,
    # The average of one rate is that rate: it says nothing.
    p.Swats: lambda policy, decision: policy.tolerance if decision.evidence.get("epochs", 0) > 1 else None,
    p.YaidaTest: lambda policy, _: policy.delta,
    p.DistanceSlope: lambda policy, _: policy.threshold,
    p.RestrictedSecant: lambda policy, _: policy.spread,
    p.PLRatio: lambda policy, _: 1 - policy.slack,
    p.Certified: lambda policy, _: None if policy.eps is None else -policy.eps,
    p.PrecisionSuffices: lambda _, decision: decision.evidence.get("floor"),
    # Their scores are shares of what is needed.
    p.AfterEpochs: lambda _, __: 1.0,
    p.BudgetShare: lambda _, __: 1.0,
    p.StepPrice: lambda _, __: 1.0,
    p.SearchFailures: lambda _, __: 1.0,
    p.Patience: lambda _, __: 1.0,
    p.Vote: lambda _, __: 1.0,
    p.AllOf: lambda _, __: 1.0,
    p.AnyOf: lambda _, __: 1.0,
    # They pass on the score of what they go around.
    p.Every: lambda policy, decision: threshold_of(policy.policy, decision),
    p.MinEpochs: lambda policy, decision: threshold_of(policy.policy, decision),
    p.Smooth: lambda policy, decision: threshold_of(policy.policy, decision),
    p.AfterWarmup: lambda policy, decision: threshold_of(policy.policy, decision),
    p.Deadline: lambda policy, decision: threshold_of(policy.policy, decision),
    p.WithSwapBack: lambda policy, decision: threshold_of(policy.policy, decision),
}


def threshold_of(policy: SwapPolicy, decision: Decision) -> float | None:
    """What the score of a decision was compared with; None if that is not known.

    A policy of one's own makes it known by an entry ``"threshold"`` in the evidence of its decisions.

    Examples
    --------
    >>> threshold_of(p.LossPlateau(tau=0.02), Decision(False, "the loss fell by 0.5 of itself", 0.5))
    0.02
    """
    rule = _THRESHOLDS.get(type(policy))
    value = rule(policy, decision) if rule is not None else decision.evidence.get("threshold")
    return None if value is None else float(value)


def closeness(policy: SwapPolicy, decision: Decision) -> Closeness | None:
    """How near a decision is to a swap, the greatest nearest; None where that has no meaning."""
    threshold = threshold_of(policy, decision)
    if threshold is None or not math.isfinite(decision.score):
        return None
    return float(decision.evidence.get("checks", 0.0)), -abs(decision.score - threshold)
