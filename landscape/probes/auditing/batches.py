"""Whether a curvature that some samples show is there on others."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from landscape.batches import Batches
from landscape.operators.choose import make_hessian
from landscape.operators.curvature import CurvatureOperator
from landscape.probes.auditing.steps import Place
from landscape.probes.lanczos.lanczos import lanczos
from landscape.probes.sample_groups import Gathered, quadratic_forms_by_group, weighted_mean
from landscape.status import Status
from landscape.vectors import dot

#: Batch sizes tried by default, as far as they are at most half of the data.
BATCH_SIZES = (32, 128, 512)
#: Batches at most on which a direction found on one of their size is tried.
_MOST_OTHERS = 16


@dataclass(frozen=True)
class HeldOut:
    """Curvature along a direction on samples that it was not found on.

    Attributes
    ----------
    mean, standard_error : float
        Over groups of samples; the standard error is NaN for one group.
    num_groups, num_samples : int
    alpha : float
        Level of each bound.
    lower, upper : float
        One-sided confidence bounds of the population's curvature, each at level alpha, by Student's t.
    p_value : float
        Of the hypothesis that it is at least 0.
    """

    mean: float
    standard_error: float
    num_groups: int
    num_samples: int
    alpha: float
    lower: float
    upper: float
    p_value: float

    @property
    def is_negative(self) -> bool:
        """Whether the population's curvature is below 0 at level alpha."""
        return self.upper < 0

    def __str__(self) -> str:
        return (
            f"{self.mean:.4g} (standard error {self.standard_error:.2g}, {self.num_samples} held-out samples in "
            f"{self.num_groups} groups, p = {self.p_value:.2g})"
        )


@dataclass(frozen=True)
class BatchSizeRow:
    """What batches of one size say about negative curvature; means over draws of a batch.

    Attributes
    ----------
    batch_size, num_draws : int
    along_direction, along_direction_spread : float
        Curvature along the audited direction on the batch: unbiased. Standard deviation over draws.
    in_sample, in_sample_spread : float
        Smallest curvature that the batch itself has: biased negative, the more the smaller the batch.
    out_of_sample, out_of_sample_spread : float
        Curvature along the batch's own most negative direction on other samples; NaN if there are none.
    num_matvecs : int
        Products used for all draws.
    """

    batch_size: int
    num_draws: int
    along_direction: float
    along_direction_spread: float
    in_sample: float
    in_sample_spread: float
    out_of_sample: float
    out_of_sample_spread: float
    num_matvecs: int

    def __str__(self) -> str:
        return (
            f"batches of {self.batch_size}: along this direction {self.along_direction:.4g}; along their own most negative one "
            f"{self.in_sample:.4g} in sample, {self.out_of_sample:.4g} out of sample ({self.num_draws} draws)"
        )


def held_out_test(operator: CurvatureOperator, unit: Tensor, *, num_groups: int, alpha: float) -> HeldOut:
    r"""Test whether the population's curvature along a direction is negative, from samples not used to find it.

    Parameters
    ----------
    operator : CurvatureOperator
        Over the held-out samples.
    unit : Tensor of shape (n,)
        The direction, of length 1.
    num_groups : int
        About how many random groups the samples are dealt into.
    alpha : float
        Level of the test.

    Notes
    -----
    Negative if :math:`\bar q + t_{1-\alpha, K-1}\, \mathrm{SE} < 0`, with mean and standard error over K groups. Exact for
    normal group means, hence approximately for groups of many samples. Cost: 1 product, 1 gradient for the graphs.
    """
    from scipy.stats import t as student

    forms = quadratic_forms_by_group(operator, [unit], num_groups)
    mean, error, count = weighted_mean(forms.values[0] / dot(unit, unit), forms.weights)
    if count < 2 or not math.isfinite(error):
        lower = upper = p_value = math.nan
    elif error == 0:  # all groups alike: the data are degenerate, the curvature is a constant
        lower = upper = mean
        p_value = 0.0 if mean < 0 else 1.0
    else:
        margin = float(student.ppf(1 - alpha, count - 1)) * error
        lower, upper, p_value = mean - margin, mean + margin, float(student.cdf(mean / error, count - 1))
    return HeldOut(mean, error, count, operator.num_samples, alpha, lower, upper, p_value)


def possible_sizes(batches: Batches, sizes: Sequence[int] | None) -> list[int]:
    """Batch sizes that can be drawn, or a refusal of those asked for; none by default where no batch can be drawn."""
    if sizes is None:
        try:
            next(batches.minibatches(1, torch.Generator()))
        except ValueError:
            return []
        return [size for size in BATCH_SIZES if 2 * size <= batches.num_samples]
    for size in sizes:
        if not 1 <= size < batches.num_samples:
            raise ValueError(
                f"a batch size of {size} was given; with {batches.num_samples} samples it lies between 1 and "
                f"{batches.num_samples - 1}, so that others are left to compare with."
            )
        next(batches.minibatches(size, torch.Generator()))  # raises for data in an order of their own
    return list(sizes)


def batch_size_curve(
    place: Place,
    unit: Tensor,
    sizes: Sequence[int],
    *,
    fresh: CurvatureOperator | None,
    num_draws: int,
    num_matvecs: int,
    generator: torch.Generator,
) -> tuple[BatchSizeRow, ...]:
    r"""Find the most negative direction of batches of several sizes, and try it on other samples.

    Parameters
    ----------
    place : Place
        The loss over all data, and the point.
    unit : Tensor of shape (n,)
        The audited direction, of length 1.
    sizes : sequence of int
        Batch sizes. Data given as batches keep their own.
    fresh : CurvatureOperator, optional
        Over held-out samples. Default: other batches of the same shuffled pass, at most 16.
    num_draws : int
        Batches of each size.
    num_matvecs : int
        Products at most of each Lanczos run.
    generator : torch.Generator
        Source of the batches and of the start vectors.

    Notes
    -----
    :math:`\mathbb{E}\, \lambda_{\min}(H_S) \le \lambda_{\min}(\mathbb{E} H_S)`, since the smallest eigenvalue is a concave
    function: a batch shows more negative curvature than its population has (Granziol, Wan, Garipov 2020, arXiv
    2006.09092). Along a direction fixed beforehand there is no such bias.

    Cost for a size b of N samples: ``num_draws * (num_matvecs + 1 + min(16, N/b)) * b / N`` products at most.
    """
    rows = []
    for size in sizes:
        draws = [_one_draw(place, unit, size, fresh, num_matvecs, generator) for _ in range(num_draws)]
        table = torch.tensor([draw[:3] for draw in draws], dtype=torch.float64)
        means, spreads = table.mean(dim=0).tolist(), table.std(dim=0).tolist() if num_draws > 1 else [math.nan] * 3
        rows.append(
            BatchSizeRow(
                batch_size=draws[0][3],
                num_draws=num_draws,
                along_direction=means[0],
                along_direction_spread=spreads[0],
                in_sample=means[1],
                in_sample_spread=spreads[1],
                out_of_sample=means[2],
                out_of_sample_spread=spreads[2],
                num_matvecs=sum(draw[4] for draw in draws),
            )
        )
    return tuple(rows)


def _one_draw(
    place: Place, unit: Tensor, size: int, fresh: CurvatureOperator | None, num_matvecs: int, generator: torch.Generator
) -> tuple[float, float, float, int, int]:
    """Curvatures along the direction and along the batch's own, that on other samples; batch size; products."""
    shuffled = place.objective.batches.minibatches(size, generator)
    own = Gathered([next(shuffled)])
    batch = make_hessian(place.objective.on(own), place.params, place.method, None)
    along = dot(unit, batch @ unit)
    result = lanczos(batch, ends="smallest", max_matvecs=num_matvecs, generator=generator)
    if result.status is Status.INTERRUPTED:
        raise KeyboardInterrupt
    found, spent, outside = result.smallest, batch.num_matvecs, math.nan
    others = None if fresh is not None else Gathered(itertools.islice(shuffled, _MOST_OTHERS))
    if found.vector is not None and (others is None or others.batches):
        judge = fresh if others is None else make_hessian(place.objective.on(others), place.params, place.method, None)
        assert judge is not None
        vector = found.vector.to(judge.dtype)
        outside, spent = dot(vector, judge @ vector) / dot(vector, vector), spent + 1
    return along, found.value, outside, own.num_samples, spent
