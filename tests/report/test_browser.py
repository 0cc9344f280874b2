"""The page in a real browser: nothing overflows, nothing is unreadable, nothing complains."""

from __future__ import annotations

import functools
import os
import re
import shutil
import subprocess

import matplotlib.image
import numpy as np
import pytest

from landscape.report.training_report import render_html, report_document
from tests.report.frames import measured_in_frame
from tests.report.runs import swapped, swapped_back

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
#: Blink's numbers for the reader's preference.
SCHEMES = {"dark": 0, "light": 1}

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
  figures: [...document.querySelectorAll("figure svg")].map(f => [f.getBoundingClientRect().width, f.getBBox().width]),
  fontSize: parseFloat(color(".sentences li", "fontSize")),
  paper: color("body", "backgroundColor"),
  text: [color(".sentences li", "color"), color("figcaption", "color"), color("thead th", "color"),
         color("figure svg use", "fill"), color("code", "color")],
  curves: [color("figure svg [style*='--first-phase']", "stroke"), color("figure svg [style*='--second-phase']", "stroke")],
});
</script>"""


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    """Runs Chromium on a page; gives what it printed and what it logged."""
    if CHROMIUM is None:
        if os.environ.get("LANDSCAPE_REQUIRE_BROWSER") == "1":
            pytest.fail("LANDSCAPE_REQUIRE_BROWSER=1, but there is no chromium on the PATH")
        pytest.skip("there is no chromium on the PATH; LANDSCAPE_REQUIRE_BROWSER=1 makes this a failure")

    def run(page, width, scheme, *options, height=3000):
        profile = tmp_path_factory.mktemp("profile")
        command = [
            *(CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
            *("--disable-background-networking", "--disable-component-update", "--disable-sync", "--hide-scrollbars"),
            *("--enable-logging=stderr", f"--user-data-dir={profile}", f"--window-size={width},{height}"),
            *(f"--blink-settings=preferredColorScheme={SCHEMES[scheme]}", *options, page.as_uri()),
        ]
        return subprocess.run(command, check=True, capture_output=True, text=True, timeout=120)

    return run


@pytest.fixture(scope="module")
def pages(tmp_path_factory):
    """A usual report, and one with the longest unbroken words that may come from outside."""
    folder = tmp_path_factory.mktemp("pages")
    word = "ConjugateGradient(" + "beta='hager-zhang'," * 20 + ")"
    hard = swapped_back()
    usual = report_document(swapped(), title="mlp on digits", provenance={"torch": "2.13.0"})
    long_words = report_document(
        type(hard)(**{**vars(hard), "settings": {"policy": word, word: word}}),
        title=word,
        provenance={"data": "f" * 200},
    )
    paths = {"usual": folder / "usual.html", "long words": folder / "long.html"}
    for path, document in zip(paths.values(), (usual, long_words), strict=True):
        path.write_text(render_html(document), encoding="utf-8")
    return paths


@pytest.fixture(scope="module")
def measure(browser, pages):
    """Lengths and colours as the browser computed them, in a frame: windows are never narrower than 500 pixels."""
    return functools.cache(lambda name, width, scheme: measured_in_frame(browser, pages[name], width, scheme, MEASURE))


def luminance(color):
    """Relative luminance of a CSS rgb(...) color, as WCAG 2 defines it."""
    channels = np.array([float(part) for part in re.findall(r"[\d.]+", color)[:3]]) / 255
    linear = np.where(channels <= 0.04045, channels / 12.92, ((channels + 0.055) / 1.055) ** 2.4)
    return float(linear @ [0.2126, 0.7152, 0.0722])


def contrast(one, other):
    dark, light = sorted((luminance(one), luminance(other)))
    return (light + 0.05) / (dark + 0.05)


@pytest.mark.parametrize("name", ["usual", "long words"])
@pytest.mark.parametrize("width", [400, 1400])
def test_nothing_is_wider_than_the_window(measure, name, width):
    found = measure(name, width, "light")

    assert found["innerWidth"] == width
    assert found["wide"] == [] and found["scrollWidth"] <= width


@pytest.mark.parametrize("width", [400, 1400])
def test_text_and_figures_are_large_enough_to_read(measure, width):
    found = measure("usual", width, "light")

    assert found["fontSize"] >= 15
    for shown, _ in found["figures"]:
        # Letters are 9 points of a figure 360 points wide: at this scale 8 pixels at the least.
        assert 8 / 9 * 360 <= shown <= 650


@pytest.mark.parametrize("scheme", SCHEMES)
def test_text_and_curves_stand_out_from_the_paper(measure, scheme):
    found = measure("usual", 1400, scheme)

    assert (luminance(found["paper"]) > 0.5) == (scheme == "light")
    assert min(contrast(color, found["paper"]) for color in found["text"]) >= 4.5
    assert min(contrast(color, found["paper"]) for color in found["curves"]) >= 3
    assert len(set(found["curves"])) == 2


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("width", [400, 1400])
def test_the_untouched_page_is_painted_without_complaint(browser, pages, tmp_path, width, scheme):
    picture = tmp_path / "page.png"

    run = browser(pages["usual"], width, scheme, f"--screenshot={picture}")

    assert "CONSOLE" not in run.stderr, run.stderr
    pixels = matplotlib.image.imread(picture)[..., :3]
    assert pixels.shape[:2] == (3000, width)
    paper = pixels[0, 0]
    assert (paper.mean() > 0.5) == (scheme == "light")
    # Headline, figures and tables leave no large part of the page empty, and none of it covered.
    painted = (np.abs(pixels - paper).max(axis=2) > 0.2).mean()
    assert 0.01 < painted < 0.3


def test_the_log_would_show_a_complaint(browser, pages, tmp_path):
    page = tmp_path / "broken.html"
    text = pages["usual"].read_text(encoding="utf-8")
    page.write_text(text.replace("</body>", '<img src="missing.png"></body>'), encoding="utf-8")

    # What the page's own policy forbids is refused and logged.
    assert "CONSOLE" in browser(page, 400, "light", "--dump-dom").stderr
