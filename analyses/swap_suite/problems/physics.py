"""Physics-informed networks in float64: a partial differential equation as a loss over points.

The seed decides the initial weights and where the points lie, together; validation is over other points.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor, nn

import landscape as ls
from problems.building import tanh_chain
from problems.devices import best_device

Problems = tuple[ls.Problem, ls.Problem]
Points = dict[str, Tensor]

VISCOSITY = 0.01 / math.pi
#: Of the boundary values in the Helmholtz equation's loss.
EDGE_WEIGHT = 100.0


def burgers(
    seed: int, *, width: int = 20, depth: int = 3, num_inside: int = 400, num_edge: int = 50, device: str = "cpu"
) -> Problems:
    """u_t + u u_x = nu u_xx on [-1, 1] x [0, 1] with nu = 0.01/pi, u(x, 0) = -sin(pi x), u(-1, t) = u(1, t) = 0.

    References
    ----------
    Raissi, Perdikaris, Karniadakis (2019), J. Comput. Phys. 378:686, appendix A.1: this equation with 9 layers of 20.
    """
    draw = functools.partial(burgers_points, num_inside, num_edge)
    return _problems(seed, burgers_loss, draw, width, depth, device)


def burgers_points(num_inside: int, num_edge: int, generator: torch.Generator, device: torch.device) -> Points:
    """Uniform points: inside, at the start with the values there, and on the two edges."""
    uniform = functools.partial(torch.rand, generator=generator, dtype=torch.float64)
    start = torch.stack([2 * uniform(num_edge) - 1, torch.zeros(num_edge, dtype=torch.float64)], dim=1)
    points = {
        "inside": torch.stack([2 * uniform(num_inside) - 1, uniform(num_inside)], dim=1),
        "start": start,
        "value": -torch.sin(math.pi * start[:, :1]),
        "edge": torch.stack([2 * (uniform(num_edge) < 0.5).double() - 1, uniform(num_edge)], dim=1),
    }
    return {name: tensor.to(device) for name, tensor in points.items()}


def burgers_loss(model: nn.Module, batch: Points) -> Tensor:
    """Residual, initial values and boundary values, each as a mean square."""
    points = batch["inside"].detach().requires_grad_(True)
    u = model(points)
    u_x, u_t = torch.autograd.grad(u.sum(), points, create_graph=True)[0].unbind(dim=1)
    u_xx = torch.autograd.grad(u_x.sum(), points, create_graph=True)[0][:, 0]
    residual = u_t + u[:, 0] * u_x - VISCOSITY * u_xx
    initial = model(batch["start"]) - batch["value"]
    return residual.square().mean() + initial.square().mean() + model(batch["edge"]).square().mean()


def burgers_solution(points: Tensor) -> Tensor:
    r"""The exact solution at points (x, t), t > 0, of shape (K, 2).

    Notes
    -----
    By the transformation of Cole and Hopf it is a ratio of two integrals with a Gaussian weight, here by 100 nodes of
    Gauss-Hermite quadrature: with :math:`y = x - 2 z \sqrt{\nu t}` and :math:`w = e^{-z^2} e^{-\cos(\pi y) / (2 \pi \nu)}`,
    :math:`u = -\int \sin(\pi y)\, w\, dz / \int w\, dz` (Basdevant et al. 1986, Comput. Fluids 14:23).
    """
    nodes, weights = (torch.from_numpy(array).to(points) for array in np.polynomial.hermite.hermgauss(100))
    x, t = points[:, :1], points[:, 1:]
    y = x - 2 * (VISCOSITY * t).sqrt() * nodes
    exponent = -torch.cos(math.pi * y) / (2 * math.pi * VISCOSITY)
    mass = weights * torch.exp(exponent - exponent.amax(dim=1, keepdim=True))
    return -(torch.sin(math.pi * y) * mass).sum(dim=1, keepdim=True) / mass.sum(dim=1, keepdim=True)


def convection(
    seed: int,
    *,
    beta: float,
    width: int = 20,
    depth: int = 3,
    num_inside: int = 400,
    num_edge: int = 50,
    device: str = "cpu",
) -> Problems:
    """u_t + beta u_x = 0 on [0, 2 pi] x [0, 1] with u(x, 0) = sin(x) and u(0, t) = u(2 pi, t): a sine that wanders.

    References
    ----------
    Krishnapriyan et al. (2021), Characterizing possible failure modes in physics-informed neural networks, NeurIPS,
    arXiv:2109.01050, section 3.1: at beta = 30 such networks fail.
    """
    draw = functools.partial(convection_points, num_inside, num_edge)
    return _problems(seed, functools.partial(convection_loss, beta=beta), draw, width, depth, device)


def convection_points(num_inside: int, num_edge: int, generator: torch.Generator, device: torch.device) -> Points:
    """Uniform points: inside, at the start with the values there, and opposite each other on the two edges."""
    uniform = functools.partial(torch.rand, generator=generator, dtype=torch.float64)
    times, nothing = uniform(num_edge), torch.zeros(num_edge, dtype=torch.float64)
    start = torch.stack([2 * math.pi * uniform(num_edge), nothing], dim=1)
    points = {
        "inside": torch.stack([2 * math.pi * uniform(num_inside), uniform(num_inside)], dim=1),
        "start": start,
        "value": torch.sin(start[:, :1]),
        "left": torch.stack([nothing, times], dim=1),
        "right": torch.stack([nothing + 2 * math.pi, times], dim=1),
    }
    return {name: tensor.to(device) for name, tensor in points.items()}


def convection_loss(model: nn.Module, batch: Points, beta: float) -> Tensor:
    """Residual, initial values and periodicity, each as a mean square."""
    points = batch["inside"].detach().requires_grad_(True)
    u_x, u_t = torch.autograd.grad(model(points).sum(), points, create_graph=True)[0].unbind(dim=1)
    initial = model(batch["start"]) - batch["value"]
    jump = model(batch["left"]) - model(batch["right"])
    return (u_t + beta * u_x).square().mean() + initial.square().mean() + jump.square().mean()


def convection_solution(points: Tensor, beta: float) -> Tensor:
    """The exact solution at points (x, t) of shape (K, 2)."""
    return torch.sin(points[:, :1] - beta * points[:, 1:])


def helmholtz(
    seed: int,
    *,
    wave_number: float = 1.0,
    width: int = 20,
    depth: int = 3,
    num_inside: int = 400,
    num_edge: int = 50,
    device: str = "cpu",
) -> Problems:
    """u_xx + u_yy + k^2 u = q on [-1, 1]^2, u = 0 on the edge, with q such that u is :func:`helmholtz_solution`.

    References
    ----------
    Wang, Teng, Perdikaris (2021), SIAM J. Sci. Comput. 43:A3055, section 2.4, with lower frequencies.
    """
    draw = functools.partial(helmholtz_points, num_inside, num_edge)
    return _problems(seed, functools.partial(helmholtz_loss, wave_number=wave_number), draw, width, depth, device)


def helmholtz_points(num_inside: int, num_edge: int, generator: torch.Generator, device: torch.device) -> Points:
    """Uniform points: inside, and so many on each of the four sides."""
    uniform = functools.partial(torch.rand, generator=generator, dtype=torch.float64)
    along, side = 2 * uniform(4, num_edge) - 1, torch.ones(num_edge, dtype=torch.float64)
    sides = [(along[0], side), (along[1], -side), (side, along[2]), (-side, along[3])]
    points = {
        "inside": 2 * uniform(num_inside, 2) - 1,
        "edge": torch.cat([torch.stack(pair, dim=1) for pair in sides]),
    }
    return {name: tensor.to(device) for name, tensor in points.items()}


def helmholtz_loss(model: nn.Module, batch: Points, wave_number: float) -> Tensor:
    """Residual and boundary values, each as a mean square, the latter weighted: the source's mean square is near 600."""
    points = batch["inside"].detach().requires_grad_(True)
    u = model(points)
    u_x, u_y = torch.autograd.grad(u.sum(), points, create_graph=True)[0].unbind(dim=1)
    u_xx = torch.autograd.grad(u_x.sum(), points, create_graph=True)[0][:, 0]
    u_yy = torch.autograd.grad(u_y.sum(), points, create_graph=True)[0][:, 1]
    exact = helmholtz_solution(batch["inside"])[:, 0]
    source = (wave_number**2 - 5 * math.pi**2) * exact
    residual = u_xx + u_yy + wave_number**2 * u[:, 0] - source
    return residual.square().mean() + EDGE_WEIGHT * model(batch["edge"]).square().mean()


def helmholtz_solution(points: Tensor) -> Tensor:
    """sin(pi x) sin(2 pi y) at points (x, y) of shape (K, 2)."""
    return torch.sin(math.pi * points[:, :1]) * torch.sin(2 * math.pi * points[:, 1:])


def _problems(
    seed: int,
    loss: Callable[[nn.Module, Points], Tensor],
    draw: Callable[[torch.Generator, torch.device], Points],
    width: int,
    depth: int,
    device: str,
) -> Problems:
    """Training and validation: one network, two sets of points."""
    generator = torch.Generator().manual_seed(seed)
    place = best_device(device)
    model = tanh_network(width, depth, generator).to(place)
    sets = [draw(generator, place) for _ in ("training", "validation")]
    training, validation = (ls.Problem.from_closure(model, loss, [points]) for points in sets)
    return training, validation


def tanh_network(width: int, depth: int, generator: torch.Generator) -> nn.Sequential:
    """A network (x, t) -> u in float64 with tanh layers of one width; weights by Glorot and Bengio (2010), biases 0."""
    model = tanh_chain([2, *[width] * depth, 1], dtype=torch.float64)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.dim() == 2:
                nn.init.xavier_normal_(parameter, generator=generator)
            else:
                parameter.zero_()
    return model


def relative_error(model: nn.Module, *, solution: Callable[[Tensor], Tensor], x_range: tuple[float, float]) -> float:
    """The error to the exact solution over its size, both as 2-norms on a grid of 201 x 100 points with t > 0."""
    x = torch.linspace(*x_range, 201, dtype=torch.float64)
    t = torch.arange(1, 101, dtype=torch.float64) / 100
    device = next(model.parameters()).device
    points = torch.cartesian_prod(x, t).to(device)
    with torch.no_grad():
        exact = solution(points)
        return float((model(points) - exact).norm() / exact.norm())
