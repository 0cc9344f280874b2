from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from landscape.operators.matrix import MatrixOperator
from landscape.probes.layers.layerwise import QUANTITIES, layers_of, layerwise
from landscape.problem import Problem
from landscape.status import Status
from landscape.testing.problems import function_problem, logistic_regression
from tests.problems import MODELS, regression_data


def problem_of(name="mlp", dtype=torch.float64, **settings):
    model = MODELS[name]().to(dtype)
    return Problem(model, nn.functional.mse_loss, regression_data(20, dtype), **settings)


@pytest.mark.parametrize("by", ["module", "parameter"])
@pytest.mark.parametrize("name", ["mlp", "tied", "frozen"])
def test_every_row_is_that_of_the_dense_block(name, by):
    problem = problem_of(name)
    H, params, gradient = problem.hessian().to_dense(), problem.params(), problem.gradient()
    layers = layerwise(problem, by=by, rtol=1e-8, num_matvecs=6)
    assert [row.name for row in layers] == list(layers_of(problem, by))
    for row in layers:
        where = problem.hessian().coordinates(list(row.tensors))
        eigenvalues = torch.linalg.eigvalsh(H[where][:, where])
        assert row.num_params == len(where)
        assert row.parameter_norm == pytest.approx(float(params[where].norm()))
        assert row.gradient_norm == pytest.approx(float(gradient[where].norm()))
        assert row.lambda_max == pytest.approx(float(eigenvalues[-1]), rel=1e-6, abs=1e-9)
        assert row.lambda_min == pytest.approx(float(eigenvalues[0]), rel=1e-6, abs=1e-9)
        for value, residual in ((row.lambda_max, row.lambda_max_residual), (row.lambda_min, row.lambda_min_residual)):
            assert (eigenvalues - value).abs().min() <= residual + 1e-9
        assert abs(row.trace - float(eigenvalues.sum())) <= 6 * row.trace_standard_error + 1e-9


def test_layers_add_up_to_the_whole():
    problem = problem_of()
    layers = layerwise(problem, by="parameter", num_matvecs=1000)
    assert sum(row.num_params for row in layers) == problem.num_params
    assert math.hypot(*(row.gradient_norm for row in layers)) == pytest.approx(float(problem.gradient().norm()))
    assert sum(row.trace for row in layers) == pytest.approx(float(problem.hessian().to_dense().trace()))
    assert all(row.trace_standard_error == 0 for row in layers)


def test_only_what_is_asked_for_is_measured_and_paid():
    problem = problem_of()
    problem.verify()
    before = problem.cost.copy()
    layers = layerwise(problem, quantities=["gradient_norm"])
    assert problem.cost.since(before).gradient_equivalents == layers.gradient_equivalents == 1.0
    assert layers.num_matvecs == 0 and layers["0"].lambda_max is None and "lambda_max" not in str(layers)
    assert set(layers.to_table()[0]) == {
        *("name", "tensors", "num_params", "parameter_norm", "gradient_norm", "num_matvecs", "status")
    }
    only = layerwise(problem, quantities=["lambda_max"])
    assert only["2"].lambda_min is None and only["2"].gradient_norm is None and only["2"].lambda_max > 0


def test_all_layers_share_one_set_of_graphs():
    problem = problem_of()
    problem.verify()
    before = problem.cost.copy()
    layers = layerwise(problem)
    spent = problem.cost.since(before)
    assert spent.hessian_products == layers.num_matvecs == sum(row.num_matvecs for row in layers)
    assert spent.gradients <= 2 + 10 / 20  # the gradient, the graphs, and pilots on 2 and 8 of 20 samples
    assert layers.gradient_equivalents == pytest.approx(spent.gradient_equivalents)


def test_another_matrix_at_another_point():
    problem = problem_of()
    there = problem.params() + 0.3
    operator = problem.gauss_newton(there)
    layers = layerwise(problem, operator=operator, rtol=1e-8)
    where = operator.coordinates("0.*")
    G = operator.to_dense()[where][:, where]
    assert layers["0"].lambda_max == pytest.approx(float(torch.linalg.eigvalsh(G)[-1]), rel=1e-6)
    assert layers["0"].gradient_norm == pytest.approx(float(problem.gradient(there)[where].norm()))
    assert layers["0"].parameter_norm == pytest.approx(float(there[where].norm()))
    assert "Gauss-Newton" in str(layers)


def test_the_table_reads_and_converts():
    problem = problem_of(dtype=torch.float32)
    layers = layerwise(problem, by="parameter")
    lines = str(layers).splitlines()
    assert len(lines) == 1 + len(layers) + 1 and lines[0].split()[:2] == ["layer", "parameters"]
    assert f"{layers.num_matvecs} products" in lines[-1] and "±" in lines[1]
    table = layers.to_table()
    assert [row["name"] for row in table] == ["0.weight", "0.bias", "2.weight", "2.bias"]
    assert all(isinstance(value, (str, int, float)) for row in table for value in row.values())
    assert layers["2.bias"] in list(layers)
    with pytest.raises(KeyError, match="the layers are 0.weight"):
        _ = layers["head"]


def test_a_budget_that_is_spent_is_told():
    model = nn.Sequential(nn.Linear(4, 40), nn.Tanh(), nn.Linear(40, 2)).double()
    problem = Problem(model, nn.functional.mse_loss, regression_data(20))
    layers = layerwise(problem, quantities=["lambda_min"], max_matvecs=3)
    assert layers["0"].status is Status.MAX_MATVECS and layers["0"].num_matvecs == 3
    assert "Not settled to the tolerance: 0" in str(layers)


def test_an_interruption_keeps_the_layers_that_are_done(monkeypatch):
    problem = problem_of()
    operator = problem.hessian()
    matvec, calls = type(operator)._matvec, []

    def interrupted(self, vector):
        calls.append(self.size)
        if self.size != len(operator.coordinates("0.*")) and calls.count(self.size) > 3:
            raise KeyboardInterrupt
        return matvec(self, vector)

    monkeypatch.setattr(type(operator), "_matvec", interrupted)
    layers = layerwise(problem, operator=operator)
    assert layers.status is Status.CUT_SHORT and layers["0"].trace is not None
    assert layers["2"].status is Status.INTERRUPTED and math.isnan(layers["2"].trace)
    assert str(Status.CUT_SHORT) in str(layers)


def test_the_same_call_gives_the_same_numbers_and_leaves_no_trace():
    problem = problem_of("batch_norm_and_dropout")
    state = {name: value.clone() for name, value in problem.model.state_dict().items()}
    random = torch.get_rng_state()
    once, again = layerwise(problem), layerwise(problem)
    assert once.rows == again.rows
    assert all(torch.equal(value, problem.model.state_dict()[name]) for name, value in state.items())
    assert torch.equal(torch.get_rng_state(), random)


def test_what_is_not_finite_stays_visible():
    problem = function_problem(lambda x: (x * 0).sqrt().sum(), torch.ones(3, dtype=torch.float64))
    layers = layerwise(problem, operator=problem.hessian(verify=False))
    row = layers["(root)"]
    assert math.isnan(row.trace) and math.isnan(row.lambda_min) and row.status is Status.NONFINITE_PRODUCT


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"quantities": ("sharpness",)}, "'gradient_norm', 'lambda_max'"),
        ({"quantities": "trace"}, "a sequence"),
        ({"quantities": ()}, "a sequence"),
        ({"by": "block"}, "'module' or 'parameter'"),
        ({"max_matvecs": 0}, "max_matvecs=0"),
        ({"num_matvecs": 1}, "num_matvecs=1"),
        ({"operator": MatrixOperator(torch.eye(5).double())}, "MatrixOperator over 5"),
    ],
)
def test_wrong_settings_are_refused_before_any_work(settings, message):
    problem = logistic_regression().problem
    with pytest.raises(ValueError, match=message):
        layerwise(problem, **settings)
    assert problem.cost.samples == 0


def test_the_quantities_are_what_the_default_measures():
    row = layerwise(problem_of()).rows[0]
    assert all(getattr(row, quantity) is not None for quantity in QUANTITIES)
