"""MLP: fully connected layers on flattened images."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise

from torch import Tensor, nn

from landscape.models.shapes import check_images, check_sizes


class MLP(nn.Module):
    """Fully connected layers with one activation between any two.

    Parameters
    ----------
    channels, num_classes : int
        c and M.
    image_size : int, default 32
        Height and width s of the images.
    hidden : sequence of int, default (64,)
        Widths of the hidden layers; empty for a linear model.
    activation : callable, default nn.Tanh
        Makes the activation module that follows each hidden layer. For curvature it should be differentiable twice;
        with ReLU the Hessian is that of the pieces.

    Raises
    ------
    ValueError
        If a size is less than 1; in ``forward``, if the images have another shape.

    Notes
    -----
    The initial weights are torch's own. The last layer is linear: its outputs are compared with one-hot targets, or
    taken as logits.

    Examples
    --------
    >>> import torch
    >>> model = MLP(channels=1, num_classes=10, image_size=8, hidden=(32, 16))
    >>> sum(parameter.numel() for parameter in model.parameters())
    2778
    >>> tuple(model(torch.zeros(5, 1, 8, 8)).shape)
    (5, 10)
    """

    def __init__(
        self,
        *,
        channels: int,
        num_classes: int,
        image_size: int = 32,
        hidden: Sequence[int] = (64,),
        activation: Callable[[], nn.Module] = nn.Tanh,
    ) -> None:
        check_sizes(channels=channels, num_classes=num_classes, image_size=image_size)
        check_sizes(**{f"hidden[{index}]": width for index, width in enumerate(hidden)})
        super().__init__()
        self.channels, self.image_size = channels, image_size
        layers: list[nn.Module] = []
        for width_in, width_out in pairwise((channels * image_size**2, *hidden, num_classes)):
            if layers:
                layers.append(activation())
            layers.append(nn.Linear(width_in, width_out))
        self.layers = nn.Sequential(*layers)

    def forward(self, images: Tensor) -> Tensor:
        """Map images (N, c, s, s) to outputs (N, M)."""
        check_images("MLP", images, self.channels, self.image_size)
        outputs: Tensor = self.layers(images.flatten(1))
        return outputs
