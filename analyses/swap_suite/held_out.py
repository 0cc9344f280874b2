"""Six tasks for the second look: criteria that were made or chosen on the twelve of ``tasks`` are judged on these.

Kinds of model and data that the twelve do not have, except for one more physics-informed network and one more image task.
They were fixed, with their budgets, before any criterion was run on them; rates are tuned as there (``tune.py``).
"""

from __future__ import annotations

import functools
import sys

import torch.nn.functional as F
from problems.digit_rows import autoencoder, recurrent
from problems.images import fashion
from problems.physics import helmholtz
from problems.tables import breast_cancer, diabetes
from suite_task import SuiteTask, adam, carry_by_value, cosine

SEEDS = 5
_FEW = {"num_train": 100, "num_validation": 50, "seeds": 1}

HELD_OUT = {
    task.name: task
    for task in (
        SuiteTask(
            "autoencoder",
            "autoencoder 64-32-8 on digits, mean squared error",
            functools.partial(autoencoder, num_train=1437, num_validation=360),
            adam(1e-2, 128),
            budget=300,
            seeds=SEEDS,
            from_start=cosine(128, 1e-2, 3e-2),
            tiny_size=_FEW,
        ),
        SuiteTask(
            "recurrent",
            "gated recurrent unit on the rows of digits, smoothed cross-entropy",
            functools.partial(recurrent, num_train=1437, num_validation=360),
            adam(3e-2, 128),
            budget=100,
            seeds=SEEDS,
            from_start=cosine(128, 3e-2, 1e-1),
            tiny_size=_FEW,
        ),
        SuiteTask(
            "diabetes",
            "MLP 10-32-32-1 on the diabetes table, mean squared error",
            functools.partial(diabetes, num_train=353, num_validation=89),
            adam(1e-2, 32),
            budget=300,
            seeds=SEEDS,
            from_start=cosine(32, 1e-2, 3e-2),
            tiny_size=_FEW,
        ),
        SuiteTask(
            "breast-cancer",
            "MLP 30-32-32-2 on the breast cancer table, cross-entropy",
            functools.partial(breast_cancer, num_train=455, num_validation=114),
            adam(1e-2, 32),
            budget=200,
            seeds=SEEDS,
            from_start=cosine(32, 1e-2, 3e-2),
            tiny_size=_FEW,
        ),
        SuiteTask(
            "fashion-mlp",
            "MLP on 1000 images of Fashion-MNIST, cross-entropy",
            functools.partial(fashion, model="mlp", loss=F.cross_entropy, num_train=1000, num_validation=500),
            adam(3e-3, 32),
            budget=60,
            seeds=SEEDS,
            from_start=cosine(32, 3e-3, 1e-2),
            tiny_size=_FEW,
        ),
        SuiteTask(
            "helmholtz",
            "physics-informed network, Helmholtz equation",
            helmholtz,
            adam(1e-2, 1),
            budget=500,
            seeds=SEEDS,
            from_start=cosine(1, 1e-2, 1e-1),
            note="float64, full batches",
            tiny_size={"num_inside": 50, "num_edge": 10, "seeds": 1},
        ),
    )
}

carry_by_value(sys.modules[__name__])
