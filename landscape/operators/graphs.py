"""Graphs that are built once at a point and kept for many products, micro-batch by micro-batch, up to a memory budget."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import torch
from torch import Tensor

from landscape.autodiff.guards import NonRepeatableError
from landscape.autodiff.memory import DEFAULT_SHARE, available_memory, count_saved_bytes, reachable_bytes
from landscape.batches import (
    Batch,
    Batches,
    ListedBatches,
    TensorBatches,
    first_two,
    is_splittable,
    map_tensors,
    pieces_of,
    tensors_in,
)
from landscape.objective import Objective, Part
from landscape.vectors import norm

#: What a micro-batch's graph should hold on a CPU. Larger blocks are mapped and unmapped by the allocator at every
#: operation: on a vision transformer products then took a third longer (analyses/benchmarks/curvature.py).
CPU_GRAPH_BYTES = 64 * 2**20
#: Samples in the pilot evaluations from which the size of a graph is learned.
_PILOT = (2, 8)
#: Samples whose loss is compared with that of their pieces before a batch is cut.
_ADDITIVE_SAMPLES = 64
#: A loss that is a mean over samples agrees to rounding between a batch and its pieces.
_ADDITIVE_RTOL = 1e-4
_ADDITIVE_RTOL_HALF = 5e-2
_NOT_SAMPLES = "the batches cannot be cut into samples"
_NOT_ADDITIVE = "the loss of a batch is not the mean over its samples, so batches are not cut"

G = TypeVar("G")


@dataclass(frozen=True)
class GraphPlan:
    """How the data are cut, and how many bytes of graphs may stay.

    Parameters
    ----------
    max_samples : int, optional
        Largest micro-batch; None leaves the batches as they are.
    fixed_bytes, bytes_per_byte : float
        What the graph of m bytes of data holds: ``fixed_bytes + m * bytes_per_byte``.
    keep_bytes : float
        What all kept graphs together may hold; the rest of the budget is for one product's intermediate results.
    note : str
        Why the data are not cut, if they could not be.
    """

    max_samples: int | None
    fixed_bytes: float
    bytes_per_byte: float
    keep_bytes: float
    note: str = ""

    def graph_bytes(self, part: Part) -> float:
        """What the graph of a part of the data is expected to hold."""
        return self.fixed_bytes + _bytes_of(part.content) * self.bytes_per_byte


@dataclass
class KeptGraph(Generic[G]):
    """A graph, the part of the data it belongs to, and the loss seen when it was first built."""

    payload: G | None
    weight: float
    num_samples: int
    value: float


class GraphKeeper(Generic[G]):
    """All graphs of an objective at one point.

    Parameters
    ----------
    objective : Objective
        The loss.
    build : callable
        ``build(part) -> (graph, loss)``: the graph of one part of the data and the value of its loss.
    max_memory : float, optional
        Budget in bytes for the graphs and one product. Default: a quarter of the free memory.
    """

    def __init__(
        self, objective: Objective, build: Callable[[Part], tuple[G, float]], max_memory: float | None = None
    ) -> None:
        if max_memory is not None and not (isinstance(max_memory, (int, float)) and max_memory > 0):
            raise ValueError(f"max_memory={max_memory!r} was given; it is a number of bytes above 0, or None.")
        self.objective = objective
        self.build = build
        self.max_memory = max_memory
        self.plan: GraphPlan | None = None
        self.entries: list[KeptGraph[G]] = []
        self._complete = False

    @property
    def total_weight(self) -> float:
        """What the sum over all parts is divided by; known after a first full pass."""
        return sum(entry.weight for entry in self.entries)

    @property
    def num_kept(self) -> int:
        """How many graphs are held now."""
        return sum(entry.payload is not None for entry in self.entries)

    def release(self) -> None:
        """Let go of all graphs; the next product builds them again."""
        self.entries, self._complete = [], False

    def graphs(self) -> Iterator[tuple[G, KeptGraph[G], bool]]:
        """Every part's graph in order, what is known of the part, and whether the graph is kept."""
        if not self._complete:
            yield from self._first_pass()
        elif self.num_kept == len(self.entries):
            for entry in self.entries:
                assert entry.payload is not None
                yield entry.payload, entry, True
        else:
            yield from self._later_pass()

    def _first_pass(self) -> Iterator[tuple[G, KeptGraph[G], bool]]:
        self.entries = []
        plan = self.plan = self.plan or plan_graphs(self.objective, self.build, self.max_memory)
        held = 0.0
        for part in self.objective.parts(plan.max_samples):
            graph, value = self._built(part)
            held += plan.graph_bytes(part)
            keep = held <= plan.keep_bytes
            entry = KeptGraph(graph if keep else None, part.weight, part.num_samples, value)
            self.entries.append(entry)
            yield graph, entry, keep
            del graph  # before the next one is built
        self._complete = True

    def _later_pass(self) -> Iterator[tuple[G, KeptGraph[G], bool]]:
        assert self.plan is not None
        parts = self.objective.parts(self.plan.max_samples)
        for index, (entry, part) in enumerate(itertools.zip_longest(self.entries, parts)):
            if entry is None or part is None or (entry.weight, entry.num_samples) != (part.weight, part.num_samples):
                raise _changed(f"part {index} of the data holds other samples than in an earlier pass")
            if entry.payload is not None:
                yield entry.payload, entry, True
                continue
            graph, value = self._built(part)
            if not _same(value, entry.value):
                raise _changed(
                    f"the summed loss of part {index} of the data was {entry.value!r} in an earlier pass over them and is "
                    f"{value!r} now, at the same parameters"
                )
            yield graph, entry, False
            del graph

    def _built(self, part: Part) -> tuple[G, float]:
        built = self.build(part)
        self.objective.cost.charge_gradient(part.num_samples)
        return built


def _changed(what: str) -> NonRepeatableError:
    return NonRepeatableError(
        f"{what}. Products need the same data every time: turn off augmentation and shuffling by hand, or collect the "
        "batches in a list."
    )


def plan_graphs(objective: Objective, build: Callable[[Part], tuple[G, float]], max_memory: float | None) -> GraphPlan:
    """Measure what a graph of a few samples holds, and cut the data accordingly."""
    batch = _largest_batch(objective.batches)
    budget = max_memory if max_memory is not None else DEFAULT_SHARE * available_memory(objective.layout.device)
    if not is_splittable(batch):
        size, data = _graph_bytes(objective, build, batch), _bytes_of(batch.content)
        fixed, slope = (0.0, size / data) if data else (float(size), 0.0)
        return GraphPlan(None, fixed, slope, budget - size, _NOT_SAMPLES)
    small, large = (pieces_of(batch, count)[0] for count in _PILOT)
    at_small, at_large = (_graph_bytes(objective, build, piece) for piece in (small, large))
    more = _bytes_of(large.content) - _bytes_of(small.content)
    slope = max(at_large - at_small, 0) / more if more > 0 else at_small / max(_bytes_of(small.content), 1)
    fixed = max(at_small - slope * _bytes_of(small.content), 0.0)
    per_sample = slope * _bytes_of(batch.content) / batch.num_samples
    target = min(CPU_GRAPH_BYTES if objective.layout.device.type == "cpu" else budget / 4, budget / 2)
    most = batch.num_samples if per_sample == 0 else max(1, math.floor((target - fixed) / per_sample))
    if most >= batch.num_samples:
        return GraphPlan(None, fixed, slope, budget - fixed - per_sample * batch.num_samples)
    if not _is_additive(objective, batch):
        return GraphPlan(None, fixed, slope, budget - fixed - per_sample * batch.num_samples, _NOT_ADDITIVE)
    return GraphPlan(most, fixed, slope, budget - fixed - per_sample * most)


def _largest_batch(batches: Batches) -> Batch:
    """Of batches that are at hand, the largest; of others the first, which none but the last differs from in general."""
    if isinstance(batches, ListedBatches):
        return max(batches, key=lambda batch: batch.num_samples)
    return first_two(batches)[0]


def _graph_bytes(objective: Objective, build: Callable[[Part], tuple[G, float]], batch: Batch) -> int:
    held = isinstance(objective.batches, (TensorBatches, ListedBatches))  # else graphs keep what was loaded alive
    content = batch.content if held else map_tensors(torch.clone, batch.content)
    part = next(objective.parts_of([Batch(content, batch.num_samples)]), None)
    if part is None:  # every target in it is ignored
        return 0
    known = [*objective.layout.parameters, *(tensors_in(batch.content) if held else [])]
    objective.cost.charge_gradient(part.num_samples)
    try:
        with count_saved_bytes(known) as saved:
            build(part)
        return saved.total
    except RuntimeError as error:
        if "saved tensor hooks" not in str(error):
            raise
    return reachable_bytes(_tensors_of(build(part)[0]), known)


def _tensors_of(graph: Any) -> list[Tensor]:
    """The tensors in a payload: a list, or an object that holds some."""
    parts = graph if isinstance(graph, (list, tuple)) else list(vars(graph).values())
    return [x for part in parts for x in (part if isinstance(part, (list, tuple)) else [part]) if isinstance(x, Tensor)]


def _bytes_of(content: Any) -> int:
    return sum(tensor.numel() * tensor.element_size() for tensor in tensors_in(content))


def _is_additive(objective: Objective, batch: Batch) -> bool:
    """Whether the loss of many samples is what their pieces' losses add up to, and likewise the gradient of a few.

    Cut into pairs, samples that meet in a loss or in a norm show it more than where large pieces stay together.
    """
    few = pieces_of(batch, _PILOT[1])[0]
    # Not where the model stands: near a minimum there is little but rounding to compare.
    point = objective.nearby_point()
    whole, cut = (objective.over(pieces).loss_and_gradient(point)[1] for pieces in ([few], pieces_of(few, 2)))
    rtol = _ADDITIVE_RTOL if whole.dtype in (torch.float32, torch.float64) else _ADDITIVE_RTOL_HALF
    if norm((whole - cut).double()) > rtol * norm(whole):
        return False
    many = pieces_of(batch, _ADDITIVE_SAMPLES)[0]
    values = [float(objective.over(pieces).loss(point)) for pieces in ([many], pieces_of(many, _PILOT[1]))]
    return _same(values[0], values[1], rtol)


def _same(a: float, b: float, rtol: float = 1e-5) -> bool:
    """Equal to rounding, or neither of them finite."""
    if not (math.isfinite(a) and math.isfinite(b)):
        return not math.isfinite(a) and not math.isfinite(b)
    return abs(a - b) <= rtol * max(abs(a), abs(b)) + 1e-30
