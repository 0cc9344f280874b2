"""Which module of a model is at fault when derivatives are: each is tried on its own, innermost first."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.utils._pytree import tree_flatten, tree_map, tree_unflatten

from landscape.autodiff.twice import refuse_once_differentiable, why_not_twice
from landscape.vectors import dot, norm

#: How far off a module's derivatives must be to be blamed: faults are of the order of the derivative itself.
FAULT_RTOL = 1e-3


@dataclass(frozen=True)
class Call:
    """One call of a module within a forward pass, with its inputs cut off from the graph."""

    name: str
    module: nn.Module
    args: tuple[Any, ...]
    kwargs: Mapping[str, Any]

    @property
    def described(self) -> str:
        """The module's name and kind."""
        return (
            f"{self.name!r} ({type(self.module).__name__})"
            if self.name
            else f"the model itself ({type(self.module).__name__})"
        )


#: Says what is wrong with a module as it was called, or None.
FaultTest = Callable[[Call], "str | None"]


def find_fault(model: nn.Module, run: Callable[[], object], test: FaultTest) -> str | None:
    """Run a forward pass and find the first module that fails a test.

    Parameters
    ----------
    model : nn.Module
        Whose modules are tried.
    run : callable
        Runs the forward pass.
    test : callable
        One of the tests of this module.

    Returns
    -------
    str or None
        The name of the module and what is wrong with it. Inner modules come before those that hold them, so the
        smallest module that shows the fault is named. None if each passes on its own: then the fault lies in code
        outside any module, such as the loss.
    """
    for call in _recorded_calls(model, run):
        try:
            reason = test(call)
        except Exception as error:  # it cannot be tried on its own
            reason = why_not_twice(error)
        if reason is not None:
            return f"{call.described}: {reason}"
    return None


def not_repeatable(call: Call) -> str | None:
    """Two calls with the same inputs differ."""
    with torch.no_grad():
        calls = (_cloned((call.args, dict(call.kwargs))) for _ in range(2))  # modules may work in place
        once, again = (_floats_in(call.module(*args, **kwargs)) for args, kwargs in calls)
    pairs = zip(once, again, strict=True)
    return (
        None
        if all(torch.equal(a, b) or bool(a.isnan().any()) for a, b in pairs)
        else "two calls with the same inputs give different outputs"
    )


def not_functional(call: Call) -> str | None:
    """The gradient with swapped parameters differs from that of the live module."""
    live = dict(call.module.named_parameters())
    variables = {name: parameter for name, parameter in live.items() if parameter.requires_grad}
    if not variables:
        return None
    # Swapped and live parameters are moved apart: a module that goes back to the live ones is found out.
    swapped = {name: (1.5 * p.detach() + 0.01).requires_grad_() for name, p in variables.items()}
    args, kwargs = _cloned((call.args, dict(call.kwargs)))
    value = _summary(functional_call(call.module, swapped, args, kwargs))
    by_swapping = torch.autograd.grad(value, list(swapped.values()), allow_unused=True)
    with torch.no_grad():
        originals = {name: parameter.clone() for name, parameter in variables.items()}
    try:
        _overwrite(variables, swapped)
        args, kwargs = _cloned((call.args, dict(call.kwargs)))
        value = _summary(call.module(*args, **kwargs))
        directly = torch.autograd.grad(value, list(variables.values()), allow_unused=True)
    finally:
        _overwrite(variables, originals)
    if _differs(by_swapping, directly):
        return "its gradient is wrong when its parameters are swapped (activation checkpointing does this)"
    return None


def not_twice(call: Call) -> str | None:
    """It has no second derivative, or one that is not symmetric or not the derivative of its gradient."""
    variables, evaluate = _local_function(call)
    if not variables:
        return None
    reason = _wrong_second_derivative(variables, evaluate)
    if reason is None:
        return None
    # At the very point there may be a kink (ReLU behind ReLU meets many zeros), which is no fault. Beside it there is none.
    noise = _random_like(variables, torch.Generator().manual_seed(1))
    beside = [(x.detach() + 1e-2 * d).requires_grad_() for x, d in zip(variables, noise, strict=True)]
    return _wrong_second_derivative(beside, evaluate)


def _wrong_second_derivative(variables: list[Tensor], evaluate: Callable[[list[Tensor]], Tensor]) -> str | None:
    generator = torch.Generator().manual_seed(0)
    u, v = (_random_like(variables, generator) for _ in range(2))
    try:
        gradients = torch.autograd.grad(evaluate(variables), variables, create_graph=True, allow_unused=True)
        refuse_once_differentiable(gradients)
        products = [_product(gradients, variables, direction) for direction in (u, v)]
    except (RuntimeError, NotImplementedError) as error:
        reason = why_not_twice(error)
        if reason is None:
            raise
        return reason
    there, back = _inner(v, products[0]), _inner(u, products[1])
    scale = max(norm(_flat(product)) for product in products)
    if not math.isfinite(scale):
        return "its second derivative is not finite at these inputs"
    if abs(there - back) > FAULT_RTOL * scale:
        return f"its second derivative is not symmetric: v'Hu = {there:.6g}, u'Hv = {back:.6g}"
    return _not_a_difference(variables, evaluate, u, products[0])


def unlike(product: Callable[..., Sequence[Tensor]], method: str) -> FaultTest:
    """A test for modules whose Hessian products by another method are not those of double backward.

    Parameters
    ----------
    product : callable
        ``product(function, point, direction)`` gives the product of a scalar function's Hessian, tensors in tuples.
    method : str
        What it is called.
    """

    def test(call: Call) -> str | None:
        variables, evaluate = _local_function(call)
        if not variables:
            return None
        direction = _random_like(variables, torch.Generator().manual_seed(0))
        gradients = torch.autograd.grad(evaluate(variables), variables, create_graph=True, allow_unused=True)
        expected = _product(gradients, variables, direction)
        point = tuple(x.detach() for x in variables)
        try:
            found = product(lambda *moved: evaluate(list(moved)), point, tuple(direction))
        except (RuntimeError, NotImplementedError) as error:
            first_line = str(error).strip().partition("\n")[0]
            return f"{method} fails ({first_line})"
        whole = norm(_flat(expected))
        errors = [
            norm((a - b).reshape(-1)) / max(norm(b.reshape(-1)), 0.01 * whole, 1e-30)
            for a, b in zip(found, expected, strict=True)
        ]
        return f"its product by {method} is {100 * max(errors):.1f} % off" if max(errors) > FAULT_RTOL else None

    return test


def _not_a_difference(
    variables: list[Tensor], evaluate: Callable[[list[Tensor]], Tensor], u: list[Tensor], product: list[Tensor]
) -> str | None:
    eps = torch.finfo(variables[0].dtype).eps
    off = math.inf
    for step in (eps ** (1 / 3), 0.1 * eps ** (1 / 3)):
        ends = []
        for sign in (1.0, -1.0):
            point = [(x.detach() + sign * step * d).requires_grad_() for x, d in zip(variables, u, strict=True)]
            grads = torch.autograd.grad(evaluate(point), point, allow_unused=True)
            ends.append(_flat([torch.zeros_like(x) if g is None else g for g, x in zip(grads, point, strict=True)]))
        difference = (ends[0] - ends[1]) / (2 * step)
        off = min(off, norm(difference - _flat(product)) / max(norm(difference), norm(_flat(product)), 1e-30))
    # Differences in float32 are rough, and they see kinks; what is wrong in float64 is wrong.
    if off > (0.2 if eps > 1e-10 else 10 * FAULT_RTOL):
        return f"its second derivative is {100 * off:.1f} % off the differences of its gradient"
    return None


def _recorded_calls(model: nn.Module, run: Callable[[], object]) -> list[Call]:
    calls: list[Call] = []
    begun: list[tuple[Any, Any]] = []
    names = {id(module): name for name, module in model.named_modules()}

    def begin(_: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        begun.append(_cloned((args, kwargs)))  # before the module, or a later one, works on them in place

    def end(module: nn.Module, _: tuple[Any, ...], __: Any) -> None:
        calls.append(Call(names[id(module)], module, *begun.pop()))

    handles: list[Any] = []
    for module in model.modules():
        if not isinstance(module, torch.jit.ScriptModule):  # tried as a part of what holds it
            handles.append(module.register_forward_pre_hook(begin, with_kwargs=True))
            handles.append(module.register_forward_hook(end))
    try:
        run()
    finally:
        for handle in handles:
            handle.remove()
    return calls


def _local_function(call: Call) -> tuple[list[Tensor], Callable[[list[Tensor]], Tensor]]:
    """The module as a scalar function of its own parameters and of its floating-point inputs."""
    named = {name: p for name, p in call.module.named_parameters() if p.requires_grad}
    flat, spec = tree_flatten((call.args, dict(call.kwargs)))
    places = [i for i, x in enumerate(flat) if isinstance(x, Tensor) and x.is_floating_point()]
    inputs = [flat[i].detach().clone().requires_grad_() for i in places]

    def evaluate(point: list[Tensor]) -> Tensor:
        filled = list(flat)
        for place, value in zip(places, point[len(named) :], strict=True):
            filled[place] = value.clone()  # which the module may overwrite
        args, kwargs = tree_unflatten(filled, spec)
        return _summary(functional_call(call.module, dict(zip(named, point, strict=False)), args, kwargs))

    return [*(p.detach().clone().requires_grad_() for p in named.values()), *inputs], evaluate


def _cloned(structure: Any) -> Any:
    """A structure with copies of its tensors, cut off from the graph."""
    return tree_map(lambda x: x.detach().clone() if isinstance(x, Tensor) else x, structure)


def _summary(outputs: Any) -> Tensor:
    """One number that depends on all outputs in a curved way."""
    total = torch.zeros(())
    for index, output in enumerate(_floats_in(outputs)):
        generator = torch.Generator().manual_seed(index)
        weights = torch.randn(output.shape, generator=generator, dtype=torch.float64).to(output)
        total = total.to(output) + (weights * output + 0.5 * output.square()).sum()
    return total


def _floats_in(outputs: Any) -> list[Tensor]:
    return [x for x in tree_flatten(outputs)[0] if isinstance(x, Tensor) and x.is_floating_point()]


def _product(gradients: tuple[Tensor | None, ...], variables: list[Tensor], direction: list[Tensor]) -> list[Tensor]:
    pairs = [(g, d) for g, d in zip(gradients, direction, strict=True) if g is not None and g.requires_grad]
    if not pairs:
        return [torch.zeros_like(x) for x in variables]
    outputs, along = zip(*pairs, strict=True)
    product = torch.autograd.grad(outputs, variables, along, retain_graph=True, allow_unused=True)
    return [torch.zeros_like(x) if h is None else h for h, x in zip(product, variables, strict=True)]


def _random_like(tensors: list[Tensor], generator: torch.Generator) -> list[Tensor]:
    return [torch.randn(t.shape, generator=generator, dtype=torch.float64).to(t.detach()) for t in tensors]


def _flat(tensors: list[Tensor]) -> Tensor:
    return torch.cat([tensor.detach().reshape(-1) for tensor in tensors])


def _inner(a: list[Tensor], b: list[Tensor]) -> float:
    return dot(_flat(a), _flat(b))


def _overwrite(targets: Mapping[str, Tensor], values: Mapping[str, Tensor]) -> None:
    for name, target in targets.items():
        target.data.copy_(values[name].detach())


def _differs(a: tuple[Tensor | None, ...], b: tuple[Tensor | None, ...]) -> bool:
    for x, y in zip(a, b, strict=True):
        if (x is None) != (y is None):
            return True
        if x is not None and y is not None and norm((x - y).reshape(-1)) > FAULT_RTOL * norm(y.reshape(-1)) + 1e-12:
            return True
    return False
