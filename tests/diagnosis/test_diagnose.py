"""What a diagnosis costs, how it stops, what it leaves behind, and what it makes of odd problems."""

from __future__ import annotations

import json
import math
import re

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from landscape.autodiff.leave_no_trace import get_random_states
from landscape.diagnosis.diagnose import ORDER, PROBES, diagnose
from landscape.diagnosis.diagnosis import Diagnosis
from landscape.diagnosis.finding import Outlook
from landscape.diagnosis.levels import LEVELS
from landscape.models.registry import build
from landscape.probes.certificate.certificate import Verdict
from landscape.problem import Problem
from landscape.status import Status
from landscape.testing.problems import function_problem, logistic_regression
from landscape.verification.result import VerificationError
from tests.diagnosis.problems import small_network, tanh_mlp
from tests.problems import mixed_modes, regression_data


def vit(num_samples: int = 64) -> Problem:
    generator = torch.Generator().manual_seed(0)
    images = torch.rand(num_samples, 1, 16, 16, generator=generator)
    targets = torch.eye(10)[torch.randint(10, (num_samples,), generator=generator)]
    model = build("vit-mlp", channels=1, num_classes=10, image_size=16, seed=0)
    return Problem(model, nn.functional.mse_loss, (images, targets))


@pytest.mark.parametrize(("level", "most"), [("quick", 30.0), ("standard", 200.0)])
def test_a_transformer_with_symmetries_is_within_the_levels_promise(level, most):
    problem = vit()
    images, targets = next(iter(problem.batches)).content
    found = diagnose(problem, level=level, held_out=(images.flip(0) ** 2, targets), progress=False)
    assert found.status is Status.COMPLETED
    assert found.finding("symmetry").details["count"] > 6
    assert found.finding("held_out").is_measured
    assert found.verdict is Verdict.NEGATIVE
    assert found.gradient_equivalents <= most
    assert found.gradient_equivalents <= found.estimate.gradient_equivalents + 1.0


@pytest.mark.parametrize("level", ["quick", "standard"])
@pytest.mark.parametrize("budget", [0.5, 2.0, 5.0, 12.0, 25.0, 60.0, 120.0])
def test_the_budget_is_kept_to_one_product(level, budget):
    problem = tanh_mlp(num_samples=100)
    inputs, targets = next(iter(problem.batches)).content
    found = diagnose(problem, level=level, budget=budget, held_out=(inputs + 0.1, targets), progress=False)
    assert problem.cost.gradient_equivalents <= budget + 2.0
    assert found.gradient_equivalents <= budget + 2.0
    assert found.budget == budget
    assert found.estimate.gradient_equivalents <= budget
    assert {finding.key for finding in found.findings} == set(ORDER)
    for finding in found.not_measured:
        assert finding.status
    skipped = any("The budget has" in finding.status for finding in found.findings)
    assert (found.status is Status.BUDGET_SPENT) or not skipped


@pytest.mark.parametrize("level", LEVELS)
def test_costs_of_findings_add_up_to_the_whole_but_for_the_timing(level):
    found = diagnose(tanh_mlp(num_samples=100), level=level, progress=False)
    total = sum(finding.gradient_equivalents for finding in found.findings)
    assert total <= found.gradient_equivalents + 1e-6
    assert found.gradient_equivalents - total < 1.1
    assert found.gradient_equivalents <= found.estimate.gradient_equivalents + 1.0


def test_a_higher_level_measures_what_a_lower_one_does_and_more():
    measured = []
    for level in LEVELS:
        found = diagnose(tanh_mlp(num_samples=100), level=level, progress=False)
        measured.append({finding.key for finding in found.findings if finding.is_measured})
    assert measured[0] < measured[1] <= measured[2]
    assert len(measured[2]) >= 15


class _StopAt:
    """Raises like Ctrl-C at the n-th call."""

    def __init__(self, at: int) -> None:
        self.at, self.calls = at, 0

    def __call__(self, what: str, share: float) -> None:
        self.calls += 1
        if self.calls == self.at:
            raise KeyboardInterrupt


def test_a_stop_at_any_time_keeps_what_is_known():
    counter = _StopAt(0)
    diagnose(tanh_mlp(), level="standard", progress=counter)
    assert counter.calls > len(PROBES)
    known = -1
    for at in range(1, counter.calls, 6):
        found = diagnose(tanh_mlp(), level="standard", progress=_StopAt(at))
        assert found.status is Status.CUT_SHORT
        assert [finding.key for finding in found.findings] == list(ORDER)
        measured = len(found.findings) - len(found.not_measured)
        assert measured >= known - 3  # a stop within a measurement keeps what that one knew
        known = max(known, measured)
        if at > 1:
            assert found.finding("stationarity").is_measured
        assert any("Stopped on request" in finding.status for finding in found.findings)
        assert str(found.status) in re.sub(r"\s+", " ", str(found))
    assert known >= 10


def test_a_stop_within_a_measurement_stops_the_whole(monkeypatch):
    """Lanczos catches Ctrl-C itself and returns what it has; nothing else may begin after that."""
    calls = []

    def progress(what: str, share: float) -> None:
        calls.append(what)
        if what.startswith("Smallest") and calls.count(what) == 3:
            raise KeyboardInterrupt

    found = diagnose(tanh_mlp(), level="standard", progress=progress)
    assert found.status is Status.CUT_SHORT
    assert found.finding("lambda_min").status == str(Status.INTERRUPTED)
    assert found.finding("lambda_min").is_measured
    assert not found.finding("trace").is_measured
    assert calls[-1] == "" and calls[-2].startswith("Smallest")


def test_progress_rises_from_0_to_1_and_names_what_is_measured():
    told: list[tuple[str, float]] = []
    diagnose(tanh_mlp(), level="standard", progress=lambda what, share: told.append((what, share)))
    shares = [share for _, share in told]
    assert all(0.0 <= share <= 1.0 for share in shares)
    assert told[-1] == ("", 1.0)
    assert shares[-2] > 0.7
    titles = list(dict.fromkeys(what for what, _ in told))
    assert titles == [probe.titles[0] for probe in PROBES] + [""]


def test_the_estimate_is_announced_before_anything_is_measured():
    order: list[str] = []
    found = diagnose(
        tanh_mlp(num_samples=100),
        level="quick",
        announce=lambda estimate: order.append(str(estimate)),
        progress=lambda what, _: order.append(what),
    )
    assert order[0] == str(found.estimate)
    assert "gradient equivalents (GE)" in order[0] and "on this machine" in order[0]
    assert found.estimate.seconds > 0 and found.estimate.seconds_per_gradient > 0


def test_a_bar_goes_to_standard_error_only(capsys):
    diagnose(tanh_mlp(), level="quick", progress=True)
    shown = capsys.readouterr()
    assert shown.out == ""
    assert "quick: about" in shown.err and "%|" in shown.err
    diagnose(tanh_mlp(), level="quick")  # no terminal
    diagnose(tanh_mlp(), level="quick", progress=False)
    assert capsys.readouterr() == ("", "")


def _state(model: nn.Module) -> dict[str, object]:
    return {
        "tensors": [t.detach().clone() for t in (*model.parameters(), *model.buffers())],
        "versions": [p._version for p in model.parameters()],
        "grads": [None if p.grad is None else p.grad.clone() for p in model.parameters()],
        "modes": [module.training for module in model.modules()],
        "wanted": [p.requires_grad for p in model.parameters()],
    }


def _same(a: object, b: object) -> bool:
    if isinstance(a, Tensor):
        return isinstance(b, Tensor) and torch.equal(a, b)
    if isinstance(a, np.ndarray):
        return bool(np.array_equal(a, b))
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(_same(a[key], b[key]) for key in a)
    if isinstance(a, (list, tuple)):
        return len(a) == len(b) and all(map(_same, a, b))
    return a == b


@pytest.mark.parametrize("stop_at", [None, 4, 11])
def test_no_trace_is_left(stop_at):
    model = mixed_modes().double()
    inputs, targets = regression_data(30)
    nn.functional.mse_loss(model(inputs), targets).backward()
    before, states = _state(model), get_random_states()
    progress = False if stop_at is None else _StopAt(stop_at)
    diagnose(model, nn.functional.mse_loss, (inputs, targets), held_out=(inputs, targets), progress=progress)
    assert _same(_state(model), before)
    assert _same(get_random_states(), states)


def _without_times(found: Diagnosis) -> dict[str, object]:
    plain = found.to_dict()
    for entry in plain["findings"]:
        del entry["seconds"]
    for name in ("seconds", "seconds_per_gradient", "product_in_gradients"):
        del plain["estimate"][name]
    del plain["seconds"], plain["provenance"]["time"]
    return plain


def test_two_calls_give_the_same_but_for_the_time():
    first, second = (diagnose(tanh_mlp(), level="standard", progress=False) for _ in range(2))
    assert _without_times(first) == _without_times(second)
    other = diagnose(tanh_mlp(), level="standard", seed=1, progress=False)
    assert other.finding("trace").value != first.finding("trace").value
    assert other.verdict is first.verdict


def test_json_brings_everything_back():
    found = diagnose(tanh_mlp(), level="standard", budget=30.0, progress=False)
    again = Diagnosis.from_dict(json.loads(found.to_json()))
    assert again.to_dict() == found.to_dict()
    assert str(again) == str(found)
    assert again.verdict is found.verdict and again.status is found.status


def nan_problem() -> Problem:
    return function_problem(lambda x: torch.log(x).sum(), torch.tensor([1.0, -1.0], dtype=torch.float64))


def infinite_gradient() -> Problem:
    return function_problem(lambda x: torch.sqrt(x.clamp(min=0)).sum() + x.sum(), torch.zeros(2, dtype=torch.float64))


@pytest.mark.parametrize("make", [nan_problem, infinite_gradient])
def test_a_loss_or_gradient_that_is_no_number_is_a_finding(make):
    found = diagnose(make(), level="standard", progress=False)
    assert found.verdict is None and found.status is Status.COMPLETED
    assert found.finding("stationarity").outlook is Outlook.UNFAVOURABLE
    assert found.headline.startswith("Loss or gradient is not finite")
    for finding in found.findings:
        if finding.key not in ("stationarity", "precision"):
            assert "not finite" in finding.status
    again = Diagnosis.from_dict(json.loads(found.to_json()))
    assert again.to_dict() == found.to_dict()
    assert math.isnan(again.finding("stationarity").value) == math.isnan(found.finding("stationarity").value)


def test_zero_gradient_and_zero_loss_are_told_as_such():
    bowl = function_problem(lambda x: x @ x, torch.zeros(4, dtype=torch.float64))
    found = diagnose(bowl, level="standard", progress=False)
    assert found.finding("stationarity").value == 0.0
    assert found.finding("lambda_min").outlook is Outlook.FAVOURABLE
    assert "exactly zero" in found.finding("second_phase_gain").status
    assert found.finding("sharpness").value == 0.0
    str(found)


def test_parameters_at_zero_do_not_pass_for_stationary():
    slope = function_problem(lambda x: (x - 1) @ (x - 1), torch.zeros(4, dtype=torch.float64))
    found = diagnose(slope, level="quick", progress=False).finding("stationarity")
    assert found.outlook is Outlook.NEUTRAL and math.isnan(found.value)


def test_a_flat_loss_has_no_curvature_to_speak_of():
    flat = function_problem(lambda x: x.sum(), torch.ones(3, dtype=torch.float64))
    found = diagnose(flat, level="standard", progress=False)
    assert found.finding("lambda_max").value == pytest.approx(0.0, abs=1e-12)
    assert found.finding("ratio").outlook is Outlook.UNDECIDED
    str(found)


def test_a_single_sample_has_no_noise_to_measure():
    inputs, targets = torch.randn(1, 3).double(), torch.randn(1, 2).double()
    found = diagnose(small_network(nn.Tanh()), nn.functional.mse_loss, (inputs, targets), level="quick", progress=False)
    assert "single sample" in found.finding("noise_floor").status
    assert any("1 sample only" in warning for warning in found.warnings)


def pinn() -> Problem:
    """A differential equation with boundary terms: a batch of points of two kinds, which cannot be cut."""
    model = small_network(nn.Tanh(), width=6, inputs=1, outputs=1)
    inside, edge = torch.linspace(0, 3, 20, dtype=torch.float64)[:, None], torch.tensor([[0.0], [3.0]]).double()

    def closure(model: nn.Module, batch: dict[str, Tensor]) -> Tensor:
        x = batch["inside"].requires_grad_()
        first = torch.autograd.grad(model(x).sum(), x, create_graph=True)[0]
        second = torch.autograd.grad(first.sum(), x, create_graph=True)[0]
        return (second + torch.sin(x)).square().mean() + model(batch["edge"]).square().mean()

    return Problem.from_closure(model, closure, [{"inside": inside, "edge": edge}])


def test_a_batch_that_cannot_be_cut_is_measured_all_the_same():
    found = diagnose(pinn(), level="standard", progress=False)
    assert found.verdict is not None
    assert found.finding("trace").is_measured and found.finding("directional").is_measured
    assert found.finding("directional").error is None
    assert not found.finding("noise_floor").is_measured
    assert found.provenance["loss"] == "a closure"
    with pytest.raises(ValueError, match=r"Problem\.from_closure\(model, closure, held_out_batches\)"):
        diagnose(pinn(), held_out=[{}])


def test_batches_of_their_own_size_have_noise_where_there_are_several():
    inputs, targets = regression_data(24)
    batches = [(inputs[i : i + 6], targets[i : i + 6]) for i in range(0, 24, 6)]
    model = nn.Sequential(nn.Linear(4, 3), nn.Tanh(), nn.Linear(3, 2)).double()
    found = diagnose(model, nn.functional.mse_loss, batches, level="quick", progress=False)
    assert found.finding("noise_floor").details["variance"] > 0


class _OnceOnly(torch.autograd.Function):
    """Has no second derivative that torch could take."""

    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x**2

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, grad):
        (x,) = ctx.saved_tensors
        return 2 * x * grad


class _Square(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return _OnceOnly.apply(x)


def test_where_torch_cannot_differentiate_twice_products_are_differences():
    inputs, targets = regression_data(40)
    model = nn.Sequential(nn.Linear(4, 3), _Square(), nn.Linear(3, 2)).double()
    smooth = nn.Sequential(nn.Linear(4, 3), nn.Identity(), nn.Linear(3, 2)).double()
    smooth.load_state_dict(model.state_dict())
    found = diagnose(model, nn.functional.mse_loss, (inputs, targets), level="standard", progress=False)
    assert any("differences of gradients" in warning for warning in found.warnings)
    assert found.finding("precision").details["method"] == "finite-difference"
    assert found.verdict is Verdict.NEGATIVE

    class Twice(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x**2

    smooth[1] = Twice()
    exact = diagnose(smooth, nn.functional.mse_loss, (inputs, targets), level="standard", progress=False)
    assert found.finding("lambda_min").value == pytest.approx(exact.finding("lambda_min").value, rel=1e-4)


class _Noisy(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x + 0.1 * torch.randn_like(x)


def test_a_loss_that_does_not_repeat_itself_is_refused():
    inputs, targets = regression_data(20)
    model = nn.Sequential(nn.Linear(4, 2), _Noisy()).double()
    with pytest.raises(VerificationError, match="_Noisy"):
        diagnose(model, nn.functional.mse_loss, (inputs, targets), level="quick", progress=False)


def test_without_budget_for_checks_the_page_says_that_there_were_none():
    found = diagnose(tanh_mlp(num_samples=40), level="quick", budget=6.0, progress=False)
    assert not found.finding("precision").is_measured
    assert any("not checked" in warning for warning in found.warnings)


def test_held_out_data_keep_the_choice_of_parameters():
    inputs, targets = regression_data(30)
    model = nn.Sequential(nn.Linear(4, 5), nn.Tanh(), nn.Linear(5, 2)).double()
    problem = Problem(model, nn.functional.mse_loss, (inputs, targets), params="0.*")
    found = diagnose(problem, level="quick", held_out=(inputs + 0.1, targets), progress=False)
    assert found.provenance["held-out samples"] == "30"
    whole = Problem(model, nn.functional.mse_loss, (inputs, targets))
    with pytest.raises(ValueError, match="other parameters"):
        diagnose(problem, held_out=whole)


WRONG: dict[str, tuple[tuple, dict, type[Exception], str]] = {
    "level": ((), {"level": "slow"}, ValueError, "'quick', 'standard', 'thorough'"),
    "budget": ((), {"budget": 0.0}, ValueError, "more than 0 gradient equivalents"),
    "budget is NaN": ((), {"budget": math.nan}, ValueError, "more than 0"),
    "batch_size": ((), {"batch_size": 0}, ValueError, "at least 1 sample"),
    "loss with a problem": ((nn.functional.mse_loss,), {}, ValueError, "Give it alone"),
}


@pytest.mark.parametrize("name", WRONG)
def test_what_cannot_be_is_refused_before_any_work(name):
    arguments, options, error, message = WRONG[name]
    problem = tanh_mlp()
    with pytest.raises(error, match=re.escape(message)):
        diagnose(problem, *arguments, **options)
    assert problem.cost.samples == 0


def test_what_is_missing_is_named():
    model = small_network(nn.Tanh())
    with pytest.raises(ValueError, match="loss_fn and data is missing"):
        diagnose(model)
    with pytest.raises(ValueError, match="data is missing"):
        diagnose(model, nn.functional.mse_loss)
    with pytest.raises(TypeError, match="model is a str"):
        diagnose("model")
    with pytest.raises(ValueError, match=r"eigenvalues need float32 or float64.*\.float\(\)"):
        inputs, targets = torch.zeros(4, 3).bfloat16(), torch.zeros(4, 2).bfloat16()
        diagnose(small_network(nn.Tanh()).bfloat16(), nn.functional.mse_loss, (inputs, targets))
    with pytest.raises(ValueError, match="another model"):
        diagnose(tanh_mlp(), held_out=tanh_mlp())


def test_provenance_tells_weights_and_data_apart():
    problem = logistic_regression().problem
    first = diagnose(problem, level="quick", progress=False).provenance
    again = diagnose(logistic_regression().problem, level="quick", progress=False).provenance
    assert {**first, "time": ""} == {**again, "time": ""}
    problem.set_params(problem.params() + 1e-9)
    moved = diagnose(problem, level="quick", progress=False).provenance
    other = diagnose(logistic_regression(num_samples=31).problem, level="quick", progress=False).provenance
    assert moved["weights"] != first["weights"] and moved["data"] == first["data"]
    assert other["data"] != first["data"]
    for fact in ("landscape", "torch", "machine", "precision", "mode", "samples", "seed"):
        assert first[fact]
