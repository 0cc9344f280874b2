"""What a path of visited points said about convexity."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import NamedTuple

from torch import Tensor

from landscape.status import Status


@dataclass(frozen=True)
class Witness:
    """Two visited points that no convex function passes through with the gradient measured at the first.

    Attributes
    ----------
    start, end : int
        Positions in the path: the tangent at ``start`` lies above the loss at ``end``.
    gap : float
        By how much.
    rounding : float
        How far the gap may be off; smaller than the gap.
    """

    start: int
    end: int
    gap: float
    rounding: float

    def __str__(self) -> str:
        return (
            f"the tangent at point {self.start} lies {self.gap:.3g} above the loss at point {self.end} "
            f"(rounding {self.rounding:.1g})"
        )


class Count(NamedTuple):
    """How many numbers are above 0, below 0, and unknown: NaN, or 0 within rounding."""

    positive: int
    negative: int
    unknown: int


@dataclass(frozen=True)
class PathConvexity:
    r"""What k visited points say about convexity along the path.

    Attributes
    ----------
    losses, gradient_norms : Tensor of shape (k,), float64
    distances : Tensor of shape (k - 1,), float64
        Between consecutive points.
    secants, secant_rounding : Tensor of shape (k - 1,), float64
        Secant curvatures :math:`\langle g_b - g_a, x_b - x_a \rangle / \|x_b - x_a\|^2` of consecutive points and how far
        they may be off; NaN for two equal points.
    gaps, gap_rounding : Tensor of shape (k, k), float64
        :math:`f(x_i) + \langle g_i, x_j - x_i \rangle - f(x_j)`, at most 0 for a convex loss, and how far it may be off.
    segment_curvatures : Tensor of shape (k - 1, m), float64, or None
        Second differences of the loss at m points between consecutive ones, per squared distance. None if not asked for.
    segment_rounding : Tensor of shape (k - 1,), float64, or None
    gradient_equivalents : float
        What it cost, in gradients over all data.
    status : Status
        COMPLETED, or NONFINITE if a loss or a gradient was not finite; what depends on it is NaN.
    """

    losses: Tensor
    gradient_norms: Tensor
    distances: Tensor
    secants: Tensor
    secant_rounding: Tensor
    gaps: Tensor = field(repr=False)
    gap_rounding: Tensor = field(repr=False)
    segment_curvatures: Tensor | None
    segment_rounding: Tensor | None
    gradient_equivalents: float
    status: Status

    @property
    def num_points(self) -> int:
        """Visited points k."""
        return self.losses.numel()

    @property
    def num_secants(self) -> Count:
        """Signs of the secant curvatures of consecutive points."""
        return _count(self.secants, self.secant_rounding)

    @property
    def num_pairs(self) -> Count:
        """Ordered pairs of different points that keep to the first-order lower bound (positive), and that violate it."""
        total = self.num_points * (self.num_points - 1)
        broken = int((self.gaps > self.gap_rounding).sum())
        unknown = (self.gaps.isnan() | self.gap_rounding.isnan()).fill_diagonal_(False)
        return Count(total - broken - int(unknown.sum()), broken, int(unknown.sum()))

    @property
    def num_segments(self) -> Count:
        """Segments on which all second differences are above rounding, on which one is below it, and the others."""
        if self.segment_curvatures is None or self.segment_rounding is None:
            return Count(0, 0, 0)
        lowest = self.segment_curvatures.amin(dim=1)  # NaN if one is
        return _count(lowest, self.segment_rounding)

    @property
    def share_convex(self) -> float:
        """Share of positive secant curvatures among those whose sign is known; NaN if none is."""
        positive, negative, _ = self.num_secants
        return positive / (positive + negative) if positive + negative else math.nan

    @property
    def share_of_pairs(self) -> float:
        """Share of ordered pairs that keep to the first-order lower bound, up to rounding; NaN if none is known."""
        kept, broken, _ = self.num_pairs
        return kept / (kept + broken) if kept + broken else math.nan

    def witnesses(self, window: int | None = None) -> list[Witness]:
        """Pairs that violate the first-order lower bound beyond rounding, largest gap first.

        Parameters
        ----------
        window : int, optional
            Only pairs at most so many points apart. Far apart, pairs hardly ever keep to the bound in a deep net.

        Raises
        ------
        ValueError
            If ``window`` is below 1.
        """
        if window is not None and window < 1:
            raise ValueError(f"window={window} was given; points are at least 1 apart.")
        found = [
            Witness(i, j, float(self.gaps[i, j]), float(self.gap_rounding[i, j]))
            for i, j in (self.gaps > self.gap_rounding).nonzero().tolist()
            if window is None or abs(i - j) <= window
        ]
        return sorted(found, key=lambda witness: -witness.gap)

    def __str__(self) -> str:
        secants, pairs, segments = self.num_secants, self.num_pairs, self.num_segments
        worst = self.witnesses()[:1]
        told = [
            f"Claim C (path convexity) at {self.num_points} visited points: the secant curvature of consecutive points is "
            f"{_told(secants)}",
            f"the first-order lower bound holds for {pairs.positive} of {pairs.positive + pairs.negative} ordered pairs"
            + (f", and {pairs.unknown} are not known" if pairs.unknown else "")
            + (f"; most plainly, {worst[0]}" if worst else ""),
        ]
        if self.segment_curvatures is not None:
            told.append(f"second differences of the loss between consecutive points are {_told(segments)}")
        tail = "" if self.status is Status.COMPLETED else f" {self.status}"
        return f"{'; '.join(told)}. This says nothing about lambda_min, at these points or elsewhere.{tail}"


def _count(values: Tensor, rounding: Tensor) -> Count:
    positive, negative = int((values > rounding).sum()), int((values < -rounding).sum())
    return Count(positive, negative, values.numel() - positive - negative)


def _told(count: Count) -> str:
    total = sum(count)
    unknown = f", and of unknown sign on {count.unknown}" if count.unknown else ""
    return f"positive on {count.positive} of {total} segments, negative on {count.negative}{unknown}"
