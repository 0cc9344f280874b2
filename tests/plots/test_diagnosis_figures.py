from __future__ import annotations

import math

import numpy as np
import pytest
from matplotlib.colors import to_hex

from landscape.plots import plot_gradient_norm
from landscape.plots.batch_noise import plot_batch_noise
from landscape.plots.diagnosed import LOOKS, NEGATIVE, POSITIVE, plain_name
from landscape.plots.directions import plot_directional_curvatures
from landscape.plots.extreme_eigenvalues import plot_extreme_eigenvalues
from landscape.plots.layers import MAX_LAYERS, plot_layer_gradients, plot_layer_traces
from landscape.plots.nodes import plot_gradient_spectrum
from landscape.plots.peak import mark_peak
from landscape.plots.spectral_density import plot_spectral_density
from tests.plots.diagnoses import DIRECTIONS, LAYERS, NODES, NOISE, WEIGHTS, diagnosis, not_finite, nothing_measured
from tests.plots.histories import history

ON_AXES = [
    plot_extreme_eigenvalues,
    plot_directional_curvatures,
    plot_batch_noise,
    plot_layer_traces,
    plot_layer_gradients,
]
WHOLE = [plot_spectral_density, plot_gradient_spectrum]


def figure_of(plot, diagnoses):
    drawn = plot(diagnoses)
    return drawn if plot in WHOLE else drawn.get_figure(root=True)


def drawn_numbers(figure):
    """All coordinates of lines that are drawn on the axes' own scales."""
    lines = [line for axes in figure.axes for line in axes.lines if line.get_transform() == axes.transData]
    return np.concatenate([np.asarray(line.get_xydata(), dtype=float).reshape(-1) for line in lines] or [np.empty(0)])


def marks(axes, marker):
    return [line for line in axes.lines if line.get_marker() == marker]


@pytest.mark.parametrize("plot", [*ON_AXES, *WHOLE])
@pytest.mark.parametrize(
    "diagnoses",
    [[], [nothing_measured()], [not_finite()], [diagnosis(), not_finite()], [diagnosis(name=str(i)) for i in range(8)]],
    ids=["none", "nothing measured", "not finite", "one of two not finite", "more than there are colours"],
)
def test_whatever_was_measured_is_drawn_without_a_warning(plot, diagnoses):
    figure_of(plot, diagnoses).draw_without_rendering()


@pytest.mark.parametrize("plot", [*ON_AXES, *WHOLE])
def test_nan_and_infinity_are_never_drawn_as_numbers(plot):
    figure = figure_of(plot, [not_finite()])

    assert not np.isinf(drawn_numbers(figure)).any()


@pytest.mark.filterwarnings("ignore:Glyph .* missing")
@pytest.mark.parametrize("plot", [*ON_AXES, *WHOLE])
def test_names_from_outside_are_drawn_as_they_are_or_shortened_but_never_interpreted(plot):
    names = ["$\\frac{$", "_hidden", "a\nb", "x" * 300, "\udc80", "\u6a21\u578b"]
    figure_of(plot, [diagnosis(name=name) for name in names]).draw_without_rendering()


def test_the_ends_of_the_spectrum_are_where_they_were_measured():
    axes = plot_extreme_eigenvalues([diagnosis()])

    (lowest,), (highest,) = marks(axes, "v"), marks(axes, "^")
    assert lowest.get_xdata()[0] == -0.125 and highest.get_xdata()[0] == 4.0
    assert to_hex(lowest.get_color()) == NEGATIVE and to_hex(highest.get_color()) == POSITIVE
    thick = [line.get_xdata() for line in axes.lines if line.get_linewidth() == 4.5]
    assert [list(map(float, ends)) for ends in thick] == [[-0.25, -0.125], [4.0, 4.5]]
    assert any("\N{MINUS SIGN}0.25, \N{MINUS SIGN}0.125" in text.get_text() for text in axes.texts)
    # The tolerance is a stroke of its own.
    assert -0.004 in [float(line.get_xdata()[0]) for line in marks(axes, "|")]


def test_an_unknown_end_of_an_interval_is_an_arrow_at_the_edge():
    unknown = diagnosis(findings={"lambda_min": {"interval": (-math.inf, -0.125)}})
    axes = plot_extreme_eigenvalues([unknown])

    (arrow,) = marks(axes, "<")
    assert float(arrow.get_xdata()[0]) == axes.get_xlim()[0]
    assert any("\N{MINUS SIGN}\N{INFINITY}" in text.get_text() for text in axes.texts)


def test_several_models_share_one_scale_and_have_their_names():
    axes = plot_extreme_eigenvalues([diagnosis(name="one"), diagnosis(name="two")])

    assert [label.get_text() for label in axes.get_yticklabels()] == ["λmin", "λmax"] * 2
    assert {"one", "two"} <= {text.get_text() for text in axes.texts}
    assert "loss / parameter²" in axes.get_xlabel()


def test_the_density_is_coloured_by_sign_between_the_outermost_nodes_only():
    curve, nodes = plot_spectral_density([diagnosis()]).axes

    assert curve.get_xscale() == "symlog" and curve.get_yscale() == "log" and nodes.get_yscale() == "log"
    by_color = {to_hex(line.get_color()): line for line in curve.lines if line.get_linewidth() == 1.4}
    negative = by_color[NEGATIVE].get_xydata()
    assert negative[np.isfinite(negative[:, 1])].tolist() == [[-0.125, 0.5], [0.0, 0.25]]
    positive = by_color[POSITIVE].get_xydata()
    assert positive[np.isfinite(positive[:, 1]), 0].tolist() == [0.0, 1.0, 4.0]
    assert any(patch.get_hatch() for patch in curve.collections)


def test_nodes_have_their_weights_and_the_mark_of_their_sign():
    _, axes = plot_spectral_density([diagnosis()]).axes

    (down,), (up,) = marks(axes, "v"), marks(axes, "o")
    assert down.get_xydata().tolist() == [[NODES[0], WEIGHTS[0]]]
    assert up.get_xydata().tolist() == [list(pair) for pair in zip(NODES[1:], WEIGHTS[1:], strict=True)]


def test_the_certificates_interval_is_marked_through_both_panels():
    for axes in plot_spectral_density([diagnosis()]).axes:
        upright = [line.get_xdata()[0] for line in axes.lines if list(line.get_ydata()) == [0, 1]]
        assert {-0.25, -0.125, 0.0} <= set(upright)


def test_models_without_a_density_are_left_out_and_the_others_share_axes():
    figure = plot_spectral_density([diagnosis(name="one"), nothing_measured(), diagnosis(name="three")])

    assert len(figure.axes) == 4
    assert len({axes.get_xlim() for axes in figure.axes}) == 1
    assert (
        len({axes.get_ylim() for axes in figure.axes[0::2]})
        == len({axes.get_ylim() for axes in figure.axes[1::2]})
        == 1
    )


def test_the_bars_of_layers_go_from_0_and_are_hollow_where_they_cannot_be_told_from_it():
    axes = plot_layer_traces([diagnosis()])

    bars = [patch for patch in axes.patches if patch.get_width() != 0]
    assert [bar.get_width() for bar in bars] == [8.0, -3.0, 0.25] and {bar.get_x() for bar in bars} == {0.0}
    assert [to_hex(bar.get_edgecolor()) for bar in bars] == [POSITIVE, NEGATIVE, POSITIVE]
    assert [bar.get_facecolor()[3] for bar in bars] == [1.0, 1.0, 0.0]
    whiskers = [line.get_xdata() for line in axes.lines if line.get_linewidth() == 1.0]
    assert [list(ends) for ends in whiskers] == [[7.0, 9.0], [-3.5, -2.5], [-0.25, 0.75]]


def test_layers_of_several_models_have_the_models_colours():
    axes = plot_layer_traces([diagnosis(name="one"), diagnosis(name="two")])

    colors = {to_hex(patch.get_edgecolor()) for patch in axes.patches}
    assert colors == {LOOKS[0][0], LOOKS[1][0]}
    assert [text.get_text() for text in axes.get_legend().get_texts()] == ["one", "two"]


def test_only_the_greatest_of_many_layers_are_drawn_and_the_rest_is_counted():
    rows = [{**LAYERS[0], "name": f"layer {n}", "trace": float(n), "trace_standard_error": 0.0} for n in range(100)]
    axes = plot_layer_traces([diagnosis(findings={"layers": {"details": {"rows": rows}}})])

    shown = [label.get_text() for label in axes.get_yticklabels()]
    assert shown == [f"layer {n}" for n in range(100 - MAX_LAYERS, 100)]
    assert f"{100 - MAX_LAYERS} layers with smaller ones are not drawn" in axes.get_xlabel()


def test_gradient_norms_of_layers_are_compared_from_0_or_on_a_logarithmic_axis():
    axes = plot_layer_gradients([diagnosis()])
    assert axes.lines[0].get_xdata().tolist() == [0.5, 0.25, 1.0]
    assert axes.get_xscale() == "log"

    alike = [{**row, "gradient_norm": 0.5 + n / 100} for n, row in enumerate(LAYERS)]
    axes = plot_layer_gradients([diagnosis(findings={"layers": {"details": {"rows": alike}}})])
    assert axes.get_xscale() == "linear" and axes.get_xlim()[0] == 0.0


def test_directions_have_their_curvature_and_one_standard_error():
    axes = plot_directional_curvatures([diagnosis()])

    (dots,) = marks(axes, "o")
    assert dots.get_xdata().tolist() == [row["curvature"] for row in DIRECTIONS]
    assert [label.get_text() for label in axes.get_yticklabels()] == ["gradient", "random 1"]
    whiskers = [line.get_xdata() for line in axes.lines if line.get_linewidth() == 1.4]
    assert [list(ends) for ends in whiskers] == [[1.75, 2.25], [-0.625, -0.375]]


def test_noise_is_drawn_on_logarithmic_axes_with_the_line_at_1():
    axes = plot_batch_noise([diagnosis()])

    assert axes.get_xscale() == axes.get_yscale() == "log"
    assert axes.lines[0].get_xydata().tolist() == [[row["batch_size"], row["noise"]] for row in NOISE]
    assert any(list(line.get_ydata()) == [1.0, 1.0] for line in axes.lines)
    (ring,) = (line for line in axes.lines if line.get_markersize() == 11)
    assert ring.get_xydata().tolist() == [[128, 2.0]]


def test_the_peak_of_the_gradient_norm_is_marked_with_its_epoch():
    recorded = history()
    axes = plot_gradient_norm(recorded, norm="mean_batch")

    assert mark_peak(axes, recorded, "mean_batch") == 2
    assert [text.get_text() for text in axes.texts][-1] == "peak, epoch 2"
    assert marks(axes, "*")[0].get_xydata().tolist() == [[0.3, 0.9]]


def test_a_norm_that_only_falls_has_no_peak():
    recorded = history(gradient_norm_mean_batch=[None, 0.9, 0.8, 0.7, 0.3, 0.2, 0.1])
    axes = plot_gradient_norm(recorded, norm="mean_batch")

    assert mark_peak(axes, recorded, "mean_batch") is None
    assert not marks(axes, "*")


def test_a_long_name_keeps_its_beginning_and_its_end():
    assert plain_name("encoder.block.11.attention.output.weight").startswith("encoder.block")
    assert plain_name("encoder.block.11.attention.output.weight").endswith("t.weight")
    assert len(plain_name("x" * 100)) == 24
