"""Checks that models share: sizes before anything is built, inputs before anything is computed."""

from __future__ import annotations

from torch import Tensor


def check_sizes(**sizes: int) -> None:
    """Raise ValueError for the first size that is no whole number of at least 1."""
    for name, size in sizes.items():
        if not isinstance(size, int) or isinstance(size, bool) or size < 1:
            raise ValueError(f"{name}={size!r}; it must be a whole number of at least 1.")


def check_images(model: str, images: Tensor, channels: int, image_size: int) -> None:
    """Raise ValueError unless ``images`` has the shape (N, channels, image_size, image_size)."""
    if images.ndim != 4 or tuple(images.shape[1:]) != (channels, image_size, image_size):
        raise ValueError(
            f"This {model} takes images of shape (N, {channels}, {image_size}, {image_size}), but was given "
            f"{tuple(images.shape)}. Pad the images (load(..., pad_to=...)) or build it for their shape."
        )
