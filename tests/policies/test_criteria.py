"""Every criterion on histories whose answer is known by hand: the epoch at which it fires, and a near miss."""

from __future__ import annotations

import math

import pytest

from landscape import policies as p
from landscape.tracking.history import History
from tests.policies.histories import fires_at, first_firing, history_of

N, NAN = None, math.nan


def layers(a, b):
    ones = [1.0] * len(a)
    return {"gradient_norm/a": a, "gradient_norm/b": b, "parameter_norm/a": ones, "parameter_norm/b": ones}


def spectrum(low, residual=0.0, high=10.0):
    return {"lambda_min": low, "lambda_min_residual": [residual] * len(low), "lambda_max": [high] * len(low)}


def certificates(verdicts, lower, delta):
    return {"certificate": verdicts, "certificate_lower": lower, "certificate_delta": delta}


def noise(variance, squared, size=100):
    return {
        "gradient_variance": variance,
        "gradient_norm_squared_unbiased": squared,
        "dataset_size": [size] * len(variance),
    }


def stationary(dots, update_square, rate=0.1):
    columns = {"position_dot_gradient": dots, "update_square": [update_square] * len(dots)}
    return {**columns, "learning_rate": [rate] * len(dots)}


def run_of(shares, steps_per_ge, budget=100.0):
    """A first phase without probes that has spent these shares of its budget."""
    spent = [share * budget for share in shares]
    return {"spent_share": shares, "gradient_equivalents": spent, "step": [round(steps_per_ge * x) for x in spent]}


# policy, columns from epoch 1 on, the epoch at which it first fires (None: never)
CASES = [
    # schedule
    (p.Never(), {"loss": [1.0, 1.0]}, None),
    (p.AfterEpochs(2), {"loss": [1.0, 1.0, 1.0]}, 2),
    (p.AfterEpochs(4), {"loss": [1.0, 1.0, 1.0]}, None),
    (p.BudgetShare(10, 0.3), {"gradient_equivalents": [1.0, 2.0, 3.0]}, 3),
    (p.BudgetShare(10, 0.3), {"gradient_equivalents": [1.0, 2.0, 2.99]}, None),
    (p.BudgetShare(share=0.3), {"spent_share": [0.1, 0.2, 0.3]}, 3),
    # a step costs 4/3 GE: four updates of a phase with three to a GE, as many as count as few; then one with four to a GE
    (p.StepPrice(), run_of([0.04, 0.05], steps_per_ge=3), 2),
    (p.StepPrice(), run_of([0.1, 0.59, 0.6], steps_per_ge=4), 3),
    (p.StepPrice(steps=5.4), run_of([0.1, 0.6], steps_per_ge=4), 1),
    (p.StepPrice(), run_of([0.1, 0.6, 0.9], steps_per_ge=4, budget=70), None),  # 28 GE are left at 0.6
    (p.StepPrice(min_left=28), run_of([0.1, 0.6, 0.9], steps_per_ge=4, budget=70), 2),
    # loss
    (p.LossPlateau(2, 0.1), {"loss": [4.0, 2.0, 1.9, 1.85]}, 4),
    (p.LossPlateau(2, 0.1), {"loss": [4.0, 2.0, 1.9, 1.79]}, None),
    (p.LossPlateau(1, 0.0), {"loss": [1.0, 0.9, 0.95]}, 3),
    (p.LossPlateau(1, 0.1), {"loss": [0.0, 0.0]}, None),
    (p.LossPlateau(1, 0.1, "loss_running"), {"loss_running": [1.0, N, 0.95]}, 3),
    # gradient norm
    (p.GradientNormPeak(), {"gradient_norm": [1.0, 2.0, 1.8]}, 3),
    (p.GradientNormPeak(), {"gradient_norm": [1.0, 2.0, 1.81]}, None),
    (p.DualNormPeak(), {"gradient_norm_adam": [1.0, 2.0, 1.8]}, 3),
    (p.DualNormPeak(), {"gradient_norm_adam": [1.0, 2.0, 1.81]}, None),
    (p.DualNormPeak(factor=1.0), {"gradient_norm_adam": [1.0, 2.0, 2.0, 1.99]}, 4),
    (p.DualNormPeak(require_rise=True), {"gradient_norm_adam": [3.0, 1.0, 2.0, 1.0]}, 4),
    # y = 1 + 2x without error: slope 2 exactly; then falling loss with rising norm
    (p.GradientNormSlope(3), {"loss": [3.0, 2.0, 1.0], "gradient_norm": [7**0.5, 5**0.5, 3**0.5]}, 3),
    (p.GradientNormSlope(3), {"loss": [3.0, 2.0, 1.0], "gradient_norm": [1.0, 2.0, 3.0]}, None),
    # slope 1.5, residuals (.5, -1, .5): error .87, t quantile 6.3 at one degree of freedom
    (p.GradientNormSlope(3), {"loss": [3.0, 2.0, 1.0], "gradient_norm": [2.0, 1.0, 1.0]}, None),
    (p.GradientNormSlope(3), {"loss": [1.0, 1.0, 1.0], "gradient_norm": [3.0, 2.0, 1.0]}, None),
    (p.GradientNormSlope(3, norm="adam"), {"loss": [3.0, 2.0, 1.0], "gradient_norm_adam": [3.0, 2.0, 1.0]}, 3),
    (p.ScaleFreePeak(), {"gradient_norm": [1.0, 2.0, 1.0], "parameter_norm": [1.0, 1.0, 1.8]}, 3),
    (p.ScaleFreePeak(), {"gradient_norm": [1.0, 2.0, 1.0], "parameter_norm": [1.0, 1.0, 1.82]}, None),
    (p.LayerwisePeak(share=1.0), layers([1.0, 2.0, 1.0, 1.0], [1.0, 2.0, 3.0, 2.0]), 4),
    (p.LayerwisePeak(share=0.5), layers([1.0, 2.0, 1.0, 1.0], [1.0, 2.0, 3.0, 2.0]), 3),
    (p.LayerwisePeak(share=0.51), layers([1.0, 2.0, 1.0], [1.0, 2.0, NAN]), None),
    # the step: gammas 0.5, 0.5 agree; 0.5, 0.6 do not; one with p'g = 0 does not count
    (p.Swats(), {"step_dot_step": [0.5, 0.25], "step_dot_gradient": [-1.0, -0.5]}, 2),
    (p.Swats(), {"step_dot_step": [0.5, 0.3], "step_dot_gradient": [-1.0, -0.5]}, None),
    (p.Swats(tolerance=0.06), {"step_dot_step": [0.5, 0.3], "step_dot_gradient": [-1.0, -0.5]}, 2),
    (p.Swats(), {"step_dot_step": [0.5, 0.5, 0.25], "step_dot_gradient": [-1.0, 0.0, -0.5]}, 3),
    # noise: the means over two epochs decide, so 30/0.3 = 100 is not above 100 and 31/0.3 is
    (p.NoiseScale(window=2), noise([20.0, 40.0], [0.2, 0.4]), None),
    (p.NoiseScale(window=2), noise([20.0, 42.0], [0.2, 0.4]), 2),
    (p.NoiseScale(window=1), noise([20.0, 20.0], [0.5, -0.1]), 2),
    (p.NoiseScale(window=1), noise([0.0], [0.0]), None),
    (p.NormTest(theta=0.5, checks=2), {"norm_test_ratio": [0.3, 0.2, 0.26, 0.3]}, 4),
    (p.NormTest(theta=0.5, checks=2), {"norm_test_ratio": [0.3, 0.25, 0.3]}, None),
    (p.NormTest(0.5, "inner-product", 1), {"inner_product_test_ratio": [0.2, 0.26]}, 2),
    (p.Evidence(2), {"evidence": [0.1, -0.1, 0.1, N, 0.1]}, 5),
    (p.Evidence(2), {"evidence": [0.1, NAN, 0.1]}, None),
    # stationarity
    (p.PflugTest(1), {"gradient_autocorrelation": [-9.0, 1.0, -0.9, -0.2]}, 4),
    (p.PflugTest(1), {"gradient_autocorrelation": [-9.0, 1.0, -0.9, -0.05]}, None),
    (p.PflugTest(0), {"gradient_autocorrelation": [NAN, -1.0]}, None),
    # (1 + b) / (2 rate) * 0.1 = 0.95 at momentum 0.9
    (p.YaidaTest(window=3), stationary([5.0, 0.95, 0.95, 0.95], 0.1), 4),
    (p.YaidaTest(window=3), stationary([0.85] * 3, 0.1), None),
    (p.YaidaTest(window=3), stationary([0.5, 1.4, 0.95], 0.1), None),
    (p.YaidaTest(momentum=0.0, window=3), stationary([0.5] * 3, 0.1), 3),
    (p.DistanceSlope(), {"distance_from_start": [1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 6.0, 6.0, 6.0]}, 9),
    (p.DistanceSlope(), {"distance_from_start": [float(t) for t in range(1, 12)]}, None),
    (p.DistanceSlope(), {"distance_from_start": [1.0, 1.0, 1.0, 1.0]}, None),
    # curvature along directions
    (p.DirectionalCurvature(checks=2), {"curvature_gradient": [1.0, -1.0, 1.0, 1.0]}, 4),
    (p.DirectionalCurvature(checks=2), {"curvature_gradient": [1.0, 0.0, 1.0, NAN, 1.0]}, None),
    (p.DirectionalCurvature("update", checks=1), {"curvature_update": [-1.0, 0.1]}, 2),
    (p.DirectionalCurvature("adam", 0.5, 1), {"curvature_adam": [0.5, 0.6]}, 2),
    (p.ModelAgreement(checks=2), {"model_agreement": [0.74, 0.75, 1.25]}, 3),
    (p.ModelAgreement(checks=2), {"model_agreement": [0.75, 1.26, 1.0, 0.74]}, None),
    (p.GaussNewtonShare(checks=2), {"gauss_newton_gap": [0.2, 0.1, 0.05]}, 3),
    (p.GaussNewtonShare(checks=2), {"gauss_newton_gap": [0.2, 0.1, 0.11]}, None),
    (p.TrialCurvature(), {"trial_cg_curvature": [-0.1, 0.0]}, 2),
    (p.TrialCurvature(eps=0.1), {"trial_cg_curvature": [-0.11, -0.1]}, 2),
    # path
    (p.MonotoneGradient(checks=2), {"secant_curvature": [N, -0.1, 0.0, 0.1]}, 4),
    (p.MonotoneGradient(mu=0.1, checks=2), {"secant_curvature": [0.1, 0.09, 0.2]}, None),
    (p.NoPathWitness(checks=2), {"lower_bound_gap": [-1.0, 0.0, 0.1]}, 3),
    (p.NoPathWitness(slack=0.01, checks=1), {"lower_bound_gap": [-0.011, -0.01]}, 2),
    (p.NoPathWitness(checks=1), {"lower_bound_gap": [-1e-9]}, None),
    (p.SegmentConvexity(checks=2), {"segment_second_difference": [-1.0, 0.1, 0.2]}, 3),
    (p.SegmentConvexity(checks=2), {"segment_second_difference": [0.1, -0.1, 0.2]}, None),
    # towards a reference
    (p.ReferenceConvexity(window=2), {"reference_gap": [0.4, 0.2, -0.2]}, 3),
    (p.ReferenceConvexity(window=2), {"reference_gap": [0.4, 0.2, -0.1]}, None),
    (p.RestrictedSecant(window=2), {"restricted_secant": [-0.1, 0.2, 0.2], "error_bound": [1.0, 0.4, 0.4]}, 3),
    (p.RestrictedSecant(window=2), {"restricted_secant": [0.1, 0.2], "error_bound": [0.4, 0.4]}, None),
    (p.RestrictedSecant(window=2), {"restricted_secant": [0.0, 0.0], "error_bound": [0.4, 0.4]}, None),
    # |g|^2 / 2f = 1, then 0.91 and 0.89 of it
    (p.PLRatio(window=2), {"gradient_norm": [1.0, 0.91**0.5], "loss": [0.5, 0.5]}, 2),
    (p.PLRatio(window=2), {"gradient_norm": [1.0, 0.89**0.5], "loss": [0.5, 0.5]}, None),
    (p.PLRatio(minimum=0.4, window=2), {"gradient_norm": [1.0, 1.0], "loss": [0.5, 0.4]}, None),
    # trials
    (p.TrialSearch(2), {"trial_search": [1, 0, 1, 1]}, 4),
    (p.TrialSearch(2), {"trial_search": [1, 0, 1, 0]}, None),
    (p.Race(), {"race_rate": [0.1, 0.3], "first_phase_rate": [0.2, 0.2]}, 2),
    (p.Race(factor=2.0), {"race_rate": [0.1, 0.4], "first_phase_rate": [0.2, 0.2]}, None),
    (p.Race(), {"race_rate": [-0.1, 0.0], "first_phase_rate": [-0.2, -0.2]}, None),
    # spectrum
    (p.EigenvalueRatio(0.01), spectrum([-1.0, -0.1, 0.0]), 2),
    (p.EigenvalueRatio(0.01), spectrum([-1.0, -0.1, -0.1], residual=0.001), None),
    (p.EigenvalueRatio(0.01), spectrum([-1.0, -1.0], high=-0.5), None),
    (p.NegativeMass(0.05, 2), {"negative_mass": [0.5, 0.04, 0.04]}, 3),
    (p.NegativeMass(0.05, 2), {"negative_mass": [0.04, 0.05, 0.04]}, None),
    (p.GradientNegativeMass(0.01, 1), {"gradient_negative_mass": [0.01, 0.009]}, 2),
    (p.EdgeOfStability(checks=1), {"preconditioned_sharpness": [37.9, 38.1]}, 2),
    (p.EdgeOfStability(beta1=0.0, checks=1), {"preconditioned_sharpness": [1.99, 2.0]}, 2),
    (p.NoSymmetryWitness(), {"symmetry_curvature": [-0.1, 0.0]}, 2),
    (p.NoSymmetryWitness(), {"symmetry_curvature": [-0.1, -1e-9]}, None),
    (p.Certified(), certificates(["NEGATIVE", "UNDECIDED", "ABOVE"], [-9.0, -1.0, -0.1], [0.01] * 3), 3),
    (p.Certified(eps=0.1), certificates(["ABOVE", "ABOVE"], [-0.11, -0.1], [0.01] * 2), 2),
    (p.Certified(), certificates(["ABOVE"], [NAN], [0.01]), None),
    (p.Certified(), certificates(["ABOVE"], [-math.inf], [0.01]), None),
    # three checks at 0.02 may err with 0.06 together
    (p.Certified(), certificates(["UNDECIDED", "UNDECIDED", "ABOVE"], [-1.0, -1.0, -0.1], [0.02] * 3), None),
    # precision: a change of 1e-6 against ten times 1e-7
    (p.PrecisionSuffices(window=1), {"loss": [1.0, 1.0 - 1e-7, 0.999], "rounding_floor": [1e-7] * 3}, 3),
    (p.PrecisionSuffices(window=1), {"loss": [1.0, 1.0], "rounding_floor": [0.0] * 2}, None),
]


@pytest.mark.parametrize(("policy", "columns", "epoch"), CASES, ids=lambda value: str(value)[:60])
def test_it_fires_exactly_where_it_should(policy, columns, epoch):
    assert first_firing(policy, history_of(**columns)) == epoch


def test_every_policy_is_in_the_table_with_a_yes_and_a_no():
    """SearchFailures, which watches the second phase, has tests of its own."""
    fired = {type(policy) for policy, _, epoch in CASES if epoch is not None}
    missed = {type(policy) for policy, _, epoch in CASES if epoch is None or epoch > 1}
    needed = {"after-epochs": {"epochs": 3}, "budget-share": {"budget": 1.0}}
    classes = {type(p.build(name, **needed.get(name, {}))) for name in p.names()}
    classes = {cls for cls in classes if cls.__module__.startswith("landscape") and cls is not p.FunctionPolicy}
    assert classes - {p.SearchFailures} == missed
    assert classes - {p.SearchFailures, p.Never} == fired


# One value in each setting that is out of range, and what the message must hold
REFUSED = [
    (p.BudgetShare, {"budget": 0}, "budget=0"),
    (p.StepPrice, {"steps": 0}, "steps=0"),
    (p.StepPrice, {"late": 1.5}, r"late=1.5.*\(0, 1\]"),
    (p.StepPrice, {"min_left": -1}, "min_left=-1"),
    (p.BudgetShare, {"budget": 1, "share": 1.5}, r"share=1.5.*\(0, 1\]"),
    (p.LossPlateau, {"window": 0}, "window=0 was given; it must be at least 1"),
    (p.LossPlateau, {"loss": "acc"}, "loss='acc'.*'loss', 'loss_running'"),
    (p.DualNormPeak, {"factor": 2.0}, "factor=2.0"),
    (p.GradientNormSlope, {"window": 2}, "window=2"),
    (p.GradientNormSlope, {"confidence": 1.0}, "confidence=1.0.*between 0.5 and 1"),
    (p.LayerwisePeak, {"share": 0.0}, "share=0.0"),
    (p.Swats, {"beta2": 1.0}, "beta2=1.0"),
    (p.NoiseScale, {"share": math.inf}, "share=inf"),
    (p.NormTest, {"test": "t"}, "test='t'.*'norm', 'inner-product'"),
    (p.YaidaTest, {"momentum": 1.0}, "momentum=1.0"),
    (p.DistanceSlope, {"q": 1.0}, "q=1.0"),
    (p.DirectionalCurvature, {"along": "x"}, "along='x'.*'gradient', 'update', 'adam'"),
    (p.DirectionalCurvature, {"checks": 0}, "checks=0"),
    (p.ModelAgreement, {"tolerance": 1.0}, "tolerance=1.0"),
    (p.TrialCurvature, {"eps": -1.0}, "eps=-1.0"),
    (p.PLRatio, {"slack": 1.0}, "slack=1.0"),
    (p.Race, {"factor": math.nan}, "factor=nan"),
    (p.EdgeOfStability, {"beta1": 1.0}, "beta1=1.0"),
    (p.Certified, {"delta": 0.0}, "delta=0.0"),
    (p.Certified, {"eps": -1e-3}, "eps=-0.001"),
]


@pytest.mark.parametrize(("policy", "settings", "message"), REFUSED)
def test_a_setting_out_of_range_is_refused(policy, settings, message):
    with pytest.raises(ValueError, match=message):
        policy(**settings)


def test_after_a_swap_back_every_signal_counts_afresh():
    """The rows before a swap were walked by another optimiser, or from another start."""
    before = list(history_of(curvature_gradient=[1.0, 1.0, 1.0]))
    second = list(history_of(phase="second", first_epoch=4, curvature_gradient=[1.0]))
    after = list(history_of(first_epoch=5, curvature_gradient=[1.0, 1.0, 1.0]))
    policy, rows = p.DirectionalCurvature(checks=3), [*before, *second, *after]
    assert fires_at(policy, History(rows)) == [3, 7]


def test_a_phase_after_a_swap_back_has_its_share_of_the_budget_again():
    first = list(history_of(gradient_equivalents=[1.0, 2.0]))
    second = list(history_of(phase="second", first_epoch=3, gradient_equivalents=[5.0]))
    again = list(history_of(first_epoch=4, gradient_equivalents=[6.0, 7.0]))
    policy, rows = p.BudgetShare(10, 0.2), [*first, *second, *again]
    assert [policy.decide(History(rows[:n])).swap for n in (2, 3, 5, 6)] == [False, True, False, True]


def test_a_certificate_pays_for_the_checks_of_earlier_phases_too():
    first = list(history_of(**certificates(["UNDECIDED"], [-1.0], [0.03])))
    second = list(history_of(phase="second", first_epoch=2, loss=[1.0]))
    again = list(history_of(first_epoch=3, **certificates(["ABOVE"], [-0.1], [0.03])))
    decision = p.Certified(delta=0.05).decide(History([*first, *second, *again]))
    assert not decision.swap and "0.06 together, more than 0.05" in decision.reason


@pytest.mark.parametrize("checks", [1, 10, 1000])
def test_deltas_of_any_number_of_checks_stay_within_delta(checks):
    assert sum(p.delta_at(check, 0.05) for check in range(1, checks + 1)) <= 0.05
