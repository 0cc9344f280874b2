"""One way of spending the budget, and what came of it with one seed."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

#: "policy": the policy chooses the swap. "grid": a fixed epoch. "never": the first phase goes on to the end. "control": another
#: finisher from a grid point. "from start": a finisher that never saw a first phase, such as Adam with a decayed rate.
ArmKind = Literal["policy", "grid", "never", "control", "from start"]

#: "unavailable": the policy reads what cannot be measured on this problem, so that it was not asked.
ArmStatus = Literal["finished", "diverged", "crashed", "unavailable"]


@dataclass(frozen=True)
class Arm:
    """One way of spending the budget.

    Parameters
    ----------
    kind : {"policy", "grid", "never", "control", "from start"}
        What chooses the swap.
    finisher : str
        The second phase, such as ``"cg"``; empty for "never".
    policy : str
        Its name in the comparison; empty unless ``kind`` is "policy".
    epoch : int or None
        Of the swap, for "grid" and "control"; 0 for "from start": before the first step.

    Examples
    --------
    >>> Arm("grid", "cg", epoch=12).name, Arm("policy", "cg", policy="race").name, Arm("never").name
    ('cg after epoch 12', 'race, then cg', 'never')
    """

    kind: ArmKind
    finisher: str = ""
    policy: str = ""
    epoch: int | None = None

    @property
    def name(self) -> str:
        """In words."""
        if self.kind == "never":
            return "never"
        if self.kind == "policy":
            return f"{self.policy}, then {self.finisher}"
        return f"{self.finisher} from the start" if self.epoch == 0 else f"{self.finisher} after epoch {self.epoch}"


@dataclass(frozen=True)
class ArmResult:
    """What an arm came to with one seed.

    Parameters
    ----------
    arm : Arm
        Which.
    seed : int
        Which.
    status : {"finished", "diverged", "crashed", "unavailable"}
        How it ended.
    swap_epoch : int or None
        After which epoch it swapped; None if it never did.
    reason : str
        The policy's own where it swapped; else why it did not, or the error of what crashed.
    probing_equivalents : float
        Gradient equivalents (GE) that the policy's measurements cost until the swap; part of ``gradient_equivalents``.
    gradient_equivalents : float
        GE spent when the arm ended: at most one epoch or step more than the budget, less if the finisher had converged.
    seconds : float
        Of training, both phases, without measurements; another one in every run.
    values : mapping of str to float
        At the end: ``train_loss`` and, where there is validation data, ``validation_loss``; ``train_accuracy`` and the like
        for each metric; ``swap_train_loss``: where it swapped. Infinite losses where the arm diverged or crashed; nothing where
        it is unavailable.
    target_equivalents : float or None
        GE at which the training loss first was at most the target; None if it never was. All of the policy's measurements
        are counted from the start, which is late where the target was reached before the swap.
    curve : tuple of (float, float)
        Training loss against GE, both phases, thinned: as it was paid for by this arm.
    """

    arm: Arm
    seed: int
    status: ArmStatus
    swap_epoch: int | None = None
    reason: str = ""
    probing_equivalents: float = 0.0
    gradient_equivalents: float = 0.0
    seconds: float = 0.0
    values: Mapping[str, float] = field(default_factory=dict)
    target_equivalents: float | None = None
    curve: tuple[tuple[float, float], ...] = ()

    def value(self, name: str) -> float:
        """A value at the end; NaN where there is none."""
        return self.values.get(name, math.nan)
