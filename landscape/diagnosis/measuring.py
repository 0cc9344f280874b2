"""The work of a diagnosis: one measurement after the other, within the budget, until done or stopped."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace

from landscape.diagnosis.bar import Progress
from landscape.diagnosis.finding import Finding
from landscape.diagnosis.measurements import PROBES, Probe, places
from landscape.diagnosis.workbench import Workbench
from landscape.status import Status

#: How measurements end that a Ctrl-C has cut short and that kept what they knew.
_STOPPED = (str(Status.INTERRUPTED), str(Status.CUT_SHORT))
_NOT_FINITE = "The loss or its gradient is not finite here, so there is no curvature to measure."


def measure(bench: Workbench, progress: Progress | None) -> tuple[dict[str, Finding], Status]:
    """Make all measurements that level and budget allow.

    Parameters
    ----------
    bench : Workbench
    progress : callable or None
        Called before each measurement, within long ones, and at the end with an empty text. It may raise
        KeyboardInterrupt.

    Returns
    -------
    dict of str to Finding
        All of them by key; those left out say why.
    Status
        COMPLETED, BUDGET_SPENT or CUT_SHORT.
    """
    found: dict[str, Finding] = {}
    stopped = False
    try:
        for index, probe in enumerate(PROBES):
            _tell(bench, progress, probe, PROBES[index + 1 :])
            for finding in _measured(bench, probe):
                found[finding.key] = finding
                stopped |= finding.status in _STOPPED
            if stopped:
                break
    except KeyboardInterrupt:
        stopped = True
    if progress is not None:
        try:
            progress("", 1.0)
        except KeyboardInterrupt:
            stopped |= len(found) < len(list(places("")))
    for finding in places("Stopped on request before this was measured."):
        found.setdefault(finding.key, finding)
    if stopped:
        return found, Status.CUT_SHORT
    return found, Status.BUDGET_SPENT if bench.was_shortened else Status.COMPLETED


def _tell(bench: Workbench, progress: Progress | None, probe: Probe, later: Sequence[Probe]) -> None:
    """Say what comes now, and how far the work has come: by what is spent, and by what is left at most."""
    after = bench.reserved = sum(other.price(bench) for other in later)
    own, begun = probe.price(bench), bench.spent

    def tick() -> None:
        if progress is not None:
            left = after + max(0.0, own - (bench.spent - begun))
            left = min(left, max(0.0, bench.remaining))
            progress(probe.titles[0], min(1.0, bench.spent / max(bench.spent + left, 1e-9)))

    bench.tick = tick
    tick()


def _measured(bench: Workbench, probe: Probe) -> list[Finding]:
    """Its findings with their cost, or why there are none."""
    price = probe.price(bench)
    least = price if probe.least is None else min(price, probe.least(bench))
    if price == 0.0:
        return probe.without("Not part of this level.", "Ask for a higher level.")
    if least > bench.remaining:
        bench.was_shortened = True
        left = f"The budget has {max(0.0, bench.remaining):.3g} GE left; this takes about {least:.3g}."
        return probe.without(left, "Give a larger budget.")
    if probe.keys[0] not in ("stationarity", "precision") and not bench.is_finite:
        return probe.without(_NOT_FINITE)
    spent, started = bench.spent, time.perf_counter()
    given = probe.measure(bench)
    found = given if isinstance(given, list) else [given]
    cost, seconds = (bench.spent - spent) / len(found), (time.perf_counter() - started) / len(found)
    return [replace(finding, gradient_equivalents=cost, seconds=seconds) for finding in found]
