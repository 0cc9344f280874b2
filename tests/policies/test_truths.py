"""The identities that policies rest on, on flows and processes whose truth is computed beside them."""

from __future__ import annotations

import numpy as np
import pytest

from landscape import policies as p
from tests.policies.histories import first_firing, history_of


def saddle_flow(curvatures, start, times, preconditioner=1.0):
    """Preconditioned gradient flow x' = -P H x on a quadratic, in closed form: position, loss, norms, curvatures.

    H and P are diagonal; a negative curvature makes the norm grow along its direction.
    """
    h, pre = np.array(curvatures), np.broadcast_to(preconditioner, len(curvatures))
    x = np.array(start) * np.exp(-np.outer(times, pre * h))
    g = x * h
    return {
        "loss": 0.5 * (x * g).sum(1),
        "gradient_norm": np.sqrt((g * g).sum(1)),
        "gradient_norm_adam": np.sqrt((g * pre * g).sum(1)),
        "curvature_gradient": (g * h * g).sum(1) / (g * g).sum(1),
        "curvature_adam": ((pre * g) * h * (pre * g)).sum(1) / (pre * pre * g * g).sum(1),
    }


def bump_flow(num_steps=400, step=0.01, preconditioner=1.0):
    """Flow down f(x) = sum 1 - cos(x_i) from near the top: non-convex first, convex later."""
    x, pre, rows = np.array([2.9, 2.0]), np.broadcast_to(preconditioner, 2), []
    for _ in range(num_steps):
        g, h = np.sin(x), np.cos(x)
        q = pre * g
        rows.append(
            ((1 - np.cos(x)).sum(), np.sqrt(g @ g), np.sqrt(g @ q), (g * h) @ g / (g @ g), (q * h) @ q / (q @ q))
        )
        x = x - step * q
    names = ("loss", "gradient_norm", "gradient_norm_adam", "curvature_gradient", "curvature_adam")
    return {name: [float(row[i]) for row in rows] for i, name in enumerate(names)}


def sign_change(values):
    """The epoch (from 1) of the first positive value."""
    return next(epoch for epoch, value in enumerate(values, start=1) if value > 0)


def test_with_a_factor_of_one_the_peak_is_the_sign_change_of_the_curvature_along_the_gradient():
    """d|g|^2/dL = 2 g'Hg/g'g under gradient flow: the norm turns where the curvature does, within one step."""
    flow = bump_flow()
    turning = sign_change(flow["curvature_gradient"])
    assert 20 < turning < 380
    assert abs(first_firing(p.GradientNormPeak(factor=1.0), history_of(**flow)) - turning) <= 1


def test_the_dual_norm_peaks_where_the_curvature_along_adams_direction_turns():
    """d(g'Pg)/dt = -2 (Pg)'H(Pg) under x' = -Pg; the plain norm turns elsewhere."""
    flow = bump_flow(preconditioner=np.array([1.0, 0.4]))
    turning = sign_change(flow["curvature_adam"])
    history = history_of(**flow)
    assert abs(first_firing(p.DualNormPeak(factor=1.0), history) - turning) <= 1
    assert abs(first_firing(p.GradientNormPeak(factor=1.0), history) - turning) > 5


@pytest.mark.parametrize(("norm", "curvature"), [("full", "curvature_gradient")])
def test_half_the_slope_is_the_curvature_along_the_gradient(norm, curvature):
    times = np.linspace(0.5, 0.5001, 3)
    flow = saddle_flow([2.0, -0.5], [1.0, 0.3], times)
    decision = p.GradientNormSlope(3, norm=norm).decide(history_of(**{k: v.tolist() for k, v in flow.items()}))
    assert decision.evidence["curvature"] == pytest.approx(flow[curvature][1], rel=1e-3)
    assert decision.swap == (flow[curvature][1] > 0)


def test_half_the_adam_slope_is_the_curvature_along_adams_step_in_its_own_metric():
    preconditioner, times = np.array([0.5, 4.0]), np.linspace(0.5, 0.5001, 3)
    flow = saddle_flow([2.0, -0.5], [1.0, 0.3], times, preconditioner)
    history = history_of(**{name: values.tolist() for name, values in flow.items()})
    decision = p.GradientNormSlope(3, norm="adam").decide(history)
    h = np.array([2.0, -0.5])
    g = np.array([1.0, 0.3]) * np.exp(-times[1] * preconditioner * h) * h
    q = preconditioner * g
    assert decision.evidence["curvature"] == pytest.approx((q * h) @ q / (g @ q), rel=1e-3)


def momentum_descent(num_epochs, rate, momentum, start, seed=0, steps=200):
    """SGD with momentum on x^2/2 + noise: the epoch means that the stationarity tests read."""
    generator = np.random.default_rng(seed)
    x, v = np.full(20, start), np.zeros(20)
    dots, squares = [], []
    for _ in range(num_epochs):
        sums = np.zeros(2)
        for _ in range(steps):
            g = x + generator.normal(size=20)
            v = momentum * v - rate * g
            sums += x @ g, v @ v
            x = x + v
        dots.append(float(sums[0] / steps))
        squares.append(float(sums[1] / steps))
    columns = {"position_dot_gradient": dots, "update_square": squares, "learning_rate": [rate] * num_epochs}
    return history_of(**columns)


@pytest.mark.parametrize("momentum", [0.0, 0.5, 0.9])
def test_yaidas_relation_holds_in_the_stationary_state_and_not_on_the_way_there(momentum):
    policy = p.YaidaTest(momentum=momentum, window=20, delta=0.1)
    stationary = momentum_descent(40, 0.05, momentum, start=0.0)
    travelling = momentum_descent(40, 1e-5, momentum, start=50.0)
    assert policy.decide(stationary).swap
    assert not policy.decide(travelling).swap


def test_yaidas_test_with_the_wrong_momentum_is_not_passed():
    assert not p.YaidaTest(momentum=0.9, window=20, delta=0.1).decide(momentum_descent(40, 0.05, 0.0, 0.0)).swap


def test_the_slope_of_the_distance_sees_a_random_walk_off_and_a_stationary_state():
    generator = np.random.default_rng(0)
    steps = generator.normal(size=(400, 500))
    walk = np.linalg.norm(np.cumsum(steps, axis=0), axis=1)
    decision = p.DistanceSlope().decide(history_of(distance_from_start=walk.tolist()))
    assert decision.score == pytest.approx(1.0, abs=0.15) and not decision.swap
    around = np.linalg.norm(3.0 + generator.normal(size=(400, 500)), axis=1)
    decision = p.DistanceSlope().decide(history_of(distance_from_start=around.tolist()))
    assert decision.score == pytest.approx(0.0, abs=0.15) and decision.swap


def test_the_noise_scale_is_variance_over_squared_gradient():
    """Averages are taken before the quotient: noise in the squared norm does not bias it."""
    generator = np.random.default_rng(0)
    squared = 0.5 + 0.4 * generator.normal(size=50)
    columns = {
        "gradient_variance": [30.0] * 50,
        "gradient_norm_squared_unbiased": squared.tolist(),
        "dataset_size": [50] * 50,
    }
    decision = p.NoiseScale(window=50).decide(history_of(**columns))
    assert decision.score == pytest.approx(30.0 / squared.mean())
    assert decision.swap == (30.0 / squared.mean() > 50)


def test_the_regressions_interval_keeps_its_level():
    """On pure noise the lower end of a 90 % interval is above the true slope in a tenth of the cases."""
    from landscape.policies.slope import slope_and_lower_end

    generator = np.random.default_rng(0)
    x = np.linspace(0, 1, 12)
    above = sum(slope_and_lower_end(x, 2 * x + generator.normal(size=12), 0.9)[1] > 2 for _ in range(2000))
    assert above / 2000 == pytest.approx(0.1, abs=4 * (0.09 / 2000) ** 0.5)


def test_slope_and_interval_are_those_of_a_textbook_regression():
    from scipy.stats import linregress, t

    from landscape.policies.slope import slope_and_lower_end

    generator = np.random.default_rng(1)
    x, y = generator.normal(size=7), generator.normal(size=7)
    reference = linregress(x, y)
    expected = (reference.slope, reference.slope - t.ppf(0.95, 5) * reference.stderr)
    assert slope_and_lower_end(x, y, 0.95) == pytest.approx(expected)
