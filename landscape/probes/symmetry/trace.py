"""Which layers read which: taken from the graph of one evaluation of the loss."""

from __future__ import annotations

import contextlib
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn
from torch.autograd.graph import Node

from landscape.batches import tensors_in
from landscape.objective import Objective
from landscape.probes.symmetry.attention import attention_inputs
from landscape.probes.symmetry.blocks import Candidate, Slice
from landscape.probes.symmetry.scaling import (
    columns_of,
    forgets_scale,
    invariant_candidate,
    is_homogeneous,
    is_linear,
    is_norm,
    pair_candidate,
)

# Operations through which a positive factor passes. Whether channels keep their places is for the check to find out.
_HOMOGENEOUS_NODES = frozenset(
    f"{name}Backward{version}"
    for name in (
        *("Relu", "LeakyRelu", "NativeDropout", "Mean", "Sum", "Max", "Amax", "Neg", "Abs"),
        *("View", "UnsafeView", "ReshapeAlias", "Transpose", "T", "Permute", "Clone", "Expand", "Alias", "Movedim"),
        *("Squeeze", "Unsqueeze", "Select", "Slice", "Index", "Contiguous", "AsStrided", "ConstantPadNd", "ToCopy"),
        *("MaxPool2DWithIndices", "AvgPool1D", "AvgPool2D", "AvgPool3D", "MeanDim", "AdaptiveAvgPool2D"),
    )
    for version in range(3)
)
# A product with a constant (the other factor has no gradient): dropout masks, 1 / sqrt(d).
_PRODUCT_NODES = frozenset({"MulBackward0", "DivBackward0"})


@dataclass
class _Call:
    """One call of a layer: the nodes that made its inputs and its output."""

    module: nn.Module
    inputs: list[Node | None]
    output: Node


@dataclass
class _Graph:
    """Calls, which call a node belongs to, and who uses a node."""

    calls: list[_Call] = field(default_factory=list)
    owner: dict[Node, _Call] = field(default_factory=dict)
    users: dict[Node, list[Node]] = field(default_factory=lambda: defaultdict(list))


def traced_candidates(objective: Objective, content: Any) -> Iterator[Candidate]:
    """Candidates among the layers that read each other in the loss of one batch, which is evaluated once."""
    graph = _trace(objective, content)
    times_called = Counter(id(call.module) for call in graph.calls)
    for call in graph.calls:
        if times_called[id(call.module)] > 1 or not (is_linear(call.module) or is_norm(call.module)):
            continue
        readers = _readers(graph, call)
        if readers is None:
            continue
        columns, norms = readers
        candidate = None
        if columns and not norms:
            candidate = pair_candidate(call.module, columns, objective.layout)
        elif norms and not columns and is_linear(call.module):
            training = objective.mode == "train"
            if all(forgets_scale(norm, training=training) for norm in norms):
                candidate = invariant_candidate(call.module, norms, objective.layout)
        if candidate is not None:
            yield candidate


def _trace(objective: Objective, content: Any) -> _Graph:
    graph = _Graph()
    with objective.probing(), torch.enable_grad(), _recorded(objective.model, graph.calls):
        root = objective.evaluate(content).grad_fn
    for call in graph.calls:
        stops = {node for node in call.inputs if node is not None}
        for node in _ancestors(call.output, stops):
            graph.owner[node] = call
    if root is not None:
        for node in _ancestors(root, set()):
            for source, _ in node.next_functions:
                if source is not None:
                    graph.users[source].append(node)
    return graph


@contextlib.contextmanager
def _recorded(model: nn.Module, calls: list[_Call]) -> Iterator[None]:
    """Record the calls of layers with a role while the block runs."""

    def record(module: nn.Module, args: Any, kwargs: dict[str, Any], output: Any) -> None:
        outputs = tensors_in(output)
        inputs = tensors_in(args)
        if isinstance(module, nn.MultiheadAttention):
            # The layer's own inputs, not its masks.
            named = [kwargs[name] for name in ("query", "key", "value") if name in kwargs]
            inputs = [*inputs[:3], *named]
        elif not inputs:
            inputs = tensors_in(list(kwargs.values()))
        if outputs and outputs[0].grad_fn is not None:
            calls.append(_Call(module, [tensor.grad_fn for tensor in inputs], outputs[0].grad_fn))

    handles = [
        module.register_forward_hook(record, with_kwargs=True)
        for module in model.modules()
        if is_linear(module) or is_norm(module) or is_homogeneous(module) or isinstance(module, nn.MultiheadAttention)
    ]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def _ancestors(start: Node, stops: set[Node]) -> list[Node]:
    """``start`` and all nodes it depends on, without leaves and not beyond ``stops``."""
    found: dict[Node, None] = {}
    waiting = [start]
    while waiting:
        node = waiting.pop()
        if node in found or node in stops or node.name().endswith("AccumulateGrad"):
            continue
        found[node] = None
        waiting += [source for source, _ in node.next_functions if source is not None]
    return list(found)


def _readers(graph: _Graph, producer: _Call) -> tuple[list[Slice | None], list[nn.Module]] | None:
    """Columns and norms that read a layer's output through homogeneous operations; None if anything else reads it."""
    columns: list[Slice | None] = []
    norms: list[nn.Module] = []
    waiting, seen = [producer.output], {producer.output}
    while waiting:
        node = waiting.pop()
        for user in graph.users[node]:
            call = graph.owner.get(user)
            following: Node | None = None
            if call is None or call is producer:
                following = user if _is_homogeneous_node(user) else None
            elif is_homogeneous(call.module):
                following = call.output
            elif is_norm(call.module):
                norms += [call.module] if call.module not in norms else []
                continue
            elif (ports := _ports(call, node)) is not None:
                known = {id(port.parameter) for port in columns if port is not None}
                columns += [port for port in ports if port is None or id(port.parameter) not in known]
                continue
            if following is None:
                return None
            if following not in seen:
                seen.add(following)
                waiting.append(following)
    return columns, norms


def _ports(call: _Call, node: Node) -> list[Slice | None] | None:
    """What multiplies the input that ``node`` made; None if the layer is not a linear map of it."""
    if is_linear(call.module):
        return [columns_of(call.module)]
    if isinstance(call.module, nn.MultiheadAttention) and len(call.inputs) == 3:
        slices = attention_inputs(call.module)
        read = [source is node for source in call.inputs]
        if len(slices) == 1:
            return [slices[0]] if all(read) else None
        return [columns for columns, is_read in zip(slices, read, strict=True) if is_read]
    return None


def _is_homogeneous_node(node: Node) -> bool:
    if node.name() in _PRODUCT_NODES:
        return sum(source is not None for source, _ in node.next_functions) == 1
    return node.name() in _HOMOGENEOUS_NODES
