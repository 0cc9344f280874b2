import math

import pytest
import torch
from torch import nn

from landscape.batches import first_two, pieces_of
from landscape.problem import Problem
from landscape.tracking.per_sample import sample_gradients, usable_method
from landscape.tracking.snapshot import Snapshot
from landscape.tracking.trackers import build
from landscape.tracking.trackers.noise import Moments
from tests.tracking.training import Training, data, mlp


def one_by_one(problem: Problem, batch) -> torch.Tensor:
    """Gradients of samples, each as a batch of its own."""
    singles = [(x[None], y[None]) for x, y in zip(*batch.content, strict=True)]
    losses = [problem.loss_fn(problem.model(x), y) for x, y in singles]
    return torch.stack([problem.layout.flatten(torch.autograd.grad(loss, problem.parameters)) for loss in losses])


class Branching(nn.Module):
    """Takes a decision by its data, which vmap cannot."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(3, 2)

    def forward(self, inputs):
        outputs = self.linear(inputs)
        return outputs if float(outputs.detach().abs().max()) >= 0 else -outputs


class Normalised(nn.Module):
    """Samples of a batch look at each other."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(3, 2)

    def forward(self, inputs):
        outputs = self.linear(inputs)
        return outputs - outputs.mean(dim=0)


@pytest.mark.parametrize(("model", "method"), [(mlp(), "vmap"), (Branching().double(), "loop")])
def test_per_sample_gradients_are_those_of_single_samples(model, method) -> None:
    problem = Problem(model, nn.functional.mse_loss, data())
    batch = _whole(problem)
    assert usable_method(problem) == method
    before = problem.cost.gradients
    found = torch.cat(list(sample_gradients(problem, batch, method)))
    torch.testing.assert_close(found, one_by_one(problem, batch), rtol=1e-10, atol=1e-14)
    assert problem.cost.gradients - before == 1.0


def test_samples_that_look_at_each_other_have_no_gradients_of_their_own() -> None:
    assert usable_method(Problem(Normalised().double(), nn.functional.mse_loss, data())) == "none"


class Attention(nn.Module):
    """Fused attention has neither batching nor second derivatives."""

    def __init__(self) -> None:
        super().__init__()
        self.embed, self.head = nn.Linear(1, 8), nn.Linear(8, 2)
        self.attention = nn.MultiheadAttention(8, 2, batch_first=True)

    def forward(self, inputs):
        tokens = self.embed(inputs[..., None])
        return self.head(self.attention(tokens, tokens, tokens, need_weights=False)[0].mean(dim=1))


def test_attention_has_per_sample_gradients_all_at_once() -> None:
    problem = Problem(Attention().double(), nn.functional.mse_loss, data(9))
    assert usable_method(problem) == "vmap"


def test_losses_that_differentiate_by_their_inputs_are_taken_one_by_one() -> None:
    def closure(model, points):
        points = points.clone().requires_grad_(True)
        (slope,) = torch.autograd.grad(model(points).sum(), points, create_graph=True)
        return (slope - points).square().mean()

    problem = Problem.from_closure(mlp(), closure, data(12)[0])
    assert usable_method(problem) == "loop"
    row = build("gradient-variance").measure(Snapshot(problem))
    gradients = [problem.objective.over([piece]).loss_and_gradient()[1] for piece in pieces_of(_whole(problem), 1)]
    assert row["gradient_variance"] == pytest.approx(float(torch.cov(torch.stack(gradients).T).trace()), rel=1e-9)


def _whole(problem: Problem):
    return first_two(problem.batches)[0]


@pytest.mark.parametrize("reduction", ["mean", "sum"])
def test_ignored_and_weighted_targets_count_as_in_the_loss(reduction) -> None:
    inputs, _ = data(12)
    targets = torch.arange(12) % 3
    targets[::4] = -100
    loss = nn.CrossEntropyLoss(weight=torch.tensor([1.0, 2.0, 5.0]).double(), reduction=reduction)
    problem = Problem(nn.Linear(3, 3).double(), loss, (inputs, targets))
    gradients = torch.cat(list(sample_gradients(problem, _whole(problem), usable_method(problem))))
    torch.testing.assert_close(gradients.mean(dim=0), problem.gradient(), rtol=1e-10, atol=1e-14)
    assert bool((gradients[::4] == 0).all())


def test_dict_batches_of_a_closure_have_per_sample_gradients() -> None:
    inputs, targets = data(10)

    def closure(model, batch):
        return (model(batch["x"]) - batch["y"]).square().mean()

    problem = Problem.from_closure(mlp(), closure, {"x": inputs, "y": targets})
    assert usable_method(problem) == "vmap"


def test_the_variance_over_all_samples_is_the_trace_of_their_covariance() -> None:
    training = Training()
    row = training.run(build("gradient-variance"), epochs=1)[-1]
    covariance = torch.cov(one_by_one(training.problem, _whole(training.problem)).T)
    assert row["gradient_variance"] == pytest.approx(float(covariance.trace()), rel=1e-9)
    assert row["gradient_norm_squared_unbiased"] == pytest.approx(float(training.gradient().square().sum()), rel=1e-9)


def test_estimates_from_few_samples_are_unbiased() -> None:
    training = Training()
    tracker = build("gradient-variance:num_samples=8")
    snapshots = [Snapshot(training.problem, epoch=epoch) for epoch in range(300)]
    for snapshot in snapshots:
        snapshot.facts = snapshots[0].facts
    rows = [tracker.measure(snapshot) for snapshot in snapshots]
    gradients = one_by_one(training.problem, _whole(training.problem))
    for column, truth in (
        ("gradient_variance", float(torch.cov(gradients.T).trace())),
        # Drawn without replacement, means of b of N samples scatter by (1 - b/N) of the variance over b.
        ("gradient_norm_squared_unbiased", float(gradients.mean(dim=0).square().sum())),
    ):
        values = torch.tensor([row[column] for row in rows]).double()
        assert abs(float(values.mean()) - truth) < 4 * float(values.std()) / math.sqrt(len(values)), column


def test_a_known_gradient_is_used_for_its_squared_norm() -> None:
    training = Training()
    gradient = training.gradient()
    snapshot = training.snapshot(loss=1.0, gradient=gradient)
    row = build("gradient-variance:num_samples=8").measure(snapshot)
    assert row["gradient_norm_squared_unbiased"] == pytest.approx(float(gradient @ gradient), rel=1e-12)


def test_mini_batch_tests_match_their_formulas() -> None:
    training = Training()
    snapshot = training.snapshot(batch_size=30)  # all of them: no matter in which order they are drawn
    row = build("mini-batch-tests").measure(snapshot)
    g_i = one_by_one(training.problem, _whole(training.problem))
    g, b = g_i.mean(dim=0), 30
    square, variances = float(g @ g), g_i.var(dim=0)
    assert row == {
        "norm_test_ratio": pytest.approx(float((g_i - g).square().sum()) / ((b - 1) * b * square), rel=1e-9),
        "inner_product_test_ratio": pytest.approx(
            float((g_i @ g - square).square().sum()) / ((b - 1) * b * square**2), rel=1e-9
        ),
        "evidence": pytest.approx(1 - b / len(g) * float((g.square() / variances).sum()), rel=1e-9),
    }


def test_coordinates_that_do_not_vary_are_left_out_of_the_evidence() -> None:
    rows = torch.tensor([[1.0, 0.1, 2.0], [1.0, 0.1, 4.0], [1.0, 0.1, 6.0]]).double()
    assert Moments.of(iter([rows])).evidence() == pytest.approx(1 - 3 / 1 * 16 / 4)
    assert math.isnan(Moments.of(iter([rows[:, :2]])).evidence())


def test_where_samples_are_not_apart_mini_batches_are_drawn_instead() -> None:
    problem = Problem(Normalised().double(), nn.functional.mse_loss, data())
    snapshot = Snapshot(problem, epoch=1, batch_size=10)
    row = build("gradient-variance:num_batches=200").measure(snapshot)
    generator = torch.Generator().manual_seed(9)
    drawn = [problem.objective.over([next(problem.minibatches(10, generator))]) for _ in range(200)]
    gradients = torch.stack([part.loss_and_gradient()[1] for part in drawn])
    assert row == {"gradient_variance": pytest.approx(10 * float(torch.cov(gradients.T).trace()), rel=0.25)}
    assert build("mini-batch-tests").measure(snapshot) == {}


def test_one_sample_has_no_scatter() -> None:
    problem = Problem(mlp(), nn.functional.mse_loss, data(1))
    assert "single sample" in build("gradient-variance").unavailable(problem)
