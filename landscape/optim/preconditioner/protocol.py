"""What a preconditioner has to be able to do."""

from __future__ import annotations

from typing import Protocol, runtime_checkable

from torch import Tensor


@runtime_checkable
class Preconditioner(Protocol):
    r"""A change of variables :math:`x = S y`, which makes :math:`P = S S^\top` the metric of an optimiser.

    An optimiser that works in y has the gradient :math:`S^\top g` and moves x along :math:`S d`. Plain conjugate
    gradients in y are preconditioned conjugate gradients in x, and a quasi-Newton method that starts with
    :math:`\gamma I` in y starts with :math:`\gamma P` in x.

    S has to be invertible and may not change. Both methods take a flat vector of shape ``(n,)``, leave it as it is, and
    return a new one. To be restored from checkpoints a class also has a class method ``from_tensors``, which makes an
    equal object of what :meth:`tensors` returned.
    """

    def scale(self, vector: Tensor) -> Tensor:
        """S v: a direction, from the scaled variables to the parameters."""
        ...

    def scale_transposed(self, vector: Tensor) -> Tensor:
        """S^T g: a gradient, from the parameters to the scaled variables."""
        ...

    def tensors(self) -> dict[str, Tensor]:
        """What a checkpoint keeps: floating-point tensors in the parameters' dtype, none of them empty."""
        ...
