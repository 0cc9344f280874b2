"""What every statistic asks of its input: numbers, of the shape it documents, as float64."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

FloatArray = NDArray[np.float64]


def numbers(values: ArrayLike, name: str, *, ndim: int | None = None) -> FloatArray:
    """``values`` as a float64 array that is not empty.

    Parameters
    ----------
    values : array_like
        Real numbers; NaN and infinities are let through.
    name : str
        What the caller calls them, for messages.
    ndim : int, optional
        The number of axes it must have. By default at least one.

    Returns
    -------
    ndarray of float64
        A view where ``values`` has the type already.

    Raises
    ------
    ValueError
        If they are no real numbers, of another number of axes, or none at all.
    """
    try:
        array = np.asarray(values)
        if np.iscomplexobj(array):
            raise TypeError("complex numbers have no order")
        array = array.astype(np.float64, copy=False)
    except (TypeError, ValueError) as error:
        raise ValueError(
            f"{name} cannot be read as an array of real numbers ({error}). Give numbers, as rows of equal length; write "
            "NaN for one that is missing."
        ) from None
    if (array.ndim < 1) if ndim is None else (array.ndim != ndim):
        needed = "at least one axis" if ndim is None else f"{ndim} {'axis' if ndim == 1 else 'axes'}"
        raise ValueError(f"{name} has shape {array.shape}; needed is an array with {needed}.")
    if array.size == 0:
        raise ValueError(f"{name} is empty (shape {array.shape}); at least one number is needed.")
    return array


def losses_of(values: ArrayLike, name: str, *, ndim: int | None = None) -> FloatArray:
    """Losses: :func:`numbers` of which none is negative.

    Raises
    ------
    ValueError
        As :func:`numbers`, and if one is negative: a ratio of losses means something only where both are positive.
    """
    array = numbers(values, name, ndim=ndim)
    lowest = np.min(array, where=~np.isnan(array), initial=np.inf)
    if lowest < 0:
        raise ValueError(
            f"{name} holds {lowest:.6g}; needed are losses of at least 0, since they are compared by their ratio. Add the "
            "constant that makes the loss positive, or compare differences instead."
        )
    return array


def checked_floor(floor: float) -> float:
    """A loss below which losses count as equal.

    Raises
    ------
    ValueError
        If it is negative, infinite or NaN.
    """
    if not 0 <= floor < np.inf:
        raise ValueError(f"floor={floor!r} was given; needed is a finite loss of at least 0 (0: no floor).")
    return float(floor)


def same_length(**arrays: FloatArray) -> None:
    """Refuse vectors that do not pair up.

    Raises
    ------
    ValueError
        If their lengths differ.
    """
    lengths = {name: len(array) for name, array in arrays.items()}
    if len(set(lengths.values())) > 1:
        told = ", ".join(f"{name} {length}" for name, length in lengths.items())
        raise ValueError(f"the lengths differ ({told}); the entries are pairs, so give one of each for every seed.")


def checked_share(value: float, name: str) -> float:
    """A number strictly between 0 and 1.

    Raises
    ------
    ValueError
        If it is not.
    """
    if not 0 < value < 1:
        raise ValueError(f"{name}={value!r} was given; needed is a number between 0 and 1, such as 0.95 or 0.05.")
    return float(value)


def checked_count(value: int, name: str) -> int:
    """A whole number of at least 1.

    Raises
    ------
    ValueError
        If it is not.
    """
    if isinstance(value, bool) or int(value) != value or value < 1:
        raise ValueError(f"{name}={value!r} was given; needed is a whole number of at least 1.")
    return int(value)
