"""The pages of comparisons in a real browser: nothing overflows, nothing is unreadable, nothing complains."""

from __future__ import annotations

import functools
import re

import matplotlib.image
import numpy as np
import pytest

from landscape.report.comparison_page import comparison_html
from landscape.report.suite_page import suite_html
from tests.comparison import made
from tests.plots.comparisons import POLICIES, comparison, suite
from tests.report.frames import measured_in_frame
from tests.report.test_browser import SCHEMES, browser, contrast, luminance  # noqa: F401

#: Appended to a copy of the page; the page itself has no script.
MEASURE = """<script>
const width = document.documentElement.clientWidth, wide = [];
for (const element of document.querySelectorAll("main *")) {
  if (element.closest("svg") && element.tagName !== "svg") continue;
  if (element.closest(".scroll") && !element.classList.contains("scroll")) continue;
  if (element.getBoundingClientRect().right > width + 0.5) wide.push(element.outerHTML.slice(0, 80));
}
const all = (selector, name) => [...document.querySelectorAll(selector)].map(e => getComputedStyle(e)[name]);
const table = document.querySelector(".scores, .matrix"), name = table.querySelector("tbody th");
table.parentElement.scrollLeft = 100;
parent.document.documentElement.dataset.measured = JSON.stringify({
  innerWidth, wide, scrollWidth: document.documentElement.scrollWidth,
  figures: [...document.querySelectorAll("figure svg")].map(f => f.getBoundingClientRect().width),
  requests: performance.getEntriesByType("resource").map(entry => entry.name),
  paper: all("body", "backgroundColor")[0],
  text: [...all("h1, figcaption, thead th, .claim, .interval, .note, td.n", "color"),
         ...all("figure svg use[href*='-g']", "fill")],
  signs: [".mark.for .sign", ".mark.against .sign"].map(s => [all(s, "color")[0], all(s, "backgroundColor")[0]]),
  cells: all("td[class*='r']", "backgroundColor"), ink: all("body", "color")[0],
  names: name.getBoundingClientRect().left - table.parentElement.getBoundingClientRect().left,
});
</script>"""


@pytest.fixture(scope="module")
def pages(tmp_path_factory):
    folder = tmp_path_factory.mktemp("comparisons")
    word = "ConjugateGradient(" + "beta='hager-zhang'," * 20 + ")"
    policies = tuple((name + word, claim, fires) for name, claim, fires in POLICIES[:3])
    long = comparison(2, title=word, policies=policies, finishers=(word,), settings={word: word})
    written = {
        "usual": comparison_html(comparison()),
        "exact": comparison_html(made.comparison()),
        "long": comparison_html(long),
        "suite": suite_html(suite()),
        "long suite": suite_html({word: long, f"another {word}": long}),
    }
    paths = {name: folder / f"{name.replace(' ', '-')}.html" for name in written}
    for name, path in paths.items():
        path.write_text(written[name], encoding="utf-8")
    return paths


@pytest.fixture(scope="module")
def measure(browser, pages):  # noqa: F811
    """Lengths and colours as the browser computed them, in a frame: windows are never narrower than 500 pixels."""
    return functools.cache(lambda name, width, scheme: measured_in_frame(browser, pages[name], width, scheme, MEASURE))


def over(color, paper):
    """A colour with its share of transparency, on paper."""
    numbers = [float(part) for part in re.findall(r"[\d.]+", color)]
    share = numbers[3] if len(numbers) == 4 else 1.0
    behind = [float(part) for part in re.findall(r"[\d.]+", paper)[:3]]
    mixed = [share * one + (1 - share) * other for one, other in zip(numbers[:3], behind, strict=True)]
    return f"rgb({', '.join(map(str, mixed))})"


@pytest.mark.parametrize(
    ("name", "width"), [("usual", 400), ("long", 400), ("long", 1400), ("suite", 400), ("long suite", 400)]
)
def test_nothing_is_wider_than_the_window(measure, name, width):
    found = measure(name, width, "light")

    assert found["innerWidth"] == width
    assert found["wide"] == [] and found["scrollWidth"] <= width
    # Letters are 8 points of a figure 360 points wide: at this scale 7 pixels at the least.
    assert all(7 / 8 * 360 <= shown <= 650 for shown in found["figures"])
    assert found["requests"] == []


@pytest.mark.parametrize("name", ["usual", "suite"])
def test_names_stay_in_view_while_a_table_is_scrolled(measure, name):
    assert measure(name, 400, "light")["names"] == 0


@pytest.mark.parametrize("scheme", SCHEMES)
def test_words_and_signs_stand_out_from_what_they_are_on(measure, scheme):
    found = measure("exact", 400, scheme)

    assert (luminance(found["paper"]) > 0.5) == (scheme == "light")
    assert min(contrast(color, found["paper"]) for color in found["text"]) >= 4.5
    assert min(contrast(*pair) for pair in found["signs"]) >= 4


@pytest.mark.parametrize("scheme", SCHEMES)
def test_numbers_stand_out_from_the_colours_of_their_cells(measure, scheme):
    found = measure("suite", 400, scheme)

    colours = {over(color, found["paper"]) for color in found["cells"]}
    assert len(colours) >= 4
    assert min(contrast(found["ink"], color) for color in colours) >= 4.5


@pytest.mark.parametrize(("name", "width", "scheme"), [("usual", 1400, "dark"), ("suite", 400, "light")])
def test_the_untouched_page_is_painted_without_complaint(browser, pages, tmp_path, name, width, scheme):  # noqa: F811
    picture = tmp_path / "page.png"

    run = browser(pages[name], width, scheme, f"--screenshot={picture}")

    assert "CONSOLE" not in run.stderr, run.stderr
    pixels = matplotlib.image.imread(picture)[..., :3]
    paper = pixels[0, 0]
    assert (paper.mean() > 0.5) == (scheme == "light")
    painted = (np.abs(pixels - paper).max(axis=2) > 0.2).mean()
    assert 0.01 < painted < 0.3
