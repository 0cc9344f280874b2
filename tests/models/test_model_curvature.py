"""Second derivatives of every model: what the whole package rests on."""

from __future__ import annotations

import pytest
import torch

from landscape.models import NAMES, build


class Case:
    """The paper's loss (mean squared error on one-hot targets) of one model on four random images, in float64."""

    def __init__(self, name):
        generator = torch.Generator().manual_seed(3)
        self.model = build(name, channels=2, num_classes=3, seed=1).double()
        self.params = list(self.model.parameters())
        self.images = torch.rand(4, 2, 32, 32, dtype=torch.float64, generator=generator)
        self.targets = torch.eye(3, dtype=torch.float64)[[0, 1, 2, 1]]
        # Away from the start, where norms are all one and their biases all zero.
        with torch.no_grad():
            for param in self.params:
                param += 0.05 * torch.randn(param.shape, dtype=torch.float64, generator=generator)
        self.generator = generator

    def direction(self):
        vector = torch.randn(sum(p.numel() for p in self.params), dtype=torch.float64, generator=self.generator)
        return vector / vector.norm()

    def split(self, vector):
        pieces = vector.split([p.numel() for p in self.params])
        return [piece.view_as(p) for piece, p in zip(pieces, self.params, strict=True)]

    def gradient(self, create_graph=False):
        loss = torch.nn.functional.mse_loss(self.model(self.images), self.targets)
        return torch.autograd.grad(loss, self.params, create_graph=create_graph)

    def gradient_at(self, step):
        with torch.no_grad():
            for param, piece in zip(self.params, self.split(step), strict=True):
                param += piece
        gradient = torch.cat([piece.flatten() for piece in self.gradient()])
        with torch.no_grad():
            for param, piece in zip(self.params, self.split(step), strict=True):
                param -= piece
        return gradient

    def hvp(self, vector):
        products = torch.autograd.grad(self.gradient(create_graph=True), self.params, grad_outputs=self.split(vector))
        return torch.cat([product.flatten() for product in products])


@pytest.fixture(params=NAMES)
def case(request):
    return Case(request.param)


def test_each_hessian_product_is_the_derivative_of_the_gradient(case):
    """H v = (g(w + h v) - g(w - h v)) / 2h + O(h²), along the gradient (large curvature) and at random (small)."""
    gradient = case.gradient_at(torch.zeros_like(case.direction()))
    for direction in (case.direction(), gradient / gradient.norm()):
        step = 1e-5 * direction
        expected = (case.gradient_at(step) - case.gradient_at(-step)) / 2e-5

        error = (case.hvp(direction) - expected).norm() / expected.norm()

        assert error < 1e-6


def test_each_hessian_is_symmetric(case):
    u, v = case.direction(), case.direction()

    torch.testing.assert_close(u @ case.hvp(v), v @ case.hvp(u), rtol=1e-10, atol=1e-14)


def test_each_hessian_product_is_the_same_every_time(case):
    direction = case.direction()

    assert torch.equal(case.hvp(direction), case.hvp(direction))


def test_every_parameter_changes_the_loss(case):
    """A parameter without effect would be counted in the paper's P and add a zero to the spectrum."""
    for (name, _), piece in zip(case.model.named_parameters(), case.gradient(), strict=True):
        assert piece.abs().amax() > 0, name
