"""What has been computed at the end of an epoch: shared by all trackers, each thing at most once."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import torch
from torch import Tensor

from landscape.cost import FORWARD_IN_GRADIENTS, PRODUCT_IN_GRADIENTS, Cost
from landscape.operators.choose import HessianMethod
from landscape.operators.curvature import CurvatureOperator
from landscape.problem import Problem
from landscape.tracking.facts import ProblemFacts
from landscape.tracking.history import Value
from landscape.tracking.preconditioner import adam_preconditioner
from landscape.tracking.trial import SecondPhaseTrial
from landscape.vectors import dot, norm
from landscape.verification.verify import NUM_SAMPLES

OptimizerFactory = Callable[[Iterable[Any]], torch.optim.Optimizer]

#: Gradients over the few samples on which a problem's derivatives are verified, roughly.
_VERIFYING_FEW = 12.0


class Snapshot:
    """Where a run stands at the end of an epoch, for trackers to measure.

    Everything is computed when it is first asked for, once, and charged to ``problem.cost``. Tensors are shared by all
    trackers and must not be written to.

    Parameters
    ----------
    problem : Problem
        What is trained; the model stands where the epoch ended, and must not move before the snapshot is done with.
    epoch : int
        As in the row.
    phase : str
        "first" or "second".
    step : int
        Optimiser updates so far, both phases.
    learning_rate : float, optional
        Of the epoch's last step. Default: the largest one of the optimiser's groups, after the first step.
    batch_size : int, optional
        Samples per step, as asked for. Default: all of them.
    optimizer : torch.optim.Optimizer, optional
        That of the phase.
    training_equivalents : float
        Gradient equivalents spent on training so far, without probing.
    training : Cost, optional
        The same as counts, which win over ``training_equivalents``.
    seconds : float
        That the run has taken.
    loss, gradient : float, Tensor of shape (n,), optional
        Over all data, where the phase already has them.
    row : mapping, optional
        Columns that the phase gave.
    second : callable, optional
        ``second(params) -> optimizer`` makes the second phase's optimiser, for trials. Default: conjugate gradients.
    hessian_method : str
        How Hessian products are made; see :meth:`landscape.Problem.hessian`.
    max_memory : float, optional
        Bytes for the Hessian's kept graphs.

    Examples
    --------
    >>> from landscape.testing.problems import least_squares
    >>> snapshot = Snapshot(least_squares().problem)
    >>> snapshot.gradient is snapshot.gradient, snapshot.problem.cost.gradient_equivalents
    (True, 1.0)
    """

    def __init__(
        self,
        problem: Problem,
        *,
        epoch: int = 0,
        phase: str = "first",
        step: int = 0,
        learning_rate: float | None = None,
        batch_size: int | None = None,
        optimizer: torch.optim.Optimizer | None = None,
        training_equivalents: float = 0.0,
        training: Cost | None = None,
        seconds: float = 0.0,
        loss: float | None = None,
        gradient: Tensor | None = None,
        row: Mapping[str, Value] | None = None,
        second: OptimizerFactory | None = None,
        hessian_method: HessianMethod = "autograd",
        max_memory: float | None = None,
    ) -> None:
        self.problem = problem
        self.epoch = epoch
        self.phase = phase
        self.step = step
        self.learning_rate = learning_rate if learning_rate is not None else _rate_of(optimizer, step)
        self.batch_size = problem.num_samples if batch_size is None else batch_size
        self.optimizer = optimizer
        self.training = training
        self.training_equivalents = training_equivalents if training is None else training.gradient_equivalents
        self.seconds = seconds
        self.row: dict[str, Value] = dict(row or {})
        self.facts = ProblemFacts()
        self._loss = loss
        self._gradient = gradient
        self._params: Tensor | None = None
        self._preconditioner: list[Tensor | None] = []
        self._hessian: CurvatureOperator | None = None
        self._gradient_product: Tensor | None = None
        self._trial: SecondPhaseTrial | None = None
        self._second = second
        self._hessian_method: HessianMethod = hessian_method
        self._max_memory = max_memory

    @property
    def params(self) -> Tensor:
        """x, a copy of the parameters as one vector of shape (n,). Free."""
        if self._params is None:
            self._params = self.problem.params()
        return self._params

    @property
    def loss(self) -> float:
        """f, the mean loss over all data (1 forward, unless the gradient is known)."""
        if self._loss is None:
            self._loss = float(self.problem.loss())
        return self._loss

    @property
    def gradient(self) -> Tensor:
        """g, the gradient over all data, of shape (n,) (1 gradient); the loss comes along."""
        if self._gradient is None:
            loss, self._gradient = self.problem.loss_and_gradient()
            self._loss = float(loss) if self._loss is None else self._loss
        return self._gradient

    @property
    def adam_preconditioner(self) -> Tensor | None:
        """P, the diagonal 1 / (sqrt(v) + eps) of shape (n,); None if the optimiser has no second moments. Free."""
        if not self._preconditioner:
            self._preconditioner.append(adam_preconditioner(self.optimizer, self.problem.layout))
        return self._preconditioner[0]

    def hessian(self) -> CurvatureOperator:
        """H here: one operator for all trackers, its graphs built at the first product and kept (1 gradient)."""
        if self._hessian is None:
            self._hessian = self.problem.hessian(method=self._hessian_method, max_memory=self._max_memory)
        return self._hessian

    def hessian_times_gradient(self) -> tuple[Tensor, Tensor]:
        """The unit vector u = g / ||g|| and Hu (1 product); both 0 where g is 0."""
        length = norm(self.gradient)
        unit = self.gradient if length == 0 else (self.gradient.double() / length).to(self.gradient.dtype)
        if self._gradient_product is None:
            self._gradient_product = torch.zeros_like(unit) if length == 0 else self.hessian() @ unit
        return unit, self._gradient_product

    def curvature_along(self, direction: Tensor) -> float:
        """D'Hd / d'd (1 product); NaN where d is 0 or not finite."""
        length = norm(direction)
        if not 0 < length < math.inf:
            return math.nan
        unit = (direction.double() / length).to(self.params.dtype)
        return dot(unit, self.hessian() @ unit) / dot(unit, unit)

    @property
    def is_finite(self) -> bool:
        """Whether the parameters are, and the loss and the gradient as far as they are known. Free."""
        known = [self.params] if self._gradient is None else [self.params, self._gradient]
        return math.isfinite(self._loss or 0.0) and all(bool(torch.isfinite(vector).all()) for vector in known)

    def trial(self) -> SecondPhaseTrial:
        """Steps of the second phase's optimiser from a copy of x: one run of them, which all trackers share."""
        if self._trial is None:
            self.verify_other_points()
            self._trial = SecondPhaseTrial(self.problem, self.params, self._second, first=self.optimizer)
        return self._trial

    def verify_other_points(self) -> None:
        """Before losses are taken elsewhere: check, once for the problem, that swapped parameters act as live ones."""
        if not self._is_verified("finite-difference"):
            self.problem.verify("finite-difference").raise_if_failed()

    def release(self) -> None:
        """Free the Hessian's graphs and the trial: the epoch is measured."""
        if self._hessian is not None:
            release = getattr(self._hessian, "release", None)
            if release is not None:
                release()
        self._hessian = self._trial = self._gradient_product = None

    # -- what the next one to ask would pay, in gradient equivalents ---------------------------------------------

    @property
    def loss_cost(self) -> float:
        """What :attr:`loss` will cost."""
        return 0.0 if self._loss is not None else FORWARD_IN_GRADIENTS

    @property
    def gradient_cost(self) -> float:
        """What :attr:`gradient` will cost."""
        return 0.0 if self._gradient is not None else 1.0

    @property
    def hessian_cost(self) -> float:
        """What verifying and building the graphs will cost, before the first product."""
        if self._hessian is not None and self._hessian.num_matvecs > 0:
            return 0.0
        few = min(NUM_SAMPLES, self.problem.num_samples) / self.problem.num_samples
        verifying = 0.0 if self._is_verified(self._hessian_method) else 2.0 + _VERIFYING_FEW * few
        return 1.0 + verifying

    @property
    def gradient_product_cost(self) -> float:
        """What :meth:`hessian_times_gradient` will cost."""
        if self._gradient_product is not None:
            return 0.0
        return self.gradient_cost + self.hessian_cost + PRODUCT_IN_GRADIENTS

    @property
    def other_points_cost(self) -> float:
        """What :meth:`verify_other_points` will cost."""
        return 0.0 if self._is_verified("finite-difference") else 2.0

    def trial_cost(self, num_steps: int) -> float:
        """What going on to ``num_steps`` trial steps will cost, if each takes one forward and one gradient."""
        if self._trial is not None:
            return (1.0 + FORWARD_IN_GRADIENTS) * max(0, num_steps - self._trial.num_steps)
        # The start: a gradient, and the forward of the check that the loss repeats.
        return self.other_points_cost + (1.0 + FORWARD_IN_GRADIENTS) * (1 + num_steps)

    def _is_verified(self, method: str) -> bool:
        """Whether verifying would be free. All methods compare gradients and swapped parameters."""
        done = self.problem._verifications
        return method in done or (method == "finite-difference" and any(report.ok for report in done.values()))


def _rate_of(optimizer: torch.optim.Optimizer | None, step: int) -> float | None:
    rates = [] if optimizer is None or step == 0 else [group.get("lr") for group in optimizer.param_groups]
    return max((float(rate) for rate in rates if rate is not None), default=None)
