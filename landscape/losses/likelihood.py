"""Which loss is the negative log-likelihood of which distribution: what a Monte-Carlo Fisher matrix draws from."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from landscape.losses.weighting import base_loss, settings_of

#: Draws a target of the shape and meaning of the given one: ``sampler(output, target, generator)``.
Sampler = Callable[[Tensor, Any, torch.Generator], Any]


def sampler_of(loss_fn: Callable[..., Any]) -> Sampler:
    """The sampler for a loss of torch that is a likelihood.

    Parameters
    ----------
    loss_fn : callable
        Mean squared error (a normal distribution of variance 1/2), cross-entropy and ``nll_loss`` (categorical), binary
        cross-entropy with logits (Bernoulli); ``functools.partial`` is looked through.

    Returns
    -------
    callable
        ``sampler(output, target, generator) -> target``.

    Raises
    ------
    ValueError
        For other losses, and for class weights or label smoothing, with which the loss is no likelihood.

    Examples
    --------
    >>> draw = sampler_of(nn.CrossEntropyLoss())
    >>> certain = torch.tensor([[50.0, 0.0], [0.0, 50.0]])
    >>> draw(certain, torch.tensor([1, 1]), torch.Generator()).tolist()
    [0, 1]
    """
    base = base_loss(loss_fn)
    settings = settings_of(loss_fn, ("weight", "pos_weight", "label_smoothing", "ignore_index"))
    if settings.get("weight") is None and settings.get("pos_weight") is None and not settings.get("label_smoothing"):
        ignore_index = int(settings.get("ignore_index", -100))
        if base in (nn.MSELoss, F.mse_loss):
            return _normal
        if base in (nn.BCEWithLogitsLoss, F.binary_cross_entropy_with_logits):
            return _bernoulli
        if base in (nn.CrossEntropyLoss, F.cross_entropy):
            return lambda output, target, generator: _categorical(output.softmax(1), target, generator, ignore_index)
        if base in (nn.NLLLoss, F.nll_loss):
            return lambda output, target, generator: _categorical(output.exp(), target, generator, ignore_index)
    name = getattr(loss_fn, "__name__", type(loss_fn).__name__)
    raise ValueError(
        f"the Monte-Carlo Fisher matrix draws targets from the model's own distribution, and {name} with these settings is "
        "not known to be a likelihood (mean squared error, cross-entropy and binary cross-entropy without weights or "
        "label smoothing are). Give sampler=f(output, target, generator) -> target, or use kind='empirical'."
    )


def _normal(output: Tensor, _: Any, generator: torch.Generator) -> Tensor:
    """Squared error without a factor is the negative log-likelihood at variance 1/2."""
    noise = torch.randn(output.shape, dtype=output.dtype, device=output.device, generator=generator)
    return output + math.sqrt(0.5) * noise


def _bernoulli(output: Tensor, _: Any, generator: torch.Generator) -> Tensor:
    return torch.bernoulli(output.sigmoid(), generator=generator)


def _categorical(probabilities: Tensor, target: Any, generator: torch.Generator, ignore_index: int) -> Tensor:
    """Classes in dimension 1; positions whose target is ignored stay ignored."""
    classes = probabilities.movedim(1, -1)
    drawn = torch.multinomial(classes.reshape(-1, classes.shape[-1]), 1, generator=generator)
    drawn = drawn.reshape(classes.shape[:-1])
    if isinstance(target, Tensor) and not target.is_floating_point():
        drawn = torch.where(target == ignore_index, target, drawn)
    return drawn
