"""The page of a diagnosis in a real browser: nothing overflows, nothing is unreadable, nothing complains."""

from __future__ import annotations

import functools

import matplotlib.image
import numpy as np
import pytest

from landscape.report.diagnosis_page import diagnosis_html
from tests.plots.diagnoses import LAYERS, diagnosis, nothing_measured
from tests.plots.histories import history
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
const color = (selector, name) => getComputedStyle(document.querySelector(selector))[name];
parent.document.documentElement.dataset.measured = JSON.stringify({
  innerWidth, wide, scrollWidth: document.documentElement.scrollWidth,
  figures: [...document.querySelectorAll("figure svg")].map(f => f.getBoundingClientRect().width),
  requests: performance.getEntriesByType("resource").map(entry => entry.name),
  paper: color("body", "backgroundColor"),
  text: [color("h1", "color"), color("figcaption", "color"), color(".mark.neutral .sign", "color"), color("a.claim", "color"),
         color(".status", "color"), color("td.compared", "color")],
  signs: [".mark.for .sign", ".mark.against .sign"].map(s => [color(s, "color"), color(s, "backgroundColor")]),
});
</script>"""


@pytest.fixture(scope="module")
def pages(tmp_path_factory):
    folder = tmp_path_factory.mktemp("diagnoses")
    word = "ConjugateGradient(" + "beta='hager-zhang'," * 20 + ")"
    long = diagnosis(
        name=word,
        headline=word,
        warnings=(word,),
        provenance={word: word},
        findings={
            "lambda_min": {"title": word, "meaning": word, "next_step": word, "unit": word, "threshold_text": word},
            "held_out": {"title": word, "meaning": word, "status": word},
            "layers": {"details": {"rows": [{**row, "name": word + row["name"]} for row in LAYERS]}},
        },
    )
    made = {
        "usual": diagnosis_html([diagnosis()], history()),
        "several": diagnosis_html([diagnosis(name=f"model {n}") for n in range(2)] + [nothing_measured("last")]),
        "long": diagnosis_html([long]),
        "two long": diagnosis_html([long, long]),
        "nothing": diagnosis_html([nothing_measured()]),
    }
    paths = {name: folder / f"{name.replace(' ', '-')}.html" for name in made}
    for name, path in paths.items():
        path.write_text(made[name], encoding="utf-8")
    return paths


@pytest.fixture(scope="module")
def measure(browser, pages):  # noqa: F811
    """Lengths and colours as the browser computed them, in a frame: windows are never narrower than 500 pixels."""
    return functools.cache(lambda name, width, scheme: measured_in_frame(browser, pages[name], width, scheme, MEASURE))


@pytest.mark.parametrize("name", ["usual", "several", "two long"])
@pytest.mark.parametrize("width", [400, 1400])
def test_nothing_is_wider_than_the_window(measure, name, width):
    if name == "two long" and width == 1400:
        name = "long"
    found = measure(name, width, "light")

    assert found["innerWidth"] == width
    assert found["wide"] == [] and found["scrollWidth"] <= width
    # Letters are 8 points of a figure 360 points wide: at this scale 7 pixels at the least.
    assert all(7 / 8 * 360 <= shown <= 650 for shown in found["figures"])
    assert found["requests"] == []


@pytest.mark.parametrize("scheme", SCHEMES)
def test_words_and_signs_stand_out_from_what_they_are_on(measure, scheme):
    found = measure("usual", 400, scheme)

    assert (luminance(found["paper"]) > 0.5) == (scheme == "light")
    assert min(contrast(color, found["paper"]) for color in found["text"]) >= 4.5
    assert min(contrast(*pair) for pair in found["signs"]) >= 4
    assert min(contrast(behind, found["paper"]) for _, behind in found["signs"]) >= 3


@pytest.mark.parametrize(
    ("name", "width", "scheme"), [("usual", 1400, "dark"), ("several", 400, "light"), ("nothing", 400, "dark")]
)
def test_the_untouched_page_is_painted_without_complaint(browser, pages, tmp_path, name, width, scheme):  # noqa: F811
    picture = tmp_path / "page.png"

    run = browser(pages[name], width, scheme, f"--screenshot={picture}")

    assert "CONSOLE" not in run.stderr, run.stderr
    pixels = matplotlib.image.imread(picture)[..., :3]
    paper = pixels[0, 0]
    assert (paper.mean() > 0.5) == (scheme == "light")
    painted = (np.abs(pixels - paper).max(axis=2) > 0.2).mean()
    assert 0.01 < painted < 0.3
