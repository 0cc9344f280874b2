"""Whether a gradient over a sample points well enough, and how large the sample would have to be for that."""

from __future__ import annotations

import math
from dataclasses import dataclass

#: Share of the gradient's norm that its standard error may reach. Our own choice.
DEFAULT_THETA = 0.5
#: A sample grows by this factor at most at a time: a test that was failed by chance then costs little.
MAX_GROWTH = 2.0
#: A sample that would hold more than this share of the data holds all: exact steps then cost hardly more.
ALMOST_ALL = 0.8


@dataclass(frozen=True)
class NormTest:
    """The outcome of :func:`norm_test`.

    Attributes
    ----------
    passed : bool
        Whether the sample is large enough.
    ratio : float
        Standard error of the gradient over its norm; passed if at most theta. NaN if it is not known.
    needed : int
        The smallest sample with which a gradient of this norm and variance would pass; all data where it is not known.
    """

    passed: bool
    ratio: float
    needed: int

    def __str__(self) -> str:
        verdict = "passed" if self.passed else "failed"
        error = f"the gradient's standard error is {self.ratio:.3g} of its norm"
        return f"norm test {verdict}: {error}; {self.needed} samples needed"


def norm_test(variance: float, gradient_norm: float, size: int, num_samples: int, theta: float) -> NormTest:
    r"""Compare the standard error of a gradient over a sample with the gradient's norm.

    Parameters
    ----------
    variance : float
        Trace of the covariance of the gradients of single samples, with divisor ``num_samples - 1``; NaN if unknown.
    gradient_norm : float
        Norm of the gradient over the sample.
    size : int
        Samples in the sample, drawn without replacement.
    num_samples : int
        Samples in the data.
    theta : float
        Standard error that is allowed, as a share of the norm.

    Returns
    -------
    NormTest
        A sample that holds all data passes, whatever the numbers say. With a variance that is not finite any other fails.

    Notes
    -----
    With :math:`v` the variance, :math:`k` of :math:`N` samples and :math:`g` their gradient, the test is

    .. math:: \frac{v}{k} \Bigl(1 - \frac{k}{N}\Bigr) \le \theta^2 \|g\|^2 ,

    where the bracket is exact for samples without replacement. Solved for k, :math:`k \ge v / (\theta^2 \|g\|^2 + v / N)`,
    never more than N. Below :math:`\theta = 1` the direction :math:`-g` descends on all data in expectation.

    References
    ----------
    Byrd, Chin, Nocedal, Wu (2012), Sample size selection in optimization methods for machine learning, Math. Program. 134,
    equations 3.3 to 3.12 (there without the bracket in the new size).

    Examples
    --------
    >>> test = norm_test(variance=100.0, gradient_norm=0.5, size=100, num_samples=10_000, theta=0.5)
    >>> test.passed, test.needed
    (False, 1380)
    >>> print(norm_test(100.0, 0.5, test.needed, 10_000, theta=0.5))
    norm test passed: the gradient's standard error is 0.5 of its norm; 1380 samples needed
    """
    if size >= num_samples:
        return NormTest(True, 0.0, num_samples)
    if not (math.isfinite(variance) and math.isfinite(gradient_norm)):
        return NormTest(False, math.nan, num_samples)
    error = math.sqrt(variance / size * (1.0 - size / num_samples))
    allowed = theta * gradient_norm
    passed = error <= allowed
    ratio = error / gradient_norm if gradient_norm > 0.0 else math.inf if error > 0.0 else 0.0
    if variance == 0.0:
        return NormTest(passed, ratio, 1)
    target = allowed * allowed + variance / num_samples
    needed = math.ceil(min(variance / target, num_samples)) if target > 0.0 else num_samples
    # Rounding must not let the size that was asked for fail: what the test itself says counts.
    needed = min(needed, size) if passed else max(needed, size + 1)
    return NormTest(passed, ratio, min(needed, num_samples))


def grown_size(test: NormTest, size: int, num_samples: int, max_growth: float = MAX_GROWTH) -> int:
    """The next size of a sample: what a failed test asks for, at most ``max_growth`` times as large; else the same.

    A sample that would grow beyond 80 % of the data becomes all of them.

    Examples
    --------
    >>> grown_size(NormTest(False, 2.0, 1380), 100, 10_000), grown_size(NormTest(True, 0.4, 70), 100, 10_000)
    (200, 100)
    """
    if test.passed:
        return size
    grown = max(size + 1, min(test.needed, int(size * max_growth)))
    return num_samples if grown > ALMOST_ALL * num_samples else grown
