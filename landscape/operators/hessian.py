"""The Hessian by double backward."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from landscape.losses.module import check_differentiable
from landscape.objective import Part
from landscape.operators.graph_operator import GraphOperator, differentiate


class Hessian(GraphOperator):
    r"""The Hessian :math:`H = \nabla^2 L` of a problem's mean loss.

    Made by :meth:`landscape.Problem.hessian`. A product is the derivative of the kept gradient graph,
    :math:`Hv = \partial (g^\top v) / \partial x` (Pearlmutter 1994, Neural Computation 6(1)), reverse over reverse:
    forward mode is silently wrong through some of torch's layers.

    Notes
    -----
    Cost: building the graphs, once, is 1 gradient; a product is 2 GE nominal; a graph that the memory budget does not
    let stay is built again for each product (1 GE more). Piecewise linear activations contribute no curvature at their
    kinks: the matrix is that of the smooth pieces.
    """

    matrix_name = "Hessian"

    def _build(self, part: Part) -> tuple[list[Tensor | None], float]:
        value = self.objective.unreduced(self.objective.evaluate(part.content, self._leaves()), part.weight)
        check_differentiable(value)
        gradients = torch.autograd.grad(value, list(self._variables), create_graph=True, allow_unused=True)
        self._look_at(gradients)
        return list(gradients), float(value.detach())

    def _apply(self, graph: list[Tensor | None], direction: Sequence[Tensor], keep: bool) -> list[Tensor | None]:
        gradients = [graph[index] for index in self._chosen]
        return differentiate(gradients, self._chosen_variables(), direction, keep=keep)
