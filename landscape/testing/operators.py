"""The contract of a linear operator, as a check that anybody can run on their own."""

from __future__ import annotations

import math
from typing import NoReturn

import torch
from torch import Tensor

from landscape.operators.base import LinearOperator
from landscape.vectors import dot, norm

# Defects up to this many times what `product_error` admits are rounding: a few products enter each comparison, and their
# errors along a Gaussian vector stay below 6 standard deviations but once in 1e9.
SLACK = 10.0
# Products that the estimate of the norm takes.
NORM_STEPS = 8


def check_operator(
    operator: LinearOperator, *, generator: torch.Generator | None = None, rtol: float | None = None
) -> None:
    r"""Check that an operator is one fixed symmetric matrix that behaves as probes expect.

    Parameters
    ----------
    operator : LinearOperator
        Any subclass.
    generator : torch.Generator, optional
        Source of the test vectors. Default: a private one, the same at every call.
    rtol : float, optional
        Defects allowed, relative to the operator's norm. Default: ten times its ``product_error``.

    Raises
    ------
    AssertionError
        At the first of these that fails, saying what was found and what to do: size, dtype and ``product_error`` make
        sense; a product has the right shape, dtype and device, carries no graph, is finite, is memory of its own, stays
        as it is afterwards, leaves its input and torch's random state alone, and is counted; wrong input is refused with
        ValueError; products are repeatable, linear and symmetric; a block gives what its columns give.

    Notes
    -----
    Symmetry is tested as :math:`|u^\top A v - v^\top A u| \le \mathrm{rtol}\, \|A\| (\|u\| + \|v\|)`: for Gaussian u and
    v, errors of relative size e in the products contribute about :math:`e \|A\|\,\|v\|`, not
    :math:`e \|A\|\,\|u\|\,\|v\|`, so the test is sharper by :math:`\sqrt n`. :math:`\|A\|` is estimated from below by the
    power method.

    Cost: about 25 products.

    Examples
    --------
    >>> from landscape.operators.matrix import MatrixOperator
    >>> check_operator(MatrixOperator(torch.diag(torch.tensor([1.0, 2.0, 3.0]))))
    """
    generator = torch.Generator().manual_seed(0) if generator is None else generator
    _check_declarations(operator)
    tolerance = SLACK * operator.product_error if rtol is None else rtol
    u, v, w = (_gaussian(operator, generator) for _ in range(3))
    first = _check_one_product(operator, u)
    kept = first.clone()
    scale, dominant = _norm_estimate(operator, v)
    if not torch.equal(first, kept):
        _fail("a product given earlier was changed by later products: a buffer is used again. Return new memory.")
    _check_linear(operator, u, v, first, tolerance * scale)
    _check_symmetric(operator, [(u, v), (v, w), (u, dominant)], tolerance * scale)
    _check_block(operator, torch.stack([u, v, dominant], dim=1), tolerance * scale)
    _check_refusals(operator)
    again = norm((operator @ u).double() - first.double())
    if again > tolerance * scale * norm(u):
        _fail(
            f"the same product, asked for twice, differs by {again:.3g} (norm; allowed {tolerance * scale * norm(u):.3g}). "
            "The operator must stand for one fixed matrix: fix the data, the random numbers (dropout) and the running "
            "statistics (batch norm) at construction."
        )


def _check_declarations(operator: LinearOperator) -> None:
    if not isinstance(operator, LinearOperator):
        _fail(f"a {type(operator).__name__} was given. Derive from landscape.operators.base.LinearOperator.")
    if not isinstance(operator.size, int) or operator.size < 1:
        _fail(f"size is {operator.size!r}; it must be an int of at least 1.")
    if not operator.dtype.is_floating_point:
        _fail(f"dtype is {operator.dtype}; it must be real floating point.")
    error = operator.product_error
    if not isinstance(error, float) or not 0.0 <= error < 1.0:
        _fail(
            f"product_error is {error!r}; it says how far a product may be off relative to the norms of matrix and vector, so "
            "it must be a float from 0 to below 1. Leave the property out to get the rounding of the dtype."
        )
    for name, block in operator.blocks.items():
        if not 0 <= block.start <= block.stop <= operator.size:
            _fail(f"block {name!r} is {block}; it must lie within 0 and {operator.size}.")


def _check_one_product(operator: LinearOperator, vector: Tensor) -> Tensor:
    given, before, state = vector.clone(), operator.num_matvecs, torch.get_rng_state()
    product = operator @ vector
    if not torch.equal(given, vector):
        _fail("the product changed the vector that it was given. Write into a new tensor, not in place.")
    if not torch.equal(state, torch.get_rng_state()):
        _fail("the product drew from torch's global random numbers. Probes must leave no trace: use a torch.Generator.")
    _check_result(operator, product, (operator.size,))
    _check_count(operator, before, 1, "a vector")
    if product.untyped_storage().data_ptr() == vector.untyped_storage().data_ptr():
        _fail("the product shares memory with the vector that it was given. Return a new tensor (vector.clone()).")
    if not bool(torch.isfinite(product).all()):
        _fail("the product with a finite vector holds NaN or infinity.")
    return product


def _check_result(operator: LinearOperator, product: Tensor, shape: tuple[int, ...]) -> None:
    if not isinstance(product, Tensor):
        _fail(f"the product is a {type(product).__name__}; it must be a tensor.")
    if tuple(product.shape) != shape:
        _fail(f"the product has shape {tuple(product.shape)}; it must be {shape}.")
    if product.dtype != operator.dtype:
        _fail(f"the product is {product.dtype}, the operator says {operator.dtype}. Both must agree.")
    if product.device != operator.device:
        _fail(f"the product is on {product.device}, the operator says {operator.device}. Both must agree.")
    if product.requires_grad:
        _fail("the product carries an autograd graph, which keeps memory alive. Return product.detach().")


def _check_count(operator: LinearOperator, before: int, expected: int, what: str) -> None:
    counted = operator.num_matvecs - before
    if counted != expected:
        _fail(
            f"the product with {what} raised num_matvecs by {counted}; it must be {expected}. LinearOperator.__matmul__ "
            "counts: override _matvec, or count in your own __matmul__."
        )


def _norm_estimate(operator: LinearOperator, start: Tensor) -> tuple[float, Tensor]:
    """A lower bound on the norm by the power method, with the vector that gave it."""
    vector, estimate = start / norm(start), 0.0
    for _ in range(NORM_STEPS):
        product = operator @ vector
        length = norm(product)
        estimate = max(estimate, length)
        if length == 0.0 or not math.isfinite(length):
            break
        vector = product / length
    return estimate, vector


def _check_linear(operator: LinearOperator, u: Tensor, v: Tensor, image_u: Tensor, allowed: float) -> None:
    image_v = operator @ v
    combined = operator @ (2.0 * u - 3.0 * v)
    defect = norm(combined.double() - 2.0 * image_u.double() + 3.0 * image_v.double())
    limit = allowed * (2.0 * norm(u) + 3.0 * norm(v))
    if not defect <= limit:
        _fail(
            f"products are not linear: A(2u - 3v) and 2Au - 3Av differ by {defect:.3g} (norm; allowed {limit:.3g}). Look for "
            "an added constant, a step length that does not scale with the vector, or a change between products."
        )


def _check_symmetric(operator: LinearOperator, pairs: list[tuple[Tensor, Tensor]], allowed: float) -> None:
    for u, v in pairs:
        left, right = dot(u, operator @ v), dot(v, operator @ u)
        limit = allowed * (norm(u) + norm(v))
        if not abs(left - right) <= limit:
            _fail(
                f"products are not symmetric: u'Av is {left:.9g} and v'Au {right:.9g} (allowed difference {limit:.3g}). "
                "Lanczos needs a symmetric matrix: use (A + A') / 2 if that is meant. For a Hessian it shows that "
                "some layer's derivative is wrong."
            )


def _check_block(operator: LinearOperator, block: Tensor, allowed: float) -> None:
    given, before = block.clone(), operator.num_matvecs
    products = operator @ block
    if not torch.equal(given, block):
        _fail("the product changed the block that it was given. Write into a new tensor, not in place.")
    _check_result(operator, products, tuple(block.shape))
    _check_count(operator, before, block.shape[1], f"a block of {block.shape[1]} columns")
    for i, column in enumerate(block.T):
        defect = norm((operator @ column.contiguous()).double() - products[:, i].double())
        if not defect <= allowed * norm(column):
            _fail(
                f"column {i} of a block product differs from the product with that column by {defect:.3g} (norm; allowed "
                f"{allowed * norm(column):.3g}). A block (n, m) must give the products of its columns, in order."
            )


def _check_refusals(operator: LinearOperator) -> None:
    wrong = {
        "a vector that is one entry too long": torch.zeros(
            operator.size + 1, dtype=operator.dtype, device=operator.device
        ),
        "integers": torch.zeros(operator.size, dtype=torch.int64, device=operator.device),
    }
    for what, vector in wrong.items():
        try:
            operator @ vector
        except ValueError:
            continue
        except Exception as error:
            _fail(
                f"the product with {what} raised {type(error).__name__}; it must be a ValueError that says what is needed."
            )
        _fail(f"the product with {what} was accepted; it must raise ValueError.")


def _gaussian(operator: LinearOperator, generator: torch.Generator) -> Tensor:
    drawn = torch.randn(operator.size, generator=generator, device=generator.device, dtype=torch.float64)
    return drawn.to(device=operator.device, dtype=operator.dtype)


def _fail(message: str) -> NoReturn:
    raise AssertionError(message)
