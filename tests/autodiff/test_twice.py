"""Conditions under which torch's operations can be differentiated twice."""

from __future__ import annotations

import threading

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.nn.utils import parametrizations

from landscape.autodiff.twice import (
    plain_weight_norm,
    refuse_once_differentiable,
    twice_differentiable,
    why_not_twice,
)
from tests.operators.layers import old_norm


@pytest.mark.parametrize("dim", [0, 1, -1])
def test_plain_weight_norm_has_the_same_values_and_a_right_second_derivative(dim):
    generator = torch.Generator().manual_seed(0)
    v = torch.randn(3, 4, dtype=torch.float64, generator=generator, requires_grad=True)
    g = torch.norm_except_dim(v.detach(), 2, dim).mul(1.3).requires_grad_()
    fused = torch._weight_norm(v, g, dim)
    with plain_weight_norm():
        assert torch.equal(torch._weight_norm(v, g, dim), fused)
        assert torch.autograd.gradgradcheck(lambda v, g: torch._weight_norm(v, g, dim).sin(), (v, g))


def test_torchs_own_weight_norm_still_has_the_fault_that_is_guarded_against():
    """The day this fails, the guard can go."""
    v = torch.randn(3, 4, dtype=torch.float64, requires_grad=True)
    g = torch.rand(3, 1, dtype=torch.float64).add(0.5).requires_grad_()
    assert not torch.autograd.gradgradcheck(
        lambda v, g: torch._weight_norm(v, g, 0).sin(), (v, g), raise_exception=False
    )


@pytest.mark.parametrize("norm", [parametrizations.weight_norm, old_norm])
def test_both_weight_norms_of_torch_go_through_the_guard(norm):
    model, inputs = norm(nn.Linear(3, 2)).double(), torch.randn(5, 3, dtype=torch.float64)
    parameters = list(model.parameters())
    with twice_differentiable():
        gradients = torch.autograd.grad(model(inputs).sin().sum(), parameters, create_graph=True)
        flat = torch.cat([g.reshape(-1) for g in gradients])
        rows = [torch.autograd.grad(entry, parameters, retain_graph=True) for entry in flat]
    dense = torch.stack([torch.cat([h.reshape(-1) for h in row]) for row in rows])
    torch.testing.assert_close(dense, dense.T, rtol=1e-10, atol=1e-12)


def test_the_guard_is_gone_after_the_last_block_also_when_one_raises():
    fused = torch._weight_norm
    with pytest.raises(ZeroDivisionError), plain_weight_norm(), plain_weight_norm():
        raise ZeroDivisionError
    assert torch._weight_norm is fused

    entered, leave = threading.Event(), threading.Event()

    def hold() -> None:
        with plain_weight_norm():
            entered.set()
            leave.wait(10)

    thread = threading.Thread(target=hold)
    thread.start()
    assert entered.wait(10)
    with plain_weight_norm():
        pass
    assert torch._weight_norm is not fused  # the other thread is still within its block
    leave.set()
    thread.join()
    assert torch._weight_norm is fused


def test_attention_can_be_differentiated_twice_within_the_block_and_keeps_its_kernels_outside():
    query = torch.randn(1, 2, 3, 4, dtype=torch.float64, requires_grad=True)

    def attend(x):
        return F.scaled_dot_product_attention(x, x, x)

    enabled = torch.backends.cuda.flash_sdp_enabled()
    with twice_differentiable():
        assert torch.autograd.gradgradcheck(attend, (query,))
    assert torch.backends.cuda.flash_sdp_enabled() == enabled


class Once(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x.sin()

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, gradient):
        return gradient * ctx.saved_tensors[0].cos()


def test_functions_that_are_once_differentiable_are_refused_where_torch_would_leave_them_out():
    x = torch.ones(3, requires_grad=True)
    gradients = torch.autograd.grad(Once.apply(x).square().sum() + x.pow(3).sum(), x, create_graph=True)
    torch.autograd.grad(gradients[0].sum(), x, retain_graph=True)  # silently 6 x: the sine's part is missing
    with pytest.raises(RuntimeError) as caught:
        refuse_once_differentiable([*gradients, None])
    assert why_not_twice(caught.value) == "a custom function is once_differentiable"
    refuse_once_differentiable(torch.autograd.grad(x.pow(3).sum(), x, create_graph=True))


def test_other_errors_are_not_explained_away():
    assert why_not_twice(RuntimeError("mat1 and mat2 shapes cannot be multiplied")) is None
    assert "use_reentrant=False can" in why_not_twice(
        RuntimeError("When use_reentrant=True, torch.utils.checkpoint is incompatible with .grad()")
    )
