"""Small problems and policies for comparisons that are really run; worker processes import them from here."""

from __future__ import annotations

import functools
import itertools
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

import landscape as ls
from landscape.policies import Decision


def seeded(seed: int, *sizes: int, dtype: torch.dtype = torch.float32) -> nn.Module:
    """Linear layers of these sizes with tanh between them; the seed decides the weights."""
    generator = torch.Generator().manual_seed(seed)
    layers: list[nn.Module] = []
    for before, after in itertools.pairwise(sizes):
        layers += [nn.Linear(before, after, dtype=dtype), nn.Tanh()]
    model = nn.Sequential(*layers[:-1])
    for parameter in model.parameters():
        nn.init.normal_(parameter, std=0.4, generator=generator)
    return model


def classes(seed: int, num_samples: int = 160) -> tuple[ls.Problem, ls.Problem]:
    """Three noisy classes, cross-entropy, float32, with validation data."""
    generator = torch.Generator().manual_seed(100 + seed)
    inputs = torch.randn(num_samples + 60, 5, generator=generator)
    scores = (inputs @ torch.randn(5, 3, generator=generator)).tanh()
    labels = (scores + 0.3 * torch.randn(num_samples + 60, 3, generator=generator)).argmax(1)
    model = seeded(seed, 5, 10, 3)
    parts = [ls.Problem(model, F.cross_entropy, (inputs[s], labels[s])) for s in _parts(num_samples)]
    return parts[0], parts[1]


def _parts(num: int) -> tuple[slice, slice]:
    return slice(None, num), slice(num, None)


def residual(model: nn.Module, batch: dict[str, Tensor]) -> Tensor:
    """Of y' = -2 y with y(0) = 1, by finite differences of the model, and the initial value."""
    times = batch["times"]
    slope = (model(times + 1e-3) - model(times - 1e-3)) / 2e-3
    return ((slope + 2.0 * model(times)) ** 2).mean() + ((model(torch.zeros_like(times[:1])) - 1.0) ** 2).mean()


def decay(seed: int) -> tuple[ls.Problem, ls.Problem]:
    """A closure over a dict, float64, one batch: what small physics-informed networks look like."""
    generator = torch.Generator().manual_seed(200 + seed)
    model = seeded(seed, 1, 8, 1, dtype=torch.float64)
    times = [torch.rand(count, 1, dtype=torch.float64, generator=generator) for count in (48, 24)]
    parts = [ls.Problem.from_closure(model, residual, [{"times": part}]) for part in times]
    return parts[0], parts[1]


MINI_BATCHES = ls.MiniBatches(functools.partial(torch.optim.Adam, lr=5e-3), batch_size=32)
FULL_BATCHES = ls.FullBatch(functools.partial(torch.optim.Adam, lr=2e-2))


@dataclass(frozen=True)
class Reading:
    """Fires after an epoch, and reads columns until then, which may cost more than there is."""

    epoch: int
    columns: tuple[str, ...]

    @property
    def requires(self) -> frozenset[str]:
        return frozenset({"epoch", *self.columns})

    def decide(self, history: ls.History) -> Decision:
        swap = len(history) > 0 and history[-1]["epoch"] >= self.epoch
        return Decision(swap, f"epoch {self.epoch} has come" if swap else "too early")


@dataclass(frozen=True)
class Spendthrift:
    """Fires as soon as its measurements alone have cost more than an amount."""

    amount: float

    @property
    def requires(self) -> frozenset[str]:
        return frozenset({"probing_equivalents", "trial_cg_curvature"})

    def decide(self, history: ls.History) -> Decision:
        spent = history[-1]["probing_equivalents"]
        return Decision(spent > self.amount, f"{spent} GE spent on measurements")


@dataclass(frozen=True)
class Raising:
    """Breaks after an epoch."""

    epoch: int

    @property
    def requires(self) -> frozenset[str]:
        return frozenset({"epoch"})

    def decide(self, history: ls.History) -> Decision:
        if history[-1]["epoch"] >= self.epoch:
            raise RuntimeError(f"broken after epoch {self.epoch}")
        return Decision(False, "not yet")


def content(comparison: ls.Comparison) -> Any:
    """Everything but the seconds."""

    def without(value: Any) -> Any:
        if isinstance(value, dict):
            return {name: without(inner) for name, inner in value.items() if name != "seconds"}
        return [without(inner) for inner in value] if isinstance(value, list) else value

    return without(json.loads(comparison.to_json()))


def results(store: Path) -> dict[str, bytes]:
    """What is done in a store, by job."""
    return {path.parent.name: path.read_bytes() for path in store.glob("*/result.json")}
