from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from torch.utils.data import DataLoader, IterableDataset

from landscape.operators.matrix import MatrixOperator
from landscape.probes.directional import directional_curvature
from landscape.problem import Problem
from landscape.status import Status
from landscape.testing.problems import least_squares, logistic_regression, quadratic
from tests.problems import MODELS, regression_data


def direction_for(problem, generator, columns=None):
    shape = (problem.num_params,) if columns is None else (problem.num_params, columns)
    return torch.randn(shape, generator=generator, dtype=torch.float64).to(problem.layout.dtype)


def mlp_problem(num_samples=60, dtype=torch.float64, **settings):
    model = MODELS["mlp"]().to(dtype)
    return Problem(model, nn.functional.mse_loss, regression_data(num_samples, dtype), **settings)


@pytest.mark.parametrize("scale", [1e-30, 1.0, 1e30])
def test_the_value_is_the_rayleigh_quotient_whatever_the_length(scale, generator):
    known = logistic_regression(num_samples=37)
    d = direction_for(known.problem, generator)
    found = directional_curvature(known.problem, scale * d)
    assert found.value == pytest.approx(float(d @ known.hessian @ d / (d @ d)), rel=1e-12)
    assert float(found.lengths[0]) == pytest.approx(scale * float(d.norm()))
    assert found.status is Status.COMPLETED


@given(num_samples=st.integers(2, 50), groups=st.integers(2, 12), batch_size=st.none() | st.integers(1, 20))
def test_groups_of_any_sizes_average_to_the_whole(num_samples, groups, batch_size):
    known = logistic_regression(num_samples=num_samples, batch_size=batch_size)
    d = torch.linspace(-1, 2, known.problem.num_params, dtype=torch.float64)
    found = directional_curvature(known.problem, d, groups=groups)
    assert found.value == pytest.approx(float(d @ known.hessian @ d / (d @ d)), rel=1e-10)
    assert float(found.group_weights.sum()) == pytest.approx(1.0)
    assert found.num_groups >= 2 and found.standard_error >= 0


def test_groups_of_one_sample_give_the_textbook_standard_error_of_a_mean():
    known = least_squares(num_samples=25, num_features=4)
    inputs = known.problem.batches.tensors[0]
    d = torch.tensor([1.0, -1.0, 0.5, 2.0], dtype=torch.float64)
    samples = 2.0 * (inputs @ d) ** 2 / (d @ d)
    found = directional_curvature(known.problem, d, groups=25)
    assert found.num_groups == 25
    assert found.standard_error == pytest.approx(float(samples.std()) / 5.0, rel=1e-10)


def test_the_squared_standard_error_is_unbiased_for_ragged_groups():
    """Over many data sets its mean is the variance of the value."""
    d = torch.tensor([1.0, 0.0], dtype=torch.float64)
    values, squares = [], []
    for seed in range(300):
        known = least_squares(num_samples=23, num_features=2, generator=torch.Generator().manual_seed(seed))
        found = directional_curvature(known.problem.hessian(verify=False), d, groups=5)
        values.append(found.value)
        squares.append(found.standard_error**2)
    variance = float(torch.tensor(values).var())
    assert variance == pytest.approx(8 / 23, rel=0.3)  # var(2 x^2) / N for a standard normal x
    assert sum(squares) / len(squares) == pytest.approx(variance, rel=0.25)


def test_sorted_data_do_not_inflate_the_standard_error():
    inputs = torch.linspace(0, 1, 400, dtype=torch.float64)[:, None]
    model = nn.Linear(1, 1, bias=False, dtype=torch.float64)
    independent = float((2 * inputs**2).std()) / 20
    for data in ((inputs, inputs), [(inputs, inputs)]):  # samples to be dealt out, and one batch to be cut
        problem = Problem(model, nn.functional.mse_loss, data)
        found = directional_curvature(problem, torch.ones(1, dtype=torch.float64))
        assert 0.4 * independent < found.standard_error < 2.0 * independent


def test_several_directions_are_what_each_is_alone(generator):
    problem = mlp_problem()
    block = direction_for(problem, generator, columns=3)
    together = directional_curvature(problem, block)
    alone = [directional_curvature(problem, column.contiguous()) for column in block.T]
    torch.testing.assert_close(together.values, torch.tensor([one.value for one in alone], dtype=torch.float64))
    torch.testing.assert_close(
        together.standard_errors, torch.tensor([one.standard_error for one in alone], dtype=torch.float64)
    )
    assert together.num_matvecs == 3
    with pytest.raises(ValueError, match=r"3 directions; read \.values"):
        _ = together.value


@pytest.mark.parametrize("kind", ["hessian", "gauss_newton", "finite-difference", "elsewhere", "restricted"])
def test_every_operator_keeps_its_own_matrix_and_point(kind, generator):
    problem = mlp_problem()
    operators = {
        "hessian": problem.hessian,
        "gauss_newton": problem.gauss_newton,
        "finite-difference": lambda: problem.hessian(method="finite-difference"),
        "elsewhere": lambda: problem.hessian(problem.params() + 0.3),
        "restricted": lambda: problem.hessian().restrict("0.*"),
    }
    operator = operators[kind]()
    d = torch.randn(operator.size, generator=generator, dtype=torch.float64)
    found = directional_curvature(operator, d)
    expected = float(d @ (operator @ d) / (d @ d))
    assert found.value == pytest.approx(expected, rel=1e-6 if kind == "finite-difference" else 1e-11)
    assert found.num_groups == 10 and found.standard_error > 0


def test_the_gradient_is_a_direction_by_name():
    problem = mlp_problem()
    there = problem.params() + 0.1
    for operator, gradient in [
        (problem, problem.gradient()),
        (problem.hessian(there), problem.gradient(there)),
        (problem.hessian().restrict("2.*"), problem.gradient()[problem.hessian().coordinates("2.*")]),
    ]:
        by_name, by_vector = (directional_curvature(operator, d) for d in ("gradient", gradient))
        assert by_name.value == pytest.approx(by_vector.value, rel=1e-9)


def test_a_matrix_and_a_single_sample_give_a_value_without_a_standard_error():
    A = torch.diag(torch.tensor([1.0, -3.0], dtype=torch.float64))
    d = torch.tensor([1.0, 1.0], dtype=torch.float64)
    for operator in (MatrixOperator(A), quadratic(A).problem, -1.0 * MatrixOperator(-A)):
        found = directional_curvature(operator, d)
        assert found.value == pytest.approx(-1.0)
        assert math.isnan(found.standard_error) and found.status is Status.NO_STANDARD_ERROR
        assert "no standard error" in str(found)


def test_a_loss_that_couples_the_samples_of_a_batch_is_not_cut():
    inputs, _ = regression_data(40)

    def contrast(model, batch):
        return model(batch).var(dim=0).sum()

    model = MODELS["mlp"]()
    model.double()
    problem = Problem.from_closure(model, contrast, [inputs[:20], inputs[20:]])
    found = directional_curvature(problem, torch.ones(problem.num_params, dtype=torch.float64))
    d = torch.ones(problem.num_params, dtype=torch.float64)
    assert found.num_groups == 2
    assert found.value == pytest.approx(float(d @ (problem.hessian() @ d) / (d @ d)), rel=1e-10)


class Stream(IterableDataset):
    def __iter__(self):
        inputs, targets = regression_data(24)
        return iter(list(zip(inputs, targets, strict=True)))


def test_a_loader_with_an_order_of_its_own_is_cut_batch_by_batch(generator):
    model = MODELS["mlp"]().double()
    problem = Problem(model, nn.functional.mse_loss, DataLoader(Stream(), batch_size=8))
    d = direction_for(problem, generator)
    found = directional_curvature(problem, d)
    assert found.num_groups == 9  # three batches, each in three groups
    assert found.value == pytest.approx(float(d @ (problem.hessian() @ d) / (d @ d)), rel=1e-10)


def test_a_direction_costs_one_product_and_leaves_no_trace(generator):
    problem = mlp_problem()
    problem.verify()
    before, point = problem.cost.copy(), problem.params()
    state = torch.get_rng_state()
    directional_curvature(problem, direction_for(problem, generator))
    spent = problem.cost.since(before)
    assert spent.hessian_products == 1.0 and spent.gradients < 1.5 and spent.forwards <= 2.0
    assert torch.equal(problem.params(), point) and torch.equal(torch.get_rng_state(), state)


def test_non_finite_products_are_told():
    problem = Problem.from_closure(
        nn.Linear(1, 1, bias=False, dtype=torch.float64),
        lambda model, batch: model(batch).abs().sqrt().mean() * 0 + (model.weight * 0).sqrt().sum(),
        (torch.ones(4, 1, dtype=torch.float64)),
    )
    found = directional_curvature(problem.hessian(verify=False), torch.ones(1, dtype=torch.float64))
    assert math.isnan(found.value) and found.status is Status.NONFINITE_PRODUCT


@pytest.mark.parametrize(
    ("direction", "settings", "message"),
    [
        (torch.zeros(5).double(), {}, "length 0"),
        (torch.full((5,), torch.nan).double(), {}, "length nan"),
        (torch.ones(4).double(), {}, r"needed: \(5,\)"),
        (torch.ones(5), {}, r"Convert it with direction\.to"),
        (torch.ones(5, 0).double(), {}, "no columns"),
        ("newton", {}, "'newton'"),
        (torch.ones(5).double(), {"groups": 1}, "at least 2"),
    ],
)
def test_wrong_directions_are_refused_before_any_work(direction, settings, message):
    problem = least_squares().problem
    with pytest.raises(ValueError, match=message):
        directional_curvature(problem, direction, **settings)
    assert problem.cost.samples == 0


def test_the_gradient_of_a_bare_matrix_is_refused():
    with pytest.raises(ValueError, match="belongs to no loss"):
        directional_curvature(MatrixOperator(torch.eye(2)), "gradient")
