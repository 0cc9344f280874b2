"""The IDX format of the MNIST family: a magic number, the sizes, the numbers."""

from __future__ import annotations

import gzip
import math
import os
import struct
import zlib
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt

from landscape.datasets.errors import DatasetError, MissingDatasetError

# The third byte of a file says how its numbers are stored; all of them with the highest byte first.
DTYPES: dict[int, str] = {0x08: ">u1", 0x09: ">i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}

_Stream = BinaryIO | gzip.GzipFile

_GZIP_MAGIC = b"\x1f\x8b"
_REMEDY = "It is another file, or damaged: fetch it again."
_MAX_DIMENSIONS = 32  # What the oldest numpy supported here can hold.
_CHUNK = 1 << 20


def read_idx(
    path: str | os.PathLike[str], *, shape: tuple[int, ...] | None = None, dtype: npt.DTypeLike | None = None
) -> npt.NDArray[Any]:
    """Read one IDX file, plain or compressed with gzip.

    Parameters
    ----------
    path : path
        Whether the file is compressed is seen from its first bytes, not from its name.
    shape : tuple of int, optional
        The sizes that the file must state. Checked before its numbers are read.
    dtype : optional
        The type that the file must state.

    Returns
    -------
    ndarray
        Of the stated sizes, in this machine's byte order.

    Raises
    ------
    MissingDatasetError
        If there is no such file.
    DatasetError
        If the magic number, the type, a size or the length of the file is not what it must be, or if the compressed
        data are damaged.

    Notes
    -----
    Layout (LeCun, Cortes and Burges, *The MNIST database of handwritten digits*): two zero bytes, one byte for the
    type, one for the number d of dimensions, d sizes of four bytes each, then the numbers, last index fastest; every
    number has its highest byte first. Memory grows with what the file holds, not with what its header claims.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     file = Path(folder) / "labels"
    ...     _ = file.write_bytes(bytes([0, 0, 8, 1, 0, 0, 0, 3, 7, 2, 1]))
    ...     read_idx(file, shape=(3,))
    array([7, 2, 1], dtype=uint8)
    """
    path = Path(path)
    if not path.is_file():  # Also keeps us from waiting on a named pipe.
        raise MissingDatasetError(f"{path} is not a file; expected an IDX file there.")
    try:
        with path.open("rb") as file:
            compressed = file.read(2) == _GZIP_MAGIC
            file.seek(0)
            if not compressed:
                return _read(file, path, shape, dtype)
            with gzip.GzipFile(fileobj=file) as stream:
                return _read(stream, path, shape, dtype)
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise DatasetError(
            f"{path} is not a whole gzip file ({error}). The download was cut short or damaged: fetch it again."
        ) from error
    except OSError as error:
        raise DatasetError(f"{path} cannot be read ({error}). Check its permissions and its disk.") from error


def _read(stream: _Stream, path: Path, shape: tuple[int, ...] | None, dtype: npt.DTypeLike | None) -> npt.NDArray[Any]:
    stored, num_dimensions = _read_magic(stream, path)
    if dtype is not None and stored.newbyteorder("=") != np.dtype(dtype):
        raise DatasetError(f"{path} holds {stored.newbyteorder('=')} numbers; expected {np.dtype(dtype)}. {_REMEDY}")
    sizes = _read_sizes(stream, path, num_dimensions)
    if shape is not None and sizes != tuple(shape):
        raise DatasetError(f"{path} states the sizes {sizes}; expected {tuple(shape)}. {_REMEDY}")
    return _read_numbers(stream, path, sizes, stored)


def _read_magic(stream: _Stream, path: Path) -> tuple[np.dtype[Any], int]:
    magic = bytes(_read_up_to(stream, 4))
    if len(magic) < 4:
        raise DatasetError(f"{path} ends after {len(magic)} bytes; expected an IDX magic number of 4. {_REMEDY}")
    if magic[:2] != b"\x00\x00" or magic[2] not in DTYPES or not 1 <= magic[3] <= _MAX_DIMENSIONS:
        raise DatasetError(
            f"{path} starts with the bytes {magic.hex(' ')}; expected the magic number of an IDX file: 00 00, a type "
            f"({', '.join(f'{code:02x}' for code in DTYPES)}) and a number of dimensions from 1 to "
            f"{_MAX_DIMENSIONS}. {_REMEDY}"
        )
    return np.dtype(DTYPES[magic[2]]), magic[3]


def _read_sizes(stream: _Stream, path: Path, num_dimensions: int) -> tuple[int, ...]:
    content = _read_up_to(stream, 4 * num_dimensions)
    if len(content) < 4 * num_dimensions:
        raise DatasetError(
            f"{path} ends inside its header, {4 + len(content)} bytes long; expected {num_dimensions} sizes of 4 bytes "
            f"after the magic number. {_REMEDY}"
        )
    sizes = struct.unpack(f">{num_dimensions}I", content)
    if 0 in sizes:
        raise DatasetError(f"{path} states the sizes {sizes}; expected each to be at least 1. {_REMEDY}")
    return sizes


def _read_numbers(stream: _Stream, path: Path, sizes: tuple[int, ...], stored: np.dtype[Any]) -> npt.NDArray[Any]:
    num_bytes = math.prod(sizes) * stored.itemsize
    content = _read_up_to(stream, num_bytes)
    if len(content) < num_bytes:
        raise DatasetError(
            f"{path} holds {len(content)} bytes of numbers; its sizes {sizes} of {stored.newbyteorder('=')} need "
            f"{num_bytes}. The file is cut short: fetch it again."
        )
    if stream.read(1):  # In a compressed file this is also what makes gzip compare its checksum.
        raise DatasetError(
            f"{path} goes on after the {num_bytes} bytes of numbers that its sizes {sizes} need. {_REMEDY}"
        )
    numbers = np.frombuffer(content, dtype=stored).reshape(sizes)
    return numbers.astype(stored.newbyteorder("="), copy=False)


def _read_up_to(stream: _Stream, num_bytes: int) -> bytearray:
    """Read ``num_bytes`` or as many as there are, in pieces, so that a header cannot ask for memory it does not fill."""
    content = bytearray()
    while len(content) < num_bytes:
        piece = stream.read(min(_CHUNK, num_bytes - len(content)))
        if not piece:
            break
        content += piece
    return content
