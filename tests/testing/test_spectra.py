from __future__ import annotations

import pytest
import torch

from landscape.testing.spectra import SPECTRA, known_spectrum


@pytest.mark.parametrize("name", SPECTRA)
@pytest.mark.parametrize("n", [1, 2, 7, 60, 600])
def test_the_dense_matrix_has_the_eigenvalues_that_were_asked_for(name, n, generator):
    """Size 600 takes the fast transform, the others a dense Q."""
    A = known_spectrum(name, n, generator=generator)
    dense = A.to_dense()
    torch.testing.assert_close(dense, dense.T, rtol=0, atol=1e-13 * max(1.0, abs(A.lambda_max)))
    torch.testing.assert_close(torch.linalg.eigvalsh(dense), A.eigenvalues, rtol=0, atol=1e-12 * 20)


@pytest.mark.parametrize("n", [40, 5000])
@pytest.mark.parametrize("scale", [1e-6, 1.0, 1e6])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_ends_have_eigenvectors(n, scale, dtype, generator):
    A = known_spectrum("neural_network", n, dtype, generator, scale)
    assert A.lambda_max == pytest.approx(20.0 * scale)
    assert A.lambda_min == pytest.approx(-0.5 * scale)
    for index, eigenvalue in ((0, A.lambda_min), (-1, A.lambda_max)):
        v = A.eigenvector(index)
        assert float(v.norm()) == pytest.approx(1.0, abs=1e-5)
        assert float((A @ v - eigenvalue * v).norm()) <= A.product_error * A.lambda_max


@pytest.mark.parametrize("n", [300, 3000])
def test_eigenvectors_are_spread_over_all_coordinates(n, generator):
    """No entry of an eigenvector is far above what a random unit vector has (6 / sqrt(n) once in 1e9)."""
    A = known_spectrum("indefinite", n, generator=generator)
    assert max(float(A.eigenvector(i).abs().max()) for i in range(0, n, n // 10)) < 6 / n**0.5


def test_another_generator_gives_other_eigenvectors_and_the_same_one_the_same():
    def product(seed):
        return (
            known_spectrum("indefinite", 600, generator=torch.Generator().manual_seed(seed)) @ torch.ones(600).double()
        )

    assert torch.equal(product(1), product(1))
    assert not torch.allclose(product(1), product(2))


def test_values_come_back_ascending():
    assert known_spectrum([3.0, -1.0, 2.0], scale=2.0).eigenvalues.tolist() == [-2.0, 4.0, 6.0]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("flat", 5), "positive_definite, indefinite"),
        (("indefinite",), "n=None"),
        (("indefinite", 0), "n=0"),
        (([1.0, 2.0], 3), "2 eigenvalues were given with n=3"),
        (([],), "0 eigenvalues"),
        (([1.0, float("nan")],), "NaN"),
        (("indefinite", 5, torch.float16), "float16"),
    ],
)
def test_what_cannot_be_made_is_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        known_spectrum(*arguments)
