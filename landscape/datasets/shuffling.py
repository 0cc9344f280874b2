"""Random orders that are the same on every machine and in every future version of numpy."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt


def stable_permutation(length: int, *entropy: int) -> npt.NDArray[np.int64]:
    """Permute ``0 .. length - 1`` in an order fixed by ``entropy`` for good.

    Parameters
    ----------
    length : int
        How many indices.
    *entropy : int
        Non-negative integers; together they are the seed.

    Returns
    -------
    ndarray of shape (length,), int64

    Notes
    -----
    ``Generator.permutation`` may change between numpy releases, the raw stream of a bit generator may not (NEP 19). So
    64 raw bits are drawn per index and sorted; sorting is stable, hence a tie (chance about length² / 2⁶⁵) is settled
    too.

    Examples
    --------
    >>> stable_permutation(5, 0).tolist()
    [3, 2, 1, 0, 4]
    """
    raw = np.random.PCG64(np.random.SeedSequence(entropy)).random_raw(length)
    return np.argsort(raw, kind="stable").astype(np.int64)


def nested_subset(length: int, size: int, *entropy: int) -> npt.NDArray[np.int64]:
    """Choose ``size`` of ``length`` indices so that a smaller choice is always contained in a larger one.

    The indices are returned in ascending order, so that asking for all of them changes nothing.

    Examples
    --------
    >>> nested_subset(5, 2, 0).tolist(), nested_subset(5, 3, 0).tolist()
    ([2, 3], [1, 2, 3])
    """
    return np.sort(stable_permutation(length, *entropy)[:size])
