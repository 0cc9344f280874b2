import math

import pytest
import torch
from torch import nn

from landscape.optim.conjugate_gradient import ConjugateGradient
from landscape.problem import Problem
from landscape.testing.problems import logistic_regression, quadratic, saddle
from landscape.tracking.preconditioner import adam_preconditioner
from landscape.tracking.snapshot import Snapshot
from landscape.tracking.trackers import build
from tests.tracking.training import Training, mlp


def quotient(H: torch.Tensor, v: torch.Tensor) -> float:
    return float(v @ H @ v / (v @ v))


def test_curvatures_along_single_directions_match_the_dense_hessian() -> None:
    training = Training()
    gradient_row = training.run(build("gradient-curvature"), epochs=1)[-1]
    H, g = training.hessian(), training.gradient()
    P = adam_preconditioner(training.optimizer, training.problem.layout)
    assert gradient_row["curvature_gradient"] == pytest.approx(quotient(H, g), rel=1e-9)
    adam_row = build("adam-curvature").measure(training.snapshot())
    assert adam_row["curvature_adam"] == pytest.approx(quotient(H, P * g), rel=1e-9)
    assert adam_row["gradient_hessian_adam"] == pytest.approx(float(g @ H @ (P * g)), rel=1e-9)


def test_update_curvature_is_along_the_way_from_the_row_before_measured_or_not() -> None:
    training = Training()
    rows, points = training.run(build("update-curvature:every=3"), epochs=0), []
    for _ in range(3):
        points.append(training.problem.params())
        training.train_epoch()
        rows.append(training.schedule.measure(training.snapshot()))
    assert rows[:3] == [{}, {}, {}]
    expected = quotient(training.hessian(), training.problem.params() - points[-1])
    assert rows[-1] == {"curvature_update": pytest.approx(expected, rel=1e-9)}


def test_the_gauss_newton_gap_matches_dense_matrices() -> None:
    training = Training()
    row = training.run(build("gauss-newton-gap"), epochs=1)[-1]
    H, G, g = training.hessian(), training.gauss_newton(), training.gradient()
    assert row["gauss_newton_gap"] == pytest.approx(float(abs(g @ (H - G) @ g) / (g @ G @ g)), rel=1e-9)


def test_a_problem_made_of_a_closure_says_why_it_has_no_gauss_newton_gap() -> None:
    assert "made from a closure" in build("gauss-newton-gap").unavailable(quadratic(torch.eye(2)).problem)


@pytest.mark.parametrize("num_steps", [1, 3, 6])
def test_trial_conjugate_gradients_meet_the_curvatures_of_the_krylov_space(num_steps) -> None:
    A = torch.diag(torch.tensor([-0.05, 0.5, 1.0, 2.0, 5.0, 9.0]).double())
    b = torch.arange(1.0, 7.0).double()
    problem = quadratic(A, b).problem
    row = build("trial-cg-curvature", num_steps=num_steps, rtol=0.0).measure(Snapshot(problem))
    g = problem.gradient()
    eps = 1e-3 * float((A @ g).norm() / g.norm())
    # The directions of conjugate gradients are those of Gram-Schmidt in the metric of the damped matrix.
    damped, directions, lowest = A + 2 * eps * torch.eye(6).double(), [], []
    vector = -g
    for _ in range(num_steps):
        p = vector - sum((float(vector @ damped @ q) / float(q @ damped @ q) * q for q in directions), 0 * vector)
        directions.append(p)
        lowest.append(quotient(A, p))
        if quotient(damped, p) < eps:
            break
        vector = damped @ p
    assert row["trial_cg_curvature"] == pytest.approx(min(lowest), rel=1e-6)


def test_symmetry_curvature_is_the_least_along_rescalings_of_single_units() -> None:
    training = Training(model=mlp(nn.ReLU))
    row = training.run(build("symmetry-curvature"), epochs=1)[-1]
    H, layout = training.hessian(), training.problem.layout
    curvatures = []
    for unit in range(4):
        direction = torch.zeros_like(training.problem.params())
        weight, bias, out, _ = layout.split(direction)
        weight[unit] = training.model[0].weight[unit].detach()
        bias[unit] = training.model[0].bias[unit].detach()
        out[:, unit] = -training.model[2].weight[:, unit].detach()
        curvatures.append(quotient(H, direction))
    assert row["symmetry_curvature"] == pytest.approx(min(curvatures), rel=1e-9)


def test_without_a_symmetry_the_column_is_absent_and_searched_for_once() -> None:
    training = Training()
    assert training.run(build("symmetry-curvature"), epochs=2) == [{}, {}, {}]
    assert training.schedule.spent["symmetry-curvature"] < 3


def test_extreme_eigenvalues_and_residuals_match_the_dense_hessian() -> None:
    training = Training()
    for row in training.run(build("extreme-eigenvalues:every=1,rtol=1e-6"), epochs=2):
        last = row
    values = torch.linalg.eigvalsh(training.hessian())
    assert last["lambda_min"] == pytest.approx(float(values[0]), rel=1e-5)
    assert last["lambda_max"] == pytest.approx(float(values[-1]), rel=1e-5)
    assert 0 <= last["lambda_max_residual"] < 1e-2 * last["lambda_max"]


def test_a_warm_start_takes_fewer_products() -> None:
    A = torch.diag(torch.cat([torch.tensor([-3.0, 30.0]), torch.linspace(0, 1, 198)])).double()
    problem = quadratic(A).problem
    used = {}
    for warm in (True, False):
        tracker = build("extreme-eigenvalues", every=1, warm_start=warm, rtol=1e-4)
        for epoch in range(2):
            row = tracker.measure(Snapshot(problem, epoch=epoch))
            assert row["lambda_min"] == pytest.approx(-3.0, rel=1e-3)
            assert row["lambda_max"] == pytest.approx(30.0, rel=1e-3)
        used[warm] = tracker.state_dict()["used"]
    assert used[True] < used[False]


def test_negative_masses_match_all_eigenvalues() -> None:
    training = Training()
    training.train_epoch()
    values, vectors = torch.linalg.eigh(training.hessian())
    share = float((values < -1e-3 * values[-1]).double().mean())
    row = build("negative-mass:num_probes=2,num_steps=30").measure(training.snapshot())
    assert row["negative_mass"] == pytest.approx(share, abs=1e-12)
    weights = (vectors.T @ training.gradient()).square()
    row = build("gradient-negative-mass", num_steps=training.problem.num_params).measure(training.snapshot())
    assert row["gradient_negative_mass"] == pytest.approx(float(weights[values < 0].sum() / weights.sum()), abs=1e-6)


def test_preconditioned_sharpness_is_the_rate_times_the_top_eigenvalue_in_adams_metric() -> None:
    training = Training(lr=0.03)
    rows = training.run(build("preconditioned-sharpness:every=1,rtol=1e-6"))
    P = adam_preconditioner(training.optimizer, training.problem.layout)
    S = P.sqrt().diag()
    top = float(torch.linalg.eigvalsh(S @ training.hessian() @ S)[-1])
    assert rows[0] == {}
    assert rows[-1]["preconditioned_sharpness"] == pytest.approx(0.03 * top, rel=1e-5)


def test_certificates_enclose_lambda_min_and_share_their_probability() -> None:
    training = Training()
    rows = training.run(build("certificate:every=1,delta=0.1"), epochs=2)
    lambda_min = float(torch.linalg.eigvalsh(training.hessian())[0])
    assert rows[-1]["certificate_lower"] <= lambda_min <= rows[-1]["certificate_upper"] + 1e-12
    deltas = [row["certificate_delta"] for row in rows]
    assert deltas == pytest.approx([6 * 0.1 / (math.pi * t) ** 2 for t in (1, 2, 3)])


def test_certificates_tell_convex_from_not_convex() -> None:
    verdicts = [
        build("certificate").measure(Snapshot(known.problem))["certificate"]
        for known in (logistic_regression(), saddle())
    ]
    assert verdicts == ["ABOVE", "NEGATIVE"]


def test_a_symmetry_certifies_from_the_gradient_alone() -> None:
    training = Training(model=mlp(nn.ReLU))
    training.problem.verify()
    tracker, snapshot = build("certificate"), training.snapshot()
    assert snapshot.gradient_cost == 1.0
    before = training.problem.cost.hessian_products
    row = tracker.measure(snapshot)
    lambda_min = float(torch.linalg.eigvalsh(training.hessian())[0])
    assert (row["certificate"], row["certificate_lower"]) == ("NEGATIVE", -math.inf)
    assert lambda_min <= row["certificate_upper"] < 0
    assert training.problem.cost.hessian_products == before


def test_nothing_is_computed_of_a_point_that_is_not_finite() -> None:
    training = Training()
    training.problem.set_params(torch.full_like(training.problem.params(), math.nan))
    for name in ("gradient-curvature", "extreme-eigenvalues", "negative-mass", "race", "gradient-variance"):
        row = build(name).measure(training.snapshot())
        assert row
        assert all(math.isnan(value) for value in row.values())
    assert training.problem.cost.gradient_equivalents == 0


def test_a_zero_gradient_has_no_curvature() -> None:
    problem = quadratic(torch.eye(3).double(), params=torch.zeros(3).double()).problem
    for name in ("gradient-curvature", "gradient-negative-mass", "trial-cg-curvature", "model-agreement"):
        assert all(math.isnan(value) for value in build(name).measure(Snapshot(problem)).values())


# -- paths and references ---------------------------------------------------------------------------------------


def test_path_trackers_match_formulas_over_the_checkpoints() -> None:
    trackers = {name: build(name) for name in ("secant-curvature", "lower-bound-gap", "segment-second-difference")}
    training, visited, row = Training(), [], {}
    for _ in range(7):
        visited.append(training.problem.params())
        row = {k: v for tracker in trackers.values() for k, v in tracker.measure(training.snapshot()).items()}
        training.train_epoch()
    kept = visited[-5:]
    losses, gradients = [float(training.loss_at(x)) for x in kept], [training.gradient(x) for x in kept]
    step = kept[-1] - kept[-2]
    assert row["secant_curvature"] == pytest.approx(float((gradients[-1] - gradients[-2]) @ step / (step @ step)))
    gaps = [
        losses[y] - losses[x] - float(gradients[x] @ (kept[y] - kept[x])) for x in range(5) for y in range(5) if x != y
    ]
    assert row["lower_bound_gap"] == pytest.approx(min(gaps), rel=1e-8, abs=1e-14)
    along = [float(training.loss_at(kept[-2] + share * step)) for share in (0, 0.25, 0.5, 0.75, 1)]
    differences = [along[i - 1] - 2 * along[i] + along[i + 1] for i in (1, 2, 3)]
    assert row["segment_second_difference"] == pytest.approx(min(differences), rel=1e-6)


def test_a_reference_point_may_be_a_vector_a_state_dict_or_a_file(tmp_path) -> None:
    training = Training()
    reference = training.problem.params()
    state = {name: value.clone() for name, value in training.model.state_dict().items()}
    torch.save(state, tmp_path / "end.pt")
    training.train_epoch()
    away, g = training.problem.params() - reference, training.gradient()
    expected = {
        "reference_gap": float(training.loss_at(training.problem.params()) - training.loss_at(reference) - g @ away),
        "restricted_secant": float(g @ away / (away @ away)),
        "error_bound": float(g.norm() / away.norm()),
    }
    made = [build("reference-point", point=p) for p in (reference, state, str(tmp_path / "end.pt"))]
    for tracker in made:
        assert tracker.measure(training.snapshot()) == pytest.approx(expected, rel=1e-9)
    assert repr(made[1]) == repr(made[2]) != repr(build("reference-point", point=reference + 1))


def test_without_a_fitting_reference_point_the_reason_is_told() -> None:
    problem = Training().problem
    assert "no reference point was given" in build("reference-point").unavailable(problem)
    assert "does not fit" in build("reference-point", point=torch.zeros(3)).unavailable(problem)
    with pytest.raises(ValueError, match="point holds a list"):
        build("reference-point", point=[1.0])


# -- the second phase, tried ------------------------------------------------------------------------------------


def taken_for_real(training: Training, num_steps: int) -> tuple[list[float], ConjugateGradient, Problem]:
    """Conjugate gradients on a model of their own, with what the first phase knows."""
    twin = Training()
    twin.problem.set_params(training.problem.params())
    optimizer, losses = ConjugateGradient(twin.problem.parameters), [float(twin.problem.loss())]
    optimizer.take_over(training.optimizer, training.problem.parameters)
    twin.problem.cost.load_state_dict(training.problem.cost.copy().since(training.problem.cost).state_dict())
    for _ in range(num_steps):
        optimizer.step(twin.problem.closure())
        losses.append(optimizer.last.loss)
    return losses, optimizer, twin.problem


def test_the_race_is_what_the_second_phase_would_have_done_at_that_price() -> None:
    training = Training()
    training.train_epoch()
    row = build("race").measure(training.snapshot())
    losses, _, problem = taken_for_real(training, 5)
    assert row["race_rate"] == pytest.approx((losses[0] - losses[-1]) / problem.cost.gradient_equivalents, rel=1e-9)


def test_model_agreement_compares_the_trial_step_with_the_quadratic_model() -> None:
    training = Training()
    training.train_epoch()
    row = build("model-agreement").measure(training.snapshot())
    losses, _, problem = taken_for_real(training, 1)
    s, H, g = problem.params() - training.problem.params(), training.hessian(), training.gradient()
    foretold = float(-g @ s - s @ H @ s / 2)
    assert row["model_agreement"] == pytest.approx((losses[0] - losses[1]) / foretold, rel=1e-8)


def test_the_models_own_optimizer_and_steps_are_shared_by_trial_trackers() -> None:
    training = Training()
    snapshot = training.snapshot(second=lambda params: ConjugateGradient(params, "fr"))
    assert build("trial-search").measure(snapshot) == {"trial_search": 1}
    before = training.problem.cost.copy()
    build("race:num_steps=3").measure(snapshot)
    assert training.problem.cost.since(before).gradients == pytest.approx(2.0)
    assert snapshot.trial()._optimizer.param_groups[0]["beta"] == "fr"


def test_an_optimizer_that_tells_of_no_line_search_can_race_but_not_be_tried() -> None:
    snapshot = Training().snapshot(second=lambda params: torch.optim.LBFGS(params, lr=0.1, max_iter=2))
    assert build("trial-search").measure(snapshot) == {}
    assert build("race:num_steps=2").measure(snapshot)["race_rate"] > 0


def test_the_first_phases_rate_is_over_its_window_and_ends_with_it() -> None:
    training, tracker = Training(), build("first-phase-rate:window=2")
    losses = []
    for _ in range(4):
        losses.append(float(training.loss_at(training.problem.params())))
        row = tracker.measure(training.snapshot())
        training.train_epoch()
    assert row["first_phase_rate"] == pytest.approx((losses[1] - losses[3]) / 2, rel=1e-9)
    second = training.snapshot(phase="second")
    assert tracker.measure(second) == {}
    tracker.after_row(second)
    assert tracker.measure(training.snapshot()) == {}
