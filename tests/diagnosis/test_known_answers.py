"""Every finding of a diagnosis against dense linear algebra, on problems whose answer is known."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn

from landscape.diagnosis.diagnose import diagnose
from landscape.diagnosis.diagnosis import Diagnosis
from landscape.diagnosis.finding import Outlook
from landscape.probes.certificate.certificate import Verdict
from landscape.problem import Problem
from landscape.testing.problems import least_squares, logistic_regression, quadratic, saddle
from tests.diagnosis.problems import (
    dense_hessian,
    interpolating_network,
    linear_net_at_its_saddle,
    small_network,
    tanh_mlp,
    trained,
)

CASES = {
    "logistic_regression": lambda: logistic_regression(num_samples=60, num_features=8),
    "saddle": lambda: saddle(num_params=12, num_negative=3),
    "least_squares": lambda: least_squares(num_samples=50, num_features=10),
    "mlp": lambda: tanh_mlp(),
    "trained_mlp": lambda: trained(tanh_mlp(), 300),
}


@pytest.fixture(scope="module", params=["standard", "thorough"])
def level(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture(scope="module", params=CASES)
def case(request: pytest.FixtureRequest, level: str) -> tuple[Problem, Tensor, Diagnosis]:
    """A problem, its dense Hessian, and what a diagnosis says."""
    known = CASES[request.param]()
    problem, hessian = (known, dense_hessian(known)) if isinstance(known, Problem) else (known.problem, known.hessian)
    return problem, hessian, diagnose(problem, level=level, progress=False)


def test_lambda_min_and_lambda_max_lie_in_their_intervals(case):
    _, H, found = case
    eigenvalues = torch.linalg.eigvalsh(H)
    smallest, largest = found.finding("lambda_min"), found.finding("lambda_max")
    for finding, truth in ((smallest, float(eigenvalues[0])), (largest, float(eigenvalues[-1]))):
        low, high = finding.interval
        slack = 1e-12 * float(eigenvalues.abs().max())
        assert low - slack <= truth <= high + slack
    # So few parameters that the Krylov space holds everything.
    assert smallest.value == pytest.approx(float(eigenvalues[0]), abs=1e-8)
    assert largest.value == pytest.approx(float(eigenvalues[-1]), rel=1e-8)
    assert smallest.details["error"] < 1e-10


def test_the_verdict_is_that_of_the_eigenvalues(case):
    _, H, found = case
    eigenvalues = torch.linalg.eigvalsh(H)
    expected = Verdict.NEGATIVE if eigenvalues[0] < 0 else Verdict.ABOVE
    assert found.verdict is expected
    assert found.finding("lambda_min").details["verdict"] == expected.name
    ratio = found.finding("ratio")
    assert ratio.value == pytest.approx(float(eigenvalues[0] / eigenvalues[-1]), abs=1e-8)
    low, high = ratio.interval
    assert low - 1e-9 <= ratio.value <= high + 1e-9


def test_the_trace_is_within_four_standard_errors(case):
    _, H, found = case
    finding = found.finding("trace")
    assert abs(finding.value - float(H.trace())) <= 4 * finding.error + 1e-10
    assert finding.details["mean_eigenvalue"] == pytest.approx(finding.value / len(H))


def test_traces_of_layers_are_those_of_their_blocks(case):
    problem, H, found = case
    start, blocks = 0, {}
    for name, size in zip(problem.layout.names, problem.layout.sizes, strict=True):
        layer = name.rpartition(".")[0] or "(root)"
        blocks.setdefault(layer, []).extend(range(start, start + size))
        start += size
    rows = found.finding("layers").details["rows"]
    assert [row["name"] for row in rows] == list(blocks)
    gradient = problem.gradient()
    for row in rows:
        block = H[blocks[row["name"]]][:, blocks[row["name"]]]
        assert abs(row["trace"] - float(block.trace())) <= 4 * row["trace_standard_error"] + 1e-10
        assert row["num_params"] == len(block)
        assert row["gradient_norm"] == pytest.approx(float(gradient[blocks[row["name"]]].norm()))
        assert row["parameter_norm"] == pytest.approx(float(problem.params()[blocks[row["name"]]].norm()))
        if "lambda_min" in row:
            ends = torch.linalg.eigvalsh(block)
            scale = float(ends.abs().max())
            assert ends[0] - 1e-9 <= row["lambda_min"] <= ends[0] + 0.05 * scale
            assert ends[-1] - 0.05 * scale <= row["lambda_max"] <= ends[-1] + 1e-9
    assert ("lambda_min" in rows[0]) is (found.level == "thorough")


def test_the_share_of_negative_eigenvalues_and_the_density(case):
    _, H, found = case
    eigenvalues = torch.linalg.eigvalsh(H)
    finding = found.finding("density")
    share = float((eigenvalues < finding.details["negative_threshold"]).double().mean())
    low, high = finding.interval
    assert low - 1e-12 <= share <= high + 1e-12
    if finding.details["is_exact"]:
        assert finding.value == pytest.approx(share)
        torch.testing.assert_close(torch.tensor(finding.details["nodes"]).double(), eigenvalues, rtol=1e-6, atol=1e-8)
    assert sum(finding.details["weights"]) == pytest.approx(1.0)
    assert len(finding.details["grid"]) == len(finding.details["density"])


def test_the_condition_number_is_that_of_the_positive_part(case):
    _, H, found = case
    finding, density = found.finding("condition_number"), found.finding("density")
    if not finding.is_measured:
        assert found.level == "standard"
        return
    eigenvalues = torch.linalg.eigvalsh(H)
    positive = eigenvalues[eigenvalues > 1e-13 * eigenvalues.abs().max()]
    truth = float(positive[-1] / positive[0])
    assert finding.value <= truth * (1 + 1e-6)
    if density.details["is_exact"]:
        assert finding.value == pytest.approx(truth, rel=1e-3)
        assert finding.details["num_resolved"] == len(positive)


def test_the_gradient_spectrum_is_that_of_the_eigendecomposition(case):
    problem, H, found = case
    finding = found.finding("gradient_spectrum")
    eigenvalues, vectors = torch.linalg.eigh(H)
    gradient = problem.gradient()
    weights = (vectors.T @ gradient).square() / gradient.square().sum()
    share = float(weights[eigenvalues < finding.details["negative_threshold"]].sum())
    low, high = finding.interval
    assert low - 1e-9 <= share <= high + 1e-9
    assert finding.details["curvature"] == pytest.approx(float(gradient @ H @ gradient / gradient.square().sum()))
    if finding.details["is_exact"]:
        assert finding.value == pytest.approx(share, abs=1e-8)


def test_directional_curvatures_are_rayleigh_quotients(case):
    problem, H, found = case
    finding = found.finding("directional")
    gradient = problem.gradient()
    assert finding.value == pytest.approx(float(gradient @ H @ gradient / gradient.square().sum()), rel=1e-9)
    assert finding.details["directions"][0]["name"] == "gradient"
    eigenvalues = torch.linalg.eigvalsh(H)
    for row in finding.details["directions"]:
        assert eigenvalues[0] - 1e-9 <= row["curvature"] <= eigenvalues[-1] + 1e-9
    assert (finding.outlook is Outlook.UNFAVOURABLE) is (finding.value < 0)


def test_sharpness_is_the_largest_eigenvalue_in_units_of_the_parameters(case):
    problem, H, found = case
    scale = problem.params().abs()
    truth = float(torch.linalg.eigvalsh(scale[:, None] * H * scale)[-1])
    finding = found.finding("sharpness")
    assert finding.value <= truth + 1e-9
    assert truth - finding.value <= finding.error + 1e-9
    largest = float(torch.linalg.eigvalsh(H)[-1])
    squared = float(problem.params().square().sum())
    assert finding.details["squared_norm_times_lambda_max"] == pytest.approx(squared * largest, rel=1e-6)


def test_stationarity_is_norm_times_length_over_loss(case):
    problem, _, found = case
    loss, gradient = problem.loss_and_gradient()
    finding = found.finding("stationarity")
    expected = float(gradient.norm() * problem.params().norm() / loss.abs())
    assert finding.value == pytest.approx(expected)
    assert finding.details["loss"] == pytest.approx(float(loss))
    squares = sum(row["gradient_norm"] ** 2 for row in finding.details["per_layer"])
    assert math.sqrt(squares) == pytest.approx(float(gradient.norm()))


def test_the_trial_step_lowers_the_loss_by_what_it_says(case):
    problem, _, found = case
    finding = found.finding("second_phase_gain")
    if finding.value is None:
        assert finding.details["kind"] == "NEGATIVE_CURVATURE"
        return
    assert finding.value == pytest.approx(finding.details["actual_decrease"] / abs(float(problem.loss())))
    assert (finding.outlook is Outlook.FAVOURABLE) is (finding.value >= 0.1)


@pytest.mark.parametrize("batch_size", [1, 4, 16])
def test_the_noise_floor_is_that_of_single_samples(batch_size):
    """With as few samples as groups, every sample is a group: the variance is the one over all samples."""
    problem = trained(tanh_mlp(num_samples=24), 100)
    inputs, targets = next(iter(problem.batches)).content
    gradients = torch.stack(
        [Problem(problem.model, problem.loss_fn, (inputs[i : i + 1], targets[i : i + 1])).gradient() for i in range(24)]
    )
    variance = float((gradients - gradients.mean(dim=0)).square().sum() / 23)
    truth = math.sqrt(variance * (1 - batch_size / 24) / batch_size) / float(gradients.mean(dim=0).norm())

    finding = diagnose(problem, level="quick", batch_size=batch_size, progress=False).finding("noise_floor")

    assert finding.details["variance"] == pytest.approx(variance)
    assert finding.value == pytest.approx(truth)
    assert (finding.outlook is Outlook.FAVOURABLE) is (truth >= 1.0)


def test_the_noise_floor_of_many_samples_is_within_its_standard_error():
    problem = trained(tanh_mlp(num_samples=400), 20)
    inputs, targets = next(iter(problem.batches)).content
    gradients = torch.stack(
        [
            Problem(problem.model, problem.loss_fn, (inputs[i : i + 1], targets[i : i + 1])).gradient()
            for i in range(400)
        ]
    )
    variance = float((gradients - gradients.mean(dim=0)).square().sum() / 399)
    details = diagnose(problem, level="quick", progress=False).finding("noise_floor").details
    assert abs(details["variance"] - variance) <= 4 * details["variance_standard_error"]
    assert details["variance_standard_error"] < 0.5 * variance


def test_regularised_logistic_regression_is_convex_and_says_so():
    found = diagnose(logistic_regression(num_features=8).problem, level="standard", progress=False)
    assert found.verdict is Verdict.ABOVE
    for key in ("lambda_min", "ratio", "gradient_spectrum", "directional", "density"):
        assert found.finding(key).outlook is Outlook.FAVOURABLE, key
    assert "the loss is convex here" in found.headline
    assert "wrong with probability" in found.headline
    assert not found.finding("held_out").is_measured


def test_a_quadratic_saddle_is_not_convex_at_any_level():
    for level in ("quick", "standard"):
        found = diagnose(saddle().problem, level=level, progress=False)
        assert found.verdict is Verdict.NEGATIVE
        assert found.finding("lambda_min").outlook is Outlook.UNFAVOURABLE
        assert "not convex here" in found.headline


def test_a_linear_net_at_its_saddle_is_stationary_and_not_convex():
    problem = linear_net_at_its_saddle()
    eigenvalues = torch.linalg.eigvalsh(dense_hessian(problem))
    found = diagnose(problem, level="standard", progress=False)
    assert found.finding("stationarity").outlook is Outlook.FAVOURABLE
    assert found.finding("lambda_min").value == pytest.approx(float(eigenvalues[0]), rel=1e-8)
    assert found.finding("ratio").value == pytest.approx(-1.0, rel=1e-6)
    assert found.headline.startswith("The model stands at or near a stationary point; the loss is not convex here")
    for key in ("gradient_spectrum", "directional", "second_phase_gain"):
        assert found.finding(key).status == "The gradient is exactly zero: it points nowhere."
    # Every eigenvalue has its opposite, so that the trace is 0.
    assert abs(found.finding("trace").value) <= 4 * found.finding("trace").error


def test_an_interpolating_network_is_stationary_and_has_no_negative_curvature_worth_the_name():
    problem = interpolating_network()
    assert float(problem.loss()) < 1e-20
    found = diagnose(problem, level="thorough", progress=False)
    stationarity = found.finding("stationarity")
    assert stationarity.outlook is Outlook.FAVOURABLE
    assert "zero to rounding" in stationarity.meaning
    assert found.finding("lambda_min").outlook is Outlook.FAVOURABLE
    assert found.finding("ratio").outlook is Outlook.FAVOURABLE
    assert found.finding("density").value == 0.0


def test_kinks_are_reported_where_there_are_some():
    inputs, targets = torch.randn(20, 3).double(), torch.randn(20, 2).double()
    kinked, smooth = (
        diagnose(small_network(a), nn.functional.mse_loss, (inputs, targets), level="quick", progress=False)
        for a in (nn.ReLU(), nn.Tanh())
    )
    [told] = [warning for warning in kinked.warnings if "kinks" in warning]
    assert "ReLU" in told and "does not see" in told
    assert not any("kinks" in warning for warning in smooth.warnings)


def test_symmetry_alone_makes_a_relu_network_not_convex():
    """Rescaling neighbouring layers leaves the loss as it is: where their gradients do not vanish, that proves it."""
    inputs, targets = torch.randn(40, 3).double(), torch.randn(40, 2).double()
    model = small_network(nn.ReLU())
    found = diagnose(model, nn.functional.mse_loss, (inputs, targets), level="thorough", progress=False).finding(
        "symmetry"
    )
    H = dense_hessian(Problem(model, nn.functional.mse_loss, (inputs, targets)))
    assert found.details["kinds"] == ["homogeneous"]
    assert float(torch.linalg.eigvalsh(H)[0]) <= found.details["witness"] < 0
    # Deflation can only raise the smallest eigenvalue.
    assert found.value >= float(torch.linalg.eigvalsh(H)[0]) - 1e-9


@pytest.mark.parametrize("with_others", [True, False])
def test_a_thorough_look_at_a_negative_direction_has_distances_and_batch_sizes(with_others):
    problem = tanh_mlp(num_samples=80)
    inputs, targets = next(iter(problem.batches)).content
    other = (inputs.flip(0) * 1.01, targets.flip(0)) if with_others else None
    found = diagnose(problem, level="thorough", held_out=other, progress=False)
    finding = found.finding("held_out")
    assert finding.details["audit"] in ("REAL", "NOISE", "UNDECIDED")
    assert finding.details["exact"] == pytest.approx(found.finding("lambda_min").value, rel=1e-6)
    smallest_distance = finding.details["steps"][-1]
    assert smallest_distance["gradient_curvature"] == pytest.approx(finding.details["exact"], rel=1e-2)
    [row] = finding.details["rows"]  # half of 80 samples allows batches of 32 only
    assert row["batch_size"] == 32 and "Batches of 32" in finding.meaning
    assert (finding.value is not None) is with_others
    assert with_others or "No other data were given" in finding.meaning


def test_a_direction_that_only_the_sample_shows_is_told_from_a_real_one():
    """Targets that are pure noise, fitted: what curves down on the sample need not elsewhere. A saddle does everywhere."""
    known = quadratic(torch.diag(torch.tensor([-1.0, 2.0, 3.0], dtype=torch.float64)))
    assert not diagnose(known.problem, level="quick", progress=False).finding("held_out").is_measured

    model = nn.Sequential(nn.Linear(3, 3, bias=False), nn.Linear(3, 2, bias=False)).double()
    for parameter in model.parameters():
        nn.init.zeros_(parameter)
    inputs = torch.randn(400, 3).double()
    targets = inputs[:, :2] * 2
    real = diagnose(
        model,
        nn.functional.mse_loss,
        (inputs[:200], targets[:200]),
        held_out=(inputs[200:], targets[200:]),
        level="quick",
        progress=False,
    ).finding("held_out")
    assert real.outlook is Outlook.UNFAVOURABLE and real.interval[1] < 0

    swapped = diagnose(
        model,
        nn.functional.mse_loss,
        (inputs[:200], targets[:200]),
        held_out=(inputs[200:], -targets[200:]),
        level="quick",
        progress=False,
    ).finding("held_out")
    assert swapped.outlook is Outlook.NEUTRAL and swapped.interval[0] > 0
    assert "belongs to these samples" in swapped.meaning
