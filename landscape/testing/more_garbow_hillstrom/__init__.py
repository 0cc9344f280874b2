"""The 35 standard problems that optimisers are compared on, with their start points and minima, in float64.

Each is a function that makes a :class:`StandardProblem`; ``STANDARD_PROBLEMS`` holds them all by name.

References
----------
Moré, Garbow, Hillstrom (1981), Testing unconstrained optimization software, ACM Trans. Math. Softw. 7(1).

Examples
--------
>>> import torch
>>> problem = STANDARD_PROBLEMS["wood"]()
>>> params = problem.params()
>>> optimizer = torch.optim.LBFGS([params], max_iter=200, line_search_fn="strong_wolfe")
>>> _ = optimizer.step(problem.closure(params))
>>> bool(problem.function(params) < 1e-6), problem.minima
(True, (0.0,))
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType

from landscape.testing.more_garbow_hillstrom.data_fitting import (
    bard,
    biggs_exp6,
    box,
    brown_dennis,
    gaussian,
    gulf,
    jennrich_sampson,
    kowalik_osborne,
    meyer,
    osborne_1,
    osborne_2,
)
from landscape.testing.more_garbow_hillstrom.few_variables import (
    beale,
    brown_badly_scaled,
    freudenstein_roth,
    helical_valley,
    powell_badly_scaled,
    powell_singular,
    rosenbrock,
    wood,
)
from landscape.testing.more_garbow_hillstrom.many_variables import (
    brown_almost_linear,
    broyden_banded,
    broyden_tridiagonal,
    chebyquad,
    discrete_boundary_value,
    discrete_integral_equation,
    extended_powell_singular,
    extended_rosenbrock,
    linear_full_rank,
    linear_rank_1,
    linear_rank_1_zeros,
    penalty_1,
    penalty_2,
    trigonometric,
    variably_dimensioned,
    watson,
)
from landscape.testing.more_garbow_hillstrom.standard_problem import StandardProblem

_IN_ORDER: tuple[Callable[[], StandardProblem], ...] = (
    rosenbrock,
    freudenstein_roth,
    powell_badly_scaled,
    brown_badly_scaled,
    beale,
    jennrich_sampson,
    helical_valley,
    bard,
    gaussian,
    meyer,
    gulf,
    box,
    powell_singular,
    wood,
    kowalik_osborne,
    brown_dennis,
    osborne_1,
    biggs_exp6,
    osborne_2,
    watson,
    extended_rosenbrock,
    extended_powell_singular,
    penalty_1,
    penalty_2,
    variably_dimensioned,
    trigonometric,
    brown_almost_linear,
    discrete_boundary_value,
    discrete_integral_equation,
    broyden_tridiagonal,
    broyden_banded,
    linear_full_rank,
    linear_rank_1,
    linear_rank_1_zeros,
    chebyquad,
)

#: Makers by name, in the paper's order, each at its default size.
STANDARD_PROBLEMS: Mapping[str, Callable[[], StandardProblem]] = MappingProxyType(
    {maker.__name__: maker for maker in _IN_ORDER}
)

__all__ = [
    "STANDARD_PROBLEMS",
    "StandardProblem",
    "bard",
    "beale",
    "biggs_exp6",
    "box",
    "brown_almost_linear",
    "brown_badly_scaled",
    "brown_dennis",
    "broyden_banded",
    "broyden_tridiagonal",
    "chebyquad",
    "discrete_boundary_value",
    "discrete_integral_equation",
    "extended_powell_singular",
    "extended_rosenbrock",
    "freudenstein_roth",
    "gaussian",
    "gulf",
    "helical_valley",
    "jennrich_sampson",
    "kowalik_osborne",
    "linear_full_rank",
    "linear_rank_1",
    "linear_rank_1_zeros",
    "meyer",
    "osborne_1",
    "osborne_2",
    "penalty_1",
    "penalty_2",
    "powell_badly_scaled",
    "powell_singular",
    "rosenbrock",
    "trigonometric",
    "variably_dimensioned",
    "watson",
    "wood",
]
