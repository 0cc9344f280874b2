"""What the findings are called, in the order in which they are told, and which claim each one tests."""

from __future__ import annotations

from collections.abc import Mapping

#: Unit of an eigenvalue.
CURVATURE = "loss/parameter^2"
TITLES: Mapping[str, str] = {
    "stationarity": "Relative gradient norm",
    "lambda_min": "Smallest eigenvalue of the Hessian",
    "lambda_max": "Largest eigenvalue of the Hessian",
    "ratio": "Smallest eigenvalue as a share of the largest",
    "held_out": "Curvature of that direction on other data",
    "symmetry": "Convexity modulo symmetry",
    "directional": "Curvature along the gradient",
    "gradient_spectrum": "Share of the gradient in negative curvature",
    "second_phase_gain": "Gain of a trial Newton step, as a share of the loss",
    "noise_floor": "Mini-batch noise against the gradient",
    "trace": "Trace of the Hessian",
    "density": "Share of negative eigenvalues",
    "condition_number": "Condition number of the positive part",
    "layers": "Curvature and gradient of each layer",
    "sharpness": "Scale-invariant sharpness",
    "precision": "Error of a Hessian product",
}
CLAIM_OF: Mapping[str, str] = {
    "lambda_min": "A",
    "ratio": "A'",
    "held_out": "A",
    "symmetry": "A",
    "directional": "B",
    "gradient_spectrum": "B",
    "density": "A'",
}
