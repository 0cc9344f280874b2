"""A continuous symmetry of a loss: how it moves parameters, and what the gradient then says about the Hessian."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from landscape.autodiff.flat import ParameterLayout
from landscape.probes.symmetry.blocks import Block, Group, Kind, plane_axes, quarter_turn
from landscape.vectors import dot

_WHAT = {
    "query_key": "queries times A and keys times A^-T",
    "value_output": "values times A and the output matrix times A^-1",
    "homogeneous": "a layer times a and the one that reads it through a homogeneous activation divided by a",
    "norm_linear": "a norm's gain and shift times a and the layers that read it divided by a",
    "scale_invariant": "a layer that a norm reads times a",
}
_WHICH = {
    "linear": "any invertible A in each of {units} heads of width {width}",
    "half_planes": "A that turns and stretches the rotary planes of each of {units} heads of width {width}",
    "neighbour_planes": "A that turns and stretches the rotary planes of each of {units} heads of width {width}",
    "scaling": "one factor for each of {units} units",
    "uniform": "one factor",
}


@dataclass(frozen=True)
class Symmetry:
    r"""A group of linear maps of the parameters that leaves the loss as it is.

    On some slices X of the parameters the group acts by :math:`X \to A X`, on others by :math:`Y \to A^{-\top} Y`, with
    a matrix A of its own for each head or channel (``units``). Made by :func:`landscape.probes.symmetry.symmetry.symmetries`.

    Attributes
    ----------
    kind : str
        "query_key", "value_output", "homogeneous", "norm_linear" or "scale_invariant" (no Y).
    group : str
        Which A: "linear" (any invertible one), "half_planes" and "neighbour_planes" (those that commute with rotary
        position embeddings), "scaling" (a positive number in each unit), "uniform" (one positive number).
    names : tuple of str
        The parameters involved.
    checked : bool
        Whether the loss was found to be invariant. Otherwise the model's structure suggests it, no more.
    defect : float
        Largest relative change of the loss in the check; NaN if unchecked.
    exact : bool
        False for scale-invariant weights in front of a norm with eps > 0: invariance then holds up to that eps.
    units, width : int
        Heads or channels that have an A each, and the size of A.

    Notes
    -----
    Let :math:`G` generate the group: :math:`G x = (B X, -B^\top Y)` for a matrix B. Differentiating
    :math:`f(e^{tG} x) = f(x)` by x gives :math:`e^{tG^\top} \nabla f(e^{tG} x) = \nabla f(x)`, and by t at 0

    .. math:: H\, G x = -G^\top g = (-B^\top g_X,\; B\, g_Y),

    a Hessian product for the price of a gradient. With B = I this is :math:`u = (X, -Y)`, :math:`Hu = (-g_X, g_Y)` and
    :math:`u^\top H u = -2c` with :math:`c = \langle g_X, X \rangle = \langle g_Y, Y \rangle`. With B = J antisymmetric,
    :math:`J^2 = -I`, it is :math:`w = (JX, JY)`, :math:`Hw = (J g_X, J g_Y)` and :math:`w^\top H w = +2c`.
    See Kunin et al. (2021, arXiv:2012.04728) for symmetries and gradients.
    """

    kind: Kind
    group: Group
    names: tuple[str, ...]
    checked: bool
    defect: float
    exact: bool
    units: int
    width: int
    covariant: tuple[Block, ...] = field(repr=False)
    contravariant: tuple[Block, ...] = field(repr=False)
    layout: ParameterLayout = field(repr=False, compare=False)

    def __str__(self) -> str:
        which = _WHICH[self.group].format(units=self.units, width=self.width)
        claim = "leaves the loss as it is" if self.checked else "may leave the loss as it is (not checked)"
        eps = "" if self.exact else ", up to the norm's eps"
        return f"{', '.join(self.names)}: {_WHAT[self.kind]} {claim}{eps}, for {which}."

    @property
    def blocks(self) -> tuple[Block, ...]:
        """All slices that the group acts on."""
        return self.covariant + self.contravariant

    @property
    def has_rotations(self) -> bool:
        """Whether the group holds the rotations exp(tJ), so that there is a second witness."""
        return self.width > 1 and self.group in ("linear", "half_planes", "neighbour_planes")

    @property
    def rotation(self) -> Tensor:
        """B = J as ``(units, width, width)``.

        Raises
        ------
        ValueError
            If the group holds no rotations.
        """
        if not self.has_rotations:
            raise ValueError(f"{self.kind} with the group {self.group!r} has no rotations; see has_rotations.")
        J = quarter_turn(self.width, halves=self.group != "neighbour_planes")
        return J.expand(self.units, -1, -1)

    def generator(self, params: Tensor, B: Tensor | None = None) -> Tensor:
        """The direction G x in which the group starts to move the parameters.

        Parameters
        ----------
        params : Tensor of shape (n,)
            Where.
        B : Tensor of shape (units, width, width), optional
            Which one-parameter group; must belong to ``group``. Default: the identity, hence (X, -Y).

        Returns
        -------
        Tensor of shape (n,)
        """
        return self._map(params, B, None if B is None else -B.mT, signs=(1.0, -1.0 if B is None else 1.0))

    def image(self, gradient: Tensor, B: Tensor | None = None) -> Tensor:
        """The Hessian times :meth:`generator`, from the gradient at the same point alone: (-B' g_X, B g_Y).

        Exact if the gradient is; an error e of the gradient gives an error of at most ``‖B‖ e``. No products.
        """
        return self._map(gradient, None if B is None else -B.mT, B, signs=(-1.0 if B is None else 1.0, 1.0))

    def curvature(self, params: Tensor, gradient: Tensor, B: Tensor | None = None) -> float:
        """The curvature u'Hu / u'u along u = :meth:`generator`; NaN if u is 0.

        A weight decay of l/2 ‖x‖² adds l to it, if ``gradient`` is that of the loss without the decay.
        """
        u = self.generator(params, B)
        squared = dot(u, u)
        return dot(u, self.image(gradient, B)) / squared if squared > 0 else float("nan")

    def transform(self, params: Tensor, A: Tensor | float) -> Tensor:
        """The parameters moved by a finite element of the group: X -> A X, Y -> A^-T Y.

        Parameters
        ----------
        params : Tensor of shape (n,)
        A : float, or Tensor of shape (units, width, width)
            One positive number for all units, or a matrix for each. Whether it belongs to ``group`` is not checked.
        """
        if not isinstance(A, Tensor):
            A = A * torch.eye(self.width, dtype=torch.float64).expand(self.units, -1, -1)
        moved = params.detach().clone()
        pieces = self.layout.split(moved)
        inverse = torch.linalg.inv(A).mT if self.contravariant else A
        for blocks, matrix in ((self.covariant, A), (self.contravariant, inverse)):
            for block in blocks:
                _write(block, pieces[block.index], _multiply(matrix, block.read(pieces[block.index])))
        return moved

    def moments(self, params: Tensor, gradient: Tensor) -> tuple[Tensor, Tensor]:
        """For each unit u'Hu and u'u along :meth:`generator` of that unit alone: two tensors ``(units,)``, float64."""
        points, gradients = self.layout.split(params), self.layout.split(gradient)
        curvature = torch.zeros(self.units, dtype=torch.float64, device=params.device)
        squared = torch.zeros_like(curvature)
        for block in self.blocks:
            values, slopes = (block.read(t[block.index]).double().flatten(1) for t in (points, gradients))
            curvature -= (values * slopes).sum(1)
            squared += values.square().sum(1)
        return curvature, squared

    def _map(
        self, vector: Tensor, covariant: Tensor | None, contravariant: Tensor | None, signs: tuple[float, float]
    ) -> Tensor:
        """Multiply the blocks of a vector by matrices (None: the identity) and signs; zero elsewhere."""
        result = torch.zeros_like(vector)
        sources, targets = self.layout.split(vector), self.layout.split(result)
        parts = ((self.covariant, covariant, signs[0]), (self.contravariant, contravariant, signs[1]))
        for blocks, matrix, sign in parts:
            for block in blocks:
                _write(block, targets[block.index], sign * _multiply(matrix, block.read(sources[block.index])))
        return result


def _multiply(matrix: Tensor | None, values: Tensor) -> Tensor:
    return values if matrix is None else matrix.to(values) @ values


def _write(block: Block, piece: Tensor, values: Tensor) -> None:
    view = block.view(piece)
    view.copy_(values.reshape(view.shape))


def group_basis_size(symmetry: Symmetry) -> int:
    """Number of independent matrices B over all units."""
    units, width = symmetry.units, symmetry.width
    return {"linear": units * width**2, "scaling": units, "uniform": 1}.get(symmetry.group, units * 2 * (width // 2))


def embed(symmetry: Symmetry, coefficients: Tensor) -> Tensor:
    """Coefficients ``(m,)`` of the group's basis as matrices B ``(units, width, width)``."""
    units, width = symmetry.units, symmetry.width
    if symmetry.group == "linear":
        return coefficients.view(units, width, width)
    eye = torch.eye(width, dtype=coefficients.dtype, device=coefficients.device)
    if symmetry.group in ("scaling", "uniform"):
        return coefficients.expand(units)[:, None, None] * eye
    i, j = plane_axes(width, halves=symmetry.group == "half_planes")
    a, b = coefficients.view(2, units, width // 2)
    B = torch.zeros(units, width, width, dtype=coefficients.dtype, device=coefficients.device)
    B[:, i, i], B[:, j, j], B[:, i, j], B[:, j, i] = a, a, -b, b
    return B


def restrict(symmetry: Symmetry, matrices: Tensor) -> Tensor:
    """The transpose of :func:`embed`: inner products of matrices with the basis."""
    if symmetry.group == "linear":
        return matrices.flatten()
    if symmetry.group == "scaling":
        return matrices.diagonal(dim1=1, dim2=2).sum(1)
    if symmetry.group == "uniform":
        return matrices.diagonal(dim1=1, dim2=2).sum().reshape(1)
    i, j = plane_axes(symmetry.width, halves=symmetry.group == "half_planes")
    a = matrices[:, i, i] + matrices[:, j, j]
    b = matrices[:, j, i] - matrices[:, i, j]
    return torch.stack((a, b)).flatten()


def disjoint(first: Sequence[Block], second: Sequence[Block]) -> bool:
    """Whether no block of one overlaps with a block of the other."""
    return not any(a.overlaps(b) for a in first for b in second)
