"""Conditions under which torch's operations can be differentiated twice, and what cannot."""

from __future__ import annotations

import contextlib
import re
import sys
import threading
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import torch
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel

# torch calls the fused function by two names; torch.nn.utils.weight_norm, the attribute, is a function of that module.
_LEGACY: Any = sys.modules["torch.nn.utils.weight_norm"]
_FUSED = torch._weight_norm
_lock = threading.Lock()
_plain_blocks = 0


class SecondDerivativeError(RuntimeError):
    """Something in the loss has no second derivative in torch; the message names it and what to do.

    Parameters
    ----------
    message : str
        What a user reads.
    reason : str
        The part of it that says what has no second derivative.
    """

    def __init__(self, message: str, reason: str = "") -> None:
        super().__init__(message)
        self.reason = reason or message


#: What can be done about it.
REMEDY = (
    "Use method='finite-difference' (products from differences of gradients, with an estimated error), or method='auto' "
    "to have it chosen where it is needed."
)

#: What torch says when an operation cannot be differentiated twice, and in which words we pass it on.
_NO_SECOND_DERIVATIVE = (
    (re.compile(r"derivative for (\S+) is not implemented"), "{} has no second derivative in torch"),
    (re.compile(r"differentiate twice a function that was marked with"), "a custom function is once_differentiable"),
    (
        re.compile(r"[Cc]heckpoint(?:ing)? is (?:not |in)compatible with \.grad\(\)|checkpoint.*use_reentrant"),
        "{reentrant}",
    ),
    (re.compile(r"does not currently support double backward"), "a compiled function cannot be differentiated twice"),
    (re.compile(r"(FlexAttention) does not support backward"), "{} has no backward on this device"),
)
_REENTRANT = "activation checkpointing with use_reentrant=True cannot be differentiated twice (use_reentrant=False can)"


def refuse_once_differentiable(gradients: Iterable[Tensor | None]) -> None:
    """Raise what torch would have raised for functions marked ``once_differentiable``, had anybody asked it.

    They cut their gradients off from the graph and leave a node there that raises when it is reached. With unused
    parameters allowed it never is: products then lack what flows through the function, in silence.
    """
    nodes = [gradient.grad_fn for gradient in gradients if gradient is not None]
    visited = set()
    while nodes:
        node = nodes.pop()
        if node is None or node in visited:
            continue
        if type(node).__name__ == "Error":
            raise RuntimeError("trying to differentiate twice a function that was marked with @once_differentiable")
        visited.add(node)
        nodes.extend(following for following, _ in node.next_functions)


def why_not_twice(error: BaseException) -> str | None:
    """What cannot be differentiated twice, in words, if that is what an error of torch says; else None.

    Examples
    --------
    >>> why_not_twice(NotImplementedError("derivative for '_embedding_bag_backward' is not implemented"))
    '_embedding_bag_backward has no second derivative in torch'
    """
    message = str(error)
    for pattern, words in _NO_SECOND_DERIVATIVE:
        found = pattern.search(message)
        if found:
            operation = found.group(1).strip("'\"") if found.groups() else ""
            return words.format(operation, reentrant=_REENTRANT)
    return None


@contextlib.contextmanager
def twice_differentiable() -> Iterator[None]:
    """Run a block such that what it computes can be differentiated twice, and rightly.

    Attention takes its plain ("math") kernels, since the fused ones have no second derivative (pytorch#116350, #117974).
    ``torch._weight_norm``, whose second derivative is silently wrong, is replaced by its definition. Compiled modules
    run uncompiled. The block must hold the forward pass and every backward pass through it.
    """
    with sdpa_kernel(SDPBackend.MATH), plain_weight_norm(), _uncompiled():
        yield


@contextlib.contextmanager
def plain_weight_norm() -> Iterator[None]:
    """Replace torch's fused weight norm by plain operations.

    Its backward formula ignores the gradient that a second differentiation sends into the saved norms: the Hessian
    comes out unsymmetric, about 30 % off. The values are bitwise the same, so that another thread that meets the
    replacement meanwhile computes what it would have.
    """
    global _plain_blocks
    with _lock:
        _plain_blocks += 1
        torch._weight_norm = _LEGACY._weight_norm = _weight_norm
    try:
        yield
    finally:
        with _lock:
            _plain_blocks -= 1
            if _plain_blocks == 0:
                torch._weight_norm = _LEGACY._weight_norm = _FUSED


def _weight_norm(v: Tensor, g: Tensor, dim: int = 0) -> Tensor:
    return v * (g / torch.norm_except_dim(v, 2, dim))


def _uncompiled() -> contextlib.AbstractContextManager[Any]:
    """Run compiled functions as plain Python; nothing to do (and nothing to import) if nothing was compiled."""
    if "torch._dynamo" not in sys.modules:
        return contextlib.nullcontext()
    stance: Callable[[str], contextlib.AbstractContextManager[Any]] = torch.compiler.set_stance
    return stance("force_eager")
