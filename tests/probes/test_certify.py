"""The verdict on a problem: known answers, free witnesses, symmetry left out, data not used."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from landscape.models.vit import ViT
from landscape.operators.matrix import MatrixOperator
from landscape.probes.certificate.certificate import Verdict
from landscape.probes.certificate.certify import certify
from landscape.probes.symmetry.symmetry import symmetries
from landscape.problem import Problem
from landscape.testing.problems import logistic_regression, saddle
from landscape.verification.result import VerificationError


def small_vit(dtype: torch.dtype = torch.float64, num_layers: int = 2) -> Problem:
    torch.manual_seed(0)
    model = ViT(channels=1, num_classes=4, image_size=16, width=8, num_heads=2, num_layers=num_layers).to(dtype)
    images = torch.randn(12, 1, 16, 16, dtype=dtype)
    return Problem(model, F.mse_loss, (images, F.one_hot(torch.arange(12) % 4, 4).to(dtype)))


def relu_net() -> Problem:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(3, 6), nn.ReLU(), nn.Linear(6, 1)).double()
    inputs = torch.randn(40, 3, dtype=torch.float64)
    return Problem(model, F.mse_loss, (inputs, inputs.sum(1, keepdim=True).sin()))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_convex_problem_is_above_and_a_saddle_negative(dtype):
    assert certify(logistic_regression(dtype=dtype).problem).verdict is Verdict.ABOVE
    assert certify(saddle(dtype=dtype).problem).verdict is Verdict.NEGATIVE


def test_a_transformer_is_negative_by_symmetry_without_a_product():
    problem = small_vit()
    found = certify(problem)
    assert found.verdict is Verdict.NEGATIVE
    assert found.num_matvecs == 0
    assert problem.cost.hessian_products == 0
    measured = found.direction @ (problem.hessian() @ found.direction)
    assert measured <= found.upper < 0
    assert measured == pytest.approx(found.ritz_value, rel=1e-9)
    assert "symmetry" in str(found)


def test_the_symmetry_witness_bounds_the_true_smallest_eigenvalue():
    problem = small_vit(num_layers=1)
    lambda_min = torch.linalg.eigvalsh(problem.hessian().to_dense())[0]
    assert lambda_min <= certify(problem).upper
    interval = certify(problem, early=False, max_matvecs=120)
    assert interval.lower <= lambda_min <= interval.upper
    assert interval.lambda_max <= interval.lambda_max_upper


def test_modulo_symmetry_studies_the_hessian_off_the_gauge_directions():
    problem = relu_net()
    found = symmetries(problem)
    inside = certify(problem, modulo=found, early=False)
    whole = certify(problem, early=False)
    assert whole.upper <= inside.upper + 1e-12
    assert "projector" in str(inside)
    with pytest.raises(ValueError, match="no symmetries"):
        certify(problem, modulo=())
    with pytest.raises(ValueError, match="does not know its point"):
        certify(problem.hessian(), modulo=found)


def test_fresh_data_say_whether_the_direction_is_negative_for_the_population_too():
    assert "On data not used" in str(certify(small_vit(), fresh=small_vit()))
    assert "On data not used" not in str(certify(small_vit()))


@pytest.mark.parametrize("option", [{"eps": 0.0}, {"eps": 1.5}, {"delta": 0.0}, {"delta": math.nan}, {"restarts": 0}])
def test_an_option_out_of_range_is_refused_before_any_work(option):
    problem = logistic_regression().problem
    with pytest.raises(ValueError, match=next(iter(option))):
        certify(problem, **option)


def test_a_loss_that_is_not_a_number_is_refused_with_the_report():
    problem = relu_net()
    with torch.no_grad():
        problem.model[0].weight.fill_(math.nan)
    with pytest.raises(VerificationError, match="the loss is nan"):
        certify(problem)


def test_something_else_is_refused_by_name():
    with pytest.raises(TypeError, match="MatrixOperator"):
        certify(torch.eye(3))
    assert certify(MatrixOperator(torch.eye(3))).verdict is Verdict.ABOVE
