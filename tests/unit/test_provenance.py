"""A digest follows every module that a script uses, and nothing else."""

import ast
import re
import shutil

import pytest

from conftest import ROOT
from roistream.provenance import code_digest
from roistream.strategies import STRATEGIES

SCRIPTS = sorted((ROOT / "scripts").glob("*.py"))
MODULES = sorted((ROOT / "scripts").rglob("*.py"))


@pytest.fixture
def variant(tmp_path_factory):
    """Copy the real scripts, change some of the files, and give the digest of one script."""

    def digest(script, changes=()):
        folder = shutil.copytree(
            ROOT / "scripts",
            tmp_path_factory.mktemp("variant") / "scripts",
            ignore=shutil.ignore_patterns("__pycache__"),
        )
        for name, change in dict(changes).items():
            path = folder / name
            before = path.read_text(encoding="utf-8")
            path.write_text(change(before), encoding="utf-8")
            assert path.read_text(encoding="utf-8") != before
        return code_digest(folder / f"{script}.py")

    return digest


def add_code(text):
    return text + "\nADDED = 1\n"


def add_comments(text):
    return "# A comment.\n\n\n" + text.replace("\n\n\n", "\n\n\n# Another.\n\n\n") + "\n\n# The last.\n"


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.stem)
def test_every_script_has_a_digest(script, variant):
    digest = code_digest(script)
    assert re.fullmatch(r"[0-9a-f]{16}", digest)
    assert code_digest(str(script)) == digest
    # It depends on neither the place nor comments; it does depend on the script itself and its errors.
    assert variant(script.stem, {path.relative_to(ROOT / "scripts"): add_comments for path in MODULES}) == digest
    assert variant(script.stem, {script.name: add_code}) != digest
    assert variant(script.stem, {"roistream/errors.py": add_code}) != digest


def test_scripts_differ():
    assert len({code_digest(script) for script in SCRIPTS}) == len(SCRIPTS)


@pytest.mark.parametrize(
    ("script", "module"),
    [
        ("concatenate_runs", "images/volumes"),  # imported by the script
        ("concatenate_runs", "outputs"),  # by what the script imports
        ("extract_regions", "strategies/streaming"),  # by name, from the registry
        ("extract_regions", "strategies/nifti_masker"),
        ("extract_regions", "images/progress"),  # by a strategy
        ("extract_regions", "cleaning/signals"),
        ("measure_memory", "memory/measure"),
        ("compare_memory", "figures/comparison"),
        ("compare_study", "figures/study_memory"),
        ("compare_study", "figures/style"),
        ("fetch_basc", "samples/downloads"),
    ],
)
def test_a_digest_changes_with_what_is_imported(variant, script, module):
    assert variant(script, {f"roistream/{module}.py": add_code}) != variant(script)


@pytest.mark.parametrize("family", sorted({strategy.family for strategy in STRATEGIES.values()}))
def test_an_extraction_depends_on_every_strategy(variant, family):
    changed = variant("extract_regions", {f"roistream/strategies/{family}.py": add_code})
    assert changed != variant("extract_regions")


@pytest.mark.parametrize(
    ("script", "module"),
    [
        ("extract_regions", "memory/measure"),
        ("extract_regions", "samples/simulation"),
        ("concatenate_runs", "strategies/streaming"),
        ("simulate_adhd", "memory/measure"),  # a sibling of what `from roistream.samples import adhd` imports
        ("simulate_adhd", "strategies/__init__"),
        ("fetch_adhd", "figures/comparison"),
        ("split_masks", "samples/downloads"),
    ],
)
def test_a_digest_does_not_change_with_what_is_not_imported(variant, script, module):
    assert variant(script, {f"roistream/{module}.py": add_code}) == variant(script)


def test_modules_of_the_project_are_imported_by_their_full_names():
    """Relative imports, and imports by name outside a package's own file, would escape the digest."""
    for path in MODULES:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom):
                assert node.level == 0, path
            imported = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            assert "importlib" not in imported or path.name == "__init__.py", path


LIBRARY = {
    "library/__init__.py": "",
    "library/plain.py": "import library.deep\n",
    "library/deep.py": "from library import plain\n",  # a circle
    "library/lazy.py": "def f():\n    import library.plain\n",
    "registry/__init__.py": "import importlib\n",
    "registry/by_name.py": "from library.plain import VALUE\n",
    "unrelated.py": "",
}


@pytest.mark.parametrize(
    ("code", "sees"),
    [
        ("import library.plain", {"library/plain", "library/deep", "library/__init__"}),
        ("import library.plain as p", {"library/plain", "library/deep", "library/__init__"}),
        ("from library import plain", {"library/plain", "library/deep", "library/__init__"}),
        ("from library.plain import VALUE", {"library/plain", "library/deep", "library/__init__"}),
        ("from library.plain import *", {"library/plain", "library/deep", "library/__init__"}),
        ("import library", {"library/__init__"}),
        (
            "def f():\n    from library import lazy",
            {"library/lazy", "library/plain", "library/deep", "library/__init__"},
        ),
        (
            "import registry",
            {"registry/__init__", "registry/by_name", "library/plain", "library/deep", "library/__init__"},
        ),
        ("import unrelated, os", {"unrelated"}),
        ("import os, numpy.linalg\nfrom json import loads", set()),
    ],
)
def test_what_a_script_sees(tmp_path, code, sees):
    for name, text in (LIBRARY | {"script.py": code}).items():
        (tmp_path / "before" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "before" / name).write_text(text)
    before = code_digest(tmp_path / "before" / "script.py")
    changed = set()
    for number, module in enumerate(LIBRARY):
        copy = shutil.copytree(tmp_path / "before", tmp_path / str(number))  # what has been read is not read again
        (copy / module).write_text(add_code(LIBRARY[module]))
        if code_digest(copy / "script.py") != before:
            changed.add(module.removesuffix(".py"))
    assert changed == sees


@pytest.mark.parametrize(
    ("before", "after", "same"),
    [
        ("x = 1\n", "x = 1  # one\n", True),
        ("x = 1\n", "\n\nx   =   1\n", True),
        ("x = f(a,\n      b)\n", "x = f(a, b)\n", True),
        ("x = 1\n", "x = 2\n", False),
        ("x = 'a'\n", "x = 'b'\n", False),
        ("x = 1\ny = 2\n", "y = 2\nx = 1\n", False),
    ],
)
def test_only_code_counts(tmp_path, before, after, same):
    digests = []
    for name, text in (("before", before), ("after", after)):
        (tmp_path / name).mkdir()
        (tmp_path / name / "script.py").write_text(text)
        digests.append(code_digest(tmp_path / name / "script.py"))
    assert (digests[0] == digests[1]) == same
