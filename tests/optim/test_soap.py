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


def test_turning_the_parameters_turns_its_steps():
    """Adam depends on the axes; SOAP, as long as its bases are those of the present moments, does not.

    A large eps keeps rounding small: in its bases most of the first gradient is 0, and Adam divides what is left by its size.
    """
    generator = torch.Generator().manual_seed(1)
    start = torch.randn(3, 3, dtype=torch.float64, generator=generator)
    target = torch.randn(3, 3, dtype=torch.float64, generator=generator)
    Q = torch.linalg.qr(torch.randn(3, 3, dtype=torch.float64, generator=generator)).Q
    scale = torch.tensor([1.0, 5.0, 25.0], dtype=torch.float64)[:, None]
    x = start.clone().requires_grad_(True)
    y = (Q @ start).requires_grad_(True)
    first, second = (SOAP([z], lr=0.01, eps=1e-2, refresh_every=1) for z in (x, y))
    steps(first, [x], lambda z: (scale * (z - target)).square().sum(), 40)
    steps(second, [y], lambda z: (scale * (Q.T @ z - target)).square().sum(), 40)
    torch.testing.assert_close(Q @ x.detach(), y.detach(), rtol=1e-6, atol=1e-6)


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
