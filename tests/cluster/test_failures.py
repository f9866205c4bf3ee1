"""Jobs that take too much memory, jobs that are cancelled, and a head process that is killed: the results are complete."""

import math
import os
import re
import signal
import subprocess
import time
from contextlib import contextmanager

import nibabel as nib
import numpy as np
import pytest

from cluster.conftest import (
    assert_same_results,
    command,
    local_copy,
    run,
    run_names,
    save_study,
    submissions,
    submissions_of,
    write_config,
)
from conftest import AFFINE, save_run
from roistream.images.image import inspect
from roistream.memory.predict import predict_peak_mib
from roistream.regions.coverage import read_regions
from workflow.conftest import TIMEOUT_S, finish, snakemake, start_snakemake, write_table

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def small(slurm, tmp_path_factory):
    """Give a function that makes a fresh folder with the same two small images; and what is to come of them."""
    expected = local_copy(
        save_study(tmp_path_factory.mktemp("small") / "study", 2), tmp_path_factory.mktemp("small") / "local"
    )
    return lambda folder: save_study(folder, 2), expected


def predicted_mib(folder, image, strategy):
    below = folder / "results" / image
    n_voxels = [region.n_voxels for region in read_regions(below / "regions.tsv")]
    return predict_peak_mib(strategy, inspect(below / f"{image}_bold.nii.gz"), n_voxels, 1, {})


def test_a_job_that_takes_too_much_is_killed_and_succeeds_with_more(slurm, tmp_path):
    """Without the profile's overhead the first attempt has no room for Snakemake itself; the second has half as much more."""
    folder = tmp_path / "study"
    folder.mkdir()
    grid, n_volumes = (40, 40, 40), 4000  # 244 MiB, of which numpy_in_memory takes two
    values = np.zeros((*grid, n_volumes), np.uint8)
    values[:, :, ::2] = np.arange(n_volumes) % 251
    save_run(folder / "run.nii", values)
    labels = np.zeros(grid, np.int16)
    labels[10:20, 10:20, 10:20] = 1
    labels[20:30, 10:20, 10:20] = 2
    nib.Nifti1Image(labels, AFFINE).to_filename(folder / "atlas.nii.gz")
    write_table(folder / "runs.tsv", [("long", "run.nii")])
    # The job itself would refuse to start with so little.
    write_config(folder, regions="all", strategies=["numpy_in_memory"], memory_shortage="warn")
    ended = run(
        folder,
        "slurm",
        "--default-resources",
        "runtime=10",
        "job_overhead=0",
        "--set-resources",
        *(f"{rule}:mem_mb=700" for rule in ("concatenate_runs", "place_atlas", "split_masks")),
    )
    assert ended.status == 0, ended.output
    attempts = [job for job in submissions_of(ended) if "extract_regions" in job.comment]
    peak = predicted_mib(folder, "long", "numpy_in_memory")
    assert [job.mem_mib for job in attempts] == [math.ceil(peak), math.ceil(peak * 1.5)]
    assert attempts[0].state in ("OUT_OF_MEMORY", "FAILED")
    assert attempts[1].state == "COMPLETED"
    [log] = (folder / ".snakemake/slurm_logs/rule_extract_regions/long_numpy_in_memory").glob(f"{attempts[0].id}.log")
    assert re.search(r"oom.kill|out of memory|Exceeded job memory limit", log.read_text(), re.IGNORECASE)
    for label in (1, 2):
        series = np.load(folder / f"results/long/numpy_in_memory/region-{label}_timeseries.npy")
        assert np.array_equal(series, values[labels == label].T)


def wait_for(look, process=None):
    """Look again and again until there is something to see; the run must go on meanwhile."""
    deadline_s = time.monotonic() + TIMEOUT_S
    while not (seen := look()):
        assert process is None or process.poll() is None, "ended before the point to interrupt it"
        assert time.monotonic() < deadline_s, "waited in vain"
        time.sleep(0.1)
    return seen


@contextmanager
def started(folder, profile):
    """Start a run, with its output in a file that can be read meanwhile."""
    printed = folder / "printed.txt"
    with printed.open("w") as stream:
        process = subprocess.Popen(
            command(folder, profile), stdout=stream, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL,
            start_new_session=True,
        )  # fmt: skip
        try:
            yield process, printed
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def running(names, what):
    """List the running jobs of these names whose comment says `what`."""
    jobs = [job for name in names for job in submissions(name)]
    return [job for job in jobs if job.state == "RUNNING" and what in job.comment]


def test_a_job_that_is_cancelled_is_submitted_again(small, tmp_path):
    make, expected = small
    folder = make(tmp_path / "study")
    process = start_snakemake(command(folder, "slurm"))
    name = process.stdout.readline()
    while "SLURM run ID" not in name:
        name = process.stdout.readline()
        assert name, "ended before it began"
    names = run_names(name)
    [cancelled, *_] = wait_for(lambda: running(names, "extract_regions"), process)
    subprocess.run(["scancel", cancelled.id], check=True)
    ended = finish(process)
    assert ended.status == 0, ended.output
    jobs = submissions(names[0])
    again = [job for job in jobs if job.comment == cancelled.comment]
    assert [job.state for job in again] == ["CANCELLED", "COMPLETED"]
    assert_same_results(folder, expected)


@pytest.mark.parametrize("profile", ["slurm", "cluster-generic"])
def test_a_killed_head_process_is_started_again(small, tmp_path, profile):
    """Nobody cancels its jobs: those of the second run and those of the first write the same files at the same time."""
    make, expected = small
    folder = make(tmp_path / "study")
    with started(folder, profile) as (process, printed):
        find = {"slurm": lambda: run_names(printed.read_text()), "cluster-generic": lambda: ["roistream"]}[profile]
        left = wait_for(lambda: running(find(), "place_atlas" if profile == "slurm" else ""), process)
        process.kill()
        process.wait()
    assert left
    ended = run(folder, profile)
    assert ended.status == 1
    assert "Directory cannot be locked" in ended.output
    assert snakemake(folder, "--unlock", "--configfile", folder / "study.yaml").status == 0
    ended = run(folder, profile)
    assert ended.status == 0, ended.output
    wait_for(lambda: not running(find(), ""))
    assert_same_results(folder, expected)
    assert "Nothing to be done" in run(folder, profile).output
