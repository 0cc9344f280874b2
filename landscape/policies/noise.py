"""Policies that ask whether the noise of mini-batches has become larger than what they say about the gradient."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar, Literal

from landscape.policies.base import Claim, Decision
from landscape.policies.settings import at_least, one_of, positive
from landscape.policies.signals import hold, read
from landscape.tracking.history import History

_TESTS = {"norm": "norm_test_ratio", "inner-product": "inner_product_test_ratio"}


@dataclass(frozen=True)
class NoiseScale:
    r"""Swap once the gradient noise scale exceeds a share of the data.

    .. math:: B_{\text{simple}} = \frac{\operatorname{tr} \Sigma}{\|G\|^2} > \text{share} \cdot N,

    numerator and denominator each averaged over a window first.

    Parameters
    ----------
    share : float
        Of the number of samples N. With 1, even the full batch is noisier, as a sample of the population, than its gradient
        is long, and no mini-batch is economical. Our own choice.
    window : int
        Epochs over which tr(Sigma) and the squared norm are averaged. Our own choice.

    Notes
    -----
    The noise scale is the batch size at which noise and gradient balance; when it reaches N, steps on all data waste
    nothing. It says *deterministic*, not *convex*. The quotient of two estimates is biased, so the averages are taken apart;
    where the averaged squared norm is not above 0, the gradient is lost in noise and the scale counts as infinite.

    References
    ----------
    McCandlish, Kaplan, Amodei et al. (2018), An Empirical Model of Large-Batch Training, arXiv:1812.06162, section 2.2 and
    appendix A.

    Examples
    --------
    >>> row = {"phase": "first", "gradient_variance": 50.0, "gradient_norm_squared_unbiased": 0.1, "dataset_size": 400}
    >>> NoiseScale(window=1).decide(History([{**row, "epoch": 1}])).swap
    True
    """

    share: float = 1.0
    window: int = 5

    claim: ClassVar[Claim | None] = None
    hindsight: ClassVar[bool] = False

    def __post_init__(self) -> None:
        positive("share", self.share)
        at_least("window", self.window, 1)

    @property
    def requires(self) -> frozenset[str]:
        """The two estimates and the number of samples."""
        return frozenset({"gradient_variance", "gradient_norm_squared_unbiased", "dataset_size"})

    def decide(self, history: History) -> Decision:
        """Average, divide, compare."""
        names = ("gradient_variance", "gradient_norm_squared_unbiased", "dataset_size")
        signals = read(history, *names, window=self.window)
        if isinstance(signals, Decision):
            return signals
        variance, squared = (sum(signals[name]) / self.window for name in names[:2])
        scale = variance / squared if squared > 0 else math.inf
        threshold = self.share * signals["dataset_size"][-1]
        swap = variance > 0 and scale > threshold
        reason = (
            f"the gradient noise scale over {self.window} epochs is {scale:.4g} samples, {'above' if swap else 'not above'} "
            f"{threshold:.4g} ({self.share:g} of the data)"
        )
        return Decision(swap, reason, scale, {"variance": variance, "squared_norm": squared, "threshold": threshold})


@dataclass(frozen=True)
class NormTest:
    r"""Swap once mini-batch gradients fail the norm test or the inner-product test.

    .. math:: \frac{\operatorname{Var}_i(g_i)}{b\,\|g_b\|^2} > \theta^2 \qquad\text{or}\qquad
       \frac{\operatorname{Var}_i(g_i^\top g_b)}{b\,\|g_b\|^4} > \theta^2

    Parameters
    ----------
    theta : float
        How large the error of a mini-batch gradient may be beside its length. 0.9: our own choice, within the (0, 1) that the
        theory asks for.
    test : {"norm", "inner-product"}
        Whether the whole error counts, or only what it does to the gradient's own direction.
    checks : int
        Failures in a row. Our own choice.

    Notes
    -----
    The tests decide when a batch must grow; here the answer is to go over to all data at once. They say *deterministic*, not
    *convex*.

    References
    ----------
    Byrd, Chin, Nocedal, Wu (2012), Sample size selection in optimization methods for machine learning, Math. Program. 134.
    Bollapragada, Byrd, Nocedal (2018), Adaptive sampling strategies for stochastic optimization, arXiv:1710.11258.

    Examples
    --------
    >>> rows = [{"epoch": t, "phase": "first", "norm_test_ratio": 1.0} for t in (1, 2, 3)]
    >>> NormTest().decide(History(rows)).swap
    True
    """

    theta: float = 0.9
    test: Literal["norm", "inner-product"] = "norm"
    checks: int = 3

    claim: ClassVar[Claim | None] = None
    hindsight: ClassVar[bool] = False

    def __post_init__(self) -> None:
        positive("theta", self.theta)
        one_of("test", self.test, _TESTS)
        at_least("checks", self.checks, 1)

    @property
    def requires(self) -> frozenset[str]:
        """The ratio of the test."""
        return frozenset({_TESTS[self.test]})

    def decide(self, history: History) -> Decision:
        """Compare the ratio with theta squared."""
        what = f"the {self.test} test's ratio of noise to gradient"
        return hold(history, _TESTS[self.test], ">", self.theta**2, self.checks, what)


@dataclass(frozen=True)
class Evidence:
    r"""Swap once the mini-batch gradient can be explained by noise around zero.

    .. math:: 1 - \frac{b}{D} \sum_{d=1}^{D} \frac{g_d^2}{s_d^2} > 0

    Parameters
    ----------
    checks : int
        Times in a row. Our own choice.

    Notes
    -----
    With per-sample variances :math:`s_d^2`, the sum is D in expectation if the true gradient is 0. Beyond that point a
    mini-batch says no more about the full gradient; a rule for early stopping, used here to call for all data. No claim on
    convexity. Weakness: a diagonal model of the noise.

    References
    ----------
    Mahsereci, Balles, Lassner, Hennig (2017), Early Stopping without a Validation Set, arXiv:1703.09580.

    Examples
    --------
    >>> rows = [{"epoch": t, "phase": "first", "evidence": e} for t, e in enumerate([-2.0, 0.1, 0.2, 0.1], 1)]
    >>> Evidence(checks=3).decide(History(rows)).swap
    True
    """

    checks: int = 3

    claim: ClassVar[Claim | None] = None
    hindsight: ClassVar[bool] = False

    def __post_init__(self) -> None:
        at_least("checks", self.checks, 1)

    @property
    def requires(self) -> frozenset[str]:
        """The evidence."""
        return frozenset({"evidence"})

    def decide(self, history: History) -> Decision:
        """Ask for the sign."""
        return hold(history, "evidence", ">", 0.0, self.checks, "the evidence that the mini-batch gradient is noise")
