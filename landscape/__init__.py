"""Loss-landscape analysis for PyTorch: is the loss convex where this model stands, and when to leave Adam.

Public names are imported on first use, so that ``landscape --help`` does not wait for torch.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from landscape import datasets, models, policies, testing
    from landscape.autodiff.guards import NonRepeatableError
    from landscape.autodiff.twice import SecondDerivativeError
    from landscape.config import TrainConfig
    from landscape.cost import Cost
    from landscape.experiment import train
    from landscape.operators.base import LinearOperator
    from landscape.operators.choose import FiniteDifferenceWarning
    from landscape.operators.matrix import MatrixOperator
    from landscape.optim.conjugate_gradient import ConjugateGradient
    from landscape.probes.audit import audit
    from landscape.probes.certificate import Certificate, Verdict
    from landscape.probes.certify import certify
    from landscape.probes.density import spectral_density
    from landscape.probes.diagonal import diagonal
    from landscape.probes.directional import directional_curvature
    from landscape.probes.gauge import GaugeProjector
    from landscape.probes.gradient_spectrum import gradient_spectrum
    from landscape.probes.lanczos import LanczosResult, lanczos
    from landscape.probes.layerwise import layerwise
    from landscape.probes.path import path_convexity
    from landscape.probes.symmetry import symmetries
    from landscape.probes.trace import trace
    from landscape.problem import Problem
    from landscape.status import Status
    from landscape.tracking.history import History
    from landscape.training.listener import Listener
    from landscape.training.phases import FullBatch, MiniBatches
    from landscape.training.result import TrainingResult
    from landscape.training.trainer import Trainer
    from landscape.verification.result import VerificationError

# Where each public name lives, in the order of the computation.
_LOCATIONS = {
    "Problem": "landscape.problem",
    "NonRepeatableError": "landscape.autodiff.guards",
    "Cost": "landscape.cost",
    "GaugeProjector": "landscape.probes.gauge",
    "LinearOperator": "landscape.operators.base",
    "MatrixOperator": "landscape.operators.matrix",
    "FiniteDifferenceWarning": "landscape.operators.choose",
    "SecondDerivativeError": "landscape.autodiff.twice",
    "VerificationError": "landscape.verification.result",
    "Certificate": "landscape.probes.certificate",
    "Verdict": "landscape.probes.certificate",
    "certify": "landscape.probes.certify",
    "lanczos": "landscape.probes.lanczos",
    "LanczosResult": "landscape.probes.lanczos",
    "directional_curvature": "landscape.probes.directional",
    "gradient_spectrum": "landscape.probes.gradient_spectrum",
    "spectral_density": "landscape.probes.density",
    "trace": "landscape.probes.trace",
    "diagonal": "landscape.probes.diagonal",
    "symmetries": "landscape.probes.symmetry",
    "path_convexity": "landscape.probes.path",
    "audit": "landscape.probes.audit",
    "layerwise": "landscape.probes.layerwise",
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
_SUBMODULES = ("datasets", "models", "policies", "testing")

__all__ = [
    "Certificate",
    "ConjugateGradient",
    "Cost",
    "FiniteDifferenceWarning",
    "FullBatch",
    "GaugeProjector",
    "History",
    "LanczosResult",
    "LinearOperator",
    "Listener",
    "MatrixOperator",
    "MiniBatches",
    "NonRepeatableError",
    "Problem",
    "SecondDerivativeError",
    "Status",
    "TrainConfig",
    "Trainer",
    "TrainingResult",
    "Verdict",
    "VerificationError",
    "__version__",
    "audit",
    "certify",
    "datasets",
    "diagonal",
    "directional_curvature",
    "gradient_spectrum",
    "lanczos",
    "layerwise",
    "models",
    "path_convexity",
    "policies",
    "spectral_density",
    "symmetries",
    "testing",
    "trace",
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
