"""An axis of swap epochs: logarithmic, with 0 and "never" as places of their own at its ends."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from landscape.plots.compared import FONT_SIZE
from landscape.plots.palette import INK
from landscape.plots.series import Array

if TYPE_CHECKING:
    from matplotlib.axes import Axes

#: Inches that the number of an epoch needs, by and large, and the word "never".
_NUMBER, _WORD = 0.28, 0.4


@dataclass(frozen=True)
class EpochAxis:
    """Where swap epochs stand.

    Parameters
    ----------
    epochs : tuple of int
        Those that were tried, ascending.
    low, high : float
        Logarithms to base 2 of the first and the last one after 0.
    """

    epochs: tuple[int, ...]
    low: float
    high: float

    @classmethod
    def of(cls, grid: Sequence[int], others: Iterable[float]) -> EpochAxis:
        """An axis with room for a grid and for other epochs, infinite ones aside."""
        known = [float(epoch) for epoch in (*grid, *others) if 0 < epoch < np.inf]
        ends = (min(known), max(known)) if known else (1.0, 2.0)
        return cls(tuple(sorted(grid)), *(float(np.log2(end)) for end in ends))

    @property
    def gap(self) -> float:
        """Between the ends and what stands beside them."""
        return max(0.12 * (self.high - self.low), 0.5)

    def place(self, epoch: float | None) -> float:
        """Where an epoch stands; None and infinity are never."""
        if epoch is None or np.isinf(epoch):
            return self.high + self.gap
        return self.low - self.gap if epoch <= 0 else float(np.log2(epoch))

    def places(self, epochs: Iterable[float | None]) -> Array:
        """Where several stand."""
        return np.array([self.place(epoch) for epoch in epochs], dtype=np.float64)

    def apply(self, axes: Axes, width: float) -> None:
        """Ticks for as many epochs as there is room for, in inches, and a break beside each end that is not on the scale."""
        left, right = self.place(0) if 0 in self.epochs else self.low, self.place(None)
        margin = 0.03 * (right - left)
        axes.set_xlim(left - margin, right + margin)
        inch = width / (right - left + 2 * margin)
        shown: list[int] = [0] if 0 in self.epochs else []
        for epoch in self.epochs:
            before = self.place(shown[-1]) if shown else -np.inf
            beside = (right - self.place(epoch)) * inch >= _WORD
            if epoch > 0 and (self.place(epoch) - before) * inch >= _NUMBER and beside:
                shown.append(epoch)
        places = [*self.places(shown), right]
        axes.set_xticks(places, [*(f"{epoch:,}" for epoch in shown), "never"], fontsize=FONT_SIZE)
        for end, inner in ((left, self.low), (right, self.high)):
            if end != inner:
                axes.axvline(0.5 * (end + inner), color=INK, linewidth=0.7, linestyle=(0, (1, 3)), alpha=0.5, zorder=0)
