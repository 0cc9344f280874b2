"""How much each batch counts in the mean loss over all data, so that ragged batches weigh exactly what they should."""

from __future__ import annotations

import functools
import inspect
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import torch.nn.functional as F
from torch import Tensor, nn

Reduction = Literal["auto", "mean", "sum"]

#: Losses of torch that average over the elements of the target.
_ELEMENTWISE = (
    nn.MSELoss,
    nn.L1Loss,
    nn.SmoothL1Loss,
    nn.HuberLoss,
    nn.BCELoss,
    nn.BCEWithLogitsLoss,
    F.mse_loss,
    F.l1_loss,
    F.smooth_l1_loss,
    F.huber_loss,
    F.binary_cross_entropy,
    F.binary_cross_entropy_with_logits,
)
#: Losses of torch that average over the targets that are not ignored, by class weight.
_CLASSWISE = (nn.CrossEntropyLoss, nn.NLLLoss, F.cross_entropy, F.nll_loss)


@dataclass(frozen=True)
class LossWeighting:
    """What a batch's loss value stands for.

    With batch losses l_b, the loss over all data is ``sum_b w_b l_b / sum_b w_b`` for a mean loss, where w_b is what
    the loss divided by: samples, elements of the target, or class weights of the targets that are not ignored. For a
    sum loss it is ``sum_b l_b / (number of samples)``.

    Parameters
    ----------
    kind : {"samples", "elements", "classes", "sum"}
        What the loss divides by.
    class_weights : Tensor of shape (num_classes,), optional
        For "classes": the loss's ``weight``.
    ignore_index : int
        For "classes": the label that does not count.
    """

    kind: Literal["samples", "elements", "classes", "sum"]
    class_weights: Tensor | None = None
    ignore_index: int = -100

    def weight_of(self, target: Any, num_samples: int) -> float:
        """The divisor w_b of one batch."""
        if self.kind in ("samples", "sum") or not isinstance(target, Tensor):
            return float(num_samples)
        if self.kind == "elements":
            return float(target.numel())
        if target.is_floating_point():
            # Class probabilities: torch divides by the number of rows, weighted or not.
            return target.numel() / (target.shape[1] if target.dim() > 1 else target.shape[0])
        counted = target[target != self.ignore_index]
        if self.class_weights is None:
            return float(counted.numel())
        return float(self.class_weights.double().to(counted.device)[counted].sum())


def weighting_of(loss_fn: Callable[..., Any], reduction: Reduction) -> LossWeighting | None:
    """Find out how ``loss_fn`` reduces a batch, from what it is; None if that does not tell.

    Parameters
    ----------
    loss_fn : callable
        A loss module or function; ``functools.partial`` is looked through.
    reduction : {"auto", "mean", "sum"}
        What the user said. "auto" asks the loss.

    Raises
    ------
    ValueError
        If the loss does not reduce to one number (``reduction="none"``) or contradicts ``reduction``.

    Examples
    --------
    >>> weighting_of(nn.MSELoss(reduction="sum"), "auto").kind
    'sum'
    >>> weighting_of(F.cross_entropy, "auto").kind
    'classes'
    >>> weighting_of(lambda output, target: (output - target).abs().mean(), "auto") is None
    True
    """
    settings = settings_of(loss_fn, ("reduction", "weight", "ignore_index"))
    own = settings.get("reduction")
    if own == "none":
        raise ValueError(
            "loss_fn has reduction='none', so it gives one value per sample; a problem needs one number per batch. "
            "Use reduction='mean' or reduction='sum'."
        )
    if reduction != "auto" and own in ("mean", "sum") and own != reduction:
        raise ValueError(
            f"reduction={reduction!r} was given, but loss_fn says reduction={own!r}. Leave reduction='auto' to believe it."
        )
    kind = own if reduction == "auto" else reduction
    if kind == "sum":
        return LossWeighting("sum")
    base = base_loss(loss_fn)
    if kind in ("mean", "batchmean") and base in _CLASSWISE:
        return LossWeighting("classes", settings.get("weight"), int(settings.get("ignore_index", -100)))
    if kind == "mean" and base in _ELEMENTWISE:
        return LossWeighting("elements")
    if kind == "batchmean" or reduction == "mean":
        return LossWeighting("samples")
    return None


def measured_kind(
    whole: float, halves: tuple[float, float], sizes: tuple[int, int]
) -> Literal["samples", "sum"] | None:
    """Tell from three loss values whether a loss is a mean or a sum over samples.

    Parameters
    ----------
    whole : float
        The loss of a batch.
    halves : (float, float)
        The losses of its two parts.
    sizes : (int, int)
        How many samples each part has.

    Returns
    -------
    {"samples", "sum"} or None
        "samples" for a mean. None if it is neither, as for contrastive losses and norms of a residual vector: such a
        loss cannot be put together from batches. A NaN is taken for a mean; it is reported where it is evaluated.

    Examples
    --------
    >>> measured_kind(2.0, (1.0, 3.0), (5, 5)), measured_kind(4.0, (1.0, 3.0), (5, 5))
    ('samples', 'sum')
    """
    mean = (sizes[0] * halves[0] + sizes[1] * halves[1]) / sum(sizes)
    tolerance = 1e-3 * max(abs(halves[0]), abs(halves[1]))
    if math.isnan(whole) or abs(whole - mean) <= tolerance:
        return "samples"
    return "sum" if abs(whole - sum(halves)) <= tolerance else None


def measured_weighting(
    whole: float, halves: tuple[float, float], sizes: tuple[int, int], *, must_split: bool
) -> LossWeighting:
    """How a loss counts, from three of its values; see :func:`measured_kind`.

    Raises
    ------
    ValueError
        If the loss is neither a mean nor a sum although the data come in several batches (``must_split``).
    """
    kind = measured_kind(whole, halves, sizes)
    if kind is None and must_split:
        raise ValueError(
            f"the loss of a batch of {sum(sizes)} samples is {whole:.6g} and its two halves have {halves[0]:.6g} and "
            f"{halves[1]:.6g}: neither their mean nor their sum, so this loss cannot be put together from batches. Give "
            "all data as one batch, or say reduction='mean' or reduction='sum' if each batch counts on its own."
        )
    return LossWeighting(kind or "samples")


def base_loss(loss_fn: Callable[..., Any]) -> Any:
    """The loss function below partials, or the class of a loss module."""
    while isinstance(loss_fn, functools.partial):
        loss_fn = loss_fn.func
    return type(loss_fn) if isinstance(loss_fn, nn.Module) else loss_fn


def settings_of(loss_fn: Callable[..., Any], names: tuple[str, ...]) -> dict[str, Any]:
    """The named settings of a loss, from keywords, module attributes or the signature's defaults."""
    keywords: dict[str, Any] = {}
    while isinstance(loss_fn, functools.partial):
        keywords = {**loss_fn.keywords, **keywords}
        loss_fn = loss_fn.func
    if isinstance(loss_fn, nn.Module):
        found = {name: getattr(loss_fn, name) for name in names if hasattr(loss_fn, name)}
    else:
        found = _signature_defaults(loss_fn, names)
    return {**found, **{name: keywords[name] for name in names if name in keywords}}


def _signature_defaults(function: Callable[..., Any], names: tuple[str, ...]) -> dict[str, Any]:
    try:
        parameters = inspect.signature(function).parameters
    except (TypeError, ValueError):  # built-in functions have none
        return {}
    empty = inspect.Parameter.empty
    return {
        name: parameters[name].default for name in names if name in parameters and parameters[name].default is not empty
    }
