"""Curvature that a probe has measured, as a preconditioner: the leading eigenvalues made equal."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from landscape.optim.preconditioner.diagonal import DiagonalPreconditioner

#: Eigenvalues below so many epsilons of the largest are rounding, and not taken for measured curvature.
ROUNDING_EPSILONS = 100.0
#: How far the vectors given may be from orthonormal, in units of the square root of the dtype's epsilon.
MAX_DEFECT = 10.0


class RitzPreconditioner:
    r"""A diagonal scale D, and in its variables equal curvature along k measured directions.

    .. math:: S = D\,\bigl(I + V \operatorname{diag}(w_i^{1/2} - 1)\, V^\top\bigr), \qquad w_i = \mu / |\lambda_i|,
        \qquad \mu = \min_i |\lambda_i|

    Parameters
    ----------
    eigenvalues : Tensor of shape (k,)
        Of :math:`D H D`, not 0. Negative curvature counts by its magnitude: along it a step is as long as along positive
        curvature of that size, and leads downhill, where Newton's leads up.
    vectors : Tensor of shape (n, k)
        Their eigenvectors: orthonormal columns in the dtype of the parameters.
    base : DiagonalPreconditioner, optional
        D. Default: the identity.

    Raises
    ------
    ValueError
        If an eigenvalue is 0 or not finite, or the columns are not orthonormal.

    Notes
    -----
    With :math:`P_y = (I + V(|\Lambda|/\mu - I)V^\top)^{-1}` the scaled Hessian :math:`S^\top H S` has the eigenvalues
    :math:`\pm\mu` along V, if the pairs are exact, and is unchanged across it: its condition number falls from
    :math:`|\lambda_1| / |\lambda_n|` to about :math:`|\lambda_{k+1}| / |\lambda_n|`. That is worth something while the
    Hessian changes little.

    Cost: a product 4 k n multiplications. Memory: k + 1 vectors. The pairs cost what they cost, which is nothing if a
    certificate or a monitor had to measure them anyway; see
    :func:`landscape.optim.preconditioner.measure.ritz_preconditioner`.

    References
    ----------
    Giraud, Gratton (2006), On the sensitivity of some spectral preconditioners, SIAM J. Matrix Anal. Appl. 27 (spectral
    preconditioners). Dauphin et al. (2014), arXiv:1406.2572 (magnitudes of negative eigenvalues).

    Examples
    --------
    >>> H = torch.diag(torch.tensor([100.0, 4.0, 1.0], dtype=torch.float64))
    >>> identity = torch.eye(3, dtype=torch.float64)
    >>> ritz = RitzPreconditioner(torch.tensor([100.0, 4.0]), identity[:, :2])
    >>> scaled = [float(ritz.scale_transposed(H @ ritz.scale(column)) @ column) for column in identity]
    >>> [round(value, 10) for value in scaled]
    [4.0, 4.0, 1.0]
    """

    def __init__(self, eigenvalues: Tensor, vectors: Tensor, base: DiagonalPreconditioner | None = None) -> None:
        _check_pairs(eigenvalues, vectors, base)
        gram = (vectors.mT @ vectors).double()
        defect = float((gram - torch.eye(len(gram), dtype=gram.dtype, device=gram.device)).abs().max())
        if defect > MAX_DEFECT * torch.finfo(vectors.dtype).eps ** 0.5:
            raise ValueError(
                f"the vectors are not orthonormal: V'V differs from the identity by {defect:.2g}. Use from_ritz_pairs, "
                "which makes them so, or torch.linalg.qr."
            )
        sizes = eigenvalues.detach().double().abs()
        if not bool((sizes > 0).all()):
            raise ValueError("an eigenvalue is 0; no scale makes it equal to the others. Leave its pair out.")
        gains = (sizes.min() / sizes).sqrt() - 1.0
        self._hold(vectors.detach().clone(), gains.to(vectors), base)

    def scale(self, vector: Tensor) -> Tensor:
        """S v."""
        corrected = self._corrected(vector)
        return corrected if self.base is None else self.base.scale(corrected)

    def scale_transposed(self, vector: Tensor) -> Tensor:
        """S^T g."""
        return self._corrected(vector if self.base is None else self.base.scale_transposed(vector))

    def tensors(self) -> dict[str, Tensor]:
        """V, the w^(1/2) - 1, and the diagonal of D if there is one."""
        base = {} if self.base is None else self.base.tensors()
        return {"vectors": self.vectors, "gains": self.gains, **base}

    @classmethod
    def from_tensors(cls, tensors: Mapping[str, Tensor]) -> RitzPreconditioner:
        """Restore what :meth:`tensors` returned."""
        made = cls.__new__(cls)
        base = DiagonalPreconditioner.from_tensors(tensors) if "diagonal" in tensors else None
        made._hold(tensors["vectors"].clone(), tensors["gains"].clone(), base)
        return made

    @classmethod
    def from_ritz_pairs(
        cls, eigenvalues: Tensor, vectors: Tensor, base: DiagonalPreconditioner | None = None
    ) -> RitzPreconditioner:
        r"""Take pairs of the Hessian in the parameters themselves, and carry them over to the variables of ``base``.

        Parameters
        ----------
        eigenvalues : Tensor of shape (k,)
            Ritz values of H.
        vectors : Tensor of shape (n, k)
            Their Ritz vectors; linearly independent.
        base : DiagonalPreconditioner, optional
            D.

        Returns
        -------
        RitzPreconditioner
            Of at most k pairs: those that are rounding, below 100 epsilons of the largest, are left out.

        Raises
        ------
        ValueError
            If the shapes do not fit, something is not finite, or nothing is left.

        Notes
        -----
        In :math:`y = D^{-1} x` the Hessian is :math:`D H D`, of which :math:`D V \Lambda V^\top D` is known. With
        :math:`D V = Q R` its eigenvectors are :math:`Q U` and its eigenvalues :math:`\Theta`, where
        :math:`R \Lambda R^\top = U \Theta U^\top` is a k by k problem, solved in float64. What H does across V is
        unknown here and taken as 0, which is an approximation unless D is a multiple of the identity. Pairs of
        :math:`D H D` itself, which the constructor takes, are better where they can be had.

        Cost: 2 n k² multiplications for the QR decomposition.

        Examples
        --------
        >>> V = torch.linalg.qr(torch.tensor([[2.0, 0.0], [1.0, 1.0], [0.0, 3.0]], dtype=torch.float64)).Q
        >>> eigenvalues = torch.tensor([9.0, -4.0], dtype=torch.float64)
        >>> D = DiagonalPreconditioner(torch.tensor([1.0, 0.1, 2.0], dtype=torch.float64))
        >>> ritz = RitzPreconditioner.from_ritz_pairs(eigenvalues, V, D)
        >>> S = torch.stack([ritz.scale(column) for column in torch.eye(3, dtype=torch.float64)], dim=1)
        >>> ends = torch.linalg.eigvalsh(S.T @ (V * eigenvalues) @ V.T @ S)  # -mu, 0, mu
        >>> bool(torch.isclose(ends[0], -ends[2]))
        True
        """
        _check_pairs(eigenvalues, vectors, base)
        scaled = vectors.detach() if base is None else base.diagonal[:, None] * vectors.detach()
        Q, R = torch.linalg.qr(scaled)
        R = R.double()
        thetas, U = torch.linalg.eigh((R * eigenvalues.detach().to(R)) @ R.mT)
        noise = ROUNDING_EPSILONS * torch.finfo(vectors.dtype).eps * thetas.abs().max()
        kept = thetas.abs() > noise
        if not bool(kept.any()):
            raise ValueError("all eigenvalues are 0: there is no curvature to scale by. Use the base alone.")
        return cls(thetas[kept], Q @ U[:, kept].to(Q), base)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({len(self.gains)} pairs, n={len(self.vectors)}, base={self.base})"

    def _hold(self, vectors: Tensor, gains: Tensor, base: DiagonalPreconditioner | None) -> None:
        """All in one dtype, that of the parameters, so that a checkpoint changes nothing."""
        self.vectors, self.gains, self.base = vectors, gains, base

    def _corrected(self, vector: Tensor) -> Tensor:
        """(I + V diag(gains) V^T) v."""
        return torch.addmv(vector, self.vectors, self.gains * (self.vectors.mT @ vector))


def _check_pairs(eigenvalues: Tensor, vectors: Tensor, base: DiagonalPreconditioner | None) -> None:
    if vectors.dim() != 2 or eigenvalues.shape != vectors.shape[1:] or not 1 <= vectors.shape[1] <= vectors.shape[0]:
        raise ValueError(
            f"eigenvalues have the shape {tuple(eigenvalues.shape)} and vectors {tuple(vectors.shape)}; (k,) and (n, k) are "
            "needed, 1 <= k <= n, with a vector in every column."
        )
    if not vectors.is_floating_point() or not bool(torch.isfinite(eigenvalues).all() and torch.isfinite(vectors).all()):
        raise ValueError(
            "eigenvalues and vectors have to be real, finite floating-point numbers. Leave such pairs out."
        )
    if base is not None and (len(base.diagonal), base.diagonal.dtype) != (len(vectors), vectors.dtype):
        raise ValueError(
            f"base scales {len(base.diagonal)} parameters in {base.diagonal.dtype}, the vectors have {len(vectors)} entries "
            f"in {vectors.dtype}. Both have to be those of the same parameters."
        )
