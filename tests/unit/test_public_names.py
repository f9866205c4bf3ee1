"""The names that a user of the library may rely on: on one screen, documented, each with an example that runs."""

import ast
import doctest
import inspect
import subprocess
import sys

import pytest

import roistream
from conftest import ROOT
from roistream import maskers

LIBRARY = ROOT / "scripts" / "roistream"
NAMES = ["UserError", "inspect", "open_series", "read_blocks", "write_image", "predict_peak_mib", "measure"]


def test_the_names():
    assert sorted(roistream.__all__) == sorted(NAMES)
    assert dir(roistream) == sorted([*NAMES, "__version__"])
    with pytest.raises(AttributeError, match="has no attribute 'absent'"):
        roistream.absent  # noqa: B018


def test_they_fit_on_one_screen():
    assert len((LIBRARY / "__init__.py").read_text("utf-8").splitlines()) <= 40


def test_the_stub_for_type_checkers_says_the_same():
    tree = ast.parse((LIBRARY / "__init__.pyi").read_text("utf-8"))
    imported = {
        alias.asname: node.module for node in tree.body if isinstance(node, ast.ImportFrom) for alias in node.names
    }
    assert imported == {name: f"roistream.{module}" for name, module in roistream._PLACES.items()}


def test_importing_the_package_loads_nothing_else():
    code = "import sys; before = set(sys.modules); import roistream; print(len(set(sys.modules) - before))"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT / "scripts"
    )
    assert done.stdout == "1\n"


@pytest.mark.parametrize("name", NAMES)
def test_each_has_an_example_that_runs(name):
    public = getattr(roistream, name)
    finder = doctest.DocTestFinder(recurse=False)
    [test] = finder.find(public, name, globs={})  # as in a fresh session
    assert test.examples
    assert doctest.DocTestRunner().run(test).failed == 0
    if inspect.isfunction(public):
        assert all(
            f"    {section}\n    ---" in public.__doc__
            for section in ("Parameters", "Raises")
            if section in public.__doc__
        )
        assert not [word for word in inspect.signature(public).parameters if word not in public.__doc__]


@pytest.mark.filterwarnings("ignore")
def test_the_maskers_example_runs():
    assert doctest.testmod(maskers).attempted >= 4
    assert doctest.testmod(maskers).failed == 0


def test_the_version_is_in_one_place():
    citation = (ROOT / "CITATION.cff").read_text("utf-8")
    assert f"version: {roistream.__version__}" in citation
    assert roistream.__version__ not in (ROOT / "pyproject.toml").read_text("utf-8")
