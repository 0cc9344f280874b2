"""The progress bar of a training run."""

from __future__ import annotations

import sys
from typing import Any

from tqdm.auto import tqdm

from landscape.tracking.history import History, Row, number_in
from landscape.training.listener import Listener
from landscape.training.result import Swap, TrainingResult, loss_of


class ProgressBar(Listener):
    """A bar over epochs or gradient equivalents, with loss, gradient norm, phase and the time left.

    On a terminal it is one line that is rewritten; in a file, tqdm writes it seldom.
    """

    def __init__(self) -> None:
        self._bar: tqdm[Any] | None = None
        self._by_epochs = True
        self._total = 0.0

    def started(self, history: History, epochs: int | None, budget: float | None) -> None:
        """Open the bar where the run stands."""
        self._by_epochs = epochs is not None
        self._total = float(epochs if epochs is not None else budget or 0.0)
        row = history[-1] if len(history) else {"phase": "first"}
        self._bar = tqdm(
            total=self._total,
            initial=number_in(row, "epoch" if self._by_epochs else "gradient_equivalents") or 0.0,
            unit="epoch" if self._by_epochs else "GE",
            bar_format="{desc} {percentage:3.0f}%|{bar}| {n:.0f}/{total:.0f} {unit} [{elapsed}<{remaining}]{postfix}",
            dynamic_ncols=True,
            mininterval=0.2,
        )
        self._describe(str(row.get("phase")))
        if len(history):
            self.recorded(row)

    def progressed(self, epochs: float, gradient_equivalents: float, phase: str) -> None:
        """Move the bar, within an epoch too."""
        if self._bar is not None:
            value = epochs if self._by_epochs else gradient_equivalents
            self._bar.update(min(value, self._total) - self._bar.n)

    def recorded(self, row: Row) -> None:
        """Show the newest loss and gradient norm."""
        if self._bar is not None:
            norm = row.get("gradient_norm", row.get("gradient_norm_mean_batch"))
            shown = f", |g| {norm:.3g}" if isinstance(norm, float) else ""
            self._bar.set_postfix_str(f"loss {loss_of(row):.4g}{shown}", refresh=False)

    def swapped(self, swap: Swap) -> None:
        """Say above the bar when and why the phase changed."""
        if self._bar is not None:
            back = "back to the first phase" if swap.to_phase == "first" else "to the second phase"
            self._write(f"epoch {swap.epoch}: swap {back}: {swap.reason}")
            self._describe(swap.to_phase)

    def stopping(self) -> None:
        """Say that the request was heard."""
        if self._bar is not None:
            self._write("stopping after this step, then saving; once more to stop at once")

    def ended(self, result: TrainingResult) -> None:
        """Close the bar."""
        if self._bar is not None:
            self._bar.refresh()
            self._bar.close()
            self._bar = None

    def _write(self, line: str) -> None:
        """Above the bar and where the bar is: standard output is for the verdict, and may be closed by then."""
        assert self._bar is not None
        self._bar.write(line, file=sys.stderr)

    def _describe(self, phase: str) -> None:
        assert self._bar is not None
        self._bar.set_description_str(f"{phase} phase", refresh=False)
