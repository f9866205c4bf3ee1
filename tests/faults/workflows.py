"""Both targets on small data inside a machine, killed at random moments and continued; the soak and its tests use it."""

import shutil
import time
from dataclasses import dataclass
from pathlib import Path

from faults.kills import run_and_kill
from workflow.conftest import save_small_data, snakemake_command

STRATEGIES = ["stream", "shared_memory", "numpy_in_memory", "mmap"]
"""Each way of holding an image; those left out would take most of the time, and differ in what they import."""

TARGETS = {
    "all": {"strategies": STRATEGIES, "n_jobs": 2},
    "timeseries": {"statistics": ["mean", "standard_deviation"], "save_voxels": True},
}
"""What each target is asked for beside the data."""

UNLIKE = (".json", ".png", ".svg")
"""Endings of files that hold times and memory, which differ from run to run."""


def command_for(target, folder, *more, cores=2):
    """Word the command of a target in a folder with `save_inputs`."""
    config = {
        "dataset": "data/runs.tsv",
        "atlas": "data/atlas.nii.gz",
        "atlas_labels": "data/labels.tsv",
        "regions": [5, 1, 13],
        **TARGETS[target],
    }
    return snakemake_command(folder, target, *more, config=config, cores=cores)


def results_of(folder):
    """Read whatever has a name of a result and would be the same each time."""
    found = {}
    for top in ("results", "derivatives"):
        for path in sorted((folder / top).rglob("*")):
            name = path.relative_to(folder)
            hidden = any(part.startswith(".") for part in name.parts)
            tells_of_memory = "memory" in path.name or path.name == "study.tsv"
            if path.is_file() and not hidden and not tells_of_memory and path.suffix not in UNLIKE:
                found[str(name)] = path.read_bytes()
    return found


@dataclass(frozen=True)
class Reference:
    """What an undisturbed run of a target gives, and how long it took."""

    target: str
    data: Path
    results: dict
    duration_s: float


def make_reference(place, target, folder):
    """Run a target undisturbed."""
    data = save_small_data(folder / "data").folder
    begin = time.monotonic()
    ended = place.run(command_for(target, folder))
    assert ended.status == 0, ended.output
    duration_s = time.monotonic() - begin
    found = results_of(folder)
    assert any(name.endswith(".npy") for name in found)
    # The table of the compared images' memory is looked at, too: it must be there.
    assert (folder / ("results/study_memory.tsv" if target == "all" else "derivatives/roistream/study.tsv")).exists()
    return Reference(target, data, found, duration_s)


@dataclass(frozen=True)
class Trial:
    """What happened in one trial."""

    killed: str | None
    moment_s: float
    status: int
    n_results: int
    n_attempts: int


def assert_nothing_left(place, killed):
    """Nothing lies in /dev/shm or among the temporary files; but who is killed cannot remove its own empty folder."""
    left = place.left()
    if killed == "snakemake":
        for path in list(left):
            if path.name.startswith("snakemake") and path.is_dir():
                path.rmdir()  # fails if there is something in it
                left.remove(path)
    assert not left, [str(path) for path in left]


def assert_trial(place, reference, folder, rng):
    """Start a target from nothing, kill one of its processes, look at what is left, and continue to the end."""
    folder.mkdir(parents=True)
    shutil.copytree(reference.data, folder / "data")
    command = command_for(reference.target, folder)
    killed, moment_s, ended = run_and_kill(place, command, rng, reference.duration_s)
    assert "Traceback" not in ended.output, ended.output
    assert place.wait_until_empty() == []
    assert_nothing_left(place, killed)
    before = results_of(folder)
    for name in before.keys() & reference.results.keys():  # the others are copies that go when they have been used
        assert before[name] == reference.results[name], f"{name} looks finished, and is not what it should be"
    if ended.status and killed != "snakemake":
        assert "ERROR" in ended.output or "Error" in ended.output, ended.output
    n_attempts = 0
    if ended.status:
        if killed == "snakemake":
            assert place.run(command_for(reference.target, folder, "--unlock")).status == 0
            command = command_for(reference.target, folder, "--rerun-incomplete")
        n_attempts = 1
        ended = place.run(command)
        assert ended.status == 0, ended.output
    assert results_of(folder) == reference.results
    assert place.wait_until_empty() == []
    assert place.left() == []
    assert not list(folder.glob("[rd]*/**/.partial-*"))
    return Trial(killed, moment_s, ended.status, len(before), n_attempts)
