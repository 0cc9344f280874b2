"""RawImages: pixels as published, before scaling, choosing and padding."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from landscape.datasets.errors import DatasetError

Pixels = npt.NDArray[np.uint8]
Labels = npt.NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class RawImages:
    """Whole-number pixels (K, c, s, s) and labels (K,) of a training and a test set."""

    train_images: Pixels
    train_labels: Labels
    test_images: Pixels
    test_labels: Labels


def check_labels(labels: npt.NDArray[Any], num_classes: int, source: str) -> Labels:
    """Return ``labels`` as int64, or say which one is no class and where it stands."""
    wrong = np.flatnonzero((labels < 0) | (labels >= num_classes))
    if len(wrong):
        raise DatasetError(
            f"{source}: the label of image {wrong[0]} is {labels[wrong[0]]} ({len(wrong)} labels are out of range); "
            f"expected 0 to {num_classes - 1}. The file is damaged: fetch it again."
        )
    return labels.astype(np.int64)
