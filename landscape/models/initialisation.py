"""How the deeper models start: the one choice they share is a small last layer."""

from __future__ import annotations

from torch import nn

_HEAD_STD = 0.02


def start_head(head: nn.Linear) -> None:
    """Give the last layer normal weights of spread 0.02, cut off at two, and no biases.

    The outputs then start near zero, and the mean squared error near 1 / M, that of a constant guess. Weights of the
    usual size start it ten times higher here, and training first has to unlearn them: after 4 epochs of Adam (learning
    rate 0.001, batches of 128) on 4,000 Fashion-MNIST images, ``vit-mlp`` knows 75 % of 1,000 test images rather than
    44 %, and ``vgg5-max-relu`` 81 % rather than 69 % (one seed).
    """
    nn.init.trunc_normal_(head.weight, std=_HEAD_STD, a=-2 * _HEAD_STD, b=2 * _HEAD_STD)
    nn.init.zeros_(head.bias)
