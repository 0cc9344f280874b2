"""Graphs that are built once at a point and kept for many products, micro-batch by micro-batch, up to a memory budget."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Generic, TypeVar

import torch

from landscape.autodiff.guards import NonRepeatableError
from landscape.autodiff.memory import DEFAULT_SHARE, available_memory, count_saved_bytes
from landscape.batches import Batch, first_two, is_splittable, pieces_of, tensors_in
from landscape.objective import Objective, Part

#: What a micro-batch's graph should hold on a CPU. Larger blocks are mapped and unmapped by the allocator at every
#: operation: on a vision transformer products then took a third longer (analyses/benchmarks/curvature.py).
CPU_GRAPH_BYTES = 64 * 2**20
#: Samples in the pilot evaluations from which the size of a graph is learned.
_PILOT = (2, 8)
#: A loss that is a mean over samples agrees to rounding between a batch and its pieces.
_ADDITIVE_RTOL = 1e-4

G = TypeVar("G")


@dataclass(frozen=True)
class GraphPlan:
    """How the data are cut, and how many bytes of graphs may stay.

    Parameters
    ----------
    max_samples : int, optional
        Largest micro-batch; None leaves the batches as they are.
    fixed_bytes, bytes_per_sample : float
        What a graph of m samples holds: ``fixed_bytes + m * bytes_per_sample``.
    keep_bytes : float
        What all kept graphs together may hold; the rest of the budget is for one product's intermediate results.
    note : str
        Why the data are not cut, if they could not be.
    """

    max_samples: int | None
    fixed_bytes: float
    bytes_per_sample: float
    keep_bytes: float
    note: str = ""

    def graph_bytes(self, num_samples: int) -> float:
        """What a graph of so many samples is expected to hold."""
        return self.fixed_bytes + num_samples * self.bytes_per_sample


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
        ``build(part, index) -> (graph, loss)``: the graph of one part of the data and the value of its loss.
    max_memory : float, optional
        Budget in bytes for the graphs and one product. Default: a quarter of the free memory.
    """

    def __init__(
        self, objective: Objective, build: Callable[[Part, int], tuple[G, float]], max_memory: float | None = None
    ) -> None:
        if max_memory is not None and not max_memory > 0:
            raise ValueError(f"max_memory={max_memory} was given; it is a number of bytes above 0, or None.")
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
        for index, part in enumerate(self.objective.parts(plan.max_samples)):
            graph, value = self._built(part, index)
            held += plan.graph_bytes(part.num_samples)
            keep = held <= plan.keep_bytes
            entry = KeptGraph(graph if keep else None, part.weight, part.num_samples, value)
            self.entries.append(entry)
            yield graph, entry, keep
            del graph  # before the next one is built
        self._complete = True

    def _later_pass(self) -> Iterator[tuple[G, KeptGraph[G], bool]]:
        assert self.plan is not None
        parts = enumerate(self.objective.parts(self.plan.max_samples))
        for entry, (index, part) in zip(self.entries, parts, strict=True):
            if entry.payload is not None:
                yield entry.payload, entry, True
                continue
            graph, value = self._built(part, index)
            if not _same(value, entry.value):
                raise NonRepeatableError(
                    f"the loss of batch {index} was {entry.value!r} in an earlier pass over the data and is {value!r} now, "
                    "at the same parameters. Products need the same data every time: turn off augmentation and "
                    "shuffling by hand, or collect the batches in a list."
                )
            yield graph, entry, False
            del graph

    def _built(self, part: Part, index: int) -> tuple[G, float]:
        built = self.build(part, index)
        self.objective.cost.charge_gradient(part.num_samples)
        return built


def plan_graphs(
    objective: Objective, build: Callable[[Part, int], tuple[G, float]], max_memory: float | None
) -> GraphPlan:
    """Measure what a graph of a few samples holds, and cut the data accordingly."""
    first, _ = first_two(objective.batches)
    budget = max_memory if max_memory is not None else DEFAULT_SHARE * available_memory(objective.layout.device)
    if not is_splittable(first):
        size = _graph_bytes(objective, build, first)
        return GraphPlan(None, size, 0.0, budget - size, "the batches cannot be cut into samples")
    small, large = (min(count, first.num_samples) for count in _PILOT)
    at_small, at_large = (_graph_bytes(objective, build, pieces_of(first, count)[0]) for count in (small, large))
    sizes = [pieces_of(first, count)[0].num_samples for count in (small, large)]
    slope = max(at_large - at_small, 0) / (sizes[1] - sizes[0]) if sizes[1] > sizes[0] else at_small / sizes[0]
    fixed = max(at_small - slope * sizes[0], 0.0)
    target = min(CPU_GRAPH_BYTES if objective.layout.device.type == "cpu" else budget / 4, budget / 2)
    most = first.num_samples if slope == 0 else max(1, math.floor((target - fixed) / slope))
    if most >= first.num_samples:
        return GraphPlan(None, fixed, slope, budget - fixed - slope * first.num_samples)
    if not _is_additive(objective, first, most):
        note = "the loss of a batch is not the mean over its samples, so batches are not cut"
        return GraphPlan(None, fixed, slope, budget - fixed - slope * first.num_samples, note)
    return GraphPlan(most, fixed, slope, budget - fixed - slope * most)


def _graph_bytes(objective: Objective, build: Callable[[Part, int], tuple[G, float]], batch: Batch) -> int:
    part = next(objective.parts_of([batch]), None)
    if part is None:  # every target in it is ignored
        return 0
    with count_saved_bytes([*objective.layout.parameters, *tensors_in(part.content)]) as saved:
        build(part, 0)
    objective.cost.charge_gradient(part.num_samples)
    return saved.total


def _is_additive(objective: Objective, batch: Batch, max_samples: int) -> bool:
    """Whether the loss of a batch is what its pieces' losses add up to."""
    with torch.no_grad():
        sums = []
        for pieces in ([batch], pieces_of(batch, max_samples)):
            parts = list(objective.parts_of(pieces))
            values = [float(objective.unreduced(objective.evaluate(part.content), part.weight)) for part in parts]
            objective.cost.charge_forward(batch.num_samples)
            sums.append(sum(values) / sum(part.weight for part in parts))
    return _same(sums[0], sums[1], _ADDITIVE_RTOL)


def _same(a: float, b: float, rtol: float = 1e-5) -> bool:
    """Equal to rounding, or neither of them finite."""
    if not (math.isfinite(a) and math.isfinite(b)):
        return not math.isfinite(a) and not math.isfinite(b)
    return abs(a - b) <= rtol * max(abs(a), abs(b)) + 1e-30
