"""Rows in, scalars out: read back from the files that the real packages write."""

from __future__ import annotations

import math
import sys

import pytest

import landscape as ls
from landscape.adapters.tensorboard import TensorBoardListener
from landscape.adapters.wandb import WandbListener
from landscape.policies import AfterEpochs
from tests.adapters.models import network, problem_of

# What these packages themselves warn of is not ours to judge.
pytestmark = pytest.mark.filterwarnings("default")


def fit(listener) -> ls.History:
    trainer = ls.Trainer(policy=AfterEpochs(2), epochs=4, trackers=["parameter-norm"], listeners=[listener])
    return trainer.fit(problem_of(network())).history


def test_tensorboard_holds_every_number_of_every_row(tmp_path):
    pytest.importorskip("tensorboard", reason="tensorboard is not installed: pip install 'torch-landscape[loggers]'")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    history = fit(TensorBoardListener(tmp_path))
    read = EventAccumulator(str(tmp_path)).Reload()
    tags = set(read.Tags()["scalars"])
    numbers = {name for name in history.columns() if name not in ("epoch", "phase", "status", "dtype")}
    assert tags == {f"landscape/{name}" for name in numbers}
    for name in ("loss", "parameter_norm", "step_size", "gradient_norm_mean_batch"):
        expected = {row["epoch"]: row[name] for row in history if name in row}
        written = {event.step: event.value for event in read.Scalars(f"landscape/{name}")}
        assert written == pytest.approx(expected, rel=1e-6)  # TensorBoard keeps float32


def test_a_writer_of_ones_own_stays_open(tmp_path):
    pytest.importorskip("tensorboard", reason="tensorboard is not installed: pip install 'torch-landscape[loggers]'")
    from torch.utils.tensorboard import SummaryWriter

    with SummaryWriter(str(tmp_path)) as writer:
        listener = TensorBoardListener(writer=writer, prefix="mine/")
        fit(listener)
        writer.add_scalar("later", 1.0, 1)
        listener.recorded({"epoch": 5, "loss": math.nan})
    assert list(tmp_path.iterdir())


def test_wandb_is_told_every_row(tmp_path, monkeypatch):
    wandb = pytest.importorskip("wandb", reason="wandb is not installed: pip install 'torch-landscape[loggers]'")
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_SILENT", "true")
    monkeypatch.setenv("WANDB_DIR", str(tmp_path))
    listener = WandbListener(project="landscape-test", dir=str(tmp_path))
    logged = []
    log = listener.run.log
    monkeypatch.setattr(listener.run, "log", lambda values: (logged.append(values), log(values)))
    history = fit(listener)
    assert [values["landscape/epoch"] for values in logged] == history.column("epoch")
    assert logged[-1]["landscape/loss"] == history[-1]["loss"] and logged[-1]["landscape/phase"] == "second"
    assert wandb.run is None, "a run that the listener began is finished with the training"
    assert list(tmp_path.rglob("*.wandb"))


def test_a_run_of_ones_own_is_not_finished(tmp_path, monkeypatch):
    wandb = pytest.importorskip("wandb", reason="wandb is not installed: pip install 'torch-landscape[loggers]'")
    monkeypatch.setenv("WANDB_SILENT", "true")
    run = wandb.init(mode="offline", dir=str(tmp_path), project="landscape-test")
    try:
        with pytest.raises(ValueError, match="there is a run already"):
            WandbListener(project="another")
        listener = WandbListener()
        assert listener.run is run
        fit(listener)
        assert run.summary["landscape/swap_epoch"] == 2 and wandb.run is run
    finally:
        run.finish()


@pytest.mark.parametrize(("package", "listener"), [("tensorboard", TensorBoardListener), ("wandb", WandbListener)])
def test_a_package_that_is_missing_is_named(package, listener, monkeypatch):
    monkeypatch.setitem(sys.modules, package, None)
    for name in [name for name in sys.modules if name.startswith("torch.utils.tensorboard")]:
        monkeypatch.delitem(sys.modules, name)
    with pytest.raises(ModuleNotFoundError, match=rf"{package}.*torch-landscape\[loggers\]"):
        listener()
