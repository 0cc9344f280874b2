"""All checks of a problem's derivatives, in order."""

from __future__ import annotations

import math

import torch

from landscape.autodiff.faults import not_twice
from landscape.autodiff.twice import SecondDerivativeError
from landscape.objective import Objective
from landscape.operators.choose import HessianMethod, check_method, why_no_double_backward
from landscape.verification import checks
from landscape.verification.result import Check, Verification

#: Samples on which products are compared: faults lie in modules, not in data.
NUM_SAMPLES = 64


def verify(objective: Objective, method: HessianMethod = "autograd") -> Verification:
    """Check that derivatives are repeatable and right; see :meth:`landscape.Problem.verify`."""
    check_method(method)
    probe = objective.on_few_samples(NUM_SAMPLES)
    found = [checks.repeatability(objective, probe)]
    if not found[0].passed:
        return Verification(method, tuple(found), math.nan)
    found.append(checks.live_against_swapped(probe))
    if method == "auto":
        method = "autograd" if why_no_double_backward(objective) is None else "finite-difference"
    if method == "finite-difference":
        return Verification(method, tuple(found), math.nan)
    try:
        found.extend(_product_checks(probe, method))
    except SecondDerivativeError as error:
        fault = checks.fault_of(probe, not_twice) or "none of the modules on its own: look at the loss function"
        found.append(Check("second derivatives exist", math.nan, 0.0, fault, str(error).partition(". Use method=")[0]))
    agreement = [check.value for check in found if check.name == _AGREEMENT]
    return Verification(method, tuple(found), agreement[0] if agreement else math.nan)


_AGREEMENT = "a product agrees with float64"


def _product_checks(probe: Objective, method: HessianMethod) -> list[Check]:
    exact = probe.copied(torch.float64)
    if method == "autograd":
        found = [checks.symmetry(probe, method), checks.difference(exact or probe)]
    else:
        found = [checks.agreement(probe, probe, method, f"{method} equals double backward")]
    if exact is not None and probe.layout.dtype != torch.float64:
        found.append(checks.agreement(probe, exact, method, _AGREEMENT))
    return found
