"""Policies that ask whether the loss was convex along the path that was walked."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from landscape.policies.base import Claim, Decision
from landscape.policies.settings import at_least
from landscape.policies.signals import hold
from landscape.tracking.history import History


@dataclass(frozen=True)
class MonotoneGradient:
    r"""Swap once the gradient has been monotone from checkpoint to checkpoint, several times in a row.

    .. math:: \langle g_b - g_a, x_b - x_a \rangle \ge \mu\,\|x_b - x_a\|^2

    Parameters
    ----------
    mu : float
        Modulus of strong convexity to ask for. 0 asks for convexity.
    checks : int
        How often in a row. Our own choice.

    Notes
    -----
    The left side is the Hessian's mean curvature along the segment, so a dent shorter than it does not show. It is also the
    test with which L-BFGS accepts a pair, y's > 0. Claim C; on the paths of trained networks it holds nearly always. Cost: 1 GE
    for the new gradient, the old one is kept.

    References
    ----------
    Classical, for instance Nesterov (2004), Introductory Lectures on Convex Optimization, theorem 2.1.3.

    Examples
    --------
    >>> rows = [{"epoch": t, "phase": "first", "secant_curvature": c} for t, c in enumerate([-0.1, 0.2, 0.3, 0.2], 1)]
    >>> MonotoneGradient().decide(History(rows)).swap
    True
    """

    mu: float = 0.0
    checks: int = 3

    claim: ClassVar[Claim | None] = "C"
    hindsight: ClassVar[bool] = False

    def __post_init__(self) -> None:
        at_least("mu", self.mu, 0)
        at_least("checks", self.checks, 1)

    @property
    def requires(self) -> frozenset[str]:
        """The curvature of the secant."""
        return frozenset({"secant_curvature"})

    def decide(self, history: History) -> Decision:
        """Compare with mu, several times."""
        what = "the secant curvature since the checkpoint before"
        return hold(history, "secant_curvature", ">=", self.mu, self.checks, what)


@dataclass(frozen=True)
class NoPathWitness:
    r"""Swap once no two checkpoints witness against convexity: convex until proven guilty.

    .. math:: \min_{x, y} \; f(y) - f(x) - \langle g_x, y - x \rangle \ge -\text{slack}

    over all ordered pairs of the checkpoints kept.

    Parameters
    ----------
    slack : float
        How far a tangent may lie above the loss, in units of the loss: room for rounding.
    checks : int
        How often in a row. Our own choice.

    Notes
    -----
    Convexity would put every tangent below the loss at every other point. It only refutes: no witness is no proof. Claim C.
    Checkpoints far apart are nearly always guilty, so a tracker keeps a window of them. Cost: 1 GE and dot products.

    References
    ----------
    Carmon, Duchi, Hinder, Sidford (2017), "Convex Until Proven Guilty", arXiv:1705.02766.

    Examples
    --------
    >>> rows = [{"epoch": t, "phase": "first", "lower_bound_gap": 0.01 * t} for t in (1, 2, 3)]
    >>> NoPathWitness().decide(History(rows)).swap
    True
    """

    slack: float = 0.0
    checks: int = 3

    claim: ClassVar[Claim | None] = "C"
    hindsight: ClassVar[bool] = False

    def __post_init__(self) -> None:
        at_least("slack", self.slack, 0)
        at_least("checks", self.checks, 1)

    @property
    def requires(self) -> frozenset[str]:
        """The smallest gap."""
        return frozenset({"lower_bound_gap"})

    def decide(self, history: History) -> Decision:
        """Look for a witness, several times."""
        what = "the smallest gap between the loss and a tangent"
        return hold(history, "lower_bound_gap", ">=", 0.0 - self.slack, self.checks, what)


@dataclass(frozen=True)
class SegmentConvexity:
    r"""Swap once the loss is convex on the segment from the checkpoint before, as far as evenly spaced points show.

    .. math:: \min_i \; f_{i-1} - 2 f_i + f_{i+1} \ge -\text{slack}

    Parameters
    ----------
    slack : float
        In units of the loss: room for rounding.
    checks : int
        How often in a row. Our own choice.

    Notes
    -----
    Midpoint convexity on a grid. Claim C, in one dimension. With Adam, batch normalisation or large moves, segments show
    bumps that the path went around, and their shape does not predict success. Cost: a third of a GE for each point.

    References
    ----------
    Goodfellow, Vinyals, Saxe (2015), arXiv:1412.6544. Its limits: Lucas et al. (2021), arXiv:2104.11044; Vlaar, Frankle
    (2022), arXiv:2106.16004.

    Examples
    --------
    >>> rows = [{"epoch": t, "phase": "first", "segment_second_difference": 0.01} for t in (1, 2, 3)]
    >>> SegmentConvexity().decide(History(rows)).swap
    True
    """

    slack: float = 0.0
    checks: int = 3

    claim: ClassVar[Claim | None] = "C"
    hindsight: ClassVar[bool] = False

    def __post_init__(self) -> None:
        at_least("slack", self.slack, 0)
        at_least("checks", self.checks, 1)

    @property
    def requires(self) -> frozenset[str]:
        """The smallest second difference."""
        return frozenset({"segment_second_difference"})

    def decide(self, history: History) -> Decision:
        """Ask for second differences that are not negative, several times."""
        what = "the smallest second difference on the segment"
        return hold(history, "segment_second_difference", ">=", 0.0 - self.slack, self.checks, what)
