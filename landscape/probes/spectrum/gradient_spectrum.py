"""Which curvatures the gradient meets: the operator's spectrum as it is seen from the gradient."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from landscape.probes.lanczos.krylov import KrylovSpace
from landscape.probes.spectrum.quadrature import MassEstimate, Quadrature, negative_threshold, run_lanczos
from landscape.probes.target import Target, operator_of
from landscape.problem import Problem
from landscape.status import Status
from landscape.vectors import norm


@dataclass(frozen=True)
class GradientSpectrum:
    """How the squared gradient norm is shared out among curvatures.

    Attributes
    ----------
    quadrature : Quadrature or None
        Nodes (curvatures) and weights (shares); None if the first product was not finite.
    gradient_norm : float
    size : int
        n.
    num_matvecs : int
        Products used.
    product_error : float
        The operator's, relative to its norm.
    status : Status
        COMPLETED, BREAKDOWN (the Krylov space is exhausted: all is exact), CUT_SHORT or NONFINITE_PRODUCT.
    """

    quadrature: Quadrature | None
    gradient_norm: float
    size: int
    num_matvecs: int
    product_error: float
    status: Status

    def __str__(self) -> str:
        if self.quadrature is None:
            return f"The gradient's spectrum is unknown. {self.status}"
        mass = self.negative_mass()
        return (
            f"Curvature along the gradient {self.curvature:.4g}. Of the squared gradient norm, {mass.value:.3g} lies in "
            f"curvature below {mass.threshold:.3g} (between {mass.lower:.3g} and {mass.upper:.3g}; {self.num_matvecs} "
            "products). This never certifies lambda_min: the start vector is the gradient, not a random one, so directions "
            f"that the gradient does not point along stay unseen, with no probability attached. {self.status}"
        )

    @property
    def nodes(self) -> Tensor:
        """Curvatures (k,), ascending; each is a Ritz value, hence at least lambda_min and at most lambda_max."""
        return torch.empty(0, dtype=torch.float64) if self.quadrature is None else self.quadrature.nodes

    @property
    def weights(self) -> Tensor:
        """Shares (k,) of the squared gradient norm; they sum to 1."""
        return torch.empty(0, dtype=torch.float64) if self.quadrature is None else self.quadrature.weights

    @property
    def is_exact(self) -> bool:
        """Whether the Krylov space is exhausted, so that nodes and weights are eigenvalues and exact shares."""
        return self.status is Status.BREAKDOWN

    @property
    def curvature(self) -> float:
        """Rayleigh quotient g'Hg / g'g; exact after one step."""
        return math.nan if self.quadrature is None else float(self.quadrature.alphas[0])

    @property
    def negative_threshold(self) -> float:
        """Below it a curvature counts as negative: see :func:`landscape.probes.spectrum.quadrature.negative_threshold`."""
        return negative_threshold(self.nodes, self.product_error)

    def negative_mass(self, threshold: float | None = None) -> MassEstimate:
        """The share of the squared gradient norm that lies in curvature below a threshold.

        Parameters
        ----------
        threshold : float, optional
            Default: :attr:`negative_threshold`.

        Returns
        -------
        MassEstimate
            ``value`` with ``lower`` and ``upper``, which hold whatever lies between nodes; ``standard_error`` is 0, for
            nothing is random.
        """
        threshold = self.negative_threshold if threshold is None else float(threshold)
        if self.quadrature is None:
            return MassEstimate(math.nan, math.nan, math.nan, math.nan, threshold)
        lower, upper = self.quadrature.mass_bounds(threshold)
        return MassEstimate(self.quadrature.mass_below(threshold), 0.0, lower, upper, threshold)


def gradient_spectrum(
    operator: Target, gradient: Tensor | None = None, *, num_steps: int = 40, max_memory: int | None = None
) -> GradientSpectrum:
    r"""Share out the squared gradient norm among the curvatures of an operator.

    Lanczos from the gradient g gives Ritz values :math:`\theta_i` and weights :math:`w_i = (e_1^\top s_i)^2` with
    :math:`\sum_i w_i f(\theta_i) = g^\top f(H) g / g^\top g` for polynomials up to degree 2k - 1. The weight below 0 is
    the negative curvature that conjugate gradients started here will meet.

    Parameters
    ----------
    operator : LinearOperator of shape (n, n), or Problem
        A problem stands for its Hessian where the model is. The Hessian, in float32 or float64.
    gradient : Tensor of shape (n,), optional
        At the same point, other than 0. Default: the problem's own (1 gradient), if a problem is given.
    num_steps : int
        Lanczos steps, at least 1; more than n are not taken.
    max_memory : int, optional
        Bytes for the Krylov basis; a run that reaches it is shorter.

    Returns
    -------
    GradientSpectrum
        ``nodes``, ``weights``, ``negative_mass(threshold)``, ``curvature``, ``is_exact``. A KeyboardInterrupt after the
        first step is caught: the steps taken are returned, with ``Status.CUT_SHORT``.

    Raises
    ------
    ValueError
        If the gradient is 0 or not finite, or does not fit the operator, or ``num_steps`` is below 1.

    Notes
    -----
    Not a statement about lambda_min: an eigenvector orthogonal to the gradient is never seen, however negative its
    curvature, and the start is not random, so no probability bounds what is missed. A node below 0 does prove
    lambda_min < 0 (Ritz values lie between the extreme eigenvalues), up to the error of the products.

    Cost: ``num_steps`` products (2 GE each, nominal); memory of num_steps + 1 vectors.

    References
    ----------
    Golub, Meurant (2010), Matrices, Moments and Quadrature with Applications, chapters 6 and 7.

    Examples
    --------
    >>> from landscape.operators.matrix import MatrixOperator
    >>> H = MatrixOperator(torch.diag(torch.tensor([-1.0, 1.0, 5.0], dtype=torch.float64)))
    >>> seen = gradient_spectrum(H, torch.tensor([1.0, 1.0, 0.0], dtype=torch.float64))
    >>> round(seen.negative_mass().value, 12), round(seen.curvature, 12), seen.is_exact
    (0.5, 0.0, True)
    """
    if num_steps < 1:
        raise ValueError(f"num_steps={num_steps} was given; it must be at least 1.")
    if gradient is None:
        if not isinstance(operator, Problem):
            raise ValueError("no gradient was given, and an operator does not know it: give problem.gradient() too.")
        gradient = operator.gradient()
    operator = operator_of(operator)
    if isinstance(gradient, Tensor) and not bool(gradient.count_nonzero()):
        raise ValueError(
            "the gradient is exactly 0: at a stationary point it points along no curvature, so it has no spectrum. Ask "
            "about lambda_min instead, with a random start vector."
        )
    before = operator.num_matvecs
    space = KrylovSpace(operator, gradient, max_memory=max_memory)
    interrupted = run_lanczos(space, num_steps)
    if interrupted and not space.num_steps:
        raise KeyboardInterrupt
    status = Status.COMPLETED if space.status is Status.RUNNING else space.status
    return GradientSpectrum(
        quadrature=Quadrature.of(space) if space.num_steps else None,
        gradient_norm=norm(gradient),
        size=operator.size,
        num_matvecs=operator.num_matvecs - before,
        product_error=operator.product_error,
        status=Status.CUT_SHORT if interrupted else status,
    )
