"""Findings about the ends of the spectrum: the certificate, what it means, and whether other data agree."""

from __future__ import annotations

import math

from landscape.diagnosis.finding import Finding, Outlook, not_measured
from landscape.diagnosis.workbench import Workbench
from landscape.probes.auditing.batches import held_out_test
from landscape.probes.certificate.certificate import Certificate, Verdict
from landscape.probes.certificate.certify import certify
from landscape.probes.symmetry.symmetry import witness

CURVATURE = "loss/parameter^2"
#: An eigenvalue above minus this share of the largest one passes for "not negative".
EPS = 1e-3
#: Below this share of the largest eigenvalue, negative curvature is small enough for a damped or line-search method.
MILD = 0.05
TITLES = {
    "lambda_min": "Smallest eigenvalue of the Hessian",
    "lambda_max": "Largest eigenvalue of the Hessian",
    "ratio": "Smallest eigenvalue as a share of the largest",
    "held_out": "Curvature of that direction on other data",
    "symmetry": "Convexity modulo symmetry",
}


def extreme_eigenvalues(bench: Workbench) -> list[Finding]:
    """Smallest and largest eigenvalue and their signed ratio, all from one Lanczos run."""
    allowed = bench.level.certificate_products
    if math.isfinite(bench.remaining):
        allowed = min(allowed, int(bench.remaining / (2 * bench.level.certificate_restarts)))
    found = certify(
        bench.hessian,
        eps=EPS,
        restarts=bench.level.certificate_restarts,
        max_matvecs=max(2, allowed),
        early=False,
        generator=bench.generator(1),
    )
    bench.certificate = found
    return [_lambda_min(found), _lambda_max(found), _ratio(found)]


def _lambda_min(found: Certificate) -> Finding:
    outlook = {
        Verdict.NEGATIVE: Outlook.UNFAVOURABLE,
        Verdict.ABOVE: Outlook.FAVOURABLE,
        Verdict.UNDECIDED: Outlook.UNDECIDED,
    }[found.verdict]
    step = {
        Verdict.NEGATIVE: "See below whether other data show it, whether the gradient points along it, and how large it is.",
        Verdict.ABOVE: "A second-order method with a line search is at home here.",
        Verdict.UNDECIDED: "Measure at a higher level, with a larger budget, or in float64.",
    }[found.verdict]
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
        found.claim,
        value=found.ritz_value,
        error=found.error,
        interval=(found.lower, found.upper),
        unit=CURVATURE,
        threshold=-found.eps * max(found.lambda_max, 0.0),
        threshold_text=f"not negative from -{found.eps:g} lambda_max",
        status=str(found.status),
        next_step=step,
        details=details,
    )


def _lambda_max(found: Certificate) -> Finding:
    upper = found.lambda_max_upper
    return Finding(
        "lambda_max",
        TITLES["lambda_max"],
        "",
        Outlook.NEUTRAL,
        f"The sharpest direction curves by {found.lambda_max:.4g}; at most {upper:.4g}, except with probability "
        f"{found.failure_of_bounds:.2g}. Gradient descent is stable below a learning rate of {2 / found.lambda_max:.2g}."
        if found.lambda_max > 0
        else f"The largest curvature is {found.lambda_max:.4g}: the loss is concave or flat in every direction seen.",
        value=found.lambda_max,
        interval=(found.lambda_max, upper),
        unit=CURVATURE,
        status=str(found.status),
        details={"num_matvecs": found.num_matvecs},
    )


def _ratio(found: Certificate) -> Finding:
    value = found.ratio
    lowest = found.lower / found.lambda_max if found.lambda_max > 0 else math.nan
    if math.isnan(value):
        outlook, meaning = Outlook.UNDECIDED, "There is no positive curvature to compare with."
    elif value >= -EPS and lowest >= -EPS:
        outlook, meaning = Outlook.FAVOURABLE, "Negative curvature is absent, or nothing beside the largest curvature."
    elif value >= -EPS:
        outlook, meaning = (
            Outlook.UNDECIDED,
            f"No negative curvature was seen, but it may reach {lowest:.2%} of the largest.",
        )
    elif value >= -MILD:
        outlook = Outlook.NEUTRAL
        meaning = f"The most negative curvature is {-value:.2%} of the largest: mild, but not convex."
    else:
        outlook = Outlook.UNFAVOURABLE
        meaning = f"The most negative curvature is {-value:.0%} of the largest: far from convex."
    return Finding(
        "ratio",
        TITLES["ratio"],
        "A'",
        outlook,
        meaning,
        value=value,
        interval=(lowest, found.upper / found.lambda_max) if found.lambda_max > 0 else None,
        threshold=-EPS,
        threshold_text=f"approximately convex from -{EPS:g}; mild down to -{MILD:g}",
        details={"mild": -MILD},
    )


def held_out(bench: Workbench) -> Finding:
    """A t-test of the curvature along the negative direction, on data that it was not found on."""
    found, title = bench.certificate, TITLES["held_out"]
    if found is None or found.verdict is not Verdict.NEGATIVE or found.direction is None:
        return not_measured(
            "held_out", title, "A", "No direction of negative curvature was found, so there is none to test."
        )
    if bench.fresh is None:
        reason = "No other data were given. Negative curvature found on a sample is larger there than elsewhere."
        return not_measured(
            "held_out", title, "A", reason, "Give held_out=..., data that the model was not trained on."
        )
    unit = found.direction / found.direction.norm()
    test = held_out_test(bench.fresh.hessian(verify=False), unit, num_groups=10, alpha=0.05)
    if test.upper < 0:
        outlook = Outlook.UNFAVOURABLE
        meaning = f"The direction curves down on other data, too: {test.mean:.3g}. The negative curvature is real."
        step = "Not convex for the population either: a second phase has to bear negative curvature."
    elif test.lower > 0:
        outlook = Outlook.NEUTRAL
        meaning = (
            f"On other data the same direction curves up: {test.mean:.3g}. The loss over these samples is not convex there; "
            "the negative curvature found belongs to the sample."
        )
        step = "It still matters for a deterministic optimiser on these samples. More samples would show less of it."
    else:
        outlook = Outlook.UNDECIDED
        meaning = f"On other data the curvature of that direction is {test.mean:.3g}, not to be told from 0."
        step = "Give more held-out data."
    details = {
        "same_data": found.upper,
        "mean": test.mean,
        "lower": test.lower,
        "upper": test.upper,
        "p_value": test.p_value,
        "num_samples": test.num_samples,
    }
    return Finding(
        "held_out",
        title,
        "A",
        outlook,
        meaning,
        value=test.mean,
        error=test.standard_error,
        interval=(test.lower, test.upper),
        unit=CURVATURE,
        threshold=0.0,
        threshold_text="negative below",
        next_step=step,
        details=details,
    )


def symmetry(bench: Workbench) -> Finding:
    """Whether symmetries of the architecture prove negative curvature by themselves, and what is left without them."""
    title, found = TITLES["symmetry"], bench.symmetries
    kinds = sorted({item.kind for item in found})
    if not found:
        return Finding(
            "symmetry",
            title,
            "A",
            Outlook.NEUTRAL,
            "No continuous symmetry of the architecture is known, so none forces negative curvature.",
            details={"count": 0, "kinds": []},
        )
    proof = witness(found, bench.params, bench.gradient)
    proven = None if proof is None else proof.curvature
    details = {"count": len(found), "kinds": kinds, "witness": proven}
    listed = f"{len(found)} continuous {'symmetries' if len(found) > 1 else 'symmetry'} ({', '.join(kinds)})"
    if proof is None:
        meaning = f"The architecture has {listed}; at this point they prove no negative curvature. Along them the loss is flat."
    else:
        meaning = (
            f"The architecture has {listed}, and they prove negative curvature here from the gradient alone: {proof} It cannot "
            "be convex in these coordinates until the gradient vanishes along them."
        )
    value, interval, outlook = proven, None, Outlook.NEUTRAL if proof is None else Outlook.UNFAVOURABLE
    step = "Ask for level='thorough', which measures the curvature that is left without the symmetries."
    if bench.level.modulo_products and bench.remaining > 2 * bench.level.modulo_products:
        left = certify(
            bench.hessian,
            eps=EPS,
            max_matvecs=bench.level.modulo_products,
            modulo=found,
            early=False,
            generator=bench.generator(2),
        )
        value, interval, step = left.ritz_value, (left.lower, left.upper), ""
        outlook = {Verdict.NEGATIVE: Outlook.UNFAVOURABLE, Verdict.ABOVE: Outlook.FAVOURABLE}.get(
            left.verdict, Outlook.UNDECIDED
        )
        meaning = f"{meaning} Without the directions of symmetry: {left.claim}"
        details["modulo"] = left.verdict.name
    return Finding(
        "symmetry",
        title,
        "A",
        outlook,
        meaning,
        value=value,
        interval=interval,
        unit=CURVATURE,
        threshold=0.0,
        threshold_text="negative below",
        next_step=step,
        details=details,
    )
