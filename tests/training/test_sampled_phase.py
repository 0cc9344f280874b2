from __future__ import annotations

import functools
import io
import math

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import landscape as ls
from landscape.optim.lbfgs import LBFGS
from landscape.policies import AfterEpochs
from landscape.status import Status
from landscape.training.norm_test import norm_test
from landscape.training.phases import FullBatch, MiniBatches
from landscape.training.sampled_phase import SampledBatch, SampledBatchPhase
from tests.problems import regression_data


def noisy_problem(num_samples: int = 400, **settings) -> ls.Problem:
    """Targets with noise that no small model fits, so that gradients of samples differ."""
    torch.manual_seed(3)
    model = nn.Sequential(nn.Linear(4, 6), nn.Tanh(), nn.Linear(6, 2)).double()
    inputs, targets = regression_data(num_samples)
    noise = torch.randn(targets.shape, generator=torch.Generator().manual_seed(8), dtype=targets.dtype)
    return ls.Problem(model, F.mse_loss, (inputs, targets + noise), **settings)


def started(problem: ls.Problem, seed: int = 5, **settings) -> SampledBatchPhase:
    return SampledBatch(**settings).start(problem, torch.Generator().manual_seed(seed))


def finish(phase: SampledBatchPhase, epochs: int) -> list[dict]:
    rows = []
    for _ in range(epochs):
        assert phase.run_epoch(lambda _: False)
        rows.append(phase.finish_epoch())
    return rows


def test_a_sample_of_all_data_gives_the_steps_of_a_full_batch_bit_for_bit():
    one, other = noisy_problem(), noisy_problem()
    sampled = started(one, batch=400)
    full = FullBatch().start(other, torch.Generator())
    for _ in range(6):
        sampled.run_epoch(lambda _: False)
        full.run_epoch(lambda _: False)
        ours, theirs = sampled.finish_epoch(), full.finish_epoch()
        assert ours["sample_size"] == 400 and ours["sample_noise"] == 0.0
        assert theirs.items() <= ours.items()
        assert torch.equal(one.params(), other.params())
        assert torch.equal(sampled.full_gradient(), full.full_gradient())
    assert one.cost == other.cost


def test_the_steps_are_the_optimisers_own_on_each_sample_in_turn():
    """Five steps on one sample, then the next: as if done by hand with a problem for each sample."""
    problem, by_hand = noisy_problem(), noisy_problem()
    phase = started(problem, batch=40, redraw_every=5)
    finish(phase, 2)
    inputs, targets = by_hand.batches.tensors
    seeds = torch.Generator().manual_seed(5)
    optimizer = ls.ConjugateGradient(by_hand.parameters)
    for step in range(phase.num_steps):
        if step % 5 == 0:
            seed = int(torch.randint(2**62, (), generator=seeds))
            chosen = torch.randperm(400, generator=torch.Generator().manual_seed(seed))[:40]
            closure = ls.Problem(by_hand.model, F.mse_loss, (inputs[chosen], targets[chosen])).closure()
            optimizer.loss_changed()
        optimizer.step(closure)
        assert optimizer.last.status is Status.ACCEPTED
    torch.testing.assert_close(problem.params(), by_hand.params(), rtol=1e-8, atol=1e-10)


@pytest.mark.parametrize("batch", [37, "norm-test"])
def test_an_epoch_is_the_steps_worth_one_gradient_and_charges_its_samples(batch):
    problem = noisy_problem()
    phase = started(problem, batch=batch)
    shares: list[float] = []
    before, steps = problem.cost.copy(), 0
    for _ in range(4):
        shares.clear()
        assert phase.run_epoch(lambda share: bool(shares.append(share)))
        spent = problem.cost.since(before)
        assert spent.gradient_equivalents >= 1.0 and spent.product_samples == 0
        assert shares == sorted(shares) and shares[-1] == 1.0 and len(shares) == phase.num_steps - steps
        assert all(share < 1.0 for share in shares[:-1])
        before, steps = problem.cost.copy(), phase.num_steps
        phase.finish_epoch()


def test_with_a_fixed_size_every_evaluation_is_charged_that_many_samples():
    problem = noisy_problem()
    phase = started(problem, batch=25, redraw_every=3)
    phase.run_epoch(lambda _: False)
    assert problem.cost.gradient_samples % 25 == problem.cost.forward_samples % 25 == 0
    exchanges = (phase.num_steps - 1) // 3
    # One gradient a step, one for the first point, and one for each fresh sample; CG's search adds one forward a step,
    # and the check that the loss repeats adds one.
    assert problem.cost.gradient_samples == 25 * (phase.num_steps + 1 + exchanges)
    assert problem.cost.forward_samples == 25 * (phase.num_steps + 1)


def test_the_sample_grows_when_the_norm_test_fails_on_a_fresh_one_and_never_shrinks(monkeypatch):
    import landscape.training.sampled_phase as module

    problem, seen = noisy_problem(), []

    def recorded(variance, gradient_norm, size, num_samples, theta):
        test = norm_test(variance, gradient_norm, size, num_samples, theta)
        seen.append((test.passed, size, theta))
        return test

    monkeypatch.setattr(module, "norm_test", recorded)
    phase = started(problem, theta=0.7, first_size=64, redraw_every=2)
    sizes = [phase.sample.size]
    while not phase.sample.is_full and phase.num_steps < 300:
        phase.run_epoch(lambda _: True)
        sizes.append(phase.sample.size)
        assert len(seen) == -(-phase.num_steps // 2)  # on each fresh sample, once
        passed, size, theta = seen[-1]
        if phase.num_steps % 2 == 0:
            assert sizes[-1] == sizes[-2]
        else:
            assert (size, theta) == (sizes[-2], 0.7)
            assert (sizes[-1] == size) if passed else (size < sizes[-1] <= 2 * size or sizes[-1] == 400)
    assert phase.sample.is_full  # a minimum with noise is found by all data only
    assert any(passed for passed, _, _ in seen)


@pytest.mark.parametrize(
    "optimizer",
    [
        LBFGS,
        ls.ConjugateGradient,
    ],
)
def test_it_goes_down_to_the_minimum_over_all_data(optimizer):
    """Least squares have one minimum, which is found exactly in the end, also from minima over samples on the way."""
    torch.manual_seed(1)
    inputs, targets = (part[:200] for part in noisy_problem().batches.tensors)
    problem = ls.Problem(nn.Linear(4, 2).double(), F.mse_loss, (inputs, targets))
    rows = finish(started(problem, redraw_every=10, optimizer=optimizer), 40)
    assert rows[0]["sample_size"] < rows[-1]["sample_size"] == 200
    biased = torch.cat([inputs, torch.ones(200, 1, dtype=inputs.dtype)], dim=1)
    residual = biased @ torch.linalg.lstsq(biased, targets).solution - targets
    assert float(problem.loss()) == pytest.approx(float(residual.square().mean()), rel=1e-12)


def test_the_loss_over_all_data_is_recorded_for_a_twentieth_of_the_steps_and_skipped_otherwise():
    problem = noisy_problem()
    phase = started(problem, batch=40)
    spent = measured = 0.0
    for _ in range(15):
        before = problem.cost.copy()
        phase.run_epoch(lambda _: False)
        spent += problem.cost.since(before).gradient_equivalents
        before = problem.cost.copy()
        row = phase.finish_epoch()
        measured += problem.cost.since(before).gradient_equivalents
        assert row["gradient_norm"] is None and row["sample_size"] == 40
        assert (row["loss"] is None) == (problem.cost.since(before).samples == 0)
        if row["loss"] is not None:
            assert row["loss"] == float(problem.loss())
        assert math.isfinite(row["loss_running"]) and row["sample_noise"] > 0
    assert 0.02 < measured / spent <= 0.05


@pytest.mark.parametrize(
    "settings",
    [{"batch": 40}, {"theta": 0.6, "first_size": 32}, {"batch": 390}, {"batch": 60, "optimizer": LBFGS}],
    ids=["fixed", "growing", "nearly all", "L-BFGS"],
)
@pytest.mark.parametrize("stop_after", [1, 4, 7])
def test_a_phase_saved_between_two_steps_goes_on_bit_for_bit(settings, stop_after):
    def run(saved_at: int | None) -> tuple[torch.Tensor, list[dict], ls.Problem]:
        problem = noisy_problem()
        phase, rows, steps = started(problem, **settings), [], 0

        def tick(_: float) -> bool:
            nonlocal steps
            steps += 1
            return steps == saved_at

        while len(rows) < 5:
            if phase.run_epoch(tick):
                rows.append(phase.finish_epoch())
            if steps == saved_at:
                buffer = io.BytesIO()
                torch.save((phase.state_dict(), problem.params()), buffer)
                finish(phase, 1)  # what is saved must not follow
                buffer.seek(0)
                state, params = torch.load(buffer, weights_only=True)
                problem = noisy_problem()
                problem.set_params(params)
                phase = started(problem, seed=77, **settings)
                phase.load_state_dict(state)
                steps += 1
        return problem.params(), rows, problem

    straight, rows, _ = run(None)
    resumed, same_rows, _ = run(stop_after)
    assert torch.equal(straight, resumed)
    assert rows == same_rows


def test_a_trainer_runs_and_resumes_it(tmp_path):
    def trainer(epochs: int) -> ls.Trainer:
        return ls.Trainer(
            first=MiniBatches(batch_size=64),
            second=SampledBatch(theta=0.8, first_size=40),
            policy=AfterEpochs(1),
            epochs=epochs,
            run_dir=tmp_path / "run",
            checkpoint_seconds=0.0,
        )

    problem, straight = noisy_problem(), noisy_problem()
    trainer(4).fit(problem)
    problem = noisy_problem()
    result = trainer(9).fit(problem, resume=True)
    whole = ls.Trainer(
        first=MiniBatches(batch_size=64), second=SampledBatch(theta=0.8, first_size=40), policy=AfterEpochs(1), epochs=9
    ).fit(straight)
    assert torch.equal(problem.params(), straight.params())
    for name in ("loss", "loss_running", "sample_size", "sample_noise", "status", "gradient_equivalents"):
        assert result.history.column(name) == whole.history.column(name)
    sizes = [size for size in whole.history.column("sample_size") if size is not None]
    assert sizes == sorted(sizes)
    assert whole.cost["probing"].gradients == 2  # the start and the first phase's epoch


def test_a_step_that_is_watched_tells_the_samples_it_was_made_from():
    problem, seen = noisy_problem(), []
    phase = started(problem, batch=50)
    phase.watch(frozenset({"gradient", "before", "after"}), seen.append)
    phase.run_epoch(lambda _: False)
    assert len(seen) == phase.num_steps
    assert {step.num_samples for step in seen} == {50}
    assert all(float(step.gradient @ (step.after - step.before)) < 0 for step in seen)
    assert phase.full_gradient() is None


def test_a_sample_that_is_fitted_exactly_is_exchanged_for_a_larger_one():
    """Ten samples can be met exactly by the model: the search over them ends, the phase must not."""
    torch.manual_seed(0)
    problem = ls.Problem(nn.Linear(4, 2).double(), F.mse_loss, regression_data(60))
    phase = started(problem, first_size=4, optimizer=functools.partial(ls.ConjugateGradient, tol_grad=1e-2))
    rows = finish(phase, 25)
    assert rows[-1]["sample_size"] == 60
    assert all(row["status"] not in ("CONVERGED", "STALLED") for row in rows if row["sample_size"] < 60)


def test_a_copy_of_the_model_in_float64_takes_samples_of_given_batches():
    """In float32 the batches are drawn whole, and so they are behind the conversion."""
    inputs, targets = (part.float() for part in regression_data(60))
    batches = list(zip(inputs.split(10), targets.split(10), strict=True))
    torch.manual_seed(0)
    problem = ls.Problem(nn.Linear(4, 2), F.mse_loss, batches)
    before = float(problem.loss())
    phase = FullBatch(LBFGS, batch=25, dtype="float64").start(problem, torch.Generator())
    assert phase.run_epoch(lambda _: False)
    assert phase.finish_epoch()["sample_size"] == 30
    assert float(problem.loss()) < before


def test_settings_and_optimisers_that_do_not_fit_are_refused():
    for settings, message in (
        ({"batch": 0}, "at least 1, or 'norm-test'"),
        ({"batch": "full"}, "at least 1, or 'norm-test'"),
        ({"theta": 0.0}, "must be more than 0"),
        ({"redraw_every": 0}, "at least 1 step"),
        ({"first_size": 0}, "at least 1 sample"),
    ):
        with pytest.raises(ValueError, match=message):
            SampledBatch(**settings)
    with pytest.raises(ValueError, match=r"is a LBFGS; needed is one that can be told that its loss has changed"):
        started(noisy_problem(), optimizer=torch.optim.LBFGS)


def test_a_loss_that_is_not_finite_ends_the_epoch():
    problem = noisy_problem()
    problem.set_params(torch.full_like(problem.params(), math.nan))
    (row,) = finish(started(problem, batch=40), 1)
    assert row["status"] == "NONFINITE" and math.isnan(row["loss_running"])
