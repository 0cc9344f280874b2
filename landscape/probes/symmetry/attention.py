"""Where attention has query/key and value/output pairs: found by structure and attribute names."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from torch import nn

from landscape.autodiff.flat import ParameterLayout
from landscape.probes.symmetry.blocks import Candidate, Slice, make_candidate
from landscape.probes.symmetry.scaling import columns_of, is_linear, rows_of

_QUERY = ("query", "q_proj", "q", "wq", "w_q", "W_q", "to_q", "q_lin", "query_proj", "q_linear")
_KEY = tuple(name.replace("query", "key").replace("q", "k") for name in _QUERY)
_VALUE = tuple(name.replace("query", "value").replace("q", "v") for name in _QUERY)
_OUTPUT = (
    *("output", "out_proj", "o_proj", "o", "wo", "w_o", "W_o", "to_out", "out_lin", "out", "proj", "c_proj"),
    *("output_proj", "o_linear", "dense"),
)
_PACKED = ("qkv", "c_attn", "in_proj", "Wqkv", "qkv_proj", "query_key_value", "to_qkv")
_HEADS = ("num_heads", "num_attention_heads", "n_heads", "n_head", "heads", "nhead")
_HEAD_WIDTHS = ("head_dim", "attention_head_size", "dim_head", "d_head", "head_size")


@dataclass(frozen=True)
class _Projections:
    """What a layer of attention multiplies with: rows of weights and biases, and columns of the output's weight."""

    query: list[Slice] | None = None
    key: list[Slice] | None = None
    value: list[Slice] | None = None
    output: list[Slice] | None = None
    num_heads: int = 1


def attention_candidates(model: nn.Module, layout: ParameterLayout) -> Iterator[Candidate]:
    """Query/key and value/output pairs of every layer of attention in the model."""
    for module in model.modules():
        for projections in _projections_of(module):
            for candidate in (_query_key(projections, layout), _value_output(projections, layout)):
                if candidate is not None:
                    yield candidate


def _query_key(found: _Projections, layout: ParameterLayout) -> Candidate | None:
    """The queries of all heads that share a key head are acted on together."""
    if found.query is None or found.key is None or found.query[0].size % found.num_heads:
        return None
    width = found.query[0].size // found.num_heads
    if found.key[0].size % width:
        return None
    units = found.key[0].size // width
    return make_candidate("query_key", layout, found.query, found.key, units=units, width=width)


def _value_output(found: _Projections, layout: ParameterLayout) -> Candidate | None:
    if found.value is None or found.output is None or found.output[0].size % found.num_heads:
        return None
    width = found.output[0].size // found.num_heads
    if found.value[0].size % width:
        return None
    units = found.value[0].size // width
    return make_candidate("value_output", layout, found.value, found.output, units=units, width=width)


def _projections_of(module: nn.Module) -> Iterator[_Projections]:
    if isinstance(module, nn.MultiheadAttention):
        yield _of_torch(module)
        return
    # BERT keeps query, key and value in a child "self", and the matrix that follows in output.dense.
    inner = module._modules.get("self")
    holder = inner if inner is not None and _child(inner, _QUERY) is not None else module
    output = _child(module, _OUTPUT)
    query, key, value = (_child(holder, names) for names in (_QUERY, _KEY, _VALUE))
    if query is not None:
        columns = _columns(output)
        parts = [None if child is None else rows_of(child) for child in (query, key, value)]
        heads = _num_heads(holder, query)
        yield _Projections(parts[0], parts[1], parts[2], columns, heads)
        return
    packed = _child(module, _PACKED)
    if packed is not None:
        yield _of_packed(module, rows_of(packed), output)


def _of_torch(module: nn.MultiheadAttention) -> _Projections:
    """``torch.nn.MultiheadAttention``, with one packed matrix or three, and the extra token that ``add_bias_kv`` adds."""
    width = module.embed_dim
    if is_packed(module):
        weights = [Slice(module.in_proj_weight, 0, i * width, width) for i in range(3)]
    else:
        weights = [Slice(w, 0) for w in (module.q_proj_weight, module.k_proj_weight, module.v_proj_weight)]
    query, key, value = ([weight] for weight in weights)
    if module.in_proj_bias is not None:
        for i, part in enumerate((query, key, value)):
            part.append(Slice(module.in_proj_bias, 0, i * width, width))
    for part, extra in ((key, module.bias_k), (value, module.bias_v)):
        if extra is not None:
            part.append(Slice(extra, 2))
    return _Projections(query, key, value, [Slice(module.out_proj.weight, 1)], module.num_heads)


def _of_packed(module: nn.Module, rows: list[Slice], output: nn.Module | None) -> _Projections:
    """Queries, keys and values one after the other in the rows of one matrix."""
    third = rows[0].size // 3
    parts = [[Slice(row.parameter, row.axis, i * third, third) for row in rows] for i in range(3)]
    heads = _num_heads(module, third)
    return _Projections(parts[0], parts[1], parts[2], _columns(output), heads)


def _columns(output: nn.Module | None) -> list[Slice] | None:
    columns = None if output is None else columns_of(output)
    return None if columns is None else [columns]


def _child(module: nn.Module, names: tuple[str, ...]) -> nn.Module | None:
    """The linear layer of the first of these names; also where it is wrapped with a dropout or a norm."""
    for name in names:
        child = module._modules.get(name)
        if isinstance(child, (nn.ModuleList, nn.Sequential)) and len(child):
            child = child[0]
        elif child is not None and not is_linear(child):
            child = child._modules.get("dense")
        if child is not None and is_linear(child):
            return child
    return None


def _num_heads(module: nn.Module, query: nn.Module | int) -> int:
    """How many heads the layer says it has; 1 if it does not say (the check then allows one common factor only)."""
    size = query if isinstance(query, int) else rows_of(query)[0].size
    for source in (module, getattr(module, "config", None)):
        for name in _HEADS:
            heads = getattr(source, name, None)
            if isinstance(heads, int) and heads > 0 and size % heads == 0:
                return heads
    for name in _HEAD_WIDTHS:
        width = getattr(module, name, None)
        if isinstance(width, int) and width > 0 and size % width == 0:
            return size // width
    return 1


def attention_inputs(module: nn.MultiheadAttention) -> list[Slice]:
    """Columns that read the first, second and third input of ``torch.nn.MultiheadAttention``."""
    if is_packed(module):
        return [Slice(module.in_proj_weight, 1)]
    return [Slice(weight, 1) for weight in (module.q_proj_weight, module.k_proj_weight, module.v_proj_weight)]


def is_packed(module: nn.MultiheadAttention) -> bool:
    """Whether one matrix serves queries, keys and values: they all have the same width."""
    return module._parameters.get("in_proj_weight") is not None
