"""ImageData: a training and a test set of square images, as tensors."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True, eq=False)
class ImageData:
    """Images and labels, split into a training and a test set.

    Parameters
    ----------
    name : str
        What the data are called in reports.
    train_inputs : Tensor of shape (K, c, s, s), float32
    train_labels : Tensor of shape (K,), int64
        Classes, from 0 to ``num_classes - 1``.
    test_inputs : Tensor of shape (K_test, c, s, s), float32
    test_labels : Tensor of shape (K_test,), int64
    num_classes : int
        M, also where a subset happens to miss a class.

    Raises
    ------
    ValueError
        If shapes, types or labels do not fit together.

    Examples
    --------
    >>> images, labels = torch.zeros(4, 1, 8, 8), torch.tensor([0, 1, 2, 1])
    >>> data = ImageData("blank", images, labels, images[:2], labels[:2], num_classes=3)
    >>> data.num_train, data.num_test, data.channels, data.image_size
    (4, 2, 1, 8)
    >>> data.one_hot(data.test_labels)
    tensor([[1., 0., 0.],
            [0., 1., 0.]])
    """

    name: str
    train_inputs: Tensor
    train_labels: Tensor
    test_inputs: Tensor
    test_labels: Tensor
    num_classes: int

    def __post_init__(self) -> None:
        if self.num_classes < 2:
            raise ValueError(f"num_classes={self.num_classes}; a classification needs at least 2 classes.")
        self._check_pair("train", self.train_inputs, self.train_labels)
        self._check_pair("test", self.test_inputs, self.test_labels)
        if self.train_inputs.shape[1:] != self.test_inputs.shape[1:]:
            raise ValueError(
                f"Training images have shape {tuple(self.train_inputs.shape[1:])}, test images "
                f"{tuple(self.test_inputs.shape[1:])}; both must be the same (c, s, s)."
            )

    def _check_pair(self, part: str, inputs: Tensor, labels: Tensor) -> None:
        if inputs.ndim != 4 or inputs.shape[2] != inputs.shape[3] or inputs.dtype != torch.float32:
            raise ValueError(
                f"{part}_inputs has shape {tuple(inputs.shape)} and type {inputs.dtype}; needed are square images "
                f"(K, c, s, s) of torch.float32."
            )
        if labels.shape != inputs.shape[:1] or labels.dtype != torch.int64 or len(labels) == 0:
            raise ValueError(
                f"{part}_labels has shape {tuple(labels.shape)} and type {labels.dtype} for {len(inputs)} images; "
                f"needed is one torch.int64 label an image, and at least one image."
            )
        self._check_range(labels)

    def _check_range(self, labels: Tensor) -> None:
        if labels.numel() and not 0 <= int(labels.min()) <= int(labels.max()) < self.num_classes:
            raise ValueError(
                f"Labels lie between {int(labels.min())} and {int(labels.max())}; with num_classes={self.num_classes} "
                f"they must lie between 0 and {self.num_classes - 1}."
            )

    @property
    def channels(self) -> int:
        """Colour channels c: 1 for grey, 3 for colour."""
        return int(self.train_inputs.shape[1])

    @property
    def image_size(self) -> int:
        """Height and width s in pixels, padding included."""
        return int(self.train_inputs.shape[2])

    @property
    def num_train(self) -> int:
        """Number K of training images."""
        return len(self.train_labels)

    @property
    def num_test(self) -> int:
        """Number of test images."""
        return len(self.test_labels)

    def one_hot(self, labels: Tensor) -> Tensor:
        """Turn labels (K,) into one-hot targets (K, M) of float32, on the labels' device."""
        if labels.ndim != 1 or labels.dtype != torch.int64:
            raise ValueError(
                f"labels has shape {tuple(labels.shape)} and type {labels.dtype}; needed is (K,) of torch.int64."
            )
        self._check_range(labels)
        return torch.nn.functional.one_hot(labels, self.num_classes).to(torch.float32)

    def fingerprint(self) -> str:
        """Hash everything a result can depend on: 64 hexadecimal digits (SHA-256).

        Covers the name, type, shape and bytes of each of the four tensors, and ``num_classes``; not ``name``, which
        changes no number. Two runs on equal fingerprints saw the same data, bit for bit, in the same order.
        """
        digest = hashlib.sha256(f"num_classes={self.num_classes};".encode())
        for field in ("train_inputs", "train_labels", "test_inputs", "test_labels"):
            array = getattr(self, field).detach().cpu().contiguous().numpy()
            little_endian = array.astype(array.dtype.newbyteorder("<"), copy=False)
            digest.update(f"{field}:{little_endian.dtype.str}:{array.shape};".encode())
            digest.update(little_endian.data)
        return digest.hexdigest()
