"""What the steps of an epoch give for free, added up on the device and read once."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from landscape.autodiff.flat import ParameterLayout
from landscape.tracking.history import Value
from landscape.vectors import norm


class EpochSums:
    """Losses and gradient norms of an epoch's steps.

    Norms are taken from ``.grad`` on the device, and read by :meth:`columns`: recording them costs no synchronisation.

    Parameters
    ----------
    layout : ParameterLayout
        The parameters.

    Attributes
    ----------
    sizes : list of int
        Samples of each step so far.
    gradient : Tensor of shape (n,)
        That of the latest step, flat; a buffer that the next step writes into.
    """

    def __init__(self, layout: ParameterLayout) -> None:
        self._parameters = layout.parameters
        self.gradient = torch.empty(layout.num_params, dtype=layout.dtype, device=layout.device)
        self.clear()

    def clear(self) -> None:
        """Begin an epoch."""
        self.sizes: list[int] = []
        self._losses: list[Tensor] = []
        self._norms: list[Tensor] = []
        self._gradient_sum = torch.zeros_like(self.gradient)

    def add(self, loss: Tensor, num_samples: int) -> None:
        """Add a step, after backward: its loss and what stands in ``.grad``."""
        parts = [p.new_zeros(p.numel()) if p.grad is None else p.grad.reshape(-1) for p in self._parameters]
        gradient = torch.cat(parts, out=self.gradient)
        self._norms.append(torch.linalg.vector_norm(gradient))
        self._losses.append(loss.detach())
        self._gradient_sum.add_(gradient, alpha=num_samples)
        self.sizes.append(num_samples)

    def columns(self) -> dict[str, Value]:
        """Running loss (by samples), mean of the norms (by batches), norm of the mean gradient (by samples)."""
        # One read from the device for the whole epoch; the sums are then taken in Python's float64.
        losses, norms = torch.stack([*self._losses, *self._norms]).view(2, -1).tolist()
        num_samples = sum(self.sizes)
        return {
            "loss_running": sum(loss * size for loss, size in zip(losses, self.sizes, strict=True)) / num_samples,
            "gradient_norm_mean_batch": sum(norms) / len(norms),
            "gradient_norm_batch_mean": norm(self._gradient_sum) / num_samples,
        }

    def state_dict(self) -> dict[str, Any]:
        """The epoch in progress."""
        return {
            "sizes": list(self.sizes),
            "losses": [loss.clone() for loss in self._losses],
            "norms": [value.clone() for value in self._norms],
            "gradient_sum": self._gradient_sum.clone(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on where :meth:`state_dict` was taken."""
        device = self.gradient.device
        self.sizes = list(state["sizes"])
        self._losses = [loss.to(device) for loss in state["losses"]]
        self._norms = [value.to(device) for value in state["norms"]]
        self._gradient_sum = state["gradient_sum"].to(device)
