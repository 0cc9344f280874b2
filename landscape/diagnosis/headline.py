"""The verdict of a diagnosis in one sentence, with its confidence."""

from __future__ import annotations

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
    if certificate is None:
        return f"{place}; whether the loss is convex here was not measured."
    return f"{place}; {_convexity(certificate, by_key)}. {_advice(certificate, by_key)}"


def _place(finding: Finding | None) -> str:
    if finding is None:
        return "The point was not looked at"
    near = finding.outlook is Outlook.FAVOURABLE
    return "The model stands near a stationary point" if near else "The model stands on a slope"


def _convexity(certificate: Certificate, by_key: Mapping[str, Finding]) -> str:
    if certificate.verdict is Verdict.ABOVE:
        return (
            f"the loss is convex here up to {certificate.eps:g} of the largest curvature, wrong with probability at most "
            f"{certificate.failure_probability:.2g}"
        )
    if certificate.verdict is Verdict.UNDECIDED:
        return (
            f"whether the loss is convex here is undecided: the smallest eigenvalue is between {certificate.lower:.3g} and "
            f"{certificate.upper:.3g}"
        )
    share = f" ({-certificate.ratio:.2%} of the largest)" if certificate.lambda_max > 0 else ""
    told = f"the loss is not convex here, shown without doubt: an eigenvalue is at most {certificate.upper:.3g}{share}"
    other = by_key.get("held_out")
    if other is None:
        return told
    seen = {
        Outlook.UNFAVOURABLE: "other data show it, too",
        Outlook.NEUTRAL: "other data do not show it",
        Outlook.UNDECIDED: "other data leave it open",
    }
    return f"{told}; {seen.get(other.outlook, 'other data leave it open')}"


def _advice(certificate: Certificate, by_key: Mapping[str, Finding]) -> str:
    noise, gain, visible = (by_key.get(key) for key in ("noise_floor", "second_phase_gain", "gradient_spectrum"))
    if noise is not None and noise.outlook is Outlook.UNFAVOURABLE:
        return "Mini-batches still make progress: a full-batch second phase would come too early."
    if visible is not None and visible.outlook is Outlook.UNFAVOURABLE:
        return "An optimiser meets the negative curvature at once: choose a second phase that bears it."
    if gain is not None and gain.outlook is Outlook.FAVOURABLE:
        return "A second phase with a line search has much to gain here."
    if certificate.verdict is Verdict.ABOVE:
        return "A second-order method with a line search is at home here."
    if noise is None and gain is None:
        return "Whether a second phase pays was not measured: ask for level='standard'."
    return "A second phase with a line search may go on from here."
