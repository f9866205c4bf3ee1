"""A digest follows every module that a script uses, and nothing else."""

import ast
import re
import shutil
import textwrap

import pytest

from conftest import ROOT
from roistream.provenance import code_digest
from roistream.strategies import STRATEGIES

SCRIPTS = sorted((ROOT / "scripts").glob("*.py"))
MODULES = sorted((ROOT / "scripts").rglob("*.py"))


@pytest.fixture
def variant(tmp_path_factory):
    """Copy the real scripts, change some of the files, and give the digest of one script."""

    def digest(script, **changes):
        folder = shutil.copytree(ROOT / "scripts", tmp_path_factory.mktemp("variant") / "scripts")
        for name, change in changes.items():
            path = folder / f"{name.replace('__', '/')}.py"
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
    everything = {path.relative_to(ROOT / "scripts").with_suffix("").as_posix() for path in MODULES}
    comments = {name.replace("/", "__"): add_comments for name in everything if "__init__" not in name}
    assert variant(script.stem, **comments) == digest
    assert variant(script.stem, **{script.stem: add_code}) != digest
    assert variant(script.stem, roistream__errors=add_code) != digest


def test_scripts_differ():
    assert len({code_digest(script) for script in SCRIPTS}) == len(SCRIPTS)


@pytest.mark.parametrize(
    ("script", "module"),
    [
        ("concatenate_runs", "volumes"),  # imported by the script
        ("concatenate_runs", "outputs"),  # by what the script imports
        ("extract_regions", "strategies/streaming"),  # by name, from the registry
        ("extract_regions", "strategies/nifti_masker"),
        ("extract_regions", "progress"),  # by a strategy
        ("extract_regions", "cleaning"),
        ("measure_memory", "memory"),
        ("compare_memory", "comparison"),
        ("fetch_basc", "downloads"),
    ],
)
def test_a_digest_changes_with_what_is_imported(variant, script, module):
    name = f"roistream__{module.replace('/', '__')}"
    assert variant(script, **{name: add_code}) != variant(script)


@pytest.mark.parametrize("family", sorted({strategy.family for strategy in STRATEGIES.values()}))
def test_an_extraction_depends_on_every_strategy(variant, family):
    assert variant("extract_regions", **{f"roistream__strategies__{family}": add_code}) != variant("extract_regions")


@pytest.mark.parametrize(
    ("script", "module"),
    [
        ("extract_regions", "memory"),
        ("extract_regions", "simulation"),
        ("concatenate_runs", "strategies/streaming"),
        ("simulate_adhd", "memory"),  # a sibling of what `from roistream import adhd` imports
        ("simulate_adhd", "strategies/__init__"),
        ("fetch_adhd", "comparison"),
        ("split_masks", "downloads"),
    ],
)
def test_a_digest_does_not_change_with_what_is_not_imported(variant, script, module):
    name = f"roistream__{module}" if "/" not in module else f"roistream__strategies__{module.split('/')[1]}"
    assert variant(script, **{name: add_code}) == variant(script)


def test_modules_of_the_project_are_imported_by_their_full_names():
    """Relative imports, and imports by name outside a package's own file, would escape the digest."""
    for path in MODULES:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom):
                assert node.level == 0, path
            imported = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            assert "importlib" not in imported or path.name == "__init__.py", path


@pytest.fixture
def project(tmp_path):
    """Small scripts of every kind."""

    def write(name, text):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(textwrap.dedent(text))
        return path

    write("library/__init__.py", "")
    write("library/plain.py", "import library.deep\nVALUE = 1\n")
    write("library/deep.py", "from library import plain\nVALUE = 2\n")  # a circle
    write("library/lazy.py", "def f():\n    import library.plain\n")
    write("registry/__init__.py", "import importlib\n")
    write("registry/by_name.py", "from library.plain import VALUE\n")
    write("unrelated.py", "VALUE = 3\n")
    return write


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
def test_what_a_script_sees(tmp_path, project, code, sees):
    project("script.py", code)
    before = code_digest(project("script.py", code))
    changed = set()
    for path in [path for path in tmp_path.rglob("*.py") if path.name != "script.py"]:
        # Read modules are kept; a copy elsewhere is read anew.
        name = path.relative_to(tmp_path)
        copy = shutil.copytree(
            tmp_path, tmp_path.parent / f"{tmp_path.name}-{name.as_posix().replace('/', '-')}", dirs_exist_ok=True
        )
        with (copy / name).open("a") as stream:
            stream.write("\nADDED = 1\n")
        if code_digest(copy / "script.py") != before:
            changed.add(name.with_suffix("").as_posix())
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
