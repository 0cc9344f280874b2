"""Gauss quadrature from Lanczos: integrals over the spectrum that a start vector sees."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from landscape.probes.lanczos.krylov import KrylovSpace
from landscape.status import Status

#: "Negative" means below minus this part of the largest |eigenvalue|: the bulk of a Hessian sits at 0, of either sign.
NEGATIVE_RTOL = 1e-3


@dataclass(frozen=True)
class MassEstimate:
    """A share of a spectrum.

    Attributes
    ----------
    value : float
        The share below ``threshold``, as the quadrature nodes tell it.
    standard_error : float
        Of sampling over start vectors; 0 if there is none. It knows nothing of what lies between nodes: in a bulk that is
        not resolved it may be a tenth of the whole error. :meth:`interval` holds both.
    lower, upper : float
        What the share can be at least and at most for the start vectors used, whatever lies between the nodes. Far
        apart: the threshold falls into a bulk that the steps taken have not resolved.
    threshold : float
        An eigenvalue.
    """

    value: float
    standard_error: float
    lower: float
    upper: float
    threshold: float

    def interval(self, num_standard_errors: float = 2.0) -> tuple[float, float]:
        """Both errors together: the bounds, so many standard errors wider, within 0 and 1."""
        margin = num_standard_errors * self.standard_error
        return max(0.0, self.lower - margin), min(1.0, self.upper + margin)

    def __str__(self) -> str:
        return (
            f"{self.value:.3g} of it lies below {self.threshold:.3g} (standard error {self.standard_error:.2g}; between "
            f"{self.lower:.3g} and {self.upper:.3g} whatever lies between the nodes)"
        )


@dataclass(frozen=True)
class Quadrature:
    r"""The Gauss rule of a Krylov space: nodes and weights with :math:`\sum_i w_i f(\theta_i) \approx b^\top f(A) b`.

    Attributes
    ----------
    nodes, weights : Tensor of shape (k,), float64
        Ritz values, ascending, and the squares of the first components of the tridiagonal matrix's eigenvectors; the
        weights sum to 1.
    residual_norms : Tensor of shape (k,)
        Some eigenvalue lies within each of its node.
    alphas, betas : Tensor of shape (k,) and (k - 1,)
        The tridiagonal matrix itself; empty where the rule did not come from one.
    is_exact : bool
        Whether the Krylov space is invariant, so that the rule holds for every f.
    resolution : float
        Eigenvalues nearer than this cannot be told apart: the error of the products, in units of eigenvalues.
    """

    nodes: Tensor
    weights: Tensor
    residual_norms: Tensor
    alphas: Tensor
    betas: Tensor
    is_exact: bool
    resolution: float

    @classmethod
    def of(cls, space: KrylovSpace) -> Quadrature:
        """Read the rule off a space of at least one step."""
        values, coefficients, residual_norms = space.ritz()
        exact = space.status is Status.BREAKDOWN
        resolution = space.operator.product_error * space.norm_estimate
        return cls(values, coefficients[0] ** 2, residual_norms, space.alphas, space.betas[:-1], exact, resolution)

    def expectation(self, function: Callable[[Tensor], Tensor]) -> float:
        """The rule applied to a function of eigenvalues."""
        return float((self.weights * function(self.nodes)).sum())

    def mass_below(self, threshold: float) -> float:
        """Sum of the weights of nodes below the threshold."""
        return float(self.weights[self.nodes < threshold].sum())

    def mass_bounds(self, threshold: float) -> tuple[float, float]:
        r"""What the mass below the threshold is at least and at most.

        Notes
        -----
        Changing the last :math:`\alpha` such that the threshold becomes a node gives the Gauss-Radau rule; no measure
        with the same first 2k - 2 moments has less mass below than its nodes strictly below, or more than those up to
        the threshold (inequalities of Chebyshev, Markov and Stieltjes). The bounds are taken at the threshold less and
        plus :attr:`resolution`, since rounding of the products may put an eigenvalue that near on either side.

        References
        ----------
        Golub, Meurant (2010), Matrices, Moments and Quadrature with Applications, section 6.2. Szegő (1975), Orthogonal
        Polynomials, section 3.41.
        """
        return self._bounds_at(threshold - self.resolution)[0], self._bounds_at(threshold + self.resolution)[1]

    def _bounds_at(self, threshold: float) -> tuple[float, float]:
        if self.is_exact:
            mass = self.mass_below(threshold)
            return mass, mass
        nodes, weights = self._with_node(threshold)
        pinned = int((nodes - threshold).abs().argmin())
        below = float(weights[:pinned].sum())
        return below, below + float(weights[pinned])

    def _with_node(self, threshold: float) -> tuple[Tensor, Tensor]:
        """The k-node Gauss-Radau rule that has the threshold among its nodes."""
        k = len(self.alphas)
        T = torch.diag(self.alphas) + torch.diag(self.betas, 1) + torch.diag(self.betas, -1)
        if k == 1:
            return torch.tensor([threshold], dtype=torch.float64), torch.ones(1, dtype=torch.float64)
        inner_values, inner_vectors = torch.linalg.eigh(T[:-1, :-1])
        pull = float((inner_vectors[-1] ** 2 / (inner_values - threshold)).sum() * self.betas[-1] ** 2)
        scale = float(T.abs().max()) + abs(threshold)
        if not abs(pull) < scale / torch.finfo(torch.float64).eps:  # a node of the rule with one step less, already
            return inner_values, inner_vectors[0] ** 2
        T[-1, -1] = threshold + pull
        values, vectors = torch.linalg.eigh(T)
        return values, vectors[0] ** 2


def negative_threshold(nodes: Tensor, product_error: float) -> float:
    """Where "negative" begins: minus the larger of 1e-3 and the products' relative error, times the largest |node|.

    What lies nearer to 0 is either rounding or too flat to matter beside the largest curvature.
    """
    if nodes.numel() == 0:
        return math.nan
    return -max(NEGATIVE_RTOL, product_error) * float(nodes.abs().max())


def run_lanczos(space: KrylovSpace, num_steps: int) -> bool:
    """Extend a space to ``num_steps`` steps, as far as it goes; say whether a KeyboardInterrupt came."""
    try:
        for _ in range(num_steps):
            if space.status is not Status.RUNNING or not space.has_room:
                break
            space.extend()
        space.sync()
    except KeyboardInterrupt:
        return True
    return False
