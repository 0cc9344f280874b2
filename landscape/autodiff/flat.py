"""One flat vector for many parameter tensors."""

from __future__ import annotations

import fnmatch
from collections.abc import Iterable, Mapping, Sequence

import torch
from torch import Tensor, nn


class ParameterLayout:
    """Which parameters of a model are varied, and where each one lies in a flat vector of shape ``(n,)``.

    Tied weights appear once; frozen parameters (``requires_grad=False``) do not appear.

    Parameters
    ----------
    model : nn.Module
        The model whose parameters are laid out, in the order of ``named_parameters()``.
    patterns : str or sequence of str, optional
        Globs on parameter names (``"head.*"``); a parameter is taken if any of them matches. Default: all.

    Raises
    ------
    ValueError
        If nothing is left to vary, or the parameters are complex, sparse, or of several dtypes or devices.

    Examples
    --------
    >>> layout = ParameterLayout(nn.Linear(3, 2))
    >>> layout.num_params, layout.names
    (8, ('weight', 'bias'))
    """

    def __init__(self, model: nn.Module, patterns: str | Sequence[str] | None = None) -> None:
        named = _select(model, patterns)
        self.names = tuple(named)
        self.parameters: tuple[nn.Parameter, ...] = tuple(named.values())
        _check_uniform(named)
        self.shapes = tuple(parameter.shape for parameter in self.parameters)
        self.sizes = tuple(parameter.numel() for parameter in self.parameters)
        self.num_params = sum(self.sizes)
        self.dtype = self.parameters[0].dtype
        self.device = self.parameters[0].device

    @property
    def globs(self) -> list[str]:
        """Patterns that choose exactly these parameters, also of a copy of the model."""
        return [fnmatch_escape(name) for name in self.names]

    def flatten(self, tensors: Iterable[Tensor]) -> Tensor:
        """Join one tensor per parameter, in the layout's order, to a vector of shape ``(n,)``: always a copy."""
        return torch.cat([tensor.reshape(-1) for tensor in tensors])

    def split(self, vector: Tensor) -> list[Tensor]:
        """Views into ``vector`` in the shapes of the parameters."""
        self.check_vector(vector)
        pieces = vector.split(self.sizes)
        return [piece.view(shape) for piece, shape in zip(pieces, self.shapes, strict=True)]

    def check_vector(self, vector: Tensor) -> None:
        """Refuse a vector that does not fit this layout."""
        if vector.shape != (self.num_params,):
            raise ValueError(
                f"params has shape {tuple(vector.shape)}, but this problem varies {self.num_params} parameters, so a "
                f"vector of shape ({self.num_params},) is needed. Take problem.params() as a starting point."
            )
        if vector.dtype != self.dtype or vector.device != self.device:
            raise ValueError(
                f"params is {vector.dtype} on {vector.device}, but the model's parameters are {self.dtype} on "
                f"{self.device}. Convert it with params.to(device={str(self.device)!r}, dtype={self.dtype})."
            )


def fnmatch_escape(name: str) -> str:
    """A glob that matches this name only."""
    return "".join(f"[{character}]" if character in "*?[" else character for character in name)


def _select(model: nn.Module, patterns: str | Sequence[str] | None) -> dict[str, nn.Parameter]:
    """The trainable parameters whose names match, by name."""
    trainable = {name: parameter for name, parameter in model.named_parameters() if parameter.requires_grad}
    if not trainable:
        raise ValueError(
            f"{type(model).__name__} has no trainable parameter: every one has requires_grad=False, or there is none. "
            "Set requires_grad_(True) on the parameters to be varied."
        )
    if patterns is None:
        return trainable
    globs = [patterns] if isinstance(patterns, str) else list(patterns)
    for glob in globs:
        if not any(fnmatch.fnmatchcase(name, glob) for name in trainable):
            raise ValueError(
                f"params={glob!r} matches no trainable parameter. The names are: {', '.join(trainable)}. "
                "Patterns are globs: '*' stands for anything."
            )
    return {name: p for name, p in trainable.items() if any(fnmatch.fnmatchcase(name, glob) for glob in globs)}


def _check_uniform(named: Mapping[str, Tensor]) -> None:
    """One real floating dtype and one device: a flat vector has no more than one of each."""
    for name, parameter in named.items():
        if parameter.layout != torch.strided or not parameter.is_floating_point():
            raise ValueError(
                f"parameter {name!r} is {parameter.dtype} with layout {parameter.layout}; only dense real floating-point "
                "parameters can be varied. Freeze it (requires_grad_(False)) or leave it out with params=[...]."
            )
    kinds = {(parameter.dtype, parameter.device): name for name, parameter in named.items()}
    if len(kinds) > 1:
        listed = "; ".join(f"{name!r} is {dtype} on {device}" for (dtype, device), name in kinds.items())
        raise ValueError(
            f"the parameters are not of one dtype on one device: {listed}. Convert the model (model.to(...)) or choose "
            "some with params=[...]."
        )
