"""How soon the target was reached, and how often."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from landscape.comparison.arm import ArmResult
from landscape.comparison.statistics.location import median
from landscape.comparison.statistics.wording import counted


@dataclass(frozen=True)
class TimeToTarget:
    """When one arm reached the training loss that counts as reached, over the seeds.

    Parameters
    ----------
    num_reached : int
        Seeds with which it did.
    num_seeds : int
        Seeds with which it was asked.
    equivalents : float
        Median over those seeds of the gradient equivalents (GE) spent until then; infinite unless more than half of them
        got there, NaN if it was never asked.
    """

    num_reached: int
    num_seeds: int
    equivalents: float

    @property
    def share(self) -> float:
        """Of the seeds that reached it; NaN if it was never asked."""
        return self.num_reached / self.num_seeds if self.num_seeds else math.nan

    def __str__(self) -> str:
        if not self.num_seeds:
            return "not asked"
        told = f"{self.num_reached} of {counted(self.num_seeds, 'seed')}"
        return f"{told} after {self.equivalents:.4g} GE" if math.isfinite(self.equivalents) else told


def time_to_target(results: Sequence[ArmResult]) -> TimeToTarget:
    """When an arm reached its target.

    Parameters
    ----------
    results : sequence of ArmResult
        One for each seed.

    Returns
    -------
    TimeToTarget

    Notes
    -----
    A run that never got there, or diverged or crashed first, took infinitely long: left out instead, an arm that reaches the
    target rarely but then soon would look fast.

    Examples
    --------
    >>> from landscape.comparison.arm import Arm
    >>> reached = [ArmResult(Arm("never"), seed, "finished", target_equivalents=10.0 + seed) for seed in (0, 1)]
    >>> print(time_to_target([*reached, ArmResult(Arm("never"), 2, "diverged")]))
    2 of 3 seeds after 11 GE
    """
    asked = [result for result in results if result.status != "unavailable"]
    times = [math.inf if result.target_equivalents is None else result.target_equivalents for result in asked]
    reached = sum(math.isfinite(time) for time in times)
    return TimeToTarget(reached, len(asked), float(median(times)) if times else math.nan)
