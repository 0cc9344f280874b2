"""Loss-landscape analysis for PyTorch: is the loss convex where this model stands, and when to leave Adam.

Public names are imported on first use, so that ``landscape --help`` does not wait for torch.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from landscape import datasets, models, policies
    from landscape.autodiff.guards import NonRepeatableError
    from landscape.config import TrainConfig
    from landscape.cost import Cost
    from landscape.experiment import train
    from landscape.optim.conjugate_gradient import ConjugateGradient
    from landscape.problem import Problem
    from landscape.status import Status
    from landscape.tracking.history import History
    from landscape.training.listener import Listener
    from landscape.training.phases import FullBatch, MiniBatches
    from landscape.training.result import TrainingResult
    from landscape.training.trainer import Trainer

# Where each public name lives, in the order of the computation.
_LOCATIONS = {
    "Problem": "landscape.problem",
    "NonRepeatableError": "landscape.autodiff.guards",
    "Cost": "landscape.cost",
    "History": "landscape.tracking.history",
    "Status": "landscape.status",
    "ConjugateGradient": "landscape.optim.conjugate_gradient",
    "Trainer": "landscape.training.trainer",
    "MiniBatches": "landscape.training.phases",
    "FullBatch": "landscape.training.phases",
    "Listener": "landscape.training.listener",
    "TrainingResult": "landscape.training.result",
    "TrainConfig": "landscape.config",
    "train": "landscape.experiment",
}
_SUBMODULES = ("datasets", "models", "policies")

__all__ = [
    "ConjugateGradient",
    "Cost",
    "FullBatch",
    "History",
    "Listener",
    "MiniBatches",
    "NonRepeatableError",
    "Problem",
    "Status",
    "TrainConfig",
    "Trainer",
    "TrainingResult",
    "__version__",
    "datasets",
    "models",
    "policies",
    "train",
]


def __getattr__(name: str) -> Any:
    if name in _SUBMODULES:
        return importlib.import_module(f"landscape.{name}")
    if name in _LOCATIONS:
        return getattr(importlib.import_module(_LOCATIONS[name]), name)
    raise AttributeError(f"module 'landscape' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
