"""A scale for every parameter, as Adam has it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from landscape.optim.preconditioner.second_moment import second_moments


class DiagonalPreconditioner:
    """S = diag(scale).

    Parameters
    ----------
    scale : Tensor of shape (n,)
        Positive and finite: the unit of every parameter. Multiplying all of them by one number changes the lengths of
        steps, but no direction. Copied.

    Raises
    ------
    TypeError, ValueError
        If it is not.

    Notes
    -----
    A product costs n multiplications.

    Examples
    --------
    >>> half = DiagonalPreconditioner(torch.tensor([0.5, 1.0]))
    >>> half.scale(half.scale_transposed(torch.tensor([4.0, 4.0]))).tolist()
    [1.0, 4.0]
    """

    def __init__(self, scale: Tensor) -> None:
        self.diagonal = check_scale("scale", scale).clone()

    def scale(self, vector: Tensor) -> Tensor:
        """S v."""
        return self.diagonal * vector

    def scale_transposed(self, vector: Tensor) -> Tensor:
        """S v again: S is symmetric."""
        return self.diagonal * vector

    def tensors(self) -> dict[str, Tensor]:
        """The diagonal of S."""
        return {"diagonal": self.diagonal}

    @classmethod
    def from_tensors(cls, tensors: Mapping[str, Tensor]) -> DiagonalPreconditioner:
        """Restore what :meth:`tensors` returned."""
        return cls(tensors["diagonal"])

    def __repr__(self) -> str:
        low, high = (float(end) for end in torch.aminmax(self.diagonal))
        return f"{type(self).__name__}(n={self.diagonal.numel()}, from {low:.3g} to {high:.3g})"


def check_scale(name: str, scale: Tensor) -> Tensor:
    """A flat vector of positive finite numbers, detached."""
    if not isinstance(scale, Tensor):
        raise TypeError(
            f"{name} is a {type(scale).__name__}; a tensor of shape (n,) is needed: torch.as_tensor makes one."
        )
    if scale.dim() != 1 or scale.numel() == 0 or not scale.is_floating_point():
        raise ValueError(
            f"{name} is a {scale.dtype} tensor of shape {tuple(scale.shape)}; a real floating-point one of shape (n,) is "
            "needed, one number for each parameter."
        )
    wrong = ~((scale > 0) & torch.isfinite(scale)).detach()
    if bool(wrong.any()):
        first = int(wrong.nonzero()[0])
        raise ValueError(
            f"{name} has {int(wrong.sum())} of {scale.numel()} entries that are not positive finite numbers in "
            f"{scale.dtype}; the first one is {float(scale[first])} at {first}. Give every parameter a positive scale: "
            "1 leaves it as it is."
        )
    return scale.detach()


def from_adam(
    optimizer: torch.optim.Optimizer, params: Sequence[Tensor], floor: float = 1e-3
) -> DiagonalPreconditioner | None:
    r"""Adam's second moment as a fixed diagonal metric.

    Parameters
    ----------
    optimizer : torch.optim.Optimizer
        Adam, AdamW, NAdam or RMSprop, with all their variants; see
        :func:`landscape.optim.preconditioner.second_moment.second_moments`.
    params : sequence of Tensor
        The order of the coordinates.
    floor : float, default 1e-3
        Part of the largest :math:`\sqrt{v}` that is added to all of them, in place of Adam's epsilon.

    Returns
    -------
    DiagonalPreconditioner or None
        None for other optimisers, before the first step, if all moments are 0, and if one is NaN or infinite.

    Notes
    -----
    :math:`P = S^2 = 1 / (\sqrt{v} + \mathtt{floor} \cdot \max \sqrt{v})`, not normalised: along :math:`-Pg` Adam's
    learning rate is the step size of an Adam without momentum, up to the floor, and serves as the first trial. Every
    P is positive: a coordinate whose gradient was always 0 gets the largest. A parameter that the optimiser never moved
    (it was frozen, or had no gradient) is treated as if its gradients had been of the size of the others': its
    :math:`v` is the mean over all coordinates that have one.

    *Which floor.* On digits after 100 epochs of Adam (64 tanh units, 3 seeds), 400 gradient equivalents of CG and of L-BFGS
    reach losses within 8 % of each other for floors from 1e-6 to 1e-3; 1e-2 is up to 18 % higher, 1e-1 up to 66 %.

    References
    ----------
    Kingma, Ba (2015), Adam, arXiv:1412.6980: v as an estimate of the Fisher matrix's
    diagonal, and why its root is the more careful scale, section 5.

    Examples
    --------
    >>> x = torch.ones(2, requires_grad=True)
    >>> adam = torch.optim.Adam([x])
    >>> x.grad = torch.tensor([1.0, 4.0])
    >>> adam.step()
    >>> P = from_adam(adam, [x], floor=0.0).diagonal ** 2
    >>> [round(value, 4) for value in P.tolist()]
    [1.0, 0.25]
    """
    if not floor >= 0.0:
        raise ValueError(f"floor={floor} was given; a number of at least 0 is needed: 1e-3 is usual.")
    moments = second_moments(optimizer, params)
    if moments is None:
        return None
    known = torch.cat([moment.value.reshape(-1).double() for moment in moments if moment is not None])
    if not bool(torch.isfinite(known).all()) or not bool((known > 0).any()):
        return None
    typical, largest = known.mean(), known.max().sqrt()
    squares = [
        (typical.expand(param.numel()) if moment is None else moment.value.reshape(-1)).double()
        for param, moment in zip(params, moments, strict=True)
    ]
    roots = torch.cat(squares).sqrt() + floor * largest
    scale = roots.rsqrt().to(params[0].dtype)
    return DiagonalPreconditioner(scale) if bool(torch.isfinite(scale).all()) else None
