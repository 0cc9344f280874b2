"""Loss-landscape analysis for PyTorch: is the loss convex where this model stands, and when to leave Adam.

Public names are imported on first use, so that ``landscape --help`` does not wait for torch.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from landscape import datasets, models
    from landscape.optim.conjugate_gradient import ConjugateGradient
    from landscape.status import Status

_LOCATIONS = {
    "ConjugateGradient": "landscape.optim.conjugate_gradient",
    "Status": "landscape.status",
}
_SUBMODULES = ("datasets", "models")

__all__ = ["ConjugateGradient", "Status", "__version__", "datasets", "models"]


def __getattr__(name: str) -> Any:
    if name in _SUBMODULES:
        return importlib.import_module(f"landscape.{name}")
    if name in _LOCATIONS:
        return getattr(importlib.import_module(_LOCATIONS[name]), name)
    raise AttributeError(f"module 'landscape' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
