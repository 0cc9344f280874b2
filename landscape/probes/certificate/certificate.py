"""What can honestly be said about the smallest eigenvalue of a matrix known by its products."""

from __future__ import annotations

import enum
import math
from dataclasses import dataclass

import torch
from torch import Tensor

from landscape.operators.base import LinearOperator
from landscape.probes.certificate.bounds import check_probability, delta_at_check
from landscape.probes.certificate.deflation import DeflatedOperator, Deflation
from landscape.probes.certificate.interval import MAX_DEFECT, Interval, steps_needed
from landscape.probes.certificate.negative_search import SearchOutcome, SearchSettings, search
from landscape.probes.lanczos.inputs import check_precision, random_start
from landscape.probes.lanczos.lanczos import Callback
from landscape.probes.lanczos.thick_restart import ThickRestartSpace
from landscape.status import Status


class Verdict(str, enum.Enum):
    """Three answers, never two: what is not proven is not claimed."""

    NEGATIVE = "a direction of negative curvature was found"
    ABOVE = "no eigenvalue below the tolerance, except with a known probability"
    UNDECIDED = "neither could be shown"

    def __str__(self) -> str:
        return self.name


@dataclass(frozen=True, eq=False)
class Certificate:
    """An interval for lambda_min, and what it allows to claim.

    Attributes
    ----------
    verdict : Verdict
    lower : float
        lambda_min is at least this, except with ``failure_probability``.
    upper : float
        lambda_min is at most this: no probability is involved.
    ritz_value : float
        Best estimate of lambda_min, at most ``error`` below ``upper``.
    lambda_max : float
        Largest Ritz value, the scale of ``eps``; at most the true one.
    lambda_max_upper : float
        lambda_max is at most this, except with ``failure_probability``, which covers ``lower`` and this one together: by
        the union bound, each has half of ``delta`` in each start.
    ratio : float
        ``ritz_value / lambda_max``; NaN unless lambda_max is positive.
    error : float
        What the products' error, rounding and asymmetry may have done; part of ``lower`` and ``upper`` already.
    direction : Tensor of shape (n,) or None
        The Ritz vector of ``ritz_value``: for NEGATIVE the witness, along which anybody can measure the curvature.
    eps, delta : float
        As asked.
    failure_probability : float
        Probability, over the random starts, that a bound is wrong. 0 for NEGATIVE, whose claim needs none of them.
    num_matvecs, restarts : int
        Products spent; independent starts made.
    steps_needed : int or None
        For UNDECIDED: an estimate of the steps of one start that would do. None if no number would.
    kw_lower : float
        The lower bound of Kuczyński and Woźniakowski, for comparison: from the number of steps instead of the betas.
    orthogonality_defect : float
        Of the worst basis.
    status : Status
        Why it stopped.
    conditions : tuple of str
        What the claim is about: the start vector, the data, the parameters, the derivative.
    """

    verdict: Verdict
    lower: float
    upper: float
    ritz_value: float
    lambda_max: float
    lambda_max_upper: float
    ratio: float
    error: float
    direction: Tensor | None
    eps: float
    delta: float
    failure_probability: float
    num_matvecs: int
    restarts: int
    steps_needed: int | None
    kw_lower: float
    orthogonality_defect: float
    status: Status
    conditions: tuple[str, ...]

    @property
    def is_above(self) -> bool:
        """Whether the lower bound is within ``-eps * lambda_max``; may be true beside a NEGATIVE that is tiny."""
        return self.lower >= -self.eps * max(self.lambda_max, 0.0)

    def __str__(self) -> str:
        return " ".join([self.claim, f"{self.num_matvecs} product{'s' * (self.num_matvecs != 1)}.", *self.conditions])

    @property
    def claim(self) -> str:
        """The verdict in one sentence or two, without the conditions."""
        scale = f"lambda_max = {self.lambda_max:.3g}"
        if self.verdict is Verdict.NEGATIVE:
            known = f"; it is at least {self.lower:.3g}, except with probability {self.failure_of_bounds:.2g}"
            share = "" if math.isnan(self.lambda_max) else f" ({_share(self.upper, self.lambda_max)} of {scale})"
            return (
                f"NEGATIVE: lambda_min is at most {self.upper:.3g}{share}{known if math.isfinite(self.lower) else ''}."
            )
        if self.verdict is Verdict.ABOVE:
            return (
                f"ABOVE: lambda_min is at least {self.lower:.3g}, which is not below -{self.eps:g} times {scale}, except "
                f"with probability {self.failure_probability:.2g}; it is at most {self.upper:.3g}."
            )
        return f"UNDECIDED: lambda_min is between {self.lower:.3g} and {self.upper:.3g} ({scale}). {self._why()}"

    @property
    def failure_of_bounds(self) -> float:
        """Probability that ``lower`` or ``lambda_max_upper`` is wrong, whatever the verdict."""
        return self.delta**self.restarts if self.restarts else 1.0

    def _why(self) -> str:
        if self.status is not Status.SETTLED and self.status is not Status.MAX_MATVECS:
            return str(self.status)
        if self.orthogonality_defect > MAX_DEFECT:
            return (
                f"The basis lost its orthogonality ({self.orthogonality_defect:.1e}, allowed {MAX_DEFECT:.0e}), so no lower "
                "bound is claimed. Use float64."
            )
        if self.steps_needed is None:
            return (
                f"No number of products would decide it at eps = {self.eps:g} with products that are off by "
                f"{self.error:.2g}. Use float64, or a larger eps."
            )
        return f"About {self.steps_needed} steps from one start may decide it; give more products (max_matvecs)."


def certify_operator(
    operator: LinearOperator,
    *,
    eps: float = 1e-3,
    delta: float = 1e-2,
    restarts: int = 1,
    max_matvecs: int = 200,
    max_memory: int | None = None,
    early: bool = True,
    negative_below: float = 0.0,
    check_number: int | None = None,
    deflate: Deflation | None = None,
    generator: torch.Generator | None = None,
    callback: Callback | None = None,
) -> Certificate:
    r"""Show that lambda_min is negative, or that it is not below ``-eps * lambda_max``, or say that neither was possible.

    Parameters
    ----------
    operator : LinearOperator of shape (n, n)
        In float32 or float64.
    eps : float, default 1e-3
        Tolerance relative to lambda_max. A singular matrix can never be shown to have lambda_min >= 0 exactly.
    delta : float, default 1e-2
        Probability with which the bounds of one start may be wrong.
    restarts : int, default 1
        Independent random starts that must all agree on ABOVE, which is then wrong with probability ``delta ** restarts``.
    max_matvecs : int, default 200
        Products allowed for each start.
    max_memory : int, optional
        Bytes for the basis. When it is full the search for negative curvature goes on in a condensed basis, but the lower
        bound stays where it was.
    early : bool, default True
        Stop as soon as there is a verdict. Otherwise go on until the interval is as tight as rounding allows.
    negative_below : float, default 0.0
        NEGATIVE only below minus this many times lambda_max.
    check_number : int, optional
        If this is check number t = 1, 2, ... of a series, delta becomes :math:`6 \delta / (\pi^2 t^2)`: then *all* checks
        of the series together are wrong with probability delta at most.
    deflate : Deflation, optional
        An orthogonal projector P. P A P is studied in its range, for the question "convex modulo symmetry?".
    generator : torch.Generator, optional
        Source of the start vectors. Default: one of its own, with seed 0.
    callback : callable, optional
        As in :func:`landscape.probes.lanczos.lanczos.lanczos`.

    Returns
    -------
    Certificate

    Raises
    ------
    ValueError
        Before any product: ``eps`` or ``delta`` not between 0 and 1, another option out of its range, a memory limit too
        small, or a ``deflate`` that is no orthogonal projector.

    Notes
    -----
    *NEGATIVE* is certain for any start: lambda_min is at most the curvature along any direction, by one product apart
    from the iteration, and e, the error of that number, is added. *ABOVE* rests on the bound of van Dorsselaer et al.
    (:func:`landscape.probes.certificate.bounds.van_dorsselaer_lower_bound`) less e. It fails only if the start vector
    happens to have almost nothing of the eigenvector of lambda_min, less than :math:`\delta \sqrt{\pi / 2n}` of its
    length. That is an event about the start vector alone: where it does not occur, the bound is right after *every*
    step, so looking at it after each step and stopping when it suffices costs no probability.

    ABOVE is refused if the basis is not orthonormal to 1e-6 (float32 bases measure 1e-7 to 4e-7), and no bound is drawn
    from a condensed basis. Fewer than about log n steps say nothing, whatever the method (Garza-Vargas, Kulkarni 2019).

    *Cost.* One product a step, one more for each witness, and the basis.

    References
    ----------
    van Dorsselaer, Hochstenbach, van der Vorst (2000), SIAM J. Matrix Anal. Appl. 22. Kuczyński, Woźniakowski (1992), SIAM
    J. Matrix Anal. Appl. 13. Garza-Vargas, Kulkarni (2019), arXiv:1904.06012.

    Examples
    --------
    >>> from landscape.operators.matrix import MatrixOperator
    >>> curvatures = torch.linspace(0.1, 10.0, 200).double()
    >>> certify_operator(MatrixOperator(torch.diag(curvatures))).verdict.name
    'ABOVE'
    >>> curvatures[0] = -0.5
    >>> found = certify_operator(MatrixOperator(torch.diag(curvatures)))
    >>> found.verdict.name, -0.5 <= found.upper < 0, found.failure_probability
    ('NEGATIVE', True, 0.0)
    """
    _check_options(operator, eps, delta, restarts, max_matvecs, negative_below)
    allowed = delta if check_number is None else delta_at_check(delta, check_number)
    generator = generator if generator is not None else torch.Generator().manual_seed(0)
    studied = operator if deflate is None else DeflatedOperator(operator, deflate, generator)
    n = operator.size if deflate is None else deflate.dimension
    settings = SearchSettings(n, eps, allowed, max_matvecs, early, negative_below, callback)
    before = operator.num_matvecs
    outcomes: list[SearchOutcome] = []
    for _ in range(restarts):
        start = random_start(operator, generator)
        space = ThickRestartSpace(studied, start if deflate is None else deflate(start), max_memory=max_memory)
        space.project = deflate
        outcomes.append(search(space, settings))
        last = outcomes[-1]
        if last.is_cut_short or (early and (last.is_negative or not last.is_above)):
            break
    return _certificate(studied, settings, outcomes, restarts, operator.num_matvecs - before)


def _check_options(
    operator: LinearOperator, eps: float, delta: float, restarts: int, max_matvecs: int, negative_below: float
) -> None:
    if not isinstance(operator, LinearOperator):
        raise ValueError(
            f"operator is a {type(operator).__name__}; a LinearOperator is needed: MatrixOperator(A) makes one of a tensor."
        )
    check_precision(operator)
    check_probability("eps", eps)
    check_probability("delta", delta)
    if restarts < 1 or max_matvecs < 1:
        raise ValueError(f"restarts={restarts} and max_matvecs={max_matvecs} were given; both must be at least 1.")
    if not 0.0 <= negative_below < 1.0:
        raise ValueError(
            f"negative_below={negative_below} was given; a share of lambda_max from 0 to below 1 is needed."
        )


def _certificate(
    operator: LinearOperator, settings: SearchSettings, outcomes: list[SearchOutcome], restarts: int, num_matvecs: int
) -> Certificate:
    verdict = _verdict(outcomes, restarts)
    status = outcomes[-1].status
    if verdict is Verdict.UNDECIDED and status is Status.NONFINITE_PRODUCT:
        # What has products that are not numbers has no spectrum either.
        outcomes = [SearchOutcome(Interval.unknown(), status)]
    witnesses = [outcome for outcome in outcomes if outcome.is_negative] or outcomes
    best = min(witnesses, key=lambda outcome: outcome.interval.ritz_value)
    intervals = [outcome.interval for outcome in outcomes]
    value, lambda_max = best.interval.ritz_value, max(interval.lambda_max for interval in intervals)
    probability = 0.0 if verdict is Verdict.NEGATIVE else settings.delta ** len(outcomes)
    return Certificate(
        verdict=verdict,
        # A bound that every start supports is wrong only if all of them are.
        lower=min(interval.lower for interval in intervals),
        upper=min(interval.upper for interval in intervals),
        ritz_value=value,
        lambda_max=lambda_max,
        lambda_max_upper=max(interval.lambda_max_upper for interval in intervals),
        ratio=value / lambda_max if lambda_max > 0 else math.nan,
        error=max(interval.error for interval in intervals),
        direction=best.direction,
        eps=settings.eps,
        delta=settings.delta,
        failure_probability=probability,
        num_matvecs=num_matvecs,
        restarts=len(outcomes),
        steps_needed=steps_needed(best.interval, settings.eps) if verdict is Verdict.UNDECIDED else None,
        kw_lower=min(interval.kw_lower for interval in intervals),
        orthogonality_defect=max(outcome.defect for outcome in outcomes),
        status=status,
        conditions=_conditions(operator, verdict, probability, len(outcomes)),
    )


def _verdict(outcomes: list[SearchOutcome], restarts: int) -> Verdict:
    if any(outcome.is_negative for outcome in outcomes):
        return Verdict.NEGATIVE
    if len(outcomes) == restarts and all(outcome.is_above for outcome in outcomes):
        return Verdict.ABOVE
    return Verdict.UNDECIDED


def _conditions(operator: LinearOperator, verdict: Verdict, probability: float, starts: int) -> tuple[str, ...]:
    if verdict is Verdict.NEGATIVE:
        chance = "The upper bound involves no probability: the curvature along the direction given was measured."
    else:
        vectors = "start vector" if starts == 1 else f"{starts} start vectors"
        chance = f"The probability {probability:.2g} is over the random {vectors}, not over data or models."
    return (
        chance,
        *data_and_parameters(operator),
        "The derivative is what the products compute; derivatives by autograd do not see the kinks of ReLU and pooling.",
    )


def data_and_parameters(operator: LinearOperator) -> tuple[str, str]:
    """The two conditions that every claim has: which data, and which parameters."""
    return (
        f"The matrix is {operator.description}; other data give another matrix.",
        "It is taken at the parameters at hand and in their own units: rescaling a layer changes eigenvalues.",
    )


def _share(value: float, whole: float) -> str:
    return f"{value / whole:.2g}" if whole > 0 else "no share"
