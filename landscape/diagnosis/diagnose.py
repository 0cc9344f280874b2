"""One call that answers: is this trained model at a convex spot, in which sense, and how sure are we."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, Literal

import torch
from torch import nn

from landscape.diagnosis.bar import Bar, Progress, progress_of
from landscape.diagnosis.caveats import caveats
from landscape.diagnosis.diagnosis import CostEstimate, Diagnosis
from landscape.diagnosis.estimate import estimated
from landscape.diagnosis.headline import headline
from landscape.diagnosis.inputs import checked_level, held_out_problem, problem_of
from landscape.diagnosis.measurements import ORDER, PROBES, expected
from landscape.diagnosis.measuring import measure
from landscape.diagnosis.provenance import provenance_of
from landscape.diagnosis.workbench import Workbench
from landscape.problem import Problem

__all__ = ["ORDER", "PROBES", "LevelName", "Progress", "diagnose"]

LevelName = Literal["quick", "standard", "thorough"]


def diagnose(
    model: nn.Module | Problem,
    loss_fn: Callable[..., torch.Tensor] | None = None,
    data: Any = None,
    *,
    level: LevelName = "standard",
    budget: float | None = None,
    held_out: Any = None,
    name: str = "model",
    batch_size: int | None = None,
    micro_batch_size: int | None = None,
    seed: int = 0,
    progress: bool | Progress | None = None,
    announce: Callable[[CostEstimate], None] | None = None,
) -> Diagnosis:
    """Measure what can be said of the loss where a model stands, and say it in words.

    Parameters
    ----------
    model : nn.Module or Problem
        A trained model, left as it is. A problem brings its loss and data along.
    loss_fn : callable, optional
        ``loss_fn(output, target) -> scalar``.
    data : tuple of Tensors, Dataset, DataLoader, or list of batches, optional
        What the loss is taken over: the training data, as a rule.
    level : {"quick", "standard", "thorough"}
        Up to about 30, 200 and 2,000 gradient equivalents, for losses over some 60 samples and more: checks on a fixed
        number of samples take a larger share of less.
    budget : float, optional
        Gradient equivalents at most; what does not fit is left out, and named. Default: what the level takes.
    held_out : data of the same kind, or Problem, optional
        On which negative curvature is tested again.
    name : str
        For reports.
    batch_size : int, optional
        Of the mini-batches that the model was trained with, for its noise floor.
    micro_batch_size : int, optional
        Samples per evaluation, to bound memory. Default: all at once for tensors.
    seed : int
        Of random vectors and samples.
    progress : bool or callable, optional
        A bar on standard error, or ``progress(what, share)`` before each measurement, within long ones and at the end.
        Default: a bar if standard error is a terminal.
    announce : callable, optional
        Given the estimate of the cost before the work begins. Default: the bar tells it.

    Returns
    -------
    Diagnosis
        Printed, it is a summary; ``save("report.html")`` writes a page. After Ctrl-C too, with what is known by then.

    Raises
    ------
    TypeError, ValueError
        If something is missing or out of range, before any work.
    VerificationError
        If the loss does not repeat itself or its derivatives are wrong; the message names the module at fault.

    Notes
    -----
    Cost: ``estimate`` tells it before the work begins, from one gradient and one product over a few samples that are timed.
    Probes that stop by themselves cost less. Every number is about the loss over these data, in the mode that the problem
    sets (``eval``), in the parameters' own units unless it says otherwise.

    The budget bounds what is counted as nominal work (:class:`landscape.Cost`). Where it is short the derivatives are not
    checked, which ``warnings`` then say.

    A loss or gradient that is not finite is a finding, not an error: nothing else is measured then. The model, its
    gradients, buffers and modes, and all random number generators are afterwards as they were.

    Examples
    --------
    >>> from landscape.testing import logistic_regression
    >>> found = diagnose(logistic_regression().problem, level="quick")
    >>> found.verdict.name, found.finding("lambda_min").claim
    ('ABOVE', 'A')
    """
    chosen = checked_level(level, budget, batch_size)
    problem = problem_of(model, loss_fn, data, micro_batch_size)
    fresh = None if held_out is None else held_out_problem(held_out, problem, micro_batch_size)
    shown = progress_of(progress)
    bench = Workbench(problem, fresh, batch_size, chosen, seed, math.inf if budget is None else float(budget))
    estimate = estimated(bench, expected(bench))
    if announce is not None:
        announce(estimate)
    elif isinstance(shown, Bar):
        shown.announce(level, estimate)
    findings, status = measure(bench, shown)
    ordered = tuple(findings[key] for key in ORDER)
    return Diagnosis(
        name=name,
        headline=headline(bench.certificate, ordered),
        verdict=None if bench.certificate is None else bench.certificate.verdict,
        findings=ordered,
        level=level,
        budget=budget,
        status=status,
        estimate=estimate,
        gradient_equivalents=bench.spent,
        seconds=bench.seconds,
        warnings=tuple(caveats(bench)),
        provenance=provenance_of(bench),
    )
