from __future__ import annotations

import pytest
import torch

from landscape.operators.base import LinearOperator
from landscape.operators.matrix import MatrixOperator
from landscape.testing.operators import check_operator
from landscape.testing.problems import KNOWN_PROBLEMS
from landscape.testing.spectra import SPECTRA, known_spectrum


@pytest.mark.parametrize("name", SPECTRA)
@pytest.mark.parametrize("scale", [1e-6, 1e6])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_every_known_spectrum_passes(name, scale, dtype, generator):
    for n in (1, 3, 50, 700):
        check_operator(known_spectrum(name, n, dtype, generator, scale), generator=generator)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_matrices_sums_multiples_and_restrictions_pass(dtype, generator):
    A = known_spectrum("neural_network", 60, dtype, generator)
    dense = A.to_dense()
    B = MatrixOperator((dense + dense.T) / 2)
    for operator in (
        B,
        A + B,
        A - 0.5 * B,
        -3.0 * A,
        B.restrict(torch.arange(5, 20)),
        (A + B).restrict(slice(0, 60, 2)),
    ):
        check_operator(operator, generator=generator)


class Broken(LinearOperator):
    """A symmetric matrix with one thing wrong."""

    def __init__(self, wrong: str, dtype: torch.dtype = torch.float64) -> None:
        super().__init__(8, dtype, torch.device("cpu"))
        self.wrong = wrong
        self.matrix = known_spectrum("indefinite", 8, dtype).to_dense()
        self.matrix = (self.matrix + self.matrix.T) / 2
        self.calls = 0
        self.buffer = torch.empty(8, dtype=dtype)
        if wrong == "not symmetric":
            self.matrix[0, 1] += 1e-6
        if wrong == "size is 0":
            self.size = 0
        if wrong == "dtype is torch.int64":
            self.dtype = torch.int64
        if wrong == "must lie within 0 and 8":
            self.blocks = {"weight": slice(4, 9)}

    @property
    def product_error(self) -> float:
        return {"product_error is nan": float("nan"), "product_error is -": -1.0, "product_error is 1": 1.0}.get(
            self.wrong, 1e-14
        )

    def __matmul__(self, other):
        if self.wrong == "was accepted":
            return torch.zeros(8, dtype=torch.float64) if other.shape[0] != 8 else super().__matmul__(other)
        if self.wrong == "raised RuntimeError" and other.shape[0] != 8:
            raise RuntimeError("shapes")
        before = self.num_matvecs
        product = super().__matmul__(other)
        if self.wrong == "raised num_matvecs by 0":
            self.num_matvecs = before
        if self.wrong == "block of 3 columns raised num_matvecs by 1":
            self.num_matvecs = before + 1
        if self.wrong == "column 0 of a block product" and other.dim() == 2:
            return product.flip(1)
        if self.wrong == "shape \\(3, 8\\)" and other.dim() == 2:
            return product.T
        if self.wrong == "changed the block" and other.dim() == 2:
            other.mul_(2.0)
        return product

    def _matvec(self, vector):
        self.calls += 1
        product = self.matrix @ vector
        match self.wrong:
            case "not linear":
                return product + 1e-6
            case "asked for twice":
                return product * (1 + (1e-6 if self.calls > 15 else 0))
            case "changed the vector":
                vector.mul_(2.0)
            case "it must be torch.float64|Both must agree":
                return product.float()
            case "shape \\(7,\\)":
                return product[:-1]
            case "is a list":
                return product.tolist()
            case "a buffer is used again":
                return self.buffer.copy_(product)
            case "shares memory":
                return vector
            case "carries an autograd graph":
                return product.clone().requires_grad_()
            case "holds NaN":
                return product / 0.0
            case "global random numbers":
                torch.rand(1)
        return product


WRONG = [
    "not symmetric",
    "not linear",
    "asked for twice",
    "changed the vector",
    "changed the block",
    "it must be torch.float64|Both must agree",
    "shape \\(7,\\)",
    "shape \\(3, 8\\)",
    "a buffer is used again",
    "shares memory",
    "carries an autograd graph",
    "holds NaN",
    "global random numbers",
    "is a list",
    "raised num_matvecs by 0",
    "block of 3 columns raised num_matvecs by 1",
    "column 0 of a block product",
    "was accepted",
    "raised RuntimeError",
    "size is 0",
    "dtype is torch.int64",
    "product_error is nan",
    "product_error is -",
    "product_error is 1",
    "must lie within 0 and 8",
]


def test_the_same_operator_with_nothing_wrong_passes():
    check_operator(Broken("nothing"))


@pytest.mark.parametrize("wrong", WRONG)
def test_each_fault_is_found_and_named(wrong):
    with pytest.raises(AssertionError, match=wrong):
        check_operator(Broken(wrong))


def test_a_thing_without_products_is_refused():
    with pytest.raises(AssertionError, match="Derive from"):
        check_operator(torch.eye(3))


def test_a_looser_tolerance_lets_a_small_fault_pass():
    check_operator(Broken("not symmetric"), rtol=1e-4)


def test_an_asymmetry_in_one_entry_of_many_is_found(generator):
    """Relative to the norm 1e-9, in one of 360,000 entries, where a test scaled by |u| |v| would see 1e-12."""
    A = known_spectrum("indefinite", 600, generator=generator)
    dense = A.to_dense()
    dense = (dense + dense.T) / 2
    dense[3, 500] += 1e-9

    class Skewed(MatrixOperator):
        def __init__(self):
            LinearOperator.__init__(self, 600, torch.float64, torch.device("cpu"))
            self.matrix = dense

    with pytest.raises(AssertionError, match="not symmetric"):
        check_operator(Skewed(), generator=generator)


@pytest.mark.parametrize("name", KNOWN_PROBLEMS)
def test_hessians_of_the_known_problems_pass_and_are_the_known_ones(name):
    known = KNOWN_PROBLEMS[name]()
    hessian = known.problem.hessian()
    check_operator(hessian)
    torch.testing.assert_close(hessian.to_dense(), known.hessian, rtol=0, atol=1e-14)


def test_gauss_newton_and_fisher_pass():
    problem = KNOWN_PROBLEMS["least_squares"]().problem
    check_operator(problem.gauss_newton())
    check_operator(problem.fisher())
