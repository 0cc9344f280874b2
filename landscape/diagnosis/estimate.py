"""What a diagnosis is going to cost, from a gradient and a product over a few samples that are timed."""

from __future__ import annotations

import time
from collections.abc import Callable

from landscape.autodiff.twice import SecondDerivativeError
from landscape.cost import PRODUCT_IN_GRADIENTS
from landscape.diagnosis.diagnosis import CostEstimate
from landscape.diagnosis.workbench import Workbench
from landscape.problem import Problem
from landscape.vectors import norm

#: Samples that are timed, at most; an eighth of the data where there are fewer.
TIMED_SAMPLES = 64
#: Where the first batch is all data and cannot be cut, timing takes 6 GE: only with a budget of this many.
_LEAST_BUDGET = 20.0


def estimated(bench: Workbench, prices: float) -> CostEstimate:
    """Time one gradient and one product, and scale them to all data.

    Parameters
    ----------
    bench : Workbench
        Gets ``stretch`` from the product.
    prices : float
        Of all measurements, in gradient equivalents.

    Notes
    -----
    Cost: 7 gradients over the samples that are timed, about 1 GE at most. Where the data cannot be cut it is the gradient over
    all of them, which is needed anyway, and 6 GE more.
    """
    few = bench.problem.on_few_samples(min(TIMED_SAMPLES, -(-bench.problem.num_samples // 8)))
    scale = bench.problem.num_samples / few.num_samples
    if scale > 1.0:
        product = _seconds_of_product(few, bench)
        gradient = _seconds(few.loss_and_gradient) * scale
    else:
        gradient = _seconds(lambda: bench.loss)
        product = _seconds_of_product(few, bench) if bench.budget >= _LEAST_BUDGET else None
    share = PRODUCT_IN_GRADIENTS if product is None else product * scale / max(gradient, 1e-9)
    work = min(prices + bench.spent, bench.budget)
    return CostEstimate(work, work * gradient * max(1.0, share / PRODUCT_IN_GRADIENTS), gradient, share)


def _seconds_of_product(few: Problem, bench: Workbench) -> float | None:
    """Of a product with the gradient's direction, after one that builds the graphs; None if there is no such product."""
    gradient = few.gradient()
    length = norm(gradient)
    hessian = few.hessian(verify=False)
    direction = gradient / length if 0.0 < length < float("inf") else gradient
    try:
        product = hessian @ direction
    except SecondDerivativeError:
        return None
    seconds = _seconds(lambda: hessian @ direction)
    bench.stretch = norm(product) / max(norm(direction), 1e-30)
    return seconds


def _seconds(function: Callable[[], object]) -> float:
    started = time.perf_counter()
    function()
    return time.perf_counter() - started
