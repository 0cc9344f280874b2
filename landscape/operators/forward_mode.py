"""The Hessian by torch.func's forward mode: an alternative that has to prove itself first."""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Callable, Iterator, Sequence
from typing import Literal

import torch
from torch import Tensor

from landscape.autodiff.twice import SecondDerivativeError
from landscape.objective import Objective, Part
from landscape.operators.graph_operator import Contribution, GraphOperator

ForwardMethod = Literal["forward-over-reverse", "reverse-over-forward"]


class ForwardModeHessian(GraphOperator):
    r"""The Hessian by forward mode, through ``torch.func``.

    Made by ``problem.hessian(method="forward-over-reverse")`` (``jvp`` of ``grad``) or ``"reverse-over-forward"``
    (``grad`` of ``jvp``), and only after ``problem.verify(method=...)`` has found its products to be those of double
    backward: torch's forward rules are silently wrong for some layers (pytorch#196700, layer_norm) and missing for others.

    Notes
    -----
    Cost: 2 GE nominal a product, and 1 gradient once to learn the sizes; no graph is kept between products. Parameters
    are swapped by ``functional_call`` at every point.
    """

    matrix_name = "Hessian"

    def __init__(
        self,
        objective: Objective,
        params: Tensor | None = None,
        *,
        method: ForwardMethod = "forward-over-reverse",
        max_memory: float | None = None,
    ) -> None:
        super().__init__(objective, params, max_memory=max_memory)
        self.method = method
        self.by = f"forward mode ({method})"

    @contextlib.contextmanager
    def _deriving(self) -> Iterator[None]:
        try:
            with super()._deriving():
                yield
        except SecondDerivativeError:
            raise
        except (RuntimeError, NotImplementedError) as error:
            # Forward mode fails in many ways; each means that it can't be used here.
            first_line = str(error).strip().partition("\n")[0]
            reason = f"torch's forward mode fails here ({first_line})"
            raise SecondDerivativeError(f"{reason}. Use method='autograd'.", reason) from error

    def _build(self, part: Part) -> tuple[Part, float]:
        # No graph to keep: the part itself stands for it.
        return part, float(self.objective.evaluate(part.content, self._leaves()).detach())

    def _apply(self, graph: Part, direction: Sequence[Tensor], keep: bool) -> Contribution:
        leaves = [piece.detach() for piece in self._variables]
        tangents = [torch.zeros_like(leaf) for leaf in leaves]
        for index, piece in zip(self._chosen, direction, strict=True):
            tangents[index] = piece

        def loss(*swapped: Tensor) -> Tensor:
            return self.objective.unreduced(self.objective.evaluate(graph.content, swapped), graph.weight)

        product = FORWARD_PRODUCTS[self.method](loss, tuple(leaves), tuple(tangents))
        return [product[index].detach() for index in self._chosen]


def _forward_over_reverse(
    loss: Callable[..., Tensor], leaves: tuple[Tensor, ...], tangents: tuple[Tensor, ...]
) -> Sequence[Tensor]:
    gradient = torch.func.grad(loss, argnums=tuple(range(len(leaves))))
    with _torch_warnings():
        product: Sequence[Tensor] = torch.func.jvp(gradient, leaves, tangents)[1]
    return product


def _reverse_over_forward(
    loss: Callable[..., Tensor], leaves: tuple[Tensor, ...], tangents: tuple[Tensor, ...]
) -> Sequence[Tensor]:
    def slope(*point: Tensor) -> Tensor:
        derivative: Tensor = torch.func.jvp(loss, point, tangents)[1]
        return derivative

    with _torch_warnings():
        product: Sequence[Tensor] = torch.func.grad(slope, argnums=tuple(range(len(leaves))))(*leaves)
    return product


class _torch_warnings(warnings.catch_warnings):  # noqa: N801 - reads as the context manager that it is
    """Forward mode makes torch warn of its own use of deprecated functions; the user can do nothing about it."""

    def __enter__(self) -> None:
        super().__enter__()
        warnings.simplefilter("ignore", FutureWarning)
        warnings.simplefilter("ignore", DeprecationWarning)


#: Each takes a function of several tensors, a point and a direction, and gives the product of its Hessian.
FORWARD_PRODUCTS = {"forward-over-reverse": _forward_over_reverse, "reverse-over-forward": _reverse_over_forward}
