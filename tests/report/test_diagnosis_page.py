from __future__ import annotations

import dataclasses
import re

import pytest
import torch
from torch import nn

from landscape.diagnosis.diagnose import diagnose
from landscape.diagnosis.finding import CLAIMS, Outlook
from landscape.report.diagnosis_page import GLOSSARY, MARKS, diagnosis_html
from landscape.report.diagnosis_words import figure, interval_words, threshold_words, value_words
from landscape.status import Status
from landscape.testing import logistic_regression
from tests.plots.diagnoses import LAYERS, diagnosis, findings, not_finite, nothing_measured
from tests.plots.histories import history
from tests.report.test_training_report import Page

MINUS = "\N{MINUS SIGN}"
EVIL = '<script>alert("x")</script>'


def words(text):
    """What a reader sees, without the page's styles."""
    text = re.sub(r"<style>.*?</style>|<svg.*?</svg>", "", text, flags=re.DOTALL)
    return " ".join(re.sub(r"<[^>]+>", " ", text).replace("&nbsp;", " ").replace("\xa0", " ").split())


def rows_of(page, num_cells=5):
    """Rows by their first cell; those of the findings have five."""
    return {row[0]: row[1:] for row in Page(page).cells if len(row) == num_cells}


@pytest.fixture(scope="module")
def usual():
    return diagnosis_html([diagnosis()], history())


@pytest.fixture(scope="module")
def both():
    return diagnosis_html([diagnosis(name="early"), nothing_measured("late")])


# -- what it tells ------------------------------------------------------------------------------------------------------


def test_the_first_heading_is_the_verdict_in_one_sentence(usual):
    page = Page(usual)

    assert page.headings[0] == f"Not convex here, shown without doubt: an eigenvalue is at most {MINUS}0.125."
    assert "Train on." in words(usual)


def test_the_parts_come_in_their_order(usual):
    assert Page(usual).headings[1:] == [
        *("Findings", "Warnings", "Curves of the run", "Spectrum", "Directions and noise", "Layers"),
        *("Layers in numbers", "Not measured", "Cost", "Provenance", "Glossary"),
    ]


def test_every_finding_stands_with_its_number_threshold_outlook_meaning_and_next_step(usual):
    table = rows_of(usual)

    value, compared, outlook, meaning = table["Smallest eigenvalue claim A"]
    assert value == f"{MINUS}0.125in [{MINUS}0.25, {MINUS}0.125]loss / parameter\N{SUPERSCRIPT TWO}"
    assert compared == f"not negative from {MINUS}0.001 lambda_max ({MINUS}0.004)"
    assert outlook == f"{MINUS}unfavourable"
    assert meaning.startswith(f"It is at most {MINUS}0.125.")
    assert table["Relative gradient norm"][:2] == ["3.5", "stationary at or below 0.01"]
    assert table["Relative gradient norm"][3] == "It is on a slope.Train on."
    assert table["Curvature along directions claim B"][0].startswith("2 \N{PLUS-MINUS SIGN} 0.25")


def test_a_status_is_told_only_where_it_says_something(usual):
    table = rows_of(usual)

    assert str(Status.SETTLED) in table["Smallest eigenvalue claim A"][3]
    assert str(Status.COMPLETED) not in table["Largest eigenvalue"][3]


def test_the_conditions_of_the_verdict_are_told(usual):
    assert "What the verdict is about About these data only." in words(usual)


def test_what_was_not_measured_is_told_with_the_reason_and_the_remedy(usual):
    assert rows_of(usual, 2)["Curvature on other data"] == ["No other data were given.Give held_out=...."]


def test_the_cost_of_each_finding_and_of_all_stands_beside_the_estimate(usual):
    table = rows_of(usual, 3)

    assert table["Smallest eigenvalue"] == ["20 GE", "1.5 s"]
    assert table["In all, verification and timing included"] == ["176 GE", "3 s"]
    assert table["Estimated before"] == ["200 GE", "4 s"]
    assert table["Budget"][0] == "none"


def test_layers_stand_in_a_table_with_their_errors(usual):
    table = rows_of(usual)

    assert table["middle"] == ["12", "2", "0.25", f"{MINUS}3 \N{PLUS-MINUS SIGN} 0.5"]
    assert len([name for name in (row["name"] for row in LAYERS) if name in table]) == 3


def test_warnings_and_provenance_are_told(usual):
    text = words(usual)

    assert "The model has kinks." in text and "weights 0123456789abcdef" in text
    assert "Everything asked for was computed. (COMPLETED)" in text


def test_the_glossary_explains_every_claim_outlook_and_verdict(usual):
    text = words(usual)
    glossary = text[text.index("Glossary claim A") :].lower()

    for letter, meaning in CLAIMS.items():
        assert f"claim {letter.lower()}" in glossary.replace("&#39;", "'") and meaning.lower() in glossary
    for outlook in Outlook:
        assert MARKS[outlook][2] in glossary and str(outlook).lower() in glossary
    assert {"ABOVE", "NEGATIVE", "UNDECIDED", "GE", "lambda_min, lambda_max", "residual"} <= set(GLOSSARY)


def test_marks_of_outlooks_differ_in_sign_and_word_not_only_in_colour():
    assert set(MARKS) == set(Outlook)
    assert len({sign for _, sign, _ in MARKS.values()}) == len({word for *_, word in MARKS.values()}) == len(MARKS)


def test_the_run_is_drawn_with_its_swap_and_the_peak_of_the_gradient_norm(usual):
    assert usual.count("<svg") == 9
    assert "It is greatest after epoch 2." in usual


def test_a_diagnosis_brings_its_own_history():
    own = diagnosis_html([dataclasses.replace(nothing_measured(), history=history())])

    assert "Curves of the run" in own and "Curves of the run" not in diagnosis_html([nothing_measured()])


# -- several ------------------------------------------------------------------------------------------------------------


def test_several_stand_side_by_side_each_with_its_headline(both):
    page = Page(both)
    table = rows_of(both, 3)

    assert page.headings[0] == "2 diagnoses side by side"
    assert "early: NEGATIVE" in words(both) and "late: no verdict" in words(both) and "Nothing is known." in words(both)
    value, missing = table["Smallest eigenvalue claim Aloss / parameter\N{SUPERSCRIPT TWO}"]
    assert value.startswith(f"{MINUS}unfavourable{MINUS}0.125") and missing.endswith("not measured")
    assert "What was found: early" in page.headings and "What was found: late" in page.headings


def test_reasons_that_models_share_are_told_once(both):
    rows = [row for row in Page(both).cells if row[-1] == "Stopped on request."]
    assert [row[1] for row in rows] == ["late"] * len(findings())

    twice = diagnosis_html([nothing_measured("one"), nothing_measured("two")])
    rows = [row for row in Page(twice).cells if row[-1] == "Stopped on request."]
    assert [row[1] for row in rows] == ["one, two"] * len(findings())


def test_facts_that_models_share_are_told_once():
    one = diagnosis(name="one")
    page = words(diagnosis_html([one, diagnosis(name="two", provenance={"torch": "2.13.0", "weights": "ffff"})]))

    assert "torch 2.13.0 weights one: 0123456789abcdef two: ffff" in page


def test_models_of_the_same_name_are_told_apart():
    page = Page(diagnosis_html([nothing_measured()] * 3))

    found = [heading for heading in page.headings if heading.startswith("What was found")]
    assert found == ["What was found: model", "What was found: model (2)", "What was found: model (3)"]


# -- what may go wrong --------------------------------------------------------------------------------------------------


def test_all_text_from_outside_is_escaped():
    names = [{**row, "name": EVIL} for row in LAYERS]
    text = {"title": EVIL, "meaning": EVIL, "next_step": EVIL, "status": EVIL, "threshold_text": EVIL, "unit": EVIL}
    evil = diagnosis(
        name=EVIL,
        headline=f"{EVIL}. {EVIL}",
        level=EVIL,
        warnings=(EVIL, f"`{EVIL}`"),
        provenance={EVIL: EVIL},
        findings={
            "lambda_min": {**text, "claim": EVIL},
            "held_out": text,
            "layers": {"details": {"rows": names}},
            "directional": {"details": {"directions": [{"name": EVIL, "curvature": 1.0, "standard_error": 0.1}]}},
        },
    )
    missing = dataclasses.replace(nothing_measured(EVIL), headline=EVIL)
    for page in (diagnosis_html([evil]), diagnosis_html([evil, missing])):
        assert "<script" not in page and page.count("&lt;script&gt;") > 20
        assert "script" not in Page(page).tags


@pytest.mark.parametrize(
    "diagnoses",
    [
        [nothing_measured()],
        [not_finite(), nothing_measured("other"), diagnosis(name="third")],
        [diagnosis(name="\udc80 and \u6a21\u578b and $x", findings={"layers": {"details": {}}}, provenance={})],
        [diagnosis(findings={key: {"details": {}, "value": None} for key in findings()})],
    ],
    ids=["nothing measured", "three", "strange name", "no details"],
)
def test_whatever_was_measured_gives_a_whole_page_that_needs_nothing_from_outside(diagnoses):
    text = diagnosis_html(diagnoses)
    page = Page(text)

    assert len(text.encode()) < 1_000_000
    assert "http:" not in text and "https:" not in text and "src=" not in text and "@import" not in text
    assert all(value.startswith("#") for name, value in page.attributes if name in ("href", "xlink:href"))
    assert all(target.startswith("#") for target in re.findall(r"url\(([^)]*)\)", text))
    ids = [value for name, value in page.attributes if name == "id"]
    assert len(ids) == len(set(ids))
    assert {value[1:] for name, value in page.attributes if name == "href"} <= set(ids)


def test_nothing_measured_is_said():
    text = words(diagnosis_html([nothing_measured()]))

    assert "Nothing was measured." in text and "Verdict none" in text and str(Status.CUT_SHORT) in text


def test_what_is_not_finite_is_said():
    page = diagnosis_html([not_finite()])
    table = rows_of(page)

    assert table["Relative gradient norm"][0] == "infinity"
    assert table["Smallest eigenvalue claim A"][0].startswith(f"NaNin [{MINUS}infinity, NaN]")
    assert rows_of(page, 3)["In all, verification and timing included"][1] == "NaN s"


def test_no_diagnosis_is_refused():
    with pytest.raises(ValueError, match="needs one or more"):
        diagnosis_html([])


@pytest.mark.parametrize(
    ("value", "expected"), [(-1.5e-7, f"{MINUS}1.5e{MINUS}07"), (0.0, "0"), (2.0, "2"), (1e300, "1e+300")]
)
def test_numbers_have_minus_signs_that_no_line_is_broken_at(value, expected):
    assert figure(value) == expected


def test_a_value_has_its_interval_or_else_its_error():
    known = findings()

    assert value_words(known["lambda_min"]) == f"{MINUS}0.125"
    assert interval_words(known["lambda_min"]) == f"in [{MINUS}0.25, {MINUS}0.125]"
    assert (
        value_words(known["directional"]) == "2 \N{PLUS-MINUS SIGN} 0.25" and interval_words(known["directional"]) == ""
    )
    assert value_words(known["held_out"]) == ""
    assert threshold_words(dataclasses.replace(known["directional"], threshold=None)) == "not convex below"


# -- real ones ----------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def real():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 2)).double()
    data = (torch.randn(160, 3, dtype=torch.float64), torch.arange(160) % 2)
    return [
        diagnose(model, nn.CrossEntropyLoss(), data, level="standard", name="small"),
        diagnose(logistic_regression().problem, level="quick", name="convex"),
    ]


def test_a_real_diagnosis_has_all_its_figures_and_reads_back_to_the_same_page(real):
    page = diagnosis_html(real)

    assert diagnosis_html([type(item).from_dict(item.to_dict()) for item in real]) == page
    assert page.count("<svg") == 7
    for item in real:
        for finding in item.findings:
            assert finding.title in words(page).replace("&#39;", "'")


def test_save_writes_the_page_and_its_twin(real, tmp_path):
    path = real[1].save(tmp_path / "report.html")

    assert path.read_text(encoding="utf-8") == diagnosis_html([real[1]])
    assert path.with_suffix(".json").exists()
