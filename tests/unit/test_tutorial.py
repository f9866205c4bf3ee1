"""The tutorial does what it says: its blocks are run in order, in an empty folder, and print what stands below them."""

import contextlib
import io
import re

import matplotlib.image
import pytest

from conftest import ROOT

TUTORIAL = (ROOT / "docs/tutorial.md").read_text("utf-8")
BLOCKS = re.findall(r"^```python\n(.*?)^```\n(?:\n```text\n(.*?)^```\n)?", TUTORIAL, re.MULTILINE | re.DOTALL)


@pytest.mark.filterwarnings("ignore")
def test_every_block_prints_what_stands_below_it(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(ROOT / "scripts"))
    monkeypatch.setenv("MPLBACKEND", "agg")
    names = {}
    for code, expected in BLOCKS:
        printed = io.StringIO()
        with contextlib.redirect_stdout(printed):
            exec(code, names)
        assert printed.getvalue() == expected, code
    drawn, kept = (matplotlib.image.imread(folder / "tutorial.png") for folder in (tmp_path, ROOT / "docs"))
    assert drawn.shape == kept.shape
    assert abs(drawn - kept).mean() < 0.01  # another matplotlib sets letters a little differently


def test_no_output_is_left_alone():
    assert len(BLOCKS) == TUTORIAL.count("```python")
    assert len([expected for _, expected in BLOCKS if expected]) == TUTORIAL.count("```text")
