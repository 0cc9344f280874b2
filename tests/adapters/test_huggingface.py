"""A real Hugging Face training, watched."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import landscape as ls
from landscape.adapters.huggingface import HuggingFaceMonitor
from landscape.policies import AfterEpochs
from tests.adapters.models import data, network

# What transformers itself warns of is not ours to judge.
pytestmark = pytest.mark.filterwarnings("default")

transformers = pytest.importorskip("transformers", reason="transformers is not installed: pip install transformers")
pytest.importorskip("accelerate", reason="accelerate is not installed: pip install accelerate")


class Regression(nn.Module):
    """Takes and gives what transformers expects: keywords in, a dict with the loss out."""

    def __init__(self):
        super().__init__()
        self.network = network()

    def forward(self, inputs, labels):
        output = self.network(inputs)
        return {"loss": F.mse_loss(output, labels), "logits": output}


def problem_of(model) -> ls.Problem:
    inputs, targets = data()
    batch = {"inputs": inputs, "labels": targets}
    return ls.Problem.from_closure(model, lambda model, batch: model(**batch)["loss"], [batch])


def train(folder, callbacks, epochs=3, **settings):
    model = Regression()
    for callback in callbacks:
        callback._watching.problem = problem_of(model)
    inputs, targets = data()
    rows = [{"inputs": x, "labels": y} for x, y in zip(inputs, targets, strict=True)]
    arguments = transformers.TrainingArguments(
        output_dir=str(folder),
        num_train_epochs=epochs,
        per_device_train_batch_size=10,
        report_to=[],
        use_cpu=True,
        save_strategy="no",
        disable_tqdm=True,
        seed=1,
        **settings,
    )
    trainer = transformers.Trainer(model, arguments, train_dataset=rows, callbacks=callbacks)
    trainer.train()
    return model, trainer


def test_it_records_and_training_is_the_same(tmp_path):
    alone, _ = train(tmp_path, [])
    trackers = ["loss", "gradient-norm", "stationarity", "gradient-curvature"]
    callback = HuggingFaceMonitor(problem_of(Regression()), trackers=trackers, max_overhead=40.0)
    watched, _ = train(tmp_path, [callback])
    for ours, theirs in zip(watched.parameters(), alone.parameters(), strict=True):
        assert torch.equal(ours, theirs)
    history = callback.history
    assert history.column("epoch") == [0, 1, 2, 3] and history.column("step") == [0, 4, 8, 12]
    assert callback.monitor.gradient_equivalents["training"] == pytest.approx(3.0)
    expected = {"gradient_norm_mean_batch", "update_square", "position_dot_gradient", "loss", "curvature_gradient"}
    assert expected <= history[1].keys() and "loss_running" not in history[1]
    assert history[1]["gradient_norm_mean_batch"] > 0
    assert history[3]["loss"] == pytest.approx(float(problem_of(watched).loss()))


def test_accumulated_steps_are_one_step(tmp_path):
    callback = HuggingFaceMonitor(problem_of(Regression()))
    train(tmp_path, [callback], epochs=1, gradient_accumulation_steps=2)
    assert callback.history[1]["step"] == 2 and callback.history[1]["gradients"] == pytest.approx(1.0)


def test_a_swap_can_end_the_training(tmp_path):
    callback = HuggingFaceMonitor(problem_of(Regression()), policy=AfterEpochs(2), stop_at_swap=True)
    _, trainer = train(tmp_path, [callback], epochs=9)
    assert trainer.state.epoch == 2 and callback.decision.swap


def test_a_missing_package_is_named():
    import landscape.adapters.huggingface as adapter

    before = adapter.TrainerCallback
    adapter.TrainerCallback = None
    try:
        with pytest.raises(ModuleNotFoundError, match="pip install transformers"):
            HuggingFaceMonitor(problem_of(Regression()))
    finally:
        adapter.TrainerCallback = before
