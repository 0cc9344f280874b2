"""The checks of a problem's derivatives, each a property that is measured."""

from __future__ import annotations

import contextlib
import math
import random
from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor

from landscape.autodiff.faults import FaultTest, find_fault, not_functional, not_repeatable, not_twice, unlike
from landscape.autodiff.leave_no_trace import get_random_states, set_random_states
from landscape.autodiff.twice import twice_differentiable
from landscape.objective import Objective
from landscape.operators.choose import HessianMethod, make_hessian
from landscape.operators.curvature import CurvatureOperator
from landscape.operators.forward_mode import FORWARD_PRODUCTS
from landscape.vectors import dot, norm
from landscape.verification import tolerances
from landscape.verification.result import SWAPPED, Check
from landscape.verification.tolerances import allowed

#: Keeps ratios finite where both numbers are zero.
_TINY = 1e-30
#: Share of the whole product below which a parameter tensor's part is measured against the whole: rounding, relative to
#: the whole, is of the order of 1e-5 in float32, and must not look like a fault of a part that hardly counts.
_SMALL_PART = 1e-2
#: Steps of differences tried, in units of the usual one, until one agrees: kinks ask for smaller ones, modules that round
#: (in float32 within a float64 model, say) for larger ones. A derivative that is wrong is so at every step.
_STEPS = (1.0, 0.1, 10.0, 100.0)
_NO_MODULE = "none of the modules on its own: look at the loss function, and at code outside of modules"
_ROUNDING = "rounding: in float64 it passes. Convert model and data with .double() for curvature at this point"


def repeatability(objective: Objective, probe: Objective) -> Check:
    """Two full passes over the data give the same loss and gradient, whatever the random numbers (2 gradients)."""
    first_loss, once = objective.loss_and_gradient()
    with other_random_numbers():
        second_loss, again = objective.loss_and_gradient()
    limit = allowed(tolerances.REPEAT, once.dtype)
    name = "two full passes give the same gradient"
    if not (math.isfinite(float(first_loss)) and bool(torch.isfinite(once).all())):
        return Check("loss and gradient are finite", math.nan, limit, note=f"the loss is {float(first_loss)}")
    scale = max(abs(float(first_loss)), abs(float(second_loss)), _TINY)
    value = max(relative(once, again), abs(float(first_loss) - float(second_loss)) / scale)
    if value <= limit:
        return Check(name, value, limit)
    return Check(name, value, limit, fault_of(probe, not_repeatable) or _unrepeatable_part(probe))


def live_against_swapped(probe: Objective) -> Check:
    """At another point, swapped parameters act as live ones would (2 gradients of the probe)."""
    point = probe.nearby_point()
    name, limit = SWAPPED, allowed(tolerances.PRODUCT, point.dtype)
    with twice_differentiable():
        swapped = probe.loss_and_gradient(point)[1]
        with probe.moved_to(point):
            live = probe.loss_and_gradient()[1]
    if not bool(torch.isfinite(live).all() or torch.isfinite(swapped).all()):
        return Check(name, 0.0, limit, note="not measured: the gradient is not finite near the model")
    value = relative(swapped, live)
    if value <= limit:
        return Check(name, value, limit)
    hooked = [name for name, p in zip(probe.layout.names, probe.layout.parameters, strict=True) if p._backward_hooks]
    fault = f"a hook on {', '.join(hooked)} (Tensor.register_hook), if it changes the gradient" if hooked else None
    return Check(name, value, limit, fault or fault_of(probe, not_functional) or _NO_MODULE)


def symmetry(probe: Objective, exact: Objective | None) -> Check:
    """U'Hv equals v'Hu for random u and v (2 products)."""
    value, limit = _asymmetry(probe), allowed(tolerances.PRODUCT, probe.layout.dtype)
    name = "u'Hv equals v'Hu"
    if value <= limit:
        return Check(name, value, limit)
    if exact is not None and _asymmetry(exact) <= limit:
        return Check(name, value, limit, _ROUNDING)
    return Check(name, value, limit, fault_of(probe, not_twice) or _NO_MODULE)


def difference(objective: Objective) -> Check:
    """A product by double backward is a central difference of the gradient, tensor by tensor (1 product, 2 gradients)."""
    operator = make_hessian(objective, None, "autograd", None)
    direction = random_direction(operator, 1)
    unit = direction / norm(direction)
    product, point = operator @ unit, operator.params
    eps = torch.finfo(operator.dtype).eps
    scale = max(1.0, norm(point) / math.sqrt(point.numel())) * eps ** (1 / 3)
    limit = allowed(tolerances.DIFFERENCE, operator.dtype)
    value, worst = math.inf, ""
    for step in (factor * scale for factor in _STEPS):
        with twice_differentiable():
            ends = [objective.loss_and_gradient(point + sign * step * unit)[1] for sign in (1.0, -1.0)]
        quotient = (ends[0] - ends[1]) / (2 * step)
        errors = _block_errors(operator, quotient, product, rounding=16 * eps * norm(ends[0]) / step)
        name = max(errors, key=errors.__getitem__)
        if errors[name] < value:
            value, worst = errors[name], name
        if value <= limit:
            break
    name, note = "a product is the difference of gradients", f"worst: {worst}" if worst else "it is not finite"
    fault = None if value <= limit else fault_of(objective, not_twice) or _NO_MODULE
    return Check(name, value, limit, fault, note)


def agreement(probe: Objective, exact: Objective) -> Check:
    """A product agrees with the same one in float64, tensor by tensor (2 products)."""
    name, worst, value, limit = _compared(probe, exact, "autograd", AGREEMENT)
    if value <= limit:
        return Check(name, value, limit, note=f"worst: {worst}")
    kind = str(probe.layout.dtype).removeprefix("torch.")
    why = (
        f"{kind} is not exact enough here. Convert model and data with .double(), or turn off autocast inside the model"
    )
    return Check(name, value, limit, f"{_described(probe, worst, value)}: {why}")


def forward_mode(probe: Objective, method: HessianMethod) -> Check:
    """A product by forward mode is that of double backward, tensor by tensor (2 products)."""
    name, worst, value, limit = _compared(probe, probe, method, f"{method} equals double backward")
    if value <= limit:
        return Check(name, value, limit, note=f"worst: {worst}")
    fault = forward_fault(probe, method) or "none of the modules on its own"
    return Check(name, value, limit, f"{fault}; seen in {_described(probe, worst, value)}")


#: The check whose value is the error of a product in the model's own precision.
AGREEMENT = "a product agrees with float64"


def relative(a: Tensor, b: Tensor) -> float:
    """Norm of the difference in units of the larger norm."""
    return norm(a.double() - b.double()) / max(norm(a), norm(b), _TINY)


def random_direction(operator: CurvatureOperator, seed: int) -> Tensor:
    """Standard normal entries, the same for every dtype."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(operator.size, generator=generator, dtype=torch.float64).to(operator.params)


def exact_copy(probe: Objective) -> Objective | None:
    """The same loss on a copy in float64, or None where there is none (2 forwards of the probe).

    A closure may reach the original by another way than its argument: then its loss on the copy changes with the original.
    """
    exact = probe.copied(torch.float64)
    if exact is None:
        return None
    before = float(exact.loss())
    with probe.moved_to(probe.nearby_point()):
        after = float(exact.loss())
    return exact if before == after else None


def fault_of(probe: Objective, test: FaultTest) -> str | None:
    """Try every module as the loss calls it, on a copy in float64 where that is possible."""
    tried = probe if probe.layout.dtype == torch.float64 else exact_copy(probe) or probe
    with tried.probing(), twice_differentiable(), torch.enable_grad():
        part = next(tried.parts())
        return find_fault(tried.model, lambda: tried.evaluate(part.content), test)


def forward_fault(probe: Objective, method: HessianMethod) -> str | None:
    """The module whose product by forward mode is not that of double backward."""
    return fault_of(probe, unlike(FORWARD_PRODUCTS[method], method))


@contextlib.contextmanager
def other_random_numbers() -> Iterator[None]:
    """A block in which every global generator gives other numbers than it would; afterwards they are as before."""
    states = get_random_states()
    try:
        torch.manual_seed(int(torch.randint(2**31, ())))
        np.random.seed(int(np.random.randint(2**31)))  # noqa: NPY002 - losses and data sets draw from it
        random.seed(random.getrandbits(31))
        yield
    finally:
        set_random_states(states)


def _asymmetry(probe: Objective) -> float:
    operator = make_hessian(probe, None, "autograd", None)
    u, v = (random_direction(operator, seed) for seed in (1, 2))
    hu, hv = operator @ u, operator @ v
    # u and v have entries of size 1, so that both forms are of the size of a product's norm.
    return abs(dot(v, hu) - dot(u, hv)) / max(norm(hu), norm(hv), _TINY)


def _compared(ours: Objective, reference: Objective, method: HessianMethod, name: str) -> tuple[str, str, float, float]:
    """Name of the check, the parameter tensor that is furthest off, by how much, and how much may be."""
    operator, truth = make_hessian(ours, None, method, None), make_hessian(reference, None, "autograd", None)
    direction = random_direction(operator, 2)
    product, expected = (operator @ direction).double(), (truth @ direction.to(truth.dtype)).double()
    errors = _block_errors(operator, product, expected)
    worst = max(errors, key=errors.__getitem__)
    return name, worst, errors[worst], allowed(tolerances.PRODUCT, operator.dtype)


def _described(probe: Objective, parameter: str, error: float) -> str:
    module = type(probe.model.get_submodule(parameter.rpartition(".")[0])).__name__
    return f"{parameter!r} ({module}), {100 * error:.1f} % off"


def _block_errors(
    operator: CurvatureOperator, product: Tensor, expected: Tensor, rounding: float = 0.0
) -> dict[str, float]:
    """Relative error of each parameter tensor's part, beyond what rounding explains; NaN counts as infinite."""
    floor = max(_SMALL_PART * norm(expected), _TINY)
    errors = {}
    for name, where in operator.blocks.items():
        gap = max(norm((product - expected)[where]) - rounding, 0.0)
        error = gap / max(norm(expected[where]), norm(product[where]), floor)
        errors[name] = error if math.isfinite(error) else math.inf
    return errors


def _unrepeatable_part(probe: Objective) -> str:
    """Whether data or loss do not repeat themselves, since every module does."""
    with probe.probing():
        part = next(probe.parts())
        once, again = (float(probe.value_of(part.content)) for _ in range(2))
    if once == again:
        return (
            "the data: a batch has the same loss twice, so passes over the data do not give the same samples (augmentation, "
            "or a sampler that leaves some out)"
        )
    return "the loss or the closure: a batch has two losses though every module repeats itself (random numbers outside modules)"
