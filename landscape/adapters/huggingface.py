"""Hugging Face: a callback that records ``Trainer.train`` and asks a policy after every epoch."""

from __future__ import annotations

from typing import Any

from landscape.adapters.watching import Watching
from landscape.policies.base import Decision
from landscape.problem import Problem
from landscape.tracking.history import History

try:
    from transformers import TrainerCallback
except ModuleNotFoundError:  # the module can be read without it
    TrainerCallback = None


class HuggingFaceMonitor(TrainerCallback or object):  # type: ignore[misc]
    """Watches ``transformers.Trainer`` with a :class:`landscape.Monitor`.

    Parameters
    ----------
    problem : Problem
        The model that is trained, its loss and all its data, usually by :meth:`landscape.Problem.from_closure`.
    stop_at_swap : bool
        Stop the training once the policy says to swap; ``callback.decision`` tells why.
    **settings
        For :class:`landscape.Monitor`: ``policy``, ``trackers``, ``max_overhead``, ``path``, ``listeners``, ``batch_size``.

    Attributes
    ----------
    monitor : Monitor or None
        From the beginning of the training on.
    decision : Decision or None
        After the latest epoch.

    Raises
    ------
    ModuleNotFoundError
        If transformers is not installed.

    Notes
    -----
    On one process. Callbacks are told no losses, so rows have no ``loss_running``; the tracker ``"loss"`` records the loss over
    all data. A step is counted as ``per_device_train_batch_size * gradient_accumulation_steps`` samples, the last one of an
    epoch too. Steps are seen before the gradients are cleared (``on_optimizer_step``). Checkpoints of transformers do not hold
    the monitor: keep ``callback.monitor.state_dict()`` and give it back as ``state=...``.

    Examples
    --------
    A training that is watched::

        callback = HuggingFaceMonitor(problem, policy=ls.policies.GradientNormPeak(norm="mean_batch"))
        transformers.Trainer(model, args, train_dataset=data, callbacks=[callback]).train()
        callback.history.to_pandas()
    """

    def __init__(self, problem: Problem, *, stop_at_swap: bool = False, **settings: Any) -> None:
        if TrainerCallback is None:
            raise ModuleNotFoundError(
                "HuggingFaceMonitor needs transformers. Install it with `pip install transformers`."
            )
        super().__init__()
        self._watching = Watching(problem, stop_at_swap=stop_at_swap, **settings)

    @property
    def monitor(self) -> Any:
        """The monitor; None before the training."""
        return self._watching.monitor

    @property
    def decision(self) -> Decision | None:
        """The latest one."""
        return self._watching.decision

    @property
    def history(self) -> History:
        """What was recorded so far."""
        return self._watching.history

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Make the monitor."""
        self._watching.begin(
            _bare(kwargs["optimizer"]), args.per_device_train_batch_size * args.gradient_accumulation_steps
        )

    def on_optimizer_step(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Tell of a step."""
        assert self._watching.monitor is not None
        self._watching.monitor.step()

    def on_epoch_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Record the epoch, and stop the training if that is asked for."""
        if self._watching.end_epoch():
            control.should_training_stop = True

    def on_train_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Close listeners."""
        if self._watching.monitor is not None:
            self._watching.monitor.close()


def _bare(optimizer: Any) -> Any:
    """The optimiser itself, where accelerate has wrapped it."""
    return getattr(optimizer, "optimizer", optimizer)
