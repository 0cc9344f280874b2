"""What callbacks of other training loops have in common: a monitor that is made when the loop begins."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from landscape.monitor.monitor import Monitor
from landscape.policies.base import Decision
from landscape.problem import Problem
from landscape.tracking.history import History


class Watching:
    """Holds a monitor and the latest decision.

    Parameters
    ----------
    problem : Problem
        The model that the loop trains, its loss and all its data.
    stop_at_swap : bool
        End the loop once the policy says to swap, so that a second phase can follow.
    **settings
        For :class:`landscape.Monitor`.
    """

    def __init__(self, problem: Problem, *, stop_at_swap: bool = False, **settings: Any) -> None:
        self.problem = problem
        self.stop_at_swap = stop_at_swap
        self.monitor: Monitor | None = None
        self.decision: Decision | None = None
        self._settings = settings
        self._state: Mapping[str, Any] | None = None

    @property
    def history(self) -> History:
        """What was recorded so far."""
        return History() if self.monitor is None else self.monitor.history

    def begin(self, optimizer: torch.optim.Optimizer, batch_size: int | None) -> None:
        """Make the monitor; go on where a loaded state was taken. A loop that begins again goes on with the same one."""
        if self.monitor is None:
            settings = {"batch_size": batch_size, "state": self._state, **self._settings}
            self.monitor = Monitor(self.problem, optimizer, **settings)
        else:
            self.monitor.optimizer = optimizer

    def end_epoch(self) -> bool:
        """Record an epoch; whether the loop is to end."""
        assert self.monitor is not None
        self.decision = self.monitor.end_epoch()
        return self.stop_at_swap and self.decision.swap

    def saved(self) -> dict[str, Any]:
        """The monitor's state."""
        return {} if self.monitor is None else self.monitor.state_dict()

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on with a saved state as soon as the loop begins."""
        self._state = state or None
