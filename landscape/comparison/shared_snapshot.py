"""Snapshots of one moment, each as if it were the only one, that compute loss and gradient once for all."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from torch import Tensor

from landscape.cost import Cost
from landscape.operators.choose import HessianMethod
from landscape.tracking.history import Value, number_in
from landscape.tracking.snapshot import OptimizerFactory, Snapshot


@dataclass
class Shared:
    """What has been computed at this moment, with what it cost.

    Parameters
    ----------
    loss : (float, Cost) or None
        Over all data.
    gradient : (float, Tensor of shape (n,), Cost) or None
        With the loss that came along.
    saved : float
        Gradient equivalents that were charged and not computed again.
    """

    loss: tuple[float, Cost] | None = None
    gradient: tuple[float, Tensor, Cost] | None = None
    saved: float = 0.0


class SharingSnapshot(Snapshot):
    """A snapshot that charges for what others have computed before as if it had done so itself.

    Parameters
    ----------
    outer : Snapshot
        The run's own.
    shared : Shared
        With the others.
    row : mapping
        Columns that are known.
    second : callable or None
        Makes the optimiser of trials.
    method : str
        How Hessian products are made.
    """

    def __init__(
        self,
        outer: Snapshot,
        shared: Shared,
        row: Mapping[str, Value],
        second: OptimizerFactory | None,
        method: HessianMethod,
    ) -> None:
        super().__init__(
            outer.problem,
            epoch=outer.epoch,
            phase=outer.phase,
            step=outer.step,
            learning_rate=outer.learning_rate,
            batch_size=outer.batch_size,
            optimizer=outer.optimizer,
            training_equivalents=outer.training_equivalents,
            training=outer.training,
            seconds=outer.seconds,
            loss=number_in(row, "loss"),
            gradient=outer._gradient,
            row=row,
            second=second,
            hessian_method=method,
        )
        self._shared = shared

    @property
    def loss(self) -> float:
        """f, the mean loss over all data (1 forward, unless the gradient is known)."""
        if self._loss is None:
            if self._shared.loss is None:
                before = self.problem.cost.copy()
                value = float(self.problem.loss())
                self._shared.loss = (value, self.problem.cost.since(before))
            else:
                self._charge(self._shared.loss[-1])
            self._loss = self._shared.loss[0]
        return self._loss

    @property
    def gradient(self) -> Tensor:
        """g, the gradient over all data, of shape (n,) (1 gradient); the loss comes along."""
        if self._gradient is None:
            if self._shared.gradient is None:
                before = self.problem.cost.copy()
                loss, gradient = self.problem.loss_and_gradient()
                self._shared.gradient = (float(loss), gradient, self.problem.cost.since(before))
            else:
                self._charge(self._shared.gradient[-1])
            self._gradient = self._shared.gradient[1]
            self._loss = self._shared.gradient[0] if self._loss is None else self._loss
        return self._gradient

    def _charge(self, cost: Cost) -> None:
        self.problem.cost.add(cost)
        self._shared.saved += cost.gradient_equivalents
