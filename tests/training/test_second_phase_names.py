"""Second phases by name: what the names make, what is refused before any work, and how a tiny budget ends."""

from __future__ import annotations

import functools
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import landscape as ls
from landscape.optim.conjugate_gradient import ConjugateGradient
from landscape.optim.lbfgs import LBFGS
from landscape.optim.ssbroyden import SelfScaledBroyden
from landscape.policies import AfterEpochs, SearchFailures
from landscape.report.verdict import describe_run
from landscape.training.continued_adam import ContinuedAdam
from landscape.training.float64_phase import Float64Phase
from landscape.training.phases import FullBatch, MiniBatches
from landscape.training.registry import SECOND_PHASES, build_second
from landscape.training.sampled_phase import SampledBatchPhase
from tests.problems import regression_data


def problem_of(dtype: torch.dtype = torch.float32) -> ls.Problem:
    torch.manual_seed(3)
    model = nn.Sequential(nn.Linear(4, 6), nn.Tanh(), nn.Linear(6, 2)).to(dtype)
    return ls.Problem(model, F.mse_loss, regression_data(60, dtype))


def started(spec: str) -> Any:
    return build_second(spec).start(problem_of(), torch.Generator().manual_seed(0))


@pytest.mark.parametrize("name", SECOND_PHASES)
def test_every_name_makes_a_phase_that_lowers_the_loss_and_describes_itself(name):
    problem = problem_of()
    before = float(problem.loss())
    result = ls.Trainer(second=name, policy=AfterEpochs(1), epochs=5, first=MiniBatches(batch_size=20)).fit(problem)
    assert float(problem.loss()) < before
    assert len(result.history) == 6 and result.swap_epoch == 1
    assert build_second(name).describe() == result.settings["second"]
    assert " at 0x" not in result.settings["second"]


@pytest.mark.parametrize(
    ("spec", "kind", "options"),
    [
        ("cg", ConjugateGradient, {"beta": "pr+", "line_search": "quadratic", "precond": "adam"}),
        (
            "cg:beta=hz,line_search=golden,xtol=nr,restart_every=7",
            ConjugateGradient,
            {"xtol": 2e-4, "restart_every": 7},
        ),
        ("cg:precond=none,tol_grad=1e-3", ConjugateGradient, {"precond": "none", "tol_grad": 1e-3}),
        ("lbfgs:history=7,max_evaluations=4", LBFGS, {"history": 7, "max_evaluations": 4, "precond": "adam"}),
        ("ssbroyden:line_search=strong-wolfe", SelfScaledBroyden, {"line_search": "strong-wolfe", "max_params": 5000}),
    ],
)
def test_settings_reach_the_optimiser_and_the_rest_keeps_its_defaults(spec, kind, options):
    optimizer = started(spec).optimizer
    assert type(optimizer) is kind
    assert options.items() <= optimizer.param_groups[0].items()


def test_without_preconditioner_nothing_is_taken_over():
    assert build_second("cg:precond=none").describe().endswith("ConjugateGradient(precond=None)")
    assert build_second("lbfgs:precond=adam").describe() == build_second("lbfgs").describe()
    problem = problem_of()
    adam = torch.optim.Adam(problem.parameters)
    problem.closure()()
    adam.step()
    phase = build_second("lbfgs:precond=none").start(problem, torch.Generator())
    phase.optimizer.take_over(adam)
    assert phase.optimizer._preconditioner is None


def test_batch_and_dtype_reach_the_phase():
    assert isinstance(started("lbfgs:batch=20"), SampledBatchPhase)
    assert started("lbfgs:batch=20").sample.size == 20
    assert started("cg:batch=norm-test").settings.batch == "norm-test"
    phase = started("cg:batch=20,dtype=float64")
    assert isinstance(phase, Float64Phase) and isinstance(phase.inner, SampledBatchPhase)


def test_what_the_trainer_is_told_beside_the_name_wins_over_it():
    trainer = ls.Trainer(second="lbfgs:batch=20,history=4", second_batch="full", second_dtype="float64", epochs=1)
    assert isinstance(trainer.second, FullBatch)
    assert (trainer.second.batch, trainer.second.dtype) == ("full", "float64")
    assert "history=4" in trainer.second.describe()


def test_the_controls_are_continued_adams():
    assert build_second("adam-cosine:lr=0.01,batch_size=32") == ContinuedAdam("cosine", 0.01, 32)
    assert build_second("adam-constant") == ContinuedAdam("constant")
    assert build_second("adam-full-batch") == ContinuedAdam("constant", None, "full")


def test_a_second_phase_without_line_searches_is_never_left_because_they_fail():
    assert ls.Trainer(second="adam-cosine", epochs=1).swap_back is None
    assert ls.Trainer(second="lbfgs", epochs=1).swap_back == SearchFailures()


WRONG = {
    "cgg": "unknown second phase 'cgg'. Did you mean 'cg'",
    "adam": "unknown second phase 'adam'",
    "cg:betaa=hz": "second phase 'cg' has no setting 'betaa'. Did you mean 'beta'",
    "cg:beta=nope": "There is no beta='nope'",
    "cg:precond=ritz": "There is no precond='ritz'",
    "cg:batch=0": "batch=0 was given",
    "cg:batch=half": "batch='half' was given",
    "cg:dtype=float16": "dtype='float16' was given",
    "lbfgs:history=0": "history=0 was given",
    "lbfgs:beta=hz": "has no setting 'beta'",
    "ssbroyden:batch=100": "has no setting 'batch'",
    "ssbroyden:max_params=0": "max_params=0 was given",
    "adam-cosine:lr=-1": "lr=-1",
    "adam-cosine:batch_size=0": "batch_size=0 was given",
    "adam-full-batch:batch_size=3": "has no setting 'batch_size'",
}


@pytest.mark.parametrize("spec", WRONG)
def test_a_wrong_name_or_setting_is_refused_when_the_trainer_is_made(spec):
    with pytest.raises(ValueError, match=WRONG[spec].replace("(", r"\(")):
        ls.Trainer(second=spec, epochs=1)


def test_a_model_too_large_for_a_dense_matrix_is_refused_before_any_work(tmp_path):
    problem = problem_of()
    with pytest.raises(ValueError, match="44 parameters were given; .* max_params=40. Use LBFGS"):
        ls.Trainer(second="ssbroyden:max_params=40", epochs=3, run_dir=tmp_path / "run").fit(problem)
    assert problem.cost.samples == 0 and not (tmp_path / "run" / "history.jsonl").exists()


# -- a budget smaller than a step -------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", SECOND_PHASES)
def test_a_budget_smaller_than_one_step_ends_with_the_epoch_that_spends_it(name):
    """The first phase alone, then one step of the second: a budget is only looked at between epochs."""
    trainer = functools.partial(ls.Trainer, second=name, policy=AfterEpochs(1), record="free")
    result = trainer(budget=0.1).fit(problem_of())
    assert (result.status, len(result.history)) == (ls.Status.BUDGET_SPENT, 2)

    problem = problem_of()
    result = trainer(budget=1.1).fit(problem)
    assert result.status in (ls.Status.BUDGET_SPENT, ls.Status.SCHEDULE_ENDED)
    assert len(result.history) == 3 and result.history[-1]["phase"] == "second"
    assert result.history[-1]["gradient_equivalents"] >= 1.1
    assert torch.isfinite(problem.params()).all()


def test_a_budget_that_recording_the_start_has_spent_leaves_nothing_to_train_with():
    result = ls.Trainer(budget=0.1).fit(problem_of())
    assert (result.status, len(result.history)) == (ls.Status.BUDGET_SPENT, 1)
    assert "not one epoch was completed" in describe_run(result).headline
