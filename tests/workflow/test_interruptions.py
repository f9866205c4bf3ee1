"""Runs that are interrupted for real, at a known point in mid-extraction, and then continued.

What a user has to do to continue: after Ctrl-C or a job that died, the same command again; after Snakemake itself was
killed, ``--unlock`` first, and ``--rerun-incomplete`` then.
"""

import os
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

# 35 MiB: an array that joblib puts into a memory map instead of handing it over.
GRID, N_VOLUMES = (40, 48, 40), 120
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


def wait_for(look, snakemake_process=None):
    """Look again and again until there is something to see; Snakemake must go on meanwhile."""
    deadline_s = time.monotonic() + TIMEOUT_S
    while not (seen := look()):
        if snakemake_process and snakemake_process.poll() is not None:
            pytest.fail(f"ended before the point to interrupt it:\n{snakemake_process.stdout.read()}")
        assert time.monotonic() < deadline_s, "waited in vain"
        time.sleep(0.005)
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
        self.seen = set()

    @classmethod
    def find(cls, marker):
        for process in marked_processes(marker):
            with suppress(psutil.NoSuchProcess):
                if process.cmdline()[1:2] and Path(process.cmdline()[1]).name == "extract_regions.py":
                    return cls(process)
        return None

    def workers(self):
        """List its joblib workers, once there are two."""
        with suppress(psutil.NoSuchProcess):
            workers = [child for child in self.process.children() if "LokyProcess" in " ".join(child.cmdline())]
            return workers if len(workers) == 2 else []
        return []

    def segments(self):
        """List the segments of shared memory that it has mapped."""
        with suppress(FileNotFoundError, ProcessLookupError):
            maps = Path(f"/proc/{self.process.pid}/maps").read_text()
            self.seen |= {Path(word) for word in maps.split() if word.startswith("/dev/shm/psm_")}
        return self.seen

    def memory_maps(self):
        """List the files of joblib's memory maps, which carry its process id."""
        folders = {Path("/dev/shm"), Path(tempfile.gettempdir())}
        pattern = f"joblib_memmapping_folder_{self.process.pid}_*/*.pkl"
        self.seen |= {path.parent for folder in folders for path in folder.glob(pattern)}
        return self.seen


@contextmanager
def interrupted(folder, strategy, point):
    """Start a run and give it with its extraction when that has come to a point; end what a failed test leaves."""
    marker = uuid.uuid4().hex
    process = start_snakemake(snakemake_command(folder, config=config(strategy)), marker)
    try:
        extraction = wait_for(lambda: Extraction.find(marker), process)
        wait_for(lambda: point(extraction), process)
        yield process, extraction
        wait_for(lambda: not marked_processes(marker))
        assert [path for path in extraction.seen if path.exists()] == [], "left in shared memory"
    finally:
        for left in marked_processes(marker):
            with suppress(psutil.NoSuchProcess):
                left.kill()
        process.stdout.close()
        process.wait()


def assert_nothing_finished(folder, strategy):
    """No output of the extraction, under no name, is left."""
    assert [path for path in folder.glob(f"results/scan/{strategy}/**/*") if path.is_file()] == []


def assert_complete(folder, ended, strategy, undisturbed):
    assert ended.status == 0, ended.output
    assert all(map(np.array_equal, arrays(folder, strategy), arrays(undisturbed, "numpy_path")))
    for name in (f"{strategy}/timeseries.tsv", f"{strategy}/memory.json", "memory_comparison.tsv"):
        assert (folder / "results/scan" / name).stat().st_size > 0
    assert list(folder.glob("results/**/.partial-*")) == []
    ended = snakemake(folder, config=config(strategy))
    assert "Nothing to be done" in ended.output


def test_ctrl_c(tmp_path, undisturbed):
    """The terminal sends SIGINT to all processes in the foreground."""
    folder = shutil.copytree(undisturbed, tmp_path / "work")
    with interrupted(folder, "nifti_masker_path", Extraction.workers) as (process, _):
        os.killpg(process.pid, signal.SIGINT)
        ended = finish(process)
    assert ended.status != 0
    assert_no_traceback(folder, ended)
    assert_nothing_finished(folder, "nifti_masker_path")
    ended = snakemake(folder, config=config("nifti_masker_path"))
    assert_complete(folder, ended, "nifti_masker_path", undisturbed)


def test_sigint_to_snakemake_alone(tmp_path, undisturbed):
    """Snakemake starts no new job; what runs goes on to its end."""
    folder = shutil.copytree(undisturbed, tmp_path / "work")
    with interrupted(folder, "shared_memory", Extraction.segments) as (process, _):
        process.send_signal(signal.SIGINT)
        ended = finish(process)
    assert ended.status != 0
    print(ended.output)
    print(sorted(folder.glob("results/scan/shared_memory/*")))
    ended = snakemake(folder, config=config("shared_memory"))
    assert_complete(folder, ended, "shared_memory", undisturbed)


def test_sigkill_to_snakemake(tmp_path, undisturbed):
    """The extraction that it had started goes on as an orphan, to its end."""
    folder = shutil.copytree(undisturbed, tmp_path / "work")
    with interrupted(folder, "numpy_in_memory", Extraction.memory_maps) as (process, _):
        process.kill()
        ended = finish(process)
    assert ended.status == -signal.SIGKILL
    print(ended.output)
    print(sorted(folder.glob("results/scan/numpy_in_memory/*")))
    ended = snakemake(folder, config=config("numpy_in_memory"))
    print(ended.status, ended.output)
    ended = snakemake(folder, "--unlock", config=config("numpy_in_memory"))
    assert ended.status == 0
    ended = snakemake(folder, config=config("numpy_in_memory"))
    print(ended.status, ended.output)
    ended = snakemake(folder, "--rerun-incomplete", config=config("numpy_in_memory"))
    assert_complete(folder, ended, "numpy_in_memory", undisturbed)


@pytest.mark.parametrize(
    ("strategy", "point"),
    [("shared_memory", Extraction.segments), ("numpy_in_memory", Extraction.memory_maps)],
)
def test_sigkill_to_the_extraction(tmp_path, undisturbed, strategy, point):
    """What the out-of-memory killer does."""
    folder = shutil.copytree(undisturbed, tmp_path / "work")
    with interrupted(folder, strategy, point) as (process, extraction):
        extraction.process.kill()
        ended = finish(process)
    assert ended.status == 1
    print(ended.output)
    assert_no_traceback(folder, ended)
    assert_nothing_finished(folder, strategy)
    log = (folder / f"logs/extract_regions/scan/{strategy}.log").read_text()
    print(log)
    assert_complete(folder, snakemake(folder, config=config(strategy)), strategy, undisturbed)
