"""Conditions under which a loss can be trusted: exact arithmetic, repeatable modules."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import torch
from torch import nn
from torch.nn.modules.batchnorm import _NormBase
from torch.nn.modules.dropout import _DropoutNd


class NonRepeatableError(ValueError):
    """The loss is not a function of the parameters alone, so there is no landscape to speak of."""


@contextlib.contextmanager
def exact_arithmetic(device: torch.device) -> Iterator[None]:
    """Run a block without autocast and without TF32: both round to about three digits, more than curvature bears."""
    tf32 = (torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32) if device.type == "cuda" else None
    with torch.autocast(device.type, enabled=False):
        if tf32 is None:
            yield
            return
        torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
        try:
            yield
        finally:
            torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32 = tf32


def unrepeatable_modules(model: nn.Module) -> list[tuple[str, str]]:
    """Modules whose output in train mode is not a function of parameters and data alone.

    Returns
    -------
    list of (str, str)
        The module's name and what makes it so. Randomness in a user's own ``forward`` is not seen here.

    Examples
    --------
    >>> unrepeatable_modules(nn.Sequential(nn.Linear(2, 2), nn.Dropout(0.5)))
    [('1', 'Dropout draws a new mask with p=0.5')]
    """
    found = []
    for name, module in model.named_modules():
        reason = _why_unrepeatable(module)
        if reason is not None:
            found.append((name or "(the model itself)", reason))
    return found


def refuse_unrepeatable_modules(model: nn.Module) -> None:
    """Raise ``NonRepeatableError``, naming them, if modules would make the loss non-repeatable in train mode."""
    culprits = unrepeatable_modules(model)
    if culprits:
        listed = "; ".join(f"{name!r}: {reason}" for name, reason in culprits)
        raise NonRepeatableError(
            f"mode='train' was given, but in train mode the loss is not repeatable: {listed}. Use mode='eval', or "
            "replace these modules (p=0, track_running_stats=False)."
        )


def _why_unrepeatable(module: nn.Module) -> str | None:
    kind = type(module).__name__
    if isinstance(module, _DropoutNd) and module.p > 0:
        return f"{kind} draws a new mask with p={module.p}"
    if isinstance(module, _NormBase) and module.track_running_stats:
        return f"{kind} updates its running statistics and couples the samples of a batch"
    if isinstance(module, (nn.RNNBase, nn.MultiheadAttention)) and module.dropout > 0:
        return f"{kind} applies dropout with p={module.dropout}"
    if isinstance(module, nn.RReLU):
        return f"{kind} draws random slopes"
    return None
