from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_hex

from landscape.comparison.arm import Arm, ArmResult
from landscape.comparison.scores import policy_scores
from landscape.plots.arm_curves import median_curve, plot_curves
from landscape.plots.compared import CONTROL, FIXED, GREY, INK, POLICY, best_fixed, default_policy
from landscape.plots.epoch_axis import EpochAxis
from landscape.plots.groups import nearest_groups
from landscape.plots.profiles import plot_profiles, plot_profiles_across
from landscape.plots.regret import plot_regret
from landscape.plots.response import plot_response
from landscape.plots.responses import plot_responses
from tests.comparison import made
from tests.plots.comparisons import GRID, POLICIES, comparison, suite

PLOTS = [plot_response, plot_regret, plot_profiles, plot_curves]


def with_loss(compared, loss):
    """Every arm ends there."""
    results = (dataclasses.replace(r, values=dict.fromkeys(r.values, loss)) for r in compared.results)
    return dataclasses.replace(compared, results=tuple(results))


def without(compared, *kinds, **changes):
    results = tuple(result for result in compared.results if result.arm.kind not in kinds)
    return dataclasses.replace(compared, results=results, **changes)


def hard_cases():
    usual = comparison(policies=POLICIES[::5])
    return {
        "one seed": comparison(1, policies=POLICIES[::3]),
        "no policies": without(usual, "policy", policies=()),
        "no fixed epochs": without(usual, "grid", grid=()),
        "nothing but never": without(
            usual, "policy", "grid", "control", "from start", policies=(), grid=(), controls=()
        ),
        "all lost": with_loss(usual, math.inf),
        "all losses 0": with_loss(usual, 0.0),
        "all losses 0, no floor": dataclasses.replace(with_loss(usual, 0.0), floor=0.0),
        "a seed that never ran": made.without_seed(made.comparison(4), 1),
        "no curves": dataclasses.replace(usual, results=tuple(dataclasses.replace(r, curve=()) for r in usual.results)),
        "odd names": comparison(2, policies=tuple(("$\\frac{" + name * 9, *rest) for name, *rest in POLICIES)),
    }


CASES = hard_cases()


def texts(axes):
    return [text.get_text() for text in axes.texts]


def lines(axes, color, marker):
    return [line for line in axes.lines if to_hex(line.get_color()) == color and line.get_marker() == marker]


def points(found):
    return np.concatenate([line.get_xydata() for line in found])


def boxes(artists, figure):
    return [artist.get_window_extent() for artist in artists if artist.get_text()]


def drawn_out(figure):
    """The same figure with every text in its place."""
    FigureCanvasAgg(figure).draw()
    return figure


def no_two_overlap(found):
    return not any(one.overlaps(other) for number, one in enumerate(found) for other in found[number + 1 :])


@pytest.mark.parametrize("plot", PLOTS)
@pytest.mark.parametrize("case", CASES)
def test_whatever_was_compared_is_drawn_without_a_warning(plot, case):
    figure = plot(CASES[case])
    figure.draw_without_rendering()

    for axes in figure.axes:
        drawn = [line.get_xydata() for line in axes.lines if line.get_transform() == axes.transData]
        assert not np.isinf(np.concatenate([*drawn, np.empty((0, 2))])).any()


@pytest.mark.parametrize("plot", [plot_responses, plot_profiles_across])
def test_several_tasks_are_drawn_without_a_warning(plot):
    plot(CASES).draw_without_rendering()
    plot({}).draw_without_rendering()


@pytest.mark.parametrize("plot", PLOTS)
def test_a_finisher_that_was_not_compared_is_refused_with_those_that_were(plot):
    with pytest.raises(
        ValueError, match="finisher='newton' was given; the finishers of this comparison are 'cg', 'lbfgs'"
    ):
        plot(comparison(1, finishers=("cg", "lbfgs")), "newton")


# -- response to the swap time ------------------------------------------------------------------------------------------


def test_the_response_goes_through_the_median_of_every_fixed_epoch():
    compared = made.comparison()
    (axes,) = plot_response(compared).axes

    found = points(lines(axes, FIXED, "o"))
    # Units 1, 2, 4, 1, 2, 4, 1, 2 of the seeds: their median is 2.
    assert sorted(found[:, 1]) == sorted(2.0 * loss for loss in made.GRID.values())
    (never,) = lines(axes, INK, "s")
    assert never.get_ydata().tolist() == [2.0 * made.NEVER]
    labels = [label.get_text() for label in axes.get_xticklabels()]
    assert labels[0] == "0" and labels[-1] == "never" and set(labels[1:-1]) <= {str(epoch) for epoch in made.GRID}


def test_every_policy_that_was_asked_has_its_mark_and_its_name_in_the_list():
    compared = comparison()
    figure = plot_response(compared)
    (axes,) = figure.axes

    circles = [line for line in lines(axes, POLICY, "o") if line.get_markerfacecolor() == "none"]
    asked = [s for s in policy_scores(compared, "cg") if s.name != "never" and s.verdict != "not asked"]
    assert len(points(circles)) == len(asked) == len(POLICIES)
    assert sorted(points(circles)[:, 1]) == sorted(score.median_loss for score in asked)
    told = " ".join(text.get_text() for text in figure.texts)
    assert all(score.name in told for score in asked)
    assert "no-symmetry-witness" not in told
    letters = [text for text in texts(axes) if len(text) == 1]
    assert letters == sorted(letters) and 1 < len(letters) <= 8
    assert all(letter in [text.get_text() for text in figure.texts] for letter in letters)


@pytest.mark.parametrize("case", ["usual", "one seed", "all losses 0", "odd names"])
def test_no_words_of_the_response_cover_each_other_or_leave_the_figure(case):
    figure = drawn_out(plot_response(CASES.get(case) or comparison()))
    (axes,) = figure.axes

    found = boxes([*figure.texts, *axes.texts, *axes.get_xticklabels(), *axes.get_legend().get_texts()], figure)
    assert no_two_overlap(found)
    assert all(box.x0 >= 0 and box.x1 <= figure.bbox.x1 and box.y0 >= 0 and box.y1 <= figure.bbox.y1 for box in found)


def test_controls_and_what_starts_with_its_finisher_are_marks_of_their_own():
    (axes,) = plot_response(comparison()).axes

    labels = [text.get_text() for text in axes.get_legend().get_texts()]
    assert {"lbfgs", "adam-cosine", "adam-constant:lr=0.01"} <= set(labels)
    drawn = points([line for line in axes.lines if to_hex(line.get_color()) == CONTROL])
    assert len(drawn) == 4 + 1 + 1


@given(st.lists(st.tuples(st.floats(0, 4), st.floats(0, 3)), max_size=12), st.integers(1, 8))
def test_groups_hold_every_point_once_and_are_few_and_apart(places, most):
    where = np.array(places, dtype=float).reshape(-1, 2)
    groups = nearest_groups(where, most=most, apart=0.25)

    assert sorted(member for group in groups for member in group.members) == list(range(len(places)))
    assert len(groups) <= most
    middles = [0.5 * (where[list(g.members)].min(axis=0) + where[list(g.members)].max(axis=0)) for g in groups]
    for number, one in enumerate(middles):
        assert all(np.linalg.norm(one - other) >= 0.25 for other in middles[number + 1 :])
    assert [group.letter for group in groups] == list("abcdefgh")[: len(groups)]


def test_0_and_never_stand_beside_the_scale():
    axis = EpochAxis.of((0, 1, 2, 64), [7.0, math.inf])

    assert axis.place(0) < axis.place(1) == 0.0 < axis.place(2) == 1.0 < axis.place(64) == 6.0 < axis.place(None)
    assert axis.place(math.inf) == axis.place(None)


# -- regret -------------------------------------------------------------------------------------------------------------


def test_the_rows_of_regrets_are_sorted_and_exact():
    compared = made.comparison()
    (axes,) = plot_regret(compared).axes

    names = [label.get_text() for label in axes.get_yticklabels()]
    medians = {
        line.get_ydata()[0]: line.get_xdata()[0]
        for line in axes.lines
        if line.get_markersize() == 5 and len(line.get_xdata()) == 1
    }
    by_name = {names[row]: value for row, value in medians.items()}
    assert by_name["at-best"] == 0.0 and by_name["late"] == 100.0 and by_name["harmful"] == 1500.0
    assert by_name["never"] == 700.0 and by_name["never-fires"] == 700.0
    shown = [value for _, value in sorted(medians.items())]
    assert shown == sorted(shown)
    assert names[-1] == "blind" and "not asked" in texts(axes)
    assert {"best fixed epoch", "lbfgs (control)"} <= set(names)


def test_lines_mark_never_and_ten_per_cent_and_what_never_swapped_is_grey():
    (axes,) = plot_regret(made.comparison()).axes

    upright = [line.get_xdata()[0] for line in axes.lines if list(line.get_ydata()) == [0, 1]]
    assert sorted(upright) == [10.0, 700.0]
    row = [label.get_text() for label in axes.get_yticklabels()].index("never-fires")
    colors = {
        to_hex(line.get_color()) for line in axes.lines if len(line.get_ydata()) and set(line.get_ydata()) == {row}
    }
    assert colors == {GREY}


def test_lost_seeds_are_crosses_at_the_edge():
    (axes,) = plot_regret(made.comparison()).axes

    names = [label.get_text() for label in axes.get_yticklabels()]
    crossed = {names[int(line.get_ydata()[0])] for line in axes.lines if line.get_marker() == "x"}
    assert crossed == {"crashes", "diverges-once"}


def test_no_words_of_the_regrets_cover_each_other():
    for compared in (comparison(), made.comparison(), CASES["odd names"]):
        figure = drawn_out(plot_regret(compared))
        (axes,) = figure.axes
        labels = [*axes.get_xticklabels(), *axes.get_yticklabels(), *axes.texts, *axes.get_legend().get_texts()]
        found = boxes(labels, figure)
        # Rows are close: letters of one may reach a hair into the next.
        assert no_two_overlap([box.padded(-1.2) for box in found])
        assert all(box.x0 >= 0 and box.x1 <= figure.bbox.x1 for box in found)


# -- profiles and curves ------------------------------------------------------------------------------------------------


def curves_of(figure):
    """Lines by their names in the legend."""
    return {line.get_label(): line for line in figure.axes[0].lines}


def test_profiles_say_on_how_many_seeds_an_arm_is_within_a_factor():
    figure = plot_profiles(made.comparison())
    drawn = curves_of(figure)

    never = drawn["never"].get_xydata()
    # Never ends at 8 times the best with every seed.
    assert never[never[:, 0] < 8][:, 1].max() == 0.0 and never[never[:, 0] >= 8][:, 1].min() == 1.0
    assert drawn["best fixed epoch, 8"].get_ydata().min() == 1.0
    once = drawn["diverges-once"].get_ydata()
    assert set(once) == {7 / 8}
    assert "blind" not in drawn and "never-fires" not in drawn


def test_policies_that_swap_alike_share_a_line():
    drawn = curves_of(plot_profiles(comparison()))

    assert "gauss-newton-share + 1 alike" in drawn
    assert len(drawn) <= 8 and "gradient-norm-peak (default)" in drawn


def test_profiles_across_pool_tasks_and_seeds():
    figure = plot_profiles_across(suite())

    assert figure.axes[0].get_ylabel() == "share of 11 pairs of task and seed"
    drawn = curves_of(figure)
    assert {"never", "best fixed epoch of each task"} <= set(drawn)
    # "race" was not compared on all tasks.
    assert not any(name.startswith("race") for name in drawn)
    assert drawn["never"].get_ydata().max() == 1.0


def test_the_best_fixed_epoch_and_the_default_policy_are_found():
    assert best_fixed(comparison(), "cg") == Arm("grid", "cg", epoch=16)
    assert default_policy(comparison()) == "gradient-norm-peak (default)"
    assert default_policy(made.comparison()) is None


def test_curves_end_at_the_losses_of_their_arms():
    figure = plot_curves(made.comparison(), seed=0)
    drawn = curves_of(figure)

    ends = {name: line.get_ydata()[-1] for name, line in drawn.items()}
    assert ends["never"] == 8.0 and ends["best fixed epoch, 8"] == 1.0 and ends["lbfgs after epoch 8"] == 0.5
    assert ends["adam-cosine from the start"] == 2.0
    with pytest.raises(ValueError, match="seed=99 was given; the seeds of this comparison are 0, 1"):
        plot_curves(made.comparison(), seed=99)


def test_a_curve_over_seeds_is_their_median_and_a_lost_seed_counts_as_infinite():
    work = np.array([0.0, 5.0, 10.0])
    arm = Arm("never")
    straight = [ArmResult(arm, s, "finished", curve=((0.0, 1.0 + s), (10.0, 3.0 + s))) for s in range(3)]
    lost = dataclasses.replace(straight[0], status="diverged", curve=((0.0, 1.0), (4.0, 9.0)))
    done = dataclasses.replace(straight[0], curve=((0.0, 1.0), (4.0, 0.5)))

    assert median_curve(straight, work, 0.0).tolist() == [2.0, 3.0, 4.0]
    assert median_curve([lost, *straight[1:]], work, 0.0).tolist() == [2.0, 4.0, 5.0]
    assert median_curve([done], work, 0.0).tolist() == [1.0, 0.5, 0.5]
    assert median_curve([done], work, 0.75).tolist() == [1.0, 0.75, 0.75]


def test_a_panel_for_every_task_shows_its_own_grid():
    figure = plot_responses(suite())

    assert [axes.get_title(loc="left") for axes in figure.axes] == ["digits", "burgers", "vit"]
    for axes in figure.axes:
        assert len(points(lines(axes, FIXED, "o"))) == len(GRID)
        assert [label.get_text() for label in axes.get_xticklabels()][-1] == "never"
