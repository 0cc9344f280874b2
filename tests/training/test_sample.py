from __future__ import annotations

import itertools
import math

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

import landscape as ls
from landscape.training.norm_test import NormTest, grown_size, norm_test
from landscape.training.sample import SampledLoss
from tests.problems import regression_data


def small_problem(num_samples: int = 50, data=None, loss_fn=F.mse_loss, **settings) -> ls.Problem:
    torch.manual_seed(3)
    model = nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 2)).double()
    return ls.Problem(model, loss_fn, regression_data(num_samples) if data is None else data, **settings)


def in_order(problem: ls.Problem, seed: int) -> torch.Tensor:
    """The permutation that a sample of this seed is the beginning of."""
    return torch.randperm(problem.num_samples, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("batch_size", [None, 3, 7])
@pytest.mark.parametrize("as_dataset", [False, True])
def test_loss_and_gradient_are_the_exact_means_over_the_first_samples_of_one_order(batch_size, as_dataset):
    inputs, targets = regression_data(50)
    data = TensorDatasetByIndex(inputs, targets) if as_dataset else (inputs, targets)
    problem = small_problem(data=data, batch_size=batch_size)
    sample = SampledLoss(problem, 11, seed=4)
    order = in_order(problem, 4)
    for size in (11, 12, 29, 50):
        sample.grow(size)
        chosen = order[:size]
        expected = ls.Problem(problem.model, F.mse_loss, (inputs[chosen], targets[chosen]))
        loss, gradient = sample.loss_and_gradient()
        torch.testing.assert_close(loss, expected.loss(), rtol=1e-13, atol=0)
        torch.testing.assert_close(gradient, expected.gradient(), rtol=1e-12, atol=1e-15)
        torch.testing.assert_close(sample.loss(), expected.loss(), rtol=1e-13, atol=0)


class TensorDatasetByIndex:
    def __init__(self, *tensors: torch.Tensor) -> None:
        self.tensors = tensors

    def __len__(self) -> int:
        return len(self.tensors[0])

    def __getitem__(self, index: int) -> tuple[torch.Tensor, ...]:
        return tuple(tensor[index] for tensor in self.tensors)


@pytest.mark.parametrize(
    ("loss_fn", "targets"),
    [
        (nn.MSELoss(reduction="sum"), None),
        (nn.CrossEntropyLoss(weight=torch.tensor([0.3, 2.0]).double(), ignore_index=-1), torch.arange(50) % 3 - 1),
    ],
    ids=["sum", "classes"],
)
def test_ragged_micro_batches_weigh_as_the_loss_divides(loss_fn, targets):
    inputs, plain = regression_data(50)
    targets = plain if targets is None else targets
    problem = small_problem(data=(inputs, targets), loss_fn=loss_fn, batch_size=4)
    sample = SampledLoss(problem, 21, seed=1)
    chosen = in_order(problem, 1)[:21]
    loss, gradient = sample.loss_and_gradient()
    expected = ls.Problem(problem.model, loss_fn, (inputs[chosen], targets[chosen]))
    torch.testing.assert_close(loss, expected.loss(), rtol=1e-13, atol=0)
    torch.testing.assert_close(gradient, expected.gradient(), rtol=1e-12, atol=1e-15)


def test_each_sample_is_charged_once_however_the_sample_grows():
    problem = small_problem(batch_size=6)
    sample = SampledLoss(problem, 13, seed=0)
    sample.loss()
    assert (problem.cost.forward_samples, problem.cost.gradient_samples) == (13, 0)
    for size in (13, 30, 31, 50, 50):
        sample.grow(size)
        sample.loss_and_gradient()
        assert problem.cost.gradient_samples == size
    problem.set_params(problem.params() + 1)
    sample.loss_and_gradient()
    assert problem.cost.gradient_samples == 100
    sample.redraw(seed=7)
    sample.loss_and_gradient()
    assert problem.cost.gradient_samples == 150


def test_a_sample_of_all_data_is_the_problem_bit_for_bit():
    problem = small_problem(batch_size=16)
    sample = SampledLoss(problem, 99, seed=0)
    assert sample.is_full and sample.size == 50
    for ours, own in zip(sample.loss_and_gradient(), problem.loss_and_gradient(), strict=True):
        assert torch.equal(ours, own)
    assert torch.equal(sample.loss(), problem.loss())


def test_the_variance_is_that_of_single_samples_where_micro_batches_are_single_samples():
    problem = small_problem(batch_size=1)
    sample = SampledLoss(problem, 17, seed=2)
    sample.loss_and_gradient()
    gradients = gradients_of_samples(problem)[in_order(problem, 2)[:17]]
    variance, gradient_norm = sample.spread()
    assert variance == pytest.approx(float(gradients.var(dim=0, correction=1).sum()), rel=1e-12)
    assert gradient_norm == pytest.approx(float(gradients.mean(dim=0).norm()), rel=1e-12)


def gradients_of_samples(problem: ls.Problem) -> torch.Tensor:
    inputs, targets = problem.batches.tensors
    singles = [
        ls.Problem(problem.model, F.mse_loss, pair) for pair in zip(inputs.split(1), targets.split(1), strict=True)
    ]
    return torch.stack([single.gradient() for single in singles])


def test_the_variance_from_ragged_micro_batches_is_unbiased_without_replacement():
    """Over many orders its mean is the variance of all single samples, and predicts the error of the sampled gradient."""
    problem = small_problem(20, batch_size=2)  # micro-batches of 2, 2, 2, 2, 2, 2 and 1 samples
    gradients = gradients_of_samples(problem)
    exact = float(gradients.var(dim=0, correction=1).sum())
    estimates, errors = [], []
    for seed in range(200):
        sample = SampledLoss(problem, 13, seed)
        _, gradient = sample.loss_and_gradient()
        estimates.append(sample.spread()[0])
        errors.append(float((gradient - gradients.mean(dim=0)).square().sum()))
    estimates, errors = torch.tensor(estimates), torch.tensor(errors)
    assert abs(float(estimates.mean()) - exact) < 4 * float(estimates.std()) / math.sqrt(200)
    predicted = exact / 13 * (1 - 13 / 20)
    assert abs(float(errors.mean()) - predicted) < 4 * float(errors.std()) / math.sqrt(200)


def test_the_variance_is_the_formula_for_ragged_micro_batches_also_after_growing():
    problem = small_problem(batch_size=4)
    sample = SampledLoss(problem, 10, seed=5)
    sample.loss_and_gradient()
    sample.grow(37)
    sample.loss_and_gradient()
    gradients, order = gradients_of_samples(problem), in_order(problem, 5)
    # Pieces of 2 first (a tenth of eight), then pieces of 4 on the grid of four: 10 = 5 * 2, then 10..12, 12..16, ..., 36..37.
    edges = [0, 2, 4, 6, 8, 10, 12, 16, 20, 24, 28, 32, 36, 37]
    pieces = [order[low:high] for low, high in itertools.pairwise(edges)]
    mean = gradients[order[:37]].mean(dim=0)
    squares = [len(piece) * float((gradients[piece].mean(dim=0) - mean).square().sum()) for piece in pieces]
    assert sample.spread()[0] == pytest.approx(sum(squares) / (len(pieces) - 1), rel=1e-11)


def test_batches_that_were_given_are_drawn_whole():
    inputs, targets = regression_data(50)
    batches = list(zip(inputs.split([10, 5, 20, 15]), targets.split([10, 5, 20, 15]), strict=True))
    problem = small_problem(data=batches)
    order = torch.randperm(4, generator=torch.Generator().manual_seed(9)).tolist()
    sizes = [len(batches[index][0]) for index in order]
    sample = SampledLoss(problem, sizes[0] + 1, seed=9)
    assert sample.size == sizes[0] + sizes[1]
    chosen = [torch.cat(parts) for parts in zip(*(batches[index] for index in order[:2]), strict=True)]
    expected = ls.Problem(problem.model, F.mse_loss, tuple(chosen)).gradient()
    torch.testing.assert_close(sample.loss_and_gradient()[1], expected, rtol=1e-12, atol=1e-15)
    assert problem.cost.gradient_samples == sample.size
    one = SampledLoss(problem, 1, seed=9)
    one.loss_and_gradient()
    assert math.isnan(one.spread()[0])


def test_what_cannot_be_drawn_from_is_refused_before_any_work():
    inputs, targets = regression_data(50)
    with pytest.raises(ValueError, match=r"a single batch, of which no sample can be drawn\. Use batch='full'"):
        SampledLoss(small_problem(data=[(inputs, targets)]), 10, seed=0)
    loader = DataLoader(TensorDataset(inputs, targets), batch_size=20, drop_last=True)
    with pytest.raises(ValueError, match="cannot be drawn from in a repeatable order"):
        SampledLoss(small_problem(data=loader), 10, seed=0)
    with pytest.raises(ValueError, match="it must hold at least 1"):
        SampledLoss(small_problem(), 0, seed=0)
    with pytest.raises(ValueError, match="it cannot shrink"):
        SampledLoss(small_problem(), 10, seed=0).grow(9)


def test_a_saved_sample_goes_on_with_what_it_knew():
    problem = small_problem(batch_size=4)
    sample, copy = SampledLoss(problem, 10, seed=5), SampledLoss(problem, 3, seed=1)
    sample.loss_and_gradient()
    state = sample.state_dict()
    results = []
    for one in (sample, copy):
        if one is copy:
            copy.load_state_dict(state)
        before = problem.cost.copy()
        one.grow(31)
        results.append((*one.loss_and_gradient(), torch.tensor(one.spread())))
        assert problem.cost.since(before).gradient_samples == 21
    for first, second in zip(*results, strict=True):
        assert torch.equal(first, second)


@given(
    variance=st.just(0.0) | st.floats(1e-30, 1e12),
    gradient_norm=st.just(0.0) | st.floats(1e-15, 1e6),
    num_samples=st.integers(1, 10**7),
    share=st.floats(0, 1),
    theta=st.floats(0.01, 2),
)
@settings(max_examples=300, deadline=None)
def test_the_sample_grows_exactly_when_the_inequality_fails_and_to_the_smallest_size_that_meets_it(
    variance, gradient_norm, num_samples, share, theta
):
    size = max(1, int(share * num_samples))
    test = norm_test(variance, gradient_norm, size, num_samples, theta)

    def is_met(k: int, slack: float = 1.0) -> bool:
        return math.sqrt(variance / k * (1 - k / num_samples)) <= slack * theta * gradient_norm

    assert test.passed == (size == num_samples or is_met(size))
    assert (grown_size(test, size, num_samples) > size) == (not test.passed)
    grown = grown_size(test, size, num_samples, 2.0)
    assert grown <= max(2 * size, size + 1) or (grown == num_samples and 2 * size > 0.8 * num_samples)
    if variance > 0 and size < num_samples:
        assert 1 <= test.needed <= num_samples and is_met(test.needed, 1 + 1e-9)
        assert test.passed or test.needed == 1 or not is_met(test.needed - 1, 1 - 1e-9) or test.needed == size + 1


@pytest.mark.parametrize(("variance", "gradient_norm"), [(math.nan, 1.0), (math.inf, 1.0), (1.0, math.nan)])
def test_an_unknown_noise_fails_the_test(variance, gradient_norm):
    assert norm_test(variance, gradient_norm, 10, 100, 0.5).needed == 100
    assert not norm_test(variance, gradient_norm, 10, 100, 0.5).passed
    assert norm_test(variance, gradient_norm, 100, 100, 0.5).passed


def test_a_sample_at_a_stationary_point_with_noise_needs_all_data():
    assert norm_test(1.0, 0.0, 10, 100, 0.5) == NormTest(False, math.inf, 100)
