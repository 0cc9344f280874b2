"""Several models in one table and on one page."""

from __future__ import annotations

import json

import pytest
import torch
from torch import nn

import landscape as ls
from landscape.diagnosis.diagnose import diagnose
from landscape.diagnosis.diagnosis import DiagnosisFormatError
from landscape.diagnosis.many import Diagnoses, diagnose_many
from landscape.diagnosis.moments import diagnose_moments, moments_of
from landscape.probes.certificate.certificate import Verdict
from landscape.status import Status
from landscape.training.run_directory import RunDirectoryError


def regression(num_samples: int = 150, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    inputs = torch.randn(num_samples, 3, generator=generator, dtype=torch.float64)
    return inputs, inputs.square().sum(dim=1, keepdim=True)


def linear() -> nn.Module:
    """A convex loss, whatever the weights."""
    torch.manual_seed(1)
    return nn.Linear(3, 1).double()


def product_of_layers() -> nn.Module:
    """At the origin two linear layers have a saddle: zero gradient, curvature of both signs."""
    model = nn.Sequential(nn.Linear(3, 2, bias=False), nn.Linear(2, 1, bias=False)).double()
    nn.init.zeros_(model[0].weight)
    nn.init.zeros_(model[1].weight)
    return model


def shifted() -> tuple[torch.Tensor, torch.Tensor]:
    """Data on which the saddle has negative curvature: inputs that say something of the targets."""
    inputs, _ = regression()
    return inputs, inputs.sum(dim=1, keepdim=True)


@pytest.fixture(scope="module")
def found() -> Diagnoses:
    def broken() -> ls.Problem:
        raise RuntimeError("no such checkpoint")

    return diagnose_many(
        {
            "convex": (linear(), nn.functional.mse_loss, shifted()),
            "broken": broken,
            "saddle": lambda: ls.Problem(product_of_layers(), nn.functional.mse_loss, shifted()),
        },
        level="quick",
        held_out={"saddle": regression(seed=5)},
        progress=False,
    )


def test_verdicts_are_those_that_each_model_has_alone(found):
    assert found["convex"].verdict is Verdict.ABOVE and found["saddle"].verdict is Verdict.NEGATIVE
    alone = diagnose(product_of_layers(), nn.functional.mse_loss, shifted(), level="quick", progress=False)
    assert found["saddle"].finding("lambda_min").value == alone.finding("lambda_min").value
    assert found["saddle"].finding("held_out").is_measured and not found["convex"].finding("held_out").is_measured


def test_a_model_that_fails_is_recorded_and_the_others_go_on(found):
    assert found.failures == {"broken": "RuntimeError: no such checkpoint"}
    broken = found["broken"]
    assert broken.status is Status.UNMEASURABLE and broken.verdict is None
    assert len(broken.not_measured) == len(found["convex"].findings)
    assert [item.name for item in found] == ["convex", "broken", "saddle"] and not found.was_stopped


def test_the_table_has_a_column_each_within_a_hundred_columns(found):
    lines = str(found).splitlines()
    assert max(map(len, lines)) <= 100
    assert lines[0].split() == ["convex", "broken", "saddle"]
    assert lines[1].split() == ["Verdict", "ABOVE", "none", "NEGATIVE"]
    row = next(line for line in lines if line.startswith("Smallest eigenvalue of the Hessian"))
    assert f"{found['saddle'].finding('lambda_min').value:.4g}" in row
    assert "broken: RuntimeError: no such checkpoint" in lines


def test_many_models_with_long_names_still_fit():
    item = diagnose(
        linear(), nn.functional.mse_loss, shifted(), level="quick", progress=False, name="a" * 40 + " b" * 9
    )
    text = str(Diagnoses((item,) * 9))
    assert max(map(len, text.splitlines())) <= 100 and text.count("ABOVE") == 9


def test_everything_comes_back_from_json(found):
    again = Diagnoses.from_dict(json.loads(found.to_json()))
    assert again.to_json() == found.to_json() and str(again) == str(found)
    with pytest.raises(DiagnosisFormatError, match="'landscape-diagnosis'.*Diagnosis.from_dict"):
        Diagnoses.from_dict(found["convex"].to_dict())
    with pytest.raises(KeyError, match="no diagnosis 'convicts'; there are 'convex'"):
        found["convicts"]


def test_the_page_shows_all_and_its_twin_holds_the_facts(found, tmp_path):
    page = found.save(tmp_path / "page.html")
    text = page.read_text()
    assert all(name in text for name in ("convex", "broken", "saddle")) and "no such checkpoint" in text
    assert json.loads((tmp_path / "page.json").read_text()) == json.loads(found.to_json())


def test_an_interruption_keeps_what_is_known_and_leaves_the_rest_out():
    asked = []

    def progress(what: str, share: float) -> None:
        asked.append((what, share))
        if what.startswith("second: Smallest"):
            raise KeyboardInterrupt

    problem = ls.Problem(linear(), nn.functional.mse_loss, shifted())
    names = []
    stopped = diagnose_many(
        {"first": problem, "second": problem, "third": lambda: pytest.fail("its turn came")},
        level="quick",
        progress=progress,
        announce=lambda name, estimate: names.append((name, estimate.gradient_equivalents)),
    )
    assert [item.status for item in stopped] == [Status.COMPLETED, Status.CUT_SHORT, Status.CUT_SHORT]
    assert stopped.was_stopped and not stopped.failures
    assert stopped["second"].finding("stationarity").is_measured and stopped["second"].verdict is None
    shares = [share for _, share in asked]
    assert shares == sorted(shares) and asked[-1] == ("", 1.0)
    assert [name for name, work in names if work > 0] == ["first", "second"]


WRONG = {
    "models is a list": ([], {}),
    "no model was given": ({}, {}),
    "'a' is a Linear; needed is a Problem": ({"a": nn.Linear(1, 1)}, {}),
    "'a' is a int": ({"a": 3}, {}),
    "level='fast' was given": ({"a": lambda: 1 / 0}, {"level": "fast"}),
    "budget=0 was given": ({"a": lambda: 1 / 0}, {"budget": 0}),
}


@pytest.mark.parametrize("message", sorted(WRONG))
def test_what_would_fail_for_every_model_is_refused_before_any_work(message):
    models, settings = WRONG[message]
    with pytest.raises((TypeError, ValueError), match=message):
        diagnose_many(models, **settings)


def test_what_a_function_gives_is_checked_in_its_turn():
    found = diagnose_many({"a": lambda: (1, 2)}, level="quick", progress=False)
    assert "TypeError: 'a' is a tuple; needed is a Problem" in found.failures["a"]


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "run"
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 1)).double()
    problem = ls.Problem(model, nn.functional.mse_loss, regression())
    ls.Trainer(epochs=6, policy=ls.policies.AfterEpochs(4), run_dir=folder).fit(problem)
    return folder, problem


def test_the_moments_of_a_run_of_ones_own_are_measured_at_their_weights(run):
    folder, problem = run
    before = problem.params()
    grads = [parameter.grad for parameter in problem.parameters]
    found = diagnose_moments(folder, problem, moments=["end", "start", "swap"], level="quick", progress=False)
    assert [item.name for item in found] == ["start, epoch 0", "swap-1, epoch 4", "end, epoch 6"]
    assert len(found.history) == 7
    recorded = {int(row["epoch"]): row["loss"] for row in found.history}
    for item, epoch in zip(found, (0, 4, 6), strict=True):
        assert item.finding("stationarity").details["loss"] == pytest.approx(recorded[epoch], rel=1e-6)
    assert torch.equal(problem.params(), before)
    assert all(one is other.grad for one, other in zip(grads, problem.parameters, strict=True))


def test_a_run_without_an_end_has_its_latest_state(run, tmp_path):
    folder, _ = run
    copied = tmp_path / "run"
    (copied / "weights").mkdir(parents=True)
    for name in ("history.jsonl", "checkpoint.pt", "weights/start.pt"):
        (copied / name).write_bytes((folder / name).read_bytes())
    assert [moment.name for moment in moments_of(copied)] == ["start", "latest"]
    problem = run[1]
    found = diagnose_moments(copied, problem, level="quick", progress=False)
    assert [item.name for item in found] == ["latest, epoch 6"] and not found.failures


def test_a_moment_that_was_not_kept_is_refused_with_those_that_were(run, tmp_path):
    folder, problem = run
    with pytest.raises(
        ValueError, match="moment 'swap-2' was asked for.*start, epoch 0, swap-1, epoch 4, end, epoch 6"
    ):
        diagnose_moments(folder, problem, moments=["swap-2"])
    with pytest.raises(RunDirectoryError, match=r"holds no weights of a run"):
        diagnose_moments(tmp_path, problem)
