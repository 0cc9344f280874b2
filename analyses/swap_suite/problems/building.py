"""What several problems are made of: initial weights of a seed, tanh layers, rows to train on and rows held out."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from landscape.datasets.shuffling import stable_permutation


def seeded(make: Callable[[], nn.Module], seed: int) -> nn.Module:
    """A model with initial weights of this seed; the global random numbers are left as they were."""
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        return make()


def tanh_chain(widths: Sequence[int], dtype: torch.dtype | None = None) -> nn.Sequential:
    """Linear layers from width to width, with tanh between them."""
    layers: list[nn.Module] = []
    for before, after in itertools.pairwise(widths):
        layers += [nn.Linear(before, after, dtype=dtype), nn.Tanh()]
    return nn.Sequential(*layers[:-1])


def divided(count: int, num_train: int, num_validation: int, seed: int, available: str) -> tuple[Tensor, Tensor]:
    """Numbers of the rows that are trained on, and of those held out, chosen by the seed.

    Raises
    ------
    ValueError
        If more are asked for than the ``count`` there are; ``available`` tells of them, and what to do.
    """
    if num_train + num_validation > count:
        raise ValueError(f"num_train={num_train} and num_validation={num_validation} were given; {available}")
    order = torch.from_numpy(stable_permutation(count, seed))
    return order[:num_train], order[count - num_validation :]
