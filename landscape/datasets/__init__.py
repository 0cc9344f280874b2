"""Image data sets as plain tensors: found on this machine, checked byte by byte, never downloaded.

``load`` reads one of ``NAMES`` and returns an ``ImageData``; whatever is wrong with a file is a ``DatasetError``.
"""

from __future__ import annotations

from landscape.datasets.errors import DatasetError, MissingDatasetError, MissingPackageError
from landscape.datasets.idx import read_idx
from landscape.datasets.image_data import ImageData
from landscape.datasets.registry import NAMES, load

__all__ = [
    "NAMES",
    "DatasetError",
    "ImageData",
    "MissingDatasetError",
    "MissingPackageError",
    "load",
    "read_idx",
]
