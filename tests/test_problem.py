from __future__ import annotations

import functools
from collections.abc import Iterator

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from torch.utils.data import DataLoader, Dataset, IterableDataset, TensorDataset, WeightedRandomSampler

from landscape import NonRepeatableError, Problem
from tests.problems import MODELS, frozen_trunk, regression_data


def reference(model: nn.Module, loss: torch.Tensor) -> torch.Tensor:
    parameters = [p for p in model.parameters() if p.requires_grad]
    return torch.cat([g.reshape(-1) for g in torch.autograd.grad(loss, parameters)])


@pytest.mark.parametrize("name", sorted(MODELS))
def test_loss_and_gradient_are_those_of_the_plain_model(name):
    model = MODELS[name]().double().eval()
    inputs, targets = regression_data()
    expected = F.mse_loss(model(inputs), targets)

    loss, gradient = Problem(model, F.mse_loss, (inputs, targets)).loss_and_gradient()

    torch.testing.assert_close(loss, expected.detach())
    torch.testing.assert_close(gradient, reference(model, expected))


@pytest.mark.parametrize("name", sorted(MODELS))
def test_swapped_parameters_give_what_the_live_model_gives_at_the_same_point(name):
    model = MODELS[name]().double()
    problem = Problem(model, F.mse_loss, regression_data())
    point = problem.params() + 0.3
    there = problem.loss_and_gradient(point)
    assert not torch.equal(problem.params(), point)

    problem.set_params(point)

    torch.testing.assert_close(there, problem.loss_and_gradient())


def masked_labels() -> tuple[torch.Tensor, torch.Tensor]:
    inputs, _ = regression_data(13)
    labels = torch.tensor([0, 1, -100, 1, 1, -100, -100, -100, -100, 0, 1, -100, 0])
    return inputs, labels


LOSSES = {
    "mse": (F.mse_loss, regression_data),
    "mse_module": (nn.MSELoss(), regression_data),
    "mse_sum": (nn.MSELoss(reduction="sum"), regression_data),
    "mse_sum_partial": (functools.partial(F.mse_loss, reduction="sum"), regression_data),
    "own_mean": (lambda output, target: (output - target).abs().mean(), regression_data),
    "own_sum": (lambda output, target: (output - target).square().sum(), regression_data),
    "masked": (F.cross_entropy, masked_labels),
    "class_weights": (nn.CrossEntropyLoss(weight=torch.tensor([1.0, 5.0], dtype=torch.float64)), masked_labels),
    "class_weights_smoothed": (
        nn.CrossEntropyLoss(weight=torch.tensor([1.0, 5.0], dtype=torch.float64), label_smoothing=0.2),
        masked_labels,
    ),
    "probabilities": (F.cross_entropy, lambda: (regression_data()[0], regression_data()[1].softmax(dim=1))),
}


@pytest.mark.parametrize("name", sorted(LOSSES))
@given(batch_size=st.integers(min_value=1, max_value=20))
def test_ragged_batches_give_the_one_batch_result(name, batch_size):
    torch.manual_seed(0)
    loss_fn, make_data = LOSSES[name]
    model = MODELS["mlp"]().double()
    whole = Problem(model, loss_fn, make_data()).loss_and_gradient()
    parts = Problem(model, loss_fn, make_data(), batch_size=batch_size).loss_and_gradient()
    torch.testing.assert_close(parts, whole, rtol=1e-12, atol=1e-13)


def test_ragged_batches_in_float32_agree_to_one_in_a_million():
    model = nn.Sequential(nn.Linear(4, 64), nn.Tanh(), nn.Linear(64, 2))
    data = regression_data(1000, torch.float32)
    loss, gradient = Problem(model, F.mse_loss, data).loss_and_gradient()
    loss_parts, gradient_parts = Problem(model, F.mse_loss, data, batch_size=300).loss_and_gradient()
    assert abs(loss_parts / loss - 1) < 1e-6
    assert (gradient_parts - gradient).norm() / gradient.norm() < 1e-6


def test_a_sum_loss_is_divided_by_the_number_of_samples():
    model = MODELS["mlp"]().double()
    inputs, targets = regression_data()
    problem = Problem(model, LOSSES["own_sum"][0], (inputs, targets))
    assert problem.loss().item() == pytest.approx((model(inputs) - targets).square().sum().item() / len(inputs))


def test_a_batch_with_no_counted_target_counts_for_nothing():
    inputs, labels = masked_labels()
    problem = Problem(MODELS["mlp"]().double(), F.cross_entropy, (inputs, torch.full_like(labels, -100)))
    assert problem.loss().isnan()
    some = Problem(MODELS["mlp"]().double(), F.cross_entropy, (inputs, labels), batch_size=1)
    assert some.gradient().isfinite().all()


def test_a_loss_that_cannot_be_put_together_from_batches_is_refused():
    def relative_error(output, target):
        return (output - target).norm() / target.norm()

    model, data = MODELS["mlp"]().double(), regression_data()
    assert Problem(model, relative_error, data).loss() > 0
    with pytest.raises(ValueError, match="cannot be put together from batches"):
        Problem(model, relative_error, data, batch_size=4).loss()


class Pairs(Dataset):
    def __init__(self) -> None:
        self.inputs, self.targets = regression_data()

    def __len__(self) -> int:
        return len(self.inputs)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, torch.Tensor]:
        return self.inputs[index], self.targets[index]


class Stream(IterableDataset):
    def __iter__(self) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        yield from zip(*regression_data(), strict=True)


SOURCES = {
    "tensors": regression_data,
    "list_of_batches": lambda: [tuple(t[:4] for t in regression_data()), tuple(t[4:] for t in regression_data())],
    "tensor_dataset": lambda: TensorDataset(*regression_data()),
    "dataset": Pairs,
    "loader": lambda: DataLoader(Pairs(), batch_size=4),
    "shuffling_loader": lambda: DataLoader(Pairs(), batch_size=4, shuffle=True),
    "tensor_loader": lambda: DataLoader(TensorDataset(*regression_data()), batch_size=3, shuffle=True),
    "stream_loader": lambda: DataLoader(Stream(), batch_size=4),
}


@pytest.mark.parametrize("source", sorted(SOURCES))
def test_every_source_of_data_gives_the_same_loss_and_gradient(source):
    model = MODELS["mlp"]().double()
    expected = Problem(model, F.mse_loss, regression_data()).loss_and_gradient()
    problem = Problem(model, F.mse_loss, SOURCES[source]())
    random_state = torch.get_rng_state()

    torch.testing.assert_close(problem.loss_and_gradient(), expected, rtol=1e-12, atol=1e-13)

    assert problem.num_samples == 11
    assert torch.equal(torch.get_rng_state(), random_state)


@pytest.mark.parametrize("source", sorted(set(SOURCES) - {"stream_loader"}))
def test_minibatches_cover_the_data_once_and_can_be_skipped(source):
    problem = Problem(MODELS["mlp"]().double(), F.mse_loss, SOURCES[source]())

    def draw(start: int) -> list[torch.Tensor]:
        return [b.content[0] for b in problem.minibatches(3, torch.Generator().manual_seed(5), start)]

    everything = draw(0)
    rows = {tuple(row.tolist()) for row in torch.cat(everything)}
    assert rows == {tuple(row.tolist()) for row in regression_data()[0]}
    for skipped in range(len(everything) + 1):
        assert all(torch.equal(a, b) for a, b in zip(draw(skipped), everything[skipped:], strict=True))


def test_a_closure_over_any_batch_structure_is_minimised():
    model = MODELS["mlp"]().double()
    inputs, targets = regression_data()

    def physics(model, batch):
        inner = (model(batch["inner"]["x"]) - batch["inner"]["y"]).square().mean()
        return inner + 0.1 * model(batch["edge"]).square().mean()

    batch = {"inner": {"x": inputs, "y": targets}, "edge": inputs[:3] * 2, "name": "burgers"}
    problem = Problem.from_closure(model, physics, [batch])
    expected = physics(model, batch)
    torch.testing.assert_close(problem.loss(), expected.detach())
    torch.testing.assert_close(problem.gradient(), reference(model, expected))
    assert problem.num_samples == 1


def test_the_closure_fills_gradients_for_an_optimiser_and_counts_forwards_without_them():
    model = MODELS["frozen"]().double()
    problem = Problem(model, F.mse_loss, regression_data(), batch_size=4)
    optimizer = torch.optim.LBFGS(problem.parameters, max_iter=20, line_search_fn="strong_wolfe")
    before = problem.loss()
    optimizer.step(problem.closure())
    assert problem.loss() < 0.9 * before
    assert model[0].weight.grad is None
    spent = problem.cost.copy()
    with torch.no_grad():
        problem.closure()()
    assert problem.cost.since(spent).gradient_equivalents == pytest.approx(1 / 3)


def test_a_parameter_filter_varies_only_what_matches():
    model = MODELS["mlp"]().double()
    problem = Problem(model, F.mse_loss, regression_data(), params="2.*")
    assert problem.layout.names == ("2.weight", "2.bias")
    before = model[0].weight.clone()
    problem.set_params(problem.params() + 1)
    assert torch.equal(model[0].weight, before)
    everything = Problem(model, F.mse_loss, regression_data()).gradient()
    torch.testing.assert_close(problem.gradient(), everything[-problem.num_params :])


def test_tied_weights_count_once():
    model = MODELS["tied"]().double()
    assert Problem(model, F.mse_loss, regression_data()).num_params == sum(p.numel() for p in model.parameters())


def test_cost_counts_what_hooks_count():
    model = MODELS["mlp"]().double()
    seen = 0

    def count(module, args):
        nonlocal seen
        seen += len(args[0])

    model.register_forward_pre_hook(count)
    problem = Problem(model, F.mse_loss, regression_data(), batch_size=4)
    problem.loss(), problem.gradient(), problem.loss(problem.params())
    for batch in problem.minibatches(5, torch.Generator().manual_seed(0)):
        problem.minibatch_loss(batch).backward()
    assert problem.cost.samples == seen == 44
    assert problem.cost.gradient_equivalents == pytest.approx(2 / 3 + 2)


def test_a_metric_is_a_mean_over_samples():
    inputs, targets = regression_data()
    labels = targets.argmax(dim=1)
    model = MODELS["mlp"]().double()
    problem = Problem(model, F.cross_entropy, (inputs, labels), batch_size=4)
    accuracy = problem.metric(lambda output, target: (output.argmax(dim=1) == target).double().mean())
    assert accuracy == pytest.approx((model(inputs).argmax(dim=1) == labels).double().mean().item())


def test_a_nan_loss_stays_nan():
    inputs, targets = regression_data()
    targets[7, 0] = float("nan")
    loss, gradient = Problem(MODELS["mlp"]().double(), F.mse_loss, (inputs, targets), batch_size=2).loss_and_gradient()
    assert loss.isnan() and gradient.isnan().any()


@pytest.mark.parametrize(
    ("model", "culprit"),
    [
        (nn.Sequential(nn.Linear(4, 2), nn.Dropout(0.1)), r"'1': Dropout draws a new mask"),
        (nn.Sequential(nn.Linear(4, 2), nn.BatchNorm1d(2)), r"'1': BatchNorm1d updates its running statistics"),
        (nn.Sequential(nn.Linear(4, 2), nn.RReLU()), r"'1': RReLU draws random slopes"),
    ],
)
def test_train_mode_is_refused_naming_the_module(model, culprit):
    data = regression_data(dtype=torch.float32)
    with pytest.raises(NonRepeatableError, match=culprit):
        Problem(model, F.mse_loss, data, mode="train")
    assert Problem(model, F.mse_loss, data).loss() == Problem(model, F.mse_loss, data).loss()


def test_train_mode_finds_randomness_that_no_module_admits():
    class Noisy(nn.Linear):
        def forward(self, inputs):
            return super().forward(inputs) + (torch.rand(1).item() if self.training else 0.0)

    with pytest.raises(NonRepeatableError, match="No known module explains it"):
        Problem(Noisy(4, 2), F.mse_loss, regression_data(dtype=torch.float32), mode="train")
    harmless = nn.Sequential(nn.Linear(4, 2), nn.Dropout(0.0), nn.BatchNorm1d(2, track_running_stats=False))
    assert Problem(harmless, F.mse_loss, regression_data(dtype=torch.float32), mode="train").loss() > 0


WRONG = {
    "no trainable parameter": (lambda: (frozen_trunk().requires_grad_(False), F.mse_loss, regression_data(), {})),
    "matches no trainable parameter": lambda: (MODELS["mlp"](), F.mse_loss, regression_data(), {"params": "9.*"}),
    "complex64": lambda: (nn.Linear(4, 2, dtype=torch.complex64), F.mse_loss, regression_data(), {}),
    "not of one dtype": lambda: (
        nn.Sequential(nn.Linear(4, 2), nn.Linear(2, 2).double()),
        F.mse_loss,
        regression_data(),
        {},
    ),
    "must share their first dimension": lambda: (
        MODELS["mlp"](),
        F.mse_loss,
        (torch.zeros(3, 4), torch.zeros(2, 2)),
        {},
    ),
    "tensors are empty": lambda: (MODELS["mlp"](), F.mse_loss, (torch.zeros(0, 4), torch.zeros(0, 2)), {}),
    "list of batches is empty": lambda: (MODELS["mlp"](), F.mse_loss, [], {}),
    "batch_size=0": lambda: (MODELS["mlp"](), F.mse_loss, regression_data(), {"batch_size": 0}),
    "whose sizes are fixed": lambda: (MODELS["mlp"](), F.mse_loss, [regression_data()], {"batch_size": 2}),
    "mode='test'": lambda: (MODELS["mlp"](), F.mse_loss, regression_data(), {"mode": "test"}),
    "reduction='none'": lambda: (MODELS["mlp"](), nn.MSELoss(reduction="none"), regression_data(), {}),
    "loss_fn says reduction='sum'": lambda: (
        MODELS["mlp"](),
        nn.MSELoss(reduction="sum"),
        regression_data(),
        {"reduction": "mean"},
    ),
    "every pass holds other samples": lambda: (
        MODELS["mlp"](),
        F.mse_loss,
        DataLoader(Pairs(), batch_size=4, shuffle=True, drop_last=True),
        {},
    ),
    "cannot be read twice": lambda: (MODELS["mlp"](), F.mse_loss, Stream(), {}),
    "needed is a tuple of tensors": lambda: (MODELS["mlp"](), F.mse_loss, 3, {}),
}


@pytest.mark.parametrize("message", sorted(WRONG))
def test_wrong_input_is_refused_before_any_work(message):
    model, loss_fn, data, settings = WRONG[message]()
    with pytest.raises(ValueError, match=message.replace("(", r"\(").replace("*", r"\*")):
        Problem(model, loss_fn, data, **settings)


@pytest.mark.parametrize(
    ("loss_fn", "message"),
    [
        (lambda output, target: (output - target) ** 2, "must be one real floating-point number"),
        (lambda output, target: 3.0, "the loss is float"),
        (lambda output, target: target.mean(), "does not depend on any of the chosen parameters"),
    ],
)
def test_a_loss_of_the_wrong_kind_is_explained(loss_fn, message):
    problem = Problem(MODELS["mlp"]().double(), loss_fn, regression_data())
    with pytest.raises(ValueError, match=message):
        problem.gradient()


def test_a_vector_of_the_wrong_length_or_dtype_is_explained():
    problem = Problem(MODELS["mlp"]().double(), F.mse_loss, regression_data())
    with pytest.raises(ValueError, match=r"shape \(3,\), but this problem varies 37"):
        problem.loss(torch.zeros(3, dtype=torch.float64))
    with pytest.raises(ValueError, match=r"torch.float32.*are torch.float64"):
        problem.set_params(torch.zeros(37))


def test_a_loader_that_changes_between_passes_is_caught():
    class Shrinking(IterableDataset):
        size = 8

        def __iter__(self):
            yield from zip(*regression_data(self.size), strict=True)

    stream = Shrinking()
    problem = Problem(MODELS["mlp"]().double(), F.mse_loss, DataLoader(stream, batch_size=4))
    stream.size = 6
    with pytest.raises(ValueError, match="8 samples in its first pass and 6"):
        problem.loss()
    sampler = WeightedRandomSampler([1.0] * 11, 11)
    listed = Problem(MODELS["mlp"]().double(), F.mse_loss, DataLoader(Pairs(), batch_size=4, sampler=sampler))
    with pytest.raises(ValueError, match="cannot be drawn from in a repeatable order"):
        next(listed.minibatches(4, torch.Generator()))


def test_it_works_under_no_grad_and_inference_mode():
    problem = Problem(MODELS["mlp"]().double(), F.mse_loss, regression_data())
    expected = problem.gradient()
    with torch.no_grad():
        assert torch.equal(problem.gradient(), expected)
    with torch.inference_mode():
        assert torch.equal(problem.gradient(), expected)
