from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import beta as beta_distribution
from scipy.stats import binom

from landscape.probes.certificate.bounds import (
    delta_at_check,
    kuczynski_wozniakowski_error,
    kuczynski_wozniakowski_lower_bound,
    kuczynski_wozniakowski_steps,
    start_component_quantile,
    van_dorsselaer_lower_bound,
    van_dorsselaer_upper_bound,
)
from landscape.probes.lanczos.krylov import KrylovSpace
from tests.probes.known_spectra import DiagonalOperator

RUNS = 600
STEPS = (2, 4, 7, 12, 20, 35)
DELTAS = (0.05, 0.3)


def exact_quantile(n: int, delta: float) -> float:
    """|gamma|² has the distribution Beta(1/2, (n - 1)/2)."""
    return math.sqrt(beta_distribution.ppf(delta, 0.5, (n - 1) / 2)) if n > 1 else 1.0


@given(n=st.integers(1, 10**7), delta=st.floats(1e-6, 1 - 1e-6))
def test_the_quantile_is_never_larger_than_the_exact_one(n, delta):
    assert start_component_quantile(n, delta) <= exact_quantile(n, delta) * (1 + 1e-9)
    assert 0 < start_component_quantile(n, delta) <= 1


@pytest.mark.parametrize(("n", "given_away"), [(1, 0.0), (2, 0.8), (3, 0.4), (10, 0.1), (1000, 1e-3)])
def test_the_quantile_is_close_to_the_exact_one(n, given_away):
    assert exact_quantile(n, 0.01) <= start_component_quantile(n, 0.01) * (1 + given_away)


@given(
    offsets=st.lists(st.floats(0, 1e3), min_size=1, max_size=40),
    log_betas=st.floats(-12, 3),
    n=st.integers(2, 10**8),
    delta=st.floats(1e-6, 0.5),
    exponent=st.integers(-6, 6),
)
def test_the_bound_solves_its_equation_at_every_scale(offsets, log_betas, n, delta, exponent):
    scale = 10.0**exponent
    theta = np.sort(np.array(offsets)) * scale
    theta -= theta[0]
    betas = np.full(len(theta), 10.0**log_betas * scale)
    distance = -van_dorsselaer_lower_bound(theta, betas, n, delta)
    assert distance > 0
    left = np.log(theta + distance).sum() - np.log(betas).sum()
    assert left == pytest.approx(-math.log(start_component_quantile(n, delta)), rel=1e-9, abs=1e-9)


def random_spectrum(rng: np.random.Generator) -> torch.Tensor:
    """Of one of seven kinds, n between 2 and 400; lambda_min alone, clustered, repeated, or at a dense edge."""
    n = int(rng.integers(2, 400))
    kinds = [
        rng.standard_normal(n),
        rng.uniform(0, 1, n),
        -(rng.uniform(0, 1, n) ** 4),
        np.concatenate([[-5.0], rng.uniform(0, 1, n - 1)]),
        np.concatenate([[-1.0, -1.0 + 1e-3], rng.uniform(-0.5, 20, max(n - 2, 0))]),
        np.repeat([-1.0, 0.0, 3.0], [1 + n // 10, 1 + n // 2, 1 + n // 3]),
        10 ** rng.uniform(-6, 2, n) * rng.choice([-1, 1], n),
    ]
    return torch.as_tensor(kinds[rng.integers(len(kinds))] * 10.0 ** rng.integers(-3, 4), dtype=torch.float64)


def errors_of_a_run(seed: int) -> np.ndarray:
    """For each delta and number of steps, how far each of three bounds is on the wrong side, in units of the spread."""
    rng = np.random.default_rng(seed)
    spectrum = random_spectrum(rng)
    n, low, high = len(spectrum), float(spectrum.min()), float(spectrum.max())
    spread = max(high - low, 1e-300)
    start = torch.randn(n, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
    space = KrylovSpace(DiagonalOperator(spectrum), start)
    rows = []
    for steps in range(1, STEPS[-1] + 1):
        if space.status.name != "RUNNING":
            break
        space.extend()
        if steps not in STEPS and steps > 1:
            continue
        values, couplings = space.ritz().values, space.couplings
        row = []
        for delta in DELTAS:
            lower = van_dorsselaer_lower_bound(values, couplings, n, delta)
            upper = van_dorsselaer_upper_bound(values, couplings, n, delta)
            a_priori = kuczynski_wozniakowski_lower_bound(float(values[0]), float(values[-1]), steps, n, delta)
            row.append([(lower - low) / spread, (high - upper) / spread, (a_priori - low) / spread])
        rows.append(row)
    return np.array(rows)


def test_the_bounds_fail_no_more_often_than_they_say():
    """600 random spectra and starts. A run fails if the bound is wrong at any of its steps: one event a start vector."""
    failures = np.zeros((len(DELTAS), 3))
    for seed in range(RUNS):
        wrong = errors_of_a_run(seed) > 1e-12
        failures[:, :2] += wrong[:, :, :2].any(axis=0)
        # This one's event changes with the steps, so it is asked once: at the last ones.
        failures[:, 2] += wrong[-1, :, 2]
    for delta, counts in zip(DELTAS, failures, strict=True):
        assert (counts <= binom.ppf(1 - 1e-6, RUNS, delta)).all(), (delta, counts)
    # The test can fail: the event does occur, and not much less often than stated.
    assert (failures[-1, :2] > 20).all()


def test_the_bound_from_the_betas_is_tighter_than_that_from_the_number_of_steps():
    """In kind the table of a spectrum with outliers: after 40 steps by a factor of more than ten."""
    generator = torch.Generator().manual_seed(0)
    n = 4000
    spectrum = torch.cat([0.005 * torch.randn(n - 6, generator=generator), torch.tensor([-0.0195, 20, 12, 7, 3, 1])])
    space = KrylovSpace(DiagonalOperator(spectrum.double()), torch.randn(n, generator=generator).double())
    widths = {}
    for steps in range(1, 81):
        space.extend()
        if steps in (10, 20, 40, 80):
            values = space.ritz().values
            tight = van_dorsselaer_lower_bound(values, space.couplings, n, 0.05)
            a_priori = kuczynski_wozniakowski_lower_bound(float(values[0]), float(values[-1]), steps, n, 0.05)
            widths[steps] = (float(values[0]) - tight, float(values[0]) - a_priori)
            assert tight <= -0.0195 + 1e-9
    assert widths[40][0] < widths[40][1] / 10
    assert widths[80][0] < 1e-6
    assert widths[10][0] > widths[20][0] >= widths[40][0] >= widths[80][0]


def test_after_a_breakdown_the_bound_is_the_ritz_value():
    assert van_dorsselaer_lower_bound([1.0, 2.0], [0.5, 0.0], 100, 0.01) == 1.0
    assert van_dorsselaer_upper_bound([1.0, 2.0], [0.5, 0.0], 100, 0.01) == 2.0


def test_nothing_known_and_numbers_that_are_none():
    assert van_dorsselaer_lower_bound([], [], 5, 0.1) == -math.inf
    assert math.isnan(van_dorsselaer_lower_bound([math.nan], [1.0], 5, 0.1))
    assert math.isnan(van_dorsselaer_upper_bound([1.0], [math.inf], 5, 0.1))


def test_tiny_scales_do_not_overflow():
    assert van_dorsselaer_lower_bound([0.0, 1e-300], [1e-300, 1e-310], 100, 0.01) <= 0.0
    assert math.isfinite(van_dorsselaer_lower_bound([0.0, 1e300], [1e300, 1e290], 100, 0.01))


def test_the_number_of_steps_and_the_error_are_inverse_to_each_other():
    for n, delta, error in ((10**6, 0.05, 1e-2), (155_914, 0.01, 1e-2), (50, 0.3, 0.2)):
        steps = kuczynski_wozniakowski_steps(error, n, delta)
        assert kuczynski_wozniakowski_error(steps, n, delta) <= error
        assert steps == 1 or kuczynski_wozniakowski_error(steps - 1, n, delta) > error
    assert [kuczynski_wozniakowski_steps(error, 10**6, 0.05) for error in (1e-2, 1e-3, 1e-4, 1e-6)] == [
        53,
        165,
        521,
        5203,
    ]
    assert kuczynski_wozniakowski_steps(1e-12, 30, 0.05) == 30
    assert kuczynski_wozniakowski_error(30, 30, 0.05) == 0.0
    assert kuczynski_wozniakowski_lower_bound(0.0, 1.0, 2, 10**6, 0.05) == -math.inf


@given(delta=st.floats(1e-9, 0.999))
def test_the_probabilities_of_all_checks_add_up_to_delta(delta):
    total = sum(delta_at_check(delta, number) for number in range(1, 3001))
    assert total <= delta
    assert total == pytest.approx(delta, rel=1e-3)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: start_component_quantile(0, 0.1), "n=0"),
        (lambda: start_component_quantile(5, 0.0), "delta=0.0"),
        (lambda: start_component_quantile(5, math.nan), "delta=nan"),
        (lambda: van_dorsselaer_lower_bound([1.0, 2.0], [1.0], 5, 0.1), "as many betas"),
        (lambda: kuczynski_wozniakowski_error(0, 5, 0.1), "num_steps=0"),
        (lambda: kuczynski_wozniakowski_steps(0.0, 5, 0.1), "error=0.0"),
        (lambda: delta_at_check(0.1, 0), "check_number=0"),
    ],
)
def test_wrong_input_is_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()
