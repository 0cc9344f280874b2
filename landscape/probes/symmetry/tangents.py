"""Tangents of symmetry orbits: families that are never stored as vectors, and components of overlapping ones."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from landscape.probes.symmetry.action import Symmetry, disjoint, embed, group_basis_size, restrict

#: Gram eigenvalues below this fraction of the largest belong to tangents that depend on each other: they count as 0.
RANK_TOLERANCE = 1e-10
#: Tangents of a component that are factorised together at most (a matrix of 800 MB).
MAX_TOGETHER = 10_000

#: Pieces of a vector, in float64, by the index of their parameter.
Pieces = dict[int, Tensor]


class Family:
    """The tangents T of one symmetry at a point: columns (B X, -B' Y) for all B of a basis of the group.

    Their Gram matrix is ``C -> C X X' + Y Y' C`` in each unit, and diagonal for the groups smaller than "linear".
    """

    def __init__(self, symmetry: Symmetry, params: Pieces) -> None:
        self.symmetry = symmetry
        self.size = group_basis_size(symmetry)
        self.indices = {block.index for block in symmetry.blocks}
        self._covariant = [(block, block.read(params[block.index])) for block in symmetry.covariant]
        self._contravariant = [(block, block.read(params[block.index])) for block in symmetry.contravariant]
        device = next(iter(params.values())).device
        empty = torch.zeros(symmetry.units, symmetry.width, symmetry.width, dtype=torch.float64, device=device)
        XX = sum((X @ X.mT for _, X in self._covariant), empty)
        YY = sum((Y @ Y.mT for _, Y in self._contravariant), empty)
        if symmetry.group == "linear":
            a, self._right = torch.linalg.eigh(XX)
            b, self._left = torch.linalg.eigh(YY)
            gram = b[:, :, None] + a[:, None, :]
        else:
            gram = restrict(symmetry, XX + YY)
            if symmetry.group not in ("scaling", "uniform"):
                stretch = gram.view(2, -1)[0]  # the turn of a plane is as long as its stretch, and orthogonal to it
                gram = torch.cat((stretch, stretch))
        kept = gram > RANK_TOLERANCE * gram.max().clamp(min=torch.finfo(torch.float64).tiny)
        self.rank = int(kept.sum())
        self._inverse = torch.where(kept, 1 / gram, torch.zeros_like(gram))

    def overlaps(self, other: Family) -> bool:
        """Whether the two act on a common entry."""
        return not disjoint(self.symmetry.blocks, other.symmetry.blocks)

    def coefficients(self, vector: Pieces) -> Tensor:
        """T' v as ``(size,)``."""
        products = [block.read(vector[block.index]) @ X.mT for block, X in self._covariant]
        products += [-Y @ block.read(vector[block.index]).mT for block, Y in self._contravariant]
        return restrict(self.symmetry, torch.stack(products).sum(0))

    def subtract(self, coefficients: Tensor, vector: Pieces) -> None:
        """Subtract T c from a vector, in place."""
        B = embed(self.symmetry, coefficients)
        for block, X in self._covariant:
            view = block.view(vector[block.index])
            view -= (B @ X).reshape(view.shape)
        for block, Y in self._contravariant:
            view = block.view(vector[block.index])
            view += (B.mT @ Y).reshape(view.shape)

    def solve(self, coefficients: Tensor) -> Tensor:
        """(T'T)^+ c."""
        if self.symmetry.group != "linear":
            return self._inverse * coefficients
        C = embed(self.symmetry, coefficients)
        solved: Tensor = self._left @ (self._inverse * (self._left.mT @ C @ self._right)) @ self._right.mT
        return solved.flatten()

    def remove_from(self, vector: Pieces) -> None:
        """Project onto the complement of the tangents, in place."""
        self.subtract(self.solve(self.coefficients(vector)), vector)


class Component:
    r"""Families that overlap, directly or through others: projected out together.

    ``inner`` families are disjoint from each other, so their common projector :math:`I - P_1` is one after the other.
    What they leave of the ``outer`` tangents, :math:`(I - P_1) T_2`, has the Gram matrix
    :math:`S = T_2^\top (I - P_1) T_2`, which is pseudo-inverted as a whole.
    """

    def __init__(self, inner: Sequence[Family], outer: Sequence[Family], params: Pieces) -> None:
        self.inner, self.outer = list(inner), list(outer)
        self.size = sum(family.size for family in self.outer)
        self.indices = {index for family in (*inner, *outer) for index in family.indices}
        self.rank = sum(family.rank for family in inner)
        if self.outer:
            if self.size > MAX_TOGETHER:
                names = ", ".join(sorted({name for family in self.outer for name in family.symmetry.names}))
                raise ValueError(
                    f"{self.size} gauge directions overlap with others and would have to be factorised together; "
                    f"{MAX_TOGETHER} is the limit. They act on {names}. Give the projector fewer symmetries."
                )
            self._whitening = self._whiten(params)
            self.rank += self._whitening.shape[1]

    def remove_from(self, vector: Pieces) -> None:
        """Project onto the complement of all tangents, in place."""
        for family in self.inner:
            family.remove_from(vector)
        if not self.outer:
            return
        left = {index: torch.zeros_like(vector[index]) for index in self.indices}
        coefficients = self._whitening @ (self._whitening.T @ self._coefficients(vector))
        self._subtract_remainders(coefficients, left)
        for index, piece in left.items():
            vector[index] += piece

    def _whiten(self, params: Pieces) -> Tensor:
        """W with W W' = S^+: eigenvectors over the square roots of eigenvalues, of S scaled to tangents of length 1."""
        columns, lengths = [], []
        for unit in torch.eye(self.size, dtype=torch.float64, device=next(iter(params.values())).device):
            tangent = {index: torch.zeros_like(params[index]) for index in self.indices}
            lengths.append(self._subtract_remainders(unit, tangent))
            columns.append(-self._coefficients(tangent))
        scale = torch.tensor(lengths, dtype=torch.float64, device=columns[0].device)
        scale = torch.where(scale > 0, 1 / scale, torch.zeros_like(scale))
        S = torch.stack(columns, dim=1) * scale * scale[:, None]
        values, vectors = torch.linalg.eigh((S + S.T) / 2)
        kept = values > RANK_TOLERANCE * values.abs().max()
        whitening: Tensor = scale[:, None] * vectors[:, kept] / values[kept].sqrt()
        return whitening

    def _coefficients(self, vector: Pieces) -> Tensor:
        return torch.cat([family.coefficients(vector) for family in self.outer])

    def _subtract_remainders(self, coefficients: Tensor, zeros: Pieces) -> float:
        """Make -(I - P_1) T_2 c of zeros; the length of T_2 c."""
        for family, part in zip(self.outer, coefficients.split([family.size for family in self.outer]), strict=True):
            family.subtract(part, zeros)
        length = float(torch.stack([piece.square().sum() for piece in zeros.values()]).sum().sqrt())
        for family in self.inner:
            family.remove_from(zeros)
        return length


def components_of(families: Sequence[Family], params: Pieces) -> list[Component]:
    """Connected components of the overlaps; within each, as many tangents as possible among mutually disjoint families."""
    remaining = sorted(families, key=lambda family: -family.size)
    found = []
    while remaining:
        linked, waiting = [], [remaining.pop(0)]
        while waiting:
            family = waiting.pop()
            linked.append(family)
            waiting += [other for other in remaining if other.overlaps(family)]
            remaining = [other for other in remaining if not other.overlaps(family)]
        inner: list[Family] = []
        outer: list[Family] = []
        for family in sorted(linked, key=lambda family: -family.size):
            (outer if any(family.overlaps(other) for other in inner) else inner).append(family)
        found.append(Component(inner, outer, params))
    return found
