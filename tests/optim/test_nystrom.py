from __future__ import annotations

import pytest
import torch

from landscape.optim.capped_cg import capped_conjugate_gradient
from landscape.optim.nystrom import nystrom


def of_spectrum(eigenvalues: torch.Tensor, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    basis, _ = torch.linalg.qr(
        torch.randn(len(eigenvalues), len(eigenvalues), dtype=torch.float64, generator=generator)
    )
    return (basis * eigenvalues) @ basis.T


def sketch_of(A: torch.Tensor, rank: int, seed: int = 0):
    generator = torch.Generator().manual_seed(seed)
    return nystrom(lambda v: A @ v, len(A), rank, generator=generator, dtype=A.dtype)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_matrix_of_the_rank_of_the_sketch_is_recovered(dtype):
    eigenvalues = torch.cat([torch.zeros(25), torch.tensor([1.0, 2.0, 5.0, 30.0])]).double()
    A = of_spectrum(eigenvalues).to(dtype)
    made = sketch_of(A, 4)
    rebuilt = (made.vectors * made.eigenvalues) @ made.vectors.T
    tolerance = 1e-12 if dtype is torch.float64 else 1e-3
    torch.testing.assert_close(rebuilt, A, rtol=tolerance, atol=tolerance * 30)
    torch.testing.assert_close(made.vectors.T @ made.vectors, torch.eye(4, dtype=dtype))


@pytest.mark.parametrize("rank", [1, 5, 12, 20])
def test_the_approximation_lies_between_zero_and_the_matrix(rank):
    """Nystrom approximations of a positive semidefinite A satisfy 0 <= A_nys <= A."""
    A = of_spectrum(torch.logspace(-4, 2, 20, dtype=torch.float64))
    made = sketch_of(A, rank)
    rebuilt = (made.vectors * made.eigenvalues) @ made.vectors.T
    assert float(torch.linalg.eigvalsh(A - rebuilt)[0]) > -1e-10
    assert float(made.eigenvalues.min()) >= 0.0
    assert made.lowest_curvature > 0.0


def test_the_preconditioner_is_the_formula_of_frangella_tropp_and_udell():
    A = of_spectrum(torch.logspace(-4, 2, 20, dtype=torch.float64))
    made, mu = sketch_of(A, 6), 1e-3
    U, eigenvalues = made.vectors, made.eigenvalues
    P = U @ torch.diag(eigenvalues + mu) @ U.T / (eigenvalues[-1] + mu) + torch.eye(20) - U @ U.T
    v = torch.linspace(-1.0, 1.0, 20, dtype=torch.float64)
    torch.testing.assert_close(P @ made.preconditioner(mu)(v), v, rtol=1e-10, atol=1e-10)


def test_it_saves_conjugate_gradients_most_of_their_products():
    A = of_spectrum(torch.cat([torch.full((60,), 1.0), torch.logspace(1, 6, 20)]).double())
    g = torch.ones(80, dtype=torch.float64)
    plain, helped = (
        capped_conjugate_gradient(
            lambda v: A @ v, g, damping=0.5, tolerance=1e-8, max_products=500, preconditioner=preconditioner
        )
        for preconditioner in (None, sketch_of(A, 25).preconditioner(1.0))
    )
    torch.testing.assert_close(helped.direction, plain.direction, rtol=1e-5, atol=1e-6)
    assert helped.num_products < 0.5 * plain.num_products


def test_an_indefinite_matrix_is_noticed_and_its_large_part_still_found():
    A = of_spectrum(torch.cat([torch.linspace(-0.5, 0.5, 30), torch.tensor([50.0, 100.0])]).double())
    made = sketch_of(A, 10)
    assert made.lowest_curvature < 0.0
    torch.testing.assert_close(
        made.eigenvalues[:2], torch.tensor([100.0, 50.0], dtype=torch.float64), rtol=0.03, atol=0.0
    )
    v = torch.ones(32, dtype=torch.float64)
    assert float(v @ made.preconditioner(0.1)(v)) > 0.0


def test_the_same_generator_gives_the_same_sketch():
    A = of_spectrum(torch.logspace(-4, 2, 20, dtype=torch.float64))
    assert torch.equal(sketch_of(A, 5, seed=3).vectors, sketch_of(A, 5, seed=3).vectors)
    assert not torch.equal(sketch_of(A, 5, seed=3).vectors, sketch_of(A, 5, seed=4).vectors)


def test_a_product_that_is_not_finite_gives_no_sketch():
    assert nystrom(lambda v: v * torch.nan, 5, 2, generator=torch.Generator()) is None


def test_a_matrix_of_zeros_has_no_preconditioner_without_damping():
    made = sketch_of(torch.zeros(5, 5, dtype=torch.float64), 2)
    assert made.eigenvalues.tolist() == [0.0]
    with pytest.raises(ValueError, match="damping above 0"):
        made.preconditioner(0.0)
    torch.testing.assert_close(made.preconditioner(1.0)(torch.ones(5).double()), torch.ones(5).double())


@pytest.mark.parametrize("rank", [0, 6])
def test_a_rank_out_of_range_is_refused(rank):
    with pytest.raises(ValueError, match=f"rank={rank}"):
        nystrom(lambda v: v, 5, rank, generator=torch.Generator())
