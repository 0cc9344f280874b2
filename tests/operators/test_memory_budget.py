"""A memory budget makes products slower, never different."""

from __future__ import annotations

import subprocess
import sys
import textwrap

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.utils.data import DataLoader, Dataset, IterableDataset

from landscape import NonRepeatableError, Problem
from landscape.autodiff.memory import count_saved_bytes, reachable_bytes
from tests.operators.references import dense_hessian, small_mlp, vector
from tests.problems import regression_data

DATA = regression_data(40)


@given(
    max_memory=st.floats(min_value=1.0, max_value=1e6),
    batch_size=st.sampled_from([None, 7, 16]),
    kind=st.sampled_from(["hessian", "gauss_newton", "fisher"]),
)
@settings(max_examples=40)
def test_any_budget_gives_the_same_product(max_memory, batch_size, kind):
    torch.manual_seed(0)
    model = small_mlp()
    expected = getattr(Problem(model, F.mse_loss, DATA), kind)(verify=False) @ vector(23)
    problem = Problem(model, F.mse_loss, DATA, batch_size=batch_size)
    operator = getattr(problem, kind)(verify=False, max_memory=max_memory)
    for _ in range(2):
        torch.testing.assert_close(operator @ vector(23), expected, rtol=1e-12, atol=1e-13)


def test_what_is_kept_grows_with_the_budget_and_stays_within_it():
    model, kept = small_mlp(), []
    budgets = [100.0, 1e4, 3e4, 1e5, 1e7]
    for budget in budgets:
        operator = Problem(model, F.mse_loss, DATA).hessian(verify=False, max_memory=budget)
        operator @ vector(23)
        payloads = [g for entry in operator.keeper.entries if entry.payload is not None for g in entry.payload]
        size = reachable_bytes(payloads, [*model.parameters(), *DATA])
        assert size <= budget
        kept.append(operator.keeper.num_kept / len(operator.keeper.entries))
    assert kept == sorted(kept)
    assert kept[0] == 0.0
    assert kept[-1] == 1.0


def test_the_size_of_graphs_is_predicted_from_a_few_samples():
    problem = Problem(small_mlp(), F.mse_loss, regression_data(500))
    operator = problem.hessian(verify=False)
    operator @ vector(23)
    part = next(problem.objective.parts())
    with count_saved_bytes([*problem.parameters, *part.content]) as saved:
        operator._build(part)
    assert operator.keeper.plan.graph_bytes(part) == pytest.approx(saved.total, rel=0.05)


def test_loaded_data_count_where_graphs_keep_them_alive():
    inputs, targets = torch.randn(64, 2000), torch.randn(64, 2)

    class Samples(Dataset):
        def __len__(self):
            return 64

        def __getitem__(self, index):
            return inputs[index], targets[index]

    held, loaded = (
        Problem(nn.Linear(2000, 2), F.mse_loss, data).hessian(verify=False) for data in ((inputs, targets), Samples())
    )
    for operator in (held, loaded):
        operator @ torch.ones(4002)
    part = next(loaded.objective.parts())
    extra = loaded.keeper.plan.graph_bytes(part) - held.keeper.plan.graph_bytes(part)
    assert extra == pytest.approx(inputs.nbytes, rel=0.1)


def test_building_graphs_charges_gradients_and_products_charge_products():
    problem = Problem(small_mlp(), F.mse_loss, DATA, batch_size=10)
    kept = problem.hessian(verify=False)
    kept @ vector(23)
    spent = problem.cost.copy()
    kept @ vector(23)
    kept @ torch.eye(23).double()
    used = problem.cost.since(spent)
    assert (used.forwards, used.gradients, used.hessian_products) == (0, 0, 24)

    rebuilt = problem.hessian(verify=False, max_memory=1.0)
    rebuilt @ vector(23)
    assert rebuilt.keeper.num_kept == 0
    spent = problem.cost.copy()
    rebuilt @ vector(23)
    rebuilt @ torch.eye(23).double()  # a block builds each graph once for all its columns
    used = problem.cost.since(spent)
    assert (used.forwards, used.gradients, used.hessian_products) == (0, 2, 24)


def test_released_graphs_are_built_again():
    operator = Problem(small_mlp(), F.mse_loss, DATA).hessian(verify=False)
    expected = operator @ vector(23)
    operator.release()
    assert operator.keeper.num_kept == 0
    assert torch.equal(operator @ vector(23), expected)


class Changing(IterableDataset):
    """A stream whose samples, or their number, can be changed from outside."""

    shift, size = 0.0, 8

    def __iter__(self):
        inputs, targets = regression_data(self.size)
        yield from zip(inputs + self.shift, targets, strict=True)


@pytest.mark.parametrize("change", [{"shift": 0.1}, {"size": 12}])
def test_data_that_change_between_passes_are_noticed_when_graphs_are_built_again(change):
    stream = Changing()
    problem = Problem(small_mlp(), F.mse_loss, DataLoader(stream, batch_size=4))
    operator = problem.hessian(verify=False, max_memory=1.0)
    operator @ vector(23)
    vars(stream).update(change)
    with pytest.raises(NonRepeatableError, match="earlier pass"):
        operator @ vector(23)


def contrastive(output: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """Every sample of a batch meets every other."""
    return F.cross_entropy(output @ target.T, torch.arange(len(output)))


def test_losses_that_couple_the_samples_of_a_batch_are_not_cut():
    problem = Problem(small_mlp(), contrastive, DATA)
    operator = problem.hessian(verify=False, max_memory=1.0)
    torch.testing.assert_close(operator.to_dense(), dense_hessian(problem), rtol=1e-11, atol=1e-13)
    assert len(operator.keeper.entries) == 1
    assert "not the mean over its samples" in operator.keeper.plan.note


def test_batch_statistics_are_not_cut_even_where_the_loss_hardly_shows_them():
    """With a large constant in the loss its value agrees to 1e-6 between a batch and its pieces; gradients don't."""
    norm = nn.BatchNorm1d(3, track_running_stats=False)
    model = nn.Sequential(nn.Linear(4, 3), norm, nn.Tanh(), nn.Linear(3, 2)).double()

    def loss_fn(output, target):
        return (output - target).square().mean() + 1e6

    whole = Problem(model, loss_fn, DATA, mode="train").hessian(verify=False)
    tight = Problem(model, loss_fn, DATA, mode="train").hessian(verify=False, max_memory=1.0)
    size = sum(p.numel() for p in model.parameters())
    torch.testing.assert_close(tight @ vector(size), whole @ vector(size), rtol=1e-12, atol=1e-13)
    assert len(tight.keeper.entries) == 1


def test_a_loss_at_its_minimum_is_still_cut():
    inputs = DATA[0].float()
    model = nn.Linear(4, 2)
    target = model(inputs).detach() + 1e-7
    operator = Problem(model, F.mse_loss, (inputs, target)).hessian(verify=False, max_memory=1.0)
    operator @ torch.ones(10)
    assert len(operator.keeper.entries) == 40


def test_the_largest_of_listed_batches_decides_how_they_are_cut():
    inputs, targets = regression_data(400)
    problem = Problem(small_mlp(), F.mse_loss, [(inputs[:1], targets[:1]), (inputs[1:], targets[1:])])
    operator = problem.hessian(verify=False, max_memory=2e4)
    expected = Problem(problem.model, F.mse_loss, (inputs, targets)).hessian(verify=False) @ vector(23)
    torch.testing.assert_close(operator @ vector(23), expected, rtol=1e-12, atol=1e-13)
    assert len(operator.keeper.entries) > 2


@pytest.mark.filterwarnings("ignore:.torch.jit.script. is deprecated:DeprecationWarning")  # torch's own use of it
def test_closures_with_function_transforms_inside_are_measured_too():
    """torch.func bears no hooks on saved tensors."""

    def physics(model, batch):
        curvature = torch.func.vmap(torch.func.hessian(lambda x: model(x).sum()))(batch)
        return curvature.diagonal(dim1=1, dim2=2).sum(dim=1).square().mean()

    problem = Problem.from_closure(small_mlp(), physics, DATA[0])
    expected = problem.hessian() @ vector(23)
    tight = problem.hessian(max_memory=1.0)
    torch.testing.assert_close(tight @ vector(23), expected, rtol=1e-11, atol=1e-13)
    assert len(tight.keeper.entries) == 40


def test_the_process_stays_within_the_budget():
    """Peak memory of products, beyond what the data and the products of one micro-batch take."""
    pytest.importorskip("resource")
    script = """
        import resource, torch
        from torch import nn
        from landscape import Problem

        def peak():
            return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024

        torch.set_num_threads(1)
        model = nn.Sequential(*(layer for _ in range(8) for layer in (nn.Linear(64, 64), nn.Tanh())))
        inputs = torch.randn(6000, 64)
        problem = Problem(model, nn.functional.mse_loss, (inputs, inputs))
        problem.hessian(max_memory=1e6, verify=False) @ torch.ones(problem.num_params)
        before = peak()
        for budget in (20e6, 60e6):
            operator = problem.hessian(max_memory=budget, verify=False)
            for _ in range(2):
                operator @ torch.ones(problem.num_params)
            print(budget, peak() - before, operator.keeper.num_kept)
            del operator
    """
    command = [sys.executable, "-c", textwrap.dedent(script)]
    lines = subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()
    for budget, peak, kept in (map(float, line.split()) for line in lines):
        assert kept > 0
        assert peak < 1.2 * budget  # the allocator rounds
