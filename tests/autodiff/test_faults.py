"""The smallest module that shows a fault is the one that is named."""

from __future__ import annotations

import torch
from torch import nn

from landscape.autodiff.faults import find_fault, not_functional, not_repeatable, not_twice, unlike


class Scaled(torch.autograd.Function):
    """The identity, with a backward pass that forgets how it depends on its input."""

    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x.square()

    @staticmethod
    def backward(ctx, gradient):
        return 2 * gradient * ctx.saved_tensors[0].detach()


class Faulty(nn.Module):
    def forward(self, x):
        return Scaled.apply(x)


class Noisy(nn.Module):
    def forward(self, x):
        return x + torch.rand_like(x)


def nested(layer: nn.Module) -> nn.Module:
    inner = nn.Sequential(nn.Linear(3, 3), layer)
    return nn.Sequential(nn.Linear(3, 3), inner, nn.ReLU(inplace=True), nn.Linear(3, 1)).double()


def found(model: nn.Module, test, shape=(4, 3)) -> str | None:
    inputs = torch.randn(shape, dtype=torch.float64)
    return find_fault(model, lambda: model(inputs), test)


def test_the_innermost_module_is_named_with_the_reason():
    assert found(nested(Faulty()), not_twice).startswith("'1.1' (Faulty): its second derivative is")
    assert (
        found(nested(Noisy()), not_repeatable) == "'1.1' (Noisy): two calls with the same inputs give different outputs"
    )


def test_sound_modules_are_not_blamed():
    for layer in (nn.Tanh(), nn.LayerNorm(3), nn.ReLU(inplace=True), nn.SiLU(inplace=True), nn.Softmax(dim=1)):
        for test in (not_twice, not_repeatable, not_functional):
            assert found(nested(layer), test) is None


def test_a_fault_outside_of_modules_is_nobodys():
    model = nested(nn.Tanh())
    inputs = torch.randn(4, 3, dtype=torch.float64)
    assert find_fault(model, lambda: Scaled.apply(model(inputs)).sum(), not_twice) is None


def test_the_model_itself_is_named_where_no_part_of_it_shows_the_fault():
    assert found(Faulty().double(), not_twice).startswith("the model itself (Faulty)")


def test_modules_are_tried_on_what_they_were_given():
    """A later module that works in place must not change the recorded inputs."""
    seen = []

    def look(call):
        seen.append((call.name, call.args[0].clone()))

    model = nn.Sequential(nn.Identity(), nn.ReLU(inplace=True))
    inputs = torch.tensor([[-1.0, 2.0]])
    find_fault(model, lambda: model(inputs.clone()), look)
    assert [(name, args.tolist()) for name, args in seen] == [(name, [[-1.0, 2.0]]) for name in ("0", "1", "")]


def test_trying_leaves_parameters_and_hooks_as_they_were():
    model = nested(nn.Tanh())
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    versions = [p._version for p in model.parameters()]
    for test in (not_twice, not_repeatable, not_functional):
        found(model, test)
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())
    assert [p._version for p in model.parameters()] == versions
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in model.modules())


def test_modules_with_structured_inputs_and_outputs_are_tried():
    class Rich(nn.Module):
        def __init__(self, fault):
            super().__init__()
            self.linear, self.fault = nn.Linear(3, 3), fault

        def forward(self, batch, *, scale):
            hidden = self.linear(batch["x"]) * scale
            return {"out": [Scaled.apply(hidden) if self.fault else hidden.sin()], "index": torch.arange(2)}

    for fault in (True, False):
        model = Rich(fault).double()
        batch = {"x": torch.randn(4, 3, dtype=torch.float64), "names": "ab"}
        name = find_fault(model, lambda model=model, batch=batch: model(batch, scale=2.0), not_twice)
        assert (name is not None and name.startswith("the model itself (Rich)")) == fault


def test_another_way_to_products_is_compared_module_by_module():
    def forgets_scale(function, point, direction):
        with torch.enable_grad():
            moved = tuple(x.clone().requires_grad_() for x in point)
            gradients = torch.autograd.grad(function(*moved), moved, create_graph=True, allow_unused=True)
            pairs = [(g, d) for g, d in zip(gradients, direction, strict=True) if g is not None and g.requires_grad]
            product = torch.autograd.grad([g for g, _ in pairs], moved, [d for _, d in pairs], allow_unused=True)
        return tuple(torch.zeros_like(x) if h is None else 1.5 * h for h, x in zip(product, moved, strict=True))

    name = found(nested(nn.Tanh()), unlike(forgets_scale, "halving"))
    assert name.startswith("'0' (Linear): its product by halving is 50.0 % off")
