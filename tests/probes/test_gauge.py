"""The projector that removes gauge directions, against dense tangents and dense Hessians."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from landscape.probes.symmetry.action import Symmetry, embed, group_basis_size
from landscape.probes.symmetry.gauge import GaugeProjector
from landscape.probes.symmetry.symmetry import symmetries
from landscape.problem import Problem
from tests.probes.test_symmetry import PROBLEMS, GroupedQueryAttention, dense_hessian, problem_of


def tangents_of(symmetry: Symmetry, params: Tensor) -> list[Tensor]:
    """Every tangent as a vector, one matrix B of the basis after the other."""
    basis = torch.eye(group_basis_size(symmetry), dtype=torch.float64)
    return [symmetry.generator(params, embed(symmetry, unit)) for unit in basis]


def dense_projector(project: GaugeProjector, size: int) -> Tensor:
    return torch.stack([project(column) for column in torch.eye(size, dtype=torch.float64)], dim=1)


@pytest.mark.parametrize("name", PROBLEMS)
def test_it_is_the_orthogonal_projector_that_annihilates_every_tangent(name: str) -> None:
    problem = PROBLEMS[name]()
    params, found = problem.params(), symmetries(problem)
    T = torch.stack([t for symmetry in found for t in tangents_of(symmetry, params)], dim=1)
    project = GaugeProjector(found, params)
    assert project.num_directions == T.shape[1]
    assert project.dimension == problem.num_params - torch.linalg.matrix_rank(T, rtol=1e-8)

    expected = torch.eye(problem.num_params, dtype=torch.float64) - T @ torch.linalg.pinv(T, rtol=1e-8)
    torch.testing.assert_close(dense_projector(project, problem.num_params), expected, rtol=0, atol=1e-9)


def test_it_is_idempotent_and_symmetric(generator: torch.Generator) -> None:
    problem = PROBLEMS["vit"]()
    project = GaugeProjector(symmetries(problem), problem.params())
    v, w = torch.randn(2, problem.num_params, dtype=torch.float64, generator=generator)
    torch.testing.assert_close(project(project(v)), project(v), rtol=0, atol=1e-12)
    torch.testing.assert_close(project(v) @ w, v @ project(w))


@pytest.mark.parametrize("name", PROBLEMS)
def test_the_gradient_is_orthogonal_to_every_gauge_direction(name: str) -> None:
    """The loss does not change along an orbit, so the projector leaves its gradient as it is."""
    problem = PROBLEMS[name]()
    gradient = problem.gradient()
    projected = GaugeProjector(symmetries(problem), problem.params())(gradient)
    torch.testing.assert_close(projected, gradient, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("name", ["vit", "rotary_halves", "rotary_neighbours", "relu_mlp", "layer_norm"])
def test_the_loss_stays_the_same_along_the_orbit_of_a_generic_tangent(name: str, generator: torch.Generator) -> None:
    problem = PROBLEMS[name]()
    params, loss = problem.params(), problem.loss().item()
    for symmetry in symmetries(problem):
        c = torch.randn(group_basis_size(symmetry), dtype=torch.float64, generator=generator) / 4
        moved = symmetry.transform(params, torch.linalg.matrix_exp(embed(symmetry, c)))
        assert problem.loss(moved).item() == pytest.approx(loss, rel=1e-11)


def train_to_a_stationary_point(problem: Problem) -> None:
    settings = {"tolerance_grad": 1e-13, "tolerance_change": 0.0, "line_search_fn": "strong_wolfe"}
    optimizer = torch.optim.LBFGS(problem.parameters, max_iter=400, history_size=50, **settings)
    optimizer.step(problem.closure())


@pytest.mark.parametrize("name", ["regression", "transformer"])
def test_at_a_trained_stationary_point_the_hessian_modulo_symmetry_has_its_nonzero_spectrum(name: str) -> None:
    """H vanishes on gauge directions there, so P H P = H. The regression's loss stays above 0."""
    if name == "regression":
        model = nn.Sequential(nn.LayerNorm(4), nn.Linear(4, 1))
        problem = problem_of(model, 4, outputs=1, samples=30)
    else:
        problem = problem_of(GroupedQueryAttention(), 5, 6)
    before, found = problem.params(), symmetries(problem)
    train_to_a_stationary_point(problem)
    params, size = problem.params(), problem.num_params
    gradient_norm = float(problem.gradient().norm())
    assert gradient_norm < 1e-6
    assert (problem.loss() > 0.1) == (name == "regression")

    H = dense_hessian(problem, params)
    project = GaugeProjector(found, params)
    P = dense_projector(project, size)
    modulo = P @ H @ P
    scale = float(H.abs().max())
    torch.testing.assert_close(modulo, H, rtol=0, atol=100 * gradient_norm + 1e-10 * scale)
    significant = torch.linalg.eigvalsh(H).abs() > 1e-5 * scale
    torch.testing.assert_close(
        torch.linalg.eigvalsh(modulo)[significant], torch.linalg.eigvalsh(H)[significant], rtol=1e-4, atol=0
    )
    assert 0 < int(significant.sum()) <= project.dimension < size

    # Not so elsewhere: symmetry forces curvature along the orbits.
    P_before = dense_projector(GaugeProjector(found, before), size)
    H_before = dense_hessian(problem, before)
    assert (P_before @ H_before @ P_before - H_before).abs().max() > 1e-3 * H_before.abs().max()


def test_dependent_tangents_are_counted_once() -> None:
    """A dead unit (all its weights 0) has no orbit, and two equal symmetries are one."""
    problem = PROBLEMS["relu_mlp"]()
    params, found = problem.params(), symmetries(problem)
    twice = GaugeProjector(found + found, params)
    once = GaugeProjector(found, params)
    assert (once.num_directions, twice.num_directions) == (10, 20)
    assert once.dimension == twice.dimension == problem.num_params - 10

    first, rest = params.clone(), found[0]
    pieces = problem.layout.split(first)
    for block in rest.blocks:
        block.view(pieces[block.index])[0] = 0.0
    assert GaugeProjector([rest], first).rank == 4
    v = torch.ones_like(params)
    torch.testing.assert_close(twice(v), once(v), rtol=0, atol=1e-10)


def test_without_symmetries_nothing_is_removed() -> None:
    v = torch.arange(5.0)
    project = GaugeProjector((), torch.zeros(5))
    assert torch.equal(project(v), v) and project.dimension == 5


def test_vectors_keep_their_type_and_are_not_changed() -> None:
    problem = PROBLEMS["relu_mlp"]()
    project = GaugeProjector(symmetries(problem), problem.params())
    v = torch.ones(problem.num_params)
    assert project(v).dtype == torch.float32
    assert torch.equal(v, torch.ones(problem.num_params))


def test_what_does_not_fit_is_refused() -> None:
    problem = PROBLEMS["relu_mlp"]()
    found = symmetries(problem)
    with pytest.raises(ValueError, match="the vector has shape"):
        GaugeProjector(found, problem.params())(torch.zeros(3))
    with pytest.raises(ValueError, match="was not checked"):
        GaugeProjector(symmetries(problem.model), problem.params())
    with pytest.raises(ValueError, match="params has shape"):
        GaugeProjector(found, torch.zeros(3, dtype=torch.float64))
