"""Which loss is the negative log-likelihood of which distribution: what a Monte-Carlo Fisher matrix draws from."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from landscape.losses.weighting import base_loss, settings_of

#: Draws a target of the shape and meaning of the given one: ``sampler(output, target, generator)``.
Sampler = Callable[[Tensor, Any, torch.Generator], Any]
#: Draws a target from uniform random numbers between 0 and 1, one for each output: ``draw(output, target, uniforms)``.
Draw = Callable[[Tensor, Any, Tensor], Any]


def draw_of(loss_fn: Callable[..., Any]) -> Draw:
    """How targets are drawn for a loss of torch that is a likelihood.

    Parameters
    ----------
    loss_fn : callable
        Mean squared error (a normal distribution of variance 1/2), cross-entropy and ``nll_loss`` (categorical), binary
        cross-entropy with logits (Bernoulli); ``functools.partial`` is looked through.

    Returns
    -------
    callable
        ``draw(output, target, uniforms) -> target``.

    Raises
    ------
    ValueError
        For other losses, and for class weights or label smoothing, with which the loss is no likelihood.

    Examples
    --------
    >>> draw = draw_of(nn.CrossEntropyLoss())
    >>> certain = torch.tensor([[50.0, 0.0], [0.0, 50.0]])
    >>> draw(certain, torch.tensor([1, 1]), uniforms_for((2, 2), seed=0)).tolist()
    [0, 1]
    """
    base = base_loss(loss_fn)
    settings = settings_of(loss_fn, ("weight", "pos_weight", "label_smoothing", "ignore_index"))
    if settings.get("weight") is None and settings.get("pos_weight") is None and not settings.get("label_smoothing"):
        if base in (nn.MSELoss, F.mse_loss):
            return _normal
        if base in (nn.BCEWithLogitsLoss, F.binary_cross_entropy_with_logits):
            return _bernoulli
        if base in (nn.CrossEntropyLoss, F.cross_entropy, nn.NLLLoss, F.nll_loss):
            ignore_index = int(settings.get("ignore_index", -100))
            return lambda output, target, uniforms: _categorical(output, target, uniforms, ignore_index)
    name = getattr(loss_fn, "__name__", type(loss_fn).__name__)
    raise ValueError(
        f"the Monte-Carlo Fisher matrix draws targets from the model's own distribution, and {name} with these settings is "
        "not known to be a likelihood (mean squared error, cross-entropy and binary cross-entropy without weights or "
        "label smoothing are). Give sampler=f(output, target, generator) -> target, or use kind='empirical'."
    )


def uniforms_for(shape: tuple[int, ...], *, seed: int, draw: int = 0, start: int = 0, stream: int = 0) -> Tensor:
    """Random numbers between 0 and 1 that belong to samples, however the data are cut into batches.

    Parameters
    ----------
    shape : tuple of int
        (samples, ...).
    seed, draw, stream : int
        Different ones give independent numbers.
    start : int
        The first sample's place in the data.

    Returns
    -------
    Tensor of the given shape, float64, on the host

    Notes
    -----
    A counter-based generator (Philox; Salmon et al. 2011, SC11) goes to any sample at once.

    Examples
    --------
    >>> torch.equal(uniforms_for((5, 3), seed=1)[2:], uniforms_for((3, 3), seed=1, start=2))
    True
    """
    numbers = math.prod(shape[1:])
    counts = -(-numbers // 4)  # each count of the generator gives four numbers
    key, counter = (np.array(words, dtype=np.uint64) for words in ([seed % 2**64, draw], [0, 0, 0, stream]))
    bits = np.random.Philox(key=key, counter=counter).advance(start * counts)
    drawn = np.random.Generator(bits).random((shape[0], 4 * counts))[:, :numbers]
    return torch.from_numpy(drawn + 2.0**-54).reshape(shape)  # never 0


def _normal(output: Tensor, _: Any, uniforms: Tensor) -> Tensor:
    """Squared error without a factor is the negative log-likelihood at variance 1/2."""
    standard: Tensor = torch.special.ndtri(uniforms)
    return output + math.sqrt(0.5) * standard.to(output)


def _bernoulli(output: Tensor, _: Any, uniforms: Tensor) -> Tensor:
    """One with probability sigmoid(output)."""
    return (output > torch.logit(uniforms).to(output)).to(output.dtype)


def _categorical(output: Tensor, target: Any, uniforms: Tensor, ignore_index: int) -> Tensor:
    """Classes in dimension 1, by the largest of logits with Gumbel noise; what is ignored stays ignored."""
    drawn = (output - torch.log(-torch.log(uniforms)).to(output)).argmax(dim=1)
    if isinstance(target, Tensor) and not target.is_floating_point():
        drawn = torch.where(target == ignore_index, target, drawn)
    return drawn
