"""The house: imports run one way through its wings, and the library knows nothing of Snakemake."""

import ast
from graphlib import TopologicalSorter

import pytest

from conftest import ROOT

LIBRARY = ROOT / "scripts" / "roistream"

WINGS = [
    (
        "errors",
        "faults",
        "garbage",
        "lifetime",
        "outputs",
        "paths",
        "provenance",
        "command_line",
        "extraction_options",
        "reporting",
        "tables",
        "__main__",
        "__version__",
    ),
    ("images",),
    ("regions",),
    ("cleaning",),
    ("samples",),
    ("maskers",),
    ("strategies",),
    ("memory",),
    ("study",),
    ("figures",),
]
"""From the ground up: a wing imports from those before it, and from itself; modules of the ground are independent of wings."""

LEVELS = {wing: level for level, wings in enumerate(WINGS) for wing in wings}
MODULES = sorted(path for path in LIBRARY.rglob("*.py") if path != LIBRARY / "__init__.py")


def imported(path):
    """List the modules that a file imports anywhere in it, by full names."""
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def wing_of(path):
    return path.relative_to(LIBRARY).parts[0].removesuffix(".py")


def test_every_module_has_a_place():
    assert {wing_of(path) for path in MODULES} == set(LEVELS) - {"__version__"}


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(LIBRARY)))
def test_imports_run_one_way(path):
    used = {name.split(".")[1] for name in imported(path) if name.startswith("roistream.")}
    upward = {wing for wing in used if wing != wing_of(path) and LEVELS[wing] > LEVELS[wing_of(path)]}
    assert not upward


def test_no_imports_lead_in_a_circle():
    names = {".".join(path.relative_to(LIBRARY.parent).with_suffix("").parts): path for path in MODULES}
    graph = {name: {used for used in imported(path) if used in names} for name, path in names.items()}
    assert sum(map(len, graph.values())) > 300
    TopologicalSorter(graph).prepare()  # names the circle


def test_the_library_knows_nothing_of_snakemake():
    for path in MODULES:
        assert not [name for name in imported(path) if name.partition(".")[0].startswith("snakemake")], path


ROOMS = [*MODULES, *ROOT.glob("scripts/*.py"), *ROOT.glob("benchmarks/*.py"), *ROOT.glob("workflow/rules/*.smk")]


@pytest.mark.parametrize("path", ROOMS, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_room_has_at_most_300_lines(path):
    assert len(path.read_text("utf-8").splitlines()) <= 300
