"""How far apart numbers may be that should be equal, by the precision of the model."""

from __future__ import annotations

import torch

#: Two gradients at one point: rounding in another order stays far below.
REPEAT = {torch.float64: 1e-9, torch.float32: 1e-4}
#: Two ways to one product: rounding is 5e-6 in float32 on a vision transformer, faults are above 1e-3.
PRODUCT = {torch.float64: 1e-8, torch.float32: 5e-4}
#: A product and a difference of gradients, which in float32 is rough and sees the kinks of activations.
DIFFERENCE = {torch.float64: 1e-3, torch.float32: 0.2}
_HALF = 5e-2


def allowed(table: dict[torch.dtype, float], dtype: torch.dtype) -> float:
    """The tolerance for a dtype; half precision has one for everything."""
    return table.get(dtype, _HALF)
