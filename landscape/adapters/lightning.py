"""Lightning: a callback that records a fit and asks a policy after every epoch."""

from __future__ import annotations

from typing import Any

from landscape.adapters.watching import Watching
from landscape.batches import tensors_in
from landscape.policies.base import Decision
from landscape.problem import Problem
from landscape.tracking.history import History

try:
    from lightning.pytorch import Callback
except ModuleNotFoundError:  # the module can be read without it
    try:
        from pytorch_lightning import Callback
    except ModuleNotFoundError:
        Callback = None


class LightningMonitor(Callback or object):  # type: ignore[misc]
    """Watches ``trainer.fit`` with a :class:`landscape.Monitor`.

    Parameters
    ----------
    problem : Problem
        The module that is trained (or a part of it), its loss and all its data.
    stop_at_swap : bool
        Stop the fit once the policy says to swap; ``callback.decision`` tells why.
    **settings
        For :class:`landscape.Monitor`: ``policy``, ``trackers``, ``max_overhead``, ``path``, ``listeners``, ``batch_size``.

    Attributes
    ----------
    monitor : Monitor or None
        From the beginning of the fit on.
    decision : Decision or None
        After the latest epoch.

    Raises
    ------
    ModuleNotFoundError
        If Lightning is not installed.

    Notes
    -----
    For automatic optimisation with one optimiser, on one process. Samples are counted by the first dimension of the first
    tensor of each batch, unless ``batch_size`` is given. With ``accumulate_grad_batches`` the parts of a step are counted
    together. The loss is what ``training_step`` returns. Lightning's checkpoints hold the monitor's state.

    Examples
    --------
    A fit that is watched::

        callback = LightningMonitor(problem, policy=ls.policies.GradientNormPeak(norm="mean_batch"))
        lightning.Trainer(callbacks=[callback], max_epochs=50).fit(module, loader)
        callback.history.to_pandas()
    """

    def __init__(self, problem: Problem, *, stop_at_swap: bool = False, **settings: Any) -> None:
        if Callback is None:
            raise ModuleNotFoundError("LightningMonitor needs Lightning. Install it with `pip install lightning`.")
        super().__init__()
        self._watching = Watching(problem, stop_at_swap=stop_at_swap, **settings)
        self._loss: Any = None
        self._samples = 0
        self._steps = 0

    @property
    def monitor(self) -> Any:
        """The monitor; None before the fit."""
        return self._watching.monitor

    @property
    def decision(self) -> Decision | None:
        """The latest one."""
        return self._watching.decision

    @property
    def history(self) -> History:
        """What was recorded so far."""
        return self._watching.history

    def on_train_start(self, trainer: Any, pl_module: Any) -> None:
        """Make the monitor."""
        if len(trainer.optimizers) != 1:
            raise ValueError(
                f"LightningMonitor watches one optimiser, but this fit has {len(trainer.optimizers)}. Use landscape.Monitor in "
                "the training step."
            )
        self._watching.begin(trainer.optimizers[0], None)
        self._steps = trainer.global_step

    def on_train_batch_end(self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        """Add up the parts of a step, and tell of it once it is made."""
        monitor = self._watching.monitor
        assert monitor is not None
        loss = outputs.get("loss") if isinstance(outputs, dict) else outputs
        if loss is not None:  # Lightning has divided it by the number of parts already
            loss = loss.detach()
            self._loss = loss if self._loss is None else self._loss + loss
        first = next(iter(tensors_in(batch)), None)
        self._samples += monitor.batch_size or (0 if first is None else len(first))
        if trainer.global_step > self._steps:
            monitor.step(self._loss, num_samples=self._samples or None)
            self._loss, self._samples, self._steps = None, 0, trainer.global_step

    def on_train_epoch_end(self, trainer: Any, pl_module: Any) -> None:
        """Record the epoch, and stop the fit if that is asked for."""
        if self._watching.end_epoch():
            trainer.should_stop = True

    def on_fit_end(self, trainer: Any, pl_module: Any) -> None:
        """Close listeners."""
        if self._watching.monitor is not None:
            self._watching.monitor.close()

    def state_dict(self) -> dict[str, Any]:
        """For Lightning's checkpoints."""
        return self._watching.saved()

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """From Lightning's checkpoints."""
        self._watching.restore(state_dict)
