"""Gradient and curvature layer by layer."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Literal

import torch
from torch import Tensor

from landscape.autodiff.flat import fnmatch_escape
from landscape.operators.base import LinearOperator
from landscape.operators.curvature import CurvatureOperator
from landscape.probes.lanczos.lanczos import RitzPair, lanczos
from landscape.probes.layers.result import LayerCurvature, LayerCurvatures
from landscape.probes.spectrum.trace import check_budget, trace
from landscape.problem import Problem
from landscape.status import Status
from landscape.vectors import norm

Quantity = Literal["gradient_norm", "lambda_max", "lambda_min", "trace"]
QUANTITIES: tuple[Quantity, ...] = ("gradient_norm", "lambda_max", "lambda_min", "trace")
#: XTrace states a standard error from so many products on.
_LEAST_TRACE = 4


def layerwise(
    problem: Problem,
    *,
    quantities: Sequence[Quantity] = QUANTITIES,
    by: Literal["module", "parameter"] = "module",
    operator: CurvatureOperator | None = None,
    rtol: float = 1e-2,
    max_matvecs: int = 100,
    num_matvecs: int = 20,
    generator: torch.Generator | None = None,
) -> LayerCurvatures:
    r"""Measure gradient norm, extreme eigenvalues and trace for every layer in one call.

    Parameters
    ----------
    problem : Problem
        Layers are made of the parameters that it varies.
    quantities : sequence of {"gradient_norm", "lambda_max", "lambda_min", "trace"}
        What to measure; norms of the parameters come for nothing.
    by : {"module", "parameter"}
        Whether a layer is the parameters of one module (its own, not its children's), or one tensor.
    operator : CurvatureOperator, optional
        Another matrix or point: ``problem.gauss_newton()``, ``problem.hessian(params)``. Default: ``problem.hessian()``.
    rtol : float
        Tolerance of the eigenvalues; see :func:`landscape.probes.lanczos.lanczos.lanczos`.
    max_matvecs : int
        Products at most for one layer's eigenvalues.
    num_matvecs : int
        Products for one layer's trace, at least 4; a layer of no more parameters than that gets its exact trace.
    generator : torch.Generator, optional
        Source of start and test vectors. Default: a private one, the same at every call.

    Returns
    -------
    LayerCurvatures
        ``rows`` of :class:`LayerCurvature`; ``to_table()`` for a data frame; as a string, a table.

    Raises
    ------
    ValueError
        If a quantity or ``by`` is unknown, a number is out of its range, or the operator is not over the problem's parameters.

    Notes
    -----
    A layer's matrix is the diagonal block :math:`H_{ll}`. Eigenvalues of H interlace those of its blocks:
    :math:`\lambda_{\min}(H) \le \lambda_{\min}(H_{ll})` and :math:`\lambda_{\max}(H_{ll}) \le \lambda_{\max}(H)`, so a
    block of negative curvature proves that H has some, and blocks without prove nothing. The traces of all layers add up to
    that of H.

    All blocks share the graphs of the whole Hessian, which are built once, and differentiate back to their own parameters
    only. Cost: 1 gradient for the graphs, 1 for the gradient norms, and for each layer at most ``max_matvecs`` products
    for both eigenvalues and ``num_matvecs`` for the trace (2 GE each, nominal).

    Examples
    --------
    >>> from landscape.testing.problems import least_squares
    >>> known = least_squares(num_features=3)
    >>> layers = layerwise(known.problem)
    >>> abs(layers["(root)"].trace - known.hessian.trace().item()) < 1e-9, layers["(root)"].lambda_min > 0
    (True, True)
    """
    _check_options(problem, quantities, by, operator, max_matvecs, num_matvecs)
    generator = torch.Generator().manual_seed(0) if generator is None else generator
    before = problem.cost.copy()
    needs_products = any(quantity != "gradient_norm" for quantity in quantities)
    if operator is None and needs_products:
        operator = problem.hessian()
    point = problem.params() if operator is None else operator.params
    gradient = None
    if "gradient_norm" in quantities:
        live = torch.equal(point, problem.params())
        gradient = problem.gradient(None if live else point)
    rows: list[LayerCurvature] = []
    interrupted = False
    for name, tensors in layers_of(problem, by).items():
        block = None
        if operator is not None and needs_products:
            block = operator.restrict([fnmatch_escape(tensor) for tensor in tensors])
        ends = _ends(block, quantities, rtol, max_matvecs, generator)
        interrupted = ends["status"] is Status.INTERRUPTED
        traced = _trace(None if interrupted else block, quantities, num_matvecs, generator)
        rows.append(
            LayerCurvature(
                name=name,
                tensors=tensors,
                num_params=_part(problem, point, tensors).numel(),
                parameter_norm=norm(_part(problem, point, tensors)),
                gradient_norm=None if gradient is None else norm(_part(problem, gradient, tensors)),
                **ends,
                **traced,
                num_matvecs=0 if block is None else block.num_matvecs,
            )
        )
        if interrupted:
            break
    return LayerCurvatures(
        rows=tuple(rows),
        matrix="no matrix" if operator is None or not needs_products else operator.description,
        num_matvecs=sum(row.num_matvecs for row in rows),
        gradient_equivalents=problem.cost.since(before).gradient_equivalents,
        status=Status.CUT_SHORT if interrupted else Status.COMPLETED,
    )


def layers_of(problem: Problem, by: str) -> dict[str, tuple[str, ...]]:
    """The names of each layer's parameters, in the problem's order."""
    layers: dict[str, tuple[str, ...]] = {}
    for tensor in problem.layout.names:
        name = tensor if by == "parameter" else tensor.rpartition(".")[0] or "(root)"
        layers[name] = (*layers.get(name, ()), tensor)
    return layers


def _ends(
    block: LinearOperator | None,
    quantities: Sequence[str],
    rtol: float,
    max_matvecs: int,
    generator: torch.Generator,
) -> dict[str, Any]:
    """Extreme eigenvalues, their residuals and how the search ended, as far as asked for."""
    wanted = [end for end, name in (("smallest", "lambda_min"), ("largest", "lambda_max")) if name in quantities]
    if block is None or not wanted:
        nothing = ("lambda_max", "lambda_max_residual", "lambda_min", "lambda_min_residual")
        return {**dict.fromkeys(nothing), "status": Status.COMPLETED}
    ends = "both" if len(wanted) == 2 else wanted[0]
    found = lanczos(block, ends=ends, rtol=rtol, max_matvecs=max_matvecs, generator=generator)
    low, high = (found.smallest if "smallest" in wanted else None), (found.largest if "largest" in wanted else None)
    rounding = block.product_error * found.norm_estimate

    def residual(pair: RitzPair | None) -> float | None:
        return None if pair is None else max(pair.residual_norm, rounding)

    return {
        "lambda_max": None if high is None else high.value,
        "lambda_max_residual": residual(high),
        "lambda_min": None if low is None else low.value,
        "lambda_min_residual": residual(low),
        "status": found.status,
    }


def _trace(
    block: LinearOperator | None, quantities: Sequence[str], num_matvecs: int, generator: torch.Generator
) -> dict[str, Any]:
    if block is None or "trace" not in quantities:
        value = math.nan if "trace" in quantities else None  # NaN: asked for, but interrupted before
        return {"trace": value, "trace_standard_error": value}
    found = trace(block, num_matvecs=num_matvecs, generator=generator)
    return {"trace": found.value, "trace_standard_error": found.standard_error}


def _part(problem: Problem, vector: Tensor, tensors: Sequence[str]) -> Tensor:
    """The pieces of a flat vector that belong to these parameters, joined."""
    pieces = dict(zip(problem.layout.names, problem.layout.split(vector), strict=True))
    return torch.cat([pieces[name].reshape(-1) for name in tensors])


def _check_options(
    problem: Problem,
    quantities: Sequence[str],
    by: str,
    operator: CurvatureOperator | None,
    max_matvecs: int,
    num_matvecs: int,
) -> None:
    """Refuse what cannot be asked, before any work."""
    unknown = [quantity for quantity in quantities if quantity not in QUANTITIES]
    if isinstance(quantities, str) or unknown or not quantities:
        raise ValueError(
            f"quantities={quantities!r} was given; a sequence of some of {', '.join(map(repr, QUANTITIES))}."
        )
    if by not in ("module", "parameter"):
        raise ValueError(f"by={by!r} was given; it is 'module' or 'parameter'.")
    if max_matvecs < 1:
        raise ValueError(f"max_matvecs={max_matvecs} was given; at least 1.")
    if "trace" in quantities:
        check_budget(num_matvecs, _LEAST_TRACE, problem.num_params, "xtrace")
    if operator is None:
        return
    if not isinstance(operator, CurvatureOperator) or tuple(operator.blocks) != problem.layout.names:
        raise ValueError(
            f"operator is a {type(operator).__name__} over {getattr(operator, 'size', '?')} coordinates; needed is one of "
            f"all {problem.num_params} parameters of this problem: problem.hessian(...) or problem.gauss_newton()."
        )
