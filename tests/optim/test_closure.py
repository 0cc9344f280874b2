from __future__ import annotations

import pytest
import torch

from landscape.optim import LINE_SEARCHES, ConjugateGradient
from tests.optim.known_losses import Counting, parameter, rosenbrock, run


@pytest.mark.parametrize("unconditional", [False, True])
@pytest.mark.parametrize("line_search", LINE_SEARCHES)
def test_the_counts_reported_are_those_of_the_closure(line_search, unconditional):
    x = parameter([-1.2, 1.0, 0.5])
    closure = Counting(rosenbrock, x, unconditional=unconditional)
    optimizer = ConjugateGradient([x], line_search=line_search)
    num_forwards = num_gradients = 0
    for _ in range(40):
        optimizer.step(closure)
        num_forwards += optimizer.last.num_forwards
        num_gradients += optimizer.last.num_gradients
        assert (num_forwards, num_gradients) == (closure.num_forwards, closure.num_gradients)
        assert rosenbrock(x).item() == optimizer.last.loss


def test_a_closure_that_always_calls_backward_is_found_out_once():
    x = parameter([-1.2, 1.0])
    closure = Counting(rosenbrock, x, unconditional=True)
    optimizer = ConjugateGradient([x])
    run(optimizer, closure, 60, until=1e-9)
    assert closure.num_failed == closure.num_forwards == 1
    assert torch.allclose(x, torch.ones_like(x))


def test_a_closure_that_always_calls_backward_takes_the_same_golden_steps():
    ends = []
    for unconditional in (False, True):
        x = parameter([-1.2, 1.0])
        closure = Counting(rosenbrock, x, unconditional=unconditional)
        run(ConjugateGradient([x], line_search="golden"), closure, 10)
        ends.append(x.detach().clone())
    assert torch.equal(*ends)


def test_a_closure_that_enables_gradients_itself_is_counted_as_what_it_computes():
    """Physics-informed losses differentiate with respect to their inputs and so enable gradients in every forward."""
    x = parameter([-1.2, 1.0])
    closure = Counting(rosenbrock, x)
    optimizer = ConjugateGradient([x])
    total = 0
    for _ in range(60):
        optimizer.step(torch.enable_grad()(closure))
        total += optimizer.last.num_gradients
        assert optimizer.last.num_forwards == 0
    assert total == closure.num_gradients
    assert torch.allclose(x, torch.ones_like(x))


def test_a_closure_that_forgets_zero_grad_is_served():
    x = parameter([-1.2, 1.0])
    optimizer = ConjugateGradient([x])

    def closure() -> torch.Tensor:
        loss = rosenbrock(x)
        if loss.requires_grad:
            loss.backward()
        return loss

    for _ in range(60):
        optimizer.step(closure)
    assert torch.allclose(x, torch.ones_like(x))


def test_step_returns_the_loss_at_its_start_and_grad_holds_the_gradient_at_its_end():
    x = parameter([-1.2, 1.0])
    optimizer = ConjugateGradient([x])
    closure = Counting(rosenbrock, x)
    for _ in range(10):
        before = rosenbrock(x).item()
        loss = optimizer.step(closure)
        assert float(loss) == before == optimizer.last.loss_before
        (gradient,) = torch.autograd.grad(rosenbrock(x), x)
        assert torch.equal(x.grad, gradient)
        assert optimizer.last.gradient_norm == pytest.approx(float(gradient.norm()))


@pytest.mark.parametrize("returned", [None, "loss", torch.ones(2), torch.ones((), dtype=torch.complex64)])
def test_a_closure_that_returns_no_loss_is_refused(returned):
    x = parameter([1.0])
    with pytest.raises(TypeError, match="return loss"):
        ConjugateGradient([x]).step(lambda: returned)
    assert x.item() == 1.0


def test_a_closure_that_computes_no_gradient_is_refused():
    x = parameter([1.0])
    with pytest.raises(ValueError, match=r"loss\.backward"):
        ConjugateGradient([x]).step(lambda: (x**2).sum())


def test_an_error_of_the_closure_that_resembles_a_missing_graph_is_not_swallowed():
    x = parameter([1.0])

    def closure() -> torch.Tensor:
        loss = (x.detach() ** 2).sum()
        loss.backward()
        return loss

    with pytest.raises(RuntimeError, match="does not require grad"):
        ConjugateGradient([x]).step(closure)


def test_sparse_gradients_are_refused():
    embedding = torch.nn.Embedding(5, 2, sparse=True)
    optimizer = ConjugateGradient(embedding.parameters())

    def closure() -> torch.Tensor:
        loss = embedding(torch.tensor([1, 2])).square().sum()
        loss.backward()
        return loss

    with pytest.raises(TypeError, match="sparse=False"):
        optimizer.step(closure)


def test_step_without_a_closure_is_refused():
    with pytest.raises(TypeError, match=r"step\(closure\)"):
        ConjugateGradient([parameter([1.0])]).step()
