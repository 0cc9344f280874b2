"""Faults of derivatives are found and named; nothing else is taken for one."""

from __future__ import annotations

import math
import random

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.nn.utils import parametrizations
from torch.utils.checkpoint import checkpoint
from torch.utils.data import DataLoader, Dataset, Sampler

import landscape.autodiff.twice as twice
from landscape import NonRepeatableError, Problem
from landscape.autodiff.twice import SecondDerivativeError
from landscape.verification.result import Check, Verification, VerificationError
from tests.autodiff.test_leave_no_trace import assert_same, traces
from tests.operators.layers import old_norm
from tests.operators.references import dense_hessian, small_mlp, vector
from tests.problems import MODELS, regression_data


def between(layer: nn.Module, width: int = 5) -> nn.Module:
    return nn.Sequential(nn.Linear(4, width), layer, nn.Linear(width, 2))


def problem_of(model: nn.Module, loss_fn=F.mse_loss, dtype=torch.float32, **settings) -> Problem:
    return Problem(model.to(dtype), loss_fn, regression_data(dtype=dtype), **settings)


def only_failure(report: Verification) -> Check:
    failed = [check for check in report.checks if not check.passed]
    assert not report.ok
    assert len(failed) == 1, str(report)
    return failed[0]


class Function(nn.Module):
    def __init__(self, function) -> None:
        super().__init__()
        self.function = function

    def forward(self, inputs):
        return self.function(inputs)


# Nothing to find


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("name", sorted(MODELS))
def test_sound_models_pass(name, dtype):
    report = problem_of(MODELS[name](), dtype=dtype).verify()
    assert report.ok, str(report)
    assert math.isnan(report.product_error) == (dtype == torch.float64)


@pytest.mark.parametrize("seed", range(8))
def test_kinks_are_no_faults(seed):
    torch.manual_seed(seed)
    model = nn.Sequential(nn.Linear(4, 40), nn.ReLU(), nn.Linear(40, 40), nn.ReLU(), nn.Linear(40, 2))
    report = Problem(model, F.l1_loss, regression_data(200, torch.float32)).verify()
    assert report.ok, str(report)


@pytest.mark.parametrize("scale", [1e-6, 1e6])
def test_the_scale_of_the_loss_does_not_matter(scale):
    report = problem_of(small_mlp(), lambda output, target: scale * F.mse_loss(output, target)).verify()
    assert report.ok, str(report)


def test_a_fitted_model_passes():
    """Where the gradient is little but rounding."""
    model = small_mlp(dtype=torch.float32)
    inputs, _ = regression_data(dtype=torch.float32)
    report = Problem(model, F.mse_loss, (inputs, model(inputs).detach())).verify()
    assert report.ok, str(report)


def test_a_loss_without_curvature_passes():
    for loss_fn in (F.l1_loss, lambda output, target: (output * target).sum()):
        report = problem_of(nn.Linear(4, 2), loss_fn).verify()
        assert report.ok, str(report)


def physics(model, batch):
    points = batch[0].requires_grad_()
    (slope,) = torch.autograd.grad(model(points).sum(), points, create_graph=True)
    return slope.square().mean() + F.mse_loss(model(points), batch[1])


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_physics_informed_closure_passes(dtype):
    problem = Problem.from_closure(small_mlp(dtype=dtype), physics, [regression_data(dtype=dtype)])
    report = problem.verify()
    assert report.ok, str(report)


def test_a_closure_that_reaches_the_model_by_another_way_passes():
    model = small_mlp(dtype=torch.float32)
    for closure in (
        lambda _, batch: F.mse_loss(model(batch[0]), batch[1]),
        lambda given, batch: F.mse_loss(given(batch[0]), batch[1]) + model[0].weight.pow(4).sum(),
    ):
        report = Problem.from_closure(model, closure, [regression_data(dtype=torch.float32)]).verify()
        assert report.ok, str(report)


def test_positive_parameters_near_zero_pass():
    """At the point where swapping is tried, the loss may not be defined."""

    class Spread(nn.Module):
        def __init__(self):
            super().__init__()
            self.linear, self.variance = nn.Linear(4, 2), nn.Parameter(torch.tensor([1e-3, 2e-3]))

        def forward(self, inputs):
            return self.linear(inputs)

    model = Spread()
    problem = problem_of(model, lambda output, target: ((output - target).square() / model.variance.sqrt()).mean())
    report = problem.verify()
    assert report.ok, str(report)


def test_a_compiled_model_passes():
    model = torch.compile(small_mlp(dtype=torch.float32), backend="eager")
    problem = problem_of(model)
    report = problem.verify()
    assert report.ok, str(report)
    double = problem_of(model._orig_mod, dtype=torch.float64)
    torch.testing.assert_close(
        problem_of(model, dtype=torch.float64).hessian().to_dense(), dense_hessian(double), rtol=1e-10, atol=1e-12
    )


def test_autocast_around_a_probe_does_not_reach_it():
    problem = problem_of(small_mlp())
    expected = problem.hessian() @ vector(23, dtype=torch.float32)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        fresh = problem_of(problem.model)
        assert fresh.verify().ok
        assert torch.equal(fresh.hessian() @ vector(23, dtype=torch.float32), expected)


def test_half_precision_is_held_to_what_it_can_do():
    problem = problem_of(small_mlp(), dtype=torch.bfloat16)
    report = problem.verify()
    assert report.ok, str(report)
    assert 1e-4 < report.product_error < 0.05


def test_verification_leaves_no_trace():
    for model in (MODELS["batch_norm_and_dropout"](), between(Function(lambda x: F.dropout(x, training=True)))):
        problem = problem_of(model)
        next(model.parameters()).grad = torch.ones_like(next(model.parameters()))
        before = traces(model)
        problem.verify()
        assert_same(before, traces(model))


def test_it_runs_once_and_says_what_it_costs():
    problem = problem_of(small_mlp())
    problem.verify()
    spent = problem.cost.copy()
    assert problem.verify() is problem.verify()
    problem.hessian(), problem.gauss_newton()
    assert problem.cost.since(spent).samples == 0
    large = Problem(problem.model, F.mse_loss, regression_data(6400, torch.float32))
    large.verify()
    assert large.cost.gradient_equivalents < 2.5


def test_the_first_samples_may_all_be_ignored():
    labels = torch.tensor([-100, -100, -100, 1, 0, 1, 1, 0, 0, 1, 1])
    problem = Problem(small_mlp(), F.cross_entropy, (regression_data()[0], labels), batch_size=2)
    assert problem.verify().ok


# Not repeatable


def test_dropout_in_eval_mode_is_found():
    """Random numbers are restored after every pass, so that passes would agree by themselves."""
    check = only_failure(problem_of(between(Function(lambda x: F.dropout(x, 0.5, training=True)))).verify())
    assert check.fault == "'1' (Function): two calls with the same inputs give different outputs"


@pytest.mark.parametrize("layer", [nn.Dropout(0.5), nn.BatchNorm1d(5)])
def test_modules_that_are_random_in_train_mode_are_refused_at_once(layer):
    with pytest.raises(NonRepeatableError, match="'1'"):
        problem_of(between(layer), mode="train")


@pytest.mark.parametrize("source", ["torch", "numpy", "python"])
def test_a_closure_that_draws_random_numbers_is_found(source):
    draw = {"torch": lambda: torch.rand(()), "numpy": np.random.rand, "python": random.random}[source]
    problem = Problem.from_closure(
        small_mlp(dtype=torch.float32),
        lambda model, batch: draw() * F.mse_loss(model(batch[0]), batch[1]),
        [regression_data(dtype=torch.float32)],
    )
    check = only_failure(problem.verify())
    assert "the loss or the closure" in check.fault
    with pytest.raises(VerificationError, match="two full passes"):
        problem.hessian()


class Augmented(Dataset):
    def __len__(self):
        return 8

    def __getitem__(self, index):
        inputs, targets = regression_data(8, torch.float32)
        return inputs[index] + 0.1 * torch.randn(4), targets[index]


class Dropping(Sampler):
    """Half of the samples, others in each pass."""

    def __init__(self) -> None:
        self.passes = 0

    def __len__(self):
        return 4

    def __iter__(self):
        self.passes += 1
        return iter(range(4) if self.passes % 2 else range(4, 8))


def test_data_that_differ_between_passes_are_found():
    model = small_mlp(dtype=torch.float32)
    whole = list(zip(*regression_data(8, torch.float32), strict=True))

    class Whole(Dataset):
        def __len__(self):
            return 8

        def __getitem__(self, index):
            return whole[index]

    for data in (DataLoader(Augmented(), batch_size=4), DataLoader(Whole(), batch_size=2, sampler=Dropping())):
        check = only_failure(Problem(model, F.mse_loss, data).verify())
        assert check.fault.startswith("the data: a batch has the same loss twice")


def test_a_nan_loss_is_said_to_be_one():
    check = only_failure(problem_of(small_mlp(), lambda output, target: output.mean() * torch.nan).verify())
    assert (check.name, check.note) == ("loss and gradient are finite", "the loss is nan")
    assert math.isnan(check.value)


# Live against swapped


class Checkpointed(nn.Module):
    def __init__(self, reentrant: bool) -> None:
        super().__init__()
        self.inner, self.reentrant = nn.Sequential(nn.Linear(4, 4), nn.Tanh()), reentrant

    def forward(self, inputs):
        return checkpoint(self.inner, inputs, use_reentrant=self.reentrant)


def test_checkpointing_is_found_where_parameters_are_swapped():
    model = nn.Sequential(Checkpointed(reentrant=False), nn.Linear(4, 2))
    problem = problem_of(model)
    check = only_failure(problem.verify())
    assert check.name == "swapped parameters act as live ones"
    assert check.fault.startswith("'0' (Checkpointed): its gradient is wrong when its parameters are swapped")
    plain = problem_of(nn.Sequential(model[0].inner, model[1]))
    product = problem.hessian() @ vector(30, dtype=torch.float32)  # at its own point it is right, and allowed
    torch.testing.assert_close(product, plain.hessian() @ vector(30, dtype=torch.float32))
    with pytest.raises(VerificationError, match="Checkpointed"):
        problem.hessian(problem.params())


@pytest.mark.filterwarnings("ignore:None of the inputs have requires_grad")
def test_reentrant_checkpointing_is_explained():
    model = nn.Sequential(nn.Linear(4, 4), Checkpointed(reentrant=True), nn.Linear(4, 2))
    with pytest.raises(RuntimeError, match="use_reentrant"):
        problem_of(model).hessian()


def test_a_hook_that_changes_a_parameters_gradient_is_found():
    model = small_mlp(dtype=torch.float32)
    model[0].weight.register_hook(lambda gradient: 0.5 * gradient)
    report = problem_of(model).verify()
    assert "a hook on 0.weight" in next(check.fault for check in report.checks if not check.passed)
    assert not report.ok_at_the_model


# Second derivatives


@pytest.mark.parametrize("norm", [parametrizations.weight_norm, old_norm])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_torchs_own_weight_norm_is_found(monkeypatch, norm, dtype):
    model = nn.Sequential(norm(nn.Linear(4, 3)), nn.Tanh(), nn.Linear(3, 2))
    assert problem_of(model, dtype=dtype).verify().ok
    monkeypatch.setattr(twice, "_weight_norm", twice._FUSED)
    report = problem_of(model, dtype=dtype).verify()
    assert not report.ok
    faults = [check.fault for check in report.checks if not check.passed]
    place = "'0.parametrizations.weight.0' (_WeightNorm)" if norm is not old_norm else "'0' (Linear)"
    assert any(fault.startswith(f"{place}: its second derivative is not symmetric") for fault in faults), str(report)


class WrongTwice(torch.autograd.Function):
    """Sine, with a backward pass whose own derivative is three times what it should be."""

    @staticmethod
    def forward(ctx, inputs):
        ctx.save_for_backward(inputs)
        return inputs.sin()

    @staticmethod
    def backward(ctx, gradient):
        (inputs,) = ctx.saved_tensors
        slope = inputs.cos()
        return gradient * (3 * slope - 2 * slope.detach())


class DetachedBackward(torch.autograd.Function):
    """Sine, with a backward pass in NumPy, which leaves no graph."""

    @staticmethod
    def forward(ctx, inputs):
        ctx.save_for_backward(inputs)
        return inputs.sin()

    @staticmethod
    def backward(ctx, gradient):
        (inputs,) = ctx.saved_tensors
        return gradient * torch.from_numpy(inputs.detach().cos().numpy())


class OnceDifferentiable(torch.autograd.Function):
    @staticmethod
    def forward(ctx, inputs):
        ctx.save_for_backward(inputs)
        return inputs.sin()

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, gradient):
        return gradient * ctx.saved_tensors[0].cos()


@pytest.mark.parametrize("function", [WrongTwice, DetachedBackward])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_custom_functions_with_a_wrong_second_derivative_are_found(function, dtype):
    report = problem_of(between(Function(function.apply)), dtype=dtype).verify()
    check = only_failure(report)
    assert check.name == "a product is the difference of gradients"
    assert check.fault.startswith("'1' (Function): its second derivative is")


def test_a_wrong_second_derivative_in_the_loss_is_placed_outside_the_modules():
    problem = problem_of(small_mlp(), lambda output, target: WrongTwice.apply(output - target).mean())
    assert "none of the modules on its own: look at the loss" in only_failure(problem.verify()).fault


@pytest.mark.parametrize(
    ("layer", "reason"),
    [
        (Function(OnceDifferentiable.apply), "a custom function is once_differentiable"),
        (Function(lambda x: torch.cdist(x, x[:1])), "_cdist_backward has no second derivative in torch"),
        (nn.Hardsigmoid(), "aten::hardsigmoid_backward has no second derivative in torch"),
    ],
)
def test_what_has_no_second_derivative_is_named(layer, reason):
    problem = problem_of(between(layer) if not isinstance(layer, Function) else nn.Sequential(nn.Linear(4, 5), layer))
    if isinstance(layer, Function):
        problem = problem_of(problem.model, lambda output, target: output.square().mean())
    check = only_failure(problem.verify())
    assert check.fault.startswith(f"'1' ({type(layer).__name__}): {reason}")
    with pytest.raises(SecondDerivativeError, match=r"at fault: '1'.*method='finite-difference'"):
        problem.hessian()
    with pytest.raises(SecondDerivativeError, match=r"has no second derivative|is once_differentiable"):
        problem.hessian(verify=False) @ vector(problem.num_params, dtype=torch.float32)
    with pytest.warns(UserWarning, match="differences of gradients"):
        assert problem.hessian(method="auto").by == "central differences of gradients"


def test_a_second_derivative_that_is_not_finite_is_found():
    report = problem_of(nn.Sequential(nn.Linear(4, 2), Function(lambda x: (0 * x).abs().pow(1.5)))).verify()
    assert not report.ok
    assert "not finite" in str(report)


@pytest.mark.parametrize("method", ["forward-over-reverse", "reverse-over-forward"])
def test_the_fault_of_layer_norm_in_forward_mode_is_found(method):
    def loss_fn(output, target):  # forward mode fails for mse_loss (pytorch#123996)
        return (output - target).pow(2).mean()

    problem = problem_of(nn.Sequential(nn.Linear(4, 5), nn.LayerNorm(5), nn.Tanh(), nn.Linear(5, 2)), loss_fn)
    report = problem.verify(method)
    if method == "reverse-over-forward":
        assert only_failure(report).fault.startswith("'1' (LayerNorm): its product by reverse-over-forward is")
        with pytest.raises(VerificationError, match="'1' .LayerNorm"):
            problem.hessian(method=method)
    else:
        assert report.ok, str(report)
    assert problem.hessian().by == "double backward"


def test_what_forward_mode_cannot_do_is_named():
    problem = problem_of(nn.Linear(4, 2), F.huber_loss)
    report = problem.verify("forward-over-reverse")
    assert not report.ok
    assert "forward mode fails here" in str(report)


def test_rounding_is_told_from_a_fault():
    """In a saturated softmax, float32 keeps the small probability of a row and loses its part of the large one."""
    inputs = regression_data(dtype=torch.float32)[0]
    model = nn.Linear(4, 2, bias=False)
    with torch.no_grad():
        model.weight.copy_(torch.tensor([[0.0, 0, 0, 0], [40.0, 0, 0, 0]]))
    inputs[:, 0] = inputs[:, 0].abs() * 0.05 + 0.5
    problem = Problem(model, F.cross_entropy, (inputs, torch.ones(11, dtype=torch.long)))
    failed = [check for check in problem.verify().checks if not check.passed]
    assert failed
    assert all(".double()" in check.fault for check in failed)
    exact = Problem(model.double(), F.cross_entropy, (inputs.double(), torch.ones(11, dtype=torch.long)))
    assert exact.verify().ok


# The report


def test_the_report_says_what_was_measured_and_what_to_do():
    problem = problem_of(between(Function(WrongTwice.apply)))
    with pytest.raises(VerificationError) as caught:
        problem.hessian()
    message = str(caught.value)
    assert "FAILED  a product is the difference of gradients" in message
    assert "    ok  u'Hv equals v'Hu" in message
    assert "method='finite-difference' needs gradients only" in message
    assert (problem.hessian(verify=False) @ vector(37, dtype=torch.float32)).any()


def test_differences_of_gradients_and_auto_are_verified_as_what_they_are():
    hard = problem_of(between(nn.Hardsigmoid()))
    assert hard.verify("auto").method == "finite-difference"
    assert hard.verify("auto").ok
    assert problem_of(small_mlp()).verify("auto").method == "autograd"


def test_nan_is_no_pass():
    assert not Check("a", math.nan, 1.0).passed
    assert not Verification("autograd", (Check("a", 0.0, 1.0), Check("b", math.nan, 1.0)), 0.0).ok
