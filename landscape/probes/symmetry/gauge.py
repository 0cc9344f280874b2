"""The directions in which a loss cannot change because of its symmetries, and the projector that removes them."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from landscape.probes.symmetry.action import Symmetry
from landscape.probes.symmetry.tangents import Family, Pieces, components_of


class GaugeProjector:
    r"""The orthogonal projector onto the complement of all gauge directions: "what is left modulo symmetry".

    Along the orbits of its symmetries a loss is constant, so the Hessian says nothing new there. The projector P asks
    the fair questions, such as whether P H P is positive semidefinite.

    Parameters
    ----------
    symmetries : sequence of Symmetry
        Checked ones of one problem; others are refused.
    params : Tensor of shape (n,)
        The point at which the orbits are touched.

    Attributes
    ----------
    num_directions : int
        Tangents of all symmetries: width² for each head whose group is linear, one for each unit of a scale.
    rank : int
        How many of them are independent.
    dimension : int
        n - rank: the dimension of the space projected onto.

    Raises
    ------
    ValueError
        If there is a symmetry that was not checked, the point does not fit, or too many families overlap.

    Notes
    -----
    With the tangents as columns of T the result is :math:`v - T (T^\top T)^+ T^\top v`. T is never stored: a tangent of
    a head is :math:`(BX, -B^\top Y)`. Within one family of tangents the Gram matrix is known in closed form, for a head
    :math:`B \mapsto B X X^\top + Y Y^\top B`, which two eigendecompositions of size width x width invert. Families that
    touch the same entries (a norm's gain acts on the columns of the weights whose rows the heads mix) are put together
    by block elimination: what is left of the smaller families is one dense matrix for each connected component,
    pseudo-inverted once with ``eigh``. All in float64; eigenvalues below ``RANK_TOLERANCE`` times the largest are 0.

    Away from a stationary point P H P is not all of H: symmetry also forces curvature along the orbits, of the size of
    the gradient (:meth:`Symmetry.curvature`). At a stationary point H vanishes on all gauge directions, and P H P has
    the nonzero eigenvalues of H. Scale-invariant weights in front of a norm with eps > 0 count as gauge directions too.

    For the paper's ViT (154,058 parameters, 6,592 tangents): 0.15 s to build, 4 ms a vector, 3 MB.

    References
    ----------
    Kunin et al. (2021), arXiv:2012.04728.

    Examples
    --------
    >>> from landscape.problem import Problem
    >>> from landscape.probes.symmetry.symmetry import symmetries
    >>> model = torch.nn.Sequential(torch.nn.Linear(2, 3), torch.nn.ReLU(), torch.nn.Linear(3, 1))
    >>> problem = Problem(model, torch.nn.functional.mse_loss, (torch.ones(4, 2), torch.zeros(4, 1)))
    >>> project = GaugeProjector(symmetries(problem), problem.params())
    >>> project.num_directions, project.dimension, problem.num_params
    (3, 10, 13)
    """

    def __init__(self, symmetries: Sequence[Symmetry], params: Tensor) -> None:
        for symmetry in symmetries:
            if not symmetry.checked:
                raise ValueError(
                    f"the symmetry of {', '.join(symmetry.names)} was not checked, so its directions may not be gauge "
                    "directions. Take those that symmetries(problem) gives, not symmetries(model)."
                )
            symmetry.layout.check_vector(params)
        self.num_params = params.numel()
        self._sizes = [params.numel()] if not symmetries else list(symmetries[0].layout.sizes)
        self._shapes = [params.shape] if not symmetries else list(symmetries[0].layout.shapes)
        # A copy: the tangents belong to this point, whatever happens to the vector that was given.
        point = self._split(params.detach().to(torch.float64, copy=True))
        families = [Family(symmetry, point) for symmetry in symmetries]
        self._components = components_of(families, point)
        self.num_directions = sum(family.size for family in families)
        self.rank = sum(component.rank for component in self._components)
        self.dimension = self.num_params - self.rank

    def __call__(self, vector: Tensor) -> Tensor:
        """Remove all gauge directions from a vector of shape ``(n,)``; a new vector of its type.

        Raises
        ------
        ValueError
            If the vector has another length.
        """
        if vector.shape != (self.num_params,):
            raise ValueError(
                f"the vector has shape {tuple(vector.shape)}; this projector was made at a point of "
                f"{self.num_params} parameters, so ({self.num_params},) is needed."
            )
        result = vector.detach().to(torch.float64, copy=True)
        pieces = self._split(result)
        for component in self._components:
            component.remove_from(pieces)
        return result.to(vector.dtype)

    def _split(self, vector: Tensor) -> Pieces:
        """Views by parameter."""
        pieces = zip(vector.split(self._sizes), self._shapes, strict=True)
        return {index: piece.view(shape) for index, (piece, shape) in enumerate(pieces)}
