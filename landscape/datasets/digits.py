"""The 1,797 digits of 8 x 8 pixels that come with scikit-learn: no files, no network."""

from __future__ import annotations

import functools

import numpy as np

from landscape.datasets.raw_images import RawImages
from landscape.datasets.shuffling import stable_permutation

NUM_TRAIN, NUM_TEST, IMAGE_SIZE, NUM_CLASSES = 1_437, 360, 8, 10
MAX_PIXEL = 16  # Each pixel counts the ink dots in a block of 4 x 4.

_SPLIT_SEED = 1797


@functools.cache  # parsing their text takes longer than many a test or short run; they are 115 kB
def read_digits() -> RawImages:
    """Read the digits and split them in a shuffled order that never changes. The arrays are shared: do not write to them."""
    # Takes a second, and nothing else here needs it.
    from sklearn.datasets import load_digits

    digits = load_digits()
    images = digits.images.astype(np.uint8)[:, None]
    labels = digits.target.astype(np.int64)
    order = stable_permutation(NUM_TRAIN + NUM_TEST, _SPLIT_SEED)
    train, test = order[:NUM_TRAIN], order[NUM_TRAIN:]
    return RawImages(images[train], labels[train], images[test], labels[test])
