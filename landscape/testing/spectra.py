"""Symmetric operators whose eigenvalues are known, at any size."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType

import torch
from torch import Tensor

from landscape.operators.base import LinearOperator

#: Up to this size the eigenvectors are a dense random orthogonal matrix; above, a fast transform that stores 4 n numbers.
DENSE_UP_TO = 512


def positive_definite(n: int) -> Tensor:
    """Geometric from 1e-3 to 1: the hard half of what conjugate gradients meets."""
    return torch.logspace(-3, 0, n, dtype=torch.float64)


def indefinite(n: int) -> Tensor:
    """Evenly from -1 to 2."""
    return torch.linspace(-1.0, 2.0, n, dtype=torch.float64)


def negative_definite(n: int) -> Tensor:
    """Geometric from -1 to -1e-3: trace and every curvature below zero."""
    return -positive_definite(n)


def clustered(n: int) -> Tensor:
    """Three tight clusters around -0.5, 0.1 and 1: the middle one exactly repeated, the others 1e-8 wide."""
    third = n // 3
    jitter = torch.linspace(0.0, 1e-8, third, dtype=torch.float64)
    return torch.cat([jitter - 0.5, torch.full((n - 2 * third,), 0.1, dtype=torch.float64), jitter + 1.0])


def singular(n: int) -> Tensor:
    """Half of the eigenvalues exactly 0, the others evenly up to 1, as with symmetries and dead units."""
    return torch.cat([torch.zeros(n // 2), torch.linspace(0.1, 1.0, n - n // 2)]).double()


def one_outlier(n: int) -> Tensor:
    """A bulk between -0.01 and 0.01 and one eigenvalue at 10."""
    return torch.cat([torch.linspace(-0.01, 0.01, n, dtype=torch.float64)[: n - 1], torch.tensor([10.0]).double()])


def decaying(n: int) -> Tensor:
    """1, 1/4, 1/9, ...: a few eigenvalues carry the trace."""
    return torch.arange(1, n + 1, dtype=torch.float64) ** -2


def low_rank(n: int) -> Tensor:
    """Up to five eigenvalues of either sign, the others exactly 0."""
    values = torch.zeros(n, dtype=torch.float64)
    values[:5] = torch.tensor([3.0, -2.0, 1.0, -0.5, 0.25], dtype=torch.float64)[:n]
    return values


def neural_network(n: int) -> Tensor:
    """What Hessians of classifiers show: a bulk at 0, up to nine outliers from 2 to 20, 2 % negative down to -0.5.

    References
    ----------
    Ghorbani, Krishnan, Xiao (2019), An investigation into neural net optimization via Hessian eigenvalue density, ICML.
    """
    num_outliers, num_negative = min(9, n // 4), -(-n // 50)
    size = n - num_outliers - num_negative
    levels = (torch.arange(size, dtype=torch.float64) + 0.5) / max(1, size)
    bulk = 1e-3 * torch.special.ndtri(levels) ** 2  # quantiles of a squared normal variable
    outliers = torch.logspace(math.log10(2.0), math.log10(20.0), num_outliers, dtype=torch.float64)
    return torch.cat([-torch.logspace(math.log10(0.5), -2, num_negative, dtype=torch.float64), bulk, outliers])


def identity(n: int) -> Tensor:
    """All eigenvalues 1: every Krylov space is exhausted after one step."""
    return torch.ones(n, dtype=torch.float64)


def zero(n: int) -> Tensor:
    """The zero matrix."""
    return torch.zeros(n, dtype=torch.float64)


#: Families by name: each takes a size and gives the eigenvalues in float64.
SPECTRA: Mapping[str, Callable[[int], Tensor]] = MappingProxyType(
    {
        family.__name__: family
        for family in (
            positive_definite,
            indefinite,
            negative_definite,
            clustered,
            singular,
            one_outlier,
            decaying,
            low_rank,
            neural_network,
            identity,
            zero,
        )
    }
)


class KnownOperator(LinearOperator):
    r""":math:`A = Q \Lambda Q^\top` with given eigenvalues and random orthonormal eigenvectors.

    Made by :func:`known_spectrum`. Eigenvectors are spread over all coordinates: a uniformly (Haar) distributed Q up
    to n = 512; above, two rounds of random signs and a discrete Hartley transform, so that a product costs
    :math:`O(n \log n)` and n = 10^6 is cheap.

    Parameters
    ----------
    eigenvalues : Tensor of shape (n,)
        In any order.
    dtype : torch.dtype
        float32 or float64.
    generator : torch.Generator
        Source of the eigenvectors.

    Attributes
    ----------
    eigenvalues : Tensor of shape (n,), float64
        Ascending.
    """

    def __init__(self, eigenvalues: Tensor, dtype: torch.dtype, generator: torch.Generator) -> None:
        super().__init__(eigenvalues.numel(), dtype, torch.device("cpu"))
        self.eigenvalues = eigenvalues.to(torch.float64).sort().values
        self._scaling = self.eigenvalues.to(dtype)
        n = self.size
        self._dense: Tensor | None = None
        self._signs = torch.empty(0)
        if n <= DENSE_UP_TO:
            Q, R = torch.linalg.qr(torch.randn(n, n, generator=generator, dtype=torch.float64))
            self._dense = (Q * R.diagonal().sign()).to(dtype)  # the signs make Q uniformly distributed
        else:
            self._signs = (2 * torch.randint(2, (2, n), generator=generator) - 1).to(dtype)

    @property
    def lambda_min(self) -> float:
        """The smallest eigenvalue."""
        return float(self.eigenvalues[0])

    @property
    def lambda_max(self) -> float:
        """The largest eigenvalue."""
        return float(self.eigenvalues[-1])

    @property
    def description(self) -> str:
        """Size and the ends of the spectrum."""
        return (
            f"a symmetric {self.size} x {self.size} matrix with eigenvalues {self.lambda_min:g} to {self.lambda_max:g}"
        )

    def eigenvector(self, index: int) -> Tensor:
        """The unit eigenvector of ``eigenvalues[index]``; 0 is the lowest, -1 the highest."""
        unit = torch.zeros(self.size, dtype=self.dtype)
        unit[index] = 1.0
        return self._rotate(unit)

    def _matvec(self, vector: Tensor) -> Tensor:
        return self._rotate(self._scaling * self._rotate_back(vector))

    def _rotate(self, vector: Tensor) -> Tensor:
        if self._dense is not None:
            return self._dense @ vector
        return _hartley(self._signs[1] * _hartley(self._signs[0] * vector))

    def _rotate_back(self, vector: Tensor) -> Tensor:
        if self._dense is not None:
            return self._dense.T @ vector
        return self._signs[0] * _hartley(self._signs[1] * _hartley(vector))


def known_spectrum(
    spectrum: str | Tensor | Sequence[float],
    n: int | None = None,
    dtype: torch.dtype = torch.float64,
    generator: torch.Generator | None = None,
    scale: float = 1.0,
) -> KnownOperator:
    """Make a symmetric operator with given eigenvalues and random eigenvectors.

    Parameters
    ----------
    spectrum : str, or Tensor or sequence of float
        A family of :data:`SPECTRA`, or the eigenvalues themselves.
    n : int, optional
        Size; needed with a family, and at least 1. Given eigenvalues bring their own.
    dtype : torch.dtype
        float64 or float32.
    generator : torch.Generator, optional
        Source of the eigenvectors. Default: a private one, the same at every call.
    scale : float
        Multiplies every eigenvalue, e.g. 1e-6 or 1e6.

    Returns
    -------
    KnownOperator
        With ``eigenvalues`` (ascending, float64), ``lambda_min``, ``lambda_max`` and ``eigenvector(index)``.

    Raises
    ------
    ValueError
        If the family is unknown, the sizes disagree, or a value is not finite.

    Examples
    --------
    >>> A = known_spectrum([-1.0, 2.0, 5.0])
    >>> A.lambda_min, A.lambda_max
    (-1.0, 5.0)
    >>> v = A.eigenvector(0)
    >>> bool(torch.allclose(A @ v, -1.0 * v))
    True
    >>> known_spectrum("neural_network", 100_000).size
    100000
    """
    generator = torch.Generator().manual_seed(0) if generator is None else generator
    if dtype not in (torch.float32, torch.float64):
        raise ValueError(f"dtype={dtype} was given; known spectra are made in torch.float32 or torch.float64.")
    if isinstance(spectrum, str):
        if spectrum not in SPECTRA:
            raise ValueError(
                f"spectrum={spectrum!r} is not known. Choose one of {', '.join(SPECTRA)}, or give eigenvalues."
            )
        if n is None or n < 1:
            raise ValueError(f"n={n} was given with spectrum={spectrum!r}; it must be at least 1.")
        values = SPECTRA[spectrum](n)
    else:
        values = torch.as_tensor(spectrum, dtype=torch.float64).reshape(-1)
        if values.numel() == 0 or n not in (None, values.numel()):
            raise ValueError(f"{values.numel()} eigenvalues were given with n={n}; leave n out, and give at least one.")
    values = scale * values
    if not bool(torch.isfinite(values).all()):
        raise ValueError(f"an eigenvalue is NaN or infinite (scale={scale}); all must be finite.")
    return KnownOperator(values, dtype, generator)


def _hartley(vector: Tensor) -> Tensor:
    """The orthonormal discrete Hartley transform: symmetric and its own inverse."""
    transformed: Tensor = torch.fft.fft(vector, norm="ortho")
    return transformed.real - transformed.imag
