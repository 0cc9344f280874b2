"""Policies that ask for positive curvature along the directions that are used."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

from landscape.policies.base import Claim, Decision
from landscape.policies.settings import at_least, between, one_of, positive
from landscape.policies.signals import hold, judge, read
from landscape.tracking.history import History

_ALONG = {"gradient": "curvature_gradient", "update": "curvature_update", "adam": "curvature_adam"}


@dataclass(frozen=True)
class DirectionalCurvature:
    r"""Swap once the curvature along one direction has been positive several times in a row.

    .. math:: \frac{d^\top H d}{d^\top d} > \text{threshold}

    Parameters
    ----------
    along : {"gradient", "update", "adam"}
        The gradient, the change of the parameters since the row before, or Adam's own direction Pg.
    threshold : float
        What the curvature must exceed. 0 asks for the sign.
    checks : int
        How often in a row. Our own choice.

    Notes
    -----
    Along the gradient this is what the peak of the gradient norm shows under gradient flow. Claim B, for one direction: it
    says nothing about any other. Adam's steps are dominated by directions of large curvature, so along the update it is
    positive early. Cost: one Hessian product per check.

    References
    ----------
    Alain, Le Roux, Manzagol (2019), arXiv:1902.02366. Jastrzebski et al. (2018), arXiv:1807.05031. Xing et al. (2018),
    arXiv:1802.08770, on curvature along the path.

    Examples
    --------
    >>> rows = [{"epoch": t, "phase": "first", "curvature_gradient": c} for t, c in enumerate([-1.0, 2.0, 3.0, 1.0], 1)]
    >>> DirectionalCurvature(checks=3).decide(History(rows)).swap
    True
    """

    along: Literal["gradient", "update", "adam"] = "gradient"
    threshold: float = 0.0
    checks: int = 3

    claim: ClassVar[Claim | None] = "B"
    hindsight: ClassVar[bool] = False

    def __post_init__(self) -> None:
        one_of("along", self.along, _ALONG)
        at_least("checks", self.checks, 1)

    @property
    def requires(self) -> frozenset[str]:
        """The curvature along the direction."""
        return frozenset({_ALONG[self.along]})

    def decide(self, history: History) -> Decision:
        """Ask for the sign, several times."""
        what = f"the curvature along the {'Adam direction' if self.along == 'adam' else self.along}"
        return hold(history, _ALONG[self.along], ">", self.threshold, self.checks, what)


@dataclass(frozen=True)
class ModelAgreement:
    r"""Swap once the quadratic model has predicted the effect of a trial step well, several times in a row.

    .. math:: \rho = \frac{f(x) - f(x + s)}{-g^\top s - \tfrac12 s^\top H s} \in [1 - \epsilon, 1 + \epsilon]

    Parameters
    ----------
    tolerance : float
        :math:`\epsilon`. 1/4: trust-region methods and Hessian-free training enlarge their region above 3/4.
    checks : int
        How often in a row. Our own choice.

    Notes
    -----
    A second-order method works as well as its model does. Claim B, along s and for steps of that length: a model with
    negative curvature may agree too. Cost: one Hessian product and one loss per check.

    References
    ----------
    Nocedal, Wright (2006), Numerical Optimization, Algorithm 4.1. Martens (2010), Deep learning via Hessian-free
    optimization, ICML.

    Examples
    --------
    >>> rows = [{"epoch": t, "phase": "first", "model_agreement": r} for t, r in enumerate([0.2, 0.9, 1.1, 1.0], 1)]
    >>> ModelAgreement().decide(History(rows)).swap
    True
    """

    tolerance: float = 0.25
    checks: int = 3

    claim: ClassVar[Claim | None] = "B"
    hindsight: ClassVar[bool] = False

    def __post_init__(self) -> None:
        between("tolerance", self.tolerance, 0, 1)
        at_least("checks", self.checks, 1)

    @property
    def requires(self) -> frozenset[str]:
        """The agreement."""
        return frozenset({"model_agreement"})

    def decide(self, history: History) -> Decision:
        """Ask for a ratio near 1, several times."""
        signals = read(history, "model_agreement")
        if isinstance(signals, Decision):
            return signals
        ratios = signals["model_agreement"]
        what = f"the distance from 1 of the model's agreement {ratios[-1]:.4g}"
        distances = [abs(ratio - 1) for ratio in ratios]
        return judge(distances, "<=", self.tolerance, self.checks, what, "distance", signals.epochs[-1])


@dataclass(frozen=True)
class GaussNewtonShare:
    r"""Swap once the Hessian along the gradient is the Gauss-Newton matrix but for a small share.

    .. math:: \frac{|g^\top (H - G) g|}{g^\top G g} \le \tau

    Parameters
    ----------
    tau : float
        The share. Our own choice.
    checks : int
        How often in a row. Our own choice.

    Notes
    -----
    G is positive semi-definite wherever the loss is convex in the outputs; H - G is weighted by the residuals and carries all
    negative curvature. A small share means convex up to the residual, along g: claim B. Cost: one Hessian and one
    Gauss-Newton product per check. Weakness: one direction, and piecewise linear networks hide their kinks from H - G.

    References
    ----------
    Dauphin, Agarwala, Mobahi (2024), Neglected Hessian component explains mysteries in sharpness regularization,
    arXiv:2401.10809.

    Examples
    --------
    >>> rows = [{"epoch": t, "phase": "first", "gauss_newton_gap": 0.05} for t in (1, 2, 3)]
    >>> GaussNewtonShare().decide(History(rows)).swap
    True
    """

    tau: float = 0.1
    checks: int = 3

    claim: ClassVar[Claim | None] = "B"
    hindsight: ClassVar[bool] = False

    def __post_init__(self) -> None:
        positive("tau", self.tau)
        at_least("checks", self.checks, 1)

    @property
    def requires(self) -> frozenset[str]:
        """The gap."""
        return frozenset({"gauss_newton_gap"})

    def decide(self, history: History) -> Decision:
        """Ask for a small gap, several times."""
        return hold(
            history, "gauss_newton_gap", "<=", self.tau, self.checks, "the gap between Hessian and Gauss-Newton"
        )


@dataclass(frozen=True)
class TrialCurvature:
    r"""Swap once a trial of linear conjugate gradients meets no negative curvature.

    .. math:: \min_j \frac{p_j^\top H p_j}{p_j^\top p_j} \ge -\epsilon

    over the directions :math:`p_j` of a trial on :math:`(H + 2\epsilon I)s = -g`, which for the damped matrix is the test
    :math:`p^\top (H + 2\epsilon I) p \ge \epsilon\,p^\top p` of capped conjugate gradients.

    Parameters
    ----------
    eps : float
        Negative curvature that is let pass, in units of curvature. 0 asks for none.
    checks : int
        How often in a row.

    Notes
    -----
    Claim B, on the Krylov space that a conjugate-gradient method is going to use: the most direct question that one can ask
    on its behalf. It depends on g: curvature that the gradient has no part in is not met. Cost: one Hessian product per
    iteration of the trial.

    References
    ----------
    Royer, O'Neill, Wright (2020), A Newton-CG algorithm with complexity guarantees for smooth unconstrained optimization,
    arXiv:1803.02924.

    Examples
    --------
    >>> TrialCurvature().decide(History([{"epoch": 1, "phase": "first", "trial_cg_curvature": 0.02}])).swap
    True
    """

    eps: float = 0.0
    checks: int = 1

    claim: ClassVar[Claim | None] = "B"
    hindsight: ClassVar[bool] = False

    def __post_init__(self) -> None:
        at_least("eps", self.eps, 0)
        at_least("checks", self.checks, 1)

    @property
    def requires(self) -> frozenset[str]:
        """The smallest curvature of the trial."""
        return frozenset({"trial_cg_curvature"})

    def decide(self, history: History) -> Decision:
        """Compare the smallest curvature with -eps."""
        what = "the smallest curvature that a trial of conjugate gradients met"
        return hold(history, "trial_cg_curvature", ">=", 0.0 - self.eps, self.checks, what)
