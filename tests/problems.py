"""Small problems that several test modules share."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class TiedAutoencoder(nn.Module):
    """Encoder and decoder share one weight."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder = nn.Linear(4, 3)
        self.decoder = nn.Linear(3, 4)
        self.decoder.weight = nn.Parameter(self.encoder.weight.detach().T.clone())
        self.readout = nn.Linear(4, 2)
        self.head = nn.Linear(4, 2)
        self.head.weight = self.readout.weight

    def forward(self, inputs: Tensor) -> Tensor:
        hidden = self.decoder(torch.tanh(self.encoder(inputs)))
        return self.readout(hidden) + self.head(hidden.sin())


class SelfCounting(nn.Module):
    """Writes a buffer at every forward, in any mode, like spectral norms and exponential averages do."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(4, 2)
        self.register_buffer("calls", torch.zeros(()))

    def forward(self, inputs: Tensor) -> Tensor:
        self.calls += 1
        return self.linear(inputs)


def frozen_trunk() -> nn.Module:
    model = nn.Sequential(nn.Linear(4, 5), nn.Tanh(), nn.Linear(5, 2))
    model[0].requires_grad_(False)
    return model


def mixed_modes() -> nn.Module:
    """BatchNorm and dropout, one module in a mode of its own, as after freezing a part."""
    model = nn.Sequential(nn.Linear(4, 5), nn.BatchNorm1d(5), nn.ReLU(), nn.Dropout(0.5), nn.Linear(5, 2))
    model.train()
    model[1].eval()
    return model


MODELS = {
    "mlp": lambda: nn.Sequential(nn.Linear(4, 5), nn.Tanh(), nn.Linear(5, 2)),
    "batch_norm_and_dropout": mixed_modes,
    "tied": TiedAutoencoder,
    "frozen": frozen_trunk,
    "self_counting": SelfCounting,
}


def regression_data(num_samples: int = 11, dtype: torch.dtype = torch.float64) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(1)
    inputs = torch.randn(num_samples, 4, generator=generator, dtype=torch.float64).to(dtype)
    targets = torch.randn(num_samples, 2, generator=generator, dtype=torch.float64).to(dtype)
    return inputs, targets
