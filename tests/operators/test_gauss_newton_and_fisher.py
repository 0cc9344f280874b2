"""The Gauss-Newton and Fisher matrices against definitions computed by hand."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from landscape import Problem
from tests.operators.references import dense_hessian, everything, jacobian, small_mlp, vector
from tests.problems import MODELS, regression_data

INPUTS = regression_data()[0]
LABELS = torch.tensor([0, 2, 1, -100, 0, 0, 2, 1, 1, -100, 2])
ONES = (regression_data()[1] > 0).double()


class Pixelwise(nn.Module):
    """Three classes at each of two places."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(4, 6)

    def forward(self, inputs):
        return torch.tanh(self.linear(inputs)).reshape(-1, 3, 2)


PLACES = torch.stack([LABELS, LABELS.flip(0)], dim=1)
LIKELIHOODS = {
    "mse": (small_mlp, F.mse_loss, regression_data()[1]),
    "mse_sum": (small_mlp, nn.MSELoss(reduction="sum"), regression_data()[1]),
    "cross_entropy": (lambda: small_mlp(3), F.cross_entropy, LABELS),
    "cross_entropy_places": (lambda: Pixelwise().double(), nn.CrossEntropyLoss(), PLACES),
    "nll": (lambda: nn.Sequential(small_mlp(3), nn.LogSoftmax(1)), nn.NLLLoss(), LABELS),
    "binary": (small_mlp, F.binary_cross_entropy_with_logits, ONES),
}


def problem_of(name: str, **settings) -> Problem:
    make, loss_fn, target = LIKELIHOODS[name]
    return Problem(make(), loss_fn, (INPUTS, target), **settings)


def output_hessian(problem: Problem) -> torch.Tensor:
    """The Hessian of the mean loss in the outputs, all of them in one vector."""
    inputs, target = everything(problem)
    outputs = problem.model(inputs).detach()

    def loss(flat: torch.Tensor) -> torch.Tensor:
        return problem.loss_fn(flat.reshape(outputs.shape), target)

    dense = torch.autograd.functional.hessian(loss, outputs.reshape(-1))
    return dense / len(inputs) if problem.objective.weighting.kind == "sum" else dense


@pytest.mark.parametrize("name", sorted(LIKELIHOODS))
def test_gauss_newton_is_the_jacobian_around_the_losss_hessian(name):
    problem = problem_of(name, batch_size=4)
    J = jacobian(problem)
    expected = J.T @ output_hessian(problem) @ J
    torch.testing.assert_close(problem.gauss_newton().to_dense(), expected, rtol=1e-10, atol=1e-12)
    point = problem.params()
    torch.testing.assert_close(problem.gauss_newton(point).to_dense(), expected, rtol=1e-10, atol=1e-12)


def test_gauss_newton_of_a_linear_model_is_the_hessian():
    problem = Problem(nn.Linear(4, 3).double(), F.cross_entropy, (INPUTS, LABELS))
    torch.testing.assert_close(problem.gauss_newton().to_dense(), dense_hessian(problem), rtol=1e-10, atol=1e-13)


@pytest.mark.parametrize("name", sorted(set(MODELS)))
def test_gauss_newton_of_every_model_is_positive_semidefinite(name):
    problem = Problem(MODELS[name]().double(), F.mse_loss, regression_data(), batch_size=4)
    assert torch.linalg.eigvalsh(problem.gauss_newton().to_dense()).min() > -1e-12


@pytest.mark.parametrize("name", sorted(LIKELIHOODS))
def test_the_empirical_fisher_is_made_of_per_sample_gradients(name):
    """F = (1 / W) sum_i g_i g_i', with g_i the gradient of sample i's summed loss and W what the mean divides by."""
    problem = problem_of(name, batch_size=4)
    _, loss_fn, target = LIKELIHOODS[name]
    weighting, expected = problem.objective.weighting, torch.zeros(problem.num_params, problem.num_params).double()
    total = 0.0
    for i in range(len(INPUTS)):
        weight = weighting.weight_of(target[i : i + 1], 1)
        total += weight
        if weight == 0:
            continue
        loss = loss_fn(problem.model(INPUTS[i : i + 1]), target[i : i + 1])
        loss = loss if weighting.kind == "sum" else loss * weight
        g = torch.cat([g.reshape(-1) for g in torch.autograd.grad(loss, problem.parameters)])
        expected += torch.outer(g, g)
    found = problem.fisher(kind="empirical").to_dense()
    torch.testing.assert_close(found, expected / total, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("name", sorted(LIKELIHOODS))
def test_the_monte_carlo_fisher_is_gauss_newton_on_average(name):
    """E[F] = G (Kunstner et al. 2019): the mean over independent draws lies within its standard error."""
    problem = problem_of(name)
    v = vector(problem.num_params)
    # The distribution behind nll_loss is that of cross-entropy on what enters the LogSoftmax.
    same = problem if name != "nll" else Problem(problem.model[0], F.cross_entropy, (INPUTS, LABELS))
    exact = float(v @ (same.gauss_newton() @ v))
    draws = torch.tensor([float(v @ (problem.fisher(seed=s, num_draws=8) @ v)) for s in range(50)])
    error = float(draws.std()) / len(draws) ** 0.5
    assert abs(float(draws.mean()) - exact) < 4 * error
    assert error < 0.1 * exact


@pytest.mark.parametrize("name", sorted(LIKELIHOODS))
def test_the_draws_belong_to_samples_however_the_data_are_cut(name):
    whole = problem_of(name)
    expected = whole.fisher(num_draws=2).to_dense()
    assert torch.linalg.eigvalsh(expected).min() > -1e-12
    _, loss_fn, target = LIKELIHOODS[name]
    for batch_size, max_memory in [(4, None), (None, 2000.0), (5, 1.0)]:
        cut = Problem(whole.model, loss_fn, (INPUTS, target), batch_size=batch_size)
        found = cut.fisher(num_draws=2, max_memory=max_memory, verify=False)
        for _ in range(2):  # drawn again where graphs are not kept
            torch.testing.assert_close(found @ expected[0], expected @ expected[0], rtol=1e-10, atol=1e-12)
    other = whole.fisher(num_draws=2, seed=1)
    assert not torch.allclose(other @ expected[0], expected @ expected[0])


def test_a_sampler_of_ones_own_draws_sample_by_sample():
    def laplace(output, target, generator):
        uniform = torch.rand(output.shape, generator=generator, dtype=output.dtype) - 0.5
        return output - uniform.sign() * torch.log1p(-2 * uniform.abs())

    def loss_fn(output, target):
        return (output - target).abs().mean()

    problem = Problem(small_mlp(), loss_fn, regression_data())
    with pytest.raises(ValueError, match=r"loss_fn with these settings is not known to be a likelihood"):
        problem.fisher()
    expected = problem.fisher(sampler=laplace).to_dense()
    cut = Problem(problem.model, loss_fn, regression_data(), batch_size=3).fisher(sampler=laplace, verify=False)
    torch.testing.assert_close(cut.to_dense(), expected, rtol=1e-10, atol=1e-13)


@pytest.mark.parametrize(
    "settings",
    [{"weight": torch.tensor([1.0, 2.0, 3.0]).double()}, {"label_smoothing": 0.1}],
)
def test_losses_that_are_no_likelihoods_are_refused(settings):
    problem = Problem(small_mlp(3), nn.CrossEntropyLoss(**settings), (INPUTS, LABELS))
    with pytest.raises(ValueError, match="draws targets from the model's own distribution"):
        problem.fisher()
    assert problem.fisher(kind="empirical").to_dense().isfinite().all()
