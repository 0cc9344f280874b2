"""Every family of layers, attention call and loss in torch.nn as a tiny problem."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils import parametrizations
from torch.nn.utils.weight_norm import weight_norm as old_weight_norm

from landscape import Problem
from tests.operators.references import vector


class Call(nn.Module):
    """A layer between two small linear maps, so that curvature flows through its inputs and its parameters."""

    def __init__(self, layer: Any, shape: tuple[int, ...], call: Callable[..., Any] | None = None) -> None:
        super().__init__()
        self.shape = shape
        self.enter = nn.Linear(3, int(torch.tensor(shape).prod()))
        self.layer = layer if isinstance(layer, nn.Module) else nn.Identity()
        self.call = call or (lambda layer, x: layer(x))
        if not isinstance(layer, nn.Module):
            self.call = lambda _, x: layer(x)

    def forward(self, inputs: Tensor) -> Tensor:
        hidden = self.enter(inputs).reshape(len(inputs), *self.shape)
        outputs = self.call(self.layer, hidden)
        outputs = outputs if isinstance(outputs, Tensor) else outputs[0]
        return outputs.reshape(len(inputs), -1)


class Tokens(nn.Module):
    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        self.layer = layer
        self.head = nn.Linear(3, 2)

    def forward(self, inputs: Tensor) -> Tensor:
        tokens = (inputs[:, :2].abs() * 3).long().clamp(max=5)
        hidden = self.layer(tokens)
        return torch.tanh(self.head(hidden if hidden.dim() == 2 else hidden.mean(dim=1)))


def attend(**settings: Any) -> Callable[[Tensor], Tensor]:
    return lambda x: F.scaled_dot_product_attention(x, torch.tanh(x), x.sin(), **settings)


def self_attention(need_weights: bool) -> Callable[..., Tensor]:
    return lambda layer, x: layer(x, x, x, need_weights=need_weights)[0]


def scanned(layer: nn.Module, x: Tensor) -> Tensor:
    state = None
    for step in x.unbind(1):
        state = layer(step, state)
    return state if isinstance(state, Tensor) else state[0]


def grid(x: Tensor) -> Tensor:
    steps = torch.linspace(-0.8, 0.8, 3, dtype=x.dtype)
    where = torch.stack(torch.meshgrid(steps, steps, indexing="xy"), dim=-1)
    return F.grid_sample(x[:, :1], where.expand(len(x), 3, 3, 2) + 0.1 * x[:, 1:].mean(), align_corners=True)


def old_norm(layer: nn.Module) -> nn.Module:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        return old_weight_norm(layer)


SEQUENCE, LINE, IMAGE, VOLUME = (3, 4), (2, 6), (2, 4, 4), (1, 2, 4, 4)
_ACTIVATIONS = [
    "CELU",
    "ELU",
    "GELU",
    "GLU",
    "Hardshrink",
    "Hardsigmoid",
    "Hardswish",
    "Hardtanh",
    "LeakyReLU",
    "LogSigmoid",
    "Mish",
    "PReLU",
    "RReLU",
    "ReLU",
    "ReLU6",
    "SELU",
    "SiLU",
    "Sigmoid",
    "Softplus",
    "Softshrink",
    "Softsign",
    "Tanh",
    "Tanhshrink",
]

LAYERS: dict[str, Callable[[], nn.Module]] = {
    **{name: lambda name=name: Call(getattr(nn, name)(), (6,)) for name in _ACTIVATIONS},
    **{name: lambda name=name: Call(getattr(nn, name)(dim=1), (6,)) for name in ("LogSoftmax", "Softmax", "Softmin")},
    "GELU_tanh": lambda: Call(nn.GELU("tanh"), (6,)),
    "Threshold": lambda: Call(nn.Threshold(0.1, 0.0), (6,)),
    "Softmax2d": lambda: Call(nn.Softmax2d(), IMAGE),
    "ReLU_in_place": lambda: Call(nn.ReLU(inplace=True), (6,), lambda layer, x: layer(x * 1.0)),
    "Linear": lambda: Call(nn.Linear(6, 2), (6,)),
    "Bilinear": lambda: Call(nn.Bilinear(3, 4, 2), (7,), lambda layer, x: layer(x[:, :3], x[:, 3:])),
    "Conv1d": lambda: Call(nn.Conv1d(2, 2, 3, padding=1), LINE),
    "Conv2d": lambda: Call(nn.Conv2d(2, 2, 3, stride=2, padding=1), IMAGE),
    "Conv2d_grouped": lambda: Call(nn.Conv2d(2, 4, 3, groups=2, dilation=2, padding=2), IMAGE),
    "Conv3d": lambda: Call(nn.Conv3d(1, 2, 2), VOLUME),
    "ConvTranspose1d": lambda: Call(nn.ConvTranspose1d(2, 1, 3, stride=2), LINE),
    "ConvTranspose2d": lambda: Call(nn.ConvTranspose2d(2, 1, 2, stride=2), IMAGE),
    "ConvTranspose3d": lambda: Call(nn.ConvTranspose3d(1, 1, 2), VOLUME),
    **{
        f"{kind}Pool{dim}d": lambda kind=kind, dim=dim: Call(
            getattr(nn, f"{kind}Pool{dim}d")(2), {1: LINE, 2: IMAGE, 3: VOLUME}[dim]
        )
        for kind in ("Max", "Avg", "AdaptiveAvg", "AdaptiveMax")
        for dim in (1, 2, 3)
    },
    "LPPool1d": lambda: Call(nn.LPPool1d(2, 2), LINE),
    "LPPool2d": lambda: Call(nn.LPPool2d(2, 2), IMAGE, lambda layer, x: layer(x.exp())),
    "MaxUnpool2d": lambda: Call(
        nn.MaxPool2d(2, return_indices=True), IMAGE, lambda layer, x: F.max_unpool2d(*layer(x), kernel_size=2)
    ),
    "FractionalMaxPool2d": lambda: Call(
        nn.FractionalMaxPool2d(2, output_size=2, _random_samples=torch.full((5, 2, 2), 0.3).double()), IMAGE
    ),
    **{f"BatchNorm{dim}d": lambda dim=dim: _batch_norm(dim) for dim in (1, 2, 3)},
    **{
        f"InstanceNorm{dim}d": lambda dim=dim: Call(
            getattr(nn, f"InstanceNorm{dim}d")(2 if dim < 3 else 1, affine=True), {1: LINE, 2: IMAGE, 3: VOLUME}[dim]
        )
        for dim in (1, 2, 3)
    },
    "LayerNorm": lambda: Call(nn.LayerNorm(6), (6,)),
    "RMSNorm": lambda: Call(nn.RMSNorm(6), (6,)),
    "GroupNorm": lambda: Call(nn.GroupNorm(2, 4), (4, 3)),
    "LocalResponseNorm": lambda: Call(nn.LocalResponseNorm(2), IMAGE),
    "MultiheadAttention": lambda: Call(nn.MultiheadAttention(4, 2, batch_first=True), SEQUENCE, self_attention(False)),
    "MultiheadAttention_weights": lambda: Call(
        nn.MultiheadAttention(4, 2, batch_first=True), SEQUENCE, self_attention(True)
    ),
    "attention": lambda: Call(attend(), (2, 3, 4)),
    "attention_causal": lambda: Call(attend(is_causal=True), (2, 3, 4)),
    "attention_mask": lambda: Call(attend(attn_mask=torch.eye(3, dtype=torch.bool) | (torch.arange(3) < 2)), (2, 3, 4)),
    "TransformerEncoderLayer": lambda: Call(nn.TransformerEncoderLayer(4, 2, 5, batch_first=True), SEQUENCE),
    "TransformerEncoderLayer_gelu": lambda: Call(
        nn.TransformerEncoderLayer(4, 2, 5, batch_first=True, norm_first=True, activation="gelu"), SEQUENCE
    ),
    "TransformerDecoderLayer": lambda: Call(
        nn.TransformerDecoderLayer(4, 2, 5, batch_first=True), SEQUENCE, lambda layer, x: layer(x, x.sin())
    ),
    **{
        kind: lambda kind=kind: Call(getattr(nn, kind)(4, 3, batch_first=True), SEQUENCE)
        for kind in ("RNN", "LSTM", "GRU")
    },
    "LSTM_deep": lambda: Call(nn.LSTM(4, 2, 2, bidirectional=True, batch_first=True), SEQUENCE),
    **{
        f"{kind}Cell": lambda kind=kind: Call(getattr(nn, f"{kind}Cell")(4, 3), SEQUENCE, scanned)
        for kind in ("RNN", "GRU", "LSTM")
    },
    "Embedding": lambda: Tokens(nn.Embedding(6, 3)),
    "EmbeddingBag": lambda: Tokens(nn.EmbeddingBag(6, 3, mode="mean")),
    "padding": lambda: Call(nn.ReflectionPad2d(1), IMAGE),
    "padding_replicate": lambda: Call(nn.ReplicationPad1d(2), LINE),
    "padding_circular": lambda: Call(nn.CircularPad2d(1), IMAGE),
    "PixelShuffle": lambda: Call(nn.PixelShuffle(2), (4, 2, 2)),
    "PixelUnshuffle": lambda: Call(nn.PixelUnshuffle(2), IMAGE),
    "ChannelShuffle": lambda: Call(nn.ChannelShuffle(2), (4, 2, 2)),
    "Unfold": lambda: Call(nn.Unfold(2), IMAGE),
    "Fold": lambda: Call(nn.Fold((3, 3), 2), (4, 4)),
    **{
        f"Upsample_{mode}": lambda mode=mode, shape=shape: Call(nn.Upsample(scale_factor=2, mode=mode), shape)
        for mode, shape in [
            ("nearest", IMAGE),
            ("linear", LINE),
            ("bilinear", IMAGE),
            ("bicubic", IMAGE),
            ("trilinear", VOLUME),
        ]
    },
    "weight_norm": lambda: Call(parametrizations.weight_norm(nn.Linear(6, 3)), (6,)),
    "weight_norm_old": lambda: Call(old_norm(nn.Linear(6, 3)), (6,)),
    "weight_norm_conv": lambda: Call(parametrizations.weight_norm(nn.Conv1d(2, 3, 3), dim=1), LINE),
    "spectral_norm": lambda: Call(parametrizations.spectral_norm(nn.Linear(6, 3)), (6,)),
    "orthogonal": lambda: Call(parametrizations.orthogonal(nn.Linear(4, 3)), (4,)),
    "orthogonal_cayley": lambda: Call(parametrizations.orthogonal(nn.Linear(3, 3), orthogonal_map="cayley"), (3,)),
    "grid_sample": lambda: Call(grid, (3, 4, 4)),
    "CosineSimilarity": lambda: Call(nn.CosineSimilarity(), (2, 5), lambda layer, x: layer(x[:, 0], x[:, 1])),
    "PairwiseDistance": lambda: Call(nn.PairwiseDistance(), (2, 5), lambda layer, x: layer(x[:, 0], x[:, 1])),
    "cdist": lambda: Call(lambda x: torch.cdist(x[:, :2], x[:, 2:]), (4, 3)),
    "AlphaDropout": lambda: Call(nn.AlphaDropout(0.3), (6,)),
    "fft": lambda: Call(lambda x: torch.fft.irfft(torch.tanh(torch.fft.rfft(x).abs()), n=6), (6,)),
    "einsum": lambda: Call(lambda x: torch.einsum("bij,bkj->bik", x, x), SEQUENCE),
    "norm": lambda: Call(lambda x: x.norm(dim=1), (6,)),
    "logsumexp": lambda: Call(lambda x: x.logsumexp(dim=1), (6,)),
    "cumprod": lambda: Call(lambda x: x.cumprod(dim=1), (6,)),
    "AdaptiveLogSoftmax": lambda: Call(
        nn.AdaptiveLogSoftmaxWithLoss(6, 5, [2]), (6,), lambda layer, x: layer.log_prob(x)
    ),
}


def _batch_norm(dim: int) -> nn.Module:
    layer = getattr(nn, f"BatchNorm{dim}d")(2 if dim < 3 else 1)
    layer.running_mean.add_(0.2)
    layer.running_var.mul_(1.7)
    return Call(layer, {1: LINE, 2: IMAGE, 3: VOLUME}[dim])


def layer_problem(name: str, dtype: torch.dtype = torch.float64) -> Problem:
    torch.manual_seed(1)
    model = LAYERS[name]().to(dtype)
    with torch.no_grad():  # away from the start, where norms are all one and their biases all zero
        for parameter in model.parameters():
            parameter += 0.1 * vector(parameter.numel(), 5, dtype).reshape(parameter.shape)
    inputs = vector(15, 3, dtype).reshape(5, 3)
    target = vector(5 * 300, 4, dtype).reshape(5, 300)
    return Problem(
        model, lambda output, target: (output - target[:, : output.shape[1]]).square().mean(), (inputs, target)
    )


def _positive(output: Tensor) -> Tensor:
    return F.softplus(output) + 0.1


LABELS = torch.tensor([0, 2, 1, 3, 0])
SIGNS = torch.tensor([1.0, -1.0, 1.0, 1.0, -1.0]).double()
REAL = vector(20, 6).reshape(5, 4)
#: By name: the loss of outputs (5, 4) and a target, and the target.
LOSSES: dict[str, tuple[Callable[..., Tensor], Tensor]] = {
    "L1": (nn.L1Loss(), REAL),
    "MSE": (nn.MSELoss(), REAL),
    "SmoothL1": (nn.SmoothL1Loss(), REAL),
    "Huber": (nn.HuberLoss(delta=0.5), REAL),
    "CrossEntropy": (nn.CrossEntropyLoss(label_smoothing=0.1), LABELS),
    "NLL": (lambda output, target: F.nll_loss(output.log_softmax(1), target), LABELS),
    "PoissonNLL": (nn.PoissonNLLLoss(full=True), REAL.abs()),
    "GaussianNLL": (lambda output, target: F.gaussian_nll_loss(output, target, _positive(output)), REAL),
    "KLDiv": (lambda output, target: F.kl_div(output.log_softmax(1), target, reduction="batchmean"), REAL.softmax(1)),
    "BCE": (lambda output, target: F.binary_cross_entropy(output.sigmoid(), target), (REAL > 0).double()),
    "BCEWithLogits": (nn.BCEWithLogitsLoss(), (REAL > 0).double()),
    "HingeEmbedding": (nn.HingeEmbeddingLoss(), REAL.sign()),
    "SoftMargin": (nn.SoftMarginLoss(), REAL.sign()),
    "MultiMargin": (nn.MultiMarginLoss(p=2), LABELS),
    "MultiLabelMargin": (nn.MultiLabelMarginLoss(), torch.tensor([[1, 3, -1, 0]] * 5)),
    "MultiLabelSoftMargin": (nn.MultiLabelSoftMarginLoss(), (REAL > 0).double()),
    "CosineEmbedding": (
        lambda output, target: F.cosine_embedding_loss(output, output.flip(1), target, margin=0.1),
        SIGNS,
    ),
    "MarginRanking": (lambda output, target: F.margin_ranking_loss(output[:, 0], output[:, 1], target), SIGNS),
    "TripletMargin": (lambda output, target: F.triplet_margin_loss(output, target, target.flip(1)), REAL),
    "TripletMarginWithDistance": (
        lambda output, target: F.triplet_margin_with_distance_loss(output, target, target.flip(1)),
        REAL,
    ),
    "CTC": (
        lambda output, target: F.ctc_loss(
            output.unsqueeze(1).log_softmax(2), target[:1, :2], torch.tensor([len(output)]), torch.tensor([2])
        ),
        torch.tensor([[1, 2, 1]] * 5),
    ),
}


def loss_problem(name: str) -> Problem:
    loss_fn, target = LOSSES[name]
    torch.manual_seed(2)
    model = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 4)).double()
    return Problem(model, loss_fn, [(vector(15, 3).reshape(5, 3), target)])
