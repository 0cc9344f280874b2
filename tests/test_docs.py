"""What the README and the docs show is run; what they link to is there."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from landscape.cli.train import parse
from landscape.compare_config import read_compare_config

ROOT = Path(__file__).parents[1]
PAGES = sorted([ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md", *(ROOT / "docs").glob("*.md")])
IDS = [page.name for page in PAGES]


def blocks(page: Path, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", page.read_text(), flags=re.DOTALL | re.MULTILINE)


@pytest.mark.parametrize("page", PAGES, ids=IDS)
def test_python_examples_run_in_order(page, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    namespace: dict = {}
    for block in blocks(page, "python"):
        exec(compile(block, str(page), "exec"), namespace)


@pytest.mark.parametrize("page", PAGES, ids=IDS)
def test_every_shown_command_has_options_that_exist(page):
    lines = [line for block in blocks(page, "sh") for line in block.splitlines() if "landscape train" in line]
    for line in lines:
        words = shlex.split(line.split("landscape train", 1)[1], comments=True)
        if any(word.startswith("--help") or "<" in word for word in words) or "--config" in words:
            continue
        parse(words)


@pytest.mark.parametrize("page", PAGES, ids=IDS)
def test_every_toml_example_is_a_configuration(page, tmp_path):
    for number, block in enumerate(blocks(page, "toml")):
        file = tmp_path / f"{number}.toml"
        file.write_text(block)
        if "policies" in block:
            read_compare_config(file)
        else:
            parse(["--config", str(file)])


@pytest.mark.parametrize("page", PAGES, ids=IDS)
def test_links_lead_to_files_and_headings_that_exist(page):
    for target in re.findall(r"\]\(([^)]+)\)", page.read_text()):
        if target.startswith("http"):
            continue
        name, _, heading = target.partition("#")
        file = page.parent / name if name else page
        assert file.exists(), f"{page.name} links to {target}"
        if heading:
            titles = re.findall(r"^#+ (.*)$", file.read_text(), flags=re.MULTILINE)
            slugs = {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}
            assert heading in slugs, f"{page.name} links to {target}"


def test_the_two_commands_of_the_readme_are_those_that_ci_runs():
    readme, ci = (ROOT / "README.md").read_text(), (ROOT / ".ci" / "run").read_text()
    assert "pip install -c constraints.txt -e . && landscape train" in readme
    assert "pip install -c constraints.txt -e '.[test]' && pytest" in readme
    assert "install --quiet -c constraints.txt -e" in ci and "\npytest\n" in ci and 'landscape" train' in ci
