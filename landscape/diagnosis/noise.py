"""Whether mini-batches still make progress where the model stands, or step about at their noise floor."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from typing import NamedTuple

import torch

from landscape.batches import Batch
from landscape.diagnosis.finding import Finding, Outlook, not_measured
from landscape.diagnosis.titles import TITLES
from landscape.diagnosis.workbench import FREE, Workbench
from landscape.probes.sample_groups import SampleGroups, is_additive
from landscape.probes.spectrum.trace import mean_and_standard_error
from landscape.vectors import dot, norm

#: Mini-batches whose noise is reported where none was given.
USUAL_BATCHES = (32, 128, 512)
#: Groups of samples whose gradients are compared, and samples in a group at most.
NUM_GROUPS, GROUP_SIZE = 32, 16
#: Samples on which it is tried whether a loss is the mean over its samples.
_TRIED = 8


class Variance(NamedTuple):
    """Trace of the covariance of single samples' gradients, its standard error (NaN if unknown), and samples used."""

    value: float
    error: float
    num_samples: int


def price_of_noise(bench: Workbench) -> float:
    """A gradient over half of the data at most, or over a few samples; over all where they come as a few batches."""
    num_samples = bench.problem.num_samples
    if num_samples < 2:
        return FREE
    largest = max(batch.num_samples for batch in itertools.islice(_groups(bench), NUM_GROUPS))
    return bench.share_of(_TRIED) + min(1.0, NUM_GROUPS * largest / num_samples)


def noise_floor(bench: Workbench) -> Finding:
    r"""Standard error of a mini-batch gradient as a share of its norm, :math:`\sqrt{(1 - b/N)\, v / b} / \|g\|`."""
    if bench.problem.num_samples < 2:
        return _nothing("There is a single sample, so nothing differs between samples.")
    variance = _variance(bench)
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
        told = (
            "no signal at all" if math.isinf(noises[0]) else f"more noise than signal ({noises[-1]:.2g} times as much)"
        )
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
            f"Gradients of {batches} hold more signal than noise (noise is {noises[0]:.2g} of the full gradient's length): "
            "most steps lead downhill, for a small part of the price of a gradient over all data.",
            "Train on with mini-batches; a second phase on all data pays later.",
        )
    return (
        Outlook.UNDECIDED,
        f"It depends on the batch size: at {sizes[0]} samples a gradient is {noises[0]:.2g} times as noisy as it is long, at "
        f"{sizes[-1]} samples {noises[-1]:.2g} times.",
        "Give batch_size=..., that of the training run.",
    )


def _variance(bench: Workbench) -> Variance:
    r"""From the gradients of a few random groups.

    Over random groups of s samples, :math:`s \|g_b - g\|^2 / (1 - s / N)` has v as its mean.
    """
    problem, values, used = bench.problem, list[float](), 0
    if (
        not is_additive(problem.objective.on_few_samples(_TRIED))
        and len(list(itertools.islice(problem.batches, 2))) < 2
    ):
        return Variance(math.nan, math.nan, 0)
    for group in itertools.islice(_groups(bench), NUM_GROUPS):
        if group.num_samples >= problem.num_samples:
            return Variance(math.nan, math.nan, 0)
        apart = problem.objective.over([group]).loss_and_gradient()[1].double() - bench.gradient.double()
        rest = 1.0 - group.num_samples / problem.num_samples
        values.append(group.num_samples * dot(apart, apart) / rest)
        used += group.num_samples
        bench.tick()
    mean, error = mean_and_standard_error(torch.tensor(values, dtype=torch.float64))
    return Variance(mean, error, used)


def _groups(bench: Workbench) -> Iterator[Batch]:
    """Random groups of samples; batches given as a list stay whole where they cannot be cut."""
    size = max(1, min(GROUP_SIZE, bench.problem.num_samples // (2 * NUM_GROUPS)))
    return iter(SampleGroups(bench.problem.batches, size, bench.seed))


def _nothing(reason: str) -> Finding:
    return not_measured("noise_floor", TITLES["noise_floor"], "", reason)
