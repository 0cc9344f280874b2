from __future__ import annotations

import functools
import math

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import landscape as ls
from landscape.policies import AfterEpochs, Decision, MissingColumnError, Never
from landscape.training.phases import FullBatch, MiniBatches
from tests.problems import regression_data


def small_problem(num_samples: int = 50, dtype: torch.dtype = torch.float64) -> ls.Problem:
    torch.manual_seed(3)
    model = nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 2)).to(dtype)
    return ls.Problem(model, F.mse_loss, regression_data(num_samples, dtype))


def test_the_first_phase_is_the_hand_written_loop_bit_for_bit():
    """Recording norms and losses must not change the training."""
    problem = small_problem()
    first = MiniBatches(functools.partial(torch.optim.Adam, lr=1e-2), batch_size=16)
    result = ls.Trainer(first=first, policy=Never(), epochs=3, seed=5).fit(problem)

    by_hand = small_problem()
    model, (inputs, targets) = by_hand.model, regression_data(50)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    generator = torch.Generator().manual_seed(5)
    for epoch in range(1, 4):
        norms, gradients, losses = [], 0.0, 0.0
        for chosen in torch.randperm(50, generator=generator).split(16):
            optimizer.zero_grad()
            loss = F.mse_loss(model(inputs[chosen]), targets[chosen])
            loss.backward()
            gradient = torch.cat([p.grad.reshape(-1) for p in model.parameters()])
            norms.append(gradient.norm().item())
            gradients = gradients + gradient * len(chosen) / 50
            losses += loss.item() * len(chosen) / 50
            optimizer.step()
        row = result.history[epoch]
        assert row["gradient_norm_mean_batch"] == pytest.approx(sum(norms) / len(norms), rel=1e-12)
        assert row["gradient_norm_batch_mean"] == pytest.approx(gradients.norm().item(), rel=1e-12)
        assert row["loss_running"] == pytest.approx(losses, rel=1e-12)
        assert row["loss"] == pytest.approx(F.mse_loss(model(inputs), targets).item(), rel=1e-12)
        assert row["gradient_norm"] == pytest.approx(by_hand.gradient().norm().item(), rel=1e-12)
        assert row["step"] == 4 * epoch
    assert torch.equal(problem.params(), by_hand.params())


PLAIN_CG = functools.partial(ls.ConjugateGradient, precond=None)


def test_the_second_phase_is_the_optimiser_alone_bit_for_bit():
    problem, alone = small_problem(), small_problem()
    result = ls.Trainer(policy=AfterEpochs(1), epochs=6, first=MiniBatches(batch_size=16), second=PLAIN_CG).fit(problem)
    ls.Trainer(policy=Never(), epochs=1, first=MiniBatches(batch_size=16)).fit(alone)
    optimizer = PLAIN_CG(alone.parameters)
    for epoch in range(2, 7):
        optimizer.step(alone.closure())
        row = result.history[epoch]
        assert (row["loss"], row["gradient_norm"]) == (optimizer.last.loss, optimizer.last.gradient_norm)
        assert row["gradient_norm_mean_batch"] == row["gradient_norm_batch_mean"] == row["gradient_norm"]
        assert (row["phase"], row["status"]) == ("second", "ACCEPTED")
    assert torch.equal(problem.params(), alone.params())
    assert result.history[6]["loss"] == pytest.approx(float(problem.loss()), rel=1e-12)


def test_swaps_segments_and_evaluations_tell_one_story():
    validation = small_problem()
    problem = small_problem()
    validation = ls.Problem(problem.model, F.mse_loss, regression_data(20))
    metrics = {"error": lambda output, target: (output - target).abs().mean()}
    result = ls.Trainer(policy=AfterEpochs(2), epochs=5, metrics=metrics).fit(problem, validation)

    assert result.swap_epoch == 2 and len(result.swaps) == 1
    assert result.swaps[0].reason == "2 of 2 epochs of this phase are done"
    first, second = result.segments
    assert (first.phase, first.first_epoch, first.last_epoch) == ("first", 1, 2)
    assert (second.phase, second.first_epoch, second.last_epoch) == ("second", 3, 5)
    assert first.loss_after == second.loss_before == result.history[2]["loss"]
    gain = math.log2(second.loss_before / second.loss_after) / second.gradient_equivalents * 100
    assert second.halvings_per_100_equivalents == pytest.approx(gain)
    assert [(e.moment, e.epoch) for e in result.evaluations] == [("start", 0), ("swap", 2), ("end", 5)]
    assert result.evaluations[-1].values.keys() == {
        "train_loss",
        "train_error",
        "validation_loss",
        "validation_error",
    }
    assert result.evaluations[-1].values["train_loss"] == pytest.approx(result.history[5]["loss"])
    assert result.evaluations[-1].values["validation_loss"] == pytest.approx(float(validation.loss()))
    assert result.status is ls.Status.MAX_STEPS


def test_every_sample_is_charged_to_one_purpose():
    problem = small_problem()
    result = ls.Trainer(policy=AfterEpochs(3), epochs=7).fit(problem)
    training, probing, reporting = (result.cost[name] for name in ("training", "probing", "reporting"))
    assert training.samples + probing.samples + reporting.samples == problem.cost.samples
    assert probing.gradients == 4  # the start and three first-phase epochs
    assert reporting.forwards == 3  # start, swap, end
    last = result.history[-1]
    assert last["gradient_equivalents"] == pytest.approx(training.gradient_equivalents + 4)
    assert last["probing_equivalents"] == 4
    assert sum(s.gradient_equivalents for s in result.segments) == pytest.approx(training.gradient_equivalents)


@pytest.mark.parametrize(("record", "per_epoch"), [("norms", 1.0), ("loss", 1 / 3), ("free", 0.0)])
def test_only_what_is_asked_for_is_measured(record, per_epoch):
    result = ls.Trainer(policy=Never(), epochs=3, record=record).fit(small_problem())
    assert result.cost["probing"].gradient_equivalents == pytest.approx(4 * per_epoch)
    assert ("gradient_norm" in result.history[3]) == (record == "norms")
    assert ("loss" in result.history[3]) == (record != "free")
    assert {"loss_running", "gradient_norm_mean_batch", "gradient_norm_batch_mean"} <= result.history[3].keys()


def test_what_the_policy_reads_is_measured_in_any_case():
    policy = ls.policies.GradientNormPeak(norm="full")
    result = ls.Trainer(policy=policy, epochs=2, record="free").fit(small_problem())
    assert "gradient_norm" in result.history[1]


def test_a_policy_that_reads_what_nobody_records_is_refused_before_any_work():
    class Clairvoyant:
        requires = frozenset({"moon_phase"})

        def decide(self, history):
            return Decision(False, "")

    with pytest.raises(MissingColumnError, match="reads the History column 'moon_phase', but nothing records it"):
        ls.Trainer(policy=Clairvoyant(), epochs=3)


def test_a_budget_ends_the_run_with_the_epoch_that_reaches_it():
    result = ls.Trainer(policy=AfterEpochs(2), budget=10).fit(small_problem())
    spent = result.history.column("gradient_equivalents")
    assert result.status is ls.Status.BUDGET_SPENT
    assert spent[-2] < 10 <= spent[-1]


class FailingOptimizer(torch.optim.Optimizer):
    """A second phase whose searches always fail."""

    def __init__(self, params):
        super().__init__(params, {})

    def step(self, closure):
        loss = closure()
        self.last = type("Last", (), {})()
        self.last.status, self.last.loss, self.last.gradient_norm = ls.Status.SEARCH_FAILED, float(loss), 1.0
        self.last.step_size = 0.0
        return loss


def test_a_second_phase_that_fails_gives_way_to_the_first_at_most_so_often():
    trainer = ls.Trainer(second=FullBatch(FailingOptimizer), policy=AfterEpochs(2), epochs=30, max_swap_backs=2)
    result = trainer.fit(small_problem())
    phases = [(s.phase, s.num_epochs) for s in result.segments]
    assert phases == [("first", 2), ("second", 3), ("first", 2), ("second", 3), ("first", 2), ("second", 18)]
    assert [swap.to_phase for swap in result.swaps] == ["second", "first", "second", "first", "second"]
    assert [e.moment for e in result.evaluations] == ["start", "swap", "swap back", "swap", "swap back", "swap", "end"]


def test_adam_goes_on_with_its_own_moments_after_a_swap_back():
    """Two epochs, a second phase that does nothing, and a third epoch are three epochs of Adam."""
    first = MiniBatches(batch_size=16)
    swapped, plain = small_problem(), small_problem()
    ls.Trainer(first=first, second=FullBatch(FailingOptimizer), policy=AfterEpochs(2), epochs=6).fit(swapped)
    ls.Trainer(first=first, policy=Never(), epochs=3).fit(plain)
    assert torch.equal(swapped.params(), plain.params())


def test_a_converged_second_phase_ends_the_run():
    torch.manual_seed(0)
    model = nn.Linear(4, 2).double()
    problem = ls.Problem(model, F.mse_loss, regression_data(50))
    second = functools.partial(ls.ConjugateGradient, tol_grad=1e-6)
    result = ls.Trainer(second=second, policy=AfterEpochs(1), epochs=1000).fit(problem)
    assert result.status is ls.Status.CONVERGED
    assert problem.gradient().norm() < 1e-5


def test_a_run_that_diverges_says_so_and_keeps_the_nan():
    first = MiniBatches(functools.partial(torch.optim.SGD, lr=1e200), batch_size=16)
    result = ls.Trainer(first=first, policy=AfterEpochs(1), epochs=50).fit(small_problem())
    assert result.status is ls.Status.NONFINITE
    assert not math.isfinite(result.history[-1]["loss"])
    assert not result.swaps and len(result.history) < 5


def test_parameters_that_a_filter_leaves_out_are_not_touched():
    torch.manual_seed(3)
    model = nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 2), nn.Linear(3, 3)).double()
    problem = ls.Problem.from_closure(
        model,
        lambda model, batch: (model[:3](batch[0]) - batch[1]).square().mean(),
        regression_data(50),
        params=["2.*", "3.*"],  # the last layer is chosen, but no part of the loss
    )
    before = [parameter.detach().clone() for parameter in model.parameters()]
    ls.Trainer(policy=AfterEpochs(2), epochs=4).fit(problem)
    changed = [not torch.equal(old, new) for old, new in zip(before, model.parameters(), strict=True)]
    assert changed == [False, False, True, True, False, False]
    assert model[0].weight.grad is None and model[0].bias.grad is None


def test_dropout_and_batch_norm_train_in_the_first_phase_only():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.Dropout(0.3), nn.Linear(8, 2)).double()
    model.eval()
    problem = ls.Problem(model, F.mse_loss, regression_data(50))
    ls.Trainer(policy=Never(), epochs=2, first=MiniBatches(batch_size=10)).fit(problem)
    assert model[1].num_batches_tracked == 10
    assert not any(module.training for module in model.modules())
    means = model[1].running_mean.clone()
    ls.Trainer(policy=AfterEpochs(1), epochs=4, first=MiniBatches(batch_size=50)).fit(problem)
    assert model[1].num_batches_tracked == 11
    kept = MiniBatches(batch_size=10, mode="keep")
    ls.Trainer(policy=Never(), epochs=1, first=kept).fit(problem)
    assert model[1].num_batches_tracked == 11 and not torch.equal(model[1].running_mean, means)


def test_any_optimiser_with_a_closure_can_be_the_second_phase():
    second = functools.partial(torch.optim.LBFGS, max_iter=5, line_search_fn="strong_wolfe")
    result = ls.Trainer(second=second, policy=AfterEpochs(1), epochs=4).fit(small_problem())
    losses = result.history.column("loss")
    assert losses[4] < losses[1]
    assert result.history[4]["loss"] is not None and result.history[4]["gradient_norm"] is not None


def test_listeners_hear_everything_in_order():
    class Ear(ls.Listener):
        heard: list[str] = []

        def started(self, history, epochs, budget):
            self.heard.append(f"started {len(history)} {epochs} {budget}")

        def progressed(self, epochs, gradient_equivalents, phase):
            assert 0 < epochs <= 3 and gradient_equivalents > 0

        def recorded(self, row):
            self.heard.append(f"row {row['epoch']}")

        def swapped(self, swap):
            self.heard.append(f"swap to {swap.to_phase}")

        def ended(self, result):
            self.heard.append(result.status.name)

    ls.Trainer(policy=AfterEpochs(2), epochs=3, listeners=[Ear()]).fit(small_problem())
    assert Ear.heard == ["started 0 3 None", "row 0", "row 1", "row 2", "swap to second", "row 3", "MAX_STEPS"]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({}, "neither epochs nor budget"),
        ({"epochs": 0}, "epochs=0"),
        ({"budget": -1.0}, "budget=-1.0"),
        ({"budget": float("nan")}, "budget=nan"),
        ({"epochs": 1, "record": "everything"}, "record='everything'"),
        ({"epochs": 1, "first": 3}, "a phase is 3"),
        ({"epochs": 1, "max_swap_backs": -1}, "max_swap_backs=-1"),
        ({"epochs": 1, "checkpoint_seconds": -1}, "checkpoint_seconds=-1"),
    ],
)
def test_settings_out_of_range_are_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        ls.Trainer(**settings)


def test_phases_refuse_settings_out_of_range():
    with pytest.raises(ValueError, match="batch_size=0"):
        MiniBatches(batch_size=0)
    with pytest.raises(ValueError, match="mode='eval'"):
        MiniBatches(mode="eval")
    with pytest.raises(ValueError, match="without run_dir"):
        ls.Trainer(epochs=1).fit(small_problem(), resume=True)
