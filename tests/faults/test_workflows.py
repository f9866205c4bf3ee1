"""Both targets under faults of the machine, by Snakemake: kills, disks, limits of memory, two runs at once."""

import os
import shutil

import numpy as np
import pytest

from faults.kills import seed_of
from faults.machine import machine, memory_limit
from faults.workflows import TARGETS, assert_trial, command_for, make_reference, results_of
from workflow.conftest import assert_no_traceback

TRIALS = int(os.environ.get("ROISTREAM_WORKFLOW_TRIALS", "2"))


EACH = pytest.mark.parametrize("target", [pytest.param("all", marks=pytest.mark.slow), "timeseries"])
"""Studies each time; the comparison, which takes longer and stumbles over the same, among the slow tests."""


@pytest.fixture(scope="module")
def reference(tmp_path_factory):
    """Give the undisturbed results of a target."""
    made = {}

    def get(target):
        if target not in made:
            folder = tmp_path_factory.mktemp(target)
            with machine(folder / "machine") as quiet:
                made[target] = make_reference(quiet, target, folder)
                assert quiet.left() == []
        return made[target]

    return get


@pytest.mark.slow
@pytest.mark.parametrize("target", TARGETS)
def test_kills_at_random_moments(place, reference, tmp_path, target):
    """A worker, an extraction, who measures it, or Snakemake: whoever it is, the same command goes on to the same results."""
    rng = np.random.default_rng(seed_of())
    for number in range(TRIALS):
        print(assert_trial(place, reference(target), tmp_path / str(number), rng), flush=True)


def prepare(reference, folder):
    folder.mkdir(parents=True, exist_ok=True)
    shutil.copytree(reference.data, folder / "data")
    return folder


def assert_stopped(ended, folder, expected, *words):
    """It has failed with these words and no traceback, and whatever has a result's name is whole and right."""
    assert ended.status != 0, ended.output
    for word in words:
        assert word in ended.output.lower()
    assert "Traceback" not in ended.output, ended.output
    found = results_of(folder)
    for name in found.keys() & expected.results.keys():  # the others are copies that go when they have been used
        assert found[name] == expected.results[name], name


def assert_ends_well(place, folder, expected, *more):
    ended = place.run(command_for(expected.target, folder, *more))
    assert ended.status == 0, ended.output
    assert results_of(place.seen(folder)) == expected.results


def test_the_working_directory_is_read_only(place, reference, tmp_path):
    target = "timeseries"  # who refuses knows nothing of targets
    folder = prepare(reference(target), tmp_path / "work")
    command = command_for(target, folder)
    place.read_only(folder)
    ended = place.run(command)
    assert_stopped(ended, folder, reference(target), "read-only")
    assert place.left() == []
    place.read_only(folder, False)
    for part in ("results", "derivatives"):  # and a folder in it, such as that of a finished and archived study
        (folder / part).mkdir()
    place.read_only(folder / "results")
    place.read_only(folder / "derivatives")
    ended = place.run(command)
    assert_stopped(ended, folder, reference(target), "read-only")
    assert place.left() == []
    place.read_only(folder / "results", False)
    place.read_only(folder / "derivatives", False)
    assert_ends_well(place, folder, reference(target))


@EACH
def test_the_disk_is_full(place, reference, tmp_path, target):
    """Some jobs have room and others not; Snakemake itself has some, which it takes for its notes."""
    folder = tmp_path / "work"
    place.disk(folder, "600k" if target == "all" else "256k")
    prepare(reference(target), place.seen(folder))
    aside = tmp_path / "aside"  # the config lies elsewhere
    command = [str(folder) if word == str(aside) else word for word in command_for(target, aside)]
    ended = place.run(command)
    assert_stopped(ended, place.copy(folder, tmp_path / "stopped"), reference(target), "no space")
    assert place.left() == []
    place.enlarge(folder, "64m")
    place.run([*command, "--unlock"])
    ended = place.run([*command, "--rerun-incomplete"])
    assert ended.status == 0, ended.output
    assert results_of(place.copy(folder, tmp_path / "ended")) == reference(target).results


def test_two_runs_in_one_directory(place, reference, tmp_path):
    target = "timeseries"  # who refuses knows nothing of targets
    folder = prepare(reference(target), tmp_path / "work")
    command = command_for(target, folder)
    both = [place.start(command) for _ in range(2)]
    ended = sorted((process.communicate(timeout=600)[0], process.returncode) for process in both)
    statuses = sorted(status for _, status in ended)
    output = "\n".join(output for output, _ in ended)
    assert statuses == [0, 1], output
    assert "Traceback" not in output
    refused = next(output for output, status in ended if status)
    assert "Directory cannot be locked" in refused
    assert str(folder) in refused
    assert results_of(folder) == reference(target).results
    assert_no_traceback(folder, type("Ended", (), {"output": ""}))


@pytest.mark.slow
def test_two_runs_on_two_directories_share_the_data(place, reference, tmp_path):
    """Both targets at once, on the same runs and atlas."""
    data = reference("all").data
    both = {}
    for target in TARGETS:
        folder = tmp_path / target
        folder.mkdir()
        (folder / "data").symlink_to(data)
        both[target] = place.start(command_for(target, folder, cores=1))
    for target, process in both.items():
        output, _ = process.communicate(timeout=600)
        assert process.returncode == 0, output
        assert results_of(tmp_path / target) == reference(target).results
    assert place.left() == []


@EACH
def test_memory_runs_out(place, reference, tmp_path, target):
    """Less than what Snakemake leaves: the kernel kills the job, which is told, and the workflow ends in order."""
    folder = prepare(reference(target), tmp_path / "work")
    with memory_limit(12) as group:
        sitecustomize = f"""
import sys
if any(name.endswith(("extract_regions.py", "extract_timeseries.py")) for name in sys.orig_argv):
    open({str(group)!r}, "w").write("0")
"""
        (tmp_path / "limit").mkdir()
        (tmp_path / "limit/sitecustomize.py").write_text(sitecustomize)
        ended = place.run(command_for(target, folder), PYTHONPATH=str(tmp_path / "limit"))
        assert_stopped(ended, folder, reference(target), "memory")
    assert place.wait_until_empty() == []
    assert place.left() == []
    assert_ends_well(place, folder, reference(target))
