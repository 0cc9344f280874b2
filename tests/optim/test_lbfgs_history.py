from __future__ import annotations

import io
import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from landscape.optim.lbfgs_history import LimitedMemory
from tests.optim.known_losses import positive_definite

float64 = torch.float64


def pairs(num_pairs: int, num_params: int, seed: int = 0, dtype: torch.dtype = float64) -> list[tuple[Tensor, Tensor]]:
    """Steps with the changes of the gradient of one quadratic, a little off, as from a loss that is nearly one."""
    generator = torch.Generator().manual_seed(seed)
    A = positive_definite(num_params, 100.0, generator)
    steps = torch.randn(num_pairs, num_params, dtype=float64, generator=generator)
    noise = 0.01 * torch.randn(num_pairs, num_params, dtype=float64, generator=generator)
    return [(step.to(dtype), (A @ step + off).to(dtype)) for step, off in zip(steps, noise, strict=True)]


def filled(size: int, given: list[tuple[Tensor, Tensor]]) -> LimitedMemory:
    memory = LimitedMemory(size)
    for step, change in given:
        assert memory.push(step, change)
    return memory


def dense_bfgs(given: list[tuple[Tensor, Tensor]]) -> Tensor:
    """The same matrix from its definition: a BFGS update for each pair, from a multiple of the identity."""
    step, change = given[-1]
    identity = torch.eye(len(step), dtype=float64)
    H = (step @ change) / (change @ change) * identity
    for step, change in given:
        rho = 1.0 / (step @ change)
        left = identity - rho * torch.outer(step, change)
        H = left @ H @ left.T + rho * torch.outer(step, step)
    return H


def two_loops(given: list[tuple[Tensor, Tensor]], vector: Tensor) -> Tensor:
    """Nocedal's recursion."""
    step, change = given[-1]
    gamma, weights = (step @ change) / (change @ change), []
    for step, change in reversed(given):
        weights.append((step @ vector) / (step @ change))
        vector = vector - weights[-1] * change
    vector = gamma * vector
    for step, change in given:
        vector = vector + (weights.pop() - (change @ vector) / (step @ change)) * step
    return vector


@given(st.integers(1, 7), st.integers(1, 16), st.integers(0, 10_000))
@settings(max_examples=60, deadline=None)
def test_the_product_is_that_of_the_dense_bfgs_matrix_and_of_the_two_loop_recursion(size, num_pairs, seed):
    """Before and after the ring is full, of the pairs that are still in it."""
    every = pairs(num_pairs, 20, seed)
    memory, kept = filled(size, every), every[-size:]
    vector = torch.randn(20, dtype=float64, generator=torch.Generator().manual_seed(seed + 1))

    product = memory.product(vector)

    tolerance = 1e-9 * float(product.norm())
    assert memory.num_pairs == len(kept)
    torch.testing.assert_close(product, dense_bfgs(kept) @ vector, rtol=0.0, atol=tolerance)
    torch.testing.assert_close(product, two_loops(kept, vector), rtol=0.0, atol=tolerance)


def test_the_newest_change_is_mapped_to_its_step():
    given = pairs(9, 30)
    step, change = given[-1]
    torch.testing.assert_close(filled(5, given).product(change), step, rtol=1e-9, atol=1e-10)


def test_n_conjugate_steps_of_a_quadratic_give_its_inverse():
    generator = torch.Generator().manual_seed(3)
    A = positive_definite(12, 50.0, generator)
    _, directions = torch.linalg.eigh(A)  # eigenvectors are conjugate to one another
    memory = filled(12, [(direction, A @ direction) for direction in directions.T])
    vector = torch.randn(12, dtype=float64, generator=generator)
    torch.testing.assert_close(memory.product(vector), torch.linalg.solve(A, vector), rtol=1e-9, atol=1e-9)


def test_the_matrix_is_symmetric_and_positive_definite():
    memory = filled(6, pairs(10, 15))
    H = torch.stack([memory.product(column) for column in torch.eye(15, dtype=float64)])
    torch.testing.assert_close(H, H.T, rtol=1e-10, atol=1e-10)
    assert torch.linalg.eigvalsh(H)[0] > 0.0


def test_without_pairs_the_matrix_is_the_identity():
    vector = torch.tensor([1.0, -2.0])
    product = LimitedMemory(3).product(vector)
    assert torch.equal(product, vector)
    assert product.data_ptr() != vector.data_ptr()


@pytest.mark.parametrize(
    "change",
    [
        [-1.0, 0.0],
        [0.0, 1.0],
        [0.0, 0.0],
        [1e-9, 1.0],
        [math.nan, 1.0],
        [math.inf, 1.0],
    ],
    ids=["negative", "orthogonal", "zero", "nearly orthogonal", "nan", "inf"],
)
@pytest.mark.parametrize("unit", [1e-150, 1.0, 1e150])
def test_a_pair_without_positive_curvature_is_skipped_whatever_its_units(change, unit):
    memory = filled(4, pairs(2, 2))
    before = memory.product(torch.ones(2, dtype=float64))
    assert not memory.push(torch.tensor([unit, 0.0], dtype=float64), torch.tensor(change, dtype=float64) / unit)
    assert memory.num_pairs == 2
    assert torch.equal(memory.product(torch.ones(2, dtype=float64)), before)


@pytest.mark.parametrize("unit", [1e-100, 1e-20, 1e20, 1e100])
def test_the_units_of_loss_and_parameters_scale_the_product(unit):
    """Steps in other units, and the change of a loss in other units, give H in the units of the quotient."""
    given, vector = pairs(8, 10), torch.linspace(-1.0, 1.0, 10, dtype=float64)
    memory = filled(5, [(unit * step, change / unit) for step, change in given])
    expected = filled(5, given).product(vector)
    torch.testing.assert_close(memory.product(vector / unit) / unit, expected, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_lower_precision_costs_no_more_than_its_rounding_of_pairs_and_result(dtype):
    """Sums and coefficients are float64: what remains is one rounding of each number of the result."""
    low = pairs(40, 300, dtype=dtype)
    exact = filled(25, [(step.double(), change.double()) for step, change in low])
    vector = torch.randn(300, generator=torch.Generator().manual_seed(5)).to(dtype)
    product = filled(25, low).product(vector)
    assert product.dtype == dtype
    expected = exact.product(vector.double())
    torch.testing.assert_close(product.double(), expected, rtol=torch.finfo(dtype).eps, atol=1e-12)


def test_vectors_longer_than_a_chunk_are_summed_whole(monkeypatch):
    low = pairs(6, 101, dtype=torch.float32)
    vector = torch.randn(101, generator=torch.Generator().manual_seed(5))
    expected = filled(4, low).product(vector)
    monkeypatch.setattr("landscape.optim.lbfgs_history.CHUNK", 80)
    torch.testing.assert_close(filled(4, low).product(vector), expected, rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
@pytest.mark.parametrize("num_pairs", [0, 1, 4, 5, 13])
def test_a_saved_history_goes_on_bit_for_bit(num_pairs, dtype):
    every = pairs(num_pairs + 7, 33, dtype=dtype)
    memory = filled(5, every[:num_pairs])
    file = io.BytesIO()
    torch.save(memory.tensors(), file)
    file.seek(0)
    other = LimitedMemory(5)
    other.load(torch.load(file, weights_only=True))
    for step, change in every[num_pairs:]:
        assert torch.equal(memory.product(step), other.product(step))
        assert memory.push(step, change)
        assert other.push(step, change)
    assert torch.equal(memory.product(step), other.product(step))
    assert (memory.num_pairs, memory.scale) == (other.num_pairs, other.scale)


def test_what_was_cleared_is_forgotten():
    memory = filled(3, pairs(5, 4))
    memory.clear()
    assert memory.num_pairs == 0
    assert memory.tensors() == {}
    assert torch.equal(memory.product(torch.ones(4)), torch.ones(4))
