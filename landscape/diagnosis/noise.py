"""Whether mini-batches still make progress where the model stands, or step about at their noise floor."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from typing import NamedTuple

import torch

from landscape.batches import Batch, pieces_of
from landscape.diagnosis.finding import Finding, Outlook, not_measured
from landscape.diagnosis.titles import TITLES
from landscape.diagnosis.workbench import Workbench
from landscape.problem import Problem
from landscape.tracking.per_sample import NUM_TRIED, sample_gradients, usable_method
from landscape.training.sample import SampledLoss
from landscape.vectors import norm

#: Mini-batches whose noise is reported where none was given.
USUAL_BATCHES = (32, 128, 512)
#: Samples at most whose gradients are taken one by one.
MAX_SAMPLES = 256


class Variance(NamedTuple):
    """Trace of the covariance of single samples' gradients, its standard error (NaN if unknown), and samples used."""

    value: float
    error: float
    num_samples: int


def price_of_noise(bench: Workbench) -> float:
    """A gradient over a few hundred samples, or over half of the data where they come in batches."""
    num_samples = bench.problem.num_samples
    tried = 3.0 * bench.share_of(NUM_TRIED)
    return tried + max(0.5, min(MAX_SAMPLES, num_samples) / num_samples) if num_samples > 1 else 1e-9


def noise_floor(bench: Workbench) -> Finding:
    r"""Standard error of a mini-batch gradient as a share of its norm, :math:`\sqrt{(1 - b/N)\, v / b} / \|g\|`."""
    if bench.problem.num_samples < 2:
        return _nothing("There is a single sample, so nothing differs between samples.")
    try:
        variance = _variance(bench)
    except ValueError as error:
        return _nothing(f"No sample of the data can be drawn: {error}")
    if not math.isfinite(variance.value):
        return _nothing("The data cannot be cut into the parts that a variance needs.")
    size, num_samples = norm(bench.gradient), bench.problem.num_samples
    usual = [b for b in USUAL_BATCHES if b < num_samples] or [max(1, num_samples // 8)]
    sizes = [bench.batch_size] if bench.batch_size else usual
    rows = [
        {"batch_size": b, "noise": relative_noise(variance.value, size, b, num_samples)}
        for b in sorted({*usual, *sizes})
    ]
    noises = [relative_noise(variance.value, size, b, num_samples) for b in sizes]
    value = noises[0]
    outlook, meaning, step = _told(sizes, noises, num_samples)
    critical = variance.value / (size * size) if size > 0.0 else math.inf
    if outlook is not Outlook.NEUTRAL and math.isfinite(critical):
        meaning += f" Noise and signal are equal at batches of about {critical:.3g} samples."
    relative_error = variance.error / (2 * variance.value) if variance.value > 0.0 else math.nan
    error = value * relative_error
    return Finding(
        "noise_floor",
        TITLES["noise_floor"],
        "",
        outlook,
        meaning,
        value=value,
        error=None if math.isnan(error) else error,
        threshold=1.0,
        threshold_text="at the noise floor from",
        next_step=step,
        details={
            "variance": variance.value,
            "variance_standard_error": None if math.isnan(variance.error) else variance.error,
            "num_samples": variance.num_samples,
            "critical_batch_size": critical,
            "batch_size": sizes[0],
            "rows": rows,
        },
    )


def relative_noise(variance: float, gradient_norm: float, batch_size: int, num_samples: int) -> float:
    """Standard error of the gradient of b of N samples, drawn without replacement, in units of the gradient's norm.

    Examples
    --------
    >>> relative_noise(variance=8.0, gradient_norm=0.5, batch_size=16, num_samples=32)
    1.0
    """
    noise = math.sqrt(variance * max(0.0, 1.0 - batch_size / num_samples) / batch_size)
    if gradient_norm == 0.0:
        return math.inf if noise > 0.0 else math.nan
    return noise / gradient_norm


def _told(sizes: list[int], noises: list[float], num_samples: int) -> tuple[Outlook, str, str]:
    """Outlook, meaning and next step from the noise at one batch size, or at several where none was given."""
    batches = f"mini-batches of {sizes[0]} samples"
    if len(sizes) == 1 and sizes[0] >= num_samples:
        return Outlook.NEUTRAL, f"Batches of {sizes[0]} samples are all the data: their gradients have no noise.", ""
    if math.isnan(noises[0]):
        return Outlook.NEUTRAL, "Every sample has gradient 0: there is neither signal nor noise.", ""
    if all(noise >= 1.0 for noise in noises):
        batches = batches if len(sizes) == 1 else f"mini-batches of up to {sizes[-1]} samples"
        told = "no signal at all" if math.isinf(noises[0]) else f"more noise than signal ({noises[-1]:.2g} times as much)"
        return (
            Outlook.FAVOURABLE,
            f"Gradients of {batches} hold {told}: the model is at its noise floor, where small batches step about rather than "
            "downhill.",
            "Larger batches, a lower learning rate, or a second phase on all data lower the loss further.",
        )
    if all(noise < 1.0 for noise in noises):
        batches = batches if len(sizes) == 1 else f"mini-batches of {sizes[0]} samples and more"
        return (
            Outlook.UNFAVOURABLE,
            f"Gradients of {batches} hold more signal than noise ({noises[0]:.2g} of their length is noise): each points downhill, "
            "for a small part of the price of a gradient over all data.",
            "Train on with mini-batches; a second phase on all data pays later.",
        )
    return (
        Outlook.UNDECIDED,
        f"It depends on the batch size: at {sizes[0]} samples a gradient is {noises[0]:.2g} times as noisy as it is long, at "
        f"{sizes[-1]} samples {noises[-1]:.2g} times.",
        "Give batch_size=..., that of the training run.",
    )


def _variance(bench: Workbench) -> Variance:
    problem = bench.problem
    method = usable_method(problem)
    if method == "none":
        sample = SampledLoss(problem, max(1, problem.num_samples // 2), bench.seed)
        sample.loss_and_gradient()
        spread = sample.spread()
        return Variance(math.nan if spread is None else spread[0], math.nan, sample.size)
    squares: list[torch.Tensor] = []
    for batch in _drawn(problem, MAX_SAMPLES, bench.generator(8)):
        for block in sample_gradients(problem, batch, method):
            squares.append(torch.linalg.vector_norm(block - bench.gradient, dim=1, dtype=torch.float64).square().cpu())
            bench.tick()
    values = torch.cat(squares)
    count, num_samples = len(values), problem.num_samples
    # The gradient is the mean over all N: deviations from it are too small by (N - 1) / N on average.
    unbiased = num_samples / (num_samples - 1)
    error = float(values.std()) / math.sqrt(count) if count > 1 else math.nan
    return Variance(float(values.mean()) * unbiased, error * unbiased, count)


def _drawn(problem: Problem, most: int, generator: torch.Generator) -> Iterator[Batch]:
    """Batches with that many random samples together; the first ones where the data have an order of their own."""
    try:
        batches = problem.minibatches(min(most, problem.num_samples), generator)
        first = next(batches)
    except ValueError:
        batches = iter(problem.batches)
        first = next(batches)
    held = 0
    for batch in itertools.chain([first], batches):
        piece = pieces_of(batch, most - held)[0]
        yield piece
        held += piece.num_samples
        if held >= most:
            return


def _nothing(reason: str) -> Finding:
    return not_measured("noise_floor", TITLES["noise_floor"], "", reason)
