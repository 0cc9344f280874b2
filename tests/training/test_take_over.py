"""What a second phase takes over from the first at a swap, and that it survives checkpoints."""

from __future__ import annotations

import functools
import io
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import landscape as ls
from landscape.optim.conjugate_gradient import ConjugateGradient
from landscape.optim.lbfgs import LBFGS
from landscape.optim.preconditioner import from_adam
from landscape.optim.ssbroyden import SelfScaledBroyden
from landscape.policies import AfterEpochs
from landscape.tracking.history import History
from landscape.training.phases import MiniBatches
from tests.problems import regression_data

DESCENTS = {"cg": ConjugateGradient, "lbfgs": LBFGS, "ssbroyden": SelfScaledBroyden}
FIRST = {
    "adam": functools.partial(torch.optim.Adam, lr=3e-3),
    "amsgrad": functools.partial(torch.optim.Adam, lr=3e-3, amsgrad=True),
    "adamw": functools.partial(torch.optim.AdamW, lr=3e-3),
    "nadam": functools.partial(torch.optim.NAdam, lr=3e-3),
    "rmsprop": functools.partial(torch.optim.RMSprop, lr=3e-3),
}
EVERY_DESCENT = pytest.mark.parametrize("kind", DESCENTS.values(), ids=DESCENTS)
#: A second phase of every kind, as settings of a trainer.
SECOND: dict[str, dict[str, Any]] = {
    "cg": {"second": "cg"},
    "lbfgs": {"second": "lbfgs:history=3"},
    "ssbroyden": {"second": "ssbroyden"},
    "newton-cg": {"second": "newton-cg"},
    "ritz pairs": {"second": "lbfgs:ritz_pairs=3"},
    "float64": {"second": "lbfgs", "second_dtype": "float64"},
    "a sample": {"second": "lbfgs", "second_batch": 20},
    "norm-test": {"second": "cg", "second_batch": "norm-test"},
    "norm-test in float64": {"second": "lbfgs", "second_batch": "norm-test", "second_dtype": "float64"},
    "adam-cosine": {"second": "adam-cosine"},
    "adam-constant": {"second": "adam-constant:lr=0.002"},
    "adam-full-batch": {"second": "adam-full-batch"},
}


def problem_of(seed: int = 3, num_samples: int = 100, dtype: torch.dtype = torch.float32) -> ls.Problem:
    torch.manual_seed(seed)
    model = nn.Sequential(nn.Linear(4, 6), nn.BatchNorm1d(6), nn.Tanh(), nn.Linear(6, 2)).to(dtype)
    return ls.Problem(model, F.mse_loss, regression_data(num_samples, dtype))


def trainer_of(run_dir: Path | None = None, **settings: Any) -> ls.Trainer:
    usual = {"first": MiniBatches(batch_size=16), "policy": AfterEpochs(2), "epochs": 8, "checkpoint_seconds": 0.0}
    return ls.Trainer(run_dir=run_dir, **{**usual, **settings})


def trained(first: Any, num_steps: int = 3, dtype: torch.dtype = torch.float64) -> tuple[Any, ls.Problem]:
    problem = problem_of(dtype=dtype)
    optimizer = first(problem.parameters)
    for _ in range(num_steps):
        problem.closure()()
        optimizer.step()
    return optimizer, problem


# -- what is taken ----------------------------------------------------------------------------------------------------


@EVERY_DESCENT
@pytest.mark.parametrize("first", FIRST.values(), ids=FIRST)
def test_the_preconditioner_is_the_first_optimisers_second_moment_and_its_rate_the_first_trial(kind, first):
    """By hand: S = (sqrt(v) + 1e-3 max sqrt(v))^(-1/2), with Adam's bias correction; first trial at the learning rate."""
    adam, problem = trained(first)
    roots = []
    for parameter in problem.parameters:
        state = adam.state[parameter]
        if "square_avg" in state:
            roots.append(state["square_avg"].sqrt())
        else:
            moment = state.get("max_exp_avg_sq", state["exp_avg_sq"])
            roots.append((moment / (1 - 0.999 ** float(state["step"]))).sqrt())
    root = torch.cat([part.reshape(-1) for part in roots])
    expected = (root + 1e-3 * root.max()).rsqrt()

    optimizer, start = kind(problem.parameters), problem.params()
    optimizer.take_over(adam)
    torch.testing.assert_close(optimizer._preconditioner.diagonal, expected, rtol=1e-12, atol=0.0)
    points = []
    closure = problem.closure()

    def watched() -> torch.Tensor:
        points.append(problem.params())
        return closure()

    gradient = problem.gradient()
    optimizer.step(watched)
    moved = next(point for point in points if not torch.equal(point, start)) - start
    torch.testing.assert_close(moved, -3e-3 * expected**2 * gradient, rtol=1e-9, atol=1e-14)


@EVERY_DESCENT
@pytest.mark.parametrize("momentum", [0.0, 0.9])
def test_of_sgd_nothing_is_taken(kind, momentum):
    ends = []
    for is_told in (False, True):
        sgd, problem = trained(functools.partial(torch.optim.SGD, lr=0.05, momentum=momentum))
        optimizer = kind(problem.parameters)
        if is_told:
            optimizer.take_over(sgd)
            assert optimizer._preconditioner is None and not optimizer.state
        for _ in range(4):
            optimizer.step(problem.closure())
        ends.append(problem.params())
    assert torch.equal(*ends)


@EVERY_DESCENT
def test_an_adam_that_made_no_step_gives_nothing_and_takes_away_what_was_taken_before(kind):
    adam, problem = trained(FIRST["adam"])
    optimizer = kind(problem.parameters)
    optimizer.take_over(adam)
    assert optimizer._preconditioner is not None
    optimizer.take_over(torch.optim.Adam(problem.parameters))
    assert optimizer._preconditioner is None and not optimizer.state


@EVERY_DESCENT
def test_without_precond_adam_a_swap_only_restarts(kind):
    adam, problem = trained(FIRST["adam"])
    given = torch.linspace(1, 2, problem.num_params, dtype=torch.float64)
    for precond, kept in ((None, None), (given, given.sqrt())):
        optimizer = kind(problem.parameters, precond=precond)
        optimizer.step(problem.closure())
        optimizer.take_over(adam)
        assert not optimizer.state
        diagonal = getattr(optimizer._preconditioner, "diagonal", None)
        assert (diagonal is None) == (kept is None) and (kept is None or torch.equal(diagonal, kept))


@pytest.mark.parametrize("rate", [0.0, math.inf, math.nan])
def test_a_rate_that_is_no_step_leaves_the_usual_first_trial(rate):
    adam, problem = trained(FIRST["adam"])
    adam.param_groups[0]["lr"] = rate
    optimizer = ConjugateGradient(problem.parameters)
    optimizer.take_over(adam)
    optimizer.step(problem.closure())
    assert optimizer.last.status is ls.Status.ACCEPTED


def _spoilt(closure: Callable[[], torch.Tensor]) -> Callable[[], torch.Tensor]:
    return lambda: closure() * math.nan


@EVERY_DESCENT
def test_what_was_taken_outlasts_a_start_that_is_not_finite(kind):
    adam, problem = trained(FIRST["adam"])
    ends = []
    for is_disturbed in (False, True):
        twin = problem_of(dtype=torch.float64)
        twin.set_params(problem.params())
        twin.model.load_state_dict(problem.model.state_dict())
        optimizer = kind(twin.parameters)
        optimizer.take_over(adam, problem.parameters)
        if is_disturbed:
            optimizer.step(_spoilt(twin.closure()))
            assert optimizer.last.status is ls.Status.NONFINITE
        optimizer.step(twin.closure())
        ends.append(twin.params())
    assert torch.equal(*ends)


@EVERY_DESCENT
def test_what_was_taken_is_in_the_state_before_the_first_step_and_after_it(kind):
    """Two steps from each of the loaded states are those of the optimiser that was saved."""
    adam, problem = trained(FIRST["adam"], dtype=torch.float32)
    optimizer = kind(problem.parameters)
    optimizer.take_over(adam)
    for _ in range(3):
        file, start = io.BytesIO(), problem.params()
        torch.save(optimizer.state_dict(), file)
        file.seek(0)
        twin = problem_of()
        twin.model.load_state_dict(problem.model.state_dict())
        resumed = kind(twin.parameters)
        resumed.load_state_dict(torch.load(file, weights_only=True))
        expected = from_adam(adam, problem.parameters)
        assert torch.equal(resumed._preconditioner.diagonal, expected.diagonal)
        assert torch.equal(twin.params(), start)
        optimizer.step(problem.closure())
        resumed.step(twin.closure())
        assert repr(resumed.last) == repr(optimizer.last)
        assert torch.equal(twin.params(), problem.params())


# -- in a run ---------------------------------------------------------------------------------------------------------


class Seen(ls.Listener):
    """What the second phase's optimiser has been told at each swap, and what the first phase's knew."""

    def __init__(self) -> None:
        self.found: list[tuple[torch.Tensor | None, torch.Tensor]] = []

    def watch(self, monkeypatch: pytest.MonkeyPatch, kind: type) -> None:
        take_over = kind.take_over

        def watched(optimizer: Any, first: Any, sources: Any = None) -> None:
            take_over(optimizer, first, sources)
            own = from_adam(first, optimizer._params if sources is None else sources)
            self.found.append((optimizer._preconditioner.diagonal.clone(), own.diagonal))

        monkeypatch.setattr(kind, "take_over", watched)


@pytest.mark.parametrize("name", ["cg", "lbfgs", "ssbroyden", "newton-cg", "float64", "norm-test"])
def test_a_second_swap_takes_the_newer_moments(name, monkeypatch):
    """Swap, two steps, swap back, two epochs of Adam, swap."""
    seen = Seen()
    seen.watch(monkeypatch, ls.optim.DescentOptimizer)
    result = trainer_of(**SECOND[name], swap_back=AfterEpochs(2), epochs=7).fit(problem_of())
    assert [swap.to_phase for swap in result.swaps] == ["second", "first", "second"]
    assert len(seen.found) == 2
    for diagonal, own in seen.found:
        assert torch.equal(diagonal.to(own), own)
    assert not torch.equal(seen.found[0][0], seen.found[1][0])
    assert all(math.isfinite(row["loss"]) for row in result.history if row.get("loss") is not None)


def test_in_a_run_the_second_phase_is_the_optimiser_that_took_over_bit_for_bit():
    problem, alone = problem_of(), problem_of()
    result = trainer_of(second="lbfgs", epochs=6).fit(problem)
    trainer_of(second="lbfgs", epochs=2).fit(alone)
    adam = _adam_after_two_epochs(alone)
    optimizer = LBFGS(alone.parameters)
    optimizer.take_over(adam)
    for epoch in range(3, 7):
        optimizer.step(alone.closure())
        assert result.history[epoch]["loss"] == optimizer.last.loss
        assert result.history[epoch]["step_curvature"] == optimizer.last.curvature
    assert torch.equal(problem.params(), alone.params())


def _adam_after_two_epochs(problem: ls.Problem) -> torch.optim.Optimizer:
    """The first phase once more, on the model itself, put back to its beginning."""
    problem.model.load_state_dict(problem_of().model.state_dict())
    phase = MiniBatches(batch_size=16).start(problem, torch.Generator().manual_seed(0))
    for _ in range(2):
        phase.run_epoch(lambda _: False)
        phase.finish_epoch()
    return phase.optimizer


# -- killed and resumed -----------------------------------------------------------------------------------------------


class Killed(Exception):
    """Stands for a process that dies: nothing is written after it."""


class Killer(ls.Listener):
    """Kills the run after a number of steps."""

    def __init__(self, countdown: int) -> None:
        self.countdown = countdown

    def progressed(self, epochs: float, gradient_equivalents: float, phase: str) -> None:
        self.countdown -= 1
        if self.countdown == 0:
            raise Killed


CHARGED = {"gradient_equivalents", "probing_equivalents", "forwards", "gradients", "hessian_products", "samples"}


def rows_without(left_out: set[str], history: History) -> list[dict]:
    return [{name: value for name, value in row.items() if name not in left_out} for row in history]


@pytest.mark.parametrize("name", SECOND)
def test_a_run_killed_between_steps_goes_on_bit_for_bit(name, tmp_path):
    """The first phase makes 14 steps. Kills just before and after the swap, and in the middle of the second phase."""
    limits = {"epochs": None, "budget": 26.0} if name == "adam-cosine" else {}
    whole = problem_of()
    whole.loss()  # a ledger that is not empty; the resumed one's is
    expected = trainer_of(**SECOND[name], **limits).fit(whole)
    problem = problem_of()
    for resume, countdown in enumerate([13, 3, 2, 1, 3, 10**9]):
        problem = problem_of(seed=3 if resume == 0 else 99 + resume)  # later weights are the checkpoint's
        trainer = trainer_of(tmp_path, **SECOND[name], **limits, listeners=[Killer(countdown)])
        try:
            result = trainer.fit(problem, resume=resume > 0)
        except Killed:
            continue
        break
    assert resume >= 4, "it was killed in the second phase, more than once"
    # Products are checked once in every process, and the check is charged.
    left_out = {"seconds"} | (CHARGED if name == "newton-cg" else set())
    assert rows_without(left_out, result.history) == rows_without(left_out, expected.history)
    assert result.status is expected.status and result.swaps == expected.swaps
    assert torch.equal(problem.params(), whole.params())
    for ours, theirs in zip(problem.model.buffers(), whole.model.buffers(), strict=True):
        assert torch.equal(ours, theirs)
