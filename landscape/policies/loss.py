"""Policies that watch the loss."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar, Literal

from landscape.policies.base import Claim, Decision
from landscape.policies.settings import at_least, one_of
from landscape.policies.signals import read
from landscape.tracking.history import History


@dataclass(frozen=True)
class LossPlateau:
    r"""Swap once the loss has fallen by less than a share of itself over a window of epochs.

    .. math:: \text{swap} \iff L_{t-w} - L_t < \tau\,|L_{t-w}|

    Parameters
    ----------
    window : int
        w, in epochs in which the loss was measured. Our own choice.
    tau : float
        Relative decrease below which the loss counts as flat. Our own choice.
    loss : {"loss", "loss_running"}
        The loss over all data at the epoch's end, or the free running mean of the mini-batch losses.

    Notes
    -----
    The most common rule in practice. It watches progress, not shape: it fires at saddles, at noise around a good point, and
    when the learning rate is too small. A rising loss fires too. A loss of exactly 0 never does.

    References
    ----------
    Common practice, as in ``torch.optim.lr_scheduler.ReduceLROnPlateau``, whose default threshold is 1e-4 relative.

    Examples
    --------
    >>> rows = [{"epoch": t, "phase": "first", "loss": loss} for t, loss in enumerate([1.0, 0.5, 0.499], 1)]
    >>> LossPlateau(window=1).decide(History(rows)).swap
    True
    """

    window: int = 10
    tau: float = 0.01
    loss: Literal["loss", "loss_running"] = "loss"

    claim: ClassVar[Claim | None] = None
    hindsight: ClassVar[bool] = False

    def __post_init__(self) -> None:
        at_least("window", self.window, 1)
        at_least("tau", self.tau, 0)
        one_of("loss", self.loss, ("loss", "loss_running"))

    @property
    def requires(self) -> frozenset[str]:
        """The loss that is watched."""
        return frozenset({self.loss})

    def decide(self, history: History) -> Decision:
        """Compare the last loss with the one a window ago."""
        signals = read(history, self.loss, window=self.window + 1)
        if isinstance(signals, Decision):
            return signals
        before, now = signals[self.loss][0], signals[self.loss][-1]
        decrease = (before - now) / abs(before) if before else math.nan
        swap = before - now < self.tau * abs(before)
        reason = (
            f"{self.loss} fell by {decrease:.3g} of itself, from {before:.4g} to {now:.4g}, over {self.window} epochs, "
            f"{'less' if swap else 'not less'} than {self.tau:g}"
        )
        return Decision(swap, reason, decrease, {"before": before, "now": now})
