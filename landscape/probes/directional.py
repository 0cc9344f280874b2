"""The curvature along given directions, with its sampling error."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from landscape.operators.base import LinearOperator
from landscape.operators.curvature import CurvatureOperator
from landscape.probes.sample_groups import NUM_GROUPS, GroupForms, quadratic_forms_by_group, weighted_mean
from landscape.problem import Problem
from landscape.status import Status
from landscape.vectors import dot, norm


@dataclass(frozen=True)
class DirectionalCurvature:
    """Curvatures d'Hd / d'd along m directions.

    Attributes
    ----------
    values : Tensor of shape (m,), float64
        NaN where a product was not finite.
    standard_errors : Tensor of shape (m,), float64
        Of the samples, as if drawn from a population; NaN where there is only one group of them.
    lengths : Tensor of shape (m,), float64
        Norms of the directions as given.
    group_values : Tensor of shape (m, groups), float64
        The curvatures over each group of samples.
    group_weights : Tensor of shape (groups,), float64
        How much each group counts; adding to 1.
    num_matvecs : int
        Products used: m.
    matrix : str
        What the matrix is.
    status : Status
        COMPLETED, NO_STANDARD_ERROR or NONFINITE_PRODUCT.
    """

    values: Tensor
    standard_errors: Tensor
    lengths: Tensor
    group_values: Tensor
    group_weights: Tensor
    num_matvecs: int
    matrix: str
    status: Status

    @property
    def value(self) -> float:
        """The curvature along the only direction."""
        return self._only(self.values)

    @property
    def standard_error(self) -> float:
        """The standard error along the only direction."""
        return self._only(self.standard_errors)

    @property
    def num_groups(self) -> int:
        """Groups of samples that the standard error comes from."""
        return self.group_weights.numel()

    def __str__(self) -> str:
        told = [
            f"{value:.6g}" + ("" if math.isnan(error) else f" (standard error {error:.2g})")
            for value, error in zip(self.values.tolist(), self.standard_errors.tolist(), strict=True)
        ]
        subject = "Curvature along the direction" if len(told) == 1 else f"Curvatures along {len(told)} directions"
        groups = f", from {self.num_groups} groups of samples" if self.num_groups > 1 else ""
        reason = "" if self.status is Status.COMPLETED else f" {self.status}"
        return f"{subject}: {', '.join(told)}{groups}; of {self.matrix}.{reason}"

    def _only(self, numbers: Tensor) -> float:
        if numbers.numel() != 1:
            raise ValueError(f"there are {numbers.numel()} directions; read .values and .standard_errors instead.")
        return float(numbers[0])


def directional_curvature(
    problem_or_operator: Problem | LinearOperator,
    direction: Tensor | Literal["gradient"],
    *,
    groups: int | None = None,
) -> DirectionalCurvature:
    r"""Measure the curvature :math:`d^\top H d / d^\top d` along directions, with its sampling error.

    Parameters
    ----------
    problem_or_operator : Problem or LinearOperator of shape (n, n)
        A problem stands for its Hessian where the model stands. For another matrix or point give an operator:
        ``problem.gauss_newton()``, ``problem.hessian(params)``.
    direction : Tensor of shape (n,) or (n, m), or "gradient"
        Of any length but 0; several directions as columns. "gradient": that of the loss, at the operator's point.
    groups : int, optional
        About how many random groups the samples are dealt into, at least 2. Default: 10.

    Returns
    -------
    DirectionalCurvature
        ``value`` and ``standard_error``, or for several directions ``values`` and ``standard_errors``. The standard error
        is NaN, with ``Status.NO_STANDARD_ERROR``, where there is one group: a single sample, batches that cannot be cut,
        or an operator that knows nothing of samples.

    Raises
    ------
    ValueError
        If a direction is zero or not finite, or does not fit; if ``groups`` is below 2; or if "gradient" is asked of an
        operator that belongs to no loss.

    Notes
    -----
    With :math:`q_b` the curvature of the mean loss over group b of K, which has the share :math:`w_b` of the whole,

    .. math:: \bar q = \sum_b w_b q_b, \qquad \mathrm{SE}^2 = \frac{1}{K - 1} \sum_b w_b (q_b - \bar q)^2 .

    The value is exact (to rounding) for the loss over these samples; the standard error is about other samples of the same
    population, and holds for directions that were not chosen on these samples. Along a direction that was (the gradient,
    an eigenvector) the value itself is biased: see :func:`landscape.probes.auditing.audit.audit`.

    Along the gradient the value is half the slope of the squared gradient norm against the loss under gradient flow:
    where it changes sign, the gradient norm peaks. It says nothing about lambda_min.

    Cost: one product a direction (2 GE), 1 gradient for the graphs of the groups, 2 forwards over one batch, and for
    "gradient" 1 gradient.

    Examples
    --------
    >>> from landscape.testing.problems import least_squares
    >>> known = least_squares(num_samples=40, num_features=3)
    >>> found = directional_curvature(known.problem, torch.tensor([1.0, 0.0, 0.0], dtype=torch.float64))
    >>> bool(abs(found.value - known.hessian[0, 0]) < 1e-12), found.num_groups
    (True, 10)
    """
    if groups is not None and groups < 2:
        raise ValueError(f"groups={groups} was given; a standard error needs at least 2 (default: {NUM_GROUPS}).")
    operator = problem_or_operator
    if isinstance(operator, Problem):
        check_direction(direction, operator.num_params, operator.layout.dtype, operator.layout.device)
        operator = operator.hessian()
    check_direction(direction, operator.size, operator.dtype, operator.device)
    block = _gradient_of(operator) if isinstance(direction, str) else direction.detach()
    columns = list(block.T) if block.dim() == 2 else [block]
    lengths = [norm(column) for column in columns]
    units = [(column.double() / length).to(column.dtype) for column, length in zip(columns, lengths, strict=True)]
    forms = _forms(operator, units, groups or NUM_GROUPS)
    squares = torch.tensor([dot(unit, unit) for unit in units], dtype=torch.float64)
    curvatures = forms.values / squares[:, None]
    means = [weighted_mean(row, forms.weights) for row in curvatures]
    return DirectionalCurvature(
        values=torch.tensor([mean.value for mean in means], dtype=torch.float64),
        standard_errors=torch.tensor([mean.standard_error for mean in means], dtype=torch.float64),
        lengths=torch.tensor(lengths, dtype=torch.float64),
        group_values=curvatures,
        group_weights=forms.weights,
        num_matvecs=len(units),
        matrix=operator.description,
        status=_status(curvatures),
    )


def check_direction(direction: Tensor | str, size: int, dtype: torch.dtype, device: torch.device) -> None:
    """Refuse what is not one or several non-zero vectors of this size, dtype and device."""
    if isinstance(direction, str):
        if direction != "gradient":
            raise ValueError(f"direction={direction!r} was given; it is a vector ({size},), a block, or 'gradient'.")
        return
    if not isinstance(direction, Tensor) or direction.dim() not in (1, 2) or direction.shape[0] != size:
        given = (
            f"shape {tuple(direction.shape)}" if isinstance(direction, Tensor) else f"type {type(direction).__name__}"
        )
        raise ValueError(f"direction has {given}; needed: ({size},), or ({size}, m) with m directions as columns.")
    if direction.dtype != dtype or direction.device != device:
        raise ValueError(
            f"direction is {direction.dtype} on {direction.device}, the parameters are {dtype} on {device}. Convert it "
            f"with direction.to(device={str(device)!r}, dtype={dtype})."
        )
    if direction.dim() == 2 and direction.shape[1] == 0:
        raise ValueError("direction has no columns; at least one direction is needed.")
    for index, column in enumerate(direction.detach().reshape(size, -1).T):
        length = norm(column)
        if not 0 < length < math.inf:
            raise ValueError(f"direction {index} has length {length}; a finite vector other than 0 is needed.")


def _forms(operator: LinearOperator, units: list[Tensor], num_groups: int) -> GroupForms:
    if isinstance(operator, CurvatureOperator):
        return quadratic_forms_by_group(operator, units, num_groups)
    values = [[dot(unit, operator @ unit)] for unit in units]
    return GroupForms(torch.tensor(values, dtype=torch.float64), torch.ones(1, dtype=torch.float64))


def _gradient_of(operator: LinearOperator) -> Tensor:
    """The gradient at the operator's point, over the operator's parameters (1 gradient)."""
    if not isinstance(operator, CurvatureOperator):
        raise ValueError(f"'gradient' was asked of {operator.description}, which belongs to no loss. Give the vector.")
    layout = operator.objective.layout
    live = layout.flatten(parameter.detach() for parameter in layout.parameters)
    point = operator.params
    gradient = operator.objective.loss_and_gradient(None if torch.equal(live, point) else point)[1]
    pieces = zip(layout.names, layout.split(gradient), strict=True)
    chosen = torch.cat([piece.reshape(-1) for name, piece in pieces if name in operator.blocks])
    if not bool(chosen.count_nonzero()) or not bool(torch.isfinite(chosen).all()):
        raise ValueError("the gradient here is zero or not finite, so it is no direction. Give one as a vector.")
    return chosen


def _status(curvatures: Tensor) -> Status:
    if not bool(torch.isfinite(curvatures).all()):
        return Status.NONFINITE_PRODUCT
    return Status.COMPLETED if curvatures.shape[1] > 1 else Status.NO_STANDARD_ERROR
