from __future__ import annotations

import dataclasses
import html
import json
import math
import re

import pytest

from landscape.comparison.comparison import Comparison
from landscape.comparison.words import verdict_parts, verdict_text
from landscape.report.comparison_figures import slim
from landscape.report.comparison_page import GLOSSARY, comparison_html
from landscape.report.suite_page import level_of, suite_html
from tests.comparison import made
from tests.plots.comparisons import POLICIES, comparison, suite
from tests.report.test_diagnosis_page import words
from tests.report.test_training_report import Page

EVIL = '<script>alert("x")</script>'


def lost_everywhere(num_seeds=2):
    compared = made.comparison(num_seeds)
    for seed in range(num_seeds):
        compared = made.without_seed(compared, seed)
    return compared


@pytest.fixture(scope="module")
def usual():
    return comparison_html(comparison())


@pytest.fixture(scope="module")
def exact():
    """The page of a comparison whose numbers are known."""
    return comparison_html(made.comparison())


@pytest.fixture(scope="module")
def several():
    return suite_html(suite())


def rows_of(page, num_cells):
    return {row[0]: row[1:] for row in Page(page).cells if len(row) == num_cells}


# -- one comparison -----------------------------------------------------------------------------------------------------


def test_the_first_heading_is_the_verdicts_first_sentence_and_the_others_follow(exact):
    told = [sentence for part in verdict_parts(made.comparison(), "cg") for sentence in part]

    assert Page(exact).headings[0] == told[0]
    text = html.unescape(words(exact)).replace("\N{MINUS SIGN}", "-")
    places = [text.index(" ".join(sentence.split())) for sentence in told]
    assert len(places) > 6 and places == sorted(places)


def test_the_parts_come_in_their_order(usual):
    assert Page(usual).headings[1:] == [
        *("Policies, then cg", "What they must be compared with", "Figures", "Which signals know where swapping pays"),
        *("Arms that failed", "Not asked", "Cost", "Settings", "Policies and their settings", "Glossary"),
    ]


def test_the_table_has_every_policy_with_its_exact_numbers(exact):
    rows = {name.split(" claim")[0]: cells for name, cells in rows_of(exact, 9).items()}

    assert set(made.POLICIES) | {"never"} <= set(rows)
    late, never, harmful = rows["late"], rows["never"], rows["harmful"]
    assert late[0].startswith("100 %") and late[1] == "0.25" and late[3].startswith("+better than never")
    assert late[4:6] == ["16", "3"]
    assert never[0].startswith("700 %") and never[1] == "1"
    assert harmful[0].startswith("16 times the best") and harmful[1] == "2" and "worse than never" in harmful[3]
    assert rows["crashes"][0].startswith("infinite") and rows["crashes"][-1] == "8 of 8"
    assert rows["blind"][0] == "\N{EN DASH}" and "not asked" in rows["blind"][3]


def test_controls_and_the_best_fixed_epoch_have_a_table_of_their_own(exact):
    rows = rows_of(exact, 9)

    assert rows["best fixed epoch"][0].startswith("0 %") and rows["best fixed epoch"][4] == "8"
    assert rows["lbfgs (control)"][1] == "0.0625"
    assert "adam-cosine (from start)" in rows


def test_failed_and_silent_arms_are_listed_with_their_reasons(exact):
    text = words(exact)

    rows = rows_of(exact, 4)
    assert rows["crashes, then cg"] == ["crashed", "all 8 seeds", "RuntimeError: made to crash"]
    assert rows["diverges-once, then cg"] == ["diverged", "seed 0", "the loss became infinite"]
    assert rows["blind, then cg"][-1] == "reads 'noise_scale', which full batches do not have"
    assert "None: no arm" not in text


def test_the_cost_is_told_beside_that_of_separate_runs(exact):
    rows = rows_of(exact, 2)

    assert rows["first phases, 8 seeds"] == ["800 GE"] and rows["in all"] == ["5,088 GE"]
    assert rows["as 56 separate runs of the policies"] == ["5,600 GE"]
    assert rows["separate runs beside what was spent"] == ["1.101 times as much"]


def test_signals_are_told_beside_the_clock(usual):
    rows = rows_of(usual, 6)

    assert {"epoch (a clock)", "gradient_norm", "loss", "directional_curvature"} <= set(rows)
    assert rows["epoch (a clock)"][0].startswith(("+", "\N{MINUS SIGN}"))


def test_settings_and_glossary_say_what_somebody_needs_to_repeat_and_to_read_it(usual):
    text = words(usual)

    assert "Adam(lr=0.001), batch_size=128" in text and "0, 1, 2, 4, 8, 16, 32, 64" in text
    assert all(f">{word}</dt>" in usual for word in GLOSSARY)
    for claim in re.findall(r'href="(#claim[^"]*)"', usual):
        assert f'id="{claim[1:]}"' in usual


def test_every_finisher_has_its_tables_and_figures():
    page = comparison_html(made.comparison(3, finishers=("cg", "lbfgs")))

    headings = Page(page).headings
    assert headings[0].startswith("With cg: ")
    assert {"Policies, then cg", "Policies, then lbfgs", "Figures: cg", "Figures: lbfgs"} <= set(headings)
    assert page.count("<figure") == 8


def test_a_comparison_in_which_nothing_ran_says_so_and_why():
    compared = lost_everywhere()
    page = comparison_html(compared)

    assert Page(page).headings[0] == verdict_text(compared)
    assert "MemoryError: made to crash" in words(page) and "<figure" not in page
    with pytest.raises(ValueError, match="no finisher"):
        comparison_html(dataclasses.replace(compared, finishers=()))


def test_a_comparison_is_saved_as_its_page_and_its_numbers(tmp_path, exact):
    compared = made.comparison()
    path = compared.save(tmp_path / "compared.html")

    assert path.read_text(encoding="utf-8") == exact
    twin = json.loads(path.with_suffix(".json").read_text(encoding="utf-8"))
    assert len(twin["results"]) == len(compared.results)
    read = Comparison.from_json(path.with_suffix(".json").read_text(encoding="utf-8"))
    assert words(comparison_html(read)) == words(exact)


# -- several tasks ------------------------------------------------------------------------------------------------------


def test_the_matrix_has_a_row_for_each_policy_and_a_cell_for_each_task(several):
    found = {"a": made.comparison(), "b": made.comparison(grid={**made.GRID, 8: 0.5})}
    rows = rows_of(suite_html(found), 6)

    late = next(cells for name, cells in rows.items() if name.startswith("late"))
    # 2 beside a best of 1, and of 0.5.
    assert late[:3] == ["200 %", "100 %", "300 %"] and late[3] == "0.25a" and late[4] == "2, 0"
    blind = next(cells for name, cells in rows.items() if name.startswith("blind"))
    assert blind[1] == "700 %\N{DAGGER}" and blind[2] == "16\N{MULTIPLICATION SIGN}\N{DAGGER}"
    assert rows["never"][4] == "0, 0" and rows["best fixed epoch"][0] == "0 %"
    names = {row[0].split(" claim")[0] for row in Page(several).cells if len(row) == 7}
    assert {name for name, *_ in POLICIES} <= names


def test_a_cell_is_coloured_by_its_regret(several):
    cells = re.findall(r'<td class="n (r\d)" title="[^"]*">([^<]*)</td>', several)

    assert cells
    for level, text in cells:
        number = float(
            re.match("[^\\s%\N{MULTIPLICATION SIGN}\N{DAGGER}]+", text).group().replace("\N{MINUS SIGN}", "-")
        )
        assert level == level_of(number / 100 if "%" in text else number - 1)


def test_the_suites_first_heading_names_the_best_policy_of_all_tasks(several):
    headings = Page(several).headings

    assert headings[0].startswith("Over 3 tasks, eigenvalue-ratio has the least median regret of the 9 policies")
    assert headings[1:] == ["Median regret of each policy on each task", "Figures", "Task by task", "Glossary"]


def test_a_task_on_which_nothing_ran_is_told_and_left_out_of_the_matrix():
    page = suite_html({"good": made.comparison(), "bad": lost_everywhere()})

    assert Page(page).headings[0].startswith("Over 1 task,")
    assert "every arm crashed with every seed (MemoryError: made to crash)" in words(page)
    with pytest.raises(ValueError, match="no comparisons were given"):
        suite_html({})


# -- what every page keeps to -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["usual", "exact", "several"])
def test_a_page_is_small_and_asks_for_nothing_outside(name, request):
    page = request.getfixturevalue(name)

    assert len(page.encode()) < 500_000
    assert not {"script", "link", "img", "iframe", "object", "embed"} & set(Page(page).tags)
    links = [value for key, value in Page(page).attributes if key in ("href", "src", "xlink:href", "action")]
    assert links and all(value.startswith("#") for value in links)
    assert not re.search(r"https?://|@import|url\((?!#)", page)
    ids = [value for key, value in Page(page).attributes if key == "id"]
    assert len(ids) == len(set(ids))
    assert {value[1:] for value in links} <= set(ids)


def test_the_page_of_all_policies_with_ten_seeds_stays_below_half_a_megabyte():
    more = (*POLICIES, *((f"{name}-again", claim, fires) for name, claim, fires in POLICIES[:9]))

    assert len(comparison_html(comparison(10, policies=more)).encode()) < 500_000


def test_text_from_outside_is_escaped_everywhere():
    policies = ((EVIL, None, 8), ("\udc80", "B", 4))
    compared = comparison(2, title=EVIL, policies=policies, finishers=(EVIL,), settings={EVIL: EVIL})

    for page in (comparison_html(compared), suite_html({EVIL: compared})):
        assert "<script" not in page and "&lt;script&gt;" in page
        page.encode()
        Page(page)


def test_a_slim_figure_keeps_its_marks_and_where_they_are():
    use = '<use href="#m" x="1.23456" y="2.5" style="fill: #d55e00"/>'
    svg = f'<svg>\n <g clip-path="url(#c)">\n  {use}\n  {use}\n </g>\n <g><path d="M 0.123456 1"/></g>\n</svg>'

    assert slim(svg) == (
        '<svg><g clip-path="url(#c)" style="fill: #d55e00"><use href="#m" x="1.23" y="2.5"/>'
        '<use href="#m" x="1.23" y="2.5"/></g><g><path d="M 0.123456 1"/></g></svg>'
    )
    assert slim(svg.replace("#d55e00", "#000000", 1)).count("style=") == 2


def test_regrets_have_levels_from_blue_to_vermilion():
    assert [level_of(regret) for regret in (-0.5, 0.1, 0.2, 1.0, 5.0, math.inf)] == ["r0", "r0", "r1", "r2", "r3", "r4"]
