"""Small problems whose Hessian is known in closed form, to test operators, probes and optimisers on."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

import torch
from torch import Tensor, nn

from landscape.problem import Problem


@dataclass(frozen=True)
class KnownProblem:
    """A problem with its Hessian.

    Attributes
    ----------
    problem : Problem
        float64 unless asked otherwise.
    hessian_at : callable
        ``hessian_at(params) -> (n, n)`` in float64, by formula, not by differentiation.
    is_convex : bool
        Whether the loss is convex everywhere.
    """

    problem: Problem
    hessian_at: Callable[[Tensor], Tensor]
    is_convex: bool

    @property
    def hessian(self) -> Tensor:
        """The Hessian ``(n, n)`` where the model stands."""
        return self.hessian_at(self.problem.params().double())


class Point(nn.Module):
    """A model that is its parameters; the data it is given do not matter."""

    def __init__(self, coordinates: Tensor) -> None:
        super().__init__()
        self.coordinates = nn.Parameter(coordinates)

    def forward(self, _: Tensor) -> Tensor:
        """The parameters."""
        return self.coordinates


def function_problem(function: Callable[[Tensor], Tensor], params: Tensor) -> Problem:
    """Any function of one vector as a problem with a single sample.

    Parameters
    ----------
    function : callable
        Takes ``(n,)`` and gives a scalar, differentiably.
    params : Tensor of shape (n,)
        Where the model stands.

    Examples
    --------
    >>> function_problem(lambda x: x @ x, torch.tensor([3.0, 4.0])).loss().item()
    25.0
    """
    nothing = torch.zeros(1, dtype=params.dtype)
    return Problem.from_closure(Point(params.clone()), lambda model, batch: function(model(batch)), [nothing])


def quadratic(matrix: Tensor, linear: Tensor | None = None, params: Tensor | None = None) -> KnownProblem:
    r"""The loss :math:`\frac12 x^\top A x - b^\top x`, whose Hessian is A everywhere.

    Parameters
    ----------
    matrix : Tensor of shape (n, n)
        A, symmetric, of any sign: ``known_spectrum(...).to_dense()`` gives one of known eigenvalues.
    linear : Tensor of shape (n,), optional
        b. Default: 0.
    params : Tensor of shape (n,), optional
        Where the model stands. Default: ones.

    Examples
    --------
    >>> known = quadratic(torch.diag(torch.tensor([1.0, -2.0], dtype=torch.float64)))
    >>> known.problem.gradient().tolist(), known.is_convex
    ([1.0, -2.0], False)
    """
    A = (matrix + matrix.T) / 2
    b = torch.zeros_like(A[0]) if linear is None else linear
    params = torch.ones_like(b) if params is None else params
    problem = function_problem(lambda x: 0.5 * (x @ (A @ x)) - b @ x, params)
    return KnownProblem(problem, lambda _: A.double(), is_convex=bool(torch.linalg.eigvalsh(A)[0] >= 0))


def saddle(
    num_params: int = 6,
    num_negative: int = 2,
    *,
    dtype: torch.dtype = torch.float64,
    generator: torch.Generator | None = None,
) -> KnownProblem:
    r"""The loss :math:`\frac12 x^\top A x + \frac14 \sum_i x_i^4`: a saddle at 0, minima around it, bounded below.

    A has ``num_negative`` eigenvalues from -2 to -1, the others are from 1 to 4; the Hessian is
    :math:`A + 3\,\mathrm{diag}(x^2)`. The model stands near 0.

    Examples
    --------
    >>> int((torch.linalg.eigvalsh(saddle().hessian) < 0).sum())
    2
    """
    generator = torch.Generator().manual_seed(0) if generator is None else generator
    if not 0 < num_negative < num_params:
        raise ValueError(
            f"num_negative={num_negative} was given; it must lie between 1 and num_params - 1 = {num_params - 1}."
        )
    negative = torch.linspace(-2.0, -1.0, num_negative, dtype=torch.float64)
    positive = torch.linspace(1.0, 4.0, num_params - num_negative, dtype=torch.float64)
    Q = torch.linalg.qr(torch.randn(num_params, num_params, generator=generator, dtype=torch.float64)).Q
    exact = (Q * torch.cat([negative, positive])) @ Q.T
    A = exact.to(dtype)
    start = (0.1 * torch.randn(num_params, generator=generator, dtype=torch.float64)).to(dtype)
    problem = function_problem(lambda x: 0.5 * (x @ (A @ x)) + 0.25 * (x**4).sum(), start)
    return KnownProblem(problem, lambda x: exact + 3.0 * torch.diag(x.double() ** 2), is_convex=False)


def least_squares(
    num_samples: int = 30,
    num_features: int = 5,
    *,
    dtype: torch.dtype = torch.float64,
    batch_size: int | None = None,
    generator: torch.Generator | None = None,
) -> KnownProblem:
    r"""Linear regression under ``mse_loss``: Hessian :math:`\frac2N X^\top X`, convex.

    Examples
    --------
    >>> least_squares(num_features=3).hessian.shape
    torch.Size([3, 3])
    """
    generator = torch.Generator().manual_seed(0) if generator is None else generator
    inputs, targets, weights = _regression(num_samples, num_features, dtype, generator)
    model = _linear(weights)
    problem = Problem(model, nn.functional.mse_loss, (inputs, targets[:, None]), batch_size=batch_size)
    X = inputs.double()
    return KnownProblem(problem, lambda _: 2.0 / num_samples * X.T @ X, is_convex=True)


def logistic_regression(
    num_samples: int = 30,
    num_features: int = 5,
    *,
    weight_decay: float = 0.01,
    dtype: torch.dtype = torch.float64,
    batch_size: int | None = None,
    generator: torch.Generator | None = None,
) -> KnownProblem:
    r"""Two classes, cross-entropy plus :math:`\frac{c}{2}\|x\|^2`: strongly convex, with a Hessian that moves.

    The Hessian is :math:`\frac1N X^\top \mathrm{diag}(p(1-p)) X + c I` with :math:`p = \sigma(Xx)`; its smallest
    eigenvalue is at least the weight decay c.

    Examples
    --------
    >>> bool(torch.linalg.eigvalsh(logistic_regression(weight_decay=0.1).hessian)[0] >= 0.1)
    True
    """
    if not weight_decay >= 0:
        raise ValueError(f"weight_decay={weight_decay} was given; it must be 0 or more for the loss to be convex.")
    generator = torch.Generator().manual_seed(0) if generator is None else generator
    inputs, noisy, weights = _regression(num_samples, num_features, dtype, generator)
    labels = (noisy > 0).to(dtype)
    model = _linear(weights)

    def closure(model: nn.Module, batch: tuple[Tensor, Tensor]) -> Tensor:
        entropy = nn.functional.binary_cross_entropy_with_logits(model(batch[0])[:, 0], batch[1])
        return entropy + 0.5 * weight_decay * sum(p.square().sum() for p in model.parameters())

    def hessian_at(params: Tensor) -> Tensor:
        X = inputs.double()
        p = torch.sigmoid(X @ params.double())
        return X.T @ (X * (p * (1 - p))[:, None]) / num_samples + weight_decay * torch.eye(num_features).double()

    problem = Problem.from_closure(model, closure, (inputs, labels), batch_size=batch_size)
    return KnownProblem(problem, hessian_at, is_convex=True)


def _regression(
    num_samples: int, num_features: int, dtype: torch.dtype, generator: torch.Generator
) -> tuple[Tensor, Tensor, Tensor]:
    """Inputs, noisy linear targets, and weights to start from."""
    inputs = torch.randn(num_samples, num_features, generator=generator, dtype=torch.float64)
    truth, start = torch.randn(2, num_features, generator=generator, dtype=torch.float64)
    targets = inputs @ truth + 0.5 * torch.randn(num_samples, generator=generator, dtype=torch.float64)
    return inputs.to(dtype), targets.to(dtype), start.to(dtype)


def _linear(weights: Tensor) -> nn.Linear:
    """A linear model that stands at these weights, made without drawing random numbers."""
    model: nn.Linear = nn.utils.skip_init(nn.Linear, weights.numel(), 1, bias=False, dtype=weights.dtype)
    with torch.no_grad():
        model.weight.copy_(weights[None])
    return model


#: Ready-made problems by name, at their default sizes.
KNOWN_PROBLEMS: Mapping[str, Callable[[], KnownProblem]] = MappingProxyType(
    {
        "quadratic": lambda: quadratic(torch.diag(torch.linspace(-1.0, 3.0, 5, dtype=torch.float64))),
        "saddle": saddle,
        "least_squares": least_squares,
        "logistic_regression": logistic_regression,
    }
)
