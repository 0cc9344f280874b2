"""MNIST and Fashion-MNIST: four IDX files each, under the same names."""

from __future__ import annotations

import functools
import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from landscape.datasets.errors import DatasetError
from landscape.datasets.idx import read_idx
from landscape.datasets.raw_images import Labels, Pixels, RawImages, check_labels
from landscape.datasets.roots import candidate_folders, missing

NUM_TRAIN, NUM_TEST, IMAGE_SIZE, NUM_CLASSES = 60_000, 10_000, 28, 10

# Published names; some mirrors write a dot before "idx", and files come compressed or not.
_FILES = ("train-images-idx3-ubyte", "train-labels-idx1-ubyte", "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte")


@dataclass(frozen=True)
class _Family:
    title: str
    subfolders: tuple[str, ...]
    system_folders: tuple[str, ...]
    first_labels: tuple[tuple[int, ...], tuple[int, ...]]  # of the published training and test set
    how_to_get: str


_FAMILIES = {
    "mnist": _Family(
        "MNIST",
        ("mnist", "MNIST/raw", "MNIST"),
        (),
        ((5, 0, 4, 1, 9, 2, 1, 3, 1, 4), (7, 2, 1, 0, 4, 1, 4, 9, 5, 9)),
        "Fetch the four files where you have network access (torchvision.datasets.MNIST(folder, download=True) also "
        "leaves them in folder/MNIST/raw), or use 'mnist-5k', which needs no files.",
    ),
    "fashion-mnist": _Family(
        "Fashion-MNIST",
        ("fashion-mnist", "FashionMNIST/raw", "FashionMNIST"),
        ("/usr/share/datasets/fashion-mnist",),
        ((9, 0, 0, 3, 0, 2, 7, 2, 5, 5), (9, 2, 1, 1, 6, 1, 4, 6, 5, 7)),
        "On Debian and Ubuntu: apt-get install dataset-fashion-mnist, and nothing more is needed. Elsewhere fetch the "
        "four files of the GitHub repository zalandoresearch/fashion-mnist.",
    ),
}


def read_mnist(name: str, root: str | os.PathLike[str] | None) -> RawImages:
    """Find and read ``"mnist"`` or ``"fashion-mnist"``, all 60,000 and 10,000 images.

    Raises
    ------
    MissingDatasetError
        If no folder holds all four files.
    DatasetError
        If a file is damaged, states other sizes than the published ones, or belongs to the other data set.
    """
    family = _FAMILIES[name]
    folders = candidate_folders(root, family.subfolders, family.system_folders)
    files = _find(folders)
    if any(file is None for file in files):
        needed = [f"{published} (plain or .gz)" for published, file in zip(_FILES, files, strict=True) if file is None]
        raise missing(family.title, needed, root, folders, family.how_to_get)
    train_images, train_labels, test_images, test_labels = [file for file in files if file is not None]
    # Labels first: they are small, and they tell the wrong data set apart at once.
    labels = [
        _read_labels(file, NUM_TRAIN if part == 0 else NUM_TEST, name, part)
        for part, file in enumerate((train_labels, test_labels))
    ]
    return RawImages(_read_images(train_images, NUM_TRAIN), labels[0], _read_images(test_images, NUM_TEST), labels[1])


def _find(folders: list[Path]) -> list[Path | None]:
    """Return the four files of the first folder that has them all, else of the one that has most of them."""
    found = [[_variant(folder, file) for file in _FILES] for folder in folders]
    return max(found, key=lambda files: sum(file is not None for file in files), default=[None] * len(_FILES))


def _variant(folder: Path, file: str) -> Path | None:
    for stem in (file, file.replace("-idx", ".idx")):
        for path in (folder / stem, folder / f"{stem}.gz"):
            if path.is_file():
                return path
    return None


def _read_images(path: Path, count: int) -> Pixels:
    state = path.stat()
    return _read_images_once(path, count, (state.st_mtime_ns, state.st_size))


@functools.lru_cache(maxsize=2)  # 55 MB: both files of one data set, which a comparison loads for every one of its jobs
def _read_images_once(path: Path, count: int, _state: tuple[int, int]) -> Pixels:
    images: Pixels = read_idx(path, shape=(count, IMAGE_SIZE, IMAGE_SIZE), dtype=np.uint8)
    return images[:, None]


def _read_labels(path: Path, count: int, name: str, part: int) -> Labels:
    labels = check_labels(read_idx(path, shape=(count,), dtype=np.uint8), NUM_CLASSES, str(path))
    # Both data sets use the same file names and sizes; nothing else would notice a swapped folder.
    for other, family in _FAMILIES.items():
        first = family.first_labels[part]
        if other != name and tuple(labels[: len(first)].tolist()) == first:
            raise DatasetError(
                f"{path} starts with the labels {', '.join(map(str, first))}: these are the labels of {family.title}, "
                f"not of {_FAMILIES[name].title}. Ask for {other!r}, or keep each data set in a folder of its own name "
                f"({_FAMILIES[name].subfolders[0]}/ and {family.subfolders[0]}/)."
            )
    return labels
