"""Whether a negative curvature is real: against rounding, kinks and the choice of samples."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from landscape.operators.choose import HessianMethod
from landscape.operators.curvature import CurvatureOperator
from landscape.operators.finite_difference import FiniteDifferenceHessian
from landscape.probes.auditing.batches import batch_size_curve, held_out_test, possible_sizes
from landscape.probes.auditing.result import Audit, decide
from landscape.probes.auditing.steps import Place, default_steps, difference_table
from landscape.probes.directional import check_direction
from landscape.probes.lanczos.krylov import KrylovSpace
from landscape.probes.lanczos.lanczos import random_start
from landscape.probes.sample_groups import NUM_GROUPS
from landscape.problem import Problem
from landscape.status import Status
from landscape.vectors import dot, norm

#: Products that the norm of the Hessian, the scale of rounding, is estimated with.
_NORM_MATVECS = 5


def audit(
    problem: Problem,
    direction: Tensor,
    *,
    fresh: Problem | None = None,
    params: Tensor | None = None,
    batch_sizes: Sequence[int] | None = None,
    steps: Sequence[float] | None = None,
    alpha: float = 0.05,
    num_groups: int = NUM_GROUPS,
    num_draws: int = 3,
    num_matvecs: int = 20,
    method: HessianMethod = "autograd",
    generator: torch.Generator | None = None,
    verify: bool = True,
) -> Audit:
    r"""Ask of a negative curvature whether it is real, noise of the samples, rounding, or a matter of kinks.

    Parameters
    ----------
    problem : Problem
        The loss on which the direction was found.
    direction : Tensor of shape (n,)
        Of any length but 0: an eigenvector of a negative Ritz value, say.
    fresh : Problem, optional
        The same loss over samples on which the direction was *not* found, with the same parameters. Without it the verdict
        is about the problem's own samples only.
    params : Tensor of shape (n,), optional
        Where. Default: where the model stands.
    batch_sizes : sequence of int, optional
        For the curve over batch sizes. Default: 32, 128 and 512, as far as they are at most half of the data; () for none.
    steps : sequence of float, optional
        Distances along the unit direction. Default: six from 1e-2 to 3e-5 times max(1, ‖x‖); () for none.
    alpha : float
        Level of the held-out test.
    num_groups : int
        About how many groups the fresh samples are dealt into, at least 2.
    num_draws, num_matvecs : int
        Batches of each size, and products of the Lanczos run on each.
    method, verify
        As for :meth:`landscape.Problem.hessian`.
    generator : torch.Generator, optional
        Source of batches and start vectors. Default: a private one, the same at every call.

    Returns
    -------
    Audit
        ``verdict``, ``reason``, and the evidence as numbers.

    Raises
    ------
    ValueError
        If the direction is 0, not finite or does not fit; if ``fresh`` varies other parameters; if a setting is out of
        range.
    VerificationError, SecondDerivativeError
        As for :meth:`landscape.Problem.hessian`.

    Notes
    -----
    The first of these that applies is the verdict.

    1. UNDECIDED if the curvature is not finite.
    2. In float64 (on a copy of the model; if there can be none, in its own precision) the curvature is not below 0 by more
       than rounding. Then KINK if over some distance the loss bends down because of kinks; ROUNDING if it was negative in
       the model's precision; else NOT_NEGATIVE.
    3. KINK if over some distance h the smooth part of the curvature is negative, but the gradient's change, which sees
       kinks, is not. A smooth loss that bends up further out (a quartic) does not count: see
       :func:`landscape.probes.auditing.steps.difference_table`.
    4. With fresh samples: REAL if their curvature is negative at level alpha; NOISE if it is not, and the curvature found
       lies below what fresh samples allow at level alpha; UNDECIDED otherwise.
    5. Without: REAL, for the loss over these samples.

    If the population's curvature along the direction is not negative, step 4 says REAL with probability alpha at most
    (group means being normal), however the direction was chosen, provided that it was not chosen on the fresh samples.
    A kink closer than the smallest distance is not seen; nor is one further than the largest.

    Cost: in GE, 6 + 10 for the curvature and the scale of rounding, 3 of the fresh samples, 8 for each distance, and for
    each batch size what :func:`landscape.probes.auditing.batches.batch_size_curve` says. Memory: a copy of the model.

    Examples
    --------
    >>> from landscape.testing.problems import saddle
    >>> known = saddle()
    >>> lowest = torch.linalg.eigh(known.hessian).eigenvectors[:, 0]
    >>> found = audit(known.problem, lowest)
    >>> found.verdict.name, found.scope
    ('REAL', 'these samples')
    """
    _check_direction(problem, direction)
    _check_settings(problem, fresh, params, steps, alpha, num_groups, num_draws, num_matvecs)
    sizes = possible_sizes(problem.batches, batch_sizes)
    generator = torch.Generator().manual_seed(0) if generator is None else generator
    spent = -_total_cost(problem, fresh)
    operator = problem.hessian(params, method=method, verify=verify)
    resolved: HessianMethod = "finite-difference" if isinstance(operator, FiniteDifferenceHessian) else "autograd"
    ours = Place(problem.objective, params, resolved)
    judge = _in_float64(ours)
    same = _on_same_data(operator, judge.hessian(), direction, generator)
    others = (
        None if fresh is None else _in_float64(Place(fresh.objective, _same_point(fresh, ours), resolved)).hessian()
    )
    curve = batch_size_curve(
        ours,
        _unit(direction, operator),
        sizes,
        fresh=others,
        num_draws=num_draws,
        num_matvecs=num_matvecs,
        generator=generator,
    )
    held_out = None
    if others is not None:
        held_out = held_out_test(others, _unit(direction, others), num_groups=num_groups, alpha=alpha)
    distances = default_steps(judge.point()) if steps is None else steps
    unit = _unit(direction, judge.hessian())
    rows = difference_table(judge, unit, same.exact, same.scale, distances) if distances else ()
    verdict, reason = decide(same.value, same.exact, same.exact_error, rows, held_out)
    return Audit(
        verdict=verdict,
        reason=reason,
        curvature=same.value,
        curvature_error=same.error,
        exact_curvature=same.exact,
        exact_error=same.exact_error,
        is_exact=judge.objective.layout.dtype == torch.float64,
        held_out=held_out,
        steps=rows,
        batch_sizes=curve,
        gradient_equivalents=(spent + _total_cost(problem, fresh)) / problem.num_samples,
    )


class _SameData(NamedTuple):
    """Curvatures over the problem's own samples, in both precisions, and the norm that rounding is relative to."""

    value: float
    error: float
    exact: float
    exact_error: float
    scale: float


def _on_same_data(
    operator: CurvatureOperator, judge: CurvatureOperator, direction: Tensor, generator: torch.Generator
) -> _SameData:
    value, length = _along(operator, direction)
    exact, exact_length = _along(judge, direction) if judge.dtype != operator.dtype else (value, length)
    scale = max(length, exact_length, _norm_estimate(judge, generator))
    return _SameData(value, operator.product_error * scale, exact, judge.product_error * scale, scale)


def _along(operator: CurvatureOperator, direction: Tensor) -> tuple[float, float]:
    """Curvature v'Hv and length ‖Hv‖ for the unit vector v (1 product)."""
    unit = _unit(direction, operator)
    product = operator @ unit
    return dot(unit, product) / dot(unit, unit), norm(product)


def _unit(direction: Tensor, operator: CurvatureOperator) -> Tensor:
    """The direction with length 1, in the operator's dtype."""
    return (direction.detach().double() / norm(direction)).to(operator.dtype)


def _norm_estimate(operator: CurvatureOperator, generator: torch.Generator) -> float:
    """About ‖H‖, from below: a few Lanczos steps from a random vector."""
    if operator.dtype not in (torch.float32, torch.float64):
        return 0.0
    space = KrylovSpace(operator, random_start(operator, generator))
    while space.status is Status.RUNNING and space.num_steps < min(_NORM_MATVECS, operator.size):
        space.extend()
    return space.norm_estimate


def _in_float64(place: Place) -> Place:
    """The same on a copy of the model in float64; the place itself if there can be none, or it is in float64."""
    if place.objective.layout.dtype == torch.float64:
        return place
    copied = place.objective.copied(torch.float64)
    if copied is None:
        return place
    return Place(copied, None if place.params is None else place.params.double(), place.method)


def _same_point(fresh: Problem, place: Place) -> Tensor | None:
    """The point as fresh samples are evaluated there: None if their own model stands there."""
    point = place.point()
    return None if torch.equal(fresh.params(), point) else point


def _total_cost(problem: Problem, fresh: Problem | None) -> float:
    """In gradients of one sample."""
    ledgers = [problem.cost] if fresh is None or fresh.cost is problem.cost else [problem.cost, fresh.cost]
    return sum(ledger.gradient_equivalents * ledger.num_samples for ledger in ledgers)


def _check_direction(problem: Problem, direction: Tensor) -> None:
    check_direction(direction, problem.num_params, problem.layout.dtype, problem.layout.device)
    if not isinstance(direction, Tensor) or direction.dim() != 1:
        raise ValueError(f"an audit is of one direction, a vector of shape ({problem.num_params},).")


def _check_settings(
    problem: Problem,
    fresh: Problem | None,
    params: Tensor | None,
    steps: Sequence[float] | None,
    alpha: float,
    num_groups: int,
    num_draws: int,
    num_matvecs: int,
) -> None:
    """Refuse what cannot be asked, before any work."""
    if params is not None:
        problem.layout.check_vector(params)
    if fresh is not None and (fresh.layout.names, fresh.layout.shapes) != (problem.layout.names, problem.layout.shapes):
        raise ValueError(
            f"fresh varies {fresh.num_params} parameters ({', '.join(fresh.layout.names)}), the problem "
            f"{problem.num_params} ({', '.join(problem.layout.names)}). Make both of the same model and params."
        )
    if not 0 < alpha < 0.5:
        raise ValueError(f"alpha={alpha} was given; the level of a test lies between 0 and 0.5.")
    if num_groups < 2 or num_draws < 1 or num_matvecs < 2:
        raise ValueError(
            f"num_groups={num_groups}, num_draws={num_draws}, num_matvecs={num_matvecs} were given; at least 2, 1 and 2."
        )
    if steps is not None and not all(0 < step < float("inf") for step in steps):
        raise ValueError(f"steps={list(steps)} were given; distances are finite and above 0.")
