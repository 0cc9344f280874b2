"""How the eigenvalues of an operator are distributed: stochastic Lanczos quadrature."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from landscape.operators.base import LinearOperator
from landscape.probes.lanczos.krylov import KrylovSpace
from landscape.probes.spectrum.density_curve import Axis, DensityCurve, smooth
from landscape.probes.spectrum.quadrature import MassEstimate, Quadrature, negative_threshold, run_lanczos
from landscape.probes.target import Target, operator_of
from landscape.status import Status

#: A Ritz value counts as converged from this residual norm on, relative to the value itself.
CONVERGED_RTOL = 1e-3
#: Up to this size a matrix is built whole where the products allowed suffice for it (32 MB in float64).
DENSE_UP_TO = 2000


@dataclass(frozen=True)
class Estimate:
    """A mean over random probes."""

    #: The mean.
    value: float
    #: Of the mean; 0 if nothing was random.
    standard_error: float


@dataclass(frozen=True)
class SpectralDensity:
    """The distribution of an operator's eigenvalues, as quadrature rules of random probes.

    Attributes
    ----------
    probes : tuple of Quadrature
        Raw nodes and weights of each probe; a single exact one if the products allowed were enough for every coordinate.
    size : int
        n: a share s of the spectrum is s n eigenvalues.
    num_matvecs : int
        Products used.
    product_error : float
        The operator's, relative to its norm.
    status : Status
        COMPLETED, CUT_SHORT (interrupted) or NONFINITE_PRODUCT.
    is_exact : bool
        Whether nodes are all n eigenvalues.
    """

    probes: tuple[Quadrature, ...]
    size: int
    num_matvecs: int
    product_error: float
    status: Status
    is_exact: bool = False

    def __str__(self) -> str:
        if not self.probes:
            return f"The spectrum is unknown. {self.status}"
        mass = self.mass_below()
        how = "all eigenvalues" if self.is_exact else f"{len(self.probes)} probes of up to {self.num_steps} steps"
        return (
            f"{self.size} eigenvalues around {self.moment(1).value:.4g}, seen between {float(self.nodes.min()):.4g} and "
            f"{float(self.nodes.max()):.4g} ({how}, {self.num_matvecs} products): {mass}. {self.status}"
        )

    @property
    def nodes(self) -> Tensor:
        """Nodes of all probes, one after the other."""
        return torch.cat([torch.empty(0, dtype=torch.float64), *(probe.nodes for probe in self.probes)])

    @property
    def weights(self) -> Tensor:
        """Their weights; they sum to 1 over all probes."""
        return torch.cat([torch.empty(0, dtype=torch.float64), *(p.weights / len(self.probes) for p in self.probes)])

    @property
    def num_steps(self) -> int:
        """Nodes of the longest probe."""
        return max((len(probe.nodes) for probe in self.probes), default=0)

    @property
    def negative_threshold(self) -> float:
        """Below it an eigenvalue counts as negative: see :func:`landscape.probes.spectrum.quadrature.negative_threshold`."""
        return negative_threshold(self.nodes, self.product_error)

    @property
    def converged_ritz_values(self) -> Tensor:
        """Eigenvalues already found: the values of :meth:`converged` at its default tolerance."""
        return self.converged()[0]

    def converged(self, rtol: float = CONVERGED_RTOL) -> tuple[Tensor, Tensor]:
        """Ritz values whose residual norm is at most ``rtol`` of them, and the residual norms.

        Each stands for one or more equal eigenvalues (Lanczos does not see how many). Values of several probes that agree
        within their residuals are one, that with the smallest residual.

        Returns
        -------
        values, residual_norms : Tensor of shape (m,)
            Values ascending.
        """
        rounding = self.product_error * float(self.nodes.abs().max()) if self.probes else 0.0
        residuals = torch.cat([torch.empty(0, dtype=torch.float64), *(probe.residual_norms for probe in self.probes)])
        candidates = sorted(
            (float(residual), float(node))
            for residual, node in zip(residuals, self.nodes, strict=True)
            if residual <= rtol * node.abs()
        )
        found: list[tuple[float, float]] = []
        for residual, node in candidates:
            if all(abs(node - other) > residual + error + rounding for other, error in found):
                found.append((node, residual))
        found.sort()
        table = torch.tensor(found, dtype=torch.float64).reshape(-1, 2)
        return table[:, 0], table[:, 1]

    def expectation(self, function: Callable[[Tensor], Tensor]) -> Estimate:
        r"""Mean of a function over the eigenvalues, :math:`\mathrm{tr} f(A) / n`.

        Parameters
        ----------
        function : callable
            Takes eigenvalues (k,) in float64 and gives as many numbers.

        Returns
        -------
        Estimate
            ``value`` and ``standard_error``. Exact in expectation for polynomials of degree up to 2k - 1.

        Notes
        -----
        The variance of one probe is :math:`\frac{2}{n+2}` times the variance of f over the eigenvalues, for a start
        vector uniform on the sphere. The standard error is this or the spread over probes, whichever is larger.
        """
        means = [probe.expectation(function) for probe in self.probes]
        squares = [probe.expectation(lambda x: function(x).square()) for probe in self.probes]
        return self._pooled(means, sum(squares) / len(squares) if squares else math.nan)

    def moment(self, power: int) -> Estimate:
        """Mean of the eigenvalues to a power; times n, it is the trace of that power of the operator."""
        return self.expectation(lambda x: x**power)

    def mass_below(self, threshold: float | None = None) -> MassEstimate:
        """The share of eigenvalues below a threshold.

        Parameters
        ----------
        threshold : float, optional
            Default: :attr:`negative_threshold`, which leaves out a bulk that sits at 0 of either sign.

        Returns
        -------
        MassEstimate
            The value, its standard error over probes, and bounds that hold whatever lies between nodes.
        """
        threshold = self.negative_threshold if threshold is None else float(threshold)
        masses = [probe.mass_below(threshold) for probe in self.probes]
        pooled = self._pooled(masses, sum(masses) / len(masses) if masses else math.nan)
        bounds = [probe.mass_bounds(threshold) for probe in self.probes] or [(math.nan, math.nan)]
        lower, upper = torch.tensor(bounds, dtype=torch.float64).mean(dim=0).tolist()
        return MassEstimate(pooled.value, pooled.standard_error, lower, upper, threshold)

    def density(
        self,
        grid: Tensor | None = None,
        width: float | None = None,
        *,
        axis: Axis = "linear",
        linear_range: float | None = None,
    ) -> DensityCurve:
        """Smooth nodes with a Gaussian; no products.

        Parameters
        ----------
        grid : Tensor of shape (m,), optional
            Eigenvalues, ascending. Default: covers all nodes and five widths on either side, four points a width.
        width : float, optional
            Standard deviation of the Gaussian, in eigenvalues or, on a "symlog" axis, in decades. Default: the range of
            the nodes over the number of steps, about the distance between nodes.
        axis : {"linear", "symlog"}
            "symlog" is logarithmic on either side of 0 and linear in between: a bulk at 0 and outliers in one picture.
        linear_range : float, optional
            Where a "symlog" axis becomes logarithmic. Default: minus :attr:`negative_threshold`.

        Returns
        -------
        DensityCurve

        Raises
        ------
        ValueError
            If there is no probe, or ``width`` or ``linear_range`` is not positive, or ``axis`` unknown.
        """
        if not self.probes:
            raise ValueError(f"there is no probe to draw a density from. {self.status}")
        reach = (-self.negative_threshold or 1.0) if linear_range is None else linear_range
        return smooth(self.nodes, self.weights, self.num_steps, grid, width, axis, reach)

    def _pooled(self, values: Sequence[float], mean_square: float) -> Estimate:
        """Mean over probes, with the larger of its two standard errors."""
        if not values:
            return Estimate(math.nan, math.nan)
        samples = torch.tensor(values, dtype=torch.float64)
        mean = float(samples.mean())
        if self.is_exact:
            return Estimate(mean, 0.0)
        variance = 2 / (self.size + 2) * max(0.0, mean_square - mean**2)
        spread = float(samples.var()) if len(values) > 1 else 0.0
        return Estimate(mean, math.sqrt(max(variance, spread) / len(values)))


def spectral_density(
    operator: Target,
    *,
    num_probes: int = 4,
    num_steps: int = 50,
    generator: torch.Generator | None = None,
    callback: Callable[[SpectralDensity], None] | None = None,
    max_memory: int | None = None,
) -> SpectralDensity:
    r"""Estimate the distribution of a symmetric operator's eigenvalues.

    Each probe is a Lanczos run from a start vector uniform on the sphere. Its Ritz values :math:`\theta_i` with weights
    :math:`w_i = (e_1^\top s_i)^2`, the squared first components of the tridiagonal matrix's eigenvectors, integrate
    polynomials up to degree 2k - 1 exactly against the start vector's spectral measure, whose mean is the distribution of
    eigenvalues.

    Parameters
    ----------
    operator : LinearOperator of shape (n, n), or Problem
        A problem stands for its Hessian where the model is. In float32 or float64.
    num_probes : int
        Runs, at least 1. The error of sampling falls with their square root and with that of n.
    num_steps : int
        Steps a run, at least 1: the resolution.
    generator : torch.Generator, optional
        Source of the start vectors. Default: a private one, the same at every call.
    callback : callable, optional
        Called with the SpectralDensity so far after each probe.
    max_memory : int, optional
        Bytes for the Krylov basis; runs that reach it are shorter.

    Returns
    -------
    SpectralDensity
        Raw rules of each probe, and what follows from them without further products: ``density``, ``mass_below``,
        ``moment``, ``expectation``, ``converged_ritz_values``. A KeyboardInterrupt is caught: the result then holds the
        probes done (or, if none is, the unfinished one) with ``Status.CUT_SHORT``; before the first product, it passes.

    Raises
    ------
    ValueError
        If ``num_probes`` or ``num_steps`` is below 1, or the operator's dtype is neither float32 nor float64.

    Notes
    -----
    Cost: num_probes times num_steps products (400 GE nominal for a Hessian by default), and memory of num_steps + 1
    vectors. If that suffices for all n coordinates and n <= 2000, the matrix is built instead, with n products: its
    eigenvalues are exact.

    References
    ----------
    Ubaru, Chen, Saad (2017), Fast estimation of tr(f(A)) via stochastic Lanczos quadrature, SIAM J. Matrix Anal. Appl.
    38(4). Ghorbani, Krishnan, Xiao (2019), An investigation into neural net optimization via Hessian eigenvalue density,
    ICML. Golub, Welsch (1969), Calculation of Gauss quadrature rules, Math. Comp. 23.

    Examples
    --------
    >>> from landscape.testing.spectra import known_spectrum
    >>> A = known_spectrum("indefinite", 2000)  # evenly from -1 to 2: a third is negative
    >>> mass = spectral_density(A).mass_below(0.0)
    >>> abs(mass.value - 1 / 3) < 0.03, A.num_matvecs
    (True, 200)
    """
    for name, given in (("num_probes", num_probes), ("num_steps", num_steps)):
        if given < 1:
            raise ValueError(f"{name}={given} was given; it must be at least 1.")
    operator = operator_of(operator)
    if operator.size <= min(num_probes * num_steps, DENSE_UP_TO):
        return _exact_density(operator)
    generator = torch.Generator().manual_seed(0) if generator is None else generator
    done: list[Quadrature] = []
    before = operator.num_matvecs

    def result(status: Status) -> SpectralDensity:
        used = operator.num_matvecs - before
        return SpectralDensity(tuple(done), operator.size, used, operator.product_error, status)

    for _ in range(num_probes):
        space = KrylovSpace(operator, random_direction(operator, generator), max_memory=max_memory)
        interrupted = run_lanczos(space, num_steps)
        if space.num_steps and (not interrupted or not done):
            done.append(Quadrature.of(space))
        if interrupted and not done:
            raise KeyboardInterrupt
        if interrupted or space.status is Status.NONFINITE_PRODUCT:
            return result(Status.CUT_SHORT if interrupted else space.status)
        if callback is not None:
            callback(result(Status.RUNNING if len(done) < num_probes else Status.COMPLETED))
    return result(Status.COMPLETED)


def random_direction(operator: LinearOperator, generator: torch.Generator) -> Tensor:
    """A standard normal vector: its direction is uniform on the sphere."""
    drawn = torch.randn(operator.size, generator=generator, device=generator.device, dtype=torch.float64)
    return drawn.to(device=operator.device, dtype=operator.dtype)


def _exact_density(operator: LinearOperator) -> SpectralDensity:
    n = operator.size
    matrix = operator.to_dense().to("cpu", torch.float64)
    if not bool(torch.isfinite(matrix).all()):
        return SpectralDensity((), n, n, operator.product_error, Status.NONFINITE_PRODUCT)
    nodes = torch.linalg.eigvalsh((matrix + matrix.T) / 2)
    empty, shares, residuals = (
        torch.empty(0, dtype=torch.float64),
        torch.full_like(nodes, 1 / n),
        torch.zeros_like(nodes),
    )
    resolution = operator.product_error * float(nodes.abs().max())
    rule = Quadrature(nodes, shares, residuals, empty, empty, is_exact=True, resolution=resolution)
    return SpectralDensity((rule,), n, n, operator.product_error, Status.COMPLETED, is_exact=True)
