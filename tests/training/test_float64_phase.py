"""A second phase in float64 for a model that stays in float32."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import landscape as ls
from landscape.policies import AfterEpochs
from landscape.tracking.tracker import Step
from landscape.training.float64_phase import Float64Phase
from landscape.training.phases import FullBatch, MiniBatches
from tests.problems import frozen_trunk, regression_data


def fitting_problem(dtype: torch.dtype = torch.float32) -> ls.Problem:
    """More parameters than data: the loss has no floor but rounding."""
    torch.manual_seed(2)
    model = nn.Sequential(nn.Linear(1, 12), nn.Tanh(), nn.Linear(12, 1)).to(dtype)
    inputs = torch.linspace(-1, 1, 6, dtype=dtype).unsqueeze(1)
    return ls.Problem(model, F.mse_loss, (inputs, torch.sin(3 * inputs)))


def small_problem(model: nn.Module | None = None, **settings: Any) -> ls.Problem:
    torch.manual_seed(3)
    model = nn.Sequential(nn.Linear(4, 6), nn.Tanh(), nn.Linear(6, 2)) if model is None else model
    return ls.Problem(model, F.mse_loss, regression_data(60, torch.float32), **settings)


def trainer_of(**settings: Any) -> ls.Trainer:
    usual = {
        "first": MiniBatches(batch_size=16),
        "second": "lbfgs",
        "second_dtype": "float64",
        "policy": AfterEpochs(2),
    }
    return ls.Trainer(**{"epochs": 8, **usual, **settings})


def started(problem: ls.Problem, batch: Any = "full", optimizer: Any = ls.LBFGS) -> Float64Phase:
    phase = FullBatch(optimizer, batch=batch, dtype="float64").start(problem, torch.Generator().manual_seed(0))
    assert isinstance(phase, Float64Phase)
    return phase


def advance(phase: Any, epochs: int = 1) -> list[dict]:
    rows = []
    for _ in range(epochs):
        phase.run_epoch(lambda _: False)
        rows.append(phase.finish_epoch())
    return rows


def test_where_float32_stalls_float64_goes_on_to_a_lower_loss_of_the_float32_model_too():
    recorded, exact = {}, {}
    for dtype in (None, "float64"):
        problem = fitting_problem()
        trainer = ls.Trainer(
            second="lbfgs", second_dtype=dtype, policy=AfterEpochs(5), epochs=200, swap_back=None, record="free"
        )
        result = trainer.fit(problem)
        recorded[dtype] = min(row["loss"] for row in result.history if row["phase"] == "second")
        inputs, targets = problem.batches.tensors
        in_float64 = fitting_problem(torch.float64)
        in_float64.set_params(problem.params().double())  # what the float32 parameters are worth, without rounding
        with torch.no_grad():
            exact[dtype] = float(F.mse_loss(in_float64.model(inputs.double()), targets.double()))
        assert result.status is ls.Status.STALLED
    assert recorded["float64"] < 1e-10 * recorded[None], recorded
    assert exact["float64"] < 0.5 * exact[None], exact  # rounded to float32 again, most of that is lost, not all


@pytest.mark.parametrize("batch", ["full", 20, "norm-test"])
def test_the_model_stays_float32_and_is_the_rounded_copy(batch):
    problem = small_problem()
    phase = started(problem, batch)
    for _ in range(4):
        advance(phase)
        assert {parameter.dtype for parameter in problem.model.parameters()} == {torch.float32}
        assert {parameter.dtype for parameter in phase.precise.model.parameters()} == {torch.float64}
        assert torch.equal(problem.params(), phase.precise.params().float())
    assert not torch.equal(problem.params().double(), phase.precise.params()), "rounding changed something"


def test_the_steps_are_those_of_a_float64_model():
    problem, twin = small_problem(), small_problem()
    inputs, targets = regression_data(60, torch.float32)
    by_hand = ls.Problem(twin.model.double(), F.mse_loss, (inputs.double(), targets.double()))
    phase, other = started(problem), FullBatch(ls.LBFGS).start(by_hand, torch.Generator())
    assert advance(phase, 5) == advance(other, 5)
    assert torch.equal(phase.precise.params(), by_hand.params())
    assert torch.equal(phase.full_gradient(), other.full_gradient().float())


@pytest.mark.parametrize("batch", ["full", 20])
def test_a_model_moved_by_hand_between_epochs_is_followed(batch):
    problem = small_problem()
    phase = started(problem, batch)
    advance(phase, 3)
    elsewhere = problem.params() + 0.25
    problem.set_params(elsewhere)
    assert phase.full_gradient() is None, "what is kept is known to be of another point"
    seen: list[Tensor] = []
    phase.watch(frozenset({"before", "after"}), lambda step: seen.append(step.before))
    advance(phase)
    assert torch.equal(seen[0], elsewhere)
    assert float(problem.loss()) < float(problem.loss(elsewhere))


def test_running_means_that_the_first_phase_moves_are_those_of_the_copy():
    """Batch normalisation: the copy is made before the first phase begins, the swap comes after it."""
    model = nn.Sequential(nn.Linear(4, 6), nn.BatchNorm1d(6), nn.Tanh(), nn.Linear(6, 2))
    problem = small_problem(model)
    result = trainer_of(epochs=3, swap_back=None).fit(problem)
    after_swap = result.history[3]
    assert after_swap["status"] == "ACCEPTED" and after_swap["loss"] < result.history[2]["loss"]
    assert after_swap["loss"] == pytest.approx(float(problem.loss()), rel=1e-5)


def test_what_is_not_varied_is_the_models_even_if_a_checkpoint_has_changed_it(tmp_path):
    def problem_of(seed: int) -> ls.Problem:
        torch.manual_seed(seed)
        return ls.Problem(frozen_trunk(), F.mse_loss, regression_data(60, torch.float32))

    whole = problem_of(1)
    expected = trainer_of(epochs=7).fit(whole)
    trainer_of(epochs=4, run_dir=tmp_path).fit(problem_of(1))
    resumed = problem_of(99)  # another trunk: the checkpoint's counts
    result = trainer_of(epochs=7, run_dir=tmp_path).fit(resumed, resume=True)
    assert result.history.column("loss") == expected.history.column("loss")
    assert torch.equal(resumed.params(), whole.params())


@pytest.mark.parametrize("batch", ["full", 20, "norm-test"])
def test_the_ledger_counts_as_it_does_in_float32(batch):
    """The same evaluations are charged alike; a step on all data with the default search is one gradient in both."""
    costs = []
    for dtype in (None, "float64"):
        problem = small_problem()
        phase = FullBatch(ls.ConjugateGradient, batch=batch, dtype=dtype).start(
            problem, torch.Generator().manual_seed(0)
        )
        assert problem.cost.samples == 0, "making the copy is free"
        advance(phase, 2)
        if dtype is not None:
            assert phase.precise.cost is problem.cost
        costs.append(problem.cost.copy())
    assert costs[0] == costs[1]


def test_every_sample_of_a_run_is_charged_to_one_purpose():
    problem = small_problem()
    result = trainer_of().fit(problem)
    assert sum(cost.samples for cost in result.cost.values()) == problem.cost.samples


def test_steps_are_shown_in_the_models_dtype():
    problem, seen = small_problem(), []
    phase = started(problem)
    phase.watch(frozenset({"gradient", "before", "after"}), seen.append)
    start = problem.params()
    advance(phase, 2)
    assert len(seen) == 2 and all(isinstance(step, Step) for step in seen)
    assert torch.equal(seen[0].before, start) and torch.equal(seen[0].after, seen[1].before)
    torch.testing.assert_close(seen[0].gradient, problem.gradient(start), rtol=1e-5, atol=1e-7)
    assert {vector.dtype for step in seen for vector in (step.gradient, step.before, step.after)} == {torch.float32}


def test_an_interrupted_step_leaves_the_models_at_the_same_point():
    problem = small_problem()
    phase = started(problem)
    advance(phase, 2)
    before, closure = float(phase.precise.loss()), phase.inner._closure

    def interrupted() -> Tensor:
        if torch.is_grad_enabled():
            raise KeyboardInterrupt
        return closure()

    phase.inner._closure = interrupted
    with pytest.raises(KeyboardInterrupt):
        phase.run_epoch(lambda _: False)
    assert torch.equal(problem.params(), phase.precise.params().float())
    assert float(phase.precise.loss()) <= before
    phase.inner._closure = closure
    assert advance(phase)[0]["loss"] < before


def test_a_model_in_float64_needs_no_copy():
    problem = fitting_problem(torch.float64)
    assert not isinstance(FullBatch(dtype="float64").start(problem, torch.Generator()), Float64Phase)


class FixesItsDtype(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(4, 2)

    def forward(self, inputs: Tensor) -> Tensor:
        return self.linear(inputs.float())


class CannotBeCopied(nn.Linear):
    def __deepcopy__(self, memo: dict) -> nn.Module:
        raise RuntimeError("holds a handle of the operating system")


@pytest.mark.parametrize("model", [FixesItsDtype, lambda: CannotBeCopied(4, 2)], ids=["fixed dtype", "no copy"])
def test_a_model_that_cannot_be_converted_is_refused_before_any_work(model, tmp_path):
    problem = small_problem(model())
    before = problem.params()
    with pytest.raises(
        ValueError, match="float64 was asked for, but .* cannot be copied, or it or its loss fixes a dtype"
    ):
        trainer_of(run_dir=tmp_path / "run").fit(problem)
    assert problem.cost.samples == 0 and torch.equal(problem.params(), before)
    assert not (tmp_path / "run" / "history.jsonl").exists()


@pytest.mark.parametrize("dtype", ["float16", torch.float64, "double"])
def test_another_dtype_is_refused(dtype):
    with pytest.raises(ValueError, match=r"dtype=.* was given; it is 'float64', or None"):
        FullBatch(dtype=dtype)


def test_a_second_phase_without_that_setting_says_so():
    with pytest.raises(ValueError, match=r"second_dtype='float64' was given, but .* has no such setting"):
        trainer_of(second="adam-cosine")
    with pytest.raises(ValueError, match=r"second_batch='full', second_dtype='float64' was given"):
        trainer_of(second=MiniBatches(), second_batch="full")
