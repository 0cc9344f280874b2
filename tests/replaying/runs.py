"""Real runs on a small problem, and made-up histories in which everything was recorded."""

from __future__ import annotations

import functools
import math
import random

import torch

import landscape as ls
from landscape.policies.base import SwapPolicy
from landscape.replaying.choice import choose
from landscape.tracking.columns import describe_column
from landscape.training.result import TrainingResult

EPOCHS = 30


def train(policy: SwapPolicy, epochs: int = EPOCHS, **settings) -> TrainingResult:
    """Fit a sine with an MLP, from the same weights and in the same order every time."""
    torch.manual_seed(0)
    inputs = torch.linspace(-2, 2, 96).unsqueeze(1)
    model = torch.nn.Sequential(torch.nn.Linear(1, 8), torch.nn.Tanh(), torch.nn.Linear(8, 1))
    problem = ls.Problem(model, torch.nn.functional.mse_loss, (inputs, (2 * inputs).sin()))
    adam = functools.partial(torch.optim.Adam, lr=3e-2)
    first = ls.MiniBatches(adam, batch_size=32)
    return ls.Trainer(first=first, policy=policy, epochs=epochs, seed=1, **settings).fit(problem)


def recorded_columns() -> list[str]:
    """Everything that a registered policy reads in the first phase, with two layers for a family."""
    names = set().union(*(choice.policy.requires for choice in choose("all") if choice.policy is not None)) - {"status"}
    return sorted(
        f"{name[:-1]}{layer}" if layer else name
        for name in names
        for layer in (("one", "two") if name.endswith("/*") else ("",))
    )


def full_history(num_epochs: int, seed: int = 0, swap: int | None = None, back: int | None = None) -> ls.History:
    """A run in which every column was recorded; swapped after ``swap``, and back after ``back``."""
    chance = random.Random(seed)
    rows = []
    for epoch in range(num_epochs + 1):
        second = swap is not None and epoch > swap and not (back is not None and epoch > back)
        row = {"epoch": epoch, "phase": "second" if second else "first"}
        row |= {name: _value(name, epoch / num_epochs, chance) for name in recorded_columns()}
        row |= {"gradient_equivalents": 3.0 * epoch + 1, "probing_equivalents": 2.0 * epoch + 1}
        rows.append(row)
    return ls.History(rows)


def _value(name: str, done: float, chance: random.Random) -> float | int | str:
    column = describe_column(name)
    kind = "float" if column is None else column.kind
    if kind == "str":
        return chance.choice(("NEGATIVE", "UNDECIDED") if done < 0.6 else ("ABOVE",))
    if kind == "int":
        return int(chance.random() < done) if name == "trial_search" else 100
    size = math.exp(-4 * done) * (1 + 0.1 * chance.gauss(0, 1))
    return size if name in ("loss", "gradient_norm") else (size - 0.3 if "curvature" in name else size)
