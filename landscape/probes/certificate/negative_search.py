"""Growing one Krylov space until it shows negative curvature, or that there is none worth the name."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from landscape.probes.certificate.interval import MAX_DEFECT, Interval, narrowed, rayleigh_quotient
from landscape.probes.lanczos.lanczos import Callback
from landscape.probes.lanczos.thick_restart import ThickRestartSpace
from landscape.status import Status


@dataclass(frozen=True)
class SearchSettings:
    """What :func:`landscape.probes.certificate.certificate.certify_operator` was asked, as far as one start is concerned.

    Attributes
    ----------
    n : int
        Dimension in which the start vector is uniform.
    eps, delta, max_matvecs, early, negative_below, callback
        As there, delta being that of this check.
    """

    n: int
    eps: float
    delta: float
    max_matvecs: int
    early: bool
    negative_below: float
    callback: Callback | None


@dataclass
class SearchOutcome:
    """What one start has led to.

    Attributes
    ----------
    interval : Interval
    status : Status
        ``SETTLED`` if there is a verdict, or if the basis lost its orthogonality and there can be none.
    is_negative, is_above : bool
        What was shown; both can be true at once.
    direction : Tensor of shape (n,) or None
        Ritz vector of the smallest Ritz value: if ``is_negative``, that along which the curvature was measured.
    defect : float
        Orthogonality defect of the basis, where it was measured.
    refuted : float
        Ritz value for which a witness was last asked.
    """

    interval: Interval
    status: Status = Status.RUNNING
    is_negative: bool = False
    is_above: bool = False
    direction: Tensor | None = None
    defect: float = 0.0
    refuted: float = 0.0

    @property
    def is_cut_short(self) -> bool:
        """Whether another start would meet the same fate, or is not wanted."""
        return self.status in (Status.INTERRUPTED, Status.NONFINITE_PRODUCT)


def search(space: ThickRestartSpace, settings: SearchSettings) -> SearchOutcome:
    """Grow a space that begins with a random vector until it decides something or may not go on.

    Notes
    -----
    One product of the budget is kept for a witness, a second one for a better witness where the search goes on. A Ctrl-C
    ends the search with what is known.
    """
    outcome = SearchOutcome(Interval())
    before = space.operator.num_matvecs
    try:
        outcome.status = _grow(space, settings, outcome)
        if outcome.status is not Status.NONFINITE_PRODUCT and space.dimension and space.intact:
            outcome.defect = max(outcome.defect, space.orthogonality_defect())
            if outcome.direction is None:
                outcome.direction = space.ritz_vectors([0])[0]
            elif outcome.is_negative and space.operator.num_matvecs - before < settings.max_matvecs:
                _renew_witness(space, outcome)
    except KeyboardInterrupt:
        outcome.status = Status.INTERRUPTED
    if outcome.defect > MAX_DEFECT:
        outcome.interval, outcome.is_above = outcome.interval.without_bounds(), False
    return outcome


def _grow(space: ThickRestartSpace, settings: SearchSettings, outcome: SearchOutcome) -> Status:
    operator = space.operator
    before, steps = operator.num_matvecs, 0
    limit = max(1, settings.max_matvecs - (1 if settings.early else 2))
    while operator.num_matvecs - before < limit:
        if not space.has_room:
            space.sync()
            if space.status is Status.RUNNING:
                space.restart(max(2, space.dimension // 2) - 1, 1)
        if space.status is Status.RUNNING:
            space.extend()
            steps += 1
        is_last = space.status is not Status.RUNNING or operator.num_matvecs - before >= limit
        if steps % space.sync_every and not is_last:
            continue
        space.sync()
        if space.status is Status.NONFINITE_PRODUCT:
            return space.status
        _look(space, settings, outcome, settings.max_matvecs - (operator.num_matvecs - before))
        if settings.callback is not None and settings.callback(operator.num_matvecs - before, space.ritz()):
            return Status.INTERRUPTED
        if _is_done(settings, outcome):
            return Status.SETTLED
        if space.status is Status.BREAKDOWN:
            return space.status
    return Status.MAX_MATVECS


def _look(space: ThickRestartSpace, settings: SearchSettings, outcome: SearchOutcome, left: int) -> None:
    """Narrow the interval, and try to show what it suggests."""
    interval = outcome.interval = narrowed(outcome.interval, space, n=settings.n, delta=settings.delta)
    scale = max(interval.lambda_max, 0.0)
    # A witness that failed means that the products contradict the recurrence: ask again only for much more.
    threshold = min(-settings.negative_below * scale, 2.0 * outcome.refuted)
    if not outcome.is_negative and left and interval.ritz_value + interval.error < threshold:
        outcome.direction = space.ritz_vectors([0])[0]
        measured = rayleigh_quotient(space, outcome.direction) + interval.error
        outcome.is_negative = measured < -settings.negative_below * scale
        outcome.refuted = interval.ritz_value
    if interval.lower >= -settings.eps * scale and not outcome.is_above:
        outcome.defect = max(outcome.defect, space.orthogonality_defect())
        outcome.is_above = outcome.defect <= MAX_DEFECT


def _renew_witness(space: ThickRestartSpace, outcome: SearchOutcome) -> None:
    """Where the search went on after the first witness, measure along the Ritz vector that it ended with."""
    if outcome.interval.ritz_value >= outcome.refuted:
        return
    direction = space.ritz_vectors([0])[0]
    if rayleigh_quotient(space, direction) < outcome.refuted:
        outcome.direction, outcome.refuted = direction, outcome.interval.ritz_value


def _is_done(settings: SearchSettings, outcome: SearchOutcome) -> bool:
    if settings.early:
        return outcome.is_negative or outcome.is_above or outcome.defect > MAX_DEFECT
    return (outcome.is_negative or outcome.is_above) and outcome.interval.is_tight
