"""Adam's metric, read from an optimiser's state."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from landscape.autodiff.flat import ParameterLayout

_WITH_BIAS_CORRECTION = (torch.optim.Adam, torch.optim.AdamW, torch.optim.NAdam)


def adam_preconditioner(optimizer: torch.optim.Optimizer | None, layout: ParameterLayout) -> Tensor | None:
    r"""The diagonal :math:`P = 1 / (\sqrt{v} + \epsilon)` that scales the optimiser's next step.

    Parameters
    ----------
    optimizer : torch.optim.Optimizer or None
        Read from Adam, AdamW, NAdam (v with bias correction; with ``amsgrad`` its running maximum) and RMSprop (v as it
        is, or the centred one).
    layout : ParameterLayout
        The order of the coordinates.

    Returns
    -------
    Tensor of shape (n,) or None
        0 where the optimiser has not moved a parameter yet. None for other optimisers, and before the first step.

    References
    ----------
    Kingma, Ba (2015), Adam, arXiv:1412.6980. Reddi et al. (2018), arXiv:1904.09237 (amsgrad).
    """
    if not isinstance(optimizer, (*_WITH_BIAS_CORRECTION, torch.optim.RMSprop)):
        return None
    groups = {id(parameter): group for group in optimizer.param_groups for parameter in group["params"]}
    pieces, known = [], False
    for parameter in layout.parameters:
        state, group = optimizer.state.get(parameter, {}), groups.get(id(parameter))
        moment = None if group is None else _second_moment(state, group)
        known = known or moment is not None
        scale = torch.zeros_like(parameter) if moment is None else 1.0 / (moment.sqrt() + float(group["eps"]))  # type: ignore[index]
        pieces.append(scale.detach())
    return layout.flatten(pieces) if known else None


def _second_moment(state: Mapping[str, Any], group: Mapping[str, Any]) -> Tensor | None:
    """V of one parameter; None if there was no step yet."""
    if "square_avg" in state:  # RMSprop
        mean = state.get("grad_avg")
        squared: Tensor = state["square_avg"]
        return squared if mean is None else (squared - mean.square()).clamp(min=0)
    if "exp_avg_sq" not in state:
        return None
    moment: Tensor = state["max_exp_avg_sq"] if group.get("amsgrad") else state["exp_avg_sq"]
    correction: float = 1.0 - float(group["betas"][1]) ** float(state["step"])
    corrected: Tensor = moment / correction
    return corrected
