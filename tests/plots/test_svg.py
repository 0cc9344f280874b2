from __future__ import annotations

import re
import subprocess
import sys
import xml.etree.ElementTree as ET

import pytest

from landscape.plots import figure_svg, plot_gradient_norm, plot_loss_against_cost
from tests.plots.histories import history, long_history


@pytest.fixture(scope="module")
def pictures():
    return [figure_svg(plot(history()).figure) for plot in (plot_loss_against_cost, plot_gradient_norm)]


def ids(text):
    return re.findall(r'\sid="([^"]+)"', text)


def test_the_element_is_well_formed_and_needs_nothing_from_outside(pictures):
    for text in pictures:
        assert ET.fromstring(text).tag == "svg"
        assert "http" not in text and "<script" not in text and "src=" not in text and "<style" not in text


def test_every_reference_points_to_an_id_of_the_same_figure(pictures):
    for text in pictures:
        references = re.findall(r'(?:url\(#|href="#)([^)"]+)', text)
        assert references and set(references) <= set(ids(text))


def test_ids_are_unique_also_across_two_figures_in_one_page(pictures):
    together = [name for text in pictures for name in ids(text)]

    assert len(together) == len(set(together)) > 20


def test_what_was_black_takes_the_colour_of_the_page(pictures):
    for text in pictures:
        root = ET.fromstring(text)
        assert root.get("fill") == "currentColor"
        assert "#000000" not in text and "stroke: currentColor" in text
        assert not re.search(r"#fff(fff)?\b", text), "a white background would glare in a dark page"


def test_the_phases_colours_can_be_set_by_the_page(pictures):
    for text in pictures:
        assert "var(--first-phase, #0072b2)" in text and "var(--second-phase, #d55e00)" in text


def test_the_description_is_escaped():
    text = figure_svg(plot_loss_against_cost(history()).figure, 'loss < 1 & "falling"')

    assert ET.fromstring(text).get("aria-label") == 'loss < 1 & "falling"'


def test_the_same_history_gives_the_same_text_in_every_process(pictures):
    code = (
        "import sys; from landscape.plots import *; from tests.plots.histories import history;"
        "sys.stdout.write(figure_svg(plot_loss_against_cost(history()).figure))"
    )

    other = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout

    assert other == pictures[0]


def test_the_users_own_matplotlib_settings_stay_as_they_are():
    import matplotlib as mpl

    before = dict(mpl.rcParams)
    figure_svg(plot_loss_against_cost(history()).figure)

    assert dict(mpl.rcParams) == before


@pytest.mark.parametrize("plot", [plot_loss_against_cost, plot_gradient_norm])
def test_ten_thousand_rows_stay_small(plot):
    assert len(figure_svg(plot(long_history(10_000)).figure)) < 250_000


def test_what_is_not_a_figure_is_refused():
    with pytest.raises(ValueError, match="needed is a whole matplotlib Figure"):
        figure_svg(None)
