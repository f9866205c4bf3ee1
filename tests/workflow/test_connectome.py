"""The page about connectomes does what it says: its blocks are run in order, in a folder with nothing in it."""

import contextlib
import fcntl
import io
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from conftest import ROOT
from roistream.study.connectivity import connect
from roistream.study.matrices import read_matrix
from roistream.study.signals import read_signals
from workflow.conftest import TIMEOUT_S

pytest.importorskip("pyarrow", reason="pyarrow is not installed")

PAGE = (ROOT / "docs/connectome.md").read_text("utf-8")
BLOCKS = re.findall(r"^```(bash|python)\n(.*?)^```\n(?:\n```text\n(.*?)^```\n)?", PAGE, re.MULTILINE | re.DOTALL)


@pytest.fixture(scope="module")
def shell(tmp_path_factory):
    """A folder, and how to run a command in it, where `roistream` is installed."""
    folder = tmp_path_factory.mktemp("connectome")
    program = folder / "bin" / "roistream"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\nPYTHONPATH={ROOT}/scripts exec {sys.executable} -m roistream "$@"\n')
    program.chmod(0o755)
    path = os.pathsep.join([str(program.parent), str(Path(sys.executable).parent), os.environ["PATH"]])
    environment = {key: value for key, value in os.environ.items() if not key.startswith("SNAKEMAKE_")}

    def run(command):
        return subprocess.run(
            ["bash", "-euo", "pipefail", "-c", command.replace("/path/to/roistream", str(ROOT))],
            cwd=folder,
            env={**environment, "PATH": path},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=TIMEOUT_S,
        )

    return folder, run


@pytest.fixture(scope="module")
def page(shell):
    """Run its commands."""
    folder, run = shell
    for language, block, _ in BLOCKS:
        if language == "bash":
            done = run(block)
            assert done.returncode == 0, done.stdout
    return folder / "derivatives/connectome"


def test_every_block_of_python_prints_what_stands_below_it(page, monkeypatch):
    monkeypatch.chdir(page.parents[1])
    names = {}
    for language, block, expected in BLOCKS:
        if language == "python":
            printed = io.StringIO()
            with contextlib.redirect_stdout(printed):
                exec(block, names)
            assert printed.getvalue() == expected, block


def test_the_matrices_are_those_of_the_signals(page):
    tables = sorted(page.rglob("*_stat-mean_timeseries.tsv"))
    assert len(tables) == 4
    for table in tables:
        signals = read_signals(table)
        for kind, statistic in (("correlation", "pearsoncorrelation"), ("partial correlation", "partialcorrelation")):
            path = table.with_name(table.name.replace("stat-mean_timeseries", f"stat-{statistic}_relmat"))
            np.testing.assert_allclose(read_matrix(path)[1], connect(signals, kind), rtol=0, atol=1e-12)


def test_the_same_command_again_does_nothing_and_less_is_no_loss(shell, page):
    _, run = shell
    [command] = [block for _, block, _ in BLOCKS if block.startswith("roistream")]
    before = {path: path.stat().st_mtime_ns for path in page.rglob("*_timeseries.tsv")}
    done = run(command)
    assert done.returncode == 0, done.stdout
    assert "Nothing to be done" in done.stdout
    assert {path: path.stat().st_mtime_ns for path in page.rglob("*_timeseries.tsv")} == before


def test_one_at_a_time_in_a_work_folder(shell, page):
    folder, run = shell
    [command] = [block for _, block, _ in BLOCKS if block.startswith("roistream")]
    with (folder / "work/roistream/.running").open("r+") as running:
        fcntl.flock(running, fcntl.LOCK_EX)
        done = run(command)
    assert done.returncode == 1
    assert "another roistream is at work there" in done.stdout
    other = run(command.replace("derivatives/connectome", "derivatives/other"))
    assert other.returncode == 1
    assert "was used for the results in" in other.stdout
    assert "Traceback" not in done.stdout + other.stdout


def test_the_bids_validator_finds_no_error(page):
    """Where it is installed: pip install -r envs/requirements-validator.txt."""
    beside = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    validator = shutil.which("bids-validator-deno", path=beside)
    if not validator:
        assert "ROISTREAM_REQUIRE_VALIDATOR" not in os.environ, "it is to be installed here"
        pytest.skip("bids-validator-deno is not installed")
    done = subprocess.run([validator, "--json", str(page)], capture_output=True, text=True)
    issues = json.loads(done.stdout)["issues"]["issues"]
    assert not [issue for issue in issues if issue.get("severity") == "error"]
    assert done.returncode == 0
