"""What a layer is to a symmetry of scale: what it multiplies, what it lets through, what it forgets."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.conv import _ConvNd, _ConvTransposeNd
from torch.nn.modules.dropout import _DropoutNd
from torch.nn.modules.instancenorm import _InstanceNorm
from torch.nn.modules.pooling import (
    _AdaptiveAvgPoolNd,
    _AdaptiveMaxPoolNd,
    _AvgPoolNd,
    _MaxPoolNd,
)

from landscape.autodiff.flat import ParameterLayout
from landscape.probes.symmetry.blocks import Candidate, Kind, Slice, make_candidate

# f(a x) = a f(x) for a > 0, channel by channel.
_HOMOGENEOUS = (
    *(nn.ReLU, nn.LeakyReLU, nn.PReLU, nn.RReLU, nn.Identity, nn.Flatten, nn.Unflatten, _DropoutNd),
    *(_MaxPoolNd, _AvgPoolNd, _AdaptiveAvgPoolNd, _AdaptiveMaxPoolNd, nn.Upsample, nn.PixelShuffle),
)
_NORMS = (_BatchNorm, _InstanceNorm, nn.LayerNorm, nn.GroupNorm)


def is_homogeneous(module: nn.Module) -> bool:
    """Whether a positive factor passes through the module."""
    return isinstance(module, _HOMOGENEOUS)


def is_linear(module: nn.Module) -> bool:
    """Whether the module multiplies with a weight: linear layers, convolutions, GPT-2's Conv1D."""
    return isinstance(module, (nn.Linear, _ConvNd)) or _is_transposed_linear(module)


def is_norm(module: nn.Module) -> bool:
    """Whether the module normalises; RMS norms are recognised by the name of their class."""
    return isinstance(module, _NORMS) or type(module).__name__.endswith("RMSNorm")


def _is_transposed_linear(module: nn.Module) -> bool:
    """GPT-2's linear layer, whose weight is (in, out)."""
    return type(module).__name__ == "Conv1D" and getattr(module, "weight", None) is not None


def rows_of(module: nn.Module) -> list[Slice]:
    """What scales with the module's outputs: rows of the weight, and the bias; empty if it has none."""
    weight, bias = getattr(module, "weight", None), getattr(module, "bias", None)
    if weight is None or (isinstance(module, nn.LayerNorm) and weight.dim() != 1):
        return []
    if isinstance(module, _ConvTransposeNd) and module.groups > 1:
        return []
    axis = 1 if _is_transposed_linear(module) or isinstance(module, _ConvTransposeNd) else 0
    return [Slice(weight, axis), *([] if bias is None else [Slice(bias, 0)])]


def columns_of(module: nn.Module) -> Slice | None:
    """What multiplies the module's inputs: columns of the weight. None for grouped convolutions (but depthwise ones)."""
    weight = module.weight
    if not isinstance(weight, Tensor):
        return None
    if isinstance(module, _ConvNd) and module.groups > 1:
        depthwise = module.groups == module.in_channels and not isinstance(module, _ConvTransposeNd)
        return Slice(weight, 0) if depthwise else None
    transposed = _is_transposed_linear(module) or isinstance(module, _ConvTransposeNd)
    return Slice(weight, 0 if transposed else 1)


def forgets_scale(norm: nn.Module, *, training: bool | None) -> bool:
    """Whether the norm divides by statistics of its own input; ``training`` None means the module's own mode."""
    if not isinstance(norm, (_BatchNorm, _InstanceNorm)):
        return True
    return norm.running_mean is None or (norm.training if training is None else training)


def pair_candidate(producer: nn.Module, consumers: Sequence[Slice | None], layout: ParameterLayout) -> Candidate | None:
    """W -> a W, b -> a b in a layer and W' -> W' / a in those that read it, with one factor for each unit."""
    rows = rows_of(producer)
    if not rows or not consumers or any(columns is None for columns in consumers):
        return None
    kind: Kind = "norm_linear" if is_norm(producer) else "homogeneous"
    return make_candidate(kind, layout, rows, consumers, units=rows[0].size)


def invariant_candidate(layer: nn.Module, norms: Sequence[nn.Module], layout: ParameterLayout) -> Candidate | None:
    """W -> a W, b -> a b in a layer that is read by norms only, with one factor for what each norm treats as a whole."""
    rows = rows_of(layer)
    if not rows or not norms:
        return None
    counts = {_num_normalised_alone(norm, rows[0].size) for norm in norms}
    units = counts.pop() if len(counts) == 1 else 1
    return make_candidate("scale_invariant", layout, rows, units=units, norms=norms)


def _num_normalised_alone(norm: nn.Module, size: int) -> int:
    """How many parts of ``size`` outputs the norm divides by a scale of their own."""
    if isinstance(norm, (_BatchNorm, _InstanceNorm)):
        return size if norm.num_features == size else 1
    if isinstance(norm, nn.GroupNorm):
        return norm.num_groups if norm.num_channels == size else 1
    weight = getattr(norm, "weight", None)
    shape = getattr(norm, "normalized_shape", None) or (() if weight is None else tuple(weight.shape))
    if len(shape) == 1 and size % shape[0] == 0:
        return size // int(shape[0])
    return 1


def sequential_candidates(model: nn.Module, layout: ParameterLayout, training: bool | None) -> Iterator[Candidate]:
    """Neighbours in ``nn.Sequential``, also when such containers are nested."""
    for module in model.modules():
        if isinstance(module, nn.Sequential):
            chain = list(_flattened(module))
            for position, producer in enumerate(chain):
                found = _along(chain[position + 1 :], producer, layout, training)
                if found is not None:
                    yield found


def _along(
    followers: Sequence[nn.Module], producer: nn.Module, layout: ParameterLayout, training: bool | None
) -> Candidate | None:
    """The candidate of a layer and the first of its followers that a factor does not pass."""
    if not is_linear(producer) and not is_norm(producer):
        return None
    reader = next((module for module in followers if not is_homogeneous(module)), None)
    if reader is None:
        return None
    if is_linear(reader):
        return pair_candidate(producer, [columns_of(reader)], layout)
    if is_norm(reader) and is_linear(producer) and forgets_scale(reader, training=training):
        return invariant_candidate(producer, [reader], layout)
    return None


def _flattened(container: nn.Sequential) -> Iterator[nn.Module]:
    for module in container:
        if isinstance(module, nn.Sequential):
            yield from _flattened(module)
        else:
            yield module
