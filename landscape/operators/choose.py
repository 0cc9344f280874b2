"""The ways to multiply with a Hessian, by name."""

from __future__ import annotations

import warnings
from typing import Literal, get_args

import torch
from torch import Tensor

from landscape.autodiff.twice import SecondDerivativeError
from landscape.objective import Objective
from landscape.operators.curvature import CurvatureOperator
from landscape.operators.finite_difference import FiniteDifferenceHessian
from landscape.operators.forward_mode import ForwardModeHessian
from landscape.operators.hessian import Hessian

HessianMethod = Literal["autograd", "finite-difference", "auto", "forward-over-reverse", "reverse-over-forward"]


class FiniteDifferenceWarning(UserWarning):
    """Products are differences of gradients, since torch cannot differentiate something twice."""


def check_method(method: str) -> None:
    """Refuse a method that does not exist."""
    if method not in get_args(HessianMethod):
        listed = ", ".join(repr(name) for name in get_args(HessianMethod))
        raise ValueError(f"method={method!r} was given; it is one of {listed}.")


def make_hessian(
    objective: Objective, params: Tensor | None, method: HessianMethod, max_memory: float | None
) -> CurvatureOperator:
    """The Hessian of an objective, its products made by ``method``; see :meth:`landscape.Problem.hessian`."""
    check_method(method)
    if method == "auto":
        reason = why_no_double_backward(objective)
        if reason is not None:
            warnings.warn(
                f"{reason}; products are taken as differences of gradients.", FiniteDifferenceWarning, stacklevel=3
            )
        method = "autograd" if reason is None else "finite-difference"
    if method == "autograd":
        return Hessian(objective, params, max_memory=max_memory)
    if method == "finite-difference":
        return FiniteDifferenceHessian(objective, params)
    return ForwardModeHessian(objective, params, method=method, max_memory=max_memory)


def why_no_double_backward(objective: Objective) -> str | None:
    """What cannot be differentiated twice, tried on two samples; None if all can."""
    probe = Hessian(objective.on_few_samples(2))
    try:
        probe @ torch.ones(probe.size, dtype=probe.dtype, device=probe.device)
    except SecondDerivativeError as error:
        return error.reason
    return None
