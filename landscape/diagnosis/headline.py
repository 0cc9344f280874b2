"""The verdict of a diagnosis in one sentence, with its confidence, and what follows from it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from landscape.diagnosis.finding import Finding, Outlook
from landscape.probes.certificate.certificate import Certificate, Verdict


def headline(certificate: Certificate | None, findings: Sequence[Finding]) -> str:
    """Where the model stands, whether the loss is convex there and how sure that is, and what follows.

    Parameters
    ----------
    certificate : Certificate or None
        Of the smallest eigenvalue.
    findings : sequence of Finding
        What was measured; what was not is left out of the sentence.
    """
    by_key = {finding.key: finding for finding in findings if finding.is_measured}
    place = _place(by_key.get("stationarity"))
    if certificate is None or math.isnan(certificate.ritz_value):
        return f"{place}; whether the loss is convex there was not measured."
    return f"{place}; {_convexity(certificate, by_key)}. {_advice(certificate, by_key)}"


def _place(finding: Finding | None) -> str:
    if finding is None:
        return "How steep the loss is was not measured"
    places = {
        Outlook.FAVOURABLE: "The model stands at or near a stationary point",
        Outlook.UNFAVOURABLE: "Loss or gradient is not finite where the model stands",
    }
    return places.get(finding.outlook, "The model stands on a slope")


def _convexity(certificate: Certificate, by_key: Mapping[str, Finding]) -> str:
    if certificate.verdict is Verdict.ABOVE:
        return (
            f"the loss is convex here, as no curvature is below -{certificate.eps:g} of the largest (wrong with probability "
            f"{certificate.failure_probability:.2g} at most)"
        )
    if certificate.verdict is Verdict.UNDECIDED:
        bounds = f"between {certificate.lower:.3g} and {certificate.upper:.3g}"
        if not math.isfinite(certificate.lower):
            bounds = f"at most {certificate.upper:.3g}"
        return f"whether the loss is convex here is undecided: the smallest eigenvalue is {bounds}"
    share = f", {-certificate.ratio:.2g} of the largest" if certificate.lambda_max > 0 else ""
    if certificate.is_above:
        return f"the loss is convex here but for next to nothing: an eigenvalue of {certificate.upper:.3g}{share}"
    told = f"the loss is not convex here, which is certain: an eigenvalue is at most {certificate.upper:.3g}{share}"
    other = by_key.get("held_out")
    if other is None or other.value is None:
        return told
    seen = {
        Outlook.UNFAVOURABLE: "other data show it, too",
        Outlook.NEUTRAL: "other data do not show it",
    }
    return f"{told}; {seen.get(other.outlook, 'other data leave it open')}"


def _advice(certificate: Certificate, by_key: Mapping[str, Finding]) -> str:
    outlooks = {key: finding.outlook for key, finding in by_key.items()}
    convex = certificate.verdict is Verdict.ABOVE or certificate.is_above
    if outlooks.get("noise_floor") is Outlook.UNFAVOURABLE:
        return (
            "Mini-batches still lead downhill, at a fraction of the price: it is early for a second phase on all data."
        )
    if not convex and outlooks.get("gradient_spectrum") is Outlook.UNFAVOURABLE:
        return "The gradient points into the negative curvature: choose a second phase that bears it (newton-cg)."
    if outlooks.get("second_phase_gain") is Outlook.FAVOURABLE:
        return "A second phase on all data, with a line search, has much to gain here."
    if convex:
        return "A second-order method with a line search is at home here."
    if not {"noise_floor", "second_phase_gain"} & set(by_key):
        return "Whether a second phase pays was not measured."
    return "A second phase on all data needs a line search, and may meet negative curvature."
