from __future__ import annotations

import dataclasses
import json
import math
import re
import subprocess
import sys
from html.parser import HTMLParser

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st

from landscape.policies import AfterEpochs
from landscape.problem import Problem
from landscape.report.training_report import (
    ReportFormatError,
    read_history,
    render_html,
    report_document,
    to_json,
    write_report,
)
from landscape.report.verdict import describe_run
from landscape.status import Status
from landscape.tracking.history import History
from landscape.training.run_directory import RunDirectory, RunDirectoryError
from landscape.training.trainer import Trainer
from tests.plots.histories import long_history
from tests.report.runs import EVALUATIONS, SWAP, history, never_swapped, swapped, swapped_back

PROVENANCE = {"landscape": "0.1.0", "torch": "2.13.0", "data": "digits, 1437 training and 360 test images"}


def document_of(result, title="mlp on digits", provenance=PROVENANCE):
    return report_document(result, title=title, provenance=provenance)


class Page(HTMLParser):
    """Tags, attributes and text of a page; refuses tags that are not closed in order."""

    VOID = ("meta", "br", "path", "use", "rect")

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str]] = []
        self.headings: list[str] = []
        self.cells: list[list[str]] = []
        self._open: list[str] = []
        self._text: list[str] = []
        self.feed(text)
        self.close()
        assert not self._open, f"not closed: {self._open}"

    def handle_startendtag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += [(name, value or "") for name, value in attrs]

    def handle_starttag(self, tag, attrs):
        self.handle_startendtag(tag, attrs)
        if tag == "tr":
            self.cells.append([])
        if tag in ("h1", "h2", "td", "th"):
            self._text = []
        if tag not in self.VOID:
            self._open.append(tag)

    def handle_endtag(self, tag):
        assert self._open.pop() == tag
        text = " ".join("".join(self._text).split())
        if tag in ("h1", "h2"):
            self.headings.append(text)
        if tag in ("td", "th"):
            self.cells[-1].append(text)

    def handle_data(self, data):
        self._text.append(data)


# -- the JSON twin ------------------------------------------------------------------------------------------------------


def test_the_document_tells_every_part_of_the_result():
    document = document_of(swapped())

    assert document["format"] == "landscape-training-report" and document["version"] == 1
    assert document["verdict"]["headline"] == describe_run(swapped()).headline
    assert document["swaps"] == [
        {
            "epoch": 2,
            "gradient_equivalents": 5.0,
            "to_phase": "second",
            "reason": SWAP.reason,
            "score": 0.8,
            "evidence": {"norm": 0.4, "peak": 0.5, "peak_epoch": 1},
        }
    ]
    assert [s["halvings_per_100_equivalents"] for s in document["segments"]] == pytest.approx([100.0, 37.5])
    assert [e["moment"] for e in document["evaluations"]] == ["start", "swap", "end"]
    assert document["cost"]["training"]["gradient_equivalents"] == pytest.approx(10.0)
    assert document["status"]["name"] == "MAX_STEPS"
    assert document["provenance"] == PROVENANCE
    assert document["history"]["columns"]["loss"] == history().column("loss")
    assert document["history"]["units"]["gradient_equivalents"] == "GE"


def in_alphabetical_columns(recorded):
    return History(dict(sorted(row.items())) for row in recorded)


values = st.none() | st.floats(allow_nan=True, allow_infinity=True)


@given(rows=st.lists(st.fixed_dictionaries({"loss": values, "mine": values, "status": st.sampled_from([None, "NaN"])})))
def test_the_document_is_strict_json_from_which_the_history_reads_back_bit_for_bit(rows):
    recorded = History({"epoch": epoch, "phase": "first", **row} for epoch, row in enumerate(rows))
    document = document_of(swapped(history=recorded, swaps=(), evaluations=()))

    def refuse(constant):
        raise AssertionError(f"{constant} is not strict JSON")

    back = json.loads(to_json(document), parse_constant=refuse)

    assert back == document
    assert in_alphabetical_columns(read_history(back)) == in_alphabetical_columns(recorded)


def test_floats_that_are_not_finite_are_written_as_text_everywhere():
    result = swapped(
        history=history(loss=[math.inf, 0.4, 0.2, 0.1, 0.05, 0.05, math.nan]),
        swaps=(dataclasses.replace(SWAP, score=math.nan, evidence={"norm": -math.inf}),),
        evaluations=(dataclasses.replace(EVALUATIONS[2], values={"train_loss": math.nan}),),
        status=Status.NONFINITE,
    )

    document = document_of(result)

    assert document["swaps"][0]["score"] == "NaN" and document["swaps"][0]["evidence"] == {"norm": "-Infinity"}
    assert document["evaluations"][0]["values"] == {"train_loss": "NaN"}
    assert document["segments"][1]["loss_after"] == "NaN"
    cells = [cell for row in Page(render_html(document)).cells for cell in row]
    assert "NaN" in cells and "infinity" in cells and "norm = -infinity" in cells


def test_a_saved_report_is_enough_to_render_the_page_again():
    document = document_of(swapped())

    assert render_html(json.loads(to_json(document))) == render_html(document)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"format": "landscape-history"}, "needed is 'landscape-training-report'"),
        ({"version": 2}, "reads up to version 1. Update it"),
        ({"version": "1"}, "needed is"),
    ],
)
def test_a_foreign_or_newer_document_is_refused(change, message):
    with pytest.raises(ReportFormatError, match=message):
        render_html({**document_of(swapped()), **change})


# -- the page -----------------------------------------------------------------------------------------------------------


def test_the_page_tells_its_parts_in_the_order_in_which_they_matter():
    page = Page(render_html(document_of(swapped())))

    assert page.headings == [
        describe_run(swapped()).headline.replace("\N{NO-BREAK SPACE}", " "),
        "Loss against work",
        "Gradient norm against loss",
        "What each segment gained",
        "Evaluations",
        "Swaps",
        "Settings",
        "Cost",
        "Provenance",
        "Glossary",
    ]
    assert page.tags.count("svg") == 2


def test_the_tables_hold_the_documents_numbers():
    cells = Page(render_html(document_of(swapped()))).cells

    assert ["first", "1–2", "0.8", "0.2", "2", "2", "100"] in cells  # noqa: RUF001
    assert ["second", "3–6", "0.2", "0.025", "8", "0", "37.5"] in cells  # noqa: RUF001
    assert ["swap", "2", "5", "0.2", "70.0 %", "0.22", "66.0 %"] in cells
    assert ["training", "10", "6", "12", "0", "1,800", "steps, line searches included"] in cells


def test_a_metric_that_was_not_evaluated_at_some_moment_is_said_to_be_missing():
    result = swapped(evaluations=(*EVALUATIONS[:2], dataclasses.replace(EVALUATIONS[2], values={"train_loss": 0.025})))

    cells = Page(render_html(document_of(result))).cells
    assert ["end", "6", "13", "0.025", "not measured", "not measured", "not measured"] in cells


def test_the_page_needs_nothing_from_outside_and_runs_no_script():
    text = render_html(document_of(swapped()))
    page = Page(text)

    assert "http://" not in text and "https://" not in text and "@import" not in text
    assert not {"script", "link", "img", "iframe", "object", "base", "form", "a"} & set(page.tags)
    assert not [name for name, _ in page.attributes if name in ("src", "srcset", "action") or name.startswith("on")]
    assert all(value.startswith("#") for name, value in page.attributes if name == "href")
    assert all(target.startswith("#") for target in re.findall(r"url\(([^)]*)\)", text))


def test_ids_are_unique_in_the_page():
    ids = [value for name, value in Page(render_html(document_of(swapped()))).attributes if name == "id"]

    assert len(ids) == len(set(ids)) > 0


EVIL = "</style></title><script>alert('`x`')</script>\"&{{ 7 * 7 }}"


def test_every_text_from_outside_is_escaped():
    result = swapped(
        swaps=(dataclasses.replace(SWAP, reason=EVIL, evidence={EVIL: 1.0}),),
        evaluations=(dataclasses.replace(EVALUATIONS[2], moment=EVIL, values={"train_loss": 0.1, EVIL: 0.2}),),
        settings={EVIL: EVIL, "policy": EVIL},
        history=history(phase=["first"] * 3 + [EVIL] * 4, status=[EVIL] * 7),
        cost={EVIL: swapped().cost["training"]},
    )

    text = render_html(document_of(result, title=EVIL, provenance={EVIL: EVIL}))

    page = Page(text)
    assert "script" not in page.tags and page.tags.count("style") == page.tags.count("title") == 1
    assert "&lt;script&gt;" in text and "49" not in page.headings[0]


def test_text_that_no_encoding_holds_is_written_all_the_same(tmp_path):
    # What Python makes of a stray byte in a file name.
    document = document_of(swapped(), title="run \udcff", provenance={"folder": "/data/\udcff"})

    path = write_report(RunDirectory(tmp_path), document)

    assert "run \\udcff" in path.read_text(encoding="utf-8")
    assert json.loads((tmp_path / "report.json").read_text(encoding="utf-8")) == document


def test_the_figure_shows_the_norm_that_the_policy_watched():
    full = "GradientNormPeak(factor=0.9, min_epochs=0, norm='full', require_rise=False)"

    assert "The mean norm of the epoch's batch gradients" in render_html(document_of(swapped())).replace("&#39;", "'")
    assert "The norm of the gradient over all data" in render_html(document_of(swapped(settings={"policy": full})))


@pytest.mark.parametrize(
    "result",
    [
        never_swapped(),
        never_swapped("Never()"),
        swapped_back(),
        swapped(history=history(3)),
        swapped(history=history(1), swaps=(), evaluations=(), status=Status.INTERRUPTED),
        swapped(history=History(), swaps=(), evaluations=(), cost={}, settings={}),
        swapped(history=history(loss=None, loss_running=None, gradient_norm_mean_batch=None, gradient_norm=None)),
        swapped(history=history(loss=[None] * 3 + [0.1, 0.05, 0.05, 0.0])),
        swapped(history=history(loss=[math.nan] * 7), status=Status.NONFINITE),
    ],
    ids=["never", "baseline", "swapped back", "no second epoch", "first epoch", "nothing", "free", "zero", "nan"],
)
def test_every_kind_of_run_gets_a_whole_page(result):
    page = Page(render_html(document_of(result)))

    assert len(page.headings) == 10 and page.tags.count("svg") == 2


# -- files --------------------------------------------------------------------------------------------------------------


def test_both_files_are_written_into_the_runs_folder(tmp_path):
    document = document_of(swapped())

    path = write_report(RunDirectory(tmp_path), document)

    assert sorted(file.name for file in tmp_path.iterdir()) == ["report.html", "report.json"]
    assert path.read_text(encoding="utf-8") == render_html(document)
    assert json.loads((tmp_path / "report.json").read_text(encoding="utf-8")) == document


def test_a_folder_that_is_not_there_is_an_error_that_says_where(tmp_path):
    with pytest.raises(RunDirectoryError, match=r"could not write report\.json"):
        write_report(RunDirectory(tmp_path / "gone"), document_of(swapped()))


def test_the_same_result_gives_the_same_bytes_in_every_process():
    code = (
        "import sys; from tests.report.runs import swapped; from landscape.report import *;"
        "sys.stdout.write(render_html(report_document(swapped(), title='t', provenance={})))"
    )
    run = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True, encoding="utf-8")

    assert run.stdout == render_html(document_of(swapped(), title="t", provenance={}))


def test_a_report_of_ten_thousand_rows_stays_below_one_megabyte():
    document = document_of(swapped(history=long_history(10_001), swaps=(), evaluations=()))

    assert len(render_html(document).encode()) < 1_000_000


def test_importing_the_report_imports_neither_matplotlib_nor_jinja():
    code = "import sys, landscape.report; sys.exit(bool({'matplotlib', 'jinja2', 'seaborn'} & set(sys.modules)))"

    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


# -- real runs ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("record", ["norms", "loss", "free", "all"])
def test_a_real_run_is_told_with_the_numbers_of_its_own_history(record, tmp_path):
    inputs = torch.linspace(-2, 2, 128).unsqueeze(1)
    model = torch.nn.Sequential(torch.nn.Linear(1, 8), torch.nn.Tanh(), torch.nn.Linear(8, 1))
    problem = Problem(model, F.mse_loss, (inputs, inputs.sin()))
    validation = Problem(model, F.mse_loss, (inputs + 0.01, (inputs + 0.01).sin()))
    trainer = Trainer(policy=AfterEpochs(4), epochs=12, record=record, run_dir=tmp_path / "run")

    result = trainer.fit(problem, validation)

    path = write_report(RunDirectory(tmp_path / "run"), document_of(result))
    start, swap, end = (item.values["train_loss"] for item in result.evaluations)
    verdict = " ".join(str(describe_run(result)).split())
    assert f"loss {start:.4g} -> {swap:.4g}" in verdict and f"loss {swap:.4g} -> {end:.4g}" in verdict
    assert f"validation loss {result.evaluations[-1].values['validation_loss']:.4g}" in verdict
    assert len(Page(path.read_text(encoding="utf-8")).cells) > 8
