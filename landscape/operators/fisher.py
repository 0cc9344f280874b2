"""The Fisher information of a model's predictions: Monte-Carlo and empirical."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from landscape.losses.likelihood import Sampler, sampler_of
from landscape.objective import Objective, Part
from landscape.operators.gauss_newton import OutputOperator, criterion_of

FisherKind = Literal["monte-carlo", "empirical"]


class Fisher(OutputOperator):
    r"""The Fisher information matrix, with targets drawn from the model or with the data's own.

    Made by :meth:`landscape.Problem.fisher`. With :math:`s_i = \partial \ell_i / \partial z_i` the gradient of sample
    i's summed loss by its outputs, it is :math:`F = \frac{1}{W} \sum_i J_i^\top s_i s_i^\top J_i`, where W is what the
    mean loss divides by. In the Monte-Carlo Fisher the targets come from the distribution whose negative log-likelihood
    the loss is, and its expectation is the Gauss-Newton matrix; in the empirical Fisher they are the data's own, which
    is another matrix (Kunstner, Balles and Hennig 2019, NeurIPS 32).

    Parameters
    ----------
    objective, params, max_memory
        As for every curvature operator.
    kind : {"monte-carlo", "empirical"}
        Whose targets.
    num_draws : int
        Targets drawn for each sample.
    sampler : callable, optional
        ``sampler(output, target, generator) -> target`` draws targets, for losses that are not torch's own.
    seed : int
        Of the draws, which are the same for every product.

    Raises
    ------
    ValueError
        If the loss is not known to be a likelihood, and no sampler is given.
    """

    def __init__(
        self,
        objective: Objective,
        params: Tensor | None = None,
        *,
        kind: FisherKind = "monte-carlo",
        num_draws: int = 1,
        sampler: Sampler | None = None,
        seed: int = 0,
        max_memory: float | None = None,
    ) -> None:
        if kind not in ("monte-carlo", "empirical"):
            raise ValueError(f"kind={kind!r} was given; it is 'monte-carlo' or 'empirical'.")
        if num_draws < 1:
            raise ValueError(f"num_draws={num_draws} was given; it must be at least 1.")
        self.matrix_name = "empirical Fisher matrix" if kind == "empirical" else "Monte-Carlo Fisher matrix"
        super().__init__(objective, params, max_memory=max_memory)
        self.seed, self.num_draws = seed, num_draws
        self._sampler = None
        if kind == "monte-carlo":
            self._sampler = sampler or sampler_of(criterion_of(objective))

    def _criterion(self, outputs: Tensor, part: Part, index: int) -> tuple[Tensor, float]:
        criterion, target = criterion_of(self.objective), part.content[1]
        slopes = [self._slope(outputs, target, part.weight)]
        if self._sampler is not None:
            generator = torch.Generator(device=outputs.device).manual_seed(self.seed * 1_000_003 + index)
            draws = (self._sampler(outputs, target, generator) for _ in range(self.num_draws))
            slopes = [self._slope(outputs, drawn, part.weight) for drawn in draws]
        value = float(self.objective.unreduced(criterion(outputs, target), part.weight))
        return torch.stack(slopes), value

    def _slope(self, outputs: Tensor, target: Tensor, weight: float) -> Tensor:
        point = outputs.detach().requires_grad_()
        value = self.objective.unreduced(criterion_of(self.objective)(point, target), weight)
        (slope,) = torch.autograd.grad(value, point)
        return slope

    def _middle(self, criterion: Tensor, tangent: Tensor) -> Tensor:
        """The mean over draws of s_i <s_i, t_i>, sample by sample."""
        num_draws, num_samples = criterion.shape[:2]
        slopes = criterion.reshape(num_draws, num_samples, -1)
        along = torch.einsum("dnc,nc->dn", slopes, tangent.reshape(num_samples, -1))
        return torch.einsum("dn,dnc->nc", along, slopes).reshape(tangent.shape) / num_draws
