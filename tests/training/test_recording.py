"""Trackers in the training loop: what policies need, what the user asks for, and what it may cost."""

from __future__ import annotations

import functools
import itertools

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import landscape as ls
from landscape.cli.main import main
from landscape.policies import AfterEpochs, Never, WithSwapBack, build
from landscape.policies.base import Decision
from landscape.policies.search import SearchFailures
from landscape.tracking.schedule import UnavailableColumnError
from landscape.tracking.tracker import Measurement
from landscape.tracking.trackers import LastStep, all_trackers
from landscape.training.checkpoint import CheckpointError, load_checkpoint
from landscape.training.phases import FullBatch, MiniBatches
from landscape.vectors import norm
from tests.problems import regression_data

FIRST = MiniBatches(functools.partial(torch.optim.Adam, lr=1e-2), batch_size=16)


def problem_of(num_samples: int = 50, dtype: torch.dtype = torch.float64) -> ls.Problem:
    torch.manual_seed(3)
    model = nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 2)).to(dtype)
    return ls.Problem(model, F.mse_loss, regression_data(num_samples, dtype))


class Recorder(Measurement):
    """Keeps what it is shown, to compare with what happened."""

    name = "recorder"
    records = frozenset({"mine"})
    step_parts = frozenset({"gradient", "before", "after", "loss"})
    steps: list = []
    snapshots: list = []

    def observe_step(self, step):
        copies = [
            None if part is None else part.clone() for part in (step.gradient, step.before, step.after, step.loss)
        ]
        self.steps.append((step.num_samples, *copies))

    def measure(self, snapshot):
        self.snapshots.append((snapshot.epoch, snapshot.phase, snapshot.gradient_cost, snapshot.gradient.clone()))
        return {"mine": norm(snapshot.gradient)}


@pytest.fixture
def recorder():
    Recorder.steps, Recorder.snapshots = [], []
    return Recorder()


def test_training_is_the_same_bit_for_bit_with_every_tracker_on():
    plain, watched = problem_of(), problem_of()
    settings = {"first": FIRST, "policy": AfterEpochs(3), "epochs": 6}
    ls.Trainer(record="free", **settings).fit(plain)
    result = ls.Trainer(record="all", max_overhead=60.0, **settings).fit(watched)
    assert torch.equal(plain.params(), watched.params())
    assert {"lambda_min", "race_rate", "evidence", "certificate"} <= set(result.history.columns())


def test_observers_are_shown_every_step_as_it_was(recorder):
    """Mini-batch steps, and steps of conjugate gradients with the gradient at their start."""
    problem = problem_of()
    trainer = ls.Trainer(
        first=FIRST, policy=AfterEpochs(2), epochs=4, record="free", trackers=[recorder], max_overhead=9
    )
    result = trainer.fit(problem)
    steps = Recorder.steps
    assert len(steps) == 2 * 4 + 2 and [step[0] for step in steps[:4]] == [16, 16, 16, 2]
    for earlier, later in itertools.pairwise(steps):
        assert torch.equal(earlier[3], later[2])  # where one step ends, the next begins
    assert torch.equal(steps[-1][3], problem.params())
    for number, gradient, before, _, loss in steps[-2:]:
        expected_loss, expected = problem.loss_and_gradient(before)
        assert number == 50 and float(loss) == pytest.approx(float(expected_loss), rel=1e-12)
        torch.testing.assert_close(gradient, expected, rtol=1e-10, atol=1e-14)
    norms = [norm(step[1]) for step in steps[:4]]
    assert sum(norms) / 4 == pytest.approx(result.history[1]["gradient_norm_mean_batch"], rel=1e-12)


def test_the_gradient_that_conjugate_gradients_have_is_not_computed_again(recorder):
    problem = problem_of()
    trainer = ls.Trainer(first=FIRST, policy=AfterEpochs(1), epochs=4, record="norms", trackers=[recorder])
    result = trainer.fit(problem)
    assert [cost for _, _, cost, _ in Recorder.snapshots] == [0.0] * 5  # record="norms" has made it in the first phase
    assert result.cost["probing"].gradients == 2
    torch.testing.assert_close(Recorder.snapshots[-1][3], problem.gradient(), rtol=1e-10, atol=1e-14)
    assert result.history.column("mine") == pytest.approx(result.history.column("gradient_norm"), rel=1e-12)


def test_any_second_optimiser_shows_its_steps(recorder):
    second = FullBatch(functools.partial(torch.optim.LBFGS, max_iter=3))
    problem = problem_of()
    ls.Trainer(first=FIRST, second=second, policy=AfterEpochs(1), epochs=3, trackers=[recorder]).fit(problem)
    for _, gradient, before, _, _ in Recorder.steps[-2:]:
        torch.testing.assert_close(gradient, problem.gradient(before), rtol=1e-10, atol=1e-14)


def test_what_a_policy_reads_is_measured_whatever_it_costs_and_only_in_its_phase():
    policy = build("directional-curvature:checks=99")
    trainer = ls.Trainer(first=FIRST, policy=policy, epochs=3, max_overhead=0.0, record="free")
    assert all("curvature_gradient" in row for row in trainer.fit(problem_of()).history)

    policy = ls.policies.any_of(build("directional-curvature:checks=99"), AfterEpochs(2))
    result = ls.Trainer(first=FIRST, policy=policy, epochs=5, max_overhead=0.0, record="free").fit(problem_of())
    measured = ["curvature_gradient" in row for row in result.history]
    assert result.swap_epoch == 2 and measured == [True, True, True, False, False, False]
    assert "curvature_gradient" not in result.history.skipped(), "not asked for in this phase, so not left out either"
    assert result.cost["probing"].hessian_products > 0


def test_a_swap_back_policy_is_asked_in_the_second_phase_and_measured_there():
    back = build("directional-curvature:checks=2")
    both = WithSwapBack(AfterEpochs(2), back)
    result = ls.Trainer(first=FIRST, policy=both, epochs=6, record="free", max_swap_backs=1).fit(problem_of())
    rows = [row for row in result.history if row["phase"] == "second"]
    assert rows and all("curvature_gradient" in row for row in rows)
    assert not any("curvature_gradient" in row for row in result.history if row["phase"] == "first")


def test_a_policy_for_both_directions_is_taken_apart():
    both = WithSwapBack(AfterEpochs(2), AfterEpochs(1))
    trainer = ls.Trainer(policy=both, epochs=4)
    assert (trainer.policy, trainer.swap_back) == (AfterEpochs(2), AfterEpochs(1))
    result = trainer.fit(problem_of())
    assert [(swap.epoch, swap.to_phase) for swap in result.swaps] == [(2, "second"), (3, "first")]
    assert ls.Trainer(policy=WithSwapBack(Never()), epochs=1).swap_back == SearchFailures()
    with pytest.raises(ValueError, match="which says itself when to swap back"):
        ls.Trainer(policy=both, swap_back=None, epochs=4)


def test_the_ceiling_holds_for_what_no_policy_needs():
    result = ls.Trainer(first=FIRST, policy=AfterEpochs(10), epochs=20, record="all", max_overhead=0.3).fit(
        problem_of()
    )
    training, probing = (result.cost[name].gradient_equivalents for name in ("training", "probing"))
    assert 0 < probing <= 0.3 * training
    for row in result.history:
        spent = row["gradient_equivalents"] - row["probing_equivalents"]
        assert row["probing_equivalents"] <= 0.3 * spent + 1e-9
    skipped = {name for index in range(21) for name in result.history.skipped(index)}
    assert {"lambda_min", "negative_mass"} <= skipped and "update_square" not in skipped


def test_everything_is_what_replay_can_use():
    trainer = ls.Trainer(epochs=1, record="all")
    columns = trainer.recording.schedule().records
    for name in ls.policies.names():
        policy = build({"budget-share": "budget-share:10", "after-epochs": "after-epochs:3"}.get(name, name))
        if name != "search-failures" and not ls.policies.base.needs_hindsight(policy):  # it is for the second phase
            ls.policies.base.check_requirements(policy, columns | trainer.recording._recordable(), "")
    assert {tracker.name for tracker in trainer.recording.schedule().trackers} == {t.name for t in all_trackers()}


def test_what_the_user_gives_wins_over_what_all_would_take():
    trainer = ls.Trainer(epochs=1, record="all", trackers=["extreme-eigenvalues:every=7", LastStep(every=2)])
    schedule = trainer.recording.schedule()
    assert {t.name: t.every for t in schedule.trackers if t.name in ("extreme-eigenvalues", "last-step")} == {
        "extreme-eigenvalues": 7,
        "last-step": 2,
    }


def test_layers_are_understood_as_a_family():
    class OneLayer:
        requires = frozenset({"gradient_norm/2"})

        def decide(self, history):
            return Decision(history[-1]["gradient_norm/2"] < 0, "")

    result = ls.Trainer(policy=OneLayer(), epochs=1, record="free").fit(problem_of())
    assert {"gradient_norm/0", "gradient_norm/2"} <= result.history[-1].keys()
    assert "gradient_norm/2" in ls.Trainer(policy=build("layerwise-peak"), epochs=1).fit(problem_of()).history[-1]


def test_what_cannot_be_measured_is_refused_before_any_work():
    model = nn.Linear(4, 2).double()
    problem = ls.Problem.from_closure(model, lambda m, b: (m(b[0]) - b[1]).square().mean(), regression_data(20))
    with pytest.raises(UnavailableColumnError, match="gauss_newton_gap"):
        ls.Trainer(policy=build("gauss-newton-share"), epochs=1).fit(problem)
    with pytest.raises(UnavailableColumnError, match="reference"):
        ls.Trainer(policy=build("restricted-secant"), epochs=1).fit(problem)
    with pytest.raises(ValueError, match="the tracker 'gauss-newton-gap' measures nothing here"):
        ls.Trainer(trackers="gauss-newton-gap", epochs=1).fit(problem)
    assert problem.cost.samples == 0
    ls.Trainer(record="all", epochs=1, policy=Never()).fit(problem)  # what cannot be had is left out


def test_attention_that_torch_cannot_differentiate_twice_is_measured_by_differences():
    class Fused(torch.autograd.Function):
        """Has a first derivative and refuses a second, as fused kernels do."""

        @staticmethod
        def forward(context, x):
            context.save_for_backward(x)
            return x.tanh()

        @staticmethod
        @torch.autograd.function.once_differentiable
        def backward(context, gradient):
            (x,) = context.saved_tensors
            return gradient * (1 - x.tanh() ** 2)

    class Model(nn.Module):
        def __init__(self):
            super().__init__()
            self.layers = nn.ModuleList([nn.Linear(4, 8), nn.Linear(8, 2)])

        def forward(self, x):
            return self.layers[1](Fused.apply(self.layers[0](x)))

    torch.manual_seed(0)
    problem = ls.Problem(Model().double(), F.mse_loss, regression_data(50))
    trainer = ls.Trainer(first=FIRST, policy=Never(), epochs=2, trackers="gradient-curvature", max_overhead=20)
    with pytest.warns(ls.FiniteDifferenceWarning) as warned:
        result = trainer.fit(problem)
    assert len(warned) == 1 and result.history[2]["curvature_gradient"] != 0


@pytest.mark.parametrize(
    ("settings", "error", "message"),
    [
        ({"record": "everything"}, ValueError, "record='everything'"),
        ({"max_overhead": -0.1}, ValueError, "max_overhead=-0.1"),
        ({"max_overhead": float("nan")}, ValueError, "max_overhead=nan"),
        ({"trackers": ["lanczos"]}, ValueError, "unknown tracker 'lanczos'"),
        ({"trackers": [3]}, TypeError, "a tracker is 3"),
        ({"trackers": "last-step last-step:every=2"}, ValueError, "two trackers are called 'last-step'"),
    ],
)
def test_settings_out_of_range_are_refused(settings, error, message):
    with pytest.raises(error, match=message):
        ls.Trainer(epochs=1, **settings)


def test_a_run_is_not_resumed_with_other_trackers(tmp_path):
    ls.Trainer(epochs=2, policy=Never(), trackers="parameter-norm", run_dir=tmp_path).fit(problem_of())
    assert "parameter-norm" in load_checkpoint(tmp_path / "checkpoint.pt")["schedule"]["trackers"]
    with pytest.raises(CheckpointError, match=r"trackers was 'ParameterNorm\(every=1\)'"):
        ls.Trainer(epochs=3, policy=Never(), trackers="last-step", run_dir=tmp_path).fit(problem_of(), resume=True)


def test_the_command_line_records_what_it_is_asked_for(tmp_path, capsys):
    words = ["train", "--num-train", "200", "--policy", "with-swap-back(after-epochs:2; never)", "--epochs", "4"]
    more = ["--trackers", "parameter-norm extreme-eigenvalues:every=2", "--max-overhead", "30", "--record", "free"]
    assert main([*words, *more, "--run-dir", str(tmp_path / "run")]) == 0
    history = ls.History.from_jsonl(tmp_path / "run" / "history.jsonl")
    assert None not in history.column("parameter_norm") and "lambda_min" in history.columns()
    assert 'trackers = "parameter-norm extreme-eigenvalues:every=2"' in (tmp_path / "run" / "config.toml").read_text()
    assert main(["train", "--resume", str(tmp_path / "run"), "--epochs", "6"]) == 0
    assert main([*words, "--trackers", "parameter-nom"]) == 2
    assert "Did you mean 'parameter-norm'?" in capsys.readouterr().err
    with pytest.raises(ValueError, match="max_overhead=-1"):
        ls.train(max_overhead=-1.0)


def test_a_policy_that_needs_no_loss_swaps_in_a_run_that_records_none():
    inputs = torch.linspace(-1, 1, 32, dtype=torch.float64).unsqueeze(1)
    torch.manual_seed(0)
    problem = ls.Problem(nn.Linear(1, 1).double(), F.mse_loss, (inputs, inputs.sin()))
    adam = ls.FullBatch(functools.partial(torch.optim.Adam, lr=1e-2))
    result = ls.Trainer(first=adam, policy=ls.policies.AfterEpochs(2), record="free", epochs=5).fit(problem)
    assert result.swap_epoch == 2
