"""Calls the user's closure, with or without gradient, and counts what it cost."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from landscape.vectors import flatten

Closure = Callable[[], "Tensor | float"]


@dataclass(frozen=True)
class Evaluation:
    """Loss at the present parameters, and its flat gradient (n,) where it was computed."""

    loss: float
    gradient: Tensor | None = None


class CountedClosure:
    """A closure in the idiom of :class:`torch.optim.LBFGS`, evaluated forward only where that is possible.

    Parameters
    ----------
    closure : callable
        Clears the gradients, computes the loss, calls ``loss.backward()`` if ``loss.requires_grad``, returns the loss.
    params : sequence of Tensor
        What the gradient is collected from. ``grad is None`` counts as zero.
    owner : str
        Who needs it, for messages.
    always_backward : bool
        The closure is known to fail under :class:`torch.no_grad`, so every evaluation computes the gradient.

    Attributes
    ----------
    num_forwards, num_gradients : int
        Evaluations so far; a gradient includes its forward pass, which is not counted again.
    """

    def __init__(
        self, closure: Closure, params: Sequence[Tensor], owner: str = "The optimiser", *, always_backward: bool = False
    ) -> None:
        self.closure = closure
        self.params = params
        self.owner = owner
        self.always_backward = always_backward
        self.num_forwards = 0
        self.num_gradients = 0

    def forward(self) -> Evaluation:
        """Evaluate the loss; the gradient comes along if the closure cannot do without."""
        if self.always_backward:
            return self.gradient()
        self._clear_gradients()
        try:
            with torch.no_grad():
                loss = _as_float(self.closure())
        except RuntimeError as error:
            # The message of autograd when backward() or grad() is called on a result that has recorded no graph.
            if "does not require grad" not in str(error):
                raise
            self.num_forwards += 1
            self.always_backward = True
            return self.gradient()
        if any(param.grad is not None for param in self.params):  # the closure enables gradients itself
            self.num_gradients += 1
            return Evaluation(loss, self._collect_gradient())
        self.num_forwards += 1
        return Evaluation(loss)

    def gradient(self) -> Evaluation:
        """Evaluate the loss and its gradient."""
        self._clear_gradients()
        with torch.enable_grad():
            loss = _as_float(self.closure())
        self.num_gradients += 1
        if all(param.grad is None for param in self.params):
            raise ValueError(
                f"The closure returned the loss {loss:.6g} but left .grad None on all {len(self.params)} parameters. "
                f"{self.owner} needs the gradient: end the closure with `if loss.requires_grad: loss.backward()` "
                "and `return loss`, and check that the loss depends on the parameters given to the optimiser."
            )
        return Evaluation(loss, self._collect_gradient())

    def _clear_gradients(self) -> None:
        """A closure that forgets zero_grad() would otherwise return the sum of all trial gradients."""
        for param in self.params:
            param.grad = None

    def _collect_gradient(self) -> Tensor:
        for index, param in enumerate(self.params):
            if param.grad is not None and param.grad.layout is not torch.strided:
                raise TypeError(
                    f"Parameter {index} of shape {tuple(param.shape)} has a gradient of layout {param.grad.layout}; "
                    f"{self.owner} needs dense gradients. Use sparse=False in the embedding that it belongs to."
                )
        return flatten(torch.zeros_like(param) if param.grad is None else param.grad for param in self.params)


def _as_float(loss: object) -> float:
    if isinstance(loss, Tensor):
        if loss.numel() == 1 and not loss.is_complex():
            return float(loss.detach())
        given = f"a tensor of shape {tuple(loss.shape)} and dtype {loss.dtype}"
    elif isinstance(loss, (int, float)):
        return float(loss)
    else:
        given = f"{loss!r} of type {type(loss).__name__}"
    raise TypeError(f"The closure returned {given}; it has to return the loss, one real number. Add `return loss`.")
