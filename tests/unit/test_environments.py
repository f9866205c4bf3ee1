"""The versions that are tested (envs/) against the ranges that are promised (pyproject.toml) and what is imported."""

import ast
import re
import sys
import tomllib
from importlib.metadata import packages_distributions

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name

from conftest import ROOT

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
SCRIPTS = ROOT / "scripts"
CONDA_FILES = sorted((ROOT / "envs").glob("*.yaml"))
PIP_FILES = sorted((ROOT / "envs").glob("requirements*.txt"))
PYPI_NAMES = {"python-isal": "isal"}
"""Packages that conda-forge calls differently."""

EXACT = r"\d+(\.\d+)+"


def ranges(requirements):
    return {canonicalize_name(Requirement(text).name): Requirement(text).specifier for text in requirements}


def pip_pins(path):
    """Read the exact versions of a requirements file, without those of the files that it includes."""
    pins = {}
    for line in path.read_text(encoding="utf-8").splitlines():
        text = line.partition("#")[0].strip()
        if not text or text.startswith("-r "):
            continue
        requirement = Requirement(text)
        pins[canonicalize_name(requirement.name)] = str(requirement.specifier).removeprefix("==")
    return pins


def conda_pins(path):
    """Read the versions of a conda environment, under the names that PyPI has for the packages."""
    pins = {}
    for entry in yaml.safe_load(path.read_text(encoding="utf-8"))["dependencies"]:
        name, _, version = entry.partition("=")
        pins[canonicalize_name(PYPI_NAMES.get(name, name))] = version
    return pins


RUN_PINS = pip_pins(ROOT / "envs" / "requirements.txt") | pip_pins(ROOT / "envs" / "requirements-parquet.txt")
DEV_PINS = pip_pins(ROOT / "envs" / "requirements-dev.txt")
OPTIONAL = PROJECT["optional-dependencies"]
RUN_RANGES = ranges(PROJECT["dependencies"] + OPTIONAL["workflow"] + OPTIONAL["parquet"])
DEV_RANGES = ranges(OPTIONAL["dev"])


@pytest.mark.parametrize("pins", [RUN_PINS, DEV_PINS], ids=["requirements", "requirements-dev"])
def test_pins_are_exact(pins):
    assert not {name: version for name, version in pins.items() if not re.fullmatch(EXACT, version)}


@pytest.mark.parametrize(
    ("pins", "promised"), [(RUN_PINS, RUN_RANGES), (DEV_PINS, DEV_RANGES)], ids=["requirements", "requirements-dev"]
)
def test_every_dependency_is_pinned_inside_its_range(pins, promised):
    assert sorted(pins) == sorted(promised)
    outside = {name: version for name, version in pins.items() if not promised[name].contains(version)}
    assert not outside


def test_the_newest_nilearn_comes_with_the_other_packages_as_they_are():
    """… and with polars, which its tests need."""
    newest = pip_pins(ROOT / "envs" / "requirements-newest.txt")
    library = ranges(PROJECT["dependencies"])
    assert all(library[name].contains(version) for name, version in newest.items() if name in library)
    assert library.keys() <= newest.keys()
    others = {name: version for name, version in newest.items() if name not in ("nilearn", "polars")}
    assert others.items() <= (RUN_PINS | DEV_PINS).items()


def test_every_range_has_a_lower_end():
    for name, specifiers in (RUN_RANGES | DEV_RANGES).items():
        assert [specifier.operator for specifier in specifiers].count(">=") == 1, name


def test_all_requirements_files_are_known():
    assert [path.name for path in PIP_FILES] == [
        "requirements-dev.txt",
        "requirements-newest.txt",
        "requirements-parquet.txt",
        "requirements-validator.txt",
        "requirements.txt",
    ]
    assert "-r requirements.txt" in PIP_FILES[0].read_text(encoding="utf-8").splitlines()


@pytest.mark.parametrize("path", CONDA_FILES, ids=lambda path: path.name)
def test_a_conda_environment_agrees_with_the_pip_pins(path):
    pins = conda_pins(path)
    assert SpecifierSet(PROJECT["requires-python"]).contains(pins.pop("python"))
    assert pins
    assert pins == {name: RUN_PINS.get(name) for name in pins}


@pytest.mark.parametrize("path", [*CONDA_FILES, *PIP_FILES], ids=lambda path: path.name)
def test_environments_name_packages_and_versions_only(path):
    text = path.read_text(encoding="utf-8")
    assert "://" not in text
    assert "@" not in text
    if path.suffix == ".yaml":
        content = yaml.safe_load(text)
        assert list(content) == ["channels", "dependencies"]
        assert content["channels"] == ["conda-forge", "nodefaults"]


# What is imported


def imported_modules(path):
    """List what a file imports anywhere in it, by full names."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def is_own(name):
    base = SCRIPTS.joinpath(*name.split(".")[:1])
    return base.is_dir() or base.with_suffix(".py").exists()


def distributions(paths):
    """List the packages on PyPI that some files import, by the files that need them."""
    needed, installed = {}, {"pyarrow": ["pyarrow"], **packages_distributions()}
    for path in paths:
        for module in {name.partition(".")[0] for name in imported_modules(path)} - sys.stdlib_module_names:
            if not is_own(module):
                names = installed.get(module)
                assert names, f"{path.name} imports {module}, which is not installed"
                needed.setdefault(canonicalize_name(names[0]), set()).add(path.name)
    return needed


def files_behind(script):
    """List a script and the files of the project that it imports; strategies are imported by name."""
    pending, found = [script], set()
    if script.name == "extract_regions.py":
        pending += (SCRIPTS / "roistream" / "strategies").glob("*.py")
    while pending:
        path = pending.pop()
        if path in found or not path.is_file():
            continue
        found.add(path)
        for name in imported_modules(path):
            base = SCRIPTS.joinpath(*name.split("."))
            pending += [base.with_suffix(".py"), base / "__init__.py"]
    return found


def environments_of_rules():
    """Read from the rules which scripts run in which conda environment."""
    scripts = {}
    for path in sorted((ROOT / "workflow" / "rules").glob("*.smk")):
        for rule in re.split(r"^rule ", path.read_text(encoding="utf-8"), flags=re.MULTILINE)[1:]:
            [environment] = re.findall(r"envs/(\w+\.yaml)", rule)
            used = re.findall(r"\b(\w+\.py)\b", rule)
            assert used, rule
            scripts.setdefault(environment, set()).update(used)
    return scripts


def test_all_third_party_imports_are_declared():
    needed = distributions(SCRIPTS.rglob("*.py"))
    assert "numpy" in needed
    undeclared = {name: files for name, files in needed.items() if name not in RUN_RANGES}
    assert not undeclared


def test_every_conda_environment_belongs_to_scripts():
    assert sorted(environments_of_rules()) == [path.name for path in CONDA_FILES]


@pytest.mark.parametrize("path", CONDA_FILES, ids=lambda path: path.name)
def test_a_conda_environment_has_what_its_scripts_import(path):
    scripts = environments_of_rules()[path.name]
    needed = distributions({file for script in scripts for file in files_behind(SCRIPTS / script)})
    missing = {name: files for name, files in needed.items() if name not in conda_pins(path)}
    assert not missing
