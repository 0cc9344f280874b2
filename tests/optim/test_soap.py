"""SOAP against Adam, and what it is for."""

from __future__ import annotations

import copy

import pytest
import torch

from landscape.optim.soap import SOAP


def steps(optimizer: torch.optim.Optimizer, params: list[torch.Tensor], loss, count: int) -> None:
    for _ in range(count):
        optimizer.zero_grad()
        loss(*params).backward()
        optimizer.step()


def test_on_vectors_it_is_adam():
    start = torch.randn(7, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    x, y = (start.clone().requires_grad_(True) for _ in range(2))

    def loss(z: torch.Tensor) -> torch.Tensor:
        return (z**4).sum() + (z[0] - 1.0).square()

    soap, adam = SOAP([x], lr=0.01), torch.optim.Adam([y], lr=0.01, betas=(0.9, 0.95))
    steps(soap, [x], loss, 31)  # the first one sets up the bases
    steps(adam, [y], loss, 30)
    torch.testing.assert_close(x, y, rtol=1e-12, atol=1e-12)


def test_a_step_is_adams_in_the_eigenbases():
    """Three steps written out with dense matrices."""
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(4, 3, dtype=torch.float64, generator=generator).requires_grad_(True)
    gradients = [torch.randn(4, 3, dtype=torch.float64, generator=generator) for _ in range(4)]
    expected = x.detach().clone()
    G = gradients[0]
    L, R = torch.linalg.eigh(G @ G.T).eigenvectors, torch.linalg.eigh(G.T @ G).eigenvectors
    m = v = torch.zeros(4, 3, dtype=torch.float64)
    for t, G in enumerate(gradients[1:], start=1):
        m = 0.9 * m + 0.1 * G
        v = 0.95 * v + 0.05 * (L.T @ G @ R) ** 2
        step = (L.T @ m @ R) / (1 - 0.9**t) / ((v / (1 - 0.95**t)).sqrt() + 1e-8)
        expected -= 0.01 * L @ step @ R.T
    optimizer = SOAP([x], lr=0.01)
    for G in gradients:
        x.grad = G.clone()
        optimizer.step()
    torch.testing.assert_close(x.detach(), expected, rtol=1e-10, atol=1e-10)


def test_a_resumed_run_is_bit_identical():
    x = torch.randn(5, 3, generator=torch.Generator().manual_seed(2)).requires_grad_(True)
    y = x.detach().clone().requires_grad_(True)

    def loss(z: torch.Tensor) -> torch.Tensor:
        return (z.T @ z - torch.eye(3)).square().sum()

    optimizer = SOAP([x], refresh_every=4)
    steps(optimizer, [x], loss, 9)
    with torch.no_grad():
        y.copy_(x)
    other = SOAP([y])
    other.load_state_dict(copy.deepcopy(optimizer.state_dict()))
    steps(optimizer, [x], loss, 9)
    steps(other, [y], loss, 9)
    assert torch.equal(x, y)


def test_long_sides_are_not_turned_and_parameters_without_a_gradient_stay():
    x, unused = torch.ones(6, 2, requires_grad=True), torch.ones(2, 2, requires_grad=True)
    optimizer = SOAP([x, unused], max_size=4)
    steps(optimizer, [x], lambda z: z.square().sum(), 3)
    assert "left_basis" not in optimizer.state[x]
    assert optimizer.state[x]["right_basis"].shape == (2, 2)
    assert torch.equal(unused, torch.ones(2, 2))


@pytest.mark.parametrize(
    "wrong", [{"lr": -1.0}, {"eps": 0.0}, {"betas": (0.9, 1.0)}, {"refresh_every": 0}, {"max_size": 0}]
)
def test_settings_out_of_range_are_refused(wrong):
    with pytest.raises(ValueError, match=next(iter(wrong))):
        SOAP([torch.ones(2, requires_grad=True)], **wrong)
