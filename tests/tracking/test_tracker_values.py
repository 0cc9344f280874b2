import functools
import itertools
import math

import pytest
import torch
from torch import nn

from landscape.autodiff.flat import ParameterLayout
from landscape.problem import Problem
from landscape.tracking.columns import COLUMNS, FAMILIES
from landscape.tracking.preconditioner import adam_preconditioner
from landscape.tracking.snapshot import Snapshot
from landscape.tracking.tracker import Step
from landscape.tracking.trackers import (
    DistanceFromStart,
    LayerGradientNorms,
    LayerParameterNorms,
    Settings,
    all_trackers,
    build,
    columns_of,
    names,
    trackers_for,
)
from landscape.tracking.trackers.registry import UnknownColumnError
from tests.tracking.training import BATCH_SIZE, Training, data, mlp


def test_loss_and_norms_are_those_of_all_data() -> None:
    training = Training()
    for name, column, expected in (
        ("loss", "loss", lambda: training.loss_at(training.problem.params())),
        ("gradient-norm", "gradient_norm", lambda: training.gradient().norm()),
        ("parameter-norm", "parameter_norm", lambda: training.problem.params().norm()),
    ):
        row = training.run(build(name), epochs=1)[-1]
        assert row == {column: pytest.approx(float(expected()), rel=1e-12)}


def test_settings_are_read_off_the_run() -> None:
    first, last = Training(lr=0.02).run(Settings(), epochs=1)
    assert first == {"batch_size": BATCH_SIZE, "dataset_size": 30, "dtype": "float64"}
    assert last == {**first, "learning_rate": 0.02}


def test_layer_norms_belong_to_the_module_that_owns_the_parameters() -> None:
    training = Training()
    parameters = training.run(LayerParameterNorms(), epochs=0)[0]
    gradients = Training().run(LayerGradientNorms(), epochs=0)[0]
    for layer in ("0", "2"):
        module = training.model.get_submodule(layer)
        expected = torch.cat([p.detach().reshape(-1) for p in module.parameters()]).norm()
        assert parameters[f"parameter_norm/{layer}"] == pytest.approx(float(expected), rel=1e-12)
    assert sum(value**2 for value in gradients.values()) == pytest.approx(float(training.gradient().square().sum()))
    assert set(gradients) == {"gradient_norm/0", "gradient_norm/2"}


def test_tied_weights_count_in_one_layer_only() -> None:
    model = nn.Sequential(nn.Linear(3, 3, bias=False), nn.Linear(3, 3, bias=False)).double()
    model[1].weight = model[0].weight
    problem = Problem(model, nn.functional.mse_loss, (torch.ones(2, 3).double(), torch.zeros(2, 3).double()))
    assert set(LayerParameterNorms().measure(Snapshot(problem))) == {"parameter_norm/0"}


@pytest.mark.parametrize(
    ("make", "settings"),
    [
        (torch.optim.Adam, {"betas": (0.0, 0.9)}),
        (torch.optim.Adam, {"betas": (0.0, 0.9), "amsgrad": True}),
        (torch.optim.AdamW, {"betas": (0.0, 0.99), "weight_decay": 0.0}),
        (torch.optim.RMSprop, {"eps": 1e-4}),
        (torch.optim.RMSprop, {"centered": True}),
    ],
)
def test_without_momentum_the_step_is_minus_the_rate_times_the_preconditioned_gradient(make, settings) -> None:
    training = Training(make_optimizer=make, settings=settings)
    for _ in range(3):
        training.train_epoch()
    step, scale = training.steps[-1], adam_preconditioner(training.optimizer, training.problem.layout)
    torch.testing.assert_close(step.after - step.before, -training.lr * scale * step.gradient, rtol=1e-9, atol=1e-15)


def test_there_is_no_adam_metric_before_the_first_step_nor_without_adam() -> None:
    for training in (Training(), Training(make_optimizer=torch.optim.SGD)):
        layout = ParameterLayout(training.model)
        assert adam_preconditioner(training.optimizer, layout) is None
        assert training.run(build("adam-gradient-norm"), epochs=0) == [{}]


def test_the_dual_norm_weighs_the_gradient_by_the_second_moment() -> None:
    training = Training(settings={"betas": (0.9, 0.8), "eps": 1e-6})
    row = training.run(build("adam-gradient-norm"), epochs=2)[-1]
    moment = torch.zeros(training.problem.num_params, dtype=torch.float64)
    for step in training.steps:
        moment = 0.8 * moment + 0.2 * step.gradient**2
    P = 1 / ((moment / (1 - 0.8 ** len(training.steps))).sqrt() + 1e-6)
    g = training.gradient()
    assert row["gradient_norm_adam"] == pytest.approx(float((g @ (P * g)).sqrt()), rel=1e-10)


def test_distance_begins_anew_where_the_phase_changes() -> None:
    problem = Training().problem
    tracker, start = DistanceFromStart(), problem.params()
    distances = []
    for epoch, phase in enumerate(["first", "first", "second", "second", "first"]):
        problem.set_params(start + epoch * torch.ones_like(start))
        snapshot = Snapshot(problem, epoch=epoch, phase=phase)
        distances.append(tracker.measure(snapshot)["distance_from_start"])
        tracker.after_row(snapshot)
    unit = math.sqrt(problem.num_params)
    assert distances == pytest.approx([0.0, unit, unit, 2 * unit, unit])


def steps_of_last_epoch(training: Training) -> list[Step]:
    return training.steps[-math.ceil(30 / BATCH_SIZE) :]


def test_the_last_step_is_the_epochs_last() -> None:
    training = Training()
    row = training.run(build("last-step"))[-1]
    last = training.steps[-1]
    p = last.after - last.before
    assert row == {
        "update_norm": pytest.approx(float(p.norm()), rel=1e-12),
        "step_dot_step": pytest.approx(float(p @ p), rel=1e-12),
        "step_dot_gradient": pytest.approx(float(p @ last.gradient), rel=1e-12),
    }


def test_step_statistics_are_means_over_the_epoch() -> None:
    training = Training()
    rows = training.run(build("stationarity"))
    steps = steps_of_last_epoch(training)
    expected = {
        "position_dot_gradient": sum(float(s.before @ s.gradient) for s in steps) / len(steps),
        "update_square": sum(float((s.after - s.before).square().sum()) for s in steps) / len(steps),
    }
    assert rows[0] == {}
    assert rows[-1] == pytest.approx(expected, rel=1e-12)


def test_autocorrelation_reaches_back_into_the_epoch_before() -> None:
    training = Training()
    row = training.run(build("gradient-autocorrelation"))[-1]
    steps = [training.steps[-len(steps_of_last_epoch(training)) - 1], *steps_of_last_epoch(training)]
    products = [float(a.gradient @ b.gradient) for a, b in itertools.pairwise(steps)]
    assert row["gradient_autocorrelation"] == pytest.approx(sum(products) / len(products), rel=1e-12)


def test_observers_copy_what_a_phase_will_overwrite() -> None:
    tracker, buffer = build("gradient-autocorrelation"), torch.tensor([1.0, 2.0])
    tracker.observe_step(Step(1, buffer))
    buffer.copy_(torch.tensor([10.0, 0.0]))
    tracker.observe_step(Step(1, buffer))
    assert tracker.measure(Training().snapshot())["gradient_autocorrelation"] == 10.0


def test_batch_norms_are_what_a_phase_records() -> None:
    training = Training()
    row = training.run(build("batch-norms"), epochs=1)[-1]
    weights = torch.tensor([step.num_samples for step in training.steps]).double()
    mean = sum(step.num_samples * step.gradient for step in training.steps) / weights.sum()
    losses = torch.stack([step.loss for step in training.steps])
    assert row == {
        "gradient_norm_mean_batch": pytest.approx(float(sum(s.gradient.norm() for s in training.steps)) / len(weights)),
        "gradient_norm_batch_mean": pytest.approx(float(mean.norm())),
        "loss_running": pytest.approx(float((weights * losses).sum() / weights.sum())),
    }


def test_rounding_floor_is_measured_against_float64() -> None:
    model, (inputs, targets) = mlp().float(), data()
    problem = Problem(model, nn.functional.mse_loss, (inputs.float(), targets.float()))
    row = build("rounding-floor").measure(Snapshot(problem))
    exact = Problem(mlp().float().double(), nn.functional.mse_loss, (inputs.float().double(), targets.float().double()))
    apart = abs(float(problem.loss()) - float(exact.loss()))
    assert row["rounding_floor"] == max(apart, 2**-24 * float(problem.loss()))
    assert 0 < row["rounding_floor"] < 1e-5
    in_float64 = build("rounding-floor").measure(Snapshot(exact))["rounding_floor"]
    assert in_float64 == pytest.approx(2**-53 * float(exact.loss()))


def test_every_column_is_recorded_by_some_tracker_or_by_the_run_itself() -> None:
    by_the_run = {"epoch", "phase", "step", "step_size", "status", "seconds", "samples", "forwards", "gradients"}
    by_the_run |= {"hessian_products", "gradient_equivalents", "probing_equivalents", "spent_share"}
    by_the_run |= {"step_curvature", "sample_size", "sample_noise"}  # what a second phase tells of its steps
    recorded = [column for name in names() for column in columns_of(name)]
    assert set(recorded) == (set(COLUMNS) | set(FAMILIES)) - by_the_run
    assert len(recorded) == len(set(recorded))


def test_trackers_are_found_by_column_and_unknown_columns_are_named() -> None:
    found = trackers_for(["gradient_norm/0", "gradient_norm", "certificate_delta"], every=3)
    assert [tracker.name for tracker in found] == ["gradient-norm", "layer-gradient-norms", "certificate"]
    assert {tracker.every for tracker in found} == {3}
    with pytest.raises(UnknownColumnError, match=r"'lambda_mn', 'my_column'\. Did you mean 'lambda_min'"):
        trackers_for(["loss", "my_column", "lambda_mn"])


def test_all_trackers_leaves_out_what_a_problem_does_not_have() -> None:
    training = Training()
    closure = functools.partial(lambda model, batch: model(batch[0]).square().mean())
    from_closure = Problem.from_closure(training.model, closure, [training.samples])
    without = {t.name for t in all_trackers()} - {t.name for t in all_trackers(from_closure)}
    assert without == {"gauss-newton-gap"}
    assert {t.name for t in all_trackers(training.problem)} == {t.name for t in all_trackers()}


@pytest.mark.parametrize("name", names())
def test_settings_out_of_range_are_refused_by_name(name) -> None:
    with pytest.raises(ValueError, match=r"every=0 was given; it must be at least 1"):
        build(f"{name}:every=0")
