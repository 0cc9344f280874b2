"""A verdict on lambda_min for a problem: free witnesses first, then Lanczos, then a look at data not used."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence

import torch
from torch import Tensor

from landscape.probes.auditing.batches import held_out_test
from landscape.probes.certificate.bounds import check_probability
from landscape.probes.certificate.certificate import Certificate, Verdict, certify_operator, data_and_parameters
from landscape.probes.certificate.deflation import Deflation
from landscape.probes.lanczos.lanczos import Callback
from landscape.probes.symmetry.action import Symmetry
from landscape.probes.symmetry.gauge import GaugeProjector
from landscape.probes.symmetry.symmetry import SymmetryWitness, symmetries, witness
from landscape.probes.target import Target, operator_of
from landscape.problem import Problem
from landscape.status import Status
from landscape.vectors import norm

#: Groups of fresh samples whose curvatures the t-test compares.
_FRESH_GROUPS = 10


def certify(
    target: Target,
    *,
    eps: float = 1e-3,
    delta: float = 1e-2,
    restarts: int = 1,
    max_matvecs: int = 200,
    max_memory: int | None = None,
    early: bool = True,
    negative_below: float = 0.0,
    modulo: Sequence[Symmetry] | Deflation | None = None,
    fresh: Problem | None = None,
    check_number: int | None = None,
    generator: torch.Generator | None = None,
    callback: Callback | None = None,
) -> Certificate:
    """Say what can honestly be said of the smallest eigenvalue: NEGATIVE, ABOVE or UNDECIDED.

    Parameters
    ----------
    target : Problem or LinearOperator of shape (n, n)
        A problem stands for its Hessian where the model is; its symmetries are tried first. For another matrix or
        point give an operator: ``problem.gauss_newton()``, ``problem.hessian(params)``.
    eps : float
        Tolerance of ABOVE, relative to lambda_max. A singular matrix can never be shown to have lambda_min >= 0.
    delta : float
        Probability with which the bounds of one start may be wrong.
    restarts : int
        Independent starts that must agree on ABOVE, which is then wrong with probability ``delta ** restarts``.
    max_matvecs : int
        Products allowed for each start.
    max_memory : int, optional
        Bytes for the Lanczos basis; see :func:`landscape.lanczos`.
    early : bool
        Stop at the first verdict. Otherwise go on until the interval is tight, and do not stop at a symmetry.
    negative_below : float
        NEGATIVE only below minus this many times lambda_max; more than 0 leaves symmetries out, which know no lambda_max.
    modulo : sequence of Symmetry, or projector, optional
        Ask "convex modulo symmetry?": directions along these symmetries (``ls.symmetries(problem)``) are left out.
    fresh : Problem, optional
        The same model on data that were not used: after NEGATIVE, a t-test of the curvature along the direction found
        says whether it is negative for the population, too.
    check_number : int, optional
        The t of a t-th check in a series, whose errors then add up to ``delta`` at most.
    generator : torch.Generator, optional
        Source of the start vectors. Default: one of its own, seed 0.
    callback : callable, optional
        Called while Lanczos runs; see :func:`landscape.lanczos`.

    Returns
    -------
    Certificate
        ``verdict``, the interval ``lower`` to ``upper`` for lambda_min, and the sentence as ``str()``.

    Raises
    ------
    ValueError
        If an option is out of range, before any work.
    VerificationError
        If the problem's derivatives cannot be trusted.

    Notes
    -----
    Cost: for a problem whose architecture has symmetries, a few forwards over one batch and 1 gradient decide most points
    that are not stationary, with no product. Otherwise one product (2 GE) a Lanczos step, after 1 gradient for the graphs.
    The method and its proofs: :func:`landscape.probes.certificate.certificate.certify_operator` and
    :func:`landscape.probes.symmetry.symmetry.witness`.

    Examples
    --------
    >>> from landscape.testing.problems import logistic_regression, saddle
    >>> certify(logistic_regression().problem).verdict.name, certify(saddle().problem).verdict.name
    ('ABOVE', 'NEGATIVE')
    """
    check_probability("eps", eps)
    check_probability("delta", delta)
    if isinstance(target, Problem) and early and modulo is None and negative_below == 0.0:
        found = _free_witness(target)
        if found is not None:
            return _with_fresh(_certificate_of(found, target, eps, delta), fresh)
    projector = _projector(modulo, target)
    certificate = certify_operator(
        operator_of(target),
        eps=eps,
        delta=delta,
        restarts=restarts,
        max_matvecs=max_matvecs,
        max_memory=max_memory,
        early=early,
        negative_below=negative_below,
        check_number=check_number,
        deflate=projector,
        generator=generator,
        callback=callback,
    )
    return _with_fresh(certificate, fresh)


def _free_witness(problem: Problem) -> SymmetryWitness | None:
    """Negative curvature that a symmetry proves from the gradient, if there is any."""
    known = [symmetry for symmetry in symmetries(problem) if symmetry.exact]
    if not known:
        return None
    found = witness(known, problem.params(), problem.gradient())
    return found if found is not None and found.upper is not None else None


def _certificate_of(found: SymmetryWitness, problem: Problem, eps: float, delta: float) -> Certificate:
    upper = found.upper
    assert upper is not None
    return Certificate(
        verdict=Verdict.NEGATIVE,
        lower=-math.inf,
        upper=upper,
        ritz_value=found.curvature,
        lambda_max=math.nan,
        lambda_max_upper=math.inf,
        ratio=math.nan,
        error=found.error,
        direction=found.direction / norm(found.direction),
        eps=eps,
        delta=delta,
        failure_probability=0.0,
        num_matvecs=0,
        restarts=0,
        steps_needed=None,
        kw_lower=-math.inf,
        orthogonality_defect=0.0,
        status=Status.SETTLED,
        conditions=(
            f"Proven by {found.symmetry.kind} symmetry ({', '.join(found.symmetry.names)}) from the gradient alone, without "
            "probability; lambda_max was not looked for (early=False does).",
            *data_and_parameters(problem.hessian(verify=False)),
            "The derivative is that of the architecture's exact symmetry, so that rounding of products does not enter.",
        ),
    )


def _projector(modulo: Sequence[Symmetry] | Deflation | None, target: Target) -> Deflation | None:
    if modulo is None or callable(modulo):
        return modulo
    if not isinstance(target, Problem):
        raise ValueError(
            "modulo= was given symmetries with an operator, which does not know its point. Give the problem itself, or a "
            "projector: modulo=GaugeProjector(symmetries, params)."
        )
    if not modulo:
        raise ValueError("modulo=() was given: no symmetries. This model may have none; leave modulo out.")
    return GaugeProjector(modulo, target.params())


def _with_fresh(certificate: Certificate, fresh: Problem | None) -> Certificate:
    """Add what data that were not used say of the direction found."""
    if fresh is None or certificate.verdict is not Verdict.NEGATIVE or certificate.direction is None:
        return certificate
    unit: Tensor = certificate.direction
    tested = held_out_test(fresh.hessian(), unit / norm(unit), num_groups=_FRESH_GROUPS, alpha=certificate.delta)
    finding = (
        "is negative for the population" if tested.is_negative else "was not shown to be negative for the population"
    )
    told = f"On data not used, the curvature along the direction {finding} at level {tested.alpha:g}: {tested}."
    return dataclasses.replace(certificate, conditions=(*certificate.conditions, told))
