"""What probes take: an operator, or a problem, whose Hessian is meant."""

from __future__ import annotations

from landscape.operators.base import LinearOperator
from landscape.problem import Problem

#: A symmetric operator; or a problem, which stands for its Hessian where the model is.
Target = LinearOperator | Problem


def operator_of(target: Target) -> LinearOperator:
    """The operator that a probe works on.

    Raises
    ------
    TypeError
        If ``target`` is neither an operator nor a problem.
    """
    if isinstance(target, LinearOperator):
        return target
    if isinstance(target, Problem):
        return target.hessian()
    raise TypeError(
        f"a probe was given a {type(target).__name__}; it takes a landscape.Problem (its Hessian is meant) or a "
        "LinearOperator such as problem.gauss_newton(). A dense matrix becomes one by landscape.MatrixOperator(A)."
    )
