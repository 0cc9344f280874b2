"""Whether the loss is known well enough for a second phase to see its own progress."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from landscape.policies.base import Claim, Decision
from landscape.policies.settings import at_least, positive
from landscape.policies.signals import read
from landscape.tracking.history import History


@dataclass(frozen=True)
class PrecisionSuffices:
    r"""Say yes while changes of the loss stand out from its rounding; made to be combined with another policy.

    .. math:: |L_{t-w} - L_t| \ge \text{margin} \cdot \text{rounding floor}

    Parameters
    ----------
    margin : float
        How far changes must stand out. Our own choice.
    window : int
        w, in measured epochs. Our own choice.

    Notes
    -----
    Line searches compare losses. Where a change over several epochs has sunk into rounding, those of single steps have long
    done so: a second phase in float32 stops there, and one in float64 goes on. So where this says no and another policy says
    yes, swap together with the number format. No claim on convexity.

    References
    ----------
    Xu et al. (2025), arXiv:2505.10949, on float64 and the failures of physics-informed networks.

    Examples
    --------
    >>> rows = [{"epoch": t, "phase": "first", "loss": 1.0 - 1e-8 * t, "rounding_floor": 6e-8} for t in (1, 2)]
    >>> PrecisionSuffices(window=1).decide(History(rows)).swap
    False
    """

    margin: float = 10.0
    window: int = 5

    claim: ClassVar[Claim | None] = None
    hindsight: ClassVar[bool] = False

    def __post_init__(self) -> None:
        positive("margin", self.margin)
        at_least("window", self.window, 1)

    @property
    def requires(self) -> frozenset[str]:
        """The loss and its rounding."""
        return frozenset({"loss", "rounding_floor"})

    def decide(self, history: History) -> Decision:
        """Compare the change with the floor."""
        signals = read(history, "loss", "rounding_floor", window=self.window + 1)
        if isinstance(signals, Decision):
            return signals
        change = abs(signals["loss"][0] - signals["loss"][-1])
        floor = self.margin * signals["rounding_floor"][-1]
        swap = change >= floor and change > 0
        remedy = "" if swap else ": go on in a wider number format"
        reason = (
            f"the loss changed by {change:.3g} over {self.window} epochs, {'at least' if swap else 'less than'} {floor:.3g} "
            f"({self.margin:g} times its rounding){remedy}"
        )
        return Decision(swap, reason, change, {"change": change, "floor": floor})
