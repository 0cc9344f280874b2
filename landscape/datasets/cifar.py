"""CIFAR-10 and CIFAR-100 as published: the binary or the python version, extracted or in the archive itself."""

from __future__ import annotations

import os
import tarfile
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from landscape.datasets.errors import DatasetError
from landscape.datasets.pickled_arrays import load_pickled_arrays
from landscape.datasets.raw_images import Labels, Pixels, RawImages, check_labels
from landscape.datasets.roots import candidate_folders, missing

NUM_TRAIN, NUM_TEST, IMAGE_SIZE, CHANNELS = 50_000, 10_000, 32, 3

_NUM_PIXELS = CHANNELS * IMAGE_SIZE**2
# A pickle's size is not known beforehand; the largest published one (CIFAR-100, train) has 155 million bytes.
_MAX_PICKLE = 1 << 28


@dataclass(frozen=True)
class _Version:
    folder: str
    archive: str
    train_files: tuple[str, ...]
    test_file: str
    is_binary: bool

    @property
    def files(self) -> tuple[str, ...]:
        return (*self.train_files, self.test_file)

    def count(self, file: str) -> int:
        return NUM_TEST if file == self.test_file else NUM_TRAIN // len(self.train_files)


@dataclass(frozen=True)
class _Variant:
    title: str
    classes: tuple[int, ...]  # what the label bytes of a binary record count, the class itself last
    key: bytes  # of the class in a pickled batch
    versions: tuple[_Version, _Version]


_VARIANTS = {
    "cifar-10": _Variant(
        "CIFAR-10",
        (10,),
        b"labels",
        (
            _Version(
                "cifar-10-batches-bin",
                "cifar-10-binary.tar.gz",
                tuple(f"data_batch_{i}.bin" for i in range(1, 6)),
                "test_batch.bin",
                is_binary=True,
            ),
            _Version(
                "cifar-10-batches-py",
                "cifar-10-python.tar.gz",
                tuple(f"data_batch_{i}" for i in range(1, 6)),
                "test_batch",
                is_binary=False,
            ),
        ),
    ),
    "cifar-100": _Variant(
        "CIFAR-100",
        (20, 100),
        b"fine_labels",
        (
            _Version("cifar-100-binary", "cifar-100-binary.tar.gz", ("train.bin",), "test.bin", is_binary=True),
            _Version("cifar-100-python", "cifar-100-python.tar.gz", ("train",), "test", is_binary=False),
        ),
    ),
}


def read_cifar(name: str, root: str | os.PathLike[str] | None) -> RawImages:
    """Find and read ``"cifar-10"`` or ``"cifar-100"`` (fine labels), all 50,000 and 10,000 images.

    In each folder the extracted binary version is looked for first, then the extracted python version, then the two
    archives, which are read without extracting them.

    Raises
    ------
    MissingDatasetError
        If no folder holds all files of one version.
    DatasetError
        If a file is damaged, holds another number of images than published, or is a pickle that asks for anything
        but numpy arrays.
    """
    variant = _VARIANTS[name]
    folders = candidate_folders(root, (name,))
    version, files = _find(variant, folders, root)
    images, labels = {}, {}
    for file, (content, source) in files.items():
        count = version.count(file)
        if version.is_binary:
            images[file], labels[file] = read_binary_batch(content, source, count=count, classes=variant.classes)
        else:
            images[file], labels[file] = read_python_batch(
                content, source, count=count, key=variant.key, num_classes=variant.classes[-1]
            )
    return RawImages(
        np.concatenate([images[file] for file in version.train_files]),
        np.concatenate([labels[file] for file in version.train_files]),
        images[version.test_file],
        labels[version.test_file],
    )


def read_binary_batch(content: bytes, source: str, *, count: int, classes: tuple[int, ...]) -> tuple[Pixels, Labels]:
    """Read ``count`` records of the binary version: one byte per entry of ``classes``, then 3,072 pixels.

    Parameters
    ----------
    content : bytes
        The whole file.
    source : str
        What messages call it.
    count : int
        The number of records it must hold.
    classes : tuple of int
        How many values each label byte may take, the class itself last: ``(10,)`` or ``(20, 100)``.

    Returns
    -------
    images : ndarray of shape (count, 3, 32, 32), uint8
    labels : ndarray of shape (count,), int64
    """
    width = len(classes) + _NUM_PIXELS
    if len(content) != count * width:
        raise DatasetError(
            f"{source} has {len(content)} bytes; expected {count * width}, that is, {count} records of {width} bytes. "
            f"It is cut short or another file: fetch it again."
        )
    records = np.frombuffer(content, dtype=np.uint8).reshape(count, width)
    for column, num_classes in enumerate(classes):
        labels = check_labels(records[:, column], num_classes, source)
    return records[:, len(classes) :].reshape(count, CHANNELS, IMAGE_SIZE, IMAGE_SIZE), labels


def read_python_batch(
    content: bytes, source: str, *, count: int, key: bytes, num_classes: int
) -> tuple[Pixels, Labels]:
    """Read a pickled batch of the python version: a dictionary with ``b"data"`` (count, 3072) and labels at ``key``.

    Returns
    -------
    images : ndarray of shape (count, 3, 32, 32), uint8
    labels : ndarray of shape (count,), int64
    """
    batch = load_pickled_arrays(content, source)
    data, labels = batch.get(b"data"), batch.get(key)
    if not isinstance(data, np.ndarray) or data.shape != (count, _NUM_PIXELS):
        found = f"shape {data.shape}" if isinstance(data, np.ndarray) else _found(data)
        raise DatasetError(
            f"{source}: the array {b'data'!r} has {found}; expected shape {(count, _NUM_PIXELS)}. "
            f"It is another file, or damaged: fetch it again."
        )
    if not isinstance(labels, list) or len(labels) != count or not all(type(label) is int for label in labels):
        found = f"{len(labels)} entries" if isinstance(labels, list) else _found(labels)
        raise DatasetError(
            f"{source}: the list {key!r} has {found}; expected {count} whole numbers, one for each image. "
            f"It is another file, or damaged: fetch it again."
        )
    numbers = np.array(labels, dtype=object)  # Python's integers have no bounds: check them before they must fit.
    return data.reshape(count, CHANNELS, IMAGE_SIZE, IMAGE_SIZE), check_labels(numbers, num_classes, source)


def _found(value: object) -> str:
    return "nothing in it" if value is None else f"the type {type(value).__name__}"


def _find(
    variant: _Variant, folders: list[Path], root: str | os.PathLike[str] | None
) -> tuple[_Version, Mapping[str, tuple[bytes, str]]]:
    """Return the first version that is there whole, with its files' contents and what to call them."""
    incomplete: list[str] = []
    for folder in folders:
        for version in variant.versions:
            for place in (folder / version.folder, folder):
                absent = [file for file in version.files if not (place / file).is_file()]
                if not absent:
                    return version, _read_folder(place, version, len(variant.classes))
                if len(absent) < len(version.files):
                    incomplete.append(f"{', '.join(absent)} (missing in {place})")
        for version in variant.versions:
            if (folder / version.archive).is_file():
                return version, _read_archive(folder / version.archive, version, len(variant.classes))
    whole = [f"{version.folder}/{{{', '.join(version.files)}}}" for version in variant.versions]
    archives = [version.archive for version in variant.versions]
    raise missing(
        variant.title,
        incomplete or [" or ".join((*whole, *archives))],
        root,
        folders,
        "Fetch one of the archives from www.cs.toronto.edu/~kriz/cifar.html; extracting it is not needed.",
    )


def _check_size(size: int, source: str, version: _Version, file: str, num_labels: int) -> None:
    """Refuse a wrong size before a byte is read."""
    if version.is_binary:
        expected = version.count(file) * (num_labels + _NUM_PIXELS)
        if size != expected:
            raise DatasetError(
                f"{source} has {size} bytes; expected {expected}, that is, {version.count(file)} records of "
                f"{num_labels + _NUM_PIXELS} bytes. It is cut short or another file: fetch it again."
            )
    elif size > _MAX_PICKLE:
        raise DatasetError(
            f"{source} has {size} bytes; a published batch has fewer than {_MAX_PICKLE}. Fetch it again."
        )


def _read_folder(folder: Path, version: _Version, num_labels: int) -> Mapping[str, tuple[bytes, str]]:
    contents = {}
    for file in version.files:
        path = folder / file
        try:
            _check_size(path.stat().st_size, str(path), version, file, num_labels)
            contents[file] = (path.read_bytes(), str(path))
        except OSError as error:
            raise DatasetError(f"{path} cannot be read ({error}). Check its permissions and its disk.") from error
    return contents


def _read_archive(path: Path, version: _Version, num_labels: int) -> Mapping[str, tuple[bytes, str]]:
    """Read the wanted members by their exact names, in one pass; nothing is written to the disk."""
    wanted = {f"{version.folder}/{file}": file for file in version.files}
    contents: dict[str, tuple[bytes, str]] = {}
    try:
        with tarfile.open(path, "r|gz") as archive:
            for member in archive:
                file = wanted.get(member.name.removeprefix("./"))
                if file is None or not member.isreg():
                    continue
                source = f"{path}: {member.name}"
                if file in contents:
                    raise DatasetError(f"{source} is in the archive twice. Fetch the archive again.")
                _check_size(member.size, source, version, file, num_labels)
                stream = archive.extractfile(member)
                contents[file] = (stream.read() if stream is not None else b"", source)
    except (EOFError, OSError, tarfile.TarError, zlib.error) as error:
        raise DatasetError(
            f"{path} is not a whole .tar.gz archive ({error}). The download was cut short or damaged: fetch it again."
        ) from error
    absent = [name for name, file in wanted.items() if file not in contents]
    if absent:
        raise DatasetError(
            f"{path} does not hold {', '.join(absent)}. It is another archive: fetch {version.archive} again."
        )
    return contents
