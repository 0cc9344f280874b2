from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from landscape.models import MLP, VGG5


def test_the_mlp_is_tanh_between_two_matrices():
    model = MLP(channels=2, num_classes=3, image_size=4, hidden=(5,))
    images = torch.rand(6, 2, 4, 4, generator=torch.Generator().manual_seed(0))
    W, b, V, c = model.parameters()

    expected = torch.tanh(images.reshape(6, 32) @ W.T + b) @ V.T + c

    torch.testing.assert_close(model(images), expected)


def test_hidden_widths_and_activation_can_be_chosen():
    model = MLP(channels=1, num_classes=3, image_size=2, hidden=(7, 6), activation=nn.GELU)

    kinds = [type(layer).__name__ for layer in model.layers]
    assert kinds == ["Linear", "GELU", "Linear", "GELU", "Linear"]
    assert [tuple(p.shape) for p in model.parameters() if p.ndim == 2] == [(7, 4), (6, 7), (3, 6)]


def test_without_hidden_layers_the_mlp_is_linear():
    model = MLP(channels=1, num_classes=3, image_size=2, hidden=())
    first, second = torch.rand(2, 4, 1, 2, 2, generator=torch.Generator().manual_seed(0))

    torch.testing.assert_close(model(first + second), model(first) + model(second) - model(torch.zeros_like(first)))


def test_a_hidden_width_below_one_is_refused_by_its_place():
    with pytest.raises(ValueError, match=r"hidden\[1\]=0"):
        MLP(channels=1, num_classes=3, hidden=(4, 0))


def test_vgg5_is_three_pooled_convolutions_and_two_linear_layers():
    model = VGG5(channels=3, num_classes=10).double()
    images = torch.rand(2, 3, 32, 32, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    W1, b1, W2, b2, W3, b3, W4, b4, W5, b5 = model.parameters()

    features = images
    for W, b in [(W1, b1), (W2, b2), (W3, b3)]:
        features = F.max_pool2d(F.conv2d(features, W, b, padding=1).relu(), 2)
    expected = (features.reshape(2, 1024) @ W4.T + b4).relu() @ W5.T + b5

    torch.testing.assert_close(model(images), expected)
    assert [tuple(W.shape) for W in (W1, W2, W3, W4, W5)] == [
        (32, 3, 3, 3),
        (64, 32, 3, 3),
        (64, 64, 3, 3),
        (64, 1024),
        (10, 64),
    ]
