"""Matrices of second derivatives of a loss at one fixed point."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable, Sequence
from typing import TypeVar

import torch
from torch import Tensor, nn

from landscape.objective import Objective
from landscape.operators.base import LinearOperator

Self = TypeVar("Self", bound="CurvatureOperator")


class CurvatureOperator(LinearOperator):
    """A matrix of second derivatives of a problem's mean loss, at the point where it was made.

    Where the model stands, the live module is differentiated; at another point its parameters are swapped.

    Parameters
    ----------
    objective : Objective
        The loss.
    params : Tensor of shape (n,), optional
        The point. Default: where the model stands. The operator refuses to work once the model has moved on.

    Attributes
    ----------
    blocks : dict of str to slice
        The coordinates of each parameter tensor, for ``restrict("head.*")``.
    """

    #: What the matrix is called in sentences.
    matrix_name = "matrix"
    #: How its products are made, in words.
    by = "double backward"

    def __init__(self, objective: Objective, params: Tensor | None = None) -> None:
        layout = objective.layout
        super().__init__(layout.num_params, layout.dtype, layout.device)
        self.objective = objective
        self._live = params is None
        if params is not None and not isinstance(params, Tensor):
            raise ValueError(
                f"params is a {type(params).__name__}; needed is a vector of shape ({layout.num_params},), or None for where "
                "the model stands."
            )
        with torch.inference_mode(False):
            if params is None:
                self._point = layout.flatten(parameter.detach() for parameter in layout.parameters)
                self._variables: Sequence[Tensor] = layout.parameters
            else:
                self._point = layout.flatten(layout.split(params.detach()))
                self._variables = objective.leaves_at(self._point)
            self._fixed_state = FixedState(objective.model, layout.parameters)
        self._point_pieces = layout.split(self._point)
        self._chosen = tuple(range(len(layout.names)))
        self._set_blocks()

    @abstractmethod
    def _products(self, vectors: Sequence[Tensor]) -> list[Tensor]:
        """The products with several vectors over the chosen parameters, each of shape ``(n,)``."""

    @abstractmethod
    def quadratic_forms(self, direction: Tensor) -> tuple[Tensor, Tensor]:
        """The curvature ``v'H_b v`` of each part of the data, and how much each part counts.

        Parameters
        ----------
        direction : Tensor of shape (n,)
            Any length; not normalised.

        Returns
        -------
        values : Tensor of shape (parts,), float64
            Of the mean loss over each part; their weighted mean is ``v'Hv``.
        weights : Tensor of shape (parts,), float64
            Adding to 1.

        Notes
        -----
        Cost: one product.
        """

    @property
    def params(self) -> Tensor:
        """A copy of the point, of all the problem's parameters."""
        return self._point.clone()

    @property
    def num_samples(self) -> int:
        """Samples that the mean loss runs over."""
        return self.objective.batches.num_samples

    @property
    def description(self) -> str:
        """Which matrix, of which loss, how computed."""
        kind = str(self.dtype).removeprefix("torch.")
        where = (
            "" if len(self._chosen) == len(self.objective.layout.names) else f" in {len(self.blocks)} of its tensors"
        )
        return (
            f"the {self.matrix_name} of the mean loss over these {self.num_samples} samples with respect to {self.size} "
            f"parameters{where}, by {self.by} in {kind}, modules in {self.objective.mode} mode"
        )

    def restrict(self: Self, which: str | Sequence[str] | Tensor | slice) -> LinearOperator:
        """The principal submatrix on some parameters. By name it shares the graphs, and its products cost less."""
        if isinstance(which, (Tensor, slice)):
            return super().restrict(which)
        wanted = set(self.matching_blocks(which))
        part = object.__new__(type(self))
        part.__dict__.update(self.__dict__)
        part._chosen = tuple(index for index in self._chosen if self.objective.layout.names[index] in wanted)
        part._set_blocks()
        part.num_matvecs = 0
        return part

    def _matvec(self, vector: Tensor) -> Tensor:
        with torch.inference_mode(False):
            return self._products([ordinary(vector)])[0]

    def _matmat(self, block: Tensor) -> Tensor:
        if block.shape[1] == 0:
            return torch.zeros_like(block)
        with torch.inference_mode(False):
            return torch.stack(self._products(list(ordinary(block).T.contiguous())), dim=1)

    def _leaves(self) -> Sequence[Tensor] | None:
        return None if self._live else self._variables

    def _chosen_variables(self) -> list[Tensor]:
        return [self._variables[index] for index in self._chosen]

    def _split(self, vector: Tensor) -> list[Tensor]:
        shapes = [self.objective.layout.shapes[index] for index in self._chosen]
        pieces = vector.split([shape.numel() for shape in shapes])
        return [piece.view(shape) for piece, shape in zip(pieces, shapes, strict=True)]

    def _set_blocks(self) -> None:
        layout = self.objective.layout
        start, blocks = 0, {}
        for index in self._chosen:
            blocks[layout.names[index]] = slice(start, start + layout.sizes[index])
            start += layout.sizes[index]
        self.blocks, self.size = blocks, start

    def _check_point(self) -> None:
        """Refuse to go on once the loss is no longer the function that it was, or the model is elsewhere."""
        if self._live:
            for parameter, piece in zip(self._variables, self._point_pieces, strict=True):
                # By value: an edit through .data leaves no other mark.
                if not same_values(parameter.detach(), piece):
                    raise RuntimeError(
                        "the model's parameters have changed since this operator was made, and it belongs to the point "
                        "where they were. Make a new one, or fix the point: problem.hessian(params=problem.params())."
                    )
        changed = self._fixed_state.changed()
        if changed:
            raise RuntimeError(
                f"the loss is another function than when this operator was made: {', '.join(changed)} of the model changed, "
                "which is not varied here but enters the loss (a buffer or a fixed parameter). Make a new operator."
            )


class FixedState:
    """What a model's loss depends on besides the varied parameters, to be compared with later.

    Buffers are compared by value (batch norm writes its statistics without any other mark). Fixed parameters, which may
    be many, by their version counters: an edit through ``.data`` is not seen.
    """

    def __init__(self, model: nn.Module, varied: Iterable[Tensor]) -> None:
        self.model = model
        self._varied = {id(parameter) for parameter in varied}
        self._parameters = self._marks()
        self._buffers = {name: buffer.detach().clone() for name, buffer in model.named_buffers()}

    def changed(self) -> list[str]:
        """Names of what is no longer as it was."""
        now, buffers = self._marks(), dict(self.model.named_buffers())
        names = [name for name in {**self._parameters, **now} if now.get(name) != self._parameters.get(name)]
        for name in {**self._buffers, **buffers}:
            before, after = self._buffers.get(name), buffers.get(name)
            if before is None or after is None or not same_values(before, after):
                names.append(name)
        return names

    def _marks(self) -> dict[str, tuple[int, int]]:
        named = self.model.named_parameters()
        return {name: (p._version, p.data_ptr()) for name, p in named if id(p) not in self._varied}


def ordinary(vectors: Tensor) -> Tensor:
    """Vectors without a graph, and none of those that belong to inference mode."""
    vectors = vectors.detach()
    return vectors.clone() if vectors.is_inference() else vectors


def same_values(a: Tensor, b: Tensor) -> bool:
    """Equal, NaN to NaN."""
    if torch.equal(a, b):
        return True
    return a.shape == b.shape and a.device == b.device and bool(((a == b) | (a.isnan() & b.isnan())).all())
