"""The ends of a spectrum, from one Krylov space that stops by itself."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from landscape.operators.base import LinearOperator
from landscape.probes.certificate.bounds import check_probability
from landscape.probes.lanczos.block import BlockKrylovSpace
from landscape.probes.lanczos.ends import ENDS, EndEstimate, Settling
from landscape.probes.lanczos.inputs import check_precision, memory_rows, random_start, unit_vector
from landscape.probes.lanczos.krylov import KrylovSpace, Ritz
from landscape.probes.lanczos.result import LanczosResult, RitzPair
from landscape.probes.lanczos.thick_restart import LEAST_ROWS, ThickRestartSpace
from landscape.probes.lanczos.two_pass import TwoPassSpace
from landscape.probes.target import Target, operator_of
from landscape.status import Status

__all__ = ["Callback", "LanczosResult", "RitzPair", "lanczos", "random_start"]

BASES = ("auto", "full", "restart", "two-pass")
# Length of the fresh random part of a warm start, relative to the old end vectors. It is what a new end is found by.
FRESH = 0.1

#: Called after each look at the Ritz values with the products spent and the Ritz pairs; True asks to stop.
Callback = Callable[[int, Ritz], Any]
Space = KrylovSpace | BlockKrylovSpace


def lanczos(
    operator: Target,
    *,
    ends: str = "both",
    rtol: float = 1e-2,
    max_matvecs: int = 200,
    max_memory: int | None = None,
    start: Tensor | LanczosResult | None = None,
    block_size: int = 1,
    basis: str = "auto",
    miss_probability: float = 0.3,
    generator: torch.Generator | None = None,
    callback: Callback | None = None,
) -> LanczosResult:
    r"""Find the smallest and the largest eigenvalue of a symmetric operator, with eigenvectors and error estimates.

    Both come out of the same products, and the iteration stops by itself.

    Parameters
    ----------
    operator : LinearOperator of shape (n, n), or Problem
        In float32 or float64; a problem stands for its Hessian where the model is. Symmetry is
        assumed; ``stray`` in the result tells of its absence.
    ends : {"both", "smallest", "largest"}
        The ends that must be settled before it stops.
    rtol : float, default 1e-2
        Error allowed, relative to ``max(|value|, 1e-3 ‖A‖)``: the second one is for ends near 0.
    max_matvecs : int, default 200
        Products allowed.
    max_memory : int, optional
        Bytes for the basis, which otherwise takes one vector for each product.
    start : Tensor of shape (n,) or LanczosResult, optional
        First vector, or an earlier result whose end vectors, plus a little randomness, to begin with. Default: random.
    block_size : int, default 1
        Vectors multiplied at once. More than 1 finds eigenvalues that are that many times in the spectrum.
    basis : {"auto", "full", "restart", "two-pass"}
        ``"full"`` refuses a limit that ``max_matvecs`` might reach. ``"restart"`` condenses the basis when it is full
        (thick restart). ``"two-pass"`` stores no basis, and spends half of the products on the end vectors in a second
        pass. ``"auto"`` is full up to ``max_memory``, then restarts.
    miss_probability : float, default 0.3
        For a random start: bound on the probability, over that vector, of stopping while an end is still further away
        than allowed. The bound is loose: on 60 starts with a bottom gap of 6 % no run missed.
    generator : torch.Generator, optional
        Source of the start vector. Default: one of its own, with seed 0.
    callback : callable, optional
        ``callback(num_matvecs, ritz)`` after each check; returning True stops with ``INTERRUPTED``.

    Returns
    -------
    LanczosResult

    Raises
    ------
    ValueError
        Before any product: for an option out of its range, a start that is 0, not finite or of another shape, or a memory
        limit that is too small for the method.

    Notes
    -----
    *Stopping.* An end is settled if, at two checks in a row, its error estimate (residual norm r, or
    :math:`r^2/\mathrm{gap}`) is within the tolerance, and, for a random start with the whole basis, also its distance to
    the probability bound of van Dorsselaer et al. A residual alone can be small at a *wrong* eigenvalue: it says that an
    eigenvalue is near, not that it is the last one. On a spectrum like a vision transformer's (bottom gap 6 %, ends
    -0.8 and 29.4) it stopped at the wrong one in 4 of 60 runs; with the bound, in 1 of 60, five products later.

    *Cost.* One product a step, and about 8 k n multiplications and additions to keep the basis orthonormal. Memory: the
    basis, (k + 1) n numbers.

    *Interruption.* Ctrl-C ends the iteration and returns what is known, also in the middle of a product.

    References
    ----------
    Parlett (1998), The Symmetric Eigenvalue Problem. Wu, Simon (2000), SIAM J. Matrix Anal. Appl. 22 (restarts).
    van Dorsselaer, Hochstenbach, van der Vorst (2000), SIAM J. Matrix Anal. Appl. 22 (bound).

    Examples
    --------
    >>> from landscape.operators.matrix import MatrixOperator
    >>> curvatures = torch.cat([torch.tensor([-0.5, 20.0]), torch.linspace(0, 1, 98)]).double()
    >>> result = lanczos(MatrixOperator(torch.diag(curvatures)))
    >>> result.status.name, round(result.smallest.value, 3), round(result.largest.value, 3)
    ('SETTLED', -0.5, 20.0)
    """
    _check_choices(ends, rtol, max_matvecs, basis)
    check_probability("miss_probability", miss_probability)
    operator = operator_of(operator)
    _check_sizes(operator, max_matvecs, block_size, basis)
    generator = generator if generator is not None else torch.Generator().manual_seed(0)
    kind = "random" if start is None else "warm" if isinstance(start, LanczosResult) else "given"
    if basis == "full" or block_size > 1:
        memory_rows(operator, max_memory, least=max_matvecs + block_size)
    rows = _start_rows(operator, start, block_size, generator)
    space = _open_space(operator, rows, max_memory, block_size, basis)
    settling = Settling(ends, rtol, miss_probability)
    before = operator.num_matvecs
    status = _run(space, settling, max_matvecs, callback, has_bound=kind == "random")
    return _result(space, settling, status, kind, before, max_matvecs)


def _check_choices(ends: str, rtol: float, max_matvecs: int, basis: str) -> None:
    """What can be refused before a problem is looked at."""
    if ends not in ENDS:
        raise ValueError(f"ends={ends!r} was given; choose one of {', '.join(map(repr, ENDS))}.")
    if basis not in BASES:
        raise ValueError(f"basis={basis!r} was given; choose one of {', '.join(map(repr, BASES))}.")
    if not 0.0 < rtol < 1.0:
        raise ValueError(f"rtol={rtol} was given; a relative tolerance between 0 and 1 is needed.")
    if max_matvecs < 1:
        raise ValueError(f"max_matvecs={max_matvecs} was given; one step takes 1 product at least: allow that many.")


def _check_sizes(operator: LinearOperator, max_matvecs: int, block_size: int, basis: str) -> None:
    check_precision(operator)
    if not 1 <= block_size <= operator.size:
        raise ValueError(
            f"block_size={block_size} was given; the operator has {operator.size} coordinates: 1 to that many."
        )
    if block_size > 1 and basis in ("restart", "two-pass"):
        raise ValueError(
            f"basis={basis!r} was given with block_size={block_size}; blocks are kept whole: basis='full'."
        )
    if max_matvecs < block_size:
        raise ValueError(f"max_matvecs={max_matvecs} was given; one step takes {block_size} products: allow that many.")


def _start_rows(
    operator: LinearOperator, start: Tensor | LanczosResult | None, block_size: int, generator: torch.Generator
) -> Tensor:
    """Where to begin, as rows: a block's worth, or vectors whose sum will be the first one."""
    if start is None:
        return random_start(operator, generator, block_size)
    if isinstance(start, Tensor):
        rows = unit_vector(operator, start)[None]
    else:
        ends = [pair.vector for pair in (start.smallest, start.largest) if pair.vector is not None]
        if len(ends) < 2:
            raise ValueError("start is a result without end vectors (interrupted too early); begin without it.")
        if ends[0].shape != (operator.size,):
            raise ValueError(f"start is a result for {ends[0].numel()} coordinates, the operator has {operator.size}.")
        rows = torch.stack(ends).to(device=operator.device, dtype=operator.dtype)
        rows = rows + FRESH * random_start(operator, generator, 2) / math.sqrt(operator.size)
    return torch.cat([rows, random_start(operator, generator, max(0, block_size - len(rows)))])


def _open_space(operator: LinearOperator, rows: Tensor, max_memory: int | None, block_size: int, basis: str) -> Space:
    if block_size > 1:
        return BlockKrylovSpace(operator, rows[:block_size], max_memory=max_memory)
    if basis == "two-pass":
        return TwoPassSpace(operator, rows.sum(dim=0))
    if basis == "restart" and max_memory is None:
        raise ValueError(
            "basis='restart' was given without max_memory, so it would never restart. Give the bytes that the basis may "
            f"take, {LEAST_ROWS} vectors at least."
        )
    return ThickRestartSpace(operator, rows.sum(dim=0), max_memory=max_memory)


def _run(space: Space, settling: Settling, max_matvecs: int, callback: Callback | None, *, has_bound: bool) -> Status:
    """Extend the space until the ends are settled or something stops it."""
    operator, before, steps = space.operator, space.operator.num_matvecs, 0
    limit = max(1, (max_matvecs - 1) // 2) if isinstance(space, TwoPassSpace) else max_matvecs
    try:
        while space.status is Status.RUNNING:
            width = space.width if isinstance(space, BlockKrylovSpace) else 1
            if operator.num_matvecs - before + width > limit:
                return Status.MAX_MATVECS
            if isinstance(space, ThickRestartSpace) and not space.has_room and not _condense(space, settling):
                break
            space.extend()
            steps += 1
            if steps % space.sync_every and space.status is Status.RUNNING:
                continue
            ritz = space.ritz()
            bounded = space if has_bound and isinstance(space, KrylovSpace) and space.is_plain else None
            settled = space.status is Status.RUNNING and settling.is_settled(ritz, bounded)
            if callback is not None and callback(operator.num_matvecs - before, ritz):
                return Status.INTERRUPTED
            if settled:
                return Status.SETTLED
    except KeyboardInterrupt:
        return Status.INTERRUPTED
    return space.status


def _condense(space: ThickRestartSpace, settling: Settling) -> bool:
    """Restart with half of the pairs; an end that is settled, or was not asked for, needs only its own.

    Returns whether the space still grows: the last steps, only now looked at, may have ended it.
    """
    space.sync()
    if space.status is not Status.RUNNING:
        return False
    kept = max(2, space.dimension // 2)
    needy = [end for end in settling.ends if not settling.held(end)] or list(settling.ends)
    if len(needy) == 2:
        space.restart(kept - kept // 2, kept // 2)
    elif needy == ["smallest"]:
        space.restart(kept - 1, 1)
    else:
        space.restart(1, kept - 1)
    return True


def _result(
    space: Space, settling: Settling, status: Status, kind: str, before: int, max_matvecs: int
) -> LanczosResult:
    ritz = space.ritz()
    plain = space if isinstance(space, KrylovSpace) and space.is_plain else None
    smallest, largest = _nothing(), _nothing()
    if len(ritz.values):
        left = max_matvecs - (space.operator.num_matvecs - before)
        vectors, residuals, status = _end_vectors(space, ritz, status, left)
        bounded = plain if kind == "random" else None
        found = [settling.estimate(ritz._replace(residual_norms=residuals), end, bounded) for end in ENDS["both"]]
        smallest, largest = (
            _pair(one, vector, settling.tolerance(ritz, one.value)) for one, vector in zip(found, vectors, strict=True)
        )
    recurrence = plain if plain is not None else space if isinstance(space, TwoPassSpace) else None
    empty = torch.empty(0, dtype=torch.float64)
    return LanczosResult(
        ritz_values=ritz.values,
        residual_norms=ritz.residual_norms,
        smallest=smallest,
        largest=largest,
        alphas=recurrence.alphas if recurrence is not None else empty,
        betas=recurrence.betas if recurrence is not None else empty,
        status=status,
        num_matvecs=space.operator.num_matvecs - before,
        orthogonality_defect=space.orthogonality_defect() if space.intact else math.nan,
        stray=space.stray,
        start=kind,
        norm_estimate=max(abs(smallest.value), abs(largest.value)),
        num_restarts=space.num_restarts if isinstance(space, ThickRestartSpace) else 0,
    )


def _end_vectors(space: Space, ritz: Ritz, status: Status, left: int) -> tuple[list[Tensor | None], Tensor, Status]:
    """Both end vectors where they can be had, all residual norms, and the status, which may change on the way."""
    two_pass = isinstance(space, TwoPassSpace)
    if not space.intact or (two_pass and status in (Status.INTERRUPTED, Status.NONFINITE_PRODUCT)):
        return [None, None], ritz.residual_norms, status
    ends = [0, len(ritz.values) - 1]
    try:
        vectors = list(space.ritz_vectors(ends))
        residuals = ritz.residual_norms.clone()
        if two_pass and left >= len(ritz.values) + 1:
            # Nothing kept the basis orthogonal: measure instead of trusting the recurrence.
            for index, vector in zip(ends, vectors, strict=True):
                off = (space.operator @ vector).detach() - float(ritz.values[index]) * vector
                residuals[index] = float(torch.linalg.vector_norm(off, dtype=torch.float64))
    except KeyboardInterrupt:
        return [None, None], ritz.residual_norms, Status.INTERRUPTED
    return [*vectors], residuals, status


def _pair(one: EndEstimate, vector: Tensor | None, tolerance: float) -> RitzPair:
    return RitzPair(one.value, vector, one.residual_norm, one.gap_error, one.bound, one.is_within(tolerance))


def _nothing() -> RitzPair:
    return RitzPair(math.nan, None, math.nan, math.nan, math.nan, converged=False)
