r"""Rank-two updates of a dense inverse Hessian: the self-scaled Broyden family, BFGS among it.

For a step s with change of gradient y, a member of the family turns the approximation B of the Hessian into

.. math::

    B_+ = \tau \left( B - \frac{B s s^\top B}{s^\top B s} + \theta\, w w^\top \right) + \frac{y y^\top}{y^\top s},
    \qquad w = \sqrt{s^\top B s} \left( \frac{y}{y^\top s} - \frac{B s}{s^\top B s} \right),

with :math:`\theta = 0` for BFGS, 1 for DFP, and :math:`\tau = 1` without scaling. Held here is the inverse,
:math:`H = B^{-1}`, for which the same update is, with u = H y and :math:`\phi = (1 - \theta) / (1 + a \theta)`,

.. math::

    H_+ = \frac{1}{\tau} \left( H - \frac{u u^\top}{y^\top u} + \phi\, v v^\top \right) + \frac{s s^\top}{y^\top s},
    \qquad v = \sqrt{y^\top u} \left( \frac{s}{y^\top s} - \frac{u}{y^\top u} \right).

All that the choice of :math:`\theta` and :math:`\tau` depends on is in two numbers, both 1 where H is exact along the step:
:math:`b = s^\top B s / y^\top s` and :math:`h = y^\top H y / y^\top s`; :math:`a = b h - 1 \ge 0` by Cauchy and Schwarz.

References
----------
Al-Baali (1998), Numerical experience with a class of self-scaling quasi-Newton algorithms, J. Optim. Theory Appl. 96.
Al-Baali, Khalfan (2005), Wide interval for efficient self-scaling quasi-Newton algorithms, Optim. Methods Softw. 20.
Urban, Stefanou, Pons (2025), Unveiling the optimization process of physics informed neural networks: How accurate and
competitive can PINNs be?, J. Comput. Phys. 523 (arXiv:2405.04230), section 2.2: formulas for networks that solve
differential equations.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

import torch
from torch import Tensor

from landscape.vectors import dot


@dataclass(frozen=True)
class Mismatch:
    """How far an inverse Hessian H is from mapping y to s, in numbers without unit.

    Attributes
    ----------
    b : float
        s'Bs / y's with B the inverse of H: the curvature along s that was expected, over the one found.
    h : float
        y'Hy / y's.
    num_params : int
    """

    b: float
    h: float
    num_params: int

    @property
    def a(self) -> float:
        """``b h - 1``; 0 only if Hy and s are parallel, and then all members are the same but for the scaling."""
        return max(self.b * self.h - 1.0, 0.0)

    @property
    def c(self) -> float:
        r""":math:`\sqrt{a / (1 + a)}`."""
        return math.sqrt(self.a / (1.0 + self.a))

    @property
    def rho(self) -> float:
        r""":math:`\min(1, h (1 - c))`; computed with :math:`1 + a = b h`, without a difference of numbers close to 1."""
        return min(1.0, 1.0 / (self.b * (1.0 + self.c)))

    @property
    def least_theta(self) -> float:
        r""":math:`\theta^- = (\rho - 1) / a`."""
        return (self.rho - 1.0) / self.a if self.a > 0.0 else -1.0

    def sigma(self, theta: float) -> float:
        r""":math:`1 + a \theta`, which is positive for every member that keeps H positive definite."""
        return max(1.0 + self.a * theta, sys.float_info.epsilon)


@dataclass(frozen=True)
class Member:
    r"""One member of the family: :math:`\theta` (0 is BFGS, 1 is DFP) and :math:`\tau` (1 is no scaling)."""

    theta: float
    tau: float


UpdateFormula = Callable[[Mismatch], Member]


def bfgs(mismatch: Mismatch) -> Member:  # noqa: ARG001
    """BFGS as everybody knows it, without scaling."""
    return Member(theta=0.0, tau=1.0)


def self_scaled_bfgs(mismatch: Mismatch) -> Member:
    r"""BFGS with :math:`\tau = \min(1, 1/b)` (Al-Baali 1998): curvature is taken back where more was expected than found."""
    return Member(theta=0.0, tau=min(1.0, 1.0 / mismatch.b))


def self_scaled_broyden(mismatch: Mismatch) -> Member:
    r"""Self-scaled Broyden with :math:`\theta` near :math:`(1 - b) / b`: "SSBroyden2" of Urban et al. (2025).

    With :math:`c = \sqrt{a / (1 + a)}` and :math:`\rho = \min(1, h (1 - c))`, the parameter is the number closest to
    :math:`(1 - b) / b` between :math:`\theta^- = (\rho - 1) / a` and :math:`\theta^+ = 1 / \rho`. With
    :math:`\sigma = 1 + a \theta` and :math:`\sigma_n = \sigma^{1 / (1 - n)}`,

    .. math::

        \tau = \min(1, 1/b) \min(\sigma_n, 1/\theta) \text{ if } \theta > 0, \qquad
        \tau = \min(\min(1, 1/b)\, \sigma_n, \sigma) \text{ else}.

    The factor :math:`\sigma_n` makes up for what :math:`\theta` does to the determinant, which is
    :math:`\det B_+ = \tau^{n-1} \sigma \det B / b`.
    """
    theta = max(mismatch.least_theta, min(1.0 / mismatch.rho, (1.0 - mismatch.b) / mismatch.b))
    return Member(theta, _tau(mismatch, theta))


def self_scaled_broyden_rank_one(mismatch: Mismatch) -> Member:
    r"""Self-scaled Broyden with :math:`\theta` near that of the symmetric rank-one update: "SSBroyden1".

    As :func:`self_scaled_broyden`, with :math:`1 / (1 - b)` in place of :math:`(1 - b) / b` and
    :math:`\theta^+ = \max(1, b (1 + c))`.
    """
    b = mismatch.b
    if b < 1.0:
        theta = min(max(1.0, b * (1.0 + mismatch.c)), 1.0 / (1.0 - b))
    else:
        theta = max(mismatch.least_theta, 1.0 / (1.0 - b) if b > 1.0 else -math.inf)
    return Member(theta, _tau(mismatch, theta))


UPDATES: Mapping[str, UpdateFormula] = MappingProxyType(
    {
        "ssbroyden": self_scaled_broyden,
        "ssbroyden-rank-one": self_scaled_broyden_rank_one,
        "ssbfgs": self_scaled_bfgs,
        "bfgs": bfgs,
    }
)
"""Short names of the members, as ``SelfScaledBroyden(update=...)`` takes them."""


def update_inverse_(H: Tensor, step: Tensor, change: Tensor, expected: float, formula: UpdateFormula) -> Member:
    r"""Teach an inverse Hessian one step, in place; afterwards it maps ``change`` to ``step``.

    Parameters
    ----------
    H : Tensor of shape (n, n)
        Symmetric, positive definite; overwritten, and both again to rounding.
    step, change : Tensor of shape (n,)
        How the parameters and the gradient have changed; their dot product must be positive.
    expected : float
        :math:`s^\top H^{-1} s`. For a step :math:`s = -\alpha H g` that is :math:`-\alpha\, g^\top s`: nobody inverts H.
    formula : callable
        One of ``UPDATES``, or another function of the :class:`Mismatch`.

    Returns
    -------
    Member
        What the formula chose.

    Notes
    -----
    H is read twice and written once: for one product with a vector, and for one sum with a matrix of rank two.

    Examples
    --------
    >>> H = torch.eye(2)
    >>> step, change = torch.tensor([1.0, 0.0]), torch.tensor([4.0, 1.0])
    >>> member = update_inverse_(H, step, change, expected=1.0, formula=self_scaled_broyden)
    >>> torch.allclose(H @ change, step, atol=1e-6)
    True
    """
    product = H @ change
    found, spread = dot(step, change), dot(change, product)
    mismatch = Mismatch(expected / found, spread / found, len(H))
    member = formula(mismatch)
    phi = (1.0 - member.theta) / mismatch.sigma(member.theta)
    # The matrix of rank two in terms of s and u / h, which has the units of s; the root keeps float32 from overflowing.
    small = torch.tensor(
        [[(phi - 1.0) * mismatch.h, -phi * mismatch.h], [-phi * mismatch.h, phi * mismatch.h + member.tau]],
        dtype=torch.float64,
    ).div_(member.tau)
    pair = torch.stack([product / mismatch.h, step], dim=1).div_(math.sqrt(found))
    H.addmm_(pair @ small.to(H), pair.T, beta=1.0 / member.tau)
    return member


def _tau(mismatch: Mismatch, theta: float) -> float:
    sigma = mismatch.sigma(theta)
    level = math.exp(-math.log(sigma) / max(mismatch.num_params - 1, 1))
    bound = min(1.0, 1.0 / mismatch.b)
    return bound * min(level, 1.0 / theta) if theta > 0.0 else min(bound * level, sigma)
