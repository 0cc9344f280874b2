"""Rows of a history as metrics of Weights & Biases."""

from __future__ import annotations

from typing import Any

from landscape.tracking.history import Row
from landscape.training.listener import Listener
from landscape.training.result import Swap

_REMEDY = "Install it with `pip install 'torch-landscape[loggers]'`."


class WandbListener(Listener):
    """Logs every value of every row, drawn over the epoch; for trainers and monitors.

    Parameters
    ----------
    run : wandb.Run, optional
        Log to this one, and leave it open. Default: the run that is active, else a new one.
    prefix : str
        Goes before the columns' names.
    **settings
        For ``wandb.init``, if a run is begun.

    Raises
    ------
    ModuleNotFoundError
        If wandb is not installed.
    ValueError
        If settings are given although there is a run already.
    """

    def __init__(self, run: Any = None, *, prefix: str = "landscape/", **settings: Any) -> None:
        try:
            import wandb
        except ModuleNotFoundError as error:
            raise ModuleNotFoundError(f"WandbListener needs the package wandb. {_REMEDY}") from error
        run = run if run is not None else wandb.run
        if run is not None and settings:
            listed = ", ".join(settings)
            raise ValueError(f"{listed} was given, but there is a run already. Set it where that run is begun.")
        self._owned = run is None
        self.run = wandb.init(**settings) if run is None else run
        self._prefix = prefix
        # Not wandb's own step: that counts what anybody logs.
        self.run.define_metric(f"{prefix}*", step_metric=f"{prefix}epoch")

    def recorded(self, row: Row) -> None:
        """Log the row."""
        self.run.log({self._prefix + name: value for name, value in row.items()})

    def swapped(self, swap: Swap) -> None:
        """Put the latest swap into the run's summary."""
        self.run.summary[f"{self._prefix}swap_epoch"] = swap.epoch
        self.run.summary[f"{self._prefix}swap_reason"] = f"to the {swap.to_phase} phase: {swap.reason}"

    def close(self) -> None:
        """Finish a run of one's own."""
        if self._owned:
            self.run.finish()
