"""The pages: measured figures stand in them as the benchmark found them, and every link inside of the project leads somewhere."""

import json
import re

import pytest
import yaml

from benchmarks.masker_words import report
from benchmarks.pages import figures_of, fill, word_headline
from conftest import ROOT

DOCS = ROOT / "docs"
PAGES = [*ROOT.glob("*.md"), *DOCS.glob("*.md"), ROOT / "workflow/profiles/README.md"]


@pytest.mark.parametrize("path", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_links_lead_somewhere(path):
    """Without the site: on a forge, or in an editor."""
    links = re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", path.read_text("utf-8"))
    assert not [link for link in links if "://" not in link and not (path.parent / link).exists()]


def test_the_readme_has_the_figures_of_the_benchmark():
    results = json.loads((DOCS / "benchmark.json").read_text("utf-8"))
    assert figures_of(ROOT / "README.md") == word_headline(results)
    assert figures_of(ROOT / "README.md").count("\n") == 5


def test_the_maskers_page_has_the_figures_of_the_benchmark():
    measured = DOCS / "maskers.json"
    figures = figures_of(DOCS / "from-nilearn.md")
    assert figures == (report(json.loads(measured.read_text("utf-8"))) if measured.exists() else "Not measured yet.\n")


def test_filling_a_page_changes_what_is_between_the_marks_only(tmp_path):
    page = tmp_path / "page.md"
    page.write_text(
        "before\n<!-- figures: written by make benchmark -->\n| old |\n<!-- end of figures -->\nafter\n", "utf-8"
    )
    fill(page, "| new |\n")
    fill(page, "| newer |\n")
    assert figures_of(page) == "| newer |\n"
    assert page.read_text("utf-8").splitlines()[::4] == ["before", "after"]


def test_the_options_are_those_of_the_config():
    rows = re.findall(r"^\| `(\w+)` \| `?([^|`]+)`? \|", (DOCS / "options.md").read_text("utf-8"), re.MULTILINE)
    config = yaml.safe_load((ROOT / "config.yaml").read_text("utf-8"))
    assert {key: yaml.safe_load(default) for key, default in rows} == config
