"""Samples cut into random groups, so that a quadratic form over all of them comes with a standard error."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from landscape.batches import Batch, Batches, first_two, is_splittable, map_tensors, pieces_of, split_in_two
from landscape.objective import Objective
from landscape.operators.curvature import CurvatureOperator
from landscape.operators.graph_operator import GraphOperator
from landscape.operators.graphs import GraphKeeper

#: Groups that data are cut into: nine degrees of freedom, and pieces that are still large.
NUM_GROUPS = 10
#: A loss that is a mean over samples agrees to rounding between a batch and its halves.
_ADDITIVE_RTOL = 1e-4


class SampleGroups:
    """Other batches as random groups of nearly ``size`` samples; the same groups in every pass.

    Samples that can be indexed are dealt out at random: contiguous pieces of sorted data are no random samples of it, and
    their spread overstates the error. Batches given as a list stay apart; larger ones are shuffled and cut.

    Examples
    --------
    >>> from landscape.batches import TensorBatches
    >>> groups = SampleGroups(TensorBatches(torch.arange(7)), size=3)
    >>> [group.num_samples for group in groups]
    [3, 3, 1]
    """

    def __init__(self, batches: Batches, size: int, seed: int = 0) -> None:
        self.batches = batches
        self.num_samples = batches.num_samples
        self.size = size
        self.seed = seed

    def __iter__(self) -> Iterator[Batch]:
        generator = torch.Generator().manual_seed(self.seed)
        for batch in self.minibatches(self.size, generator):
            if batch.num_samples > self.size and is_splittable(batch):
                batch = _shuffled(batch, generator)
            yield from pieces_of(batch, self.size)

    def minibatches(self, size: int, generator: torch.Generator, start: int = 0) -> Iterator[Batch]:
        """One shuffled pass over the other batches, or their own order if they know no other."""
        try:
            shuffled = self.batches.minibatches(size, generator, start)
            first = next(shuffled)
        except ValueError:  # a DataLoader with an order of its own
            return itertools.islice(iter(self.batches), start, None)
        return itertools.chain([first], shuffled)


class Gathered:
    """Some batches as data of their own."""

    def __init__(self, batches: Iterable[Batch]) -> None:
        self.batches = list(batches)
        self.num_samples = sum(batch.num_samples for batch in self.batches)

    def __iter__(self) -> Iterator[Batch]:
        return iter(self.batches)

    def minibatches(self, size: int, generator: torch.Generator, start: int = 0) -> Iterator[Batch]:
        """The batches in shuffled order, whatever ``size`` says."""
        del size
        order = torch.randperm(len(self.batches), generator=generator).tolist()
        return (self.batches[index] for index in order[start:])


class GroupForms(NamedTuple):
    """Quadratic forms of several directions over each group of samples, on the host in float64."""

    #: ``(m, groups)``
    values: Tensor
    #: ``(groups,)``, adding to 1.
    weights: Tensor


class Mean(NamedTuple):
    """A weighted mean over groups and its standard error, NaN for one group."""

    value: float
    standard_error: float
    num_groups: int


def weighted_mean(values: Tensor, weights: Tensor) -> Mean:
    r"""Mean of group values and its standard error.

    For means :math:`q_b` over groups of independent samples the variance of :math:`q_b` is inversely proportional to the
    weight :math:`w_b` (:math:`\sum w_b = 1`), so :math:`\sum_b w_b (q_b - \bar q)^2 / (K - 1)` is an unbiased estimate of
    the variance of :math:`\bar q = \sum_b w_b q_b`, for groups of any sizes.

    Examples
    --------
    >>> weighted_mean(torch.tensor([1.0, 3.0]).double(), torch.tensor([0.5, 0.5]).double())
    Mean(value=2.0, standard_error=1.0, num_groups=2)
    """
    mean = float((weights * values).sum())
    count = values.numel()
    if count < 2:
        return Mean(mean, math.nan, count)
    variance = float((weights * (values - mean).square()).sum()) / (count - 1)
    return Mean(mean, math.sqrt(variance) if variance >= 0 else math.nan, count)


def on_data(operator: CurvatureOperator, batches: Batches) -> CurvatureOperator:
    """The same matrix at the same point and of the same parameters, of the mean loss over other data."""
    made: CurvatureOperator = object.__new__(type(operator))
    made.__dict__.update(operator.__dict__)
    made.objective = operator.objective.on(batches)
    made.num_matvecs = 0
    if isinstance(made, GraphOperator) and isinstance(operator, GraphOperator):
        made.keeper = GraphKeeper(made.objective, made._build, operator.keeper.max_memory)
    return made


def quadratic_forms_by_group(operator: CurvatureOperator, directions: Sequence[Tensor], num_groups: int) -> GroupForms:
    """The forms v'Hv of several directions over each of about ``num_groups`` random groups of the operator's samples.

    Cost: one product a direction, 1 gradient for the graphs, and 2 forwards over one batch, which must agree with the
    mean over its halves; the data are not cut where they do not, or where batches cannot be cut.
    """
    batches = operator.objective.batches
    size = -(-batches.num_samples // num_groups)
    cut: Batches = SampleGroups(batches, size) if is_additive(operator.objective) else batches
    if isinstance(operator, GraphOperator):
        grouped = on_data(operator, cut)
        forms = [grouped.quadratic_forms(direction) for direction in directions]
        operator.num_matvecs += len(directions)
        return GroupForms(torch.stack([values for values, _ in forms]), forms[0][1])
    return _one_group_at_a_time(operator, directions, cut)


def is_additive(objective: Objective) -> bool:
    """Whether the loss of the first batch is the mean of its halves' losses (2 forwards over that batch)."""
    first, _ = first_two(objective.batches)
    halves = split_in_two(first)
    if halves is None:
        return False
    whole, parts = (float(objective.on(Gathered(pieces)).loss()) for pieces in ([first], halves))
    return not math.isfinite(whole) or abs(whole - parts) <= _ADDITIVE_RTOL * max(abs(whole), abs(parts)) + 1e-30


def _one_group_at_a_time(operator: CurvatureOperator, directions: Sequence[Tensor], groups: Batches) -> GroupForms:
    """For operators whose products do not come apart by samples: an operator for each group."""
    values, weights = [], []
    for group in groups:
        part = next(operator.objective.parts_of([group]), None)
        if part is None:  # every target in it is ignored
            continue
        alone = on_data(operator, Gathered([group]))
        values.append([float(alone.quadratic_forms(direction)[0].sum()) for direction in directions])
        weights.append(part.weight)
    operator.num_matvecs += len(directions)
    shares = torch.tensor(weights, dtype=torch.float64)
    return GroupForms(torch.tensor(values, dtype=torch.float64).T, shares / shares.sum())


def _shuffled(batch: Batch, generator: torch.Generator) -> Batch:
    order = torch.randperm(batch.num_samples, generator=generator)
    return Batch(map_tensors(lambda tensor: tensor[order.to(tensor.device)], batch.content), batch.num_samples)
