"""The real thing: a network on handwritten digits, after a first phase with Adam."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from landscape.optim import BETAS, ConjugateGradient
from landscape.status import Status


@pytest.fixture(scope="module", params=[torch.float32, torch.float64], ids=["float32", "float64"])
def after_adam(request):
    from sklearn.datasets import load_digits

    pixels, labels = load_digits(return_X_y=True)
    inputs = torch.tensor(pixels / 16.0, dtype=request.param)
    targets = nn.functional.one_hot(torch.tensor(labels), 10).to(request.param)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = nn.Sequential(nn.Linear(64, 64), nn.Tanh(), nn.Linear(64, 10)).to(request.param)
        adam = torch.optim.Adam(model.parameters())
        for _ in range(5):
            for batch in torch.randperm(len(inputs)).split(256):
                adam.zero_grad()
                nn.functional.mse_loss(model(inputs[batch]), targets[batch]).backward()
                adam.step()
    return model, inputs, targets


def train(after_adam, budget: float, **options) -> tuple[float, float, set[Status]]:
    """Loss reached within ``budget`` gradient equivalents, cost per accepted step, and the statuses seen."""
    model, inputs, targets = copy.deepcopy(after_adam)
    optimizer = ConjugateGradient(model.parameters(), **options)

    def closure() -> torch.Tensor:
        optimizer.zero_grad()
        loss = nn.functional.mse_loss(model(inputs), targets)
        if loss.requires_grad:
            loss.backward()
        return loss

    spent, num_accepted, statuses, loss = 0.0, 0, set(), float("inf")
    while True:
        optimizer.step(closure)
        spent += optimizer.last.gradient_equivalents
        if spent > budget:
            return loss, spent / num_accepted, statuses
        loss = optimizer.last.loss
        num_accepted += optimizer.last.status is Status.ACCEPTED
        statuses.add(optimizer.last.status)


@pytest.mark.parametrize("beta", BETAS)
def test_the_quadratic_search_costs_at_most_1_4_gradients_a_step_and_beats_golden_section(after_adam, beta):
    quadratic, cost, statuses = train(after_adam, 120.0, beta=beta)
    golden, golden_cost, _ = train(after_adam, 120.0, beta=beta, line_search="golden")
    assert statuses == {Status.ACCEPTED}
    assert cost <= 1.4
    assert golden_cost > 2.0 * cost
    assert quadratic < golden


def test_conjugate_directions_beat_steepest_descent(after_adam):
    conjugate, _, _ = train(after_adam, 120.0)
    steepest, _, _ = train(after_adam, 120.0, restart_every=1)
    assert conjugate < 0.7 * steepest


def test_the_book_takes_more_than_seven_gradients_a_step(after_adam):
    _, cost, _ = train(after_adam, 60.0, line_search="golden", xtol="nr")
    assert cost > 7.0
