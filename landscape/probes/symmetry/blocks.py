"""Parts of parameters that a symmetry acts on, and candidates made of them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Literal

import torch
from torch import Tensor, nn

from landscape.autodiff.flat import ParameterLayout

#: What makes the loss invariant: the scores of attention, its values, a homogeneous activation, the gain of a norm and
#: the layers that read it, a norm that forgets scale.
Kind = Literal["query_key", "value_output", "homogeneous", "norm_linear", "scale_invariant"]

#: Which matrices A may act, from the most to the fewest: any invertible one in each unit; one that commutes with
#: rotary position embeddings (pairs of coordinates half a head apart, or neighbours); one number in each unit; one
#: number for all units.
Group = Literal["linear", "half_planes", "neighbour_planes", "scaling", "uniform"]


@dataclass(frozen=True)
class Block:
    """A slice of one parameter, seen as ``(units, width, rest)``: for each head or channel, rows that are mixed.

    Attributes
    ----------
    name : str
        The parameter's name.
    index : int
        Its position in the layout.
    axis, start, length : int
        The slice: ``length`` entries along ``axis`` from ``start``.
    units, width : int
        Heads and rows in a head; ``length`` is a multiple of their product. Further repetitions (query heads that share
        a key head, pixels of a channel) count as rest.
    """

    name: str
    index: int
    axis: int
    start: int
    length: int
    units: int
    width: int

    def view(self, tensor: Tensor) -> Tensor:
        """The slice of a tensor of the parameter's shape, as a view ``(units, width, repeats, ...)``."""
        part = tensor.narrow(self.axis, self.start, self.length).movedim(self.axis, 0)
        repeats = self.length // (self.units * self.width)
        view: Tensor = part.unflatten(0, (self.units, repeats, self.width)).movedim(1, 2)
        return view

    def read(self, tensor: Tensor) -> Tensor:
        """The slice as ``(units, width, rest)``."""
        return self.view(tensor).reshape(self.units, self.width, -1)

    def overlaps(self, other: Block) -> bool:
        """Whether the two may have an entry in common (slices along different axes always count as overlapping)."""
        if self.index != other.index:
            return False
        disjoint = self.start + self.length <= other.start or other.start + other.length <= self.start
        return not (self.axis == other.axis and disjoint)


@dataclass(frozen=True)
class Slice:
    """Entries of a parameter along one axis, before it is known how they fall into units."""

    parameter: Tensor
    axis: int
    start: int = 0
    length: int | None = None

    @property
    def size(self) -> int:
        """How many entries along the axis."""
        return int(self.parameter.shape[self.axis]) if self.length is None else self.length


@dataclass(frozen=True)
class Candidate:
    """What may be a symmetry: X -> A X on the covariant blocks, Y -> A^-T Y on the contravariant ones."""

    kind: Kind
    covariant: tuple[Block, ...]
    contravariant: tuple[Block, ...]
    units: int
    width: int
    complete: bool
    """Whether every part of it is free to vary."""
    norms: tuple[nn.Module, ...] = field(default=())
    """Of scale-invariant weights: the norms that forget the scale."""

    @property
    def groups(self) -> tuple[Group, ...]:
        """The groups that may act, from the largest to the smallest."""
        found: list[Group] = []
        if self.width > 1:
            found.append("linear")
            if self.width % 2 == 0:
                found += ["half_planes", "neighbour_planes"]
        if self.units > 1:
            found.append("scaling")
        return (*found, "uniform")

    @property
    def blocks(self) -> tuple[Block, ...]:
        """All blocks."""
        return self.covariant + self.contravariant


def make_candidate(
    kind: Kind,
    layout: ParameterLayout,
    covariant: Iterable[Slice | None],
    contravariant: Iterable[Slice | None] = (),
    *,
    units: int,
    width: int = 1,
    norms: Sequence[nn.Module] = (),
) -> Candidate | None:
    """Make a candidate of slices, or None if one does not divide into the units or a half has nothing free to vary.

    Frozen slices are left out; ``complete`` says whether there were any. A missing bias is given as None.
    """
    first, second = [s for s in covariant if s is not None], [s for s in contravariant if s is not None]
    if any(s.size % (units * width) for s in first + second):
        return None
    position = {id(parameter): index for index, parameter in enumerate(layout.parameters)}

    def free(slices: list[Slice]) -> tuple[Block, ...]:
        found = {id(s.parameter): position[id(s.parameter)] for s in slices if id(s.parameter) in position}
        return tuple(
            Block(layout.names[index], index, s.axis, s.start, s.size, units, width)
            for s in slices
            if (index := found.get(id(s.parameter))) is not None
        )

    X, Y = free(first), free(second)
    blocks = X + Y
    if not X or (second and not Y):
        return None
    if any(a.overlaps(b) for i, a in enumerate(blocks) for b in blocks[:i]):
        return None
    complete = len(blocks) == len(first) + len(second)
    return Candidate(kind, X, Y, units, width, complete, tuple(norms))


def quarter_turn(width: int, *, halves: bool = True) -> Tensor:
    """The antisymmetric matrix J with J² = -I that turns pairs of coordinates by 90 degrees; its last row is 0 if odd.

    Examples
    --------
    >>> quarter_turn(2)
    tensor([[ 0., -1.],
            [ 1.,  0.]], dtype=torch.float64)
    """
    J = torch.zeros(width, width, dtype=torch.float64)
    for i, j in zip(*plane_axes(width, halves=halves), strict=True):
        J[i, j], J[j, i] = -1.0, 1.0
    return J


def plane_axes(width: int, *, halves: bool) -> tuple[list[int], list[int]]:
    """First and second coordinates of the planes: half a head apart, or neighbours."""
    half = width // 2
    if halves:
        return list(range(half)), list(range(half, 2 * half))
    return list(range(0, 2 * half, 2)), list(range(1, 2 * half, 2))
