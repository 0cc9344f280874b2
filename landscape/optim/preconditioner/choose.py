"""What users give as ``precond``, made into a preconditioner; and its way into checkpoints and back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

import torch
from torch import Tensor

from landscape.optim.preconditioner.diagonal import DiagonalPreconditioner, check_scale, from_adam
from landscape.optim.preconditioner.function import FunctionPreconditioner
from landscape.optim.preconditioner.protocol import Preconditioner
from landscape.optim.preconditioner.ritz import RitzPreconditioner
from landscape.optim.preconditioner.second_moment import WITH_SECOND_MOMENT

PRECONDITIONERS: Mapping[str, type[Any]] = MappingProxyType(
    {"diagonal": DiagonalPreconditioner, "ritz": RitzPreconditioner}
)
"""Classes that a checkpoint restores by name. Checkpoints hold these names: add, never rename."""

_CHOICES = (
    "Give None, 'adam', the first-phase optimiser itself, the diagonal of P as a tensor of shape (n,) or as a list of "
    "tensors like the parameters, an object with scale, scale_transposed and tensors, or a symmetric function v -> S v"
)


def as_preconditioner(given: Any, params: Sequence[Tensor]) -> Preconditioner | None:
    """Understand the option ``precond``.

    Parameters
    ----------
    given : None, "adam", Optimizer, Tensor, sequence of Tensor, Preconditioner or callable
        A tensor, flat, or one for each parameter in its shape, is the diagonal of P; a function multiplies with a symmetric
        S. ``"adam"`` waits for an optimiser to take over from, and is None until then.
    params : sequence of Tensor
        In the order of the coordinates. What is given is converted to their dtype and device.

    Returns
    -------
    Preconditioner or None
        None is the identity.

    Raises
    ------
    TypeError, ValueError
        If it is none of these, does not fit the parameters, or is not positive.
    AsymmetricPreconditionerError
        If a function is not symmetric.
    """
    if given is None or (isinstance(given, str) and given == "adam"):
        return None
    if isinstance(given, str):
        raise ValueError(f"There is no precond={given!r}. {_CHOICES}.")
    if isinstance(given, torch.optim.Optimizer):
        return _from_optimizer(given, params)
    if isinstance(given, Tensor):
        return _from_diagonal(given.detach(), params)
    if isinstance(given, Sequence):
        return _from_diagonal(_joined(given, params), params)
    if isinstance(given, type):
        raise TypeError(f"precond={given.__name__} is a class; an object of it is needed. {_CHOICES}.")
    if isinstance(given, Preconditioner):
        return _fitting(given, params)
    if callable(given):
        return FunctionPreconditioner(given, params)
    raise TypeError(f"precond is a {type(given).__name__}. {_CHOICES}.")


def saved(preconditioner: Preconditioner | None) -> dict[str, Any]:
    """The entry of a ``state_dict``: name and tensors; empty for None.

    The name is a list of numbers, because ``Optimizer.load_state_dict`` takes a string for a sequence of strings without
    end.
    """
    if preconditioner is None:
        return {}
    return {"name": list(_name_of(preconditioner).encode()), "tensors": preconditioner.tensors()}


def restored(content: Mapping[str, Any] | None, given: Preconditioner | None) -> Preconditioner | None:
    """Take back what :func:`saved` made.

    Parameters
    ----------
    content : mapping or None
        None or empty: there was no preconditioner.
    given : Preconditioner or None
        What the optimiser was constructed with; needed only for functions and for classes from elsewhere.

    Raises
    ------
    ValueError
        If what was saved is neither one of :data:`PRECONDITIONERS` nor of the kind that is given.
    """
    if not content:
        return None
    name, tensors = bytes(content["name"]).decode(), dict(content["tensors"])
    if name in PRECONDITIONERS:
        made: Preconditioner = PRECONDITIONERS[name].from_tensors(tensors)
        return made
    if given is None or _name_of(given) != name:
        has = "without one" if given is None else f"with {_name_of(given)}"
        raise ValueError(
            f"This state was saved with precond={name}, which a checkpoint cannot hold, and this optimiser was constructed "
            f"{has}. Construct it with the same precond, then load."
        )
    from_tensors = getattr(type(given), "from_tensors", None)
    again: Preconditioner = from_tensors(tensors) if tensors and from_tensors is not None else given
    return again


def _name_of(preconditioner: Preconditioner) -> str:
    if isinstance(preconditioner, FunctionPreconditioner):
        return f"function {preconditioner.name}"
    for name, kind in PRECONDITIONERS.items():
        if type(preconditioner) is kind:
            return name
    return f"{type(preconditioner).__module__}.{type(preconditioner).__qualname__}"


def _from_optimizer(optimizer: torch.optim.Optimizer, params: Sequence[Tensor]) -> DiagonalPreconditioner:
    kind = type(optimizer).__name__
    if not isinstance(optimizer, WITH_SECOND_MOMENT):
        known = ", ".join(sorted(optimizer.__name__ for optimizer in WITH_SECOND_MOMENT))
        raise ValueError(
            f"precond={kind} keeps no second moment of the gradients; one of {known} is needed. {_CHOICES}."
        )
    made = from_adam(optimizer, params)
    if made is None:
        raise ValueError(
            f"precond={kind} has no scale for these parameters: it has made no step with any of them yet, or its second "
            "moments are 0 or not finite. Train with it first, or pass precond='adam' and take_over(optimizer) later."
        )
    return made


def _joined(tensors: Sequence[Any], params: Sequence[Tensor]) -> Tensor:
    """One tensor per parameter, as a flat vector."""
    shapes = [tuple(param.shape) for param in params]
    given = [tuple(part.shape) if isinstance(part, Tensor) else type(part).__name__ for part in tensors]
    if given != shapes:
        raise ValueError(
            f"precond has the tensors {_shortened(given)}, but the parameters have the shapes {_shortened(shapes)}. Give one "
            "tensor for each parameter, in its shape, or a single one of shape (n,)."
        )
    return torch.cat([part.detach().reshape(-1).to(params[0].device) for part in tensors])


def _shortened(shapes: Sequence[object]) -> str:
    listed = ", ".join(map(str, shapes[:4]))
    return f"[{listed}{', ...' if len(shapes) > 4 else ''}] ({len(shapes)})"


def _from_diagonal(diagonal: Tensor, params: Sequence[Tensor]) -> DiagonalPreconditioner:
    """S from the diagonal of P."""
    size, like = sum(param.numel() for param in params), params[0]
    if diagonal.shape != (size,) or diagonal.is_complex() or diagonal.dtype == torch.bool:
        raise ValueError(
            f"precond is a {diagonal.dtype} tensor of shape {tuple(diagonal.shape)}; the diagonal of P is needed, real and of "
            f"shape ({size},) for the {size} parameters."
        )
    roots = check_scale("precond", diagonal.double()).sqrt()
    return DiagonalPreconditioner(roots.to(dtype=like.dtype, device=like.device))


def _fitting(given: Preconditioner, params: Sequence[Tensor]) -> Preconditioner:
    """The object itself, once it was seen to take vectors of this size and dtype."""
    probe = torch.ones(sum(param.numel() for param in params), dtype=params[0].dtype, device=params[0].device)
    for method in ("scale", "scale_transposed"):
        try:
            product = getattr(given, method)(probe)
        except RuntimeError as error:
            raise ValueError(
                f"precond={type(given).__name__}: {method} failed on a {probe.dtype} vector of shape {tuple(probe.shape)} on "
                f"{probe.device} ({error}). It has to be made for these parameters."
            ) from error
        if not isinstance(product, Tensor) or (product.shape, product.dtype) != (probe.shape, probe.dtype):
            what = f"{product.dtype}, {tuple(product.shape)}" if isinstance(product, Tensor) else type(product).__name__
            raise ValueError(
                f"precond={type(given).__name__}: {method} returned {what} for a {probe.dtype} vector of shape "
                f"{tuple(probe.shape)}. It has to be made for these parameters, and in their dtype."
            )
    return given
