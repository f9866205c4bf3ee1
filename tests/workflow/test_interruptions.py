"""Runs that are interrupted for real, at a known point in mid-extraction, and then continued.

What a user has to do to continue:

- after a job that died: the same command again;
- after Ctrl-C: the same command with ``--rerun-incomplete``;
- after Snakemake itself was killed: ``--unlock`` first, then the command with ``--rerun-incomplete``.
"""

import json
import os
import re
import shutil
import signal
import tempfile
import time
import uuid
from contextlib import contextmanager, suppress
from pathlib import Path

import nibabel as nib
import numpy as np
import psutil
import pytest

from conftest import AFFINE, save_run
from workflow.conftest import (
    TIMEOUT_S,
    assert_no_traceback,
    finish,
    snakemake,
    snakemake_command,
    start_snakemake,
    write_table,
)

# An array that joblib puts into a memory map instead of handing it over, and that takes a moment to load.
GRID, N_VOLUMES, IMAGE_MIB = (40, 48, 40), 120, 35
LABELS = [1, 2, 3, 4]


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    """Run one strategy undisturbed; the other strategies give the same arrays."""
    folder = tmp_path_factory.mktemp("undisturbed")
    values = np.random.default_rng(2).integers(0, 1000, (*GRID, N_VOLUMES)).astype(np.float32)
    save_run(folder / "run.nii", values)
    labels = np.zeros(GRID, np.int16)
    for label in LABELS:
        labels[4 * label : 4 * label + 4, 10:30, 10:30] = label
    nib.Nifti1Image(labels, AFFINE).to_filename(folder / "atlas.nii")
    write_table(folder / "runs.tsv", [("scan", "run.nii")])
    ended = snakemake(folder, config=config("numpy_path"))
    assert ended.status == 0, ended.output
    return folder


def config(strategy):
    return {"dataset": "runs.tsv", "atlas": "atlas.nii", "regions": LABELS, "strategies": [strategy], "n_jobs": 2}


def arrays(folder, strategy):
    return [np.load(folder / f"results/scan/{strategy}/region-{label}_timeseries.npy") for label in LABELS]


def wait_for(look, run=None):
    """Look again and again until there is something to see; the run must go on meanwhile."""
    deadline_s = time.monotonic() + TIMEOUT_S
    while not (seen := look()):
        if run and run.poll() is not None:
            pytest.fail(f"ended before the point to interrupt it:\n{run.stdout.read()}")
        assert time.monotonic() < deadline_s, "waited in vain"
        time.sleep(0.02)
    return seen


def marked_processes(marker):
    """List the living processes that descend from a run, orphans too: the environment tells."""
    found = []
    for process in psutil.process_iter():
        with suppress(psutil.NoSuchProcess, psutil.AccessDenied):
            if process.environ().get("ROISTREAM_TEST") == marker and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
    return found


class Extraction:
    """The process of extract_regions.py in a run, and what it has in shared memory."""

    def __init__(self, process):
        self.process = process
        self.shared = set()

    @classmethod
    def find(cls, marker):
        for process in marked_processes(marker):
            with suppress(psutil.NoSuchProcess):
                if process.cmdline()[1:2] and Path(process.cmdline()[1]).name == "extract_regions.py":
                    return cls(process)
        return None

    def find_segments(self):
        """Look for segments of shared memory that it has mapped."""
        with suppress(FileNotFoundError, ProcessLookupError):
            words = Path(f"/proc/{self.process.pid}/maps").read_text().split()
            self.shared |= {Path(word) for word in words if word.startswith("/dev/shm/psm_")}
        return self.shared

    def find_memory_maps(self):
        """Look for folders with joblib's memory maps; their names tell the process."""
        pattern = f"joblib_memmapping_folder_{self.process.pid}_*/*.pkl"
        for folder in {Path("/dev/shm"), Path(tempfile.gettempdir())}:
            self.shared |= {path.parent for path in folder.glob(pattern)}
        return self.shared

    def has_workers(self):
        """Tell whether both of joblib's workers have started, and have read what they are to do first: numpy is loaded."""
        with suppress(psutil.NoSuchProcess, FileNotFoundError, ProcessLookupError):
            workers = [child for child in self.process.children() if "LokyProcess" in " ".join(child.cmdline())]
            return [("numpy" in Path(f"/proc/{worker.pid}/maps").read_text()) for worker in workers] == [True, True]
        return False


FIND_SHARED = {"shared_memory": Extraction.find_segments, "numpy_in_memory": Extraction.find_memory_maps}


@contextmanager
def stopped(folder, strategy):
    """Start a run, and give it with its extraction, which is stopped when workers and shared memory are there.

    In the end nothing of them may be left; what is left of a failed test is ended.
    """
    marker = uuid.uuid4().hex
    run = start_snakemake(snakemake_command(folder, config=config(strategy)), marker)
    try:
        extraction = wait_for(lambda: Extraction.find(marker), run)
        wait_for(lambda: FIND_SHARED[strategy](extraction) and extraction.has_workers(), run)
        extraction.process.suspend()
        assert all(path.exists() for path in extraction.shared), "was stopped too late"
        yield run, extraction.process
        wait_for(lambda: not marked_processes(marker))
        assert [path for path in extraction.shared if path.exists()] == []
    finally:
        for process in marked_processes(marker):
            with suppress(psutil.NoSuchProcess):
                process.kill()
        run.stdout.close()
        run.wait()


def results_of(folder, strategy):
    return {path.name for path in folder.glob(f"results/scan/{strategy}/*")}


def assert_complete(folder, ended, strategy, undisturbed):
    assert ended.status == 0, ended.output
    assert all(map(np.array_equal, arrays(folder, strategy), arrays(undisturbed, "numpy_path")))
    assert results_of(folder, strategy) == results_of(undisturbed, "numpy_path")
    assert "exit_status" not in json.loads((folder / f"results/scan/{strategy}/memory.json").read_text())
    assert strategy in (folder / "results/scan/memory_comparison.tsv").read_text()


@pytest.fixture
def folder(undisturbed, tmp_path):
    """A copy of the undisturbed run, in which another strategy is to be interrupted."""
    return shutil.copytree(undisturbed, tmp_path / "work")


def test_ctrl_c(folder, undisturbed):
    """The terminal sends SIGINT to all processes in the foreground."""
    strategy = "numpy_in_memory"
    with stopped(folder, strategy) as (run, extraction):
        os.killpg(run.pid, signal.SIGINT)
        extraction.resume()
        ended = finish(run)
    assert ended.status == 1
    # What was measured of a command that failed is no output of it, and says that it failed.
    assert results_of(folder, strategy) <= {"memory.tsv", "memory.json"}
    for summary in folder.glob(f"results/scan/{strategy}/memory.json"):
        assert json.loads(summary.read_text())["exit_status"] == 128 + signal.SIGINT
    ended = snakemake(folder, "--rerun-incomplete", config=config(strategy))
    assert_complete(folder, ended, strategy, undisturbed)


@pytest.mark.slow
def test_sigint_to_snakemake_alone(folder, undisturbed):
    """Snakemake waits for what runs and starts nothing else; it does not trust what came of it."""
    strategy = "shared_memory"
    with stopped(folder, strategy) as (run, extraction):
        run.send_signal(signal.SIGINT)
        extraction.resume()
        ended = finish(run)
    assert ended.status == 1
    assert "rule compare_memory:" not in ended.output
    ended = snakemake(folder, "--rerun-incomplete", config=config(strategy))
    assert_complete(folder, ended, strategy, undisturbed)


def test_sigkill_to_snakemake(folder, undisturbed):
    """Its jobs end with it, here by force, since this one is stopped; and the folder is locked until it is unlocked."""
    strategy = "shared_memory"
    with stopped(folder, strategy) as (run, _):
        run.kill()
        run.wait()
        ended = snakemake(folder, "--rerun-incomplete", config=config(strategy))
        assert ended.status == 1
        assert "Directory cannot be locked" in ended.output
    assert results_of(folder, strategy) == set()
    assert snakemake(folder, "--unlock", config=config(strategy)).status == 0
    ended = snakemake(folder, "--rerun-incomplete", config=config(strategy))
    assert_complete(folder, ended, strategy, undisturbed)


@pytest.mark.slow
@pytest.mark.parametrize("strategy", list(FIND_SHARED))
def test_sigkill_to_the_extraction(folder, undisturbed, strategy):
    """What the out-of-memory killer does: the job fails and tells how much memory there was."""
    with stopped(folder, strategy) as (run, extraction):
        time.sleep(2)  # for measure_memory.py to look at the tree once more: it ends those whom it has seen
        extraction.kill()
        ended = finish(run)
    assert ended.status == 1
    assert_no_traceback(folder, ended)
    assert results_of(folder, strategy) == set()
    log = (folder / f"logs/extract_regions/scan/{strategy}.log").read_text()
    peak_mib = re.search(r"was ended by SIGKILL \(exit status 137\) after .*, peak PSS ([0-9.]+) MiB", log)
    assert float(peak_mib[1]) > IMAGE_MIB
    assert peak_mib[0] in ended.output
    assert_complete(folder, snakemake(folder, config=config(strategy)), strategy, undisturbed)
