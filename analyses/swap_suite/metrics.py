"""What is evaluated beside the losses."""

from __future__ import annotations

from torch import Tensor


def accuracy(output: Tensor, target: Tensor) -> Tensor:
    """Share of samples whose largest output is that of the target's class; targets are labels or one-hot."""
    labels = target if target.dim() == 1 else target.argmax(dim=1)
    return (output.argmax(dim=1) == labels).double().mean()
