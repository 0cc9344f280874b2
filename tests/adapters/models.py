"""A small regression that every adapter trains."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn

import landscape as ls
from tests.problems import regression_data

NUM_SAMPLES, BATCH_SIZE = 40, 16


def network() -> nn.Module:
    torch.manual_seed(3)
    return nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 2))


def data() -> tuple[torch.Tensor, torch.Tensor]:
    return regression_data(NUM_SAMPLES, torch.float32)


def problem_of(model: nn.Module) -> ls.Problem:
    return ls.Problem(model, F.mse_loss, data())
