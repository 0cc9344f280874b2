"""Dictionaries of arrays that Python 2 pickled, read without ever calling what the file asks for."""

from __future__ import annotations

import io
import math
import pickle
import pickletools
from typing import Any

import numpy as np

from landscape.datasets.errors import DatasetError

_REMEDY = "Fetch the published archive again, or use the binary version, which needs no unpickling."
_MAX_MEMO = 1_000_000


def load_pickled_arrays(content: bytes, source: str) -> dict[Any, Any]:
    """Read a pickled dictionary whose values are plain values or arrays of bytes.

    Parameters
    ----------
    content : bytes
        The whole pickle; strings of Python 2 come back as ``bytes``.
    source : str
        What messages call the file.

    Returns
    -------
    dict
        Values that were numpy arrays are numpy arrays of uint8.

    Raises
    ------
    DatasetError
        If the pickle names anything but the three names that a numpy array of Python 2 consists of (the message says
        which), if it is damaged, or if it is no dictionary.

    Notes
    -----
    A pickle is a program: it names functions and has them called. Here even the three admitted names do not lead to
    numpy but to stand-ins that only keep what they are given, so that a file can neither run code nor ask numpy for
    an array larger than the bytes it brings along; and it keeps working when numpy moves its internals.
    """
    try:
        _check_opcodes(content)
        loaded = _ArrayUnpickler(io.BytesIO(content), encoding="bytes").load()
    except DatasetError as error:
        raise DatasetError(f"{source}: {error} {_REMEDY}") from error
    except Exception as error:  # A damaged pickle can make its own machinery raise almost anything.
        raise DatasetError(
            f"{source} is not a whole pickle ({type(error).__name__}: {str(error)[:200]}). {_REMEDY}"
        ) from error
    if not isinstance(loaded, dict):
        raise DatasetError(f"{source} holds a {type(loaded).__name__}; expected a dictionary. {_REMEDY}")
    try:
        return {key: value.to_array() if isinstance(value, _Array) else value for key, value in loaded.items()}
    except DatasetError as error:
        raise DatasetError(f"{source}: {error} {_REMEDY}") from error


def _check_opcodes(content: bytes) -> None:
    """Look the pickle through before running it."""
    last = -1
    for opcode, argument, position in pickletools.genops(content):
        # The unpickler sets aside memory for all memo indices below the one it is told.
        if opcode.name in ("PUT", "BINPUT", "LONG_BINPUT") and isinstance(argument, int) and argument > _MAX_MEMO:
            raise DatasetError(f"it numbers an object {argument}; a published file has fewer than {_MAX_MEMO}.")
        last = -1 if position is None else position
    if last + 1 != len(content):
        raise DatasetError(f"it ends after {last + 1} bytes, but {len(content) - last - 1} more follow.")


class _DType:
    """Stands in for a numpy dtype: the code it was made with."""

    __slots__ = ("code",)

    def __init__(self, code: object) -> None:
        self.code = code.decode("ascii", "replace") if isinstance(code, bytes) else str(code)

    def __setstate__(self, state: object) -> None:
        """Byte order and alignment follow, which mean nothing for single bytes."""


class _Array:
    """Stands in for a numpy array: the state it was given."""

    __slots__ = ("state",)

    def __init__(self) -> None:
        self.state: object = None

    def __setstate__(self, state: object) -> None:
        self.state = state

    def to_array(self) -> np.ndarray[Any, np.dtype[np.uint8]]:
        if not isinstance(self.state, tuple) or len(self.state) != 5:
            raise DatasetError("an array has no contents.")
        _, shape, dtype, is_fortran, content = self.state
        if not isinstance(dtype, _DType) or dtype.code.lstrip("|") != "u1":
            found: int | str = dtype.code if isinstance(dtype, _DType) else type(dtype).__name__
            raise DatasetError(f"an array has the type {found}; expected u1, that is, bytes.")
        if not isinstance(shape, tuple) or not all(type(size) is int and size > 0 for size in shape) or len(shape) > 32:
            raise DatasetError("an array has no valid shape.")
        if not isinstance(content, bytes) or len(content) != math.prod(shape):
            found = len(content) if isinstance(content, bytes) else type(content).__name__
            raise DatasetError(f"an array of shape {shape} comes with {found} bytes; expected {math.prod(shape)}.")
        return np.frombuffer(bytearray(content), dtype=np.uint8).reshape(shape, order="F" if is_fortran else "C")


class _StandIn:
    """What an admitted name leads to. Without attributes, so that a pickle has nothing to overwrite."""

    __slots__ = ()


class _MakeArray(_StandIn):
    __slots__ = ()

    def __call__(self, *_: object) -> _Array:
        return _Array()


class _MakeDType(_StandIn):
    __slots__ = ()

    def __call__(self, code: object, *_: object) -> _DType:
        return _DType(code)


_ADMITTED: dict[tuple[str, str], type[_StandIn]] = {
    ("numpy.core.multiarray", "_reconstruct"): _MakeArray,
    ("numpy._core.multiarray", "_reconstruct"): _MakeArray,
    ("numpy", "ndarray"): _StandIn,
    ("numpy", "dtype"): _MakeDType,
}


class _ArrayUnpickler(pickle.Unpickler):
    def find_class(self, module_name: str, global_name: str, /) -> _StandIn:
        admitted = _ADMITTED.get((module_name, global_name))
        if admitted is None:
            names = ", ".join(f"{module}.{name}" for module, name in _ADMITTED)
            raise DatasetError(
                f"it asks for {module_name}.{global_name}, which was refused and not called; "
                f"a published file asks only for {names}."
            )
        return admitted()
