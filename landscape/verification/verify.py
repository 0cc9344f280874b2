"""All checks of a problem's derivatives, in order."""

from __future__ import annotations

import math

import torch

from landscape.autodiff.faults import not_twice
from landscape.autodiff.twice import SecondDerivativeError
from landscape.objective import Objective
from landscape.operators.choose import HessianMethod, check_method, why_no_double_backward
from landscape.operators.forward_mode import FORWARD_PRODUCTS
from landscape.verification import checks
from landscape.verification.result import Check, Verification

#: Samples on which products are compared: faults lie in modules, not in data. More would cost memory, too, in float64.
NUM_SAMPLES = 16


def verify(objective: Objective, method: HessianMethod = "autograd") -> Verification:
    """Check that derivatives are repeatable and right; see :meth:`landscape.Problem.verify`."""
    check_method(method)
    with torch.inference_mode(False):
        return _verified(objective, method)


def _verified(objective: Objective, method: HessianMethod) -> Verification:
    probe = objective.on_few_samples(NUM_SAMPLES)
    found = [checks.repeatability(objective, probe)]
    if not found[0].passed:
        return Verification(method, tuple(found), math.nan)
    found.append(checks.live_against_swapped(probe))
    swaps = found[1].passed
    if not swaps and method != "autograd":  # nothing else is left to check that swaps no parameters
        return Verification(method, tuple(found), math.nan)
    if method == "auto":
        method = "autograd" if why_no_double_backward(objective) is None else "finite-difference"
    if method == "finite-difference":
        return Verification(method, tuple(found), math.nan)
    try:
        found.extend(_product_checks(probe, method, swaps))
    except SecondDerivativeError as error:
        forward = method in FORWARD_PRODUCTS
        fault = checks.forward_fault(probe, method) if forward else checks.fault_of(probe, not_twice)
        fault = fault or "none of the modules on its own: look at the loss function"
        found.append(Check("second derivatives exist", math.nan, 0.0, fault, error.reason))
    agreement = [check.value for check in found if check.name == checks.AGREEMENT]
    return Verification(method, tuple(found), agreement[0] if agreement else math.nan)


def _product_checks(probe: Objective, method: HessianMethod, swaps: bool) -> list[Check]:
    if method != "autograd":
        return [checks.forward_mode(probe, method)]
    exact = None if probe.layout.dtype == torch.float64 else checks.exact_copy(probe)
    found = [checks.symmetry(probe, exact)]
    if swaps:
        found.append(checks.difference(exact or probe))
    if exact is not None:
        found.append(checks.agreement(probe, exact))
    return found
