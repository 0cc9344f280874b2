from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from landscape.operators.base import LinearOperator
from landscape.operators.matrix import MatrixOperator
from landscape.probes.lanczos.krylov import KrylovSpace
from landscape.probes.spectrum.density import spectral_density
from landscape.probes.spectrum.quadrature import Quadrature, run_lanczos
from landscape.status import Status
from landscape.testing.spectra import SPECTRA, known_spectrum


def rule(operator, start, num_steps):
    space = KrylovSpace(operator, start)
    run_lanczos(space, num_steps)
    return Quadrature.of(space)


def true_mass(operator, threshold):
    return float((operator.eigenvalues < threshold).double().mean())


@given(
    values=st.lists(st.floats(-10, 10), min_size=8, max_size=30),
    num_steps=st.integers(1, 8),
    seed=st.integers(0, 1000),
)
@settings(max_examples=100)
def test_the_rule_of_k_steps_is_exact_for_polynomials_up_to_degree_2k_minus_1(values, num_steps, seed):
    """Gauss: sum_i w_i theta_i^p = b'A^p b, on Chebyshev polynomials of the spectrum scaled to [-1, 1]."""
    generator = torch.Generator().manual_seed(seed)
    scale = max(1e-3, *map(abs, values))
    A = known_spectrum(values, generator=generator, scale=1 / scale)
    start = torch.randn(A.size, dtype=torch.float64, generator=generator)
    start /= start.norm()
    found = rule(A, start, num_steps)
    assert float(found.weights.sum()) == pytest.approx(1.0, abs=1e-12)
    previous, current = start, A @ start  # T_0(A) b, T_1(A) b
    for degree in range(1, 2 * num_steps):
        expected = float(start @ current)
        chebyshev = found.expectation(lambda x, p=degree: torch.special.chebyshev_polynomial_t(x, p))
        assert chebyshev == pytest.approx(expected, abs=1e-11 * degree**2)
        previous, current = current, 2 * (A @ current) - previous


@given(
    values=st.lists(st.floats(-10, 10), min_size=2, max_size=40),
    num_steps=st.integers(1, 12),
    threshold=st.floats(-11, 11),
    seed=st.integers(0, 1000),
)
@settings(max_examples=200)
def test_the_mass_below_any_threshold_lies_within_its_bounds(values, num_steps, threshold, seed):
    """Chebyshev, Markov, Stieltjes: for the start vector's own measure, and for the rule's value."""
    generator = torch.Generator().manual_seed(seed)
    A = known_spectrum(values, generator=generator)
    start = torch.randn(A.size, dtype=torch.float64, generator=generator)
    found = rule(A, start, num_steps)
    lower, upper = found.mass_bounds(threshold)
    margin = (
        1e-9 * max(map(abs, values)) + 1e-12
    )  # eigenvalues this near to the threshold fall to either side by rounding
    parts = torch.stack([A.eigenvector(i) @ start for i in range(A.size)]).square()
    below, up_to = A.eigenvalues < threshold - margin, A.eigenvalues <= threshold + margin
    assert lower <= float(parts[up_to].sum() / parts.sum()) + 1e-7
    assert upper >= float(parts[below].sum() / parts.sum()) - 1e-7
    if not bool(((found.nodes - threshold).abs() <= margin).any()):
        assert lower - 1e-7 <= found.mass_below(threshold) <= upper + 1e-7


@pytest.mark.parametrize("name", SPECTRA)
def test_moments_are_traces_of_powers(name, generator):
    """The first moments of 12 probes, within 5 standard errors; 2 cover most often."""
    A = known_spectrum(name, 500, generator=generator)
    density = spectral_density(A, num_probes=12, num_steps=10, generator=generator)
    for power in range(5):
        estimate = density.moment(power)
        truth = float((A.eigenvalues**power).mean())
        assert (
            abs(estimate.value - truth)
            <= 5 * estimate.standard_error + 1e-12 * float(A.eigenvalues.abs().max()) ** power
        )
    assert density.moment(0).value == pytest.approx(1.0, abs=1e-12)


@pytest.mark.parametrize("name", ["indefinite", "neural_network", "negative_definite", "clustered"])
def test_standard_errors_of_moments_cover_the_truth(name, generator):
    """Counted over 40 densities of 4 probes: 2 standard errors cover 95 % if normal; measured 92 to 98 %."""
    A = known_spectrum(name, 300, generator=generator)
    truth = float((A.eigenvalues**2).mean())
    covered = 0
    for _ in range(40):
        estimate = spectral_density(A, num_probes=4, num_steps=10, generator=generator).moment(2)
        covered += abs(estimate.value - truth) <= 2 * estimate.standard_error
    assert covered >= 33


@pytest.mark.parametrize("name", SPECTRA)
def test_the_interval_of_the_negative_mass_covers_the_truth(name, generator):
    """Both errors together, counted over 10 densities at the default threshold and at two others."""
    A = known_spectrum(name, 400, generator=generator)
    covered = total = 0
    for _ in range(10):
        density = spectral_density(A, num_probes=4, num_steps=20, generator=generator)
        for threshold in (None, 0.05, -0.3):
            mass = density.mass_below(threshold)
            low, high = mass.interval()
            covered += low - 1e-12 <= true_mass(A, mass.threshold) <= high + 1e-12
            assert mass.lower - 1e-9 <= mass.value <= mass.upper + 1e-9
            total += 1
    assert covered >= 0.85 * total


def test_negative_mass_is_not_fooled_by_a_bulk_that_sits_at_zero(generator):
    """Half the eigenvalues are 0 up to rounding, of either sign: without a threshold the mass below 0 means nothing."""
    values = torch.cat(
        [1e-9 * torch.randn(990, dtype=torch.float64, generator=generator), torch.linspace(1, 30, 10).double()]
    )
    A = known_spectrum(values, dtype=torch.float32, generator=generator)
    density = spectral_density(A, num_steps=30, generator=generator)
    assert density.negative_threshold == pytest.approx(-0.03, rel=1e-3)
    assert density.mass_below().value == 0.0 and density.mass_below().upper < 0.01
    at_zero = density.mass_below(0.0)
    assert at_zero.lower == 0.0 and at_zero.upper > 0.98 and at_zero.value > 0.1


def test_the_threshold_scales_with_the_matrix_and_with_the_rounding_of_its_products():
    for scale in (1e-6, 1e6):
        density = spectral_density(known_spectrum("indefinite", 300, scale=scale), num_steps=10)
        assert density.negative_threshold == pytest.approx(-2e-3 * scale, rel=0.02)

    class Coarse(MatrixOperator):
        product_error = 0.01

    coarse = spectral_density(Coarse(known_spectrum("indefinite", 30).to_dense()))
    assert coarse.negative_threshold == pytest.approx(-0.02)


def test_the_density_matches_the_histogram_of_exact_eigenvalues(generator):
    """Three well separated clusters with 50, 30 and 20 %, and the whole curve against exact smoothing of all eigenvalues."""
    spread = torch.linspace(-0.1, 0.1, 1000, dtype=torch.float64)
    A = known_spectrum(torch.cat([spread[:500], 3 + spread[500:800], -2 + spread[800:]]), generator=generator)
    density = spectral_density(A, num_probes=8, num_steps=30, generator=generator)
    curve = density.density(width=0.1)
    exact = torch.exp(-0.5 * ((curve.grid[:, None] - A.eigenvalues) / 0.1) ** 2).mean(dim=1) / (
        0.1 * math.sqrt(2 * math.pi)
    )
    assert float(torch.trapezoid((curve.values - exact).abs(), curve.grid)) < 0.06  # of a possible 2
    for threshold, share in ((-1.0, 0.2), (1.0, 0.7)):
        mass = density.mass_below(threshold)
        assert abs(mass.value - share) <= 4 * mass.standard_error and mass.standard_error < 0.02


@pytest.mark.parametrize("axis", ["linear", "symlog"])
@pytest.mark.parametrize("name", SPECTRA)
@pytest.mark.parametrize("scale", [1e-6, 1e6])
def test_the_integral_is_one_on_every_axis(axis, name, scale):
    density = spectral_density(known_spectrum(name, 250, scale=scale), num_steps=15, num_probes=3)
    for width in (None, 0.05, 0.5) if axis == "symlog" else (None, 0.01 * scale, scale):
        curve = density.density(width=width, axis=axis)
        assert curve.integral == pytest.approx(1.0, abs=1e-5)
        assert bool((curve.grid[1:] > curve.grid[:-1]).all())


def test_smoothing_again_takes_no_products_and_takes_any_grid():
    A = known_spectrum("neural_network", 300)
    density = spectral_density(A, num_probes=2, num_steps=20)
    used = A.num_matvecs
    grid = torch.linspace(-5, 25, 77)
    curve = density.density(grid, 0.3)
    assert curve.grid.tolist() == pytest.approx(grid.tolist()) and curve.values.shape == (77,)
    assert A.num_matvecs == used == density.num_matvecs == 40
    with pytest.raises(ValueError, match="width=0"):
        density.density(width=0.0)
    with pytest.raises(ValueError, match="'symlog'"):
        density.density(axis="log")
    with pytest.raises(ValueError, match="linear_range=0"):
        density.density(axis="symlog", linear_range=0.0)


def test_outliers_are_eigenvalues_found_once(generator):
    """Every converged Ritz value is within its residual of an eigenvalue, and all nine outliers appear exactly once."""
    A = known_spectrum("neural_network", 2000, generator=generator)
    density = spectral_density(A, num_probes=3, num_steps=40, generator=generator)
    values, residuals = density.converged()
    distances = (values[:, None] - A.eigenvalues).abs().amin(dim=1)
    assert bool((distances <= residuals + 1e-9).all())
    outliers = values[values > 1.9]
    torch.testing.assert_close(outliers, A.eigenvalues[-9:], rtol=1e-6, atol=0)
    assert torch.equal(density.converged_ritz_values, values)


def test_when_products_suffice_for_every_coordinate_everything_is_exact():
    A = known_spectrum("indefinite", 60)
    density = spectral_density(A)
    assert density.is_exact and density.num_matvecs == A.num_matvecs == 60
    torch.testing.assert_close(density.nodes, A.eigenvalues)
    mass = density.mass_below(0.0)
    assert (mass.value, mass.standard_error) == (pytest.approx(20 / 60), 0.0) and mass.lower == mass.upper == mass.value


def test_an_exhausted_krylov_space_is_exact_for_its_start_vector():
    density = spectral_density(known_spectrum("low_rank", 400), num_probes=3, num_steps=50)
    assert all(probe.is_exact and len(probe.nodes) == 6 for probe in density.probes)
    assert density.num_matvecs == 18


class Interrupting(MatrixOperator):
    """Raises KeyboardInterrupt at one of its products."""

    def __init__(self, at: int, size: int = 300) -> None:
        super().__init__(torch.diag(torch.linspace(-1, 2, size, dtype=torch.float64)))
        self.at = at

    def _matvec(self, vector):
        if self.num_matvecs >= self.at:
            raise KeyboardInterrupt
        return super()._matvec(vector)


@pytest.mark.parametrize(("at", "lengths"), [(2, [1]), (8, [7]), (25, [10, 10]), (11, [10])])
def test_an_interrupt_keeps_the_probes_done(at, lengths):
    density = spectral_density(Interrupting(at), num_probes=4, num_steps=10)
    assert density.status is Status.CUT_SHORT and "Stopped on request" in str(density)
    assert [len(probe.nodes) for probe in density.probes] == lengths
    low, high = density.mass_below(0.0).interval()
    assert low <= 1 / 3 <= high


def test_an_interrupt_before_anything_is_known_passes_on():
    with pytest.raises(KeyboardInterrupt):
        spectral_density(Interrupting(1), num_probes=4, num_steps=10)


def test_the_callback_sees_the_density_grow():
    seen = []
    density = spectral_density(known_spectrum("indefinite", 300), num_probes=3, num_steps=5, callback=seen.append)
    assert [len(part.probes) for part in seen] == [1, 2, 3] and [part.num_matvecs for part in seen] == [5, 10, 15]
    assert [part.status for part in seen] == [Status.RUNNING, Status.RUNNING, Status.COMPLETED]
    assert torch.equal(seen[-1].nodes, density.nodes)


@pytest.mark.parametrize("size", [50, 500])
def test_products_that_are_not_finite_end_in_a_status_and_nan(size):
    class Undefined(LinearOperator):
        def __init__(self):
            super().__init__(size, torch.float64, torch.device("cpu"))

        def _matvec(self, vector):
            return vector / 0.0

    density = spectral_density(Undefined())
    assert density.status is Status.NONFINITE_PRODUCT and "unknown" in str(density)
    assert math.isnan(density.mass_below().value) and math.isnan(density.moment(1).value)
    assert density.converged_ritz_values.numel() == 0
    with pytest.raises(ValueError, match="no probe"):
        density.density()


def test_a_memory_limit_shortens_the_runs_and_the_same_state_gives_the_same_density():
    A = known_spectrum("indefinite", 300)
    short = spectral_density(A, num_probes=2, num_steps=20, max_memory=8 * 300 * 9)
    assert short.num_steps == 8 and "8 steps" in str(short)
    before = torch.get_rng_state()
    again = spectral_density(A, num_probes=2, num_steps=20, max_memory=8 * 300 * 9)
    assert torch.equal(short.nodes, again.nodes) and torch.equal(before, torch.get_rng_state())


@pytest.mark.parametrize("arguments", [{"num_probes": 0}, {"num_steps": 0}])
def test_nothing_to_do_is_refused(arguments):
    with pytest.raises(ValueError, match="at least 1"):
        spectral_density(known_spectrum("indefinite", 300), **arguments)
