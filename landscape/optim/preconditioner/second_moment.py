"""The running mean of squared gradients that Adam and its relatives keep."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

WITH_BIAS_CORRECTION = (torch.optim.Adam, torch.optim.AdamW, torch.optim.NAdam)
#: Optimisers whose second moment is understood.
WITH_SECOND_MOMENT = (*WITH_BIAS_CORRECTION, torch.optim.RMSprop)


class SecondMoment(NamedTuple):
    r"""Of one parameter: the optimiser's next step is scaled by :math:`1 / (\sqrt{v} + \epsilon)`."""

    #: v, in the shape of the parameter.
    value: Tensor
    #: The optimiser's own epsilon.
    eps: float


def second_moments(
    optimizer: torch.optim.Optimizer | None, params: Sequence[Tensor]
) -> list[SecondMoment | None] | None:
    """Read what the optimiser knows of the size of the gradients.

    Parameters
    ----------
    optimizer : torch.optim.Optimizer or None
        Adam, AdamW, NAdam (with bias correction; with ``amsgrad`` the running maximum) or RMSprop (as it is, or the
        centred one).
    params : sequence of Tensor

    Returns
    -------
    list of SecondMoment or None
        One entry for each parameter, None where the optimiser has not moved it yet. None instead of the list for other
        optimisers, and if it has moved none of them.

    References
    ----------
    Kingma, Ba (2015), Adam, arXiv:1412.6980. Reddi et al. (2018), arXiv:1904.09237 (amsgrad).
    """
    if not isinstance(optimizer, WITH_SECOND_MOMENT):
        return None
    groups = {id(parameter): group for group in optimizer.param_groups for parameter in group["params"]}
    found = [_second_moment(optimizer.state.get(param, {}), groups.get(id(param), {})) for param in params]
    return found if any(moment is not None for moment in found) else None


def _second_moment(state: Mapping[str, Any], group: Mapping[str, Any]) -> SecondMoment | None:
    """Of one parameter; None if the optimiser does not have it, or made no step with it yet."""
    if not state or not group:
        return None
    eps = float(group["eps"])
    if "square_avg" in state:  # RMSprop
        squared, mean = state["square_avg"].detach(), state.get("grad_avg")
        return SecondMoment(squared if mean is None else (squared - mean.detach().square()).clamp(min=0), eps)
    if "exp_avg_sq" not in state:
        return None
    moment = (state["max_exp_avg_sq"] if group.get("amsgrad") else state["exp_avg_sq"]).detach()
    correction = 1.0 - float(group["betas"][1]) ** float(state["step"])
    # Adam makes the state before its first step, of which nothing is known then.
    return SecondMoment(moment / correction, eps) if correction > 0.0 else None
