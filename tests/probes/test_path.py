from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from landscape.probes.path.path import path_convexity, path_cost
from landscape.problem import Problem
from landscape.status import Status
from landscape.testing.problems import function_problem, least_squares, logistic_regression, quadratic, saddle
from tests.problems import MODELS, regression_data


def walk(size, count, generator, scale=1.0, dtype=torch.float64):
    steps = torch.randn(count, size, generator=generator, dtype=torch.float64)
    return (scale * steps.cumsum(dim=0)).to(dtype)


@given(seed=st.integers(0, 1000), count=st.integers(2, 6))
def test_on_a_quadratic_every_number_is_known(seed, count):
    """Secants and second differences are Rayleigh quotients of A, gaps are -d'Ad / 2."""
    generator = torch.Generator().manual_seed(seed)
    M = torch.randn(4, 4, generator=generator, dtype=torch.float64)
    A = M + M.T
    points = walk(4, count, generator)
    found = path_convexity(quadratic(A).problem, points, num_points=2)
    steps = points[1:] - points[:-1]
    quotients = ((steps @ A) * steps).sum(dim=1) / steps.square().sum(dim=1)
    torch.testing.assert_close(found.secants, quotients)
    torch.testing.assert_close(found.segment_curvatures, quotients[:, None].expand(-1, 2), rtol=1e-6, atol=1e-8)
    apart = points[None] - points[:, None]
    torch.testing.assert_close(found.gaps, -0.5 * torch.einsum("ijk,kl,ijl->ij", apart, A, apart))
    torch.testing.assert_close(found.distances, steps.norm(dim=1))
    guilty = {(w.start, w.end) for w in found.witnesses()}
    assert guilty == {(i, j) for i, j in (found.gaps > 1e-9).nonzero().tolist()}


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("scale", [1e-6, 1e-3, 1.0, 30.0])
@pytest.mark.parametrize("make", [least_squares, logistic_regression])
def test_a_convex_loss_is_never_found_guilty(make, scale, dtype, generator):
    """Whatever the rounding: tiny steps in float32 put every sign within it."""
    problem = make(dtype=dtype, batch_size=8).problem
    points = problem.params() + walk(problem.num_params, 8, generator, scale, dtype)
    found = path_convexity(problem, points)
    assert found.witnesses() == [] and found.num_pairs.negative == 0
    assert found.num_secants.negative == found.num_segments.negative == 0
    if scale >= 1e-3 and dtype == torch.float64:
        assert found.share_convex == found.share_of_pairs == 1.0


def test_a_saddle_crossed_along_its_negative_direction_has_witnesses():
    known = saddle(5, 1)
    direction = torch.linalg.eigh(known.hessian_at(torch.zeros(5, dtype=torch.float64))).eigenvectors[:, 0]
    points = [t * direction for t in (-0.3, -0.1, 0.1, 0.3)]
    found = path_convexity(known.problem, points)
    assert found.num_secants == (0, 3, 0) and found.num_segments == (0, 3, 0)
    assert len(found.witnesses()) == found.num_pairs.negative == 12
    assert len(found.witnesses(window=1)) == 6
    assert found.share_convex == 0.0
    worst = found.witnesses()[0]
    assert (worst.start, worst.end) in {(0, 3), (3, 0)} and worst.gap > worst.rounding > 0
    assert "Claim C" in str(found) and "nothing about lambda_min" in str(found) and "point 0" in str(found)


def test_a_quartic_is_convex_at_a_distance_and_not_nearby():
    """The loss x^4/4 - x^2/2 has negative curvature where |x| < 1/sqrt(3): consecutive secants show where."""
    problem = function_problem(lambda x: (x**4).sum() / 4 - (x**2).sum() / 2, torch.zeros(1, dtype=torch.float64))
    points = torch.linspace(0, 2, 21, dtype=torch.float64)[:, None]
    found = path_convexity(problem, points)
    a, b = points[:-1, 0], points[1:, 0]
    torch.testing.assert_close(found.secants, a**2 + a * b + b**2 - 1)
    # Witnesses are exact: f(x) + f'(x)(y - x) - f(y) > 0 iff (y + x)^2 + 2 x^2 < 2.
    for witness in found.witnesses():
        x, y = float(points[witness.start]), float(points[witness.end])
        assert (y + x) ** 2 + 2 * x**2 < 2
    assert found.num_pairs.negative == sum(
        (y + x) ** 2 + 2 * x**2 < 2 - 1e-9
        for x in points.flatten().tolist()
        for y in points.flatten().tolist()
        if x != y
    )


def test_rounding_in_float32_covers_the_difference_from_float64(generator):
    model = MODELS["mlp"]()
    inputs, targets = regression_data(64, torch.float32)
    problem = Problem(model, nn.functional.mse_loss, (inputs, targets))
    points = problem.params() + walk(problem.num_params, 6, generator, 0.02, torch.float32)
    found = path_convexity(problem, points)
    exact = Problem(model.double(), nn.functional.mse_loss, (inputs.double(), targets.double()))
    truth = path_convexity(exact, points.double())
    assert ((found.gaps - truth.gaps).abs() <= found.gap_rounding).all()
    assert ((found.secants - truth.secants).abs() <= found.secant_rounding).all()
    apart = (found.segment_curvatures - truth.segment_curvatures).abs()
    assert (apart <= found.segment_rounding[:, None]).all()
    assert found.segment_rounding.max() < 100 and found.secant_rounding.max() < 1e-2


def test_state_dicts_are_the_points_they_hold(generator):
    model = MODELS["tied"]().double()
    problem = Problem(model, nn.functional.mse_loss, regression_data())
    points, states = [], []
    here = problem.params()
    for step in walk(problem.num_params, 3, generator, 0.1):
        problem.set_params(here + step)
        points.append(problem.params())
        states.append({name: value.clone() for name, value in model.state_dict().items()})
    by_state, by_vector = (path_convexity(problem, path) for path in (states, points))
    assert torch.equal(by_state.gaps, by_vector.gaps) and torch.equal(by_state.losses, by_vector.losses)


def test_the_cost_is_told_in_advance_and_no_trace_is_left(generator):
    model = MODELS["batch_norm_and_dropout"]()
    problem = Problem(model, nn.functional.mse_loss, regression_data(11, torch.float32))
    here, state = problem.params(), {name: value.clone() for name, value in model.state_dict().items()}
    points = here + walk(problem.num_params, 4, generator, 0.1, torch.float32)
    kept = points.clone()
    found = path_convexity(problem, points, num_points=2, verify=False)
    expected = path_cost(problem, 4, num_points=2)
    assert found.gradient_equivalents == pytest.approx(expected) == pytest.approx(4 + 2 + 3 * 2 / 3)
    assert problem.cost.gradient_equivalents == pytest.approx(expected)
    assert torch.equal(problem.params(), here) and torch.equal(points, kept)
    assert all(torch.equal(value, model.state_dict()[name]) for name, value in state.items())


def test_segments_can_be_left_out(generator):
    problem = least_squares().problem
    found = path_convexity(problem, walk(5, 3, generator), segments=False, verify=False)
    assert found.segment_curvatures is None and found.num_segments == (0, 0, 0)
    assert problem.cost.forward_samples == 0 and "second differences" not in str(found)


def test_equal_points_have_no_secant_and_are_not_hidden():
    problem = least_squares().problem
    a, b = problem.params(), problem.params() + 1
    found = path_convexity(problem, [a, a, b])
    assert math.isnan(found.secants[0]) and found.num_secants == (1, 0, 1)
    assert found.witnesses() == [] and "unknown sign on 1" in str(found)


def test_a_point_where_the_loss_is_not_finite_stays_visible():
    problem = function_problem(lambda x: (x**2).sum() + x.log().sum() * 0, torch.ones(2, dtype=torch.float64))
    points = torch.tensor([[1.0, 1.0], [2.0, 1.0], [-1.0, 1.0]], dtype=torch.float64)
    found = path_convexity(problem, points)
    assert found.status is Status.NONFINITE
    assert found.losses.isnan().tolist() == [False, False, True]
    assert found.num_pairs == (2, 0, 4) and found.num_secants == (1, 0, 1)
    assert str(Status.NONFINITE) in str(found)


def test_a_diverged_point_hides_nothing_about_the_others(generator):
    problem = saddle(3, 1).problem
    points = list(walk(3, 4, generator, 0.2))
    clean = path_convexity(problem, points)
    for position in (0, 4):
        path = [*points[:position], torch.full((3,), math.nan, dtype=torch.float64), *points[position:]]
        found = path_convexity(problem, path)
        kept = [i for i in range(5) if i != position]
        torch.testing.assert_close(found.gaps[kept][:, kept], clean.gaps)
        assert found.num_pairs == (*clean.num_pairs[:2], 8) and len(found.witnesses()) == len(clean.witnesses())


@pytest.mark.parametrize(
    ("points", "settings", "message"),
    [
        (lambda p: [p], {}, "1 points were given"),
        (lambda p: [p, p[:2]], {}, r"shape \(2,\)"),
        (lambda p: [p, p.float()], {}, "float32"),
        (lambda p: [p, {"wieght": p}], {}, "point 1 is a state dict that lacks weight"),
        (lambda p: [p, {"weight": p}], {}, "another shape for weight"),
        (lambda p: [p, p], {"num_points": 0}, "num_points=0"),
    ],
)
def test_wrong_paths_are_refused_before_any_work(points, settings, message):
    problem = least_squares().problem
    with pytest.raises(ValueError, match=message):
        path_convexity(problem, points(problem.params()), **settings)
    assert problem.cost.samples == 0


def test_a_window_below_one_is_refused():
    problem = least_squares().problem
    found = path_convexity(problem, [problem.params(), problem.params() + 1])
    with pytest.raises(ValueError, match="window=0"):
        found.witnesses(window=0)
