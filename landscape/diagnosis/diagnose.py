"""One call that answers: is this trained model at a convex spot, in which sense, and how sure are we."""

from __future__ import annotations

import datetime
import hashlib
import math
import platform
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import torch
from torch import nn

from landscape.cost import PRODUCT_IN_GRADIENTS
from landscape.diagnosis.along_directions import directional, gradient_spectrum, second_phase_gain
from landscape.diagnosis.at_the_point import noise_floor, precision, stationarity
from landscape.diagnosis.diagnosis import CostEstimate, Diagnosis
from landscape.diagnosis.extreme_eigenvalues import TITLES, extreme_eigenvalues, held_out, symmetry
from landscape.diagnosis.finding import Finding, not_measured
from landscape.diagnosis.headline import headline
from landscape.diagnosis.levels import LEVELS, Level
from landscape.diagnosis.whole_spectrum import density_and_condition, sharpness, trace_and_layers
from landscape.diagnosis.workbench import Workbench
from landscape.problem import Problem
from landscape.status import Status

LevelName = Literal["quick", "standard", "thorough"]
#: Told of progress: what is measured now, and the share of the work that is done.
Progress = Callable[[str, float], None]


@dataclass(frozen=True)
class Probe:
    """One measurement: which findings it gives, what it costs, and how it is made.

    Attributes
    ----------
    keys, titles, claims : tuple of str
        Of its findings, in their order.
    price : callable
        Nominal gradient equivalents at a level; 0 leaves it out there.
    measure : callable
        Makes the findings.
    """

    keys: tuple[str, ...]
    titles: tuple[str, ...]
    claims: tuple[str, ...]
    price: Callable[[Level], float]
    measure: Callable[[Workbench], Finding | list[Finding]]


def _products(count: Callable[[Level], int]) -> Callable[[Level], float]:
    return lambda level: PRODUCT_IN_GRADIENTS * count(level)


PROBES: tuple[Probe, ...] = (
    Probe(("precision",), ("Error of a Hessian product",), ("",), lambda _: 3.5, precision),
    Probe(("stationarity",), ("Relative gradient norm",), ("",), lambda _: 1.0, stationarity),
    Probe(
        ("lambda_min", "lambda_max", "ratio"),
        (TITLES["lambda_min"], TITLES["lambda_max"], TITLES["ratio"]),
        ("A", "", "A'"),
        lambda level: 1.5 + PRODUCT_IN_GRADIENTS * level.certificate_products * level.certificate_restarts,
        extreme_eigenvalues,
    ),
    Probe(("held_out",), (TITLES["held_out"],), ("A",), lambda _: 3.5, held_out),
    Probe(("symmetry",), (TITLES["symmetry"],), ("A",), lambda level: 7.0 + 2.0 * level.modulo_products, symmetry),
    Probe(
        ("gradient_spectrum",),
        ("Share of the gradient in negative curvature",),
        ("B",),
        _products(lambda level: level.gradient_steps),
        gradient_spectrum,
    ),
    Probe(
        ("directional",),
        ("Curvature along gradient and random directions",),
        ("B",),
        lambda level: 1.5 + 2.0 * (1 + level.random_directions) if level.random_directions else 0.0,
        directional,
    ),
    Probe(("noise_floor",), ("Mini-batch noise against the gradient",), ("",), lambda _: 0.5, noise_floor),
    Probe(
        ("second_phase_gain",),
        ("Gain of a trial Newton step, as a share of the loss",),
        ("B",),
        lambda level: 2.0 * (level.cg_products + 1) + 0.5 if level.cg_products else 0.0,
        second_phase_gain,
    ),
    Probe(
        ("trace", "layers"),
        ("Trace of the Hessian", "Curvature and gradient of each layer"),
        ("", ""),
        lambda level: 2.0 * level.trace_products,
        trace_and_layers,
    ),
    Probe(
        ("density", "condition_number"),
        ("Share of negative eigenvalues", "Condition number of the positive part"),
        ("A'", ""),
        lambda level: 2.0 * level.density_probes * level.density_steps,
        density_and_condition,
    ),
    Probe(
        ("sharpness",),
        ("Scale-invariant sharpness",),
        ("",),
        _products(lambda level: level.sharpness_products),
        sharpness,
    ),
)
#: In which the findings are told.
ORDER = (
    "stationarity",
    "lambda_min",
    "lambda_max",
    "ratio",
    "held_out",
    "symmetry",
    "directional",
    "gradient_spectrum",
    "second_phase_gain",
    "noise_floor",
    "trace",
    "density",
    "condition_number",
    "layers",
    "sharpness",
    "precision",
)


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
    progress: Progress | None = None,
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
        Up to about 30, 200 and 2,000 gradient equivalents.
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
    progress : callable, optional
        ``progress(what, share)`` before each measurement and at the end.
    announce : callable, optional
        Given the estimate of the cost before the work begins.

    Returns
    -------
    Diagnosis
        Printed, it is a summary; ``save("report.html")`` writes a page. After Ctrl-C too, with what is known by then.

    Raises
    ------
    ValueError
        If something is missing or out of range, before any work.
    NonRepeatableError, VerificationError
        If loss or derivatives cannot be trusted; the message names the module at fault.

    Notes
    -----
    Cost: ``estimate`` tells it before the work begins, from one gradient and one product over one batch that are timed.
    Probes that stop by themselves cost less. Every number is about the loss over these data, in the mode that the problem
    sets (``eval``), in the parameters' own units unless it says otherwise.

    Examples
    --------
    >>> from landscape.testing import logistic_regression
    >>> found = diagnose(logistic_regression().problem, level="quick")
    >>> found.verdict.name, found.finding("lambda_min").claim
    ('ABOVE', 'A')
    """
    chosen = _checked_level(level, budget)
    problem = _problem(model, loss_fn, data, micro_batch_size, "data")
    fresh = None if held_out is None else _held_out(held_out, problem, micro_batch_size)
    bench = Workbench(problem, fresh, batch_size, chosen, seed, math.inf if budget is None else float(budget))
    _ = bench.verification  # before anything is said: nothing that fails it is used
    estimate = _estimate(bench)
    if announce is not None:
        announce(estimate)
    findings: dict[str, Finding] = {}
    status = Status.COMPLETED
    total = sum(probe.price(chosen) for probe in PROBES)
    done = 0.0
    try:
        for probe in PROBES:
            if progress is not None:
                progress(probe.titles[0], done / total)
            for finding in _measured(bench, probe):
                findings[finding.key] = finding
            done += probe.price(chosen)
    except KeyboardInterrupt:
        status = Status.CUT_SHORT
    if progress is not None:
        progress("", 1.0)
    for finding in _missing(findings, "Stopped on request before this was measured."):
        findings[finding.key] = finding
    if status is Status.COMPLETED and any(_SKIPPED in finding.status for finding in findings.values()):
        status = Status.BUDGET_SPENT
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
        warnings=tuple(_warnings(bench)),
        provenance=_provenance(bench, fresh),
    )


_SKIPPED = "The budget"
#: Samples on which a product is timed.
_FEW = 64


def _seconds(function: Callable[[], object]) -> float:
    started = time.perf_counter()
    function()
    return time.perf_counter() - started


def _measured(bench: Workbench, probe: Probe) -> Sequence[Finding]:
    """Its findings with their cost, or why there are none."""
    price = probe.price(bench.level)
    reason = ""
    if price == 0.0:
        reason = "Not part of this level. Ask for a higher one."
    elif price > bench.remaining and not (probe.keys[0] == "lambda_min" and bench.remaining >= 6.0):
        reason = f"{_SKIPPED} has {max(0.0, bench.remaining):.3g} GE left; this takes about {price:.3g}."
    if reason:
        return [not_measured(*names, reason) for names in zip(probe.keys, probe.titles, probe.claims, strict=True)]
    spent, started = bench.spent, time.perf_counter()
    given = probe.measure(bench)
    found = given if isinstance(given, list) else [given]
    share = len(found)
    cost, seconds = (bench.spent - spent) / share, (time.perf_counter() - started) / share
    return [_with_cost(finding, cost, seconds) for finding in found]


def _with_cost(finding: Finding, cost: float, seconds: float) -> Finding:
    return replace(finding, gradient_equivalents=cost, seconds=seconds)


def _missing(findings: dict[str, Finding], reason: str) -> Iterator[Finding]:
    for probe in PROBES:
        for key, title, claim in zip(probe.keys, probe.titles, probe.claims, strict=True):
            if key not in findings:
                yield not_measured(key, title, claim, reason)


def _checked_level(level: str, budget: float | None) -> Level:
    if level not in LEVELS:
        raise ValueError(f"level={level!r} was given; it is one of {', '.join(map(repr, LEVELS))}.")
    if budget is not None and not budget > 0:
        raise ValueError(f"budget={budget} was given; it must be more than 0 gradient equivalents.")
    return LEVELS[level]


def _problem(model: Any, loss_fn: Any, data: Any, micro_batch_size: int | None, what: str) -> Problem:
    if isinstance(model, Problem):
        if loss_fn is not None or data is not None:
            raise ValueError("a Problem was given together with loss_fn or data; it has both already. Give it alone.")
        return model
    if not isinstance(model, nn.Module):
        raise TypeError(f"model is a {type(model).__name__}; a torch.nn.Module or a landscape.Problem is needed.")
    if loss_fn is None or data is None:
        missing = " and ".join(name for name, value in (("loss_fn", loss_fn), (what, data)) if value is None)
        raise ValueError(f"{missing} is missing: diagnose(model, loss_fn, data), or diagnose(problem).")
    return Problem(model, loss_fn, data, batch_size=micro_batch_size)


def _held_out(given: Any, problem: Problem, micro_batch_size: int | None) -> Problem:
    if isinstance(given, Problem):
        if given.model is not problem.model:
            raise ValueError("held_out is a Problem of another model; it has to be the same one, on other data.")
        return given
    if problem.loss_fn is None:
        raise ValueError(
            "held_out was given as data for a problem made from a closure. Give a problem: "
            "Problem.from_closure(model, closure, held_out_batches)."
        )
    return Problem(problem.model, problem.loss_fn, given, batch_size=micro_batch_size, mode=problem.mode)


def _estimate(bench: Workbench) -> CostEstimate:
    """Time the gradient, which is needed anyway, and on a few samples what a product takes beside one."""
    started = time.perf_counter()
    gradient = bench.gradient
    seconds = time.perf_counter() - started
    few = bench.problem.on_few_samples(_FEW)
    hessian = few.hessian(verify=False)
    hessian @ gradient  # builds the graphs
    times = [_seconds(lambda: hessian @ gradient), _seconds(few.loss_and_gradient)]
    product = times[0] / max(times[1], 1e-9)
    work = sum(probe.price(bench.level) for probe in PROBES if bench.fresh is not None or probe.keys[0] != "held_out")
    work = min(work, bench.budget)
    factor = 0.5 * product  # of a nominal product's 2 GE
    return CostEstimate(work, work * seconds * max(1.0, factor), seconds, product)


def _warnings(bench: Workbench) -> Iterator[str]:
    for check in bench.verification.checks:
        if not check.passed:
            yield str(check).strip()
    kinks = [type(module).__name__ for module in bench.problem.model.modules() if isinstance(module, _KINKED)]
    if kinks:
        yield (
            f"The model has kinks ({', '.join(sorted(set(kinks)))}): the Hessian holds between them and does not see them. "
            "ls.audit measures over finite distances whether they matter."
        )
    if bench.problem.mode == "train":
        yield "The model was evaluated in train mode."
    if bench.problem.num_samples < 2 * 64:
        yield f"The loss is over {bench.problem.num_samples} samples only; curvature over more data may differ."


_KINKED = (
    nn.ReLU,
    nn.LeakyReLU,
    nn.PReLU,
    nn.ReLU6,
    nn.MaxPool1d,
    nn.MaxPool2d,
    nn.MaxPool3d,
    nn.Hardtanh,
    nn.Hardswish,
)


def _provenance(bench: Workbench, fresh: Problem | None) -> dict[str, str]:
    import landscape

    problem, layout = bench.problem, bench.problem.layout
    return {
        "landscape": landscape.__version__,
        "torch": str(torch.__version__),
        "python": platform.python_version(),
        "machine": f"{platform.system()} {platform.machine()}, {torch.get_num_threads()} threads",
        "time": f"{datetime.datetime.now(datetime.timezone.utc):%Y-%m-%d %H:%M} UTC",
        "model": f"{type(problem.model).__name__}, {problem.num_params} parameters in {len(layout.names)} tensors",
        "precision": f"{str(layout.dtype).removeprefix('torch.')} on {layout.device}",
        "mode": problem.mode,
        "loss": getattr(problem.loss_fn, "__name__", type(problem.loss_fn).__name__)
        if problem.loss_fn
        else "a closure",
        "samples": str(problem.num_samples),
        "held-out samples": "none" if fresh is None else str(fresh.num_samples),
        "weights": hashlib.sha256(bench.params.cpu().numpy().tobytes()).hexdigest()[:16],
        "data": _data_fingerprint(problem),
        "seed": str(bench.seed),
    }


def _data_fingerprint(problem: Problem) -> str:
    """Of the values in every batch, in their order."""
    digest = hashlib.sha256()
    for batch in problem.batches:
        _digest(batch.content, digest)
    return digest.hexdigest()[:16]


def _digest(content: Any, digest: Any) -> None:
    if isinstance(content, torch.Tensor):
        digest.update(str(content.dtype).encode() + str(tuple(content.shape)).encode())
        digest.update(content.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes())
    elif isinstance(content, dict):
        for name in content:
            digest.update(str(name).encode())
            _digest(content[name], digest)
    elif isinstance(content, (list, tuple)):
        for part in content:
            _digest(part, digest)
