"""Who watches a run: progress bars, loggers."""

from __future__ import annotations

from landscape.tracking.history import History, Row
from landscape.training.result import Swap, TrainingResult


class Listener:
    """Hears of a run while it goes on; every method may be left as it is.

    A listener must not change the model or draw from the global random number generators.
    """

    def started(self, history: History, epochs: int | None, budget: float | None) -> None:
        """The run begins, or goes on after the rows of ``history``, to ``epochs`` or ``budget`` gradient equivalents."""

    def progressed(self, epochs: float, gradient_equivalents: float, phase: str) -> None:
        """A step was made; ``epochs`` counts the part of the present epoch too."""

    def recorded(self, row: Row) -> None:
        """An epoch is complete."""

    def swapped(self, swap: Swap) -> None:
        """The run goes over to the other phase."""

    def stopping(self) -> None:
        """A stop was requested; the run ends after the present step."""

    def ended(self, result: TrainingResult) -> None:
        """The run is over."""

    def close(self) -> None:
        """Nothing more is to come, be it that the run is over or that it failed: files may be closed."""
