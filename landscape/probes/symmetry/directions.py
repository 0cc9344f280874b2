"""Which of a symmetry's directions curve down most: decided from the gradient, without Hessian products."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from landscape.probes.symmetry.action import Symmetry

#: Steps of the search among the width² directions of a head; each multiplies matrices of that width.
_SEARCH_STEPS = 30


def promising_directions(symmetry: Symmetry, params: Tensor, gradient: Tensor) -> Iterator[Tensor | None]:
    """Matrices B whose directions curve down most, as far as is known: each is zero in all units but the best one.

    None stands for the identity in all units. With any invertible A there are width² directions in a unit, among which
    :func:`least_curved` searches; otherwise there are B = I, and B = J where the group has rotations.
    """
    if symmetry.group == "uniform" or not symmetry.contravariant:
        yield None
        return
    curvature, squared = symmetry.moments(params, gradient)
    ratios = torch.where(squared > 0, curvature / squared, torch.zeros_like(squared))
    eye = torch.eye(symmetry.width, dtype=torch.float64, device=params.device)
    yield _only(int(ratios.argmin()), eye.expand(symmetry.units, -1, -1))
    if symmetry.has_rotations:
        yield _only(int(ratios.argmax()), symmetry.rotation.to(params.device))
    if symmetry.group == "linear":
        curvatures, matrices = least_curved(symmetry, params, gradient)
        yield _only(int(curvatures.argmin()), matrices)


def least_curved(symmetry: Symmetry, params: Tensor, gradient: Tensor) -> tuple[Tensor, Tensor]:
    r"""For each unit the matrix B whose direction (B X, -B' Y) has the least curvature, as far as a short search finds.

    Returns
    -------
    curvatures : Tensor of shape (units,)
    matrices : Tensor of shape (units, width, width)
        Directions of length 1.

    Notes
    -----
    The curvature along B is :math:`-2 \langle B^2, M \rangle / \langle B, B X X^\top + Y Y^\top B \rangle` with
    :math:`M = g_X X^\top = (g_Y Y^\top)^\top`: a quotient of two quadratic forms of B. Eigendecompositions of
    :math:`X X^\top` and :math:`Y Y^\top` turn the denominator into :math:`\|C\|^2`, and 30 Lanczos steps (all
    units at once, fully orthogonalised) find the least eigenvalue of :math:`B \mapsto -(M B^\top + B^\top M)` there.
    A B short of the optimum is still a valid direction of known curvature.
    """
    X, g_X = _stacked(symmetry, params, gradient, covariant=True)
    Y, g_Y = _stacked(symmetry, params, gradient, covariant=False)
    M = (g_X @ X.mT + (g_Y @ Y.mT).mT) / 2
    a, U = torch.linalg.eigh(X @ X.mT)
    b, V = torch.linalg.eigh(Y @ Y.mT)
    squared = (b[:, :, None] + a[:, None, :]).clamp(min=0)
    shrink = torch.where(squared > 1e-10 * squared.amax(), squared.rsqrt(), torch.zeros_like(squared))

    def unwhiten(C: Tensor) -> Tensor:
        B: Tensor = V @ (shrink * C) @ U.mT
        return B

    def product(C: Tensor) -> Tensor:
        B = unwhiten(C)
        image: Tensor = shrink * (V.mT @ -(M @ B.mT + B.mT @ M) @ U)
        return image

    generator = torch.Generator().manual_seed(0)
    start = torch.randn(M.shape, generator=generator, dtype=torch.float64).to(M.device)
    basis = [start / start.flatten(1).norm(dim=1)[:, None, None]]
    images = [product(basis[0])]
    for _ in range(min(_SEARCH_STEPS, symmetry.width**2) - 1):
        rest = images[-1]
        for _ in range(2):  # twice: once leaves rounding of the parts removed
            for previous in basis:
                rest = rest - (rest * previous).sum((1, 2), keepdim=True) * previous
        length = rest.flatten(1).norm(dim=1)[:, None, None]
        # Where the Krylov space is exhausted, a vector of zeros adds nothing.
        basis.append(torch.where(length > 1e-12 * M.abs().amax(), rest / length, torch.zeros_like(rest)))
        images.append(product(basis[-1]))
    Q, HQ = (torch.stack(vectors, dim=1).flatten(2) for vectors in (basis, images))
    T = Q @ HQ.mT
    values, vectors = torch.linalg.eigh((T + T.mT) / 2)
    C = (vectors[:, :, :1] * Q).sum(1).unflatten(1, (symmetry.width, symmetry.width))
    return values[:, 0], unwhiten(C)


def _stacked(symmetry: Symmetry, params: Tensor, gradient: Tensor, *, covariant: bool) -> tuple[Tensor, Tensor]:
    """X and g_X, or Y and g_Y, as ``(units, width, rest)`` in float64, all blocks side by side."""
    blocks = symmetry.covariant if covariant else symmetry.contravariant
    pieces = (symmetry.layout.split(vector) for vector in (params, gradient))
    values, slopes = (torch.cat([b.read(p[b.index]).double() for b in blocks], dim=2) for p in pieces)
    return values, slopes


def _only(unit: int, matrices: Tensor) -> Tensor:
    B = torch.zeros(matrices.shape, dtype=torch.float64, device=matrices.device)
    B[unit] = matrices[unit]
    return B
