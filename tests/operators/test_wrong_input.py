"""What cannot work is refused before any work, saying what was given and what to do."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from landscape import Problem
from tests.operators.references import small_mlp
from tests.problems import regression_data


def problem_of(loss_fn=F.mse_loss) -> Problem:
    return Problem(small_mlp(), loss_fn, regression_data())


def closure_problem() -> Problem:
    return Problem.from_closure(small_mlp(), lambda model, batch: model(batch[0]).square().mean(), regression_data())


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (torch.zeros(24).double(), r"shape \(24,\); this operator is 23 x 23"),
        (torch.zeros(23), "the vector is torch.float32 on cpu, the operator torch.float64"),
        (torch.zeros(23, dtype=torch.int64), "torch.int64"),
        (torch.zeros(23, 2, 2).double(), "a tensor of shape"),
        ([0.0] * 23, "given|a list"),
    ],
)
@pytest.mark.parametrize("kind", ["hessian", "gauss_newton", "fisher"])
def test_directions_that_do_not_fit(kind, wrong, message):
    problem = problem_of()
    operator = getattr(problem, kind)(verify=False)
    with pytest.raises(ValueError, match=message):
        operator @ wrong
    assert problem.cost.samples == 0


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda p: p.hessian(max_memory=0, verify=False), "max_memory=0 was given; it is a number of bytes above 0"),
        (lambda p: p.hessian(max_memory=-1.0, verify=False), "max_memory=-1.0"),
        (lambda p: p.hessian(max_memory=float("nan"), verify=False), "max_memory=nan"),
        (lambda p: p.hessian(max_memory="1GB", verify=False), "max_memory='1GB'"),
        (lambda p: p.hessian(method="backward"), "method='backward' was given; it is one of 'autograd'"),
        (lambda p: p.verify("exact"), "method='exact' was given"),
        (lambda p: p.hessian(torch.zeros(3).double(), verify=False), r"shape \(3,\), but this problem varies 23"),
        (lambda p: p.hessian(torch.zeros(23), verify=False), "params is torch.float32 on cpu"),
        (lambda p: p.hessian([0.0] * 23, verify=False), "params is a list; needed is a vector"),
        (lambda p: p.fisher(kind="exact"), "kind='exact' was given; it is 'monte-carlo' or 'empirical'"),
        (lambda p: p.fisher(num_draws=0), "num_draws=0 was given"),
        (lambda p: p.fisher(num_draws=1.5), "num_draws=1.5 was given"),
    ],
)
def test_settings_out_of_range(call, message):
    problem = problem_of()
    with pytest.raises(ValueError, match=message):
        call(problem)
    assert problem.cost.samples == 0


@pytest.mark.parametrize("kind", ["gauss_newton", "fisher"])
def test_matrices_that_need_the_outputs_are_refused_for_closures(kind):
    with pytest.raises(ValueError, match="needs the model's outputs apart from the loss"):
        getattr(closure_problem(), kind)()


def test_a_fisher_matrix_of_an_unknown_loss_needs_a_sampler():
    with pytest.raises(ValueError, match="not known to be a likelihood"):
        problem_of(nn.SmoothL1Loss()).fisher()
    with pytest.raises(ValueError, match="smooth_l1_loss"):
        problem_of(F.smooth_l1_loss).fisher()


def test_models_with_several_outputs_are_refused_where_one_tensor_is_needed():
    class Pair(nn.Module):
        def __init__(self):
            super().__init__()
            self.linear = nn.Linear(4, 2).double()

        def forward(self, inputs):
            return self.linear(inputs), inputs

    problem = Problem(Pair(), lambda outputs, target: F.mse_loss(outputs[0], target), regression_data())
    assert (problem.hessian() @ torch.ones(10).double()).any()
    with pytest.raises(ValueError, match="whose output is one real tensor; it is a tuple"):
        problem.gauss_newton() @ torch.ones(10).double()


def test_a_loss_that_depends_on_no_parameter_is_refused():
    problem = problem_of(lambda output, target: (output.detach() - target).square().mean())
    for make in (problem.hessian, problem.verify, problem.gauss_newton):
        with pytest.raises(ValueError, match="does not depend on any of the chosen parameters"):
            make()


def test_what_has_no_second_derivative_is_refused_with_what_works():
    class Bag(nn.Module):
        def __init__(self):
            super().__init__()
            self.bag, self.head = nn.EmbeddingBag(5, 4), nn.Linear(4, 2)

        def forward(self, inputs):
            return self.head(self.bag((inputs.abs() * 2).long().clamp(max=4)))

    problem = Problem(Bag().double(), F.mse_loss, regression_data())
    vector = torch.ones(problem.num_params).double()
    with pytest.raises(RuntimeError, match=r"_embedding_bag_backward has no second derivative.*method='finite-diff"):
        problem.hessian(verify=False) @ vector
    with pytest.raises(RuntimeError, match=r"the Hessian has: hessian\(method='finite-difference'\)"):
        problem.gauss_newton(verify=False) @ vector
