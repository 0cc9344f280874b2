"""Policies that watch the ends of the Hessian's spectrum, or its negative part."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from landscape.policies.base import Claim, Decision
from landscape.policies.settings import at_least, positive
from landscape.policies.signals import hold, judge, read
from landscape.tracking.history import History


@dataclass(frozen=True)
class EigenvalueRatio:
    r"""Swap once the most negative eigenvalue is small beside the largest.

    .. math:: \lambda_{\min} - r \ge -\tau\,\lambda_{\max}

    with the residual r of the Ritz pair that stands for :math:`\lambda_{\min}`.

    Parameters
    ----------
    tau : float
        Share of the largest eigenvalue. Our own choice: ratios of 0.002 to 0.26 are met along the training of small networks.
    checks : int
        How often in a row.

    Notes
    -----
    Claim A' (approximate convexity). A Ritz value lies above the smallest eigenvalue, so this can only fail to see negative
    curvature, never invent it; the residual keeps out pairs that have not settled, but turns no Ritz value into a bound. For a
    statement with a probability see :class:`Certified`. Cost: a Lanczos run, 20 to 80 Hessian products. On mini-batches
    :math:`\lambda_{\min}` is biased downwards.

    References
    ----------
    Li, Xu, Taylor, Studer, Goldstein (2018), Visualizing the Loss Landscape of Neural Nets, arXiv:1712.09913, who map the
    ratio.

    Examples
    --------
    >>> row = {"epoch": 1, "phase": "first", "lambda_min": -0.02, "lambda_min_residual": 1e-4, "lambda_max": 4.0}
    >>> EigenvalueRatio(tau=0.01).decide(History([row])).swap
    True
    """

    tau: float = 0.01
    checks: int = 1

    claim: ClassVar[Claim | None] = "A'"
    hindsight: ClassVar[bool] = False

    def __post_init__(self) -> None:
        at_least("tau", self.tau, 0)
        at_least("checks", self.checks, 1)

    @property
    def requires(self) -> frozenset[str]:
        """Both ends, and how well the lower one is known."""
        return frozenset({"lambda_min", "lambda_min_residual", "lambda_max"})

    def decide(self, history: History) -> Decision:
        """Compare the two ends."""
        signals = read(history, "lambda_min", "lambda_min_residual", "lambda_max")
        if isinstance(signals, Decision):
            return signals
        ends = zip(signals["lambda_min"], signals["lambda_min_residual"], signals["lambda_max"], strict=True)
        ratios = [(low - residual) / high if high > 0 else float("nan") for low, residual, high in ends]
        if not signals["lambda_max"][-1] > 0:
            return Decision(
                False, f"lambda_max {signals['lambda_max'][-1]:.4g} is not above 0: no scale to compare with"
            )
        what = f"lambda_min {signals['lambda_min'][-1]:.4g} less its residual, as a share of lambda_max,"
        return judge(ratios, ">=", 0.0 - self.tau, self.checks, what, "ratio", signals.epochs[-1])


@dataclass(frozen=True)
class NegativeMass:
    r"""Swap once few of the Hessian's eigenvalues are negative.

    .. math:: \sum_{\theta_i < -\epsilon} w_i < \tau

    Parameters
    ----------
    tau : float
        Share of the eigenvalues. Our own choice.
    checks : int
        How often in a row. Our own choice: a single estimate is noisy.

    Notes
    -----
    The share is estimated by stochastic Lanczos quadrature. Claim A', weakly: a tiny share of the eigenvalues is not a small
    eigenvalue, nor is it harmless. Cost: Lanczos steps times start vectors, in Hessian products.

    References
    ----------
    Ghorbani, Krishnan, Xiao (2019), arXiv:1901.10159. Yao, Gholami, Keutzer, Mahoney (2020), PyHessian, arXiv:1912.07145.

    Examples
    --------
    >>> rows = [{"epoch": t, "phase": "first", "negative_mass": 0.01} for t in (1, 2)]
    >>> NegativeMass(checks=2).decide(History(rows)).swap
    True
    """

    tau: float = 0.05
    checks: int = 3

    claim: ClassVar[Claim | None] = "A'"
    hindsight: ClassVar[bool] = False

    def __post_init__(self) -> None:
        positive("tau", self.tau)
        at_least("checks", self.checks, 1)

    @property
    def requires(self) -> frozenset[str]:
        """The share."""
        return frozenset({"negative_mass"})

    def decide(self, history: History) -> Decision:
        """Compare the share with tau."""
        return hold(history, "negative_mass", "<", self.tau, self.checks, "the share of negative eigenvalues")


@dataclass(frozen=True)
class GradientNegativeMass:
    r"""Swap once little of the gradient lies in directions of negative curvature.

    .. math:: \sum_{\theta_i < 0} w_i < \tau, \qquad w_i = (e_1^\top s_i)^2,

    with the Ritz pairs of a Lanczos run started at the gradient.

    Parameters
    ----------
    tau : float
        Share of :math:`\|g\|^2`. Our own choice.
    checks : int
        How often in a row. Our own choice.

    Notes
    -----
    Claim B on the Krylov space of the gradient, weighted as a conjugate-gradient method is going to meet it. The start is not
    random, so nothing follows for :math:`\lambda_{\min}`. Cost: one Hessian product per Lanczos step.

    References
    ----------
    Our own; the weights are those of Gauss quadrature, Golub, Meurant (2010), Matrices, Moments and Quadrature.

    Examples
    --------
    >>> rows = [{"epoch": t, "phase": "first", "gradient_negative_mass": 0.001} for t in (1, 2, 3)]
    >>> GradientNegativeMass().decide(History(rows)).swap
    True
    """

    tau: float = 0.01
    checks: int = 3

    claim: ClassVar[Claim | None] = "B"
    hindsight: ClassVar[bool] = False

    def __post_init__(self) -> None:
        positive("tau", self.tau)
        at_least("checks", self.checks, 1)

    @property
    def requires(self) -> frozenset[str]:
        """The share."""
        return frozenset({"gradient_negative_mass"})

    def decide(self, history: History) -> Decision:
        """Compare the share with tau."""
        what = "the share of the squared gradient in directions of negative curvature"
        return hold(history, "gradient_negative_mass", "<", self.tau, self.checks, what)


@dataclass(frozen=True)
class EdgeOfStability:
    r"""Swap once Adam is limited by curvature: the preconditioned sharpness has reached the edge of stability.

    .. math:: \eta\,\lambda_1(P^{1/2} H P^{1/2}) \ge \text{share} \cdot \frac{2 (1 + \beta_1)}{1 - \beta_1}

    Parameters
    ----------
    beta1 : float
        Adam's momentum, in [0, 1). With 0.9 the edge is at 38.
    share : float
        Share of the edge to reach.
    checks : int
        How often in a row. Our own choice.

    Notes
    -----
    At the edge, first-order steps are as long as the sharpest direction lets them be, and a method that rescales by curvature
    has most to offer. No claim: it is independent of convexity. Cost: a Lanczos run in Adam's metric.

    References
    ----------
    Cohen et al. (2021), arXiv:2103.00065; Cohen et al. (2022), Adaptive Gradient Methods at the Edge of Stability,
    arXiv:2207.14484.

    Examples
    --------
    >>> rows = [{"epoch": t, "phase": "first", "preconditioned_sharpness": 39.0} for t in (1, 2, 3)]
    >>> EdgeOfStability().decide(History(rows)).swap
    True
    """

    beta1: float = 0.9
    share: float = 1.0
    checks: int = 3

    claim: ClassVar[Claim | None] = None
    hindsight: ClassVar[bool] = False

    def __post_init__(self) -> None:
        if not 0 <= self.beta1 < 1:
            raise ValueError(f"beta1={self.beta1} was given; it must lie in [0, 1).")
        positive("share", self.share)
        at_least("checks", self.checks, 1)

    @property
    def requires(self) -> frozenset[str]:
        """The sharpness times the rate."""
        return frozenset({"preconditioned_sharpness"})

    @property
    def edge(self) -> float:
        """The sharpness, times the rate, above which a step along the sharpest direction diverges on a quadratic."""
        return 2 * (1 + self.beta1) / (1 - self.beta1)

    def decide(self, history: History) -> Decision:
        """Compare with the edge."""
        what = "the learning rate times the preconditioned sharpness"
        return hold(history, "preconditioned_sharpness", ">=", self.share * self.edge, self.checks, what)


@dataclass(frozen=True)
class NoSymmetryWitness:
    r"""Say yes where no symmetry of the model gives a direction of negative curvature for free; made to be combined.

    .. math:: \min_u \frac{u^\top H u}{u^\top u} \ge -\epsilon

    over the directions u that the model's symmetries give in closed form from one gradient.

    Parameters
    ----------
    eps : float
        Negative curvature that is let pass, in units of curvature. 0 asks for none.

    Notes
    -----
    With separate query and key weights :math:`W_q, W_k` of one head, invariant under :math:`(W_q A, W_k A^{-\top})`, two
    directions have curvatures of opposite signs wherever :math:`\langle g_q, W_q\rangle \ne 0`: the loss is then certainly not
    convex. Claim A, by refutation only: no witness is no proof. Cost: nothing beyond the gradient.

    References
    ----------
    Kunin, Sagastuy-Brena, Ganguli, Yamins, Tanaka (2021), Neural Mechanics: Symmetry and Broken Conservation Laws in Deep
    Learning Dynamics, arXiv:2012.04728, for the framework; the witness is our own.

    Examples
    --------
    >>> NoSymmetryWitness().decide(History([{"epoch": 1, "phase": "first", "symmetry_curvature": -0.3}])).swap
    False
    """

    eps: float = 0.0

    claim: ClassVar[Claim | None] = "A"
    hindsight: ClassVar[bool] = False

    def __post_init__(self) -> None:
        at_least("eps", self.eps, 0)

    @property
    def requires(self) -> frozenset[str]:
        """The smallest curvature along a symmetry."""
        return frozenset({"symmetry_curvature"})

    def decide(self, history: History) -> Decision:
        """Look for a witness."""
        what = "the smallest curvature along a symmetry of the model"
        return hold(history, "symmetry_curvature", ">=", 0.0 - self.eps, 1, what)
