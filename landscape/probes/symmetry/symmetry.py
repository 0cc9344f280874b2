"""Witnesses of negative curvature that cost a gradient and no Hessian product: they follow from symmetries."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from landscape.operators.base import ROUNDING_EPSILONS
from landscape.probes.symmetry.action import Symmetry
from landscape.probes.symmetry.directions import promising_directions
from landscape.probes.symmetry.search import confirmed_symmetries, structural_symmetries
from landscape.problem import Problem
from landscape.vectors import dot, norm


def symmetries(problem_or_model: Problem | nn.Module) -> tuple[Symmetry, ...]:
    r"""Find the continuous symmetries of a loss: linear maps of the parameters that leave it as it is.

    Known are query/key and value/output pairs of attention, layers around a positively homogeneous activation, the gain
    of a norm with the layers that read it, and weights that only a norm reads.

    Parameters
    ----------
    problem_or_model : Problem or nn.Module
        Of a problem, layers that read each other are found in the graph of its loss, and every symmetry is confirmed by
        the loss. Of a model, only what attributes and ``nn.Sequential`` show is found, unconfirmed (``checked=False``).

    Returns
    -------
    tuple of Symmetry
        Each with the largest group that the loss confirms. Frozen parameters take no part: a pair with a frozen half is
        none.

    Notes
    -----
    A candidate is kept if the loss of the first batch (64 samples at most) is invariant under two finite elements of the
    group, at a generic point near the model's own: to 1e-10 relative in float64, 3e-5 in float32, 3e-2 in shorter types.
    Where the loss hardly feels the parameters its gradients must agree too. Weights in front of a norm are invariant up
    to the norm's eps; there the change of the loss must vanish with eps (``exact`` is then False). Only scale
    symmetries, rotations and general linear ones are looked for; translations (a bias in front of a norm, the bias of
    keys) and permutations are not.

    Cost: 3 to 12 forwards of that batch for each candidate, and a gradient where the loss hardly feels it, charged to
    the problem. Leaves no trace.

    References
    ----------
    Kunin et al. (2021), Neural Mechanics, arXiv:2012.04728: symmetries of scale and their gradients.
    Dinh et al. (2017), arXiv:1703.04933: rescaling around ReLU changes curvature, not the function.

    Examples
    --------
    >>> model = nn.Sequential(nn.Linear(2, 3), nn.ReLU(), nn.Linear(3, 1))
    >>> problem = Problem(model, nn.functional.mse_loss, (torch.ones(4, 2), torch.zeros(4, 1)))
    >>> [found] = symmetries(problem)
    >>> found.kind, found.group, found.names
    ('homogeneous', 'scaling', ('0.weight', '0.bias', '2.weight'))
    """
    if isinstance(problem_or_model, nn.Module):
        return tuple(structural_symmetries(problem_or_model))
    if not isinstance(problem_or_model, Problem):
        raise ValueError(
            f"symmetries() was given a {type(problem_or_model).__name__}; needed is a Problem (candidates are checked "
            "against its loss) or an nn.Module (they are not)."
        )
    return tuple(confirmed_symmetries(problem_or_model.objective))


@dataclass(frozen=True)
class SymmetryWitness:
    """A direction of negative curvature that a symmetry gives away.

    Attributes
    ----------
    symmetry : Symmetry
        Where it comes from.
    direction, image : Tensor of shape (n,)
        The direction v, not normalised, and Hv.
    curvature : float
        v'Hv / v'v.
    error : float
        Bound on the error of ``curvature``, from the error of the gradient.
    """

    symmetry: Symmetry
    direction: Tensor = field(repr=False)
    image: Tensor = field(repr=False)
    curvature: float
    error: float

    @property
    def upper(self) -> float | None:
        """An upper bound on lambda_min, below 0; None if only its sign is known."""
        bound = self.curvature + self.error
        return bound if bound < 0 else None

    def __str__(self) -> str:
        source = f"the symmetry of {', '.join(self.symmetry.names)}"
        if self.upper is None:
            return (
                f"lambda_min < 0: along a scale-invariant weight the curvature is 0 but the Hessian's product is not "
                f"({source}). How far below 0 is not known without a product."
            )
        return f"lambda_min <= {self.upper:.3g}: the curvature is {self.curvature:.3g} along a direction of {source}."


def witness(
    symmetries: Sequence[Symmetry],
    params: Tensor,
    gradient: Tensor,
    *,
    gradient_error: float | None = None,
    product: tuple[Tensor, Tensor] | None = None,
    product_error: float = 0.0,
) -> SymmetryWitness | None:
    r"""The most negative curvature that symmetries prove at a point, from the gradient alone.

    Parameters
    ----------
    symmetries : sequence of Symmetry
        Checked ones of one problem.
    params, gradient : Tensor of shape (n,)
        The point and the loss's gradient there. Curvature is that of the same loss: a mini-batch's gradient speaks of
        that mini-batch.
    gradient_error : float, optional
        Bound on the norm of the gradient's error. Default: rounding, 50 epsilons of its type times its norm.
    product : pair of Tensors of shape (n,), optional
        Any v and Hv at the same point that are at hand (the gradient and its product, say): then the best vector of the
        plane of v and each direction is taken.
    product_error : float
        Bound on the norm of the error of Hv.

    Returns
    -------
    SymmetryWitness or None
        None where all curvatures are 0 or positive within their errors.

    Raises
    ------
    ValueError
        If a symmetry has not been checked, or a vector does not fit.

    Notes
    -----
    A pair of attention has directions of curvature -2c/‖u‖² and +2c/‖u‖² in every head, so one is negative unless c = 0.
    They are two of the head's width² directions (B X, -B' Y), among which the most negative is searched for: on a small
    transformer it lay 4 to 30 times lower. Scales around an activation or behind a norm give -2c/‖u‖² only, for each
    unit: a witness where some c > 0.

    A scale-invariant weight w has w'Hw = 0 and Hw = -g_w. If H were positive semidefinite, w'Hw = 0 would force Hw = 0;
    so lambda_min < 0 wherever g_w is not 0. How far below needs the curvature along g_w: with unit vectors along w and
    g_w the Hessian is [[0, -s], [-s, c]], s = ‖g_w‖/‖w‖, so lambda_min <= c/2 - sqrt(c²/4 + s²), and c is no business of
    the gradient. Without ``product`` such a witness has ``upper`` None. The argument has no room for errors: the norm's
    eps makes w'Hw a little different from 0, and then nothing follows. So only norms with eps = 0 count here
    (``Symmetry.exact``); for the others take w as the start of a Lanczos run.

    Weight decay l/2 ‖x‖² in the optimiser adds l to every curvature here, if ``gradient`` is that of the loss alone. Decay
    inside the loss breaks the symmetry, and :func:`symmetries` finds none.

    Cost: nothing beyond the gradient; small matrix products on the side.

    Examples
    --------
    >>> model = nn.Sequential(nn.Linear(1, 1, bias=False), nn.ReLU(), nn.Linear(1, 1, bias=False)).double()
    >>> one = torch.ones(1, 1, dtype=torch.float64)
    >>> problem = Problem(model, nn.functional.mse_loss, (one, 0 * one))
    >>> problem.set_params(torch.ones(2, dtype=torch.float64))  # the loss is (w v)²
    >>> witness(symmetries(problem), problem.params(), problem.gradient()).curvature
    -2.0
    """
    for symmetry in symmetries:
        if not symmetry.checked:
            raise ValueError(
                f"the symmetry of {', '.join(symmetry.names)} was not checked, so it proves nothing. Take those that "
                "symmetries(problem) gives, not symmetries(model)."
            )
        symmetry.layout.check_vector(params)
        symmetry.layout.check_vector(gradient)
    if gradient_error is None:
        gradient_error = ROUNDING_EPSILONS * torch.finfo(gradient.dtype).eps * norm(gradient)
    best: SymmetryWitness | None = None
    sign_only: SymmetryWitness | None = None
    for symmetry in symmetries:
        if not symmetry.exact:
            continue
        for B in promising_directions(symmetry, params, gradient):
            found = _measured(symmetry, params, gradient, B, gradient_error)
            if product is not None and math.isfinite(found.curvature):
                found = _combined(found, product, gradient_error, product_error)
            if found.upper is not None and (best is None or found.upper < (best.upper or 0.0)):
                best = found
            elif symmetry.kind == "scale_invariant" and norm(found.image) > gradient_error:
                sign_only = found
    return best or sign_only


def _measured(
    symmetry: Symmetry, params: Tensor, gradient: Tensor, B: Tensor | None, gradient_error: float
) -> SymmetryWitness:
    """The direction of B. That both halves must contribute alike shows errors that ``gradient_error`` does not know."""
    direction, image = symmetry.generator(params, B), symmetry.image(gradient, B)
    squared = dot(direction, direction)
    if not squared > 0:
        return SymmetryWitness(symmetry, direction, image, math.nan, math.inf)
    curvature = dot(direction, image) / squared
    # The image is as far off as the gradient, times the largest singular value of B.
    stretch = 1.0 if B is None else float(torch.linalg.matrix_norm(B, 2).max())
    error = stretch * gradient_error / math.sqrt(squared)
    if symmetry.contravariant:
        halves = [0.0, 0.0]
        pieces = [symmetry.layout.split(vector) for vector in (direction, image)]
        for half, blocks in enumerate((symmetry.covariant, symmetry.contravariant)):
            for block in blocks:
                a, b = (block.read(piece[block.index]).reshape(-1) for piece in pieces)
                halves[half] += dot(a, b)
        error = max(error, abs(halves[0] - halves[1]) / squared)
    return SymmetryWitness(symmetry, direction, image, curvature, error)


def _combined(
    found: SymmetryWitness, product: tuple[Tensor, Tensor], gradient_error: float, product_error: float
) -> SymmetryWitness:
    """The vector of least curvature in the plane of a symmetry's direction and another with a known product."""
    found.symmetry.layout.check_vector(product[0])
    found.symmetry.layout.check_vector(product[1])
    lengths = norm(found.direction), norm(product[0])
    if not min(lengths) > 0:
        return found
    u, Hu = found.direction / lengths[0], found.image / lengths[0]
    v, Hv = product[0] / lengths[1], product[1] / lengths[1]
    # Orthonormal within the plane: v minus its part along u.
    overlap = dot(u, v)
    rest = v - overlap * u
    height = norm(rest)
    if not height > 1e-4:
        return found
    z, Hz = rest / height, (Hv - overlap * Hu) / height
    K = torch.tensor([[dot(u, Hu), dot(z, Hu)], [dot(z, Hu), dot(z, Hz)]], dtype=torch.float64)
    if not bool(torch.isfinite(K).all()):
        return found
    values, vectors = torch.linalg.eigh(K)
    a, b = (float(x) for x in vectors[:, 0])
    errors = gradient_error / lengths[0], product_error / lengths[1]
    # |y'(dK)y| for the unit vector y = a u + b z, with the errors of both products.
    error = abs(a) * errors[0] + abs(b) * (errors[1] + abs(overlap) * errors[0]) / height
    return SymmetryWitness(found.symmetry, a * u + b * z, a * Hu + b * Hz, float(values[0]), max(error, found.error))
