"""The words of a diagnosis: the terminal's summary, the headline, and meanings that are true in every branch."""

from __future__ import annotations

import dataclasses
import math

import pytest
import torch
from torch import nn

from landscape.diagnosis.diagnose import diagnose
from landscape.diagnosis.diagnosis import CostEstimate, Diagnosis
from landscape.diagnosis.finding import Finding, Outlook
from landscape.diagnosis.headline import headline
from landscape.diagnosis.noise import _told as told_of_noise
from landscape.diagnosis.summary import WIDTH, value_text
from landscape.diagnosis.trace_and_layers import _trace
from landscape.operators.matrix import MatrixOperator
from landscape.optim.capped_cg import DirectionKind
from landscape.probes.certificate.certificate import certify_operator
from landscape.status import Status
from landscape.testing.problems import function_problem, logistic_regression, saddle
from tests.diagnosis.problems import small_network, tanh_mlp


@pytest.mark.parametrize("level", ["quick", "standard", "thorough"])
def test_no_line_is_longer_than_the_terminal(level):
    for found in (
        diagnose(tanh_mlp(), level=level, progress=False),
        diagnose(saddle().problem, level=level, budget=30.0, progress=False),
    ):
        lines = str(found).splitlines()
        assert max(map(len, lines)) <= WIDTH
        assert lines[0].startswith(found.headline[:40])
        assert len(lines) <= 30
        for finding in found.findings:
            assert finding.title[:30] in " ".join(str(found).split())


def test_very_long_names_and_numbers_still_fit():
    finding = Finding("k", "T" * 80, "A'", Outlook.NEUTRAL, "", -1.23456e-300, interval=(-1e300, 1e300), unit="u" * 40)
    found = Diagnosis("a", "b", None, (finding,), "quick", None, Status.COMPLETED, CostEstimate(0, 0, 0, 0), 0.0, 0.0)
    assert max(map(len, str(found).splitlines())) <= WIDTH


def test_values_come_with_their_error_or_interval():
    finding = Finding("k", "T", "", Outlook.NEUTRAL, "", value=1.5, error=0.25, unit="loss")
    assert value_text(finding) == "1.5 +- 0.25 loss"
    assert value_text(dataclasses.replace(finding, interval=(1.0, 2.0))) == "1.5  in [1, 2] loss"
    assert value_text(dataclasses.replace(finding, value=None)) == ""
    assert value_text(dataclasses.replace(finding, value=math.nan, error=None)) == "nan loss"


def _certificate(*eigenvalues: float, **options: object):
    operator = MatrixOperator(torch.diag(torch.tensor(eigenvalues, dtype=torch.float64)))
    return certify_operator(operator, early=False, **options)


def _finding(key: str, outlook: Outlook, value: float | None = 1.0) -> Finding:
    return Finding(key, key, "", outlook, "", value=value)


def test_the_headline_tells_the_verdict_with_its_confidence():
    above = headline(_certificate(1.0, 2.0, 3.0), [_finding("stationarity", Outlook.FAVOURABLE)])
    assert above.startswith("The model stands at or near a stationary point; the loss is convex here")
    assert "wrong with probability 0.01 at most" in above

    below = headline(_certificate(-1.0, 2.0, 4.0), [_finding("stationarity", Outlook.NEUTRAL)])
    assert below.startswith("The model stands on a slope; the loss is not convex here, which is certain")
    assert "0.25 of the largest" in below

    tiny = headline(_certificate(-1e-5, 2.0, 4.0), [])
    assert "convex here but for next to nothing" in tiny

    spread = _certificate(*torch.linspace(0.001, 100, 300).tolist(), max_matvecs=6)
    assert "undecided: the smallest eigenvalue is between" in headline(spread, [])
    assert headline(None, []).endswith("whether the loss is convex there was not measured.")


def test_the_headline_says_what_other_data_show():
    certificate = _certificate(-1.0, 2.0)
    words = {
        Outlook.UNFAVOURABLE: "other data show it, too",
        Outlook.NEUTRAL: "other data do not show it",
        Outlook.UNDECIDED: "other data leave it open",
    }
    for outlook, told in words.items():
        assert told in headline(certificate, [_finding("held_out", outlook)])
    for silent in ([_finding("held_out", Outlook.UNDECIDED, None)], []):
        assert "other data" not in headline(certificate, silent)


def test_the_advice_follows_from_noise_then_curvature_then_gain():
    negative = _certificate(-1.0, 2.0)
    noise = _finding("noise_floor", Outlook.UNFAVOURABLE)
    floor = _finding("noise_floor", Outlook.FAVOURABLE)
    visible = _finding("gradient_spectrum", Outlook.UNFAVOURABLE)
    gain = _finding("second_phase_gain", Outlook.FAVOURABLE)
    assert "early for a second phase" in headline(negative, [noise, visible, gain])
    assert "newton-cg" in headline(negative, [floor, visible, gain])
    assert "much to gain" in headline(negative, [floor, gain])
    assert "was not measured" in headline(negative, [])
    assert "at home here" in headline(_certificate(1.0, 2.0), [floor])
    assert "early for a second phase" in headline(_certificate(1.0, 2.0), [noise])


@pytest.mark.parametrize(
    ("value", "error", "outlook", "words"),
    [
        (5.0, 1.0, Outlook.NEUTRAL, "positive curvature outweighs negative"),
        (-5.0, 1.0, Outlook.UNFAVOURABLE, "negative curvature outweighs positive"),
        (1.0, 5.0, Outlook.UNDECIDED, "its sign is not known"),
        (math.nan, math.nan, Outlook.UNDECIDED, "no number"),
    ],
)
def test_the_trace_is_told_by_its_sign(value, error, outlook, words):
    finding = _trace(value, error, 10, 6)
    assert finding.outlook is outlook and words in finding.meaning
    assert ("positive curvature outweighs" in finding.meaning) is (value > 2 * error)


@pytest.mark.parametrize(
    ("sizes", "noises", "outlook", "words"),
    [
        ([32], [2.0], Outlook.FAVOURABLE, "at its noise floor"),
        ([32], [0.5], Outlook.UNFAVOURABLE, "more signal than noise"),
        ([32, 128], [3.0, 1.5], Outlook.FAVOURABLE, "up to 128 samples"),
        ([32, 128], [0.3, 0.15], Outlook.UNFAVOURABLE, "32 samples and more"),
        ([32, 128], [1.5, 0.75], Outlook.UNDECIDED, "depends on the batch size"),
        ([32], [math.inf], Outlook.FAVOURABLE, "no signal at all"),
        ([32], [math.nan], Outlook.NEUTRAL, "neither signal nor noise"),
        ([1000], [0.0], Outlook.NEUTRAL, "no noise"),
    ],
)
def test_the_noise_floor_is_told_by_the_batch_sizes_that_it_was_measured_for(sizes, noises, outlook, words):
    found, meaning, _ = told_of_noise(sizes, noises, 1000)
    assert found is outlook and words in meaning


def test_a_trial_step_into_negative_curvature_is_told_as_such():
    hill = function_problem(lambda x: -0.5 * (x @ x) + 0.1 * (x**4).sum(), torch.full((30,), 0.3, dtype=torch.float64))
    finding = diagnose(hill, level="standard", progress=False).finding("second_phase_gain")
    assert finding.details["kind"] == DirectionKind.NEGATIVE_CURVATURE.name
    assert finding.value is None and finding.outlook is Outlook.UNFAVOURABLE
    assert "there is no Newton step" in finding.meaning


def test_a_trial_step_that_raises_the_loss_is_told_as_such():
    """A Newton step on a loss like log cosh, far out, overshoots without end."""
    far = function_problem(lambda x: torch.log(torch.cosh(x)).sum(), torch.full((20,), 1.5, dtype=torch.float64))
    finding = diagnose(far, level="standard", progress=False).finding("second_phase_gain")
    assert finding.value < 0 and finding.outlook is Outlook.UNFAVOURABLE
    assert "raises it" in finding.meaning and "line search" in finding.next_step


def test_few_products_do_not_make_a_ratio_that_is_far_off():
    """A random start sees little of a lonely outlier: what the gradient's Ritz values know of lambda_max counts, too."""
    size = 4000
    curvatures = torch.full((size,), -0.01, dtype=torch.float64)
    curvatures[0] = 100.0
    start = torch.zeros(size, dtype=torch.float64)
    start[0] = 1.0
    problem = function_problem(lambda x: 0.5 * (curvatures * x * x).sum(), start + 1e-3)
    found = diagnose(problem, level="quick", progress=False)
    assert found.finding("lambda_max").value == pytest.approx(100.0, rel=1e-3)
    ratio = found.finding("ratio")
    assert ratio.value == pytest.approx(-1e-4, rel=0.1)
    low, high = ratio.interval
    assert low <= -1e-4 <= high


def test_every_meaning_is_a_sentence_and_no_text_speaks_of_nan():
    kinked = small_network(nn.ReLU())
    inputs, targets = torch.randn(40, 3).double(), torch.randn(40, 2).double()
    for found in (
        diagnose(logistic_regression().problem, level="thorough", progress=False),
        diagnose(kinked, nn.functional.mse_loss, (inputs, targets), level="thorough", progress=False),
    ):
        for finding in found.findings:
            text = finding.meaning.strip()
            assert text[0].isupper() and text[-1] in ".!", (finding.key, text)
            assert not finding.next_step or finding.next_step[-1] == ".", finding.next_step
            assert "nan" not in text.split() and "None" not in text, text
            assert "  " not in text, text
