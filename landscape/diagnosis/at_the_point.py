"""Findings about the point itself: whether it is stationary, at its noise floor, and how exact the numbers are."""

from __future__ import annotations

import math

import torch

from landscape.diagnosis.finding import Finding, Outlook, not_measured
from landscape.diagnosis.workbench import Workbench
from landscape.training.sample import SampledLoss
from landscape.vectors import norm

#: A relative gradient below this counts as stationary: moving a parameter by its own size changes the loss by 1 % of it.
STATIONARY = 1e-2
#: Mini-batches whose noise is reported where none was given.
USUAL_BATCHES = (32, 128, 512)


def stationarity(bench: Workbench) -> Finding:
    r"""Gradient norm, in its own units and relative: :math:`\|g\| \|x\| / |f|`, which no rescaling of loss or unit changes."""
    loss, size, length = bench.loss, norm(bench.gradient), norm(bench.params)
    relative = size * length / abs(loss) if loss != 0.0 else (0.0 if size == 0.0 else math.inf)
    parts, points = bench.per_layer(bench.gradient), bench.per_layer(bench.params)
    rows = [
        {"name": name, "gradient_norm": norm(parts[name]), "parameter_norm": norm(points[name])}
        for name in bench.layers
    ]
    is_stationary = relative <= STATIONARY
    if not math.isfinite(loss) or not math.isfinite(size):
        outlook = Outlook.UNFAVOURABLE
        meaning = f"The loss is {loss:.4g} and the gradient norm {size:.4g}: nothing can be said about such a point."
        step = "Look for a diverged training run, a logarithm or a division at 0."
    elif is_stationary:
        outlook, step = Outlook.FAVOURABLE, ""
        meaning = (
            f"The gradient is small: {size:.3g}, {relative:.2g} relative to loss and parameters. The eigenvalues tell what "
            "kind of stationary point it is near."
        )
    else:
        outlook, step = (
            Outlook.NEUTRAL,
            "Train on before asking for minimum or saddle; curvature matters here all the same.",
        )
        meaning = (
            f"The model does not stand at a stationary point: gradient norm {size:.3g}, {relative:.2g} relative to loss and "
            "parameters. It is on a slope."
        )
    details = {"gradient_norm": size, "relative": relative, "loss": loss, "parameter_norm": length, "per_layer": rows}
    return Finding(
        "stationarity",
        "Relative gradient norm",
        "",
        outlook,
        meaning,
        value=relative,
        threshold=STATIONARY,
        threshold_text="stationary at or below",
        next_step=step,
        details=details,
    )


def noise_floor(bench: Workbench) -> Finding:
    r"""Standard error of a mini-batch gradient as a share of its norm, :math:`\sqrt{v / b} / \|g\|`."""
    title = "Mini-batch noise against the gradient"
    num_samples = bench.problem.num_samples
    try:
        sample = SampledLoss(bench.problem, max(1, num_samples // 2), bench.seed)
        sample.loss_and_gradient()
        spread = sample.spread()
    except ValueError as error:
        return not_measured("noise_floor", title, "", f"No sample of the data can be drawn: {error}")
    if spread is None or not math.isfinite(spread[0]):
        return not_measured("noise_floor", title, "", "The data cannot be cut into the groups that a variance needs.")
    variance, size = spread[0], norm(bench.gradient)
    sizes = sorted({*(b for b in USUAL_BATCHES if b < num_samples), *([bench.batch_size] if bench.batch_size else [])})
    rows = [{"batch_size": b, "noise": _noise(variance, size, b, num_samples)} for b in sizes]
    batch = bench.batch_size or (sizes[-1] if sizes else num_samples)
    value = _noise(variance, size, batch, num_samples)
    critical = variance / (size * size) if size > 0.0 else math.inf
    chosen = "" if bench.batch_size else " (no batch size was given)"
    if value >= 1.0:
        outlook = Outlook.FAVOURABLE
        meaning = (
            f"Gradients of {batch} samples{chosen} are {value:.2g} times as noisy as they are long: at that batch size the "
            "model is at its noise floor, and steps no longer lead down on average."
        )
        step = "Larger batches, a decayed learning rate, or a few deterministic steps would still lower the loss."
    else:
        outlook = Outlook.UNFAVOURABLE
        meaning = (
            f"Gradients of {batch} samples{chosen} carry more signal than noise (noise {value:.2g} of their norm): "
            "mini-batches still make progress, and do so more cheaply than full batches."
        )
        step = "Go on with mini-batches before a full-batch second phase."
    details = {"variance": variance, "critical_batch_size": critical, "batch_size": batch, "rows": rows}
    return Finding(
        "noise_floor",
        title,
        "",
        outlook,
        f"{meaning} Noise and signal are equal at batches of about {critical:.3g} samples.",
        value=value,
        threshold=1.0,
        threshold_text="at the noise floor from",
        next_step=step,
        details=details,
    )


def _noise(variance: float, size: float, batch: int, num_samples: int) -> float:
    if size == 0.0:
        return math.inf if variance > 0.0 else math.nan
    return math.sqrt(max(0.0, variance * (1.0 - batch / num_samples)) / batch) / size


def precision(bench: Workbench) -> Finding:
    """Error of a Hessian product against float64, and what the verification of derivatives found."""
    found = bench.verification
    value = found.product_error
    failed = [check for check in found.checks if not check.passed]
    dtype = str(bench.problem.layout.dtype).removeprefix("torch.")
    eps = torch.finfo(bench.problem.layout.dtype).eps
    if failed:
        outlook = Outlook.UNDECIDED
        meaning = f"Derivatives of this problem failed a check: {'; '.join(str(check).strip() for check in failed)}."
        step = "Repair what is named before trusting the curvatures below."
    else:
        outlook, step = Outlook.NEUTRAL, ""
        error = "not measured against float64" if math.isnan(value) else f"{value:.1e} of its length, against float64"
        meaning = (
            f"Derivatives passed all checks; the error of a Hessian product in {dtype} is {error}. It is part of every bound "
            f"below. Losses that differ by less than {eps * abs(bench.loss):.1e} cannot be told apart."
        )
    details = {"product_error": value, "loss_rounding": eps * abs(bench.loss), "checks": [str(c) for c in found.checks]}
    return Finding(
        "precision", "Error of a Hessian product", "", outlook, meaning, value=value, next_step=step, details=details
    )
