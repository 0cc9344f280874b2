"""The checks of a problem's derivatives, each a property that is measured."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from landscape.autodiff.faults import FaultTest, find_fault, not_functional, not_repeatable, not_twice
from landscape.autodiff.twice import twice_differentiable
from landscape.objective import Objective
from landscape.operators.choose import HessianMethod, make_hessian
from landscape.operators.curvature import CurvatureOperator
from landscape.vectors import dot, norm
from landscape.verification import tolerances
from landscape.verification.result import Check
from landscape.verification.tolerances import allowed

#: Keeps ratios finite where both numbers are zero.
_TINY = 1e-30


def repeatability(objective: Objective, probe: Objective) -> Check:
    """Two full passes over the data give the same loss and gradient (2 gradients)."""
    (first_loss, once), (second_loss, again) = (objective.loss_and_gradient() for _ in range(2))
    limit = allowed(tolerances.REPEAT, once.dtype)
    if not (math.isfinite(float(first_loss)) and bool(torch.isfinite(once).all())):
        return Check("loss and gradient are finite", math.nan, limit, note=f"the loss is {float(first_loss)}")
    scale = max(abs(float(first_loss)), abs(float(second_loss)), _TINY)
    value = max(relative(once, again), abs(float(first_loss) - float(second_loss)) / scale)
    fault = None if value <= limit else fault_of(probe, not_repeatable) or _unrepeatable_part(probe)
    return Check("two full passes give the same gradient", value, limit, fault)


def live_against_swapped(probe: Objective) -> Check:
    """At another point, swapped parameters act as live ones would (2 gradients of the probe)."""
    point = _another_point(probe)
    moved = probe.copied()
    name, limit = "swapped parameters act as live ones", allowed(tolerances.PRODUCT, point.dtype)
    if moved is None:
        return Check(name, 0.0, limit, note="not measured: the model cannot be copied")
    swapped = probe.loss_and_gradient(point)[1]
    with torch.no_grad():
        for parameter, piece in zip(moved.layout.parameters, moved.layout.split(point), strict=True):
            parameter.copy_(piece)
    value = relative(swapped, moved.loss_and_gradient()[1])
    return Check(name, value, limit, None if value <= limit else fault_of(probe, not_functional))


def symmetry(probe: Objective, method: HessianMethod) -> Check:
    """U'Hv equals v'Hu for random u and v (2 products)."""
    operator = make_hessian(probe, None, method, None)
    u, v = (random_direction(operator, seed) for seed in (1, 2))
    hu, hv = operator @ u, operator @ v
    # u and v have entries of size 1, so that both forms are of the size of a product's norm.
    value = abs(dot(v, hu) - dot(u, hv)) / max(norm(hu), norm(hv), _TINY)
    limit = allowed(tolerances.PRODUCT, operator.dtype)
    return Check("u'Hv equals v'Hu", value, limit, None if value <= limit else fault_of(probe, not_twice))


def difference(objective: Objective) -> Check:
    """A product by double backward is a central difference of the gradient (1 product, 4 gradients)."""
    operator = make_hessian(objective, None, "autograd", None)
    direction = random_direction(operator, 1)
    unit = direction / norm(direction)
    product, point = operator @ unit, operator.params
    eps = torch.finfo(operator.dtype).eps
    scale = max(1.0, norm(point) / math.sqrt(point.numel())) * eps ** (1 / 3)
    value = math.inf
    for step in (scale, 0.1 * scale):  # a kink that one step meets, the other may not
        ends = [objective.loss_and_gradient(point + sign * step * unit)[1] for sign in (1.0, -1.0)]
        quotient = (ends[0] - ends[1]) / (2 * step)
        rounding = eps * norm(ends[0]) / step
        gap = max(norm(quotient - product) - rounding, 0.0)
        value = min(value, gap / max(norm(quotient), norm(product), _TINY))
    limit = allowed(tolerances.DIFFERENCE, operator.dtype)
    fault = None if value <= limit else fault_of(objective, not_twice)
    return Check("a product is the difference of gradients", value, limit, fault)


def agreement(ours: Objective, reference: Objective, method: HessianMethod, name: str) -> Check:
    """A product agrees with double backward on a reference, tensor by tensor (2 products)."""
    operator, truth = make_hessian(ours, None, method, None), make_hessian(reference, None, "autograd", None)
    direction = random_direction(operator, 2)
    product, expected = (operator @ direction).double(), (truth @ direction.to(truth.dtype)).double()
    errors = _block_errors(operator, product, expected)
    worst = max(errors, key=errors.__getitem__)
    limit = allowed(tolerances.PRODUCT, operator.dtype)
    if errors[worst] <= limit:
        return Check(name, errors[worst], limit, note=f"worst: {worst}")
    module = type(ours.model.get_submodule(worst.rpartition(".")[0])).__name__
    fault = f"{worst!r} ({module}), {100 * errors[worst]:.1f} % off"
    if method not in ("autograd", "finite-difference"):
        fault += ": torch's forward-mode rule of this module, or of one behind it, is wrong"
    return Check(name, errors[worst], limit, fault)


def relative(a: Tensor, b: Tensor) -> float:
    """Norm of the difference in units of the larger norm."""
    return norm(a - b) / max(norm(a), norm(b), _TINY)


def random_direction(operator: CurvatureOperator, seed: int) -> Tensor:
    """Standard normal entries, the same for every dtype."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(operator.size, generator=generator, dtype=torch.float64).to(operator.params)


def fault_of(probe: Objective, test: FaultTest) -> str | None:
    """Try every module as the loss calls it, on a copy, in float64 where that is possible."""
    copied = probe.copied(torch.float64) or probe.copied()
    if copied is None:
        return None
    part = next(copied.parts())
    with copied.probing(), twice_differentiable(), torch.enable_grad():
        return find_fault(copied.model, lambda: copied.evaluate(part.content), test)


def _block_errors(operator: CurvatureOperator, product: Tensor, expected: Tensor) -> dict[str, float]:
    """Relative error of each parameter tensor's part; parts that hardly count are measured against the whole."""
    floor = max(1e-3 * norm(expected) / math.sqrt(len(operator.blocks)), _TINY)
    return {
        name: norm((product - expected)[where]) / max(norm(expected[where]), floor)
        for name, where in operator.blocks.items()
    }


def _unrepeatable_part(probe: Objective) -> str:
    """Whether data or loss do not repeat themselves, since every module does."""
    with probe.probing(), torch.no_grad():
        part = next(probe.parts())
        once, again = (float(probe.evaluate(part.content)) for _ in range(2))
    if once == again:
        return (
            "the data: a batch has the same loss twice, so passes over the data do not give the same samples (augmentation, "
            "or a sampler that leaves some out)"
        )
    return "the loss or the closure: a batch has two losses though every module repeats itself (random numbers outside modules)"


def _another_point(probe: Objective) -> Tensor:
    """A point near the model's: at its own values, a module that goes back to them would not be found out."""
    point = probe.layout.flatten(parameter.detach() for parameter in probe.layout.parameters)
    generator = torch.Generator().manual_seed(3)
    noise = torch.randn(point.shape, generator=generator, dtype=torch.float64).to(point)
    return point + 0.05 * max(norm(point) / math.sqrt(point.numel()), 1e-3) * noise
