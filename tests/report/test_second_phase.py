"""What a verdict says of the second phase: which it was, what it took over and met, what to compare it with."""

from __future__ import annotations

import math

import pytest
import torch

from landscape.cost import Cost
from landscape.policies import AfterEpochs
from landscape.problem import Problem
from landscape.report.verdict import describe_run
from landscape.status import Status
from landscape.training.phases import MiniBatches
from landscape.training.result import Evaluation
from landscape.training.trainer import Trainer
from tests.problems import regression_data
from tests.report.runs import EVALUATIONS, PEAK, history, swapped


def told(result):
    """The verdict in one line."""
    return " ".join(str(describe_run(result)).split())


ADAM = "torch.optim.adam.Adam(lr=0.001), batch_size=512, mode=train"
LBFGS = "landscape.optim.lbfgs.LBFGS(history=50)"
COSINE = "ContinuedAdam, schedule=cosine, lr=None, batch_size=None"


def with_second(second, first=ADAM, **changes):
    return swapped(settings={"first": first, "second": second, "policy": PEAK}, **changes)


@pytest.mark.parametrize(
    ("second", "name"),
    [
        ("landscape.optim.conjugate_gradient.ConjugateGradient", "nonlinear conjugate gradients on all data;"),
        (LBFGS, "L-BFGS on all data;"),
        ("landscape.optim.ssbroyden.SelfScaledBroyden()", "self-scaled Broyden on all data;"),
        ("landscape.optim.newton_cg.NewtonCG(curvature='hessian')", "truncated Newton on all data;"),
        (f"{LBFGS}, batch=2048, redraw_every=5", "L-BFGS on samples of 2048;"),
        (f"{LBFGS}, batch=norm-test, redraw_every=5, theta=0.9", "L-BFGS on samples that grow by the norm test;"),
        (f"{LBFGS}, dtype=float64", "L-BFGS on all data, computed in float64;"),
    ],
)
def test_the_second_phase_is_named_and_what_it_took_over(second, name):
    assert (
        f"The second phase was {name} Adam gave it its scale: the second moment as preconditioner, the learning rate as "
        "first trial step."
    ) in told(with_second(second))


@pytest.mark.parametrize(
    ("second", "first", "words"),
    [
        (LBFGS, "torch.optim.adamw.AdamW(lr=0.001), batch_size=512", "on all data; AdamW gave it its scale"),
        (LBFGS, "landscape.training.phases._adam, batch_size=512, mode=train", "on all data; Adam gave it its scale"),
        (
            LBFGS,
            "torch.optim.sgd.SGD(lr=0.1), batch_size=512",
            "on all data; it took nothing over from the first optimiser.",
        ),
        (
            "landscape.optim.lbfgs.LBFGS(precond=None)",
            ADAM,
            "on all data; it took nothing over from the first optimiser.",
        ),
        ("landscape.optim.lbfgs.LBFGS(precond='adam')", ADAM, "on all data; Adam gave it its scale"),
        ("landscape.optim.lbfgs.LBFGS(precond=tensor([1.]))", ADAM, "The second phase was L-BFGS on all data."),
        (f"{LBFGS}, ritz_pairs=20", ADAM, "as preconditioner, the leading curvatures at the swap on top."),
        (LBFGS, "my.module.factory, batch_size=512", "The second phase was L-BFGS on all data."),
        ("torch.optim.lbfgs.LBFGS(max_iter=5)", ADAM, "The second phase was torch.optim.LBFGS."),
        (COSINE, ADAM, "The second phase was Adam with its moments, at a learning rate that falls to 0."),
        (COSINE, "torch.optim.sgd.SGD()", "The second phase was a new Adam, at a learning rate that falls to 0."),
        (
            "ContinuedAdam, schedule=constant, lr=None, batch_size=full",
            ADAM,
            "The second phase was Adam with its moments on full batches, at a constant learning rate.",
        ),
    ],
)
def test_only_what_is_known_of_the_take_over_is_said(second, first, words):
    assert words in told(with_second(second, first))


def test_of_a_second_phase_of_somebodys_own_nothing_is_said():
    for second in ("", "my.module.<lambda>"):
        assert "The second phase was" not in told(with_second(second))


def test_a_second_phase_that_made_no_epoch_is_not_described():
    result = with_second(
        LBFGS, history=history(3), evaluations=(*EVALUATIONS[:2], Evaluation("end", 2, {"train_loss": 0.2}))
    )

    assert "The second phase was" not in told(result) and "curvature: evidence" not in told(result)


def test_negative_curvature_is_counted_and_called_evidence_against_convexity():
    met = history(step_curvature=[None, None, None, -0.5, 2.0, -3.0, 1.0])

    # The third step is not counted: its search failed, and it gained nothing.
    assert (
        "1 of 3 steps that lowered the loss by more than rounding met negative curvature: evidence that the loss is not "
        "convex along the path."
    ) in told(with_second(LBFGS, history=met))


def test_rounding_is_not_taken_for_curvature():
    recorded = history(
        loss=[0.8, 0.4, 0.2, 0.1, 0.1 - 1e-9, 0.1 - 2e-9, 0.05],
        status=[None] * 3 + ["ACCEPTED"] * 4,
        step_curvature=[None] * 3 + [1.0, -9.0, -9.0, 2.0],
    )
    text = told(with_second(LBFGS, history=recorded))

    assert "No step met negative curvature. This does not show that the loss is convex" in text


def test_without_that_column_nothing_is_said_of_it():
    for values in (None, [None] * 7, [None] * 3 + [math.nan] * 4):
        assert "met negative curvature" not in told(with_second(LBFGS, history=history(step_curvature=values)))


def test_a_float64_phase_tells_both_losses_where_rounding_the_model_has_changed_its_own():
    recorded = history(loss=[0.8, 0.4, 0.2, 0.1, 1e-9, 1e-20, 1e-31])
    end = Evaluation("end", 6, {"train_loss": 4.26e-15})
    text = told(with_second(f"{LBFGS}, dtype=float64", history=recorded, evaluations=(*EVALUATIONS[:2], end)))

    assert "Its own loss, in float64, ends at 1e-31; that of the model, rounded, at 4.26e-15." in text
    assert "rounded" not in told(with_second(f"{LBFGS}, dtype=float64"))
    assert "rounded" not in told(with_second(LBFGS, history=recorded, evaluations=(*EVALUATIONS[:2], end)))


def many_steps(num_samples=60_000):
    return {"training": Cost(num_samples, num_samples, num_samples), "probing": Cost(num_samples)}


def test_where_a_pass_is_many_adam_steps_a_decayed_adam_is_named_as_the_control_once():
    text = told(with_second(LBFGS, cost=many_steps()))

    assert text.count("One run does not show that swapping was better") == 1
    assert (
        "Here one pass over the data is 118 Adam steps, and on such tasks mini-batch Adam with a decayed learning rate was "
        "ahead of full-batch second phases where we compared them. It is the control to beat: "
        "`landscape train ... --second adam-cosine --budget-ge 2` on the same data and seeds."
    ) in text
    assert "--policy never" not in text


@pytest.mark.parametrize(
    ("second", "first", "num_samples"),
    [
        (LBFGS, ADAM, 20 * 512 - 1),
        (f"{LBFGS}, batch=512, redraw_every=5", ADAM, 60_000),
        (LBFGS, "torch.optim.sgd.SGD(lr=0.1), batch_size=512", 60_000),
        ("torch.optim.lbfgs.LBFGS()", ADAM, 60_000),
        (LBFGS, "my.factory", 60_000),
    ],
    ids=["few steps", "samples", "sgd", "another optimiser", "unknown batches"],
)
def test_elsewhere_the_control_is_the_first_optimiser_going_on(second, first, num_samples):
    text = told(with_second(second, first, cost=many_steps(num_samples)))

    assert text.count("One run does not show that swapping was better") == 1
    assert "--policy never --record free" in text and "adam-cosine" not in text


def test_exactly_twenty_steps_are_many():
    assert "one pass over the data is 20 Adam steps" in told(with_second(LBFGS, cost=many_steps(20 * 512)))


def test_a_control_is_called_one_and_has_no_line_search():
    text = told(with_second("ContinuedAdam, schedule=constant, lr=None, batch_size=full", cost=many_steps()))

    assert "This run is a control: its second phase is an Adam that went on." in text
    assert "`landscape train ... --second lbfgs --budget-ge 2`" in text
    assert "One run does not show" not in text and "line search" not in text


def test_a_newton_phase_pays_for_products_too():
    assert "for products with the curvature and the line search" in told(
        with_second("landscape.optim.newton_cg.NewtonCG()")
    )


def test_a_stalled_run_names_float64_unless_it_had_it():
    hint = "`--second-dtype float64`"

    text = told(with_second(LBFGS, status=Status.STALLED))
    assert f"Why it ended: {Status.STALLED} For a model in float32, {hint} does so in the second phase alone." in text
    assert hint not in told(with_second(f"{LBFGS}, dtype=float64", status=Status.STALLED))
    assert hint not in told(with_second(LBFGS, status=Status.MAX_STEPS))
    assert hint not in told(with_second("torch.optim.lbfgs.LBFGS()", status=Status.STALLED))


@pytest.mark.parametrize(
    "second", ["cg", "lbfgs", "ssbroyden", "newton-cg", "adam-cosine", "adam-constant", "adam-full-batch"]
)
def test_the_words_fit_what_the_trainer_writes_into_its_settings(second):
    """The settings of real runs, by name and by default."""
    torch.manual_seed(0)
    model = torch.nn.Sequential(torch.nn.Linear(4, 6), torch.nn.Tanh(), torch.nn.Linear(6, 2)).double()
    problem = Problem(model, torch.nn.functional.mse_loss, regression_data(100))
    for settings in ({"first": "adam:batch_size=5"}, {"first": MiniBatches(batch_size=5)}):
        result = Trainer(second=second, policy=AfterEpochs(2), epochs=4, **settings).fit(problem)
        text = told(result)
        if second.startswith("adam"):
            assert "The second phase was Adam with its moments" in text and "This run is a control" in text
        else:
            assert "; Adam gave it its scale" in text and "one pass over the data is 20 Adam steps" in text
            assert "met negative curvature" in text
