"""Model and loss as one function of a batch."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import Tensor, nn

#: Computes a loss from a model and a batch of any structure.
Closure = Callable[[nn.Module, Any], Tensor]


class LossModule(nn.Module):
    """Model and loss as one module, so that the parameters can be swapped whatever methods the loss calls."""

    def __init__(self, model: nn.Module, closure: Closure) -> None:
        super().__init__()
        self.model = model
        self.closure = closure

    def forward(self, content: Any) -> Tensor:
        """The loss of one batch."""
        return self.closure(self.model, content)


def supervised(loss_fn: Callable[..., Tensor]) -> Closure:
    """The closure of a loss on outputs and targets."""

    def closure(model: nn.Module, content: Any) -> Tensor:
        inputs, target = as_pair(content)
        return loss_fn(model(inputs), target)

    return closure


def as_pair(content: Any) -> tuple[Any, Any]:
    """Take a batch apart into inputs and targets, or say what else it is."""
    if not isinstance(content, (tuple, list)) or len(content) != 2:
        given = f"{len(content)} items" if isinstance(content, (tuple, list)) else f"a {type(content).__name__}"
        raise ValueError(
            f"a batch holds {given}, but with loss_fn(output, target) it must be a pair (inputs, target). For any other "
            "structure use Problem.from_closure(model, closure, batches)."
        )
    return content[0], content[1]


def checked_scalar(value: Any) -> Tensor:
    """Refuse a loss that is not one real number."""
    if not isinstance(value, Tensor) or value.numel() != 1 or not value.is_floating_point():
        given = f"{value.dtype} of shape {tuple(value.shape)}" if isinstance(value, Tensor) else type(value).__name__
        raise ValueError(
            f"the loss is {given}; it must be one real floating-point number as a tensor. Reduce it with .mean() or .sum()."
        )
    return value if value.dim() == 0 else value.reshape(())


def check_differentiable(value: Tensor) -> None:
    """Refuse a loss that depends on no parameter."""
    if not value.requires_grad:
        raise ValueError(
            "the loss does not depend on any of the chosen parameters (it has no gradient). Check params=..., "
            "requires_grad, and that the loss does not detach the model's output."
        )
