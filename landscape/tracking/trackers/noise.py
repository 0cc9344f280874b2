"""How much single samples, or mini-batches, disagree about the gradient."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from landscape.batches import Batch, ListedBatches, LoadedBatches
from landscape.problem import Problem
from landscape.tracking.history import Value
from landscape.tracking.per_sample import NUM_TRIED, sample_gradients
from landscape.tracking.snapshot import Snapshot
from landscape.tracking.tracker import Measurement, generator_for
from landscape.vectors import dot

#: Gradients of a mini-batch's samples up to this size are kept for the second look; larger ones are taken again.
_KEEP_BYTES = 256 * 2**20


@dataclass(frozen=True)
class GradientVariance(Measurement):
    """The trace of the per-sample gradients' covariance, and an unbiased estimate of the squared gradient norm.

    Parameters
    ----------
    num_samples : int
        Samples n that are drawn, without replacement, at each measurement.
    num_batches : int
        Independent mini-batches K that are drawn instead where single samples have no gradients of their own (batch
        normalisation in train mode, batches that cannot be cut).
    seed : int
        Of the draws.

    Notes
    -----
    Cost: n / N gradients, and n / 4N where the full-data gradient is not known, for the second batch of the estimate of
    the squared norm; K b / N for batches. Memory: two vectors in float64 and a block of gradients (64 MB at most).

    References
    ----------
    McCandlish et al. (2018), An empirical model of large-batch training, arXiv:1812.06162.
    """

    num_samples: int = 256
    num_batches: int = 8
    seed: int = 0

    name: ClassVar[str] = "gradient-variance"
    records: ClassVar[frozenset[str]] = frozenset({"gradient_variance", "gradient_norm_squared_unbiased"})
    needs: ClassVar[frozenset[str]] = frozenset({"samples"})

    def __post_init__(self) -> None:
        super().__post_init__()
        for name, value in (("num_samples", self.num_samples), ("num_batches", self.num_batches)):
            if value < 4:
                raise ValueError(f"{name}={value} was given; it must be at least 4.")

    def unavailable(self, problem: Problem) -> str | None:
        """One sample has no variance, and some loaders give no mini-batches."""
        return cannot_draw(problem)

    def estimated_cost(self, snapshot: Snapshot) -> float:
        """The samples drawn, and the first trial."""
        total = snapshot.problem.num_samples
        if "per-sample" in snapshot.facts.known and snapshot.facts.per_sample_method(snapshot.problem) == "none":
            return self.num_batches * min(snapshot.batch_size, total) / total
        drawn = min(self.num_samples, total)
        extra = drawn // 4 if snapshot.gradient_cost > 0 and drawn < total else 0
        return (drawn + extra) / total + trial_cost(snapshot)

    def measure(self, snapshot: Snapshot) -> Mapping[str, Value]:
        """Draw, and add up squares."""
        if not snapshot.is_finite:
            return dict.fromkeys(sorted(self.records), math.nan)
        generator = generator_for(self.seed, snapshot.epoch)
        if snapshot.facts.per_sample_method(snapshot.problem) == "none":
            return self._from_batches(snapshot, generator)
        problem = snapshot.problem
        drawn = draw(problem, min(self.num_samples, problem.num_samples), generator)
        moments = Moments.of(_gradients_of(snapshot, drawn))
        row: dict[str, Value] = {"gradient_variance": moments.trace}
        if snapshot.gradient_cost == 0:
            row["gradient_norm_squared_unbiased"] = dot(snapshot.gradient, snapshot.gradient)
        elif drawn.num_samples == problem.num_samples:  # all of them were drawn: the mean is the gradient
            row["gradient_norm_squared_unbiased"] = dot(moments.mean, moments.mean)
        elif drawn.num_samples >= 4:
            second = draw(problem, drawn.num_samples // 4, generator)
            small = Moments.of(_gradients_of(snapshot, second))
            row["gradient_norm_squared_unbiased"] = _unbiased(small, moments)
        return row

    def _from_batches(self, snapshot: Snapshot, generator: torch.Generator) -> Mapping[str, Value]:
        problem = snapshot.problem
        size = min(snapshot.batch_size, problem.num_samples)
        batches = [draw(problem, size, generator) for _ in range(self.num_batches)]
        moments = Moments.of(problem.objective.over([batch]).loss_and_gradient()[1][None] for batch in batches)
        drawn = sum(batch.num_samples for batch in batches) / len(batches)
        row: dict[str, Value] = {"gradient_variance": drawn * moments.trace}
        # Without per-sample gradients only the full-data one gives ||g||^2 without bias.
        known = snapshot.gradient_cost == 0
        return {**row, "gradient_norm_squared_unbiased": dot(snapshot.gradient, snapshot.gradient)} if known else row


@dataclass(frozen=True)
class MiniBatchTests(Measurement):
    """Whether one mini-batch's gradient stands out from its samples' scatter: three tests of the same mini-batch.

    Parameters
    ----------
    seed : int
        Of the draws.

    Notes
    -----
    The mini-batch has the run's batch size b. Cost: b / N gradients; twice that where the b gradients take more than
    256 MB, so that they have to be made again.

    References
    ----------
    Byrd, Chin, Nocedal, Wu (2012), Math. Program. 134 (norm test). Bollapragada, Byrd, Nocedal (2018), arXiv:1710.11258
    (inner-product test). Mahsereci et al. (2017), arXiv:1703.09580 (evidence).
    """

    seed: int = 1

    name: ClassVar[str] = "mini-batch-tests"
    records: ClassVar[frozenset[str]] = frozenset({"norm_test_ratio", "inner_product_test_ratio", "evidence"})
    needs: ClassVar[frozenset[str]] = frozenset({"samples"})

    def unavailable(self, problem: Problem) -> str | None:
        """As for the variance."""
        return cannot_draw(problem)

    def estimated_cost(self, snapshot: Snapshot) -> float:
        """One mini-batch's samples, and the first trial."""
        facts, problem = snapshot.facts, snapshot.problem
        if "per-sample" in facts.known and facts.per_sample_method(problem) == "none":
            return 0.0
        size = min(snapshot.batch_size, problem.num_samples)
        passes = 1 if _are_kept(problem, size) else 2
        return passes * size / problem.num_samples + trial_cost(snapshot)

    def measure(self, snapshot: Snapshot) -> Mapping[str, Value]:
        """Draw a mini-batch; nothing where samples have no gradients of their own."""
        problem = snapshot.problem
        if not snapshot.is_finite:
            return dict.fromkeys(sorted(self.records), math.nan)
        if snapshot.facts.per_sample_method(problem) == "none":
            return {}
        generator = generator_for(self.seed, snapshot.epoch)
        batch = draw(problem, min(snapshot.batch_size, problem.num_samples), generator)
        kept = list(_gradients_of(snapshot, batch)) if _are_kept(problem, batch.num_samples) else None
        moments = Moments.of(iter(kept) if kept is not None else _gradients_of(snapshot, batch))
        mean, square = moments.mean, dot(moments.mean, moments.mean)
        blocks = iter(kept) if kept is not None else _gradients_of(snapshot, batch)
        products = torch.cat([block.double() @ mean for block in blocks])
        b = batch.num_samples
        deviations = float((products - square).square().sum())
        return {
            "norm_test_ratio": _ratio(moments.trace, b * square),
            "inner_product_test_ratio": _ratio(deviations, (b - 1) * b * square**2),
            "evidence": moments.evidence(),
        }


class Moments:
    """Sum and sum of squares of vectors, coordinate by coordinate in float64."""

    def __init__(self, count: int, total: Tensor, squares: Tensor) -> None:
        self.count, self.total, self.squares = count, total, squares

    @classmethod
    def of(cls, blocks: Iterator[Tensor]) -> Moments:
        """Of the rows of blocks (k, n)."""
        first = next(blocks)
        made = cls(0, torch.zeros(first.shape[1], dtype=torch.float64, device=first.device), torch.zeros(0))
        made.squares = torch.zeros_like(made.total)
        for block in itertools.chain([first], blocks):
            exact = block.double()
            made.count += len(exact)
            made.total += exact.sum(dim=0)
            made.squares += exact.square().sum(dim=0)
        return made

    @property
    def mean(self) -> Tensor:
        """(n,)."""
        return self.total / self.count

    @property
    def variances(self) -> Tensor:
        """(n,), with the divisor count - 1; NaN for a single vector."""
        if self.count < 2:
            return torch.full_like(self.total, math.nan)
        deviations = self.squares - self.total.square() / self.count
        # Below rounding of the squares, equal numbers would get a variance.
        rounding = 4 * torch.finfo(torch.float64).eps * self.count * self.squares
        return torch.where(deviations <= rounding, torch.zeros_like(deviations), deviations) / (self.count - 1)

    @property
    def trace(self) -> float:
        """Sum of the variances."""
        return float(self.variances.sum())

    def evidence(self) -> float:
        """1 - (b / D) sum_d mean_d^2 / variance_d over the D coordinates that vary; NaN if none does."""
        variances = self.variances
        varies = variances != 0
        dimension = int(varies.sum())
        if dimension == 0:
            return math.nan
        ratios = self.mean[varies].square() / variances[varies]
        return 1.0 - self.count / dimension * float(ratios.sum())


def draw(problem: Problem, size: int, generator: torch.Generator) -> Batch:
    """One random mini-batch."""
    return next(problem.minibatches(size, generator))


def cannot_draw(problem: Problem) -> str | None:
    """Why no mini-batches can be drawn here; None if they can."""
    if problem.num_samples < 2:
        return "the data are a single sample, which has no scatter."
    if isinstance(problem.batches, LoadedBatches):
        return "the DataLoader has an order of its own, so mini-batches cannot be drawn from it in a repeatable way."
    return None


def trial_cost(snapshot: Snapshot) -> float:
    """What finding out how per-sample gradients can be taken will cost."""
    if "per-sample" in snapshot.facts.known:
        return 0.0
    first = next(iter(snapshot.problem.batches)).num_samples if _is_listed(snapshot.problem) else NUM_TRIED
    return 2.0 * min(NUM_TRIED, first, snapshot.problem.num_samples) / snapshot.problem.num_samples


def _is_listed(problem: Problem) -> bool:
    return isinstance(problem.batches, ListedBatches)


def _gradients_of(snapshot: Snapshot, batch: Batch) -> Iterator[Tensor]:
    return sample_gradients(snapshot.problem, batch, snapshot.facts.per_sample_method(snapshot.problem))


def _are_kept(problem: Problem, size: int) -> bool:
    return size * problem.num_params * problem.layout.parameters[0].element_size() <= _KEEP_BYTES


def _unbiased(small: Moments, large: Moments) -> float:
    b, B = small.count, large.count
    return (B * dot(large.mean, large.mean) - b * dot(small.mean, small.mean)) / (B - b)


def _ratio(numerator: float, denominator: float) -> float:
    return numerator / denominator if denominator != 0 else math.nan
