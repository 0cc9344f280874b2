from __future__ import annotations

import gc
import math
import subprocess
import sys
import weakref

import numpy as np
import pytest
from matplotlib.colors import to_hex

from landscape.plots import plot_gradient_norm, plot_loss_against_cost
from landscape.plots.palette import PHASES
from landscape.tracking.history import History
from tests.plots.histories import FULL_NORMS, LOSSES, NORMS, WORK, history, long_history, rows

PLOTS = [plot_loss_against_cost, plot_gradient_norm]


def line(axes, label):
    """The one line of this label that is drawn on the axes' own scales."""
    (found,) = (line for line in axes.lines if line.get_label() == label)
    return found


def points(axes, label):
    return [tuple(point) for point in line(axes, label).get_xydata().tolist()]


def legend(axes):
    found = axes.get_legend()
    return [text.get_text() for text in found.get_texts()] if found else []


def texts(axes):
    return [text.get_text() for text in axes.texts]


def test_the_loss_curve_goes_through_the_historys_work_and_losses():
    axes = plot_loss_against_cost(history())

    assert points(axes, "first phase") == list(zip(WORK[:4], LOSSES[:4], strict=True))
    assert points(axes, "second phase") == list(zip(WORK[3:], LOSSES[3:], strict=True))
    assert axes.get_yscale() == "log" and axes.get_xscale() == "linear"


def test_the_norm_curve_goes_through_the_historys_losses_and_norms():
    axes = plot_gradient_norm(history())

    # At the start there is no mean of batch norms.
    assert points(axes, "first phase") == list(zip(LOSSES[1:4], NORMS[1:4], strict=True))
    assert points(axes, "second phase") == list(zip(LOSSES[3:], NORMS[3:], strict=True))


def test_the_norm_asked_for_is_drawn_and_named():
    axes = plot_gradient_norm(history(), norm="full")

    assert points(axes, "first phase") == list(zip(LOSSES[:4], FULL_NORMS[:4], strict=True))
    assert "gradient over all data" in axes.get_ylabel() and "loss per unit of parameters" in axes.get_ylabel()


def test_without_choice_the_first_norm_that_was_recorded_is_drawn():
    only_full = History([{k: v for k, v in row.items() if k != "gradient_norm_mean_batch"} for row in rows()])

    assert "batch" in plot_gradient_norm(history()).get_ylabel()
    assert "all data" in plot_gradient_norm(only_full).get_ylabel()


def test_an_unknown_norm_is_refused_with_the_known_ones():
    with pytest.raises(ValueError, match=r"'wide'.*'mean_batch', 'full', 'batch_mean'"):
        plot_gradient_norm(history(), norm="wide")


@pytest.mark.parametrize("plot", PLOTS)
def test_phases_differ_in_colour_and_in_mark(plot):
    axes = plot(history())

    for phase in ("first", "second"):
        drawn = line(axes, PHASES[phase].label)
        assert to_hex(drawn.get_color()) == PHASES[phase].color
        assert drawn.get_marker() == PHASES[phase].marker
    assert PHASES["first"].marker != PHASES["second"].marker
    assert legend(axes) == ["first phase", "second phase", "swap"]


@pytest.mark.parametrize(("plot", "at"), [(plot_loss_against_cost, WORK[3]), (plot_gradient_norm, LOSSES[3])])
def test_the_swap_is_marked_at_its_row_and_labelled_with_its_epoch(plot, at):
    axes = plot(history())

    (diamond,) = (line for line in axes.lines if line.get_marker() == "D")
    assert diamond.get_xdata()[0] == at
    assert texts(axes) == ["swap, epoch 3"]


def test_a_swap_back_is_called_so():
    axes = plot_loss_against_cost(history(phase=["first"] * 3 + ["second"] * 2 + ["first"] * 2))

    assert texts(axes) == ["swap, epoch 2", "swap back, epoch 4"]


def test_swaps_that_lie_close_together_are_marked_but_not_all_labelled():
    phases = ["first" if epoch % 2 else "second" for epoch in range(7)]
    work = [0.0, *(99.0 + 0.1 * e for e in range(6))]

    axes = plot_loss_against_cost(history(phase=phases, gradient_equivalents=work))

    assert sum(line.get_marker() == "D" for line in axes.lines) == 6
    assert len(axes.texts) == 2


def test_the_running_loss_stands_in_and_the_axis_says_so():
    running = [None, 0.4, 0.3, 0.2, None, None, None]
    full = [None, None, None, None, 0.1, 0.05, 0.025]

    axes = plot_loss_against_cost(history(loss=full, loss_running=running))

    assert points(axes, "first phase") == list(zip(WORK[1:4], running[1:4], strict=True))
    assert "over all data, or mean\nof the epoch's batches" in axes.get_ylabel()


def test_a_loss_that_is_not_finite_is_marked_at_the_upper_edge():
    axes = plot_loss_against_cost(history(loss=[0.8, 0.4, 0.3, 0.2, math.nan, math.inf, 0.1]))

    marks = line(axes, "loss NaN or above 1e+150")
    assert marks.get_xdata().tolist() == [WORK[4], WORK[5]]
    # The curve goes on past them instead of breaking off.
    assert points(axes, "second phase") == [(WORK[3], 0.2), (WORK[6], 0.1)]


def test_a_loss_of_zero_is_marked_at_the_lower_edge_of_a_log_axis():
    axes = plot_loss_against_cost(history(loss=[0.8, 0.4, 0.3, 0.2, 0.1, 0.05, 0.0]))

    assert axes.get_yscale() == "log"
    assert line(axes, "loss 0").get_xdata().tolist() == [WORK[6]]


def test_a_negative_loss_gets_a_linear_axis():
    axes = plot_loss_against_cost(history(loss=[0.8, 0.4, 0.3, 0.2, 0.1, 0.0, -0.5]))

    assert axes.get_yscale() == "linear"
    assert points(axes, "second phase")[-1] == (WORK[6], -0.5)


def test_epochs_that_cannot_be_drawn_against_the_norm_are_counted():
    axes = plot_gradient_norm(history(gradient_norm_mean_batch=[None, 0.5, math.nan, 0.7, math.inf, 0.2, 0.1]))

    assert "not drawn: 2 epochs" in axes.get_xlabel()
    assert "not drawn" not in plot_gradient_norm(history()).get_xlabel()


DIFFICULT = {
    "empty": [],
    "one row": rows()[:1],
    "two rows": rows()[:2],
    "all losses zero": rows(loss=[0.0] * 7),
    "all losses NaN": rows(loss=[math.nan] * 7),
    "all losses equal": rows(loss=[0.5] * 7),
    "no losses": rows(loss=[None] * 7),
    "no norms": rows(gradient_norm=[None] * 7, gradient_norm_mean_batch=[None] * 7),
    "norms zero": rows(gradient_norm_mean_batch=[0.0] * 7),
    "no work": rows(gradient_equivalents=[None] * 7),
    "all work zero": rows(gradient_equivalents=[0.0] * 7),
    "some work NaN": rows(gradient_equivalents=[1.0, 2.0, 3.0, math.nan, 5.0, 6.0, 7.0]),
    "no phases": rows(phase=[None] * 7),
    "other phases": rows(phase=["warm-up"] * 7),
    "six hundred decades": rows(loss=[10.0 ** (300 - 100 * e) for e in range(7)]),
    "largest and smallest floats": rows(loss=[1.7e308, -1.7e308, 5e-324, 0.0, math.inf, -math.inf, 1.0]),
    "foreign columns": [{"mine": 1.0}, {"mine": "text"}],
}


@pytest.mark.parametrize("plot", PLOTS)
@pytest.mark.parametrize("name", DIFFICULT)
def test_difficult_histories_are_drawn_without_warnings(plot, name):
    axes = plot(History(DIFFICULT[name]))

    axes.figure.draw_without_rendering()
    width = axes.get_window_extent().width
    assert width > 0.4 * axes.figure.get_window_extent().width, "labels or legend squeeze the axes"


@pytest.mark.parametrize("plot", PLOTS)
def test_a_figure_without_any_point_says_why(plot):
    assert any("no " in text for text in texts(plot(History(DIFFICULT["no losses"]))))


@pytest.mark.parametrize("plot", PLOTS)
def test_all_text_lies_inside_the_figure(plot):
    mixed = history(loss=[None] * 4 + [0.1, 0.05, math.nan], loss_running=[None, 0.4, 0.3, 0.2, None, None, None])

    axes = plot(mixed)
    axes.figure.draw_without_rendering()

    frame = axes.figure.get_window_extent()
    box = axes.get_tightbbox()
    assert box.x0 >= frame.x0 and box.y0 >= frame.y0 and box.x1 <= frame.x1 and box.y1 <= frame.y1


@pytest.mark.parametrize("plot", PLOTS)
def test_a_long_run_is_thinned_but_keeps_its_extremes(plot):
    recorded = long_history(10_000)
    losses = np.array(recorded.column("loss"), dtype=float)

    axes = plot(recorded)

    drawn = np.concatenate([line(axes, PHASES[p].label).get_xydata() for p in ("first", "second")])
    column = 1 if plot is plot_loss_against_cost else 0
    assert len(drawn) <= 2100
    assert drawn[:, column].min() == losses.min() and drawn[:, column].max() == losses.max()


@pytest.mark.parametrize("plot", PLOTS)
def test_given_axes_are_drawn_on_and_given_back(plot):
    from matplotlib.figure import Figure

    left, right = Figure().subplots(1, 2)

    assert plot(history(), ax=right) is right
    assert right.lines and not left.lines


def test_figures_are_unknown_to_pyplot_and_freed_when_dropped():
    import matplotlib.pyplot as plt

    axes = plot_loss_against_cost(history())
    figure = weakref.ref(axes.figure)

    assert plt.get_fignums() == []
    del axes
    gc.collect()
    assert figure() is None


def test_importing_the_plots_does_not_import_matplotlib():
    code = "import sys, landscape.plots; sys.exit('matplotlib' in sys.modules or 'seaborn' in sys.modules)"

    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
