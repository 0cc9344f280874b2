"""Steps of the second phase that are tried, not taken."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor

from landscape.autodiff.leave_no_trace import get_random_states, set_random_states
from landscape.optim.conjugate_gradient import ConjugateGradient
from landscape.optim.descent import DescentOptimizer
from landscape.problem import Problem
from landscape.status import Status


class SecondPhaseTrial:
    """An optimiser at work on a copy of the parameters; the model itself stays where it is.

    Parameters
    ----------
    problem : Problem
        The loss; the copy's losses and gradients are taken with swapped parameters, and charged.
    params : Tensor of shape (n,)
        Where to begin.
    make_optimizer : callable, optional
        ``make_optimizer(params)``, whose ``step`` takes a closure. Default: conjugate gradients.
    first : torch.optim.Optimizer, optional
        The first phase's, on the problem's own parameters: the second one takes over what it has learned, as at a swap.

    Attributes
    ----------
    num_steps : int
        Steps taken so far.

    Notes
    -----
    Cost: for conjugate gradients 1 gradient and 1 forward at the start, the same for each step, or what the line search
    takes.

    Examples
    --------
    >>> from landscape.testing.problems import least_squares
    >>> problem = least_squares().problem
    >>> before = problem.params()
    >>> trial = SecondPhaseTrial(problem, before)
    >>> trial.advance_to(3)
    >>> trial.losses[3] < trial.losses[0], torch.equal(problem.params(), before)
    (True, True)
    """

    def __init__(
        self,
        problem: Problem,
        params: Tensor,
        make_optimizer: Callable[[Iterable[Any]], torch.optim.Optimizer] | None = None,
        first: torch.optim.Optimizer | None = None,
    ) -> None:
        self.problem = problem
        self._leaves = [torch.nn.Parameter(piece.clone()) for piece in problem.layout.split(params.detach())]
        factory = make_optimizer if make_optimizer is not None else ConjugateGradient
        self._optimizer: torch.optim.Optimizer = factory(list(self._leaves))
        if first is not None and isinstance(self._optimizer, DescentOptimizer):
            self._optimizer.take_over(first, problem.parameters)
        self.num_steps = 0
        #: The point, the loss and the gradient equivalents spent, before the first step and after each.
        self.points: list[Tensor] = [params]
        self.losses: list[float] = []
        self.equivalents: list[float] = [0.0]
        #: Of each step's line search; None for an optimiser that tells of none.
        self.statuses: list[Status | None] = []

    def advance_to(self, num_steps: int) -> None:
        """Take the steps that are missing to ``num_steps``."""
        states = get_random_states()
        try:
            while self.num_steps < num_steps:
                self._advance()
        finally:
            set_random_states(states)

    def _advance(self) -> None:
        before = self.problem.cost.copy()
        loss = self._optimizer.step(self._closure)  # type: ignore[arg-type]  # torch types the closure as giving a float
        last = getattr(self._optimizer, "last", None)
        if not self.losses:
            self.losses.append(float(loss) if last is None else float(last.loss_before))
        point = self._point()
        after = float(self.problem.loss(point)) if last is None else float(last.loss)
        self.points.append(point)
        self.losses.append(after)
        self.statuses.append(None if last is None else last.status)
        self.equivalents.append(self.equivalents[-1] + self.problem.cost.since(before).gradient_equivalents)
        self.num_steps += 1

    def _closure(self) -> Tensor:
        point = self._point()
        if not torch.is_grad_enabled():
            return self.problem.loss(point)
        loss, gradient = self.problem.loss_and_gradient(point)
        for leaf, piece in zip(self._leaves, self.problem.layout.split(gradient), strict=True):
            leaf.grad = piece
        return loss

    def _point(self) -> Tensor:
        return self.problem.layout.flatten(leaf.detach() for leaf in self._leaves)
