"""Adam's metric, read from an optimiser's state."""

from __future__ import annotations

import torch
from torch import Tensor

from landscape.autodiff.flat import ParameterLayout
from landscape.optim.preconditioner.second_moment import second_moments


def adam_preconditioner(optimizer: torch.optim.Optimizer | None, layout: ParameterLayout) -> Tensor | None:
    r"""The diagonal :math:`P = 1 / (\sqrt{v} + \epsilon)` that scales the optimiser's next step.

    Parameters
    ----------
    optimizer : torch.optim.Optimizer or None
        Read from Adam, AdamW, NAdam and RMSprop; see :func:`landscape.optim.preconditioner.second_moment.second_moments`.
    layout : ParameterLayout
        The order of the coordinates.

    Returns
    -------
    Tensor of shape (n,) or None
        0 where the optimiser has not moved a parameter yet. None for other optimisers, and before the first step.
    """
    moments = second_moments(optimizer, layout.parameters)
    if moments is None:
        return None
    return layout.flatten(
        torch.zeros_like(parameter).detach() if moment is None else 1.0 / (moment.value.sqrt() + moment.eps)
        for parameter, moment in zip(layout.parameters, moments, strict=True)
    )
