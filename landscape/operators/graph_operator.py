"""Curvature by derivatives of graphs that are kept between products."""

from __future__ import annotations

import contextlib
from abc import abstractmethod
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor

from landscape.autodiff.twice import (
    REMEDY,
    SecondDerivativeError,
    refuse_once_differentiable,
    twice_differentiable,
    why_not_twice,
)
from landscape.objective import Objective, Part
from landscape.operators.curvature import CurvatureOperator, ordinary
from landscape.operators.graphs import GraphKeeper
from landscape.vectors import dot

#: What one part of the data adds to a product: a piece for each chosen parameter, None where it adds nothing.
Contribution = Sequence[Tensor | None]


class GraphOperator(CurvatureOperator):
    """A curvature operator whose products are derivatives of graphs, one for each part of the data.

    Graphs are built at the first product and kept up to a memory budget; the others are built again for each product.

    Parameters
    ----------
    objective, params
        As for every curvature operator.
    max_memory : float, optional
        Bytes for graphs and one product's intermediate results. Default: a quarter of the free memory.
    """

    #: What can be done where there is no second derivative.
    remedy = REMEDY

    def __init__(self, objective: Objective, params: Tensor | None = None, *, max_memory: float | None = None) -> None:
        super().__init__(objective, params)
        self._looked_at = False
        self.keeper: GraphKeeper[Any] = GraphKeeper(objective, self._build, max_memory)

    @abstractmethod
    def _build(self, part: Part) -> tuple[Any, float]:
        """The graph of one part of the data, and the value of its loss."""

    @abstractmethod
    def _apply(self, graph: Any, direction: Sequence[Tensor], keep: bool) -> Contribution:
        """One part's contribution to the product, a piece for each chosen parameter."""

    def release(self) -> None:
        """Free the kept graphs. A later product builds them again."""
        self.keeper.release()

    def quadratic_forms(self, direction: Tensor) -> tuple[Tensor, Tensor]:
        """As every curvature operator's; one product."""
        self._check(direction)
        self.num_matvecs += 1
        pieces = self._split(ordinary(direction))
        values, weights = [], []

        def collect(contributions: Sequence[Contribution], weight: float) -> None:
            terms = zip(contributions[0], pieces, strict=True)
            values.append(sum((dot(h.reshape(-1), v.reshape(-1)) for h, v in terms if h is not None), 0.0) / weight)
            weights.append(weight)

        self._for_each_part([pieces], collect)
        total = torch.tensor(weights, dtype=torch.float64)
        return torch.tensor(values, dtype=torch.float64), total / total.sum()

    def _products(self, vectors: Sequence[Tensor]) -> list[Tensor]:
        results = [torch.zeros(self.size, dtype=self.objective.sum_dtype, device=self.device) for _ in vectors]
        targets = [self._split(result) for result in results]

        def add(contributions: Sequence[Contribution], _: float) -> None:
            for pieces, contribution in zip(targets, contributions, strict=True):
                for piece, term in zip(pieces, contribution, strict=True):
                    if term is not None:
                        piece += term

        self._for_each_part([self._split(vector) for vector in vectors], add)
        total = self.keeper.total_weight
        return [result.div_(total).to(self.dtype) for result in results]

    def _look_at(self, gradients: Iterable[Tensor | None]) -> None:
        """Refuse gradients that are cut off from their graphs; looked at once, since all parts are computed alike."""
        if not self._looked_at:
            refuse_once_differentiable(gradients)
            self._looked_at = True

    def _for_each_part(
        self, directions: Sequence[Sequence[Tensor]], use: Callable[[Sequence[Contribution], float], None]
    ) -> None:
        """Hand to ``use``, for each part of the data, what it adds to the product with each direction, and its weight.

        All directions at one part before the next part: a graph that is not kept is built once for all of them.
        """
        self._check_point()
        last = len(directions) - 1
        with self._deriving():
            for graph, entry, kept in self.keeper.graphs():
                use([self._apply(graph, v, kept or i < last) for i, v in enumerate(directions)], entry.weight)
                self.objective.cost.charge_product(entry.num_samples * len(directions))
                del graph  # or it would still be held while the next one is built

    @contextlib.contextmanager
    def _deriving(self) -> Iterator[None]:
        """A block that differentiates twice; says in our words what torch can't."""
        try:
            with self.objective.probing(), twice_differentiable(), torch.enable_grad():
                yield
        except (RuntimeError, NotImplementedError) as error:
            reason = why_not_twice(error)
            if reason is None:
                raise
            raise SecondDerivativeError(f"{reason}. {self.remedy}", reason) from error


def differentiate(
    outputs: Sequence[Tensor | None],
    inputs: Sequence[Tensor],
    directions: Sequence[Tensor | None],
    *,
    keep: bool,
    create_graph: bool = False,
) -> list[Tensor | None]:
    """Gradients of ``sum_i <outputs_i, directions_i>``, where outputs that depend on nothing count as constants."""
    pairs = [(o, d) for o, d in zip(outputs, directions, strict=True) if o is not None and o.requires_grad]
    if not pairs:
        return [None] * len(inputs)
    return list(
        torch.autograd.grad(
            [o for o, _ in pairs],
            list(inputs),
            [d for _, d in pairs],
            retain_graph=keep or create_graph,
            create_graph=create_graph,
            allow_unused=True,
        )
    )
