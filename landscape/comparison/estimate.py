"""What a comparison may cost, before anything is run."""

from __future__ import annotations

from dataclasses import dataclass

from landscape.comparison.asked import Asked
from landscape.comparison.study import Study


@dataclass(frozen=True)
class Estimate:
    """What a comparison may cost, before anything is run.

    Parameters
    ----------
    first_phases : float
        Gradient equivalents of the first phases with what is measured along them.
    least, most : float
        Gradient equivalents of everything, if policies all swap where the grid does, and if each swaps where no other one does.
    num_least, num_most : int
        Branches.
    """

    first_phases: float
    least: float
    most: float
    num_least: int
    num_most: int

    def __str__(self) -> str:
        return (
            f"{self.num_least} to {self.num_most} branches, {self.least:,.0f} to {self.most:,.0f} gradient equivalents; "
            "what was done before is not done again"
        )


def estimate(study: Study) -> Estimate:
    """Bounds on the work, from the numbers of policies, finishers, grid points and seeds."""
    num_asked = len({item.key for item in study.asked.values() if isinstance(item, Asked)})
    fixed = [max(0.0, study.budget - (arm.epoch or 0)) for arm, _ in study.fixed_arms()]
    num_arms = sum(isinstance(item, Asked) for item in study.asked.values())
    first = study.budget * (2.0 if num_asked else 1.0)
    seeds = len(study.seeds)
    return Estimate(
        first * seeds,
        (first + sum(fixed)) * seeds,
        (first + sum(fixed) + num_arms * study.budget) * seeds,
        len(fixed) * seeds,
        (len(fixed) + num_arms) * seeds,
    )
