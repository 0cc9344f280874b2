"""Policies that ask whether a stochastic first phase has stopped moving and only jitters."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from landscape.policies.base import Claim, Decision
from landscape.policies.settings import at_least, between, positive
from landscape.policies.signals import read
from landscape.tracking.history import History


@dataclass(frozen=True)
class PflugTest:
    r"""Swap once consecutive mini-batch gradients have pointed against each other in sum.

    .. math:: \text{swap} \iff \sum_{s > \text{burn-in}} \overline{\langle g_t, g_{t-1}\rangle}_s < 0,

    the sum over the epochs s of the phase of their mean inner product.

    Parameters
    ----------
    burn_in : int
        Epochs of the phase that do not count. Our own choice.

    Notes
    -----
    On the way down consecutive gradients agree; around a minimum each step is undone by the next. It says *stationary*, not
    *convex*. Weaknesses: derived for plain gradient descent with a constant rate, not for Adam; known to fire too early even
    on quadratics, since the sum is dominated by its noise.

    References
    ----------
    Pflug (1983). Chee, Toulis (2018), Convergence diagnostics for stochastic gradient descent with constant learning rate,
    arXiv:1710.06382. The unreliability: Pesme, Dieuleveut, Flammarion (2020), arXiv:2007.00534.

    Examples
    --------
    >>> dots = [9.0, 1.0, -0.5, -0.7]
    >>> rows = [{"epoch": t, "phase": "first", "gradient_autocorrelation": d} for t, d in enumerate(dots, 1)]
    >>> PflugTest(burn_in=1).decide(History(rows)).swap
    True
    """

    burn_in: int = 1

    claim: ClassVar[Claim | None] = None
    hindsight: ClassVar[bool] = False

    def __post_init__(self) -> None:
        at_least("burn_in", self.burn_in, 0)

    @property
    def requires(self) -> frozenset[str]:
        """The inner products."""
        return frozenset({"gradient_autocorrelation"})

    def decide(self, history: History) -> Decision:
        """Sum what comes after the burn-in."""
        signals = read(history, "gradient_autocorrelation", at_least=self.burn_in + 1)
        if isinstance(signals, Decision):
            return signals
        counted = signals["gradient_autocorrelation"][self.burn_in :]
        total = math.fsum(counted) if all(map(math.isfinite, counted)) else math.nan
        reason = f"the inner products of consecutive gradients sum to {total:.4g} over {len(counted)} epochs"
        return Decision(total < 0, reason, total, {"sum": total, "epochs": float(len(counted))})


@dataclass(frozen=True)
class YaidaTest:
    r"""Swap once stochastic gradient descent with momentum meets the relation that holds in its stationary state.

    With steps :math:`\Delta_t = x_{t+1} - x_t`, rate :math:`\eta` and momentum b of ``torch.optim.SGD``,

    .. math:: z = \langle x_t, g_t \rangle - \frac{1 + b}{2\eta}\,\|\Delta_t\|^2

    has mean 0 in the stationary state. The rule fires when the confidence interval of the mean of z over a window lies within
    :math:`\pm\delta` times the mean of the second term.

    Parameters
    ----------
    momentum : float
        b, in [0, 1). 0.9 is the usual one.
    window : int
        Epochs in the test, at least 3. Our own choice.
    delta : float
        Half-width of what counts as equal. Our own choice.
    confidence : float
        Two-sided level of the interval. Our own choice.

    Notes
    -----
    If :math:`\mathbb E\|x_t\|^2` is constant, then :math:`2\langle x_t, \Delta_t\rangle + \|\Delta_t\|^2` has mean 0, and with
    :math:`\Delta_t = b\Delta_{t-1} - \eta g_t` the relation follows. In the literature's normalisation
    (:math:`d_t = b d_{t-1} + (1-b) g_t` with rate :math:`\eta/(1-b)`) it reads
    :math:`\langle x, g\rangle = \tfrac{\eta'}{2}\tfrac{1+b}{1-b}\|d\|^2`. A row holds means over an epoch, so rows are
    the batches of the batch-means method, and Student's t applies to them.

    It says *stationary*, not *convex*, and holds for the noise of a constant rate. Weaknesses: not derived for Adam; weight
    decay must be part of g; the test can be passed at a saddle.

    References
    ----------
    Yaida (2019), Fluctuation-dissipation relations for stochastic gradient descent, arXiv:1810.00004. Lang, Zhang, Xiao
    (2019), Using Statistics to Automate Stochastic Optimization (SASA), arXiv:1909.09785; the equivalence test is theirs.

    Examples
    --------
    >>> row = {"phase": "first", "learning_rate": 0.1, "position_dot_gradient": 0.95, "update_square": 0.1}
    >>> YaidaTest(window=3).decide(History([{**row, "epoch": t} for t in (1, 2, 3)])).swap
    True
    """

    momentum: float = 0.9
    window: int = 10
    delta: float = 0.05
    confidence: float = 0.9

    claim: ClassVar[Claim | None] = None
    hindsight: ClassVar[bool] = False

    def __post_init__(self) -> None:
        if not 0 <= self.momentum < 1:
            raise ValueError(f"momentum={self.momentum} was given; it must lie in [0, 1).")
        at_least("window", self.window, 3)
        positive("delta", self.delta)
        between("confidence", self.confidence, 0, 1)

    @property
    def requires(self) -> frozenset[str]:
        """The two means and the rate."""
        return frozenset({"position_dot_gradient", "update_square", "learning_rate"})

    def decide(self, history: History) -> Decision:
        """Test over the last epochs."""
        signals = read(history, "position_dot_gradient", "update_square", "learning_rate", window=self.window)
        if isinstance(signals, Decision):
            return signals
        rates = np.array(signals["learning_rate"])
        if not (rates > 0).all():
            return Decision(False, f"learning_rate is not above 0 in one of the last {self.window} epochs")
        expected = (1 + self.momentum) / 2 * np.array(signals["update_square"]) / rates
        mean, half = mean_and_half_width(np.array(signals["position_dot_gradient"]) - expected, self.confidence)
        allowed = self.delta * float(expected.mean())
        score = (abs(mean) + half) / float(expected.mean()) if expected.mean() > 0 else math.nan
        swap = score < self.delta
        reason = (
            f"over {self.window} epochs <x,g> differs from its stationary value {expected.mean():.4g} by {mean:.4g} +- "
            f"{half:.2g}, {'within' if swap else 'not within'} {allowed:.2g}"
        )
        return Decision(swap, reason, score, {"mean": mean, "half_width": half, "allowed": allowed})


@dataclass(frozen=True)
class DistanceSlope:
    r"""Swap once the distance from the start grows no more like that of a walk that gets somewhere.

    With :math:`\Omega_n = \|x_n - x_0\|^2` after n epochs of the phase,

    .. math:: S = \frac{\log \Omega_n - \log \Omega_{n/q}}{\log n - \log (n/q)} < \text{threshold}.

    Parameters
    ----------
    q : float
        Ratio of the two times, above 1. Our own choice.
    threshold : float
        Slope in the doubly logarithmic plot: 2 on a straight march, 1 for a random walk, 0 at rest. Our own choice.
    min_epochs : int
        Epochs of the phase before the rule counts. Our own choice.

    Notes
    -----
    Around a minimum the distance from the start saturates, so the slope goes to 0. It says *stationary*, not *convex*, and
    was derived for gradient descent on quadratics. Time is counted in epochs of the phase. The earlier time is the last
    measured epoch at or before n/q. Weakness: a flat valley, in which one drifts on, does not fire.

    References
    ----------
    Pesme, Dieuleveut, Flammarion (2020), On Convergence-Diagnostic based Step Sizes for Stochastic Gradient Descent,
    arXiv:2007.00534.

    Examples
    --------
    >>> rows = [{"epoch": t, "phase": "first", "distance_from_start": min(t, 4) / 4} for t in range(1, 9)]
    >>> [t for t in range(1, 9) if DistanceSlope().decide(History(rows[:t])).swap]
    [6, 7, 8]
    """

    q: float = 1.5
    threshold: float = 0.6
    min_epochs: int = 5

    claim: ClassVar[Claim | None] = None
    hindsight: ClassVar[bool] = False

    def __post_init__(self) -> None:
        if not 1 < self.q < math.inf:
            raise ValueError(f"q={self.q} was given; it must be above 1 and finite.")
        at_least("min_epochs", self.min_epochs, 2)

    @property
    def requires(self) -> frozenset[str]:
        """The distance."""
        return frozenset({"distance_from_start"})

    def decide(self, history: History) -> Decision:
        """Compare the distance with an earlier one."""
        signals = read(history, "distance_from_start")
        if isinstance(signals, Decision):
            return signals
        distances = signals["distance_from_start"]
        now = signals.positions[-1]
        earlier = [i for i, n in enumerate(signals.positions) if n <= now / self.q and _is_positive(distances[i])]
        if now < self.min_epochs or not earlier or not _is_positive(distances[-1]):
            return Decision(False, f"{now} epochs are too few for a slope (the rule starts at {self.min_epochs})")
        then = signals.positions[earlier[-1]]
        slope = 2 * math.log(distances[-1] / distances[earlier[-1]]) / math.log(now / then)
        swap = slope < self.threshold
        reason = (
            f"from epoch {then} to {now} of the phase the squared distance from the start grew with exponent {slope:.3g}, "
            f"{'below' if swap else 'not below'} {self.threshold:g}"
        )
        return Decision(swap, reason, slope, {"distance": distances[-1], "distance_before": distances[earlier[-1]]})


def _is_positive(value: float) -> bool:
    return value > 0 and math.isfinite(value)


def mean_and_half_width(values: np.ndarray, confidence: float) -> tuple[float, float]:
    """The mean and half the width of its two-sided confidence interval after Student's t."""
    from scipy.stats import t

    error = float(values.std(ddof=1)) / math.sqrt(len(values))
    return float(values.mean()), float(t.ppf((1 + confidence) / 2, len(values) - 1)) * error
