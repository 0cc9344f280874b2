"""What an audit of a negative curvature found, and what follows from it."""

from __future__ import annotations

import enum
import math
from collections.abc import Sequence
from dataclasses import dataclass

from landscape.probes.auditing.batches import BatchSizeRow, HeldOut
from landscape.probes.auditing.steps import StepRow


class AuditVerdict(str, enum.Enum):
    """What a negative curvature turned out to be; each value is a sentence."""

    REAL = "The negative curvature is real."
    NOISE = "The negative curvature belongs to the samples that the direction was found on; others do not show it."
    ROUNDING = "The negative curvature is rounding: it cannot be told from 0, or is not negative, with more digits."
    KINK = (
        "Kinks of the loss decide: the Hessian, which does not see them, and the loss itself disagree about the sign."
    )
    NOT_NEGATIVE = "The curvature is not negative, so there is nothing to explain."
    UNDECIDED = "Undecided."

    def __str__(self) -> str:
        return self.value


@dataclass(frozen=True)
class Audit:
    """The evidence about one negative curvature, and what follows from it.

    Attributes
    ----------
    verdict : AuditVerdict
    reason : str
        The evidence that decided.
    curvature, curvature_error : float
        d'Hd / d'd over the problem's samples in the model's precision, and how far rounding may have moved it.
    exact_curvature, exact_error : float
        The same on a copy of the model in float64; those above again if the model is in float64 or cannot be copied.
    is_exact : bool
        Whether the latter are in float64.
    held_out : HeldOut or None
        On fresh samples; None if none were given.
    steps : tuple of StepRow
        Over finite distances, largest first.
    batch_sizes : tuple of BatchSizeRow
        What batches of several sizes would have said; empty if not measured.
    gradient_equivalents : float
        What all of it cost, in gradients over the problem's data.
    """

    verdict: AuditVerdict
    reason: str
    curvature: float
    curvature_error: float
    exact_curvature: float
    exact_error: float
    is_exact: bool
    held_out: HeldOut | None
    steps: tuple[StepRow, ...]
    batch_sizes: tuple[BatchSizeRow, ...]
    gradient_equivalents: float

    @property
    def difference(self) -> float:
        """Curvature in the model's precision minus that in float64."""
        return self.curvature - self.exact_curvature

    @property
    def scope(self) -> str:
        """What the verdict is about: "population" if fresh samples were given, else "these samples"."""
        return "these samples" if self.held_out is None else "population"

    def __str__(self) -> str:
        precision = "float64" if self.is_exact else "the model's precision (not measured in float64)"
        lines = [
            f"{self.verdict} {self.reason}",
            f"  These samples: {self.curvature:.6g} (rounding {self.curvature_error:.1g}); in {precision} "
            f"{self.exact_curvature:.6g} (rounding {self.exact_error:.1g}).",
            f"  Held-out samples: {self.held_out or 'not measured (give fresh=...)'}.",
            *(f"  {row}." for row in (*self.steps, *self.batch_sizes)),
        ]
        if not self.steps:
            lines.append("  Finite distances: not measured.")
        if not self.batch_sizes:
            lines.append("  Batch sizes: not measured.")
        return "\n".join(lines)


def decide(
    curvature: float, exact: float, exact_error: float, steps: Sequence[StepRow], held_out: HeldOut | None
) -> tuple[AuditVerdict, str]:
    """The verdict and its reason from the evidence; the rules stand in the notes of :func:`landscape.audit`."""
    if not math.isfinite(exact):
        return AuditVerdict.UNDECIDED, f"The curvature along the direction is {exact}."
    if not exact < -exact_error:
        return _not_negative(curvature, exact, exact_error, steps)
    turned = [row for row in steps if row.has_kinks and row.sign > 0 and row.smooth < 0]
    if turned:
        return AuditVerdict.KINK, (
            f"Between kinks the curvature is negative ({exact:.4g}), but over {2 * turned[-1].step:.2g} and more along the "
            f"direction the slope rises: kinks add {turned[-1].kinks:.4g} to the smooth part's {turned[-1].smooth:.4g} there."
        )
    here = f"The curvature is {exact:.4g}, beyond rounding{_reach(steps)}."
    if held_out is None:
        return AuditVerdict.REAL, f"{here} This is about the loss over these samples: no held-out samples were given."
    if held_out.is_negative:
        return AuditVerdict.REAL, f"{here} Held-out samples show {held_out}."
    if exact < held_out.lower:
        return AuditVerdict.NOISE, f"{here} Held-out samples show {held_out}."
    why = "are too few to tell" if math.isnan(held_out.upper) else "allow either sign, and also the curvature found"
    return AuditVerdict.UNDECIDED, f"{here} Held-out samples show {held_out}; they {why}."


def _not_negative(
    curvature: float, exact: float, exact_error: float, steps: Sequence[StepRow]
) -> tuple[AuditVerdict, str]:
    bending = [row for row in steps if row.has_kinks and row.sign < 0]
    if bending:
        return AuditVerdict.KINK, (
            f"The Hessian's curvature is {exact:.4g}, but over {2 * bending[-1].step:.2g} along the direction the slope falls: "
            f"kinks add {bending[-1].kinks:.4g}."
        )
    if curvature < 0:
        known = f"{exact:.4g}, with rounding of {exact_error:.1g}"
        return AuditVerdict.ROUNDING, f"It was {curvature:.4g}, and is {known}."
    return AuditVerdict.NOT_NEGATIVE, f"It is {exact:.4g}."


def _reach(steps: Sequence[StepRow]) -> str:
    """Up to which distance the slope falls along the direction, as a clause."""
    resolved = [row for row in reversed(steps) if row.sign != 0]
    if not resolved:
        return "" if not steps else "; over the distances tried, differences of gradients do not resolve it"
    falling = 0
    while falling < len(resolved) and resolved[falling].sign < 0:
        falling += 1
    if falling == 0:
        return f"; it lasts over less than {2 * resolved[0].step:.2g} along the direction"
    return f", and the slope falls over up to {2 * resolved[falling - 1].step:.2g} along the direction"
