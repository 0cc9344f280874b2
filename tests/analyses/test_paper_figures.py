"""The scripts of the paper's figures run, each as a process of its own, and what they record is what the theorems say."""

from __future__ import annotations

import itertools
import math
import subprocess
import sys
import xml.etree.ElementTree as ET
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch

FOLDER = Path(__file__).parents[2] / "analyses" / "paper"
SCRIPTS = sorted(FOLDER.glob("figure_*.py"))
FIRST_FALL, NINE_TENTHS, CURVATURE = "first fall after the peak", "0.9 of the peak", "curvature along the gradient > 0"


def results_of(number: int, out: Path) -> tuple[dict[str, Any], str]:
    """Run a figure's script at its tiny size; what it wrote and what it printed."""
    (script,) = FOLDER.glob(f"figure_{number}_*.py")
    command = [sys.executable, str(script), "--tiny", "--out", str(out)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=out)
    assert done.returncode == 0, done.stderr
    assert ET.parse(out / f"figure_{number}.svg").getroot().tag.endswith("svg")
    assert (out / f"figure_{number}.png").read_bytes().startswith(b"\x89PNG")
    assert sorted(file.name for file in out.iterdir()) == [f"figure_{number}.{kind}" for kind in ("json", "png", "svg")]
    data = paper_figures().read_data(out / f"figure_{number}.json")
    assert data["figure"] == number
    return data, done.stdout


@pytest.fixture(autouse=True)
def _on_the_path(monkeypatch):
    monkeypatch.syspath_prepend(str(FOLDER))


def trivial_models() -> ModuleType:
    import trivial_models

    return trivial_models


def paper_figures() -> ModuleType:
    import paper_figures

    return paper_figures


def rises(values: list[float]) -> list[float]:
    """The factors by which each value exceeds the one before."""
    return [after / before for before, after in itertools.pairwise(values)]


def test_figure_1_shows_losses_whose_inflections_are_roots_of_the_second_derivative(tmp_path):
    data, printed = results_of(1, tmp_path)
    models = trivial_models()
    draw = models.draw_simple_tasks(len(data["simple"]))
    grid = torch.tensor(data["scale"], dtype=torch.float64)
    assert [task["draw"] for task in data["simple"]] == draw.simple
    assert data["num_drawn"] == len(draw.tasks)
    for found in data["simple"] + data["passed_over"]:
        task = draw.tasks[found["draw"]]
        loss, _, curvature = models.tanh_layer_derivatives(task, grid)
        torch.testing.assert_close(torch.tensor(found["loss"], dtype=torch.float64), loss, rtol=1e-8, atol=1e-8)
        torch.testing.assert_close(
            torch.tensor(found["curvature"], dtype=torch.float64), curvature, rtol=1e-8, atol=1e-8
        )
        at_inflections = torch.tensor(found["inflections"], dtype=torch.float64)
        assert models.tanh_layer_derivatives(task, at_inflections)[2].abs().max() < 1e-7 * curvature.abs().max()
    for found in data["simple"]:
        assert len(found["inflections"]) == 2
        assert found["curvature"][0] < 0 > found["curvature"][-1]
    assert "have one convex region" in printed


def test_figure_2_finds_the_peak_of_the_norm_within_one_step_of_the_inflection(tmp_path):
    """With one parameter d|L'|/dL = L''/|L'|: down a branch the norm rises until L'' = 0 and then falls."""
    data, printed = results_of(2, tmp_path)
    assert len(data["branches"]) == 4
    for branch in data["branches"]:
        (inflection,) = branch["inflections"]
        parameter, norms, fired = branch["parameter"], branch["gradient_norm"], branch["firing_rows"]
        peak = norms.index(max(norms))
        assert abs(parameter[peak] - inflection) <= data["step"]
        assert all(factor > 1 for factor in rises(norms[: peak + 1]))
        assert all(factor < 1 for factor in rises(norms[peak:]))
        assert all(factor < 1 for factor in rises(branch["loss"]))

        past = [abs(at - branch["start"]) > abs(inflection - branch["start"]) for at in parameter].index(True)
        assert fired[CURVATURE] == past
        assert fired[FIRST_FALL] == peak + 1
        assert fired[NINE_TENTHS] == next(row for row in range(peak, len(norms)) if norms[row] <= 0.9 * norms[peak])
        assert peak in (past - 1, past)
    assert f"{CURVATURE}: fires at step 1 to 1 past the inflection" in printed


def test_figure_3_shows_a_rising_norm_on_a_convex_loss_and_a_falling_one_where_nothing_is_convex(tmp_path):
    """Flow on a convex loss never lengthens the gradient; a line search may, by (kappa - 1) / (2 sqrt(kappa)) at most."""
    descents = results_of(3, tmp_path)[0]["descents"]
    flow, search, indefinite = (
        descents[name] for name in ("convex, gradient flow", "convex, exact line searches", "indefinite, gradient flow")
    )
    assert flow["eigenvalues"] == search["eigenvalues"] == [1.0, 10.0]
    assert all(factor < 1 for factor in rises(flow["gradient_norm"]))

    bound = (10.0 - 1.0) / (2 * math.sqrt(10.0))
    factors = rises(search["gradient_norm"])
    assert all(factor < 1 for factor in rises(search["loss"]))
    assert [factor > 1 for factor in factors] == [True, False] * 5
    assert 0.99 * bound < max(factors) <= bound

    assert indefinite["eigenvalues"] == [-0.05, 1.0]
    fired = indefinite["firing_rows"][NINE_TENTHS]
    assert fired is not None
    assert indefinite["curvature_gradient"][fired] > 0
    assert indefinite["gradient_norm"][-1] < 0.05 * indefinite["gradient_norm"][0]


def test_figure_4_shows_extra_convex_regions_that_become_extra_minima(tmp_path):
    """At x = 0 the output's slope is 1 - 2C: beyond C = 0.5 the loss has a second minimum. Peaks are inflections in each."""
    data, printed = results_of(4, tmp_path)
    models = data["models"]
    assert [model["coefficient"] for model in models] == [0.40, 0.45, 0.50, 0.55, 0.60]
    assert [model["num_convex_regions"] for model in models] == [1, 2, 2, 2, 2]
    assert [len(model["minima"]) for model in models] == [1, 1, 1, 2, 2]
    for model in models:
        x, norms = model["descent"]["x"], model["descent"]["gradient_norm"]
        step = x[1] - x[0]
        peaks = [k for k in range(1, len(norms) - 1) if norms[k - 1] < norms[k] > norms[k + 1]]
        assert len(peaks) == (2 if model["coefficient"] in (0.45, 0.50) else 1)
        assert all(min(abs(x[peak] - at) for at in model["inflections"]) <= step for peak in peaks)
    assert printed.count("with a non-convex stretch to come") == 2


def test_the_closed_form_of_the_one_layer_model_agrees_with_gradients_and_hessian_products():
    models = trivial_models()
    task = next(models.random_tasks(seed=3))
    problem = models.task_problem(task)
    for at in (-6.0, -0.3, 0.0, 1.7):
        formula = [
            float(value) for value in models.tanh_layer_derivatives(task, torch.tensor([at], dtype=torch.float64))
        ]
        assert models.measure(problem, at) == pytest.approx(formula, rel=1e-12, abs=1e-12)


def test_data_files_keep_ten_digits_and_whatever_is_no_number(tmp_path):
    data = {"a": [1 / 3, -2e-300, math.inf], "b": {"c": [], "d": None, "e": [{"f": 1}, {"f": [2, 3]}]}, "g": "text, [1"}
    paper_figures().write_data(tmp_path / "data.json", data)
    assert paper_figures().read_data(tmp_path / "data.json") == data | {"a": [0.3333333333, -2e-300, math.inf]}


@pytest.mark.parametrize("script", SCRIPTS, ids=[script.stem for script in SCRIPTS])
def test_scripts_are_notebooks_whose_committed_figures_are_small(script):
    text = script.read_text()
    cells = [line for line in text.splitlines() if line.startswith("# %%")]
    assert cells[0] == "# %% [markdown]"
    assert "format_name: percent" in text.split("# %%", 1)[0]
    figure = "_".join(script.stem.split("_")[:2])
    assert f"]({script.name})" in (FOLDER / "README.md").read_text()
    for kind in ("json", "png", "svg"):
        assert (FOLDER / "output" / f"{figure}.{kind}").stat().st_size < 100_000
