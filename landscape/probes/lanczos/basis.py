"""Orthonormal vectors held as rows, in chunks: what every Krylov space is stored in."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from landscape.vectors import dot_on_device

# Rows allocated at a time: 8 rows or 32 MB of float32, whichever is more. Chunks are never copied to grow, so the peak is
# the basis itself and not twice that; few chunks make few and large matrix products.
CHUNK_ROWS = 8
CHUNK_NUMBERS = 2**23
# Columns in one go: in cache, and short enough for float32 sums. Partial sums are added up in float64; without that, a
# vector with one large coordinate among 10^5 costs float32 bases one and a half digits of orthogonality.
TILE = 2**13
# Other devices add up in parallel, so with less rounding; there each tile is a kernel to launch, and no more are made.
MAX_TILES = 64
# A first pass of Gram-Schmidt that took away less than this share of what is left has nothing to correct.
NEGLIGIBLE = 0.1


class Basis:
    r"""Rows :math:`q_1, \ldots, q_k` of n numbers, meant to be orthonormal, with the products that Lanczos needs.

    Parameters
    ----------
    size : int
        n.
    dtype, device
        Of the rows.
    limit : int
        Rows that will ever be held; no memory is taken for more.

    Attributes
    ----------
    rows : int
        k.
    """

    def __init__(self, size: int, dtype: torch.dtype, device: torch.device, limit: int) -> None:
        self.size, self.dtype, self.device, self.limit = size, dtype, device, limit
        self.rows = 0
        self._chunk_rows = min(max(CHUNK_ROWS, min(256, CHUNK_NUMBERS // size)), limit)
        self._tile = TILE if device.type == "cpu" else max(TILE, -(-size // MAX_TILES))
        self._chunks: list[Tensor] = []

    def row(self, index: int) -> Tensor:
        """A view of one row."""
        return self._chunks[index // self._chunk_rows][index % self._chunk_rows]

    def store(self, index: int, vector: Tensor) -> None:
        """Write a row; rows beyond it are dropped."""
        if index // self._chunk_rows >= len(self._chunks):
            rows = min(self._chunk_rows, self.limit - len(self._chunks) * self._chunk_rows)
            self._chunks.append(torch.empty(rows, self.size, dtype=self.dtype, device=self.device))
        self.row(index).copy_(vector)
        self.rows = index + 1

    def truncate(self, rows: int) -> None:
        """Drop the rows from this one on, and the memory that only they used."""
        self.rows = rows
        del self._chunks[-(-rows // self._chunk_rows) :]

    def stack(self) -> Tensor:
        """All rows ``(k, n)``, as a copy."""
        if not self.rows:
            return torch.empty(0, self.size, dtype=self.dtype, device=self.device)
        return torch.cat(list(self._filled()))

    def coefficients(self, vectors: Tensor) -> Tensor:
        """Inner products of every row with a vector ``(n,)`` or the columns of ``(n, m)``, in float64: a matrix product."""
        parts = []
        for chunk in self._filled():
            tiles = zip(chunk.split(self._tile, dim=1), vectors.split(self._tile), strict=True)
            parts.append(torch.stack([rows @ part for rows, part in tiles]).sum(dim=0, dtype=torch.float64))
        return torch.cat(parts)

    def subtract(self, vectors: Tensor, coefficients: Tensor) -> None:
        """Take a combination from the vectors, in place: coefficients ``(j,)`` or ``(j, m)`` of the first j rows."""
        start = 0
        placed = coefficients.to(self.dtype)
        for chunk in self._filled():
            part = placed[start : start + len(chunk)]
            if vectors.dim() == 1:
                vectors.addmv_(chunk[: len(part)].T, part, alpha=-1.0)
            else:
                vectors.addmm_(chunk[: len(part)].T, part, alpha=-1.0)
            start += len(part)

    def orthogonalise(self, vectors: Tensor) -> Tensor:
        r"""Make vectors orthogonal to all rows, in place: classical Gram-Schmidt, twice where the first pass did something.

        Returns
        -------
        Tensor
            The coefficients of the first pass, which say how far from orthogonal the vectors came.

        Notes
        -----
        Two passes leave a defect of the size of rounding unless the vector lies in the span of the rows to working
        precision (Giraud, Langou, Rozložník, van den Eshof 2005, Numer. Math. 101). What the second corrects is rounding
        in proportion to the length that the first took away, so it is left out if that is under a tenth of what stays
        (Daniel, Gragg, Kaufman, Stewart 1976, Math. Comp. 30, with a stricter constant): nearly always in Lanczos, where
        the recurrence has done the work before. Where the comparison would mean waiting for the device, both passes are
        made. A pass is two matrix products, 4 k n multiplications and additions, bound by memory.
        """
        first = self.coefficients(vectors)
        self.subtract(vectors, first)
        if self.device.type == "cpu" and vectors.dim() == 1:
            taken, left = torch.dot(first, first), dot_on_device(vectors, vectors)
            if float(taken) <= NEGLIGIBLE**2 * float(left):
                return first
        self.subtract(vectors, self.coefficients(vectors))
        return first

    def combine(self, weights: Tensor) -> Tensor:
        """Combinations of the first rows: weights ``(j, m)`` float64 on the host give ``(m, n)``, with j at most k."""
        placed = weights.to(device=self.device, dtype=self.dtype)
        total = torch.zeros(weights.shape[1], self.size, dtype=self.dtype, device=self.device)
        start = 0
        for chunk in self._filled():
            part = placed[start : start + len(chunk)]
            total.addmm_(part.T, chunk[: len(part)])
            start += len(part)
        return total

    def replace(self, weights: Tensor) -> None:
        """Put the combinations of :meth:`combine` in place of the first rows, tile by tile: no second basis.

        The rows beyond the first m are dropped.
        """
        placed = weights.to(device=self.device, dtype=torch.float64)
        used, kept = placed.shape
        for low in range(0, self.size, self._tile):
            tile = torch.cat([chunk[:, low : low + self._tile] for chunk in self._filled()])[:used].double()
            fresh = placed.T @ tile
            for index in range(kept):
                self.row(index)[low : low + self._tile] = fresh[index]
        self.truncate(kept)

    def defect(self, sample: int) -> float:
        r"""Largest entry of :math:`|Q Q^\top - I|` in ``sample`` rows, evenly spaced, with all k, in float64."""
        if self.rows == 0:
            return 0.0
        chosen = torch.linspace(0, self.rows - 1, min(sample, self.rows)).round().long().unique().to(self.device)
        gram = torch.zeros(len(chosen), self.rows, dtype=torch.float64, device=self.device)
        for low in range(0, self.size, TILE):
            tile = torch.cat([chunk[:, low : low + TILE] for chunk in self._filled()]).double()
            gram.addmm_(tile[chosen], tile.T)
        gram[torch.arange(len(chosen), device=self.device), chosen] -= 1.0
        return float(gram.abs().max())

    def _filled(self) -> Iterator[Tensor]:
        for number, chunk in enumerate(self._chunks):
            filled = min(self.rows - number * self._chunk_rows, self._chunk_rows)
            if filled > 0:
                yield chunk[:filled]


def unit_rows(rows: Tensor) -> Tensor:
    """Rows scaled to length 1, in place."""
    for row in rows:
        row.div_(dot_on_device(row, row).sqrt())
    return rows
