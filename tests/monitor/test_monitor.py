"""The user's own loop: recorded as a trainer's, and trained as if nobody watched."""

from __future__ import annotations

import io
import json

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import landscape as ls
from landscape.monitor.monitor import Monitor
from landscape.policies import AfterEpochs, GradientNormPeak, MissingColumnError, Never, WithSwapBack, build
from landscape.training.phases import MiniBatches
from tests.problems import regression_data

BATCH = 16


def parts(dropout: float = 0.3) -> tuple[ls.Problem, torch.optim.Optimizer]:
    torch.manual_seed(3)
    layers = [nn.Linear(4, 8), nn.BatchNorm1d(8), nn.Tanh(), nn.Dropout(dropout), nn.Linear(8, 2)]
    model = nn.Sequential(*layers).double()
    model.train()
    return ls.Problem(model, F.mse_loss, regression_data(50)), torch.optim.Adam(model.parameters())


def train(problem, optimizer, epochs, monitor=None, start=0, seed=5):
    """A plain loop, the same with and without the monitor's lines."""
    inputs, targets = regression_data(50)
    decisions = []
    for epoch in range(start, epochs):
        generator = torch.Generator().manual_seed(seed + epoch)
        for chosen in torch.randperm(50, generator=generator).split(BATCH):
            optimizer.zero_grad()
            loss = F.mse_loss(problem.model(inputs[chosen]), targets[chosen])
            loss.backward()
            optimizer.step()
            if monitor is not None:
                monitor.step(loss, num_samples=len(chosen))
        if monitor is not None:
            decisions.append(monitor.end_epoch())
    return decisions


def without_clock(history):
    return [{name: value for name, value in row.items() if name != "seconds"} for row in history]


def test_training_is_the_same_bit_for_bit_with_every_tracker_on():
    """Dropout draws from the global generator, batch norm keeps statistics: any trace would change what follows."""
    problem, optimizer = parts()
    torch.manual_seed(0)
    train(problem, optimizer, 4)
    expected, random = problem.model.state_dict(), torch.get_rng_state()
    moments = optimizer.state_dict()["state"]

    problem, optimizer = parts()
    torch.manual_seed(0)
    monitor = Monitor(problem, optimizer, trackers="all", max_overhead=20.0)
    train(problem, optimizer, 4, monitor)
    assert all(torch.equal(value, problem.model.state_dict()[name]) for name, value in expected.items())
    assert torch.equal(torch.get_rng_state(), random)
    for index, state in optimizer.state_dict()["state"].items():
        assert all(torch.equal(value, moments[index][name]) for name, value in state.items())
    assert all(module.training for module in problem.model.modules())
    measured = set().union(*monitor.history)
    assert {"curvature_gradient", "gradient_variance", "secant_curvature", "update_square"} <= measured


def test_it_records_what_a_trainer_records():
    torch.manual_seed(3)
    model = nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 2)).double()
    data = regression_data(50)
    start = {name: value.clone() for name, value in model.state_dict().items()}
    trackers = ["parameter-norm", "last-step", "stationarity", "gradient-autocorrelation", "distance-from-start"]
    trackers += ["settings", "secant-curvature", "gradient-curvature:every=2", "extreme-eigenvalues:every=3"]
    policy = GradientNormPeak(norm="full", factor=1e-9)
    trainer = ls.Trainer(
        first=MiniBatches(batch_size=BATCH, mode="keep"),
        policy=policy,
        record="free",
        epochs=4,
        trackers=trackers,
        max_overhead=30.0,
        seed=7,
    )
    expected = trainer.fit(ls.Problem(model, F.mse_loss, data)).history

    model.load_state_dict(start)
    problem = ls.Problem(model, F.mse_loss, data)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    monitor = Monitor(problem, optimizer, policy=policy, trackers=trackers, max_overhead=30.0, batch_size=BATCH)
    generator = torch.Generator().manual_seed(7)
    for _ in range(4):
        for chosen in torch.randperm(50, generator=generator).split(BATCH):
            optimizer.zero_grad()
            loss = F.mse_loss(model(data[0][chosen]), data[1][chosen])
            loss.backward()
            optimizer.step()
            monitor.step(loss, num_samples=len(chosen))
        monitor.end_epoch()
    assert without_clock(monitor.history) == without_clock(expected)


def test_the_ceiling_holds_and_what_is_left_out_is_none():
    problem, optimizer = parts()
    monitor = Monitor(problem, optimizer, trackers="all", max_overhead=0.5)
    train(problem, optimizer, 12, monitor)
    spent = monitor.gradient_equivalents
    assert spent["training"] == pytest.approx(12.0)
    assert 0 < spent["probing"] <= 0.5 * 12
    assert spent["training"] + spent["probing"] == pytest.approx(problem.cost.gradient_equivalents)
    assert "lambda_min" in monitor.history.columns() and monitor.history.column("lambda_min")[1] is None
    assert "lambda_min" in monitor.history.skipped(1) and "lambda_min" not in monitor.history[1]


def test_the_policy_is_asked_and_what_it_reads_is_measured():
    problem, optimizer = parts()
    monitor = Monitor(problem, optimizer, policy=build("directional-curvature:checks=1"), max_overhead=0.0)
    decisions = train(problem, optimizer, 3, monitor)
    assert all("curvature_gradient" in row for row in monitor.history)
    assert [decision.swap for decision in decisions] == [row["curvature_gradient"] > 0 for row in monitor.history][1:]

    monitor = Monitor(problem, optimizer, policy=WithSwapBack(AfterEpochs(1), AfterEpochs(2)), batch_size=50)
    swaps = []
    for phase in ("first", "second", "second"):
        monitor.step(1.0)
        swaps.append(monitor.end_epoch().swap)
        if phase == "first":
            monitor.swap_to(torch.optim.SGD(problem.parameters, lr=0.1), reason="it was time")
    assert swaps == [True, False, True]
    assert monitor.history.column("phase") == ["first", "first", "second", "second"]
    assert monitor.swaps[0].epoch == 1 and monitor.swaps[0].reason == "it was time"


def test_a_loop_without_a_policy_is_told_so():
    problem, optimizer = parts()
    monitor = Monitor(problem, optimizer, batch_size=50)
    monitor.step()
    decision = monitor.end_epoch()
    assert not decision.swap and decision.reason == "no policy is asked in this phase"
    assert "loss_running" not in monitor.history[1]


@pytest.mark.parametrize("stop", ["between epochs", "within an epoch"])
def test_a_monitor_that_was_saved_goes_on_bit_for_bit(tmp_path, stop):
    settings = {"trackers": "all", "max_overhead": 3.0, "policy": GradientNormPeak(norm="full")}

    def fresh(path, **more):
        problem, optimizer = parts(dropout=0.0)
        return problem, optimizer, lambda: Monitor(problem, optimizer, path=path, **settings, **more)

    problem, optimizer, make = fresh(tmp_path / "whole.jsonl")
    whole = make()
    train(problem, optimizer, 6, whole)

    problem, optimizer, make = fresh(tmp_path / "stopped.jsonl")
    first = make()
    train(problem, optimizer, 3, first)
    if stop == "within an epoch":
        inputs, targets = regression_data(50)
        chosen = torch.randperm(50, generator=torch.Generator().manual_seed(5 + 3)).split(BATCH)[0]
        optimizer.zero_grad()
        loss = F.mse_loss(problem.model(inputs[chosen]), targets[chosen])
        loss.backward()
        optimizer.step()
        first.step(loss, num_samples=len(chosen))
    file = io.BytesIO()
    torch.save([problem.model.state_dict(), optimizer.state_dict(), first.state_dict()], file)
    file.seek(0)
    first.end_epoch()  # what came after the save is dropped, and comes again

    model, moments, state = torch.load(file, weights_only=True)
    problem, optimizer, _ = fresh(None)
    problem.model.load_state_dict(model)
    optimizer.load_state_dict(moments)
    again = Monitor(problem, optimizer, path=tmp_path / "stopped.jsonl", state=state, **settings)
    if stop == "within an epoch":
        generator = torch.Generator().manual_seed(5 + 3)
        for chosen in torch.randperm(50, generator=generator).split(BATCH)[1:]:
            inputs, targets = regression_data(50)
            optimizer.zero_grad()
            loss = F.mse_loss(problem.model(inputs[chosen]), targets[chosen])
            loss.backward()
            optimizer.step()
            again.step(loss, num_samples=len(chosen))
        again.end_epoch()
    train(problem, optimizer, 6, again, start=4 if stop == "within an epoch" else 3)

    assert without_clock(again.history) == without_clock(whole.history)
    assert [again.history.skipped(i) for i in range(7)] == [whole.history.skipped(i) for i in range(7)]
    assert ls.History.from_jsonl(tmp_path / "stopped.jsonl") == again.history
    assert again.gradient_equivalents == whole.gradient_equivalents


def test_gradients_taken_through_the_problem_are_counted_once():
    problem, _ = parts()
    optimizer = ls.ConjugateGradient(problem.parameters)
    monitor = Monitor(problem, optimizer, batch_size=50)
    before = problem.cost.gradient_equivalents
    for _ in range(3):
        loss = optimizer.step(problem.closure())
        monitor.step(loss)
        monitor.end_epoch()
    spent = problem.cost.gradient_equivalents - before
    assert monitor.gradient_equivalents == {"training": pytest.approx(spent), "probing": 0.0}
    assert spent > 3


def test_accumulated_steps_count_all_their_samples():
    problem, optimizer = parts()
    monitor = Monitor(problem, optimizer)
    inputs, targets = regression_data(50)
    optimizer.zero_grad()
    losses = []
    for half in (slice(0, 25), slice(25, 50)):
        loss = F.mse_loss(problem.model(inputs[half]), targets[half]) / 2
        loss.backward()
        losses.append(loss.detach())
    accumulated = torch.cat([p.grad.reshape(-1) for p in problem.parameters]).norm()
    optimizer.step()
    monitor.step(sum(losses), num_samples=50)
    monitor.end_epoch()
    row = monitor.history[-1]
    assert row["gradient_norm_mean_batch"] == pytest.approx(float(accumulated), rel=1e-12)
    assert row["loss_running"] == pytest.approx(float(sum(losses)), rel=1e-12) and row["gradients"] == 1.0


def test_gradients_that_were_cleared_too_early_are_not_taken_for_zero():
    problem, optimizer = parts()
    monitor = Monitor(problem, optimizer, batch_size=50, trackers=["stationarity"])
    problem.closure()()
    optimizer.step()
    optimizer.zero_grad()
    monitor.step(0.5)
    monitor.end_epoch()
    row = monitor.history[-1]
    assert "gradient_norm_mean_batch" not in row and "position_dot_gradient" not in row
    assert row["update_square"] > 0 and row["loss_running"] == 0.5


def test_listeners_hear_and_are_closed(tmp_path):
    class Ear(ls.Listener):
        heard: list[str] = []

        def started(self, history, epochs, budget):
            self.heard.append("started")

        def recorded(self, row):
            self.heard.append(f"row {row['epoch']}")

        def swapped(self, swap):
            self.heard.append(f"to {swap.to_phase}")

        def close(self):
            self.heard.append("closed")

    problem, optimizer = parts()
    with Monitor(problem, optimizer, batch_size=50, listeners=[Ear()]) as monitor:
        monitor.step(1.0)
        monitor.end_epoch()
        monitor.swap_to(optimizer)
    assert Ear.heard == ["started", "row 0", "row 1", "to second", "closed"]


def test_wrong_input_is_refused_before_any_work(tmp_path):
    class Clairvoyant(Never):
        requires = frozenset({"moon_phase"})

    problem, optimizer = parts()
    with pytest.raises(MissingColumnError, match="moon_phase"):
        Monitor(problem, optimizer, policy=Clairvoyant())
    with pytest.raises(ValueError, match="unknown tracker 'lanczos'"):
        Monitor(problem, optimizer, trackers=["lanczos"])
    with pytest.raises(ValueError, match="max_overhead=-1"):
        Monitor(problem, optimizer, max_overhead=-1)
    with pytest.raises(ValueError, match="reference-point.*no reference point was given"):
        Monitor(problem, optimizer, trackers=["reference-point"])
    with pytest.raises(ValueError, match="what the step cost is not known"):
        Monitor(problem, optimizer).step(1.0)
    assert problem.cost.samples == 0
    path = tmp_path / "history.jsonl"
    monitor = Monitor(problem, optimizer, path=path)
    with pytest.raises(FileExistsError, match="Go on with its run"):
        Monitor(problem, optimizer, path=path)
    with pytest.raises(ValueError, match="the trackers, the policy and the ceiling that it was begun with"):
        Monitor(problem, optimizer, path=path, trackers=["parameter-norm"], state=monitor.state_dict())
    assert json.loads(path.read_text().splitlines()[0])["format"] == "landscape-history"
    with pytest.raises(ValueError, match="phase='third'"):
        monitor.swap_to(optimizer, phase="third")
