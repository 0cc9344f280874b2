"""A weighted set of eigenvalues drawn as a smooth density."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

Axis = Literal["linear", "symlog"]


@dataclass(frozen=True)
class DensityCurve:
    """A smoothed density on a grid.

    Attributes
    ----------
    grid : Tensor of shape (m,)
        Eigenvalues.
    values : Tensor of shape (m,)
        Density per unit of ``coordinates``; integrates to 1 over a grid that covers the spectrum.
    coordinates : Tensor of shape (m,)
        The grid itself on a linear axis; decades, ``asinh(x / (2 linear_range)) / ln 10``, on a "symlog" one.
    width : float
        Standard deviation of the Gaussian, in units of ``coordinates``.
    axis : {"linear", "symlog"}
    linear_range : float
        Where a "symlog" axis turns from linear to logarithmic.
    """

    grid: Tensor
    values: Tensor
    coordinates: Tensor
    width: float
    axis: Axis
    linear_range: float

    @property
    def integral(self) -> float:
        """Over the grid, by the trapezoidal rule."""
        return float(torch.trapezoid(self.values, self.coordinates))


def smooth(
    nodes: Tensor,
    weights: Tensor,
    num_steps: int,
    grid: Tensor | None,
    width: float | None,
    axis: Axis,
    linear_range: float,
) -> DensityCurve:
    """Replace each node by a Gaussian; see :meth:`landscape.probes.spectrum.density.SpectralDensity.density`."""
    forth, back = _axis(axis, linear_range)
    places = forth(nodes)
    width = _default_width(places, num_steps) if width is None else width
    if not width > 0:
        raise ValueError(f"width={width} was given; the standard deviation of the Gaussian must be positive.")
    coordinates = _covering_grid(places, width) if grid is None else forth(grid.to(torch.float64))
    values = torch.zeros_like(coordinates)
    for place, weight in zip(places.tolist(), weights.tolist(), strict=True):
        values += weight * torch.exp(-0.5 * ((coordinates - place) / width) ** 2)
    values /= width * math.sqrt(2 * math.pi)
    kept = back(coordinates) if grid is None else grid.to(torch.float64)
    return DensityCurve(kept, values, coordinates, width, axis, linear_range)


def _axis(axis: Axis, reach: float) -> tuple[Callable[[Tensor], Tensor], Callable[[Tensor], Tensor]]:
    """Coordinate of an eigenvalue on the axis, and back."""
    if axis == "linear":
        return (lambda x: x), (lambda s: s)
    if axis != "symlog":
        raise ValueError(f"axis={axis!r} was given; it is 'linear' or 'symlog'.")
    if not reach > 0:
        raise ValueError(f"linear_range={reach} was given; it must be positive.")
    decade = math.log(10.0)
    return (lambda x: torch.asinh(x / (2 * reach)) / decade), (lambda s: 2 * reach * torch.sinh(decade * s))


def _default_width(places: Tensor, num_steps: int) -> float:
    """The range over the number of steps; where all nodes coincide, a thousandth of their size (or 1 at 0)."""
    extent = float(places.max() - places.min())
    return max(extent / num_steps, 1e-3 * float(places.abs().max())) or 1.0


def _covering_grid(places: Tensor, width: float) -> Tensor:
    low, high = float(places.min()) - 5 * width, float(places.max()) + 5 * width
    return torch.linspace(low, high, max(200, math.ceil(4 * (high - low) / width) + 1), dtype=torch.float64)
