"""The Fisher information of a model's predictions: Monte-Carlo and empirical."""

from __future__ import annotations

from typing import Any, Literal

import torch
from torch import Tensor

from landscape.losses.likelihood import Draw, Sampler, draw_of, uniforms_for
from landscape.objective import Objective, Part
from landscape.operators.gauss_newton import OutputOperator, criterion_of

FisherKind = Literal["monte-carlo", "empirical"]


class Fisher(OutputOperator):
    r"""The Fisher information matrix, with targets drawn from the model or with the data's own.

    Made by :meth:`landscape.Problem.fisher`. With :math:`s_i = \partial \ell_i / \partial z_i` the gradient of sample
    i's summed loss by its outputs, it is :math:`F = \frac{1}{W} \sum_i J_i^\top s_i s_i^\top J_i`, where W is what the
    mean loss divides by. In the Monte-Carlo Fisher the targets come from the distribution whose negative log-likelihood
    the loss is, and its expectation is the Gauss-Newton matrix (behind a ``LogSoftmax`` with ``nll_loss``, that of
    cross-entropy on what enters the ``LogSoftmax``); in the empirical Fisher they are the data's own, which
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
        ``sampler(output, target, generator) -> target`` draws targets, for losses that are not torch's own. Called with
        one sample at a time, so that its draws belong to samples and not to batches.
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
        if isinstance(num_draws, bool) or not isinstance(num_draws, int) or num_draws < 1:
            raise ValueError(f"num_draws={num_draws} was given; it is an integer of at least 1.")
        self.matrix_name = "empirical Fisher matrix" if kind == "empirical" else "Monte-Carlo Fisher matrix"
        super().__init__(objective, params, max_memory=max_memory)
        self.seed, self.num_draws = seed, num_draws
        self.kind, self._sampler = kind, sampler
        self._draw: Draw | None = None
        if kind == "monte-carlo" and sampler is None:
            self._draw = draw_of(criterion_of(objective))

    def _criterion(self, outputs: Tensor, part: Part) -> tuple[Tensor, float]:
        target = part.content[1]
        targets = (
            [target] if self.kind == "empirical" else [self._drawn(outputs, part, i) for i in range(self.num_draws)]
        )
        slopes = [self._slope(outputs, each, part.weight) for each in targets]
        value = float(self.objective.unreduced(criterion_of(self.objective)(outputs, target), part.weight))
        return torch.stack(slopes), value

    def _drawn(self, outputs: Tensor, part: Part, draw: int) -> Any:
        """Targets that belong to the samples: the matrix must not depend on how the data are cut."""
        target, by_sample = part.content[1], len(outputs) == part.num_samples
        if self._draw is not None:
            start, stream = (part.start, 0) if by_sample else (0, part.start + 1)
            noise = uniforms_for(tuple(outputs.shape), seed=self.seed, draw=draw, start=start, stream=stream)
            return self._draw(outputs, target, noise)
        assert self._sampler is not None
        generator = torch.Generator(device=outputs.device)
        first = (self.seed * 1_000_003 + draw) * 2**31 + part.start
        if not (by_sample and isinstance(target, Tensor)):
            return self._sampler(outputs, target, generator.manual_seed(first % 2**63))
        rows = (slice(i, i + 1) for i in range(len(outputs)))
        return torch.cat(
            [
                self._sampler(outputs[row], target[row], generator.manual_seed((first + row.start) % 2**63))
                for row in rows
            ]
        )

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
