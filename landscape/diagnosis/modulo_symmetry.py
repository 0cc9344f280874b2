"""Whether symmetries of the architecture alone force negative curvature, and what is left without them."""

from __future__ import annotations

from typing import Any

from landscape.diagnosis.extreme_eigenvalues import EPS
from landscape.diagnosis.finding import Finding, Outlook
from landscape.diagnosis.titles import CURVATURE, TITLES
from landscape.diagnosis.workbench import Workbench
from landscape.probes.certificate.certificate import Certificate, Verdict
from landscape.probes.certificate.certify import certify
from landscape.probes.symmetry.gauge import GaugeProjector
from landscape.probes.symmetry.symmetry import SymmetryWitness

#: The kinds of symmetry, in words.
KINDS = {
    "query_key": "queries against keys",
    "value_output": "values against attention outputs",
    "homogeneous": "scales across an activation",
    "norm_linear": "a norm's gain against the layers that read it",
    "scale_invariant": "scales in front of a norm",
}


def symmetry(bench: Workbench) -> Finding:
    """What symmetries prove from the gradient alone, and the smallest eigenvalue without their directions."""
    found = bench.symmetries
    if not found:
        return _finding(
            Outlook.NEUTRAL,
            "No continuous symmetry of the architecture is known, so none forces negative curvature.",
            {"count": 0, "kinds": [], "witness": None},
        )
    proof = bench.witness
    kinds = sorted({str(item.kind) for item in found})
    details: dict[str, Any] = {
        "count": len(found),
        "kinds": kinds,
        "witness": None if proof is None or proof.upper is None else proof.curvature,
        "witness_error": None if proof is None or proof.upper is None else proof.error,
    }
    meaning = _told(len(found), kinds, proof)
    outlook = Outlook.NEUTRAL if proof is None else Outlook.UNFAVOURABLE
    if not bench.level.modulo_products:
        step = "level='thorough' measures the curvature that is left without the symmetries."
        return _finding(outlook, meaning, details, step)
    left = certify(
        bench.hessian,
        eps=EPS,
        max_matvecs=bench.level.modulo_products,
        modulo=GaugeProjector(found, bench.params),
        early=False,
        generator=bench.generator(2),
        callback=lambda *_: bench.tick(),
    )
    return _modulo(left, meaning, details)


def _told(count: int, kinds: list[str], proof: SymmetryWitness | None) -> str:
    listed = ", ".join(KINDS.get(kind, kind) for kind in kinds)
    told = f"Parameters can be changed in {count} way{'s' * (count > 1)} that leave the loss as it is ({listed})"
    if proof is None:
        return f"{told}; at this point that proves no negative curvature."
    if proof.upper is None:
        return f"{told}, and that alone forces negative curvature here, how much is not known without a product."
    where = ", ".join(proof.symmetry.names[:2])
    return (
        f"{told}, and that alone forces negative curvature here: {proof.curvature:.3g} in {where}. "
        "In these coordinates the loss cannot be convex before the gradient vanishes along them."
    )


def _modulo(left: Certificate, meaning: str, details: dict[str, Any]) -> Finding:
    outlook = {Verdict.NEGATIVE: Outlook.UNFAVOURABLE, Verdict.ABOVE: Outlook.FAVOURABLE}.get(
        left.verdict, Outlook.UNDECIDED
    )
    details = {
        **details,
        "modulo": left.verdict.name,
        "lower": left.lower,
        "upper": left.upper,
        "ritz_value": left.ritz_value,
        "lambda_max": left.lambda_max,
        "num_matvecs": left.num_matvecs,
    }
    return _finding(
        Outlook.FAVOURABLE if left.is_above else outlook,
        f"{meaning} Without these directions: {left.claim}",
        details,
        status=str(left.status),
        value=left.ritz_value,
        interval=(left.lower, left.upper),
        threshold=-left.eps * max(left.lambda_max, 0.0),
        threshold_text=f"negative below -{left.eps:g} lambda_max",
    )


def _finding(outlook: Outlook, meaning: str, details: dict[str, Any], next_step: str = "", **more: Any) -> Finding:
    return Finding(
        "symmetry",
        TITLES["symmetry"],
        "A",
        outlook,
        meaning,
        unit=CURVATURE,
        next_step=next_step,
        details=details,
        **more,
    )
