from __future__ import annotations

import functools
import io

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import landscape as ls
from landscape.policies import AfterEpochs
from landscape.training.newton_cg_phase import NewtonFullBatch
from landscape.training.phases import MiniBatches
from tests.problems import regression_data


def problem_of(dtype: torch.dtype = torch.float64) -> ls.Problem:
    torch.manual_seed(3)
    model = nn.Sequential(nn.Linear(4, 6), nn.Tanh(), nn.Linear(6, 2)).to(dtype)
    inputs, targets = regression_data(40)
    return ls.Problem(model, F.mse_loss, (inputs.to(dtype), targets.to(dtype)))


@pytest.mark.parametrize("curvature", ["hessian", "gauss-newton"])
def test_a_run_swaps_from_adam_to_newton_and_gains(curvature):
    problem = problem_of()
    trainer = ls.Trainer(
        first=MiniBatches(functools.partial(torch.optim.Adam, lr=1e-2), batch_size=10),
        second=NewtonFullBatch(curvature, {"max_products": 8}),
        policy=AfterEpochs(5),
        epochs=20,
    )
    result = trainer.fit(problem)
    losses = result.history.column("loss")
    assert losses[-1] < 0.6 * losses[5]
    assert problem.cost.hessian_products >= 15


def test_a_phase_resumes_bit_for_bit():
    problem, other = problem_of(), problem_of()
    phase = NewtonFullBatch().start(problem, torch.Generator())
    for _ in range(4):
        assert phase.run_epoch(lambda _: False)
        phase.finish_epoch()
    file = io.BytesIO()
    torch.save(phase.state_dict(), file)
    file.seek(0)
    resumed = NewtonFullBatch().start(other, torch.Generator())
    resumed.load_state_dict(torch.load(file, weights_only=True))
    other.set_params(problem.params())
    for _ in range(4):
        phase.run_epoch(lambda _: False)
        resumed.run_epoch(lambda _: False)
        assert phase.finish_epoch() == resumed.finish_epoch()
        assert torch.equal(problem.params(), other.params())


def test_float64_lets_a_float32_model_go_on_below_its_rounding():
    ends = []
    for dtype in (None, "float64"):
        inputs, targets = regression_data(40)
        problem = ls.Problem(nn.Linear(4, 2), F.mse_loss, (inputs.float(), targets.float()))
        phase = NewtonFullBatch(settings={"max_products": 20, "forcing": 1e-9}, dtype=dtype).start(
            problem, torch.Generator()
        )
        for _ in range(5):
            phase.run_epoch(lambda _: False)
            row = phase.finish_epoch()
        ends.append(row["gradient_norm"])
        assert problem.params().dtype == torch.float32
    assert ends[0] > 1e-10
    assert ends[1] < 1e-12


def test_the_description_says_the_settings_and_records_what_full_batches_do():
    phase = NewtonFullBatch("gauss-newton", {"history": 5, "damping": 0.1}, dtype="float64")
    assert phase.describe() == (
        "landscape.optim.newton_cg.NewtonCG(curvature='gauss-newton', damping=0.1, history=5), dtype=float64"
    )
    started = phase.start(problem_of(), torch.Generator())
    started.run_epoch(lambda _: False)
    assert phase.records <= started.finish_epoch().keys()


@pytest.mark.parametrize(
    ("arguments", "match"),
    [
        ({"curvature": "fisher"}, "curvature='fisher'"),
        ({"dtype": "float16"}, "dtype='float16'"),
        ({"settings": {"max_products": 0}}, "max_products=0"),
        ({"settings": {"beta": "pr+"}}, "beta"),
    ],
)
def test_settings_that_mean_nothing_are_refused_at_once(arguments, match):
    with pytest.raises(ValueError, match=match):
        NewtonFullBatch(**arguments)


def test_a_problem_without_outputs_has_no_gauss_newton_matrix():
    problem = problem_of()
    inputs, targets = regression_data(40)
    closed = ls.Problem.from_closure(
        problem.model, lambda model, batch: F.mse_loss(model(batch[0]), batch[1]), [(inputs, targets)]
    )
    phase = NewtonFullBatch("gauss-newton").start(closed, torch.Generator())
    with pytest.raises(ValueError, match="closure"):
        phase.run_epoch(lambda _: False)
