"""What counts in second_phase.py: the lowest full-data loss against what has been spent."""

from __future__ import annotations

import math
import time

import landscape as ls

# Sums of thirds and of batch sizes reach a whole budget only up to rounding.
SLACK = 1e-6


class BudgetSpentError(Exception):
    """Another evaluation would not be paid for; ends peers, which know no budget."""


class Meter:
    """Lowest full-data loss against gradient equivalents spent since now; what comes after the budget does not count.

    Parameters
    ----------
    problem : landscape.Problem
        At the start point, where the loss is known for free.
    budget : float
        In gradient equivalents (GE).
    """

    def __init__(self, problem: ls.Problem, budget: float) -> None:
        self.problem = problem
        self.budget = budget
        self._before = problem.cost.copy()
        self._began = time.process_time()
        self._unmetered = 0.0
        self.start = self.free_loss()
        self.lowest = self.start
        self._steps = [(0.0, self.start)]

    @property
    def spent(self) -> float:
        """GE so far."""
        return self.problem.cost.since(self._before).gradient_equivalents

    @property
    def is_spent(self) -> bool:
        """Whether the budget is used up."""
        return self.spent >= self.budget - SLACK

    @property
    def seconds(self) -> float:
        """Processor time so far, without the free evaluations."""
        return time.process_time() - self._began - self._unmetered

    def afford(self, price: float) -> None:
        """Stop here if the budget does not pay for ``price`` more."""
        if self.spent + price > self.budget + SLACK:
            raise BudgetSpentError

    def see(self, loss: float) -> bool:
        """Take note of the full-data loss at a point that was reached; True if it is the lowest so far."""
        if not (math.isfinite(loss) and loss < self.lowest and self.spent <= self.budget + SLACK):
            return False
        self.lowest = loss
        self._steps.append((self.spent, loss))
        return True

    def free_loss(self) -> float:
        """The full-data loss where the model stands, at nobody's expense."""
        began, ledger = time.process_time(), self.problem.cost.state_dict()
        loss = float(self.problem.loss())
        self.problem.cost.load_state_dict(ledger)
        self._unmetered += time.process_time() - began
        return loss

    def curve(self, budgets: list[float]) -> list[list[float]]:
        """Pairs of a budget and the lowest loss reached within it."""
        return [[at, min(loss for spent, loss in self._steps if spent <= at + SLACK)] for at in budgets]
