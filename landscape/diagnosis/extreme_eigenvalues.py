"""Findings about the ends of the spectrum: the certificate, and what it means."""

from __future__ import annotations

import math
from dataclasses import replace

from torch import Tensor

from landscape.diagnosis.finding import Finding, Outlook, not_measured
from landscape.diagnosis.titles import CLAIM_OF, CURVATURE, TITLES
from landscape.diagnosis.workbench import FEW_SAMPLES, Workbench
from landscape.probes.certificate.certificate import Certificate, Verdict
from landscape.probes.certificate.certify import certify
from landscape.probes.certificate.interval import MAX_DEFECT
from landscape.vectors import norm

#: An eigenvalue above minus this share of the largest one passes for "not negative".
EPS = 1e-3
KEYS = ("lambda_min", "lambda_max", "ratio")
#: Below this share of the largest eigenvalue, negative curvature is small enough for a damped or line-search method.
MILD = 0.05


def extreme_eigenvalues(bench: Workbench) -> list[Finding]:
    """Smallest and largest eigenvalue and their signed ratio, from one Lanczos run and what is known besides."""
    _ = bench.witness  # charged before the products are counted out
    found = certify(
        bench.hessian,
        eps=EPS,
        restarts=bench.level.certificate_restarts,
        max_matvecs=_allowed(bench),
        early=False,
        generator=bench.generator(1),
        callback=lambda *_: bench.tick(),
    )
    bench.certificate = found = _strengthened(found, bench)
    if math.isnan(found.ritz_value):
        return _unknown(found)
    return [_lambda_min(found), _lambda_max(found), _ratio(found)]


def _strengthened(found: Certificate, bench: Workbench) -> Certificate:
    """The certificate with what the gradient's Ritz values and symmetries say of lambda_max and lambda_min.

    Every Ritz value lies between the extreme eigenvalues, whatever its start, and a random one may see little of the ends
    in a few steps. The lower bound stays as it is: it rests on the random start alone.
    """
    if math.isnan(found.ritz_value):
        return found
    measured = found.upper
    if bench.highest > found.lambda_max:
        found = replace(found, lambda_max=bench.highest, lambda_max_upper=max(found.lambda_max_upper, bench.highest))
    if bench.lowest < found.ritz_value and bench.lowest + bench.ritz_error < 0.0:
        found = _lowered(found, bench.lowest, bench.ritz_error, None, "It was seen from the gradient, as a Ritz value.")
    if found.direction is not None:
        bench.along_direction = measured
    proof = bench.witness
    if proof is not None and proof.upper is not None and proof.upper < found.upper:
        told = f"Proven by {proof.symmetry.kind} symmetry ({', '.join(proof.symmetry.names)}) from the gradient alone."
        found = _lowered(found, proof.curvature, proof.error, proof.direction / norm(proof.direction), told)
        bench.along_direction = proof.upper
    if found.verdict is Verdict.UNDECIDED and found.is_above and found.orthogonality_defect <= MAX_DEFECT:
        found = replace(found, verdict=Verdict.ABOVE, failure_probability=found.failure_of_bounds, steps_needed=None)
    return replace(found, ratio=found.ritz_value / found.lambda_max if found.lambda_max > 0 else math.nan)


def _lowered(found: Certificate, value: float, error: float, direction: Tensor | None, told: str) -> Certificate:
    """A certificate of negative curvature that was found by other means."""
    return replace(
        found,
        verdict=Verdict.NEGATIVE,
        upper=min(found.upper, value + error),
        lower=min(found.lower, value - error),
        ritz_value=value,
        error=error,
        direction=found.direction if direction is None and found.verdict is Verdict.NEGATIVE else direction,
        failure_probability=0.0,
        steps_needed=None,
        conditions=(told, *found.conditions),
    )


def _allowed(bench: Workbench) -> int:
    """Products for one start: what the level's target leaves, at least a third of what it asks for, within the budget."""
    level = bench.level
    left = level.target - bench.spent - bench.reserved - bench.price_of_hessian
    wanted = level.certificate_products
    if bench.problem.num_samples >= FEW_SAMPLES:
        wanted = min(wanted, max(level.least_certificate_products, _products(left, bench)))
    allowed = wanted
    if math.isfinite(bench.remaining):
        allowed = min(wanted, _products(bench.remaining - bench.price_of_hessian, bench))
        bench.was_shortened |= allowed < wanted
    return max(2, allowed)


def _products(gradient_equivalents: float, bench: Workbench) -> int:
    return math.floor(max(0.0, gradient_equivalents) / (2.0 * bench.level.certificate_restarts))


def _unknown(found: Certificate) -> list[Finding]:
    """Products that are no numbers have no eigenvalues."""
    return [not_measured(key, TITLES[key], CLAIM_OF.get(key, ""), str(found.status)) for key in KEYS]


def _lambda_min(found: Certificate) -> Finding:
    if found.verdict is Verdict.ABOVE or found.is_above:
        outlook, step = Outlook.FAVOURABLE, "A second-order method with a line search is at home here."
    elif found.verdict is Verdict.NEGATIVE:
        outlook = Outlook.UNFAVOURABLE
        step = "Compare it with the largest one, with other data, and with where the gradient points: below."
    else:
        outlook, step = Outlook.UNDECIDED, "Measure at a higher level, with a larger budget, or in float64."
    told = ""
    if found.verdict is Verdict.NEGATIVE and found.is_above:
        told = f" That is not below -{found.eps:g} of the largest eigenvalue, so next to nothing."
    details = {
        "lower": found.lower,
        "upper": found.upper,
        "ritz_value": found.ritz_value,
        "verdict": found.verdict.name,
        "eps": found.eps,
        "delta": found.delta,
        "failure_probability": found.failure_probability,
        "num_matvecs": found.num_matvecs,
        "restarts": found.restarts,
        "error": found.error,
        "conditions": list(found.conditions),
    }
    return Finding(
        "lambda_min",
        TITLES["lambda_min"],
        "A",
        outlook,
        f"{found.claim}{told}",
        value=found.ritz_value,
        error=found.error,
        interval=(found.lower, found.upper),
        unit=CURVATURE,
        threshold=-found.eps * max(found.lambda_max, 0.0),
        threshold_text=f"negative below -{found.eps:g} lambda_max",
        status=str(found.status),
        next_step=step,
        details=details,
    )


def _lambda_max(found: Certificate) -> Finding:
    value, upper = found.lambda_max, found.lambda_max_upper
    bound = f"it is at most {upper:.4g}, except with probability {found.failure_of_bounds:.2g}"
    if not math.isfinite(upper):
        bound = "an upper bound is not known"
    if value > found.error:
        meaning = (
            f"The sharpest direction found curves by {value:.4g}; {bound}. Gradient descent with a learning rate above "
            f"{2 / value:.2g} overshoots along it."
        )
    else:
        meaning = f"The largest curvature found is {value:.4g}, {bound}: nothing curves up beyond rounding."
    return Finding(
        "lambda_max",
        TITLES["lambda_max"],
        "",
        Outlook.NEUTRAL,
        meaning,
        value=value,
        error=found.error,
        interval=(value, upper),
        unit=CURVATURE,
        status=str(found.status),
        details={"num_matvecs": found.num_matvecs, "upper": upper},
    )


def _ratio(found: Certificate) -> Finding:
    value = found.ratio
    lowest, highest = _bounds_of_ratio(found)
    step = ""
    if math.isnan(value):
        outlook, meaning = Outlook.UNDECIDED, "There is no positive curvature to compare with."
    elif lowest >= -EPS:
        outlook = Outlook.FAVOURABLE
        meaning = "Negative curvature is absent, or next to nothing beside the largest curvature."
    elif highest >= -EPS:
        known = (
            f"it may reach {-lowest:.2%} of the largest"
            if math.isfinite(lowest)
            else "how much there may be is not known"
        )
        outlook, meaning = Outlook.UNDECIDED, f"No negative curvature worth the name was found, but {known}."
        step = "More products (a higher level) would tell."
    elif lowest >= -MILD:
        outlook = Outlook.NEUTRAL
        meaning = f"The most negative curvature is {_part(value)} of the largest: mild, but the loss is not convex."
    elif highest < -MILD:
        outlook = Outlook.UNFAVOURABLE
        meaning = f"The most negative curvature is {_part(value)} of the largest, far from convex."
    else:
        known = f"{_part(highest)} to {_part(lowest)}" if math.isfinite(lowest) else f"{_part(highest)} or more"
        outlook = Outlook.UNDECIDED
        meaning = f"The most negative curvature found is {_part(value)} of the largest found; surely it is {known}."
        step = "More products (a higher level) would tell."
    return Finding(
        "ratio",
        TITLES["ratio"],
        "A'",
        outlook,
        meaning,
        value=value,
        interval=(lowest, highest) if found.lambda_max > 0 else None,
        threshold=-EPS,
        threshold_text=f"mild down to -{MILD:g}; approximately convex from",
        next_step=step,
        details={"mild": -MILD},
    )


def _bounds_of_ratio(found: Certificate) -> tuple[float, float]:
    """From the bounds of both eigenvalues; they hold except with the probability that these have."""
    if not found.lambda_max > 0:
        return math.nan, math.nan
    low, high = found.lambda_max, found.lambda_max_upper
    ends = [bound / scale for bound in (found.lower, found.upper) for scale in (low, high) if math.isfinite(bound)]
    lowest = min(ends) if math.isfinite(found.lower) else -math.inf
    return lowest, max(ends)


def _part(ratio: float) -> str:
    """A negative ratio as a share."""
    return (
        f"{max(0.0, -ratio):.2%}"
        if abs(ratio) < 0.1
        else f"{-ratio:.3g} times"
        if abs(ratio) >= 10
        else f"{-ratio:.0%}"
    )
