"""Why an iteration stopped: each value is the sentence that a user reads."""

from __future__ import annotations

import enum


class Status(str, enum.Enum):
    """A numerical outcome. Not an error: wrong input raises, a numerical outcome is returned.

    The value of a member is a sentence that says what happened and what to do about it; ``name`` is for programs.
    """

    RUNNING = "Nothing has stopped yet."
    CONVERGED = "The gradient norm is at or below the tolerance."
    MAX_STEPS = "The number of epochs asked for was reached. Ask for more epochs to go on from here."
    SCHEDULE_ENDED = "The learning rate has come to the end of its schedule, so further steps would change nothing."
    BUDGET_SPENT = "The budget of gradient equivalents is spent. Give a larger budget to go on from here."
    INTERRUPTED = "Stopped on request; everything up to here is kept and the run can be resumed."
    ACCEPTED = "The line search found a point that satisfies its acceptance test."
    SEARCH_FAILED = (
        "No trial point along this direction passed the acceptance test; the lowest point known was restored. The loss may "
        "be at its rounding noise, or the direction may be poor: the next step restarts from steepest descent."
    )
    STALLED = (
        "Line searches along steepest descent failed repeatedly: the loss cannot be lowered further in this precision. "
        "Use float64, or accept the point."
    )
    NONFINITE = (
        "The loss or its gradient is NaN or infinite at the current point. Look for a diverged first phase, a log or "
        "division at zero, or too large a learning rate."
    )
    SETTLED = "Every eigenvalue asked for is known to the tolerance."
    MAX_MATVECS = (
        "The number of products allowed was used up before the tolerance was met; what is known is returned. Allow more "
        "products (max_matvecs) or a larger tolerance."
    )
    BREAKDOWN = (
        "The Krylov space became invariant: its Ritz values are eigenvalues to rounding, and it holds every eigenvalue "
        "whose eigenvectors the start vector has a part of."
    )
    NONFINITE_PRODUCT = (
        "A product of the operator with a vector holds NaN or infinite entries; what was known before is returned. Look "
        "for a derivative that does not exist at this point (a root or a logarithm of 0) or an overflow."
    )

    COMPLETED = "Everything asked for was computed."
    CUT_SHORT = "Stopped on request; what is known so far is returned, with the larger error of fewer products."
    UNMEASURABLE = "An error kept this from being measured; the headline tells it."
    NO_STANDARD_ERROR = (
        "There is no standard error: the samples could not be dealt into two groups or more (a single sample, batches that "
        "cannot be cut, a loss that is no mean over samples, or a matrix that knows nothing of samples)."
    )

    def __str__(self) -> str:
        return self.value


#: Names of the outcomes in which a line search found no acceptable point, as history rows carry them.
FAILED_SEARCHES = (Status.SEARCH_FAILED.name, Status.STALLED.name)
