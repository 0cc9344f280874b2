"""Whether the negative direction is there on other data, at other batch sizes and over finite distances."""

from __future__ import annotations

import math
from dataclasses import asdict, replace
from typing import Any

from torch import Tensor

from landscape.diagnosis.finding import Finding, Outlook, not_measured
from landscape.diagnosis.titles import CURVATURE, TITLES
from landscape.diagnosis.workbench import FREE, Workbench
from landscape.probes.auditing.audit import audit
from landscape.probes.auditing.batches import HeldOut, held_out_test, possible_sizes
from landscape.probes.auditing.result import Audit, AuditVerdict
from landscape.probes.auditing.steps import RELATIVE_STEPS
from landscape.probes.certificate.certificate import Verdict
from landscape.vectors import norm

#: Level of each one-sided bound.
ALPHA = 0.05
#: Groups of samples that the test compares.
NUM_GROUPS = 10
#: Products of the Lanczos run on each batch, and batches at most on which its direction is tried.
_BATCH_PRODUCTS, _OTHERS = 10, 16


def price_of_held_out(bench: Workbench) -> float:
    """One product with graphs of its own and a few forwards over the other data; an audit where the level asks for one."""
    price = 0.0
    if bench.fresh is not None:
        share = bench.fresh.num_samples / bench.problem.num_samples
        price = share * (bench.price_of_making + 2.0 + 4.0 / 3.0)
    if not bench.level.audit_draws:
        return price if price else FREE
    num_samples, making = bench.problem.num_samples, bench.price_of_making
    batches = sum(
        (making + 2.0 * (_BATCH_PRODUCTS + 1 + min(_OTHERS, num_samples / size))) * size / num_samples
        for size in possible_sizes(bench.problem.batches, None)
    )
    return price + making + 16.0 + 1.0 + 8.0 * len(RELATIVE_STEPS) + bench.level.audit_draws * batches


def held_out(bench: Workbench) -> Finding:
    """A t-test of the curvature along the negative direction, on data that it was not found on."""
    found, title = bench.certificate, TITLES["held_out"]
    if found is None:
        return not_measured(
            "held_out", title, "A", "The smallest eigenvalue was not measured, so there is no direction to test."
        )
    if found.verdict is not Verdict.NEGATIVE or found.direction is None:
        return not_measured(
            "held_out", title, "A", "No direction of negative curvature was found, so there is none to test."
        )
    unit = found.direction / norm(found.direction)
    if bench.level.audit_draws:
        return _audited(bench, unit, bench.along_direction)
    if bench.fresh is None:
        reason = "No other data were given. Negative curvature found on a sample is larger there than elsewhere."
        return not_measured(
            "held_out", title, "A", reason, "Give held_out=..., data that the model was not trained on."
        )
    operator = bench.fresh.hessian(method=bench.method, verify=False)
    return _tested(held_out_test(operator, unit, num_groups=NUM_GROUPS, alpha=ALPHA), bench.along_direction)


def _tested(test: HeldOut, same_data: float) -> Finding:
    if math.isnan(test.upper):
        outlook = Outlook.UNDECIDED
        meaning = f"On other data the curvature of that direction is {test.mean:.3g}; its error is not known."
        step = "Give held-out data that can be dealt into groups: tensors, a Dataset, or several batches."
    elif test.upper < 0:
        outlook = Outlook.UNFAVOURABLE
        meaning = (
            f"On other data that direction curves down, too: {test.mean:.3g}, here {same_data:.3g}. No sampling noise."
        )
        step = "Choose a second phase that bears negative curvature (newton-cg), or train on."
    elif test.lower > 0:
        outlook = Outlook.NEUTRAL
        meaning = (
            f"On other data the same direction curves up: {test.mean:.3g}, here {same_data:.3g}. What is negative belongs to "
            "these samples, not to what they were drawn from."
        )
        step = "A deterministic optimiser on these samples meets it all the same. More samples would show less of it."
    else:
        outlook = Outlook.UNDECIDED
        meaning = f"On other data the curvature of that direction is {test.mean:.3g}, which cannot be told from 0."
        step = "Give more held-out data."
    return Finding(
        "held_out",
        TITLES["held_out"],
        "A",
        outlook,
        meaning,
        value=test.mean,
        error=None if math.isnan(test.standard_error) else test.standard_error,
        interval=None if math.isnan(test.upper) else (test.lower, test.upper),
        unit=CURVATURE,
        threshold=0.0,
        threshold_text="negative below",
        next_step=step,
        details={
            "same_data": same_data,
            "mean": test.mean,
            "lower": test.lower,
            "upper": test.upper,
            "p_value": test.p_value,
            "num_samples": test.num_samples,
            "num_groups": test.num_groups,
        },
    )


def _audited(bench: Workbench, unit: Tensor, same_data: float) -> Finding:
    """The same, with float64, finite distances and other batch sizes."""
    found = audit(
        bench.problem,
        unit,
        fresh=bench.fresh,
        alpha=ALPHA,
        num_groups=NUM_GROUPS,
        num_draws=bench.level.audit_draws,
        num_matvecs=_BATCH_PRODUCTS,
        method=bench.method,
        generator=bench.generator(9),
        verify=False,
    )
    details: dict[str, Any] = {
        "same_data": same_data,
        "exact": found.exact_curvature,
        "audit": found.verdict.name,
        "reason": found.reason,
        "steps": [asdict(row) for row in found.steps],
        "rows": [asdict(row) for row in found.batch_sizes],
    }
    if found.held_out is not None:
        tested = _tested(found.held_out, same_data)
        details.update(tested.details)
        if found.verdict not in (AuditVerdict.KINK, AuditVerdict.ROUNDING, AuditVerdict.NOT_NEGATIVE):
            return replace(tested, details=details, meaning=tested.meaning + _batches(found))
        return replace(tested, details=details, meaning=f"{tested.meaning} {found.verdict} {found.reason}")
    outlook = Outlook.UNDECIDED if found.verdict in (AuditVerdict.REAL, AuditVerdict.UNDECIDED) else Outlook.NEUTRAL
    return Finding(
        "held_out",
        TITLES["held_out"],
        "A",
        outlook,
        f"No other data were given. On these: {found.reason}{_batches(found)}",
        next_step="Give held_out=..., data that the model was not trained on.",
        details=details,
    )


def _batches(found: Audit) -> str:
    """What batches of the smallest size say about themselves and about each other."""
    rows = [row for row in found.batch_sizes if not math.isnan(row.out_of_sample)]
    if not rows:
        return ""
    row = rows[0]
    return (
        f" Batches of {row.batch_size} find a direction of curvature {row.in_sample:.3g} on themselves, which has "
        f"{row.out_of_sample:.3g} on others."
    )
