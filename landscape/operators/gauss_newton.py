"""The generalised Gauss-Newton matrix."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from landscape.objective import Objective, Part
from landscape.operators.graph_operator import GraphOperator, differentiate


@dataclass
class OutputGraph:
    """How the outputs z of one part depend on the parameters.

    ``transposed`` is J'u as a function of a dummy u: differentiating it by u gives Jv, so that reverse mode alone
    yields both products with the Jacobian.
    """

    outputs: Tensor
    dummy: Tensor
    transposed: list[Tensor | None]
    criterion: Any


class OutputOperator(GraphOperator):
    r"""A matrix :math:`\frac{1}{W} \sum_b J_b^\top M_b J_b`, with J the Jacobian of the model's outputs."""

    remedy = "This matrix has no other way to its products; the Hessian has: hessian(method='finite-difference')."

    def __init__(self, objective: Objective, params: Tensor | None = None, *, max_memory: float | None = None) -> None:
        if objective.loss_fn is None:
            raise ValueError(
                f"the {self.matrix_name} needs the model's outputs apart from the loss, but this problem was made from a "
                "closure. Make it as Problem(model, loss_fn, data), with loss_fn(output, target), or use hessian()."
            )
        super().__init__(objective, params, max_memory=max_memory)

    def _criterion(self, outputs: Tensor, part: Part) -> tuple[Any, float]:
        """What ``_middle`` needs to apply M, from detached outputs, and the value of the part's loss."""
        raise NotImplementedError

    def _middle(self, criterion: Any, tangent: Tensor) -> Tensor | None:
        """M times a tangent of the outputs."""
        raise NotImplementedError

    def _build(self, part: Part) -> tuple[OutputGraph, float]:
        outputs = self.objective.outputs(part.content, self._leaves())
        if not isinstance(outputs, Tensor) or not outputs.is_floating_point():
            raise ValueError(
                f"the {self.matrix_name} needs a model whose output is one real tensor; it is a {type(outputs).__name__}. "
                "Wrap the model so that it returns the tensor that the loss takes, or use hessian()."
            )
        if not outputs.requires_grad:
            raise ValueError("the model's outputs do not depend on any of the chosen parameters. Check params=...")
        dummy = torch.zeros_like(outputs, requires_grad=True)
        transposed = differentiate([outputs], self._variables, [dummy], keep=True, create_graph=True)
        self._look_at(transposed)
        criterion, value = self._criterion(outputs.detach(), part)
        return OutputGraph(outputs, dummy, transposed, criterion), value

    def _apply(self, graph: OutputGraph, direction: Sequence[Tensor], keep: bool) -> list[Tensor | None]:
        transposed = [graph.transposed[index] for index in self._chosen]
        (tangent,) = differentiate(transposed, [graph.dummy], direction, keep=True)
        middle = None if tangent is None else self._middle(graph.criterion, tangent)
        if middle is None:
            return [None] * len(self._chosen)
        return differentiate([graph.outputs], self._chosen_variables(), [middle], keep=keep)


class GaussNewton(OutputOperator):
    r"""The generalised Gauss-Newton matrix: the Hessian without the curvature of the model.

    Made by :meth:`landscape.Problem.gauss_newton`. With outputs z and Jacobian J it is
    :math:`G = \sum_b w_b J_b^\top (\nabla_z^2 \ell_b) J_b / \sum_b w_b` (Schraudolph 2002, Neural Computation 14(7)):
    positive semidefinite wherever the loss is convex in the outputs, and equal to the Hessian where the model is linear
    or fits perfectly.

    Notes
    -----
    Cost: as for the Hessian, 2 GE nominal for a product after 1 gradient for the graphs.
    """

    matrix_name = "Gauss-Newton matrix"

    def _criterion(self, outputs: Tensor, part: Part) -> tuple[tuple[Tensor, Tensor], float]:
        point = outputs.requires_grad_()
        value = self.objective.unreduced(criterion_of(self.objective)(point, part.content[1]), part.weight)
        (slope,) = torch.autograd.grad(value, point, create_graph=True)
        return (slope, point), float(value.detach())

    def _middle(self, criterion: tuple[Tensor, Tensor], tangent: Tensor) -> Tensor | None:
        slope, point = criterion
        return differentiate([slope], [point], [tangent], keep=True)[0]


def criterion_of(objective: Objective) -> Callable[..., Tensor]:
    """The loss of outputs and targets, which an :class:`OutputOperator` has made sure of."""
    assert objective.loss_fn is not None
    return objective.loss_fn
