"""VGG5: five weight layers, max pooling, ReLU."""

from __future__ import annotations

from torch import Tensor, nn

from landscape.models.shapes import check_images, check_sizes

_IMAGE_SIZE = 32


class VGG5(nn.Module):
    """Three convolutions and two linear layers, as ``vgg5-max-relu`` of Hrycej et al. (2025).

    Parameters
    ----------
    channels, num_classes : int
        c and M.
    image_size : int, default 32
        Must be 32: the first linear layer takes 64 channels of 4 x 4.

    Raises
    ------
    ValueError
        If a size is less than 1 or ``image_size`` is not 32; in ``forward``, if the images have another shape.

    Notes
    -----
    Convolutions of 3 x 3 keep height and width (one zero on each side) and have 32, 64 and 64 outputs; after each come
    ReLU and max pooling of 2 x 2. Then linear layers 1024 -> 64 and, after a ReLU, 64 -> M. All have biases: 121,994
    parameters for MNIST. The paper names depth, pooling and activation; the widths are reconstructed from the ratios
    Q it prints. The initial weights are torch's own for each layer.

    ReLU and max pooling are differentiable almost everywhere only: the Hessian is that of the smooth piece on which the
    weights lie, and knows nothing about the kinks between the pieces.

    Examples
    --------
    >>> model = VGG5(channels=1, num_classes=10)
    >>> sum(parameter.numel() for parameter in model.parameters())
    121994
    """

    def __init__(self, *, channels: int, num_classes: int, image_size: int = _IMAGE_SIZE) -> None:
        check_sizes(channels=channels, num_classes=num_classes, image_size=image_size)
        if image_size != _IMAGE_SIZE:
            raise ValueError(
                f"image_size={image_size}; VGG5 takes images of 32 x 32 only. Pad smaller ones: load(..., pad_to=32)."
            )
        super().__init__()
        self.channels = channels
        self.convolutions = nn.Sequential(
            *_convolution(channels, 32),
            *_convolution(32, 64),
            *_convolution(64, 64),
        )
        self.hidden = nn.Linear(1024, 64)
        self.activation = nn.ReLU()
        self.head = nn.Linear(64, num_classes)

    def forward(self, images: Tensor) -> Tensor:
        """Map images (N, c, 32, 32) to outputs (N, M)."""
        check_images("VGG5", images, self.channels, _IMAGE_SIZE)
        features = self.convolutions(images).flatten(1)
        outputs: Tensor = self.head(self.activation(self.hidden(features)))
        return outputs


def _convolution(channels_in: int, channels_out: int) -> tuple[nn.Module, nn.Module, nn.Module]:
    return nn.Conv2d(channels_in, channels_out, kernel_size=3, padding=1), nn.ReLU(), nn.MaxPool2d(2)
