"""The controls of a second phase: Adam goes on."""

from __future__ import annotations

import functools
import math
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import landscape as ls
from landscape.policies import AfterEpochs, Never
from landscape.training.continued_adam import ContinuedAdam, ContinuedAdamPhase
from landscape.training.phases import FullBatch, MiniBatches, Remaining
from tests.problems import regression_data

FIRST = {
    "adam": functools.partial(torch.optim.Adam, lr=1e-2),
    "amsgrad": functools.partial(torch.optim.Adam, lr=1e-2, amsgrad=True),
    "adamw": functools.partial(torch.optim.AdamW, lr=1e-2, weight_decay=0.1),
    "nadam": functools.partial(torch.optim.NAdam, lr=1e-2),
    "rmsprop": functools.partial(torch.optim.RMSprop, lr=1e-2, momentum=0.5, centered=True),
}


def problem_of(seed: int = 3) -> ls.Problem:
    """Dropout and running means: what the steps do depends on random states and on the mode."""
    torch.manual_seed(seed)
    model = nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.Tanh(), nn.Dropout(0.2), nn.Linear(8, 2)).double()
    return ls.Problem(model, F.mse_loss, regression_data(50))


def trainer_of(second: Any, **settings: Any) -> ls.Trainer:
    usual = {"first": MiniBatches(FIRST["adam"], batch_size=16), "policy": AfterEpochs(3), "seed": 5}
    return ls.Trainer(second=second, **{**usual, **settings})


class Rates(ls.Listener):
    """The learning rate after every step of the second phase, with what was spent."""

    def __init__(self) -> None:
        self.rates: list[float] = []
        self.phase: ContinuedAdamPhase | None = None

    def watch(self, monkeypatch: pytest.MonkeyPatch) -> Rates:
        start = ContinuedAdam.start

        def watched(chosen: ContinuedAdam, problem: ls.Problem, generator: torch.Generator) -> ContinuedAdamPhase:
            self.phase = start(chosen, problem, generator)
            return self.phase

        monkeypatch.setattr(ContinuedAdam, "start", watched)
        return self

    def progressed(self, epochs: float, gradient_equivalents: float, phase: str) -> None:
        if phase == "second":
            self.rates.append(self.phase.optimizer.param_groups[0]["lr"])


@pytest.mark.parametrize("name", FIRST)
def test_a_constant_rate_is_the_run_that_never_swaps_bit_for_bit(name):
    first = MiniBatches(FIRST[name], batch_size=16)
    swapped = problem_of()
    result = trainer_of("adam-constant", first=first, epochs=8).fit(swapped)
    plain = problem_of()  # here: dropout draws from the global random state, which this seeds
    expected = trainer_of("adam-constant", first=first, policy=Never(), epochs=8).fit(plain)
    assert result.swap_epoch == 3 and result.status is ls.Status.MAX_STEPS
    if name == "nadam":  # torch keeps its product of momenta in float32, and loading a state makes it a float64
        torch.testing.assert_close(swapped.params(), plain.params(), rtol=1e-5, atol=1e-6)
        return
    assert torch.equal(swapped.params(), plain.params())
    for ours, theirs in zip(swapped.model.buffers(), plain.model.buffers(), strict=True):
        assert torch.equal(ours, theirs)
    for column in ("loss", "loss_running", "gradient_norm_mean_batch", "gradient_norm_batch_mean", "step"):
        assert result.history.column(column) == expected.history.column(column)


def test_the_mode_of_the_first_phase_goes_on():
    first = MiniBatches(FIRST["adam"], batch_size=16, mode="keep")
    swapped, plain = problem_of(), problem_of()
    swapped.model.eval(), plain.model.eval()
    trainer_of("adam-constant", first=first, epochs=6).fit(swapped)
    trainer_of("adam-constant", first=first, policy=Never(), epochs=6).fit(plain)
    assert torch.equal(swapped.params(), plain.params())
    assert swapped.model[1].num_batches_tracked == 0


def test_parameter_groups_go_on_with_their_own_options(tmp_path):
    """Weight decay on matrices only, in an order that is not the model's; also from a checkpoint."""

    def grouped(params: Any) -> torch.optim.Optimizer:
        parts = list(params)
        vectors, matrices = [p for p in parts if p.dim() == 1], [p for p in parts if p.dim() > 1]
        groups = [{"params": vectors, "weight_decay": 0.0, "lr": 3e-3}, {"params": matrices, "weight_decay": 0.3}]
        return torch.optim.AdamW(groups, lr=1e-2)

    first, ends = MiniBatches(grouped, batch_size=16), []
    for settings in ({"policy": Never(), "epochs": 8}, {"epochs": 8}):
        problem = problem_of()
        trainer_of("adam-constant", first=first, **settings).fit(problem)
        ends.append(problem.params())
    trainer_of("adam-constant", first=first, epochs=5, run_dir=tmp_path).fit(problem_of())
    problem = problem_of(seed=99)
    trainer_of("adam-constant", first=first, epochs=8, run_dir=tmp_path).fit(problem, resume=True)
    assert torch.equal(ends[0], ends[1]) and torch.equal(ends[1], problem.params())


def test_the_first_phases_own_optimiser_is_left_as_it_was():
    """A swap back goes on with the moments of the first phase; the copy's steps have not touched them."""
    problem = problem_of()
    generator = torch.Generator().manual_seed(0)
    first = MiniBatches(FIRST["adam"], batch_size=16).start(problem, generator)
    first.run_epoch(lambda _: False)
    first.finish_epoch()
    before = [state["exp_avg_sq"].clone() for state in first.optimizer.state.values()]
    second = ContinuedAdam("constant").start(problem, generator)
    second.take_over(first, Remaining(None, None))
    second.run_epoch(lambda _: False)
    for old, state, new in zip(before, first.optimizer.state.values(), second.optimizer.state.values(), strict=True):
        assert torch.equal(state["exp_avg_sq"], old) and not torch.equal(new["exp_avg_sq"], old)


# -- the schedule -----------------------------------------------------------------------------------------------------


def test_by_epochs_the_rate_follows_the_cosine_from_step_to_step_to_exactly_zero(monkeypatch):
    rates, problem = Rates().watch(monkeypatch), problem_of()
    result = trainer_of("adam-cosine", epochs=8, listeners=[rates]).fit(problem)
    assert result.status is ls.Status.SCHEDULE_ENDED
    assert result.history[-1]["status"] == "SCHEDULE_ENDED" and result.history[-1]["epoch"] == 8
    seen = [16, 32, 48, 50]  # samples after each step of an epoch
    expected = [0.5e-2 * (1 + math.cos(math.pi * (epoch + samples / 50) / 5)) for epoch in range(5) for samples in seen]
    assert rates.rates == pytest.approx(expected, rel=1e-12, abs=1e-18)
    assert rates.rates[-1] == 0.0 == rates.phase.optimizer.param_groups[0]["lr"]


@pytest.mark.parametrize("budget", [10.0, 12.0])
def test_by_budget_the_rate_ends_at_exactly_zero_with_it(monkeypatch, budget):
    """Nothing is recorded, so that 3 GE are spent at the swap; what is evaluated there is paid for by no budget."""
    rates = Rates().watch(monkeypatch)
    metrics = {"error": lambda output, target: (output - target).abs().mean()}
    trainer = trainer_of("adam-cosine", budget=budget, record="free", listeners=[rates], metrics=metrics)
    result = trainer.fit(problem_of())
    assert result.status is ls.Status.SCHEDULE_ENDED
    assert result.history[-1]["gradient_equivalents"] == budget
    left, seen = budget - 3, [0.32, 0.64, 0.96, 1.0]
    shares = [(epoch + share) / left for epoch in range(int(left)) for share in seen]
    assert rates.rates == pytest.approx([0.5e-2 * (1 + math.cos(math.pi * share)) for share in shares], abs=1e-15)
    assert rates.rates[-1] == 0.0


def test_what_is_recorded_counts_towards_the_budget(monkeypatch):
    """Two GE a row: half of the budget's steps, and a rate that has all but reached 0 in the last one."""
    rates = Rates().watch(monkeypatch)
    result = trainer_of("adam-cosine", budget=47.0, listeners=[rates]).fit(problem_of())
    assert result.status in (ls.Status.SCHEDULE_ENDED, ls.Status.BUDGET_SPENT)
    assert result.history[-1]["gradient_equivalents"] == 47.0 and len(rates.rates) == 4 * 20
    assert rates.rates == sorted(rates.rates, reverse=True) and rates.rates[-1] < 0.01 * rates.rates[0]


def test_where_both_limits_are_given_the_nearer_one_ends_the_schedule(monkeypatch):
    for limits in ({"epochs": 6, "budget": 1000.0}, {"epochs": 1000, "budget": 6.0}):
        rates = Rates().watch(monkeypatch)
        result = trainer_of("adam-cosine", record="free", listeners=[rates], **limits).fit(problem_of())
        assert result.status is ls.Status.SCHEDULE_ENDED and rates.rates[-1] == 0.0
        assert result.history[-1]["epoch"] == 6


def test_a_rate_of_ones_own_begins_the_schedule(monkeypatch):
    rates = Rates().watch(monkeypatch)
    trainer_of("adam-cosine:lr=0.5", epochs=5, listeners=[rates]).fit(problem_of())
    assert rates.rates[0] == pytest.approx(0.25 * (1 + math.cos(math.pi * 0.32 / 2)))
    constant = Rates().watch(monkeypatch)
    trainer_of("adam-constant:lr=0.5", epochs=5, listeners=[constant]).fit(problem_of())
    assert set(constant.rates) == {0.5}


def test_a_swap_back_and_another_swap_begin_a_new_schedule(monkeypatch):
    rates = Rates().watch(monkeypatch)
    trainer = trainer_of(
        "adam-cosine", policy=AfterEpochs(2), swap_back=AfterEpochs(2), epochs=10, max_swap_backs=1, listeners=[rates]
    )
    result = trainer.fit(problem_of())
    assert [(s.phase, s.num_epochs) for s in result.segments] == [
        ("first", 2), ("second", 2), ("first", 2), ("second", 4)
    ]  # fmt: skip
    assert rates.rates[8] == pytest.approx(0.5e-2 * (1 + math.cos(math.pi * 0.32 / 4)))  # of the four epochs left
    assert rates.rates[-1] == 0.0


# -- batches ----------------------------------------------------------------------------------------------------------


def test_full_batches_are_one_step_an_epoch_with_the_moments_of_the_first_phase():
    problem, alone = problem_of(), problem_of()
    for each in (problem, alone):  # no randomness in a step, and a sum that has one order
        each.model[3].p = 0.0
    result = trainer_of("adam-full-batch", epochs=7).fit(problem)
    assert [row["step"] for row in result.history][3:] == [12, 13, 14, 15, 16]

    generator = torch.Generator().manual_seed(5)
    phase = MiniBatches(FIRST["adam"], batch_size=16).start(alone, generator)
    for _ in range(3):
        phase.run_epoch(lambda _: False)
        phase.finish_epoch()
    inputs, targets = regression_data(50)
    alone.model.train()
    for _ in range(4):
        phase.optimizer.zero_grad()
        F.mse_loss(alone.model(inputs), targets).backward()
        phase.optimizer.step()
    torch.testing.assert_close(problem.params(), alone.params(), rtol=1e-9, atol=1e-12)


def test_a_batch_size_of_ones_own_is_kept_over_the_first_phases():
    result = trainer_of("adam-constant:batch_size=25", epochs=5).fit(problem_of())
    assert [row["step"] for row in result.history] == [0, 4, 8, 12, 14, 16]


@pytest.mark.parametrize(
    "first",
    [MiniBatches(functools.partial(torch.optim.SGD, lr=0.01), batch_size=10), FullBatch(ls.ConjugateGradient)],
    ids=["sgd", "cg"],
)
def test_after_another_optimiser_a_new_adam_begins(first, monkeypatch):
    rates = Rates().watch(monkeypatch)
    model = nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 2)).double()
    problem = ls.Problem(model, F.mse_loss, regression_data(50))
    result = trainer_of("adam-constant", first=first, epochs=6, listeners=[rates]).fit(problem)
    assert type(rates.phase.optimizer) is torch.optim.Adam and set(rates.rates) == {1e-3}
    assert rates.phase.settings.batch_size == (10 if isinstance(first, MiniBatches) else 512)
    assert result.status is ls.Status.MAX_STEPS


# -- checkpoints ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("second", ["adam-cosine", "adam-full-batch", "adam-cosine:lr=0.02,batch_size=9"])
@pytest.mark.parametrize("first", ["adam", "nadam", "rmsprop"])
def test_the_state_in_the_middle_of_an_epoch_resumes(second, first, tmp_path):
    """Stopped on request after a step of the second phase: another process goes on with kind, moments, rate and order."""

    class Stop(ls.Listener):
        def progressed(self, epochs: float, gradient_equivalents: float, phase: str) -> None:
            if phase == "second" and epochs > 4.3:
                raise KeyboardInterrupt

    settings = {"first": MiniBatches(FIRST[first], batch_size=16), "budget": 19.0, "checkpoint_seconds": 0.0}
    whole = problem_of()
    expected = trainer_of(second, **settings).fit(whole)
    with pytest.raises(KeyboardInterrupt):
        trainer_of(second, run_dir=tmp_path, listeners=[Stop()], **settings).fit(problem_of())
    problem = problem_of(seed=99)
    result = trainer_of(second, run_dir=tmp_path, **settings).fit(problem, resume=True)
    assert torch.equal(problem.params(), whole.params())
    assert result.status is expected.status and len(result.history) == len(expected.history)
    for column in set().union(*expected.history) - {"seconds"}:
        assert result.history.column(column) == expected.history.column(column), column


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"schedule": "linear"}, "schedule='linear' was given; it is 'cosine' or 'constant'"),
        ({"lr": 0.0}, "lr=0.0 was given; it must be a positive number"),
        ({"lr": math.inf}, "lr=inf"),
        ({"batch_size": 0}, "batch_size=0 was given; it is a number of at least 1, or 'full'"),
        ({"batch_size": "half"}, "batch_size='half'"),
    ],
)
def test_settings_out_of_range_are_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        ContinuedAdam(**settings)
