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
    from landscape.comparison.compare import compare
    from landscape.comparison.comparison import Comparison
    from landscape.config import TrainConfig
    from landscape.cost import Cost, GradientEquivalents
    from landscape.diagnosis.diagnose import diagnose
    from landscape.diagnosis.diagnosis import Diagnosis
    from landscape.diagnosis.finding import Finding
    from landscape.diagnosis.many import Diagnoses, diagnose_many
    from landscape.diagnosis.moments import diagnose_moments
    from landscape.experiment.diagnosing import diagnose_run
    from landscape.experiment.training import train
    from landscape.monitor.monitor import Monitor
    from landscape.operators.base import LinearOperator
    from landscape.operators.choose import FiniteDifferenceWarning
    from landscape.operators.matrix import MatrixOperator
    from landscape.optim.conjugate_gradient import ConjugateGradient
    from landscape.optim.lbfgs import LBFGS
    from landscape.optim.newton_cg import NewtonCG
    from landscape.optim.ssbroyden import SelfScaledBroyden
    from landscape.policies.custom import policy
    from landscape.probes.auditing.audit import audit
    from landscape.probes.certificate.certificate import Certificate, Verdict
    from landscape.probes.certificate.certify import certify
    from landscape.probes.directional import directional_curvature
    from landscape.probes.lanczos.lanczos import LanczosResult, lanczos
    from landscape.probes.layers.layerwise import layerwise
    from landscape.probes.path.path import path_convexity
    from landscape.probes.spectrum.density import spectral_density
    from landscape.probes.spectrum.diagonal import diagonal
    from landscape.probes.spectrum.gradient_spectrum import gradient_spectrum
    from landscape.probes.spectrum.trace import trace
    from landscape.probes.symmetry.gauge import GaugeProjector
    from landscape.probes.symmetry.symmetry import symmetries
    from landscape.problem import Problem
    from landscape.replaying.replay import replay
    from landscape.replaying.result import Replay
    from landscape.status import Status
    from landscape.tracking import trackers
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
    "GradientEquivalents": "landscape.cost",
    "GaugeProjector": "landscape.probes.symmetry.gauge",
    "LinearOperator": "landscape.operators.base",
    "MatrixOperator": "landscape.operators.matrix",
    "FiniteDifferenceWarning": "landscape.operators.choose",
    "SecondDerivativeError": "landscape.autodiff.twice",
    "VerificationError": "landscape.verification.result",
    "Certificate": "landscape.probes.certificate.certificate",
    "Verdict": "landscape.probes.certificate.certificate",
    "certify": "landscape.probes.certificate.certify",
    "lanczos": "landscape.probes.lanczos.lanczos",
    "LanczosResult": "landscape.probes.lanczos.result",
    "directional_curvature": "landscape.probes.directional",
    "gradient_spectrum": "landscape.probes.spectrum.gradient_spectrum",
    "spectral_density": "landscape.probes.spectrum.density",
    "trace": "landscape.probes.spectrum.trace",
    "diagonal": "landscape.probes.spectrum.diagonal",
    "symmetries": "landscape.probes.symmetry.symmetry",
    "path_convexity": "landscape.probes.path.path",
    "audit": "landscape.probes.auditing.audit",
    "layerwise": "landscape.probes.layers.layerwise",
    "History": "landscape.tracking.history",
    "Status": "landscape.status",
    "ConjugateGradient": "landscape.optim.conjugate_gradient",
    "LBFGS": "landscape.optim.lbfgs",
    "SelfScaledBroyden": "landscape.optim.ssbroyden",
    "NewtonCG": "landscape.optim.newton_cg",
    "Trainer": "landscape.training.trainer",
    "MiniBatches": "landscape.training.phases",
    "FullBatch": "landscape.training.phases",
    "Listener": "landscape.training.listener",
    "TrainingResult": "landscape.training.result",
    "TrainConfig": "landscape.config",
    "replay": "landscape.replaying.replay",
    "Replay": "landscape.replaying.result",
    "policy": "landscape.policies.custom",
    "Monitor": "landscape.monitor.monitor",
    "compare": "landscape.comparison.compare",
    "Comparison": "landscape.comparison.comparison",
    "diagnose": "landscape.diagnosis.diagnose",
    "Diagnosis": "landscape.diagnosis.diagnosis",
    "Finding": "landscape.diagnosis.finding",
    "diagnose_many": "landscape.diagnosis.many",
    "Diagnoses": "landscape.diagnosis.many",
    "diagnose_moments": "landscape.diagnosis.moments",
    "diagnose_run": "landscape.experiment.diagnosing",
    "train": "landscape.experiment.training",
}
_SUBMODULES = {
    "datasets": "landscape.datasets",
    "models": "landscape.models",
    "policies": "landscape.policies",
    "testing": "landscape.testing",
    "trackers": "landscape.tracking.trackers",
}

__all__ = [
    "LBFGS",
    "Certificate",
    "Comparison",
    "ConjugateGradient",
    "Cost",
    "Diagnoses",
    "Diagnosis",
    "Finding",
    "FiniteDifferenceWarning",
    "FullBatch",
    "GaugeProjector",
    "GradientEquivalents",
    "History",
    "LanczosResult",
    "LinearOperator",
    "Listener",
    "MatrixOperator",
    "MiniBatches",
    "Monitor",
    "NewtonCG",
    "NonRepeatableError",
    "Problem",
    "Replay",
    "SecondDerivativeError",
    "SelfScaledBroyden",
    "Status",
    "TrainConfig",
    "Trainer",
    "TrainingResult",
    "Verdict",
    "VerificationError",
    "__version__",
    "audit",
    "certify",
    "compare",
    "datasets",
    "diagnose",
    "diagnose_many",
    "diagnose_moments",
    "diagnose_run",
    "diagonal",
    "directional_curvature",
    "gradient_spectrum",
    "lanczos",
    "layerwise",
    "models",
    "path_convexity",
    "policies",
    "policy",
    "replay",
    "spectral_density",
    "symmetries",
    "testing",
    "trace",
    "trackers",
    "train",
]


def __getattr__(name: str) -> Any:
    if name in _SUBMODULES:
        return importlib.import_module(_SUBMODULES[name])
    if name in _LOCATIONS:
        return getattr(importlib.import_module(_LOCATIONS[name]), name)
    raise AttributeError(f"module 'landscape' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
