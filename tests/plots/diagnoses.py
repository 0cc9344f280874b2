"""Hand-written diagnoses whose every number is known."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

from landscape.diagnosis.diagnosis import CostEstimate, Diagnosis
from landscape.diagnosis.finding import Finding, Outlook, not_measured
from landscape.probes.certificate.certificate import Verdict
from landscape.status import Status

UNIT = "loss/parameter^2"


def layer(name: str, num_params: int, gradient: float, length: float, trace: float, error: float) -> dict[str, Any]:
    norms = {"gradient_norm": gradient, "parameter_norm": length}
    return {"name": name, "num_params": num_params, **norms, "trace": trace, "trace_standard_error": error}


LAYERS = [
    layer("first", 2080, gradient=0.5, length=5.0, trace=8.0, error=1.0),
    layer("middle", 12, gradient=0.25, length=2.0, trace=-3.0, error=0.5),
    layer("last", 330, gradient=1.0, length=1.0, trace=0.25, error=0.5),
]
DIRECTIONS = [
    {"name": "gradient", "curvature": 2.0, "standard_error": 0.25},
    {"name": "random 1", "curvature": -0.5, "standard_error": 0.125},
]
NODES, WEIGHTS = [-0.125, 0.0625, 1.0, 4.0], [0.25, 0.5, 0.2, 0.05]
NOISE = [{"batch_size": 32, "noise": 4.0}, {"batch_size": 128, "noise": 2.0}, {"batch_size": 512, "noise": 0.5}]


def findings() -> dict[str, Finding]:
    """One of each kind that the page has something special for."""
    good, bad, plain = Outlook.FAVOURABLE, Outlook.UNFAVOURABLE, Outlook.NEUTRAL
    found = [
        Finding("stationarity", "Relative gradient norm", "", plain, "It is on a slope.", value=3.5, threshold=0.01,
                threshold_text="stationary at or below", next_step="Train on.", gradient_equivalents=1.0, seconds=0.5),
        Finding("lambda_min", "Smallest eigenvalue", "A", bad, "It is at most -0.125.", value=-0.125, error=1e-6,
                interval=(-0.25, -0.125), unit=UNIT, threshold=-0.004, threshold_text="not negative from -0.001 lambda_max",
                status=str(Status.SETTLED), gradient_equivalents=20.0, seconds=1.5,
                details={"conditions": ["About these data only."]}),
        Finding("lambda_max", "Largest eigenvalue", "", plain, "The sharpest direction.", value=4.0, interval=(4.0, 4.5),
                unit=UNIT, status=str(Status.COMPLETED)),
        Finding("directional", "Curvature along directions", "B", good, "The loss curves up.", value=2.0, error=0.25, unit=UNIT,
                threshold=0.0, threshold_text="not convex below", details={"directions": DIRECTIONS}),
        Finding("gradient_spectrum", "Share of the gradient", "B", Outlook.UNDECIDED, "Between both.", value=0.125,
                interval=(0.0, 0.25), details={"nodes": NODES, "weights": WEIGHTS}),
        Finding("noise_floor", "Mini-batch noise", "", good, "It is at its noise floor.", value=2.0,
                details={"rows": NOISE, "batch_size": 128, "critical_batch_size": 256.0}),
        Finding("density", "Share of negative eigenvalues", "A'", bad, "A quarter is negative.", value=0.25,
                interval=(0.125, 0.5), details={"grid": [-0.5, -0.125, 0.0, 1.0, 4.0, 8.0],
                                                "density": [0.01, 0.5, 0.25, 0.5, 0.1, 0.001], "nodes": NODES,
                                                "weights": WEIGHTS, "negative_threshold": -0.004}),
        Finding("layers", "Curvature of each layer", "", plain, "Most is in first.", value=3.0, unit="layers",
                details={"rows": LAYERS}),
        not_measured("held_out", "Curvature on other data", "A", "No other data were given.", "Give held_out=...."),
    ]  # fmt: skip
    return {finding.key: finding for finding in found}


def diagnosis(**changes: Any) -> Diagnosis:
    """A model with negative curvature; fields may be replaced, and single findings by ``findings={key: {field: value}}``."""
    replaced = changes.pop("findings", {})
    found = findings()
    for key, fields in replaced.items():
        found[key] = dataclasses.replace(found[key], **fields)
    given: dict[str, Any] = {
        "name": "model",
        "headline": "Not convex here, shown without doubt: an eigenvalue is at most -0.125. Train on.",
        "verdict": Verdict.NEGATIVE,
        "findings": tuple(found.values()),
        "level": "standard",
        "budget": None,
        "status": Status.COMPLETED,
        "estimate": CostEstimate(200.0, 4.0, 0.02, 2.5),
        "gradient_equivalents": 176.0,
        "seconds": 3.0,
        "warnings": ("The model has kinks.",),
        "provenance": {"torch": "2.13.0", "weights": "0123456789abcdef"},
        **changes,
    }
    return Diagnosis(**given)


def nothing_measured(name: str = "model") -> Diagnosis:
    """A diagnosis that was stopped before it began."""
    missing = [not_measured(f.key, f.title, f.claim, "Stopped on request.") for f in findings().values()]
    known = diagnosis(name=name, headline="Nothing is known.", verdict=None, status=Status.CUT_SHORT, warnings=())
    return dataclasses.replace(known, findings=tuple(missing))


def not_finite() -> Diagnosis:
    """NaN and infinities wherever there is a number."""
    rows = [{**row, "trace": math.nan, "gradient_norm": math.inf} for row in LAYERS]
    bad = {"nodes": [math.nan, math.inf, 1.0], "weights": [0.5, math.nan, math.nan]}
    curve = {"grid": [math.nan, 1.0], "density": [math.inf, math.nan], "negative_threshold": math.nan}
    direction = {"name": "gradient", "curvature": math.nan, "standard_error": math.inf}
    noise = {"rows": [{"batch_size": 32, "noise": math.inf}], "batch_size": 32}
    return diagnosis(
        seconds=math.nan,
        findings={
            "stationarity": {"value": math.inf},
            "lambda_min": {"value": math.nan, "interval": (-math.inf, math.nan), "threshold": math.nan},
            "lambda_max": {"value": math.inf, "interval": (-math.inf, math.inf)},
            "directional": {"value": math.nan, "error": math.nan, "details": {"directions": [direction]}},
            "gradient_spectrum": {"value": math.nan, "interval": (math.nan, math.nan), "details": bad},
            "noise_floor": {"value": math.inf, "details": noise},
            "density": {"details": {**bad, **curve}},
            "layers": {"details": {"rows": rows}},
        },
    )
