"""A real Lightning fit, watched."""

from __future__ import annotations

import sys

import pytest
import torch
import torch.nn.functional as F

from landscape.adapters.lightning import LightningMonitor
from landscape.policies import AfterEpochs
from tests.adapters.models import BATCH_SIZE, NUM_SAMPLES, data, network, problem_of

# What Lightning itself warns of is not ours to judge.
pytestmark = pytest.mark.filterwarnings("default")

pl = pytest.importorskip("lightning.pytorch", reason="lightning is not installed: pip install lightning")


class Regression(pl.LightningModule):
    def __init__(self):
        super().__init__()
        self.network = network()

    def training_step(self, batch, index):
        inputs, targets = batch
        return F.mse_loss(self.network(inputs), targets)

    def configure_optimizers(self):
        return torch.optim.Adam(self.parameters(), lr=1e-2)


def loader():
    return torch.utils.data.DataLoader(torch.utils.data.TensorDataset(*data()), batch_size=BATCH_SIZE)


def fit(folder, callbacks, epochs=3, checkpoint=None, **settings):
    module = Regression()
    for callback in callbacks:
        callback._watching.problem = problem_of(module.network)
    trainer = pl.Trainer(
        max_epochs=epochs,
        callbacks=callbacks,
        accelerator="cpu",
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        default_root_dir=str(folder),
        enable_checkpointing=False,
        **settings,
    )
    trainer.fit(module, loader(), ckpt_path=checkpoint)
    return module, trainer


def test_it_records_and_training_is_the_same(tmp_path):
    alone, _ = fit(tmp_path, [])
    callback = LightningMonitor(
        problem_of(network()), trackers=["gradient-curvature", "stationarity"], max_overhead=9.0
    )
    watched, _ = fit(tmp_path, [callback])
    for ours, theirs in zip(watched.parameters(), alone.parameters(), strict=True):
        assert torch.equal(ours, theirs)
    history = callback.history
    assert history.column("epoch") == [0, 1, 2, 3] and history.column("step") == [0, 3, 6, 9]
    assert callback.monitor.gradient_equivalents["training"] == pytest.approx(3.0)
    assert all({"loss_running", "gradient_norm_mean_batch", "update_square"} <= row.keys() for row in list(history)[1:])
    assert "curvature_gradient" in history[3]


def test_accumulated_steps_are_one_step(tmp_path):
    callback = LightningMonitor(problem_of(network()))
    fit(tmp_path, [callback], epochs=1, accumulate_grad_batches=3)
    row = callback.history[1]
    assert row["step"] == 1 and row["gradients"] == pytest.approx(1.0)
    inputs, targets = data()
    model = network()
    parts = [F.mse_loss(model(x), y) for x, y in zip(inputs.split(BATCH_SIZE), targets.split(BATCH_SIZE), strict=True)]
    assert row["loss_running"] == pytest.approx(float(sum(parts).detach() / 3), rel=1e-5)
    assert NUM_SAMPLES == 40


def test_a_swap_can_end_the_fit(tmp_path):
    callback = LightningMonitor(problem_of(network()), policy=AfterEpochs(2), stop_at_swap=True)
    _, trainer = fit(tmp_path, [callback], epochs=10)
    assert trainer.current_epoch == 2 and callback.decision.swap
    assert callback.decision.reason == "2 of 2 epochs of this phase are done"


def test_a_fit_that_goes_on_from_a_checkpoint_has_one_history(tmp_path):
    whole = LightningMonitor(problem_of(network()), trackers="stationarity")
    fit(tmp_path, [whole], epochs=4)
    first = LightningMonitor(problem_of(network()), trackers="stationarity")
    _, trainer = fit(tmp_path, [first], epochs=2)
    trainer.save_checkpoint(tmp_path / "at2.ckpt")
    again = LightningMonitor(problem_of(network()), trackers="stationarity")
    fit(tmp_path, [again], epochs=4, checkpoint=tmp_path / "at2.ckpt")
    strip = [[{k: v for k, v in row.items() if k != "seconds"} for row in c.history] for c in (again, whole)]
    assert strip[0] == strip[1] and len(strip[0]) == 5


def test_two_optimisers_are_refused(tmp_path):
    class Two(Regression):
        automatic_optimization = False

        def configure_optimizers(self):
            return [torch.optim.SGD(self.parameters(), lr=0.1), torch.optim.SGD(self.parameters(), lr=0.1)]

    module = Two()
    trainer = pl.Trainer(
        max_epochs=1,
        callbacks=[LightningMonitor(problem_of(module.network))],
        accelerator="cpu",
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        default_root_dir=str(tmp_path),
        enable_checkpointing=False,
    )
    with pytest.raises(ValueError, match="watches one optimiser, but this fit has 2"):
        trainer.fit(module, loader())


def test_a_missing_package_is_named():
    import landscape.adapters.lightning as adapter

    before = adapter.Callback
    adapter.Callback = None
    try:
        with pytest.raises(ModuleNotFoundError, match="pip install lightning"):
            LightningMonitor(problem_of(network()))
    finally:
        adapter.Callback = before
    assert "lightning" in sys.modules
