"""A second phase of truncated Newton steps, with the problem's own curvature."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import torch

from landscape.optim.newton_cg import NewtonCG
from landscape.problem import Problem
from landscape.training.float64_phase import check_dtype, start_in
from landscape.training.full_batch_phase import FullBatchPhase
from landscape.training.phases import FullBatch, Phase, describe_callable


@dataclass(frozen=True)
class NewtonFullBatch:
    """A phase of truncated Newton steps on all data: one epoch is one step.

    Parameters
    ----------
    curvature : {"hessian", "gauss-newton"}
        The matrix of the Newton equation. The Gauss-Newton matrix has no negative curvature where the loss is convex in the
        outputs; it needs a problem made of a model, a loss of its outputs, and data.
    settings : mapping
        Of :class:`landscape.optim.newton_cg.NewtonCG`, by name.
    dtype : {None, "float64"}
        As for :class:`landscape.training.phases.FullBatch`.

    Raises
    ------
    ValueError
        If a setting is not known or out of range.

    Notes
    -----
    Every product is charged to ``problem.cost`` by the operator that makes it (2 GE), so are the graphs that it is made
    from, once a step (1 GE), and the two or three gradients of the checks that come before the very first product.

    Examples
    --------
    >>> NewtonFullBatch("gauss-newton", {"max_products": 10}).describe()
    "landscape.optim.newton_cg.NewtonCG(curvature='gauss-newton', max_products=10)"
    """

    curvature: Literal["hessian", "gauss-newton"] = "hessian"
    settings: Mapping[str, Any] = field(default_factory=dict)
    dtype: Literal["float64"] | None = None

    def __post_init__(self) -> None:
        if self.curvature not in ("hessian", "gauss-newton"):
            raise ValueError(f"curvature={self.curvature!r} was given; it is 'hessian' or 'gauss-newton'.")
        check_dtype(self.dtype)
        try:
            NewtonCG([torch.zeros(1, requires_grad=True)], lambda: lambda v: v, **self.settings)
        except TypeError as error:
            raise ValueError(f"a setting of NewtonCG cannot be used: {error}") from error

    @property
    def records(self) -> frozenset[str]:
        """What a full-batch phase records."""
        return FullBatch().records

    def start(self, problem: Problem, generator: torch.Generator) -> Phase:
        """Make the optimiser on the problem's parameters."""
        return start_in(self.dtype, problem, self._start)

    def _start(self, problem: Problem) -> FullBatchPhase:
        curvature = problem.hessian if self.curvature == "hessian" else problem.gauss_newton
        return FullBatchPhase(problem, NewtonCG(problem.parameters, curvature, **self.settings))

    def describe(self) -> str:
        """The settings as text."""
        listed = [f"{name}={value!r}" for name, value in sorted(self.settings.items())]
        text = f"{describe_callable(NewtonCG)}({', '.join([f'curvature={self.curvature!r}', *listed])})"
        return text if self.dtype is None else f"{text}, dtype={self.dtype}"
