"""The models by the names of the paper, and ``build``."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch
from torch import nn

from landscape.models.mlp import MLP
from landscape.models.vgg import VGG5
from landscape.models.vit import ViT

_BUILDERS: dict[str, Callable[..., nn.Module]] = {
    "mlp": MLP,
    "vit-mlp": ViT,
    "vit-nomlp": partial(ViT, mlp=False),
    "vit-nomlp-wkewq": partial(ViT, mlp=False, shared_key_query=True),
    "vit-nomlp-wkewq-wvwo": partial(ViT, mlp=False, shared_key_query=True, value_output=False),
    "vgg5-max-relu": VGG5,
}

NAMES: tuple[str, ...] = tuple(_BUILDERS)
"""The models that ``build`` knows."""


def build(name: str, *, channels: int, num_classes: int, image_size: int = 32, seed: int | None = None) -> nn.Module:
    """Build one of the models of Hrycej et al. (2025), or a small MLP.

    Parameters
    ----------
    name : str
        One of ``NAMES``: ``"mlp"`` (one tanh layer of 64), ``"vit-mlp"`` (the whole transformer), ``"vit-nomlp"``
        (without MLPs), ``"vit-nomlp-wkewq"`` (also one matrix for keys and queries), ``"vit-nomlp-wkewq-wvwo"`` (also
        without W_v and W_o), ``"vgg5-max-relu"``.
    channels : int
        Colour channels c of the images.
    num_classes : int
        Outputs M.
    image_size : int, default 32
        Height and width of the images: a multiple of 8 for the transformers, 32 for ``"vgg5-max-relu"``, any for
        ``"mlp"``.
    seed : int, optional
        Makes the initial weights reproducible and leaves the caller's random numbers untouched. Default: draw from
        torch's global generator.

    Returns
    -------
    nn.Module
        On the CPU if a ``seed`` is given, in torch's default type. Maps images (N, c, s, s) to outputs (N, M) without
        a last activation; the paper compares them with one-hot targets by mean squared error.

    Raises
    ------
    ValueError
        If the name is unknown or a size does not suit the model.

    Examples
    --------
    >>> model = build("vit-mlp", channels=1, num_classes=10, seed=0)
    >>> sum(parameter.numel() for parameter in model.parameters())
    154058
    """
    if name not in _BUILDERS:
        raise ValueError(f"There is no model {name!r}. Known are: {', '.join(NAMES)}.")
    make = partial(_BUILDERS[name], channels=channels, num_classes=num_classes, image_size=image_size)
    if seed is None:
        return make()
    # Weights are drawn on the CPU, so only its generator is seeded and put back; torch.manual_seed would also reset
    # every GPU's.
    with torch.random.fork_rng(devices=[]), torch.device("cpu"):
        torch.default_generator.manual_seed(seed)
        return make()
