from __future__ import annotations

import io
import itertools
import math

import numpy as np
import pytest

from landscape.plots.replay import plot_replay
from landscape.plots.signals import LOOKS, PANELS, recorded_panels
from landscape.plots.svg import figure_svg
from landscape.replaying.replay import replay
from landscape.tracking.columns import COLUMNS
from landscape.tracking.history import History
from tests.plots.histories import rows
from tests.policies.histories import history_of
from tests.replaying.runs import full_history

LONG = "patience:times=2(smooth:span=9(gradient-norm-peak:factor=0.8,norm=mean_batch)) & monotone-gradient"
EVERYTHING = ["all", "after-epochs:30", "budget-share:budget=100", LONG]


def marks(figure):
    """Name -> (epoch of its filled mark, or None where the mark is hollow)."""
    axes = figure.axes[-1]
    names = {label.get_position()[1]: label.get_text() for label in axes.get_yticklabels()}
    found = {}
    for line in axes.lines:
        if line.get_marker() in ("None", None, "none"):
            continue
        hollow = line.get_markerfacecolor() == "none"
        found[names[line.get_ydata()[0]]] = None if hollow else line.get_xdata()[0]
    return found


def words(figure):
    """All texts that are drawn in the lower part."""
    return {text.get_text() for text in figure.axes[-1].texts}


def test_every_policy_has_one_mark_at_the_epoch_of_its_firing():
    found = replay(full_history(40), EVERYTHING[:3])

    figure = plot_replay(found)
    drawn = marks(figure)

    assert len(drawn) == len(found)
    for outcome in found:
        name = f"{outcome.name} \N{DAGGER}" if outcome.hindsight else outcome.name
        assert drawn[name] == outcome.epoch
        assert outcome.epoch is None or str(outcome.epoch) in words(figure)


def test_the_epoch_stands_beside_the_mark_and_the_reason_in_the_row_of_a_hollow_one():
    history = history_of(loss=[1.0, 0.9, 0.8], gradient_norm=[1.0, 0.97, 0.96])

    figure = plot_replay(replay(history, ["after-epochs:2", "gradient-norm-peak", "eigenvalue-ratio"]))

    assert {"2", "never, closest at 3"} <= words(figure)
    assert any(text.startswith("needs lambda_max") for text in words(figure))


def test_policies_stand_in_groups_by_claim_strongest_first_and_by_epoch():
    figure = plot_replay(replay(full_history(60)))

    headings = [text.get_text() for text in figure.axes[-1].texts if text.get_weight() == "bold"]
    assert [heading[:8] for heading in headings[:-1]] == [
        "claim A:",
        "claim A'",
        "claim B:",
        "claim C:",
        "claim D:",
        "claim E:",
    ]
    assert headings[-1] == "no claim: clock, noise or outcome"


def test_only_recorded_signals_are_drawn_with_units_on_every_axis():
    assert [list(panel.signals) for panel in recorded_panels(History(rows()))] == [
        ["loss"],
        ["gradient_norm", "gradient_norm_mean_batch"],
    ]
    figure = plot_replay(replay(History(rows()), "never"))
    told = " ".join(text.get_text() for text in figure.texts)
    assert "loss/param." in told and "epoch\nwork (GE)" in told
    assert len(figure.axes) == 3


def test_every_panel_holds_columns_of_one_unit_and_has_looks_enough():
    for panel in PANELS:
        units = {COLUMNS[name].unit for name in panel.signals}
        assert len(units) == 1 and len(panel.signals) <= len(LOOKS)


def test_signals_go_through_the_recorded_values_up_to_the_last_epoch_asked_about():
    history = full_history(40, swap=20)

    figure = plot_replay(replay(history, "never"))

    (curve, *_) = figure.axes[0].lines
    np.testing.assert_array_equal(curve.get_xdata(), np.arange(21))
    np.testing.assert_array_equal(curve.get_ydata(), history.column("loss")[:21])


def test_curvature_of_both_signs_has_a_signed_axis_with_zero():
    curvatures = [-100.0, -1.0, -0.01, 0.01, 1.0, 100.0]
    figure = plot_replay(replay(history_of(loss=[1.0] * 6, curvature_gradient=curvatures), "never"))

    axes = figure.axes[1]
    assert axes.get_yscale() == "symlog"
    assert 0 in axes.get_yticks()


def test_a_second_phase_in_between_is_shaded_and_explained():
    figure = plot_replay(replay(full_history(40, swap=10, back=20), "after-epochs:15"))

    assert "35*" in words(figure)
    assert any("shaded" in text.get_text() for text in figure.texts)
    (span,) = figure.axes[0].patches
    assert span.get_extents().transformed(figure.axes[0].transData.inverted()).intervalx.tolist() == pytest.approx(
        [10, 20]
    )


def shown_texts(figure):
    """Every text and legend that is drawn, with its box; ticks outside the view are not."""
    artists = list(figure.texts)
    for axes in figure.axes:
        low, high = axes.get_xlim()
        artists += [label for label in axes.get_xticklabels() if low <= label.get_position()[0] <= high]
        artists += [*axes.texts, *axes.get_yticklabels(), *([axes.get_legend()] if axes.get_legend() else [])]
    boxes = [(artist, artist.get_window_extent()) for artist in artists if artist.get_visible()]
    return [(artist, box) for artist, box in boxes if box.width > 0]


@pytest.mark.parametrize(
    ("width", "recorded", "log_epochs"),
    [(3.4, "everything", False), (5.0, "everything", True), (5.0, "little", False), (3.4, "little", False)],
)
def test_nothing_is_cut_off_and_no_words_cover_each_other(width, recorded, log_epochs):
    history = full_history(60, swap=40, back=45) if recorded == "everything" else History(rows())
    figure = plot_replay(replay(history, EVERYTHING), width, log_epochs=log_epochs)
    figure.draw_without_rendering()

    frame, texts = figure.get_window_extent(), shown_texts(figure)
    assert len(texts) > 60
    for artist, box in texts:
        assert box.x0 >= frame.x0 - 1 and box.x1 <= frame.x1 + 1, f"cut off: {artist}"
        assert box.y0 >= frame.y0 - 1 and box.y1 <= frame.y1 + 1, f"cut off: {artist}"
    for (one, a), (two, b) in itertools.combinations(texts, 2):
        across, along = min(a.x1, b.x1) - max(a.x0, b.x0), min(a.y1, b.y1) - max(a.y0, b.y0)
        # Boxes hold the room for letters with tails, so rows may touch a little.
        assert across <= 1 or along <= 0.25 * min(a.height, b.height), f"{one} covers {two}"


DIFFICULT = {
    "empty": [],
    "only the start": rows()[:1],
    "one epoch": rows()[:2],
    "all losses NaN": rows(loss=[math.nan] * 7),
    "no losses": rows(loss=[None] * 7),
    "all zero": rows(loss=[0.0] * 7, gradient_norm=[0.0] * 7),
    "curvature zero": rows(curvature_gradient=[0.0] * 7),
    "curvature huge": rows(curvature_gradient=[-1e300, 1e-300, 0.0, 1e300, math.inf, -math.inf, math.nan]),
    "no work": rows(gradient_equivalents=[None] * 7),
    "no phases": rows(phase=[None] * 7),
    "no epochs": rows(epoch=[None] * 7),
    "swap at once": rows(phase=["first"] + ["second"] * 6),
}


@pytest.mark.parametrize("name", DIFFICULT)
def test_difficult_histories_are_drawn_without_warnings(name):
    found = replay(History(DIFFICULT[name]), ["gradient-norm-peak", "directional-curvature", "after-epochs:2", "never"])
    for log_epochs in (False, True):
        plot_replay(found, log_epochs=log_epochs).draw_without_rendering()


def test_the_same_replay_gives_the_same_vector_picture_that_a_page_can_hold():
    found = replay(full_history(30), ["gradient-norm-peak", "monotone-gradient", "restricted-secant", "never"])

    one, two = (figure_svg(plot_replay(found).get_figure(root=True)) for _ in range(2))

    assert one == two and "<image" not in one and len(one) < 400_000


def test_a_figure_is_unknown_to_pyplot_and_can_be_saved():
    import matplotlib.pyplot as plt

    figure = plot_replay(replay(full_history(10), "never"))
    figure.savefig(io.BytesIO(), format="pdf")

    assert plt.get_fignums() == []


def test_a_width_in_which_nothing_fits_is_refused():
    with pytest.raises(ValueError, match="at least 3 inches"):
        plot_replay(replay(full_history(5), "never"), width=2)
