"""Small data, Snakemake as a child process, and the complete run that several test modules look at."""

import os
import re
import shutil
import signal
import subprocess
import sys
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import yaml

from conftest import ROOT, save_run

TIMEOUT_S = 900
"""No run takes a tenth of it on a quiet machine; it is there so that a hanging one ends at all."""

GRID = (12, 13, 11)
LENGTHS = {"a1": 10, "a2": 7, "b": 8}
T_R = 2.5

ATLAS_GRID = (16, 17, 15)
ATLAS_AFFINE = np.array([[2.5, 0, 0, -26], [0, 2.5, 0, -13], [0, 0, 2.5, -6.8], [0, 0, 0, 1]])
BLOCKS = {
    1: np.s_[1:5, 1:5, 1:6],
    2: np.s_[1:5, 7:12, 1:6],
    3: np.s_[6:11, 1:5, 1:6],
    5: np.s_[6:11, 7:12, 1:6],
    8: np.s_[5:6, 6:9, 2:5],
    13: np.s_[1:11, 3:9, 11:15],
}
"""The atlas's labels. Label 8 is one sheet that no voxel of the runs' grid meets; half of 13 lies above the runs."""

NAMES = {label: f"Gebiet {label}, größer" for label in BLOCKS}


@dataclass(frozen=True)
class SmallData:
    """Runs, atlas and tables on disk."""

    folder: Path

    @property
    def runs(self):
        return {"a1": self.folder / "a1.nii.gz", "a2": self.folder / "lauf 2 ä.nii", "b": self.folder / "b.nii.gz"}

    @property
    def atlas(self):
        return self.folder / "atlas.nii.gz"

    @property
    def labels(self):
        return self.folder / "labels.tsv"

    @property
    def table(self):
        return self.folder / "runs.tsv"


def save_small_data(folder):
    """Save three runs of two images, an atlas on another grid, and the tables that name them."""
    data = SmallData(folder)
    folder.mkdir(parents=True)
    rng = np.random.default_rng(7)
    for name, path in data.runs.items():
        values = rng.standard_normal((*GRID, LENGTHS[name])) * 50 + 100
        save_run(path, values.astype(np.int16 if name == "b" else np.float32), t_r=T_R)
    save_atlas(data.atlas, BLOCKS)
    data.labels.write_text("index\tname\n" + "".join(f"{label}\t{name}\n" for label, name in NAMES.items()), "utf-8")
    write_table(data.table, [("first", data.runs["a1"].name), ("first", data.runs["a2"].name), ("second", "b.nii.gz")])
    return data


def save_atlas(path, blocks, affine=ATLAS_AFFINE):
    labels = np.zeros(ATLAS_GRID, np.int16)
    for label, block in blocks.items():
        labels[block] = label
    nib.Nifti1Image(labels, affine).to_filename(path)
    return path


def write_table(path, rows):
    """Write a runs table without confounds."""
    path.write_text("image\trun\n" + "".join(f"{image}\t{run}\n" for image, run in rows), "utf-8")
    return path


@pytest.fixture(scope="session")
def small_data(tmp_path_factory):
    """Small data that no test may change."""
    return save_small_data(tmp_path_factory.mktemp("inputs") / "data")


@dataclass(frozen=True)
class Ended:
    """How a command ended, and what a user saw of it."""

    status: int
    output: str

    @property
    def errors(self):
        """The sentences of what failed."""
        return [line.removeprefix("ERROR: ") for line in self.output.splitlines() if line.startswith("ERROR: ")]


def snakemake_command(folder, *arguments, config=None, cores=2, root=ROOT):
    """Word the command line of a run in `folder`; `config` becomes a config file that holds nothing else."""
    command = [sys.executable, "-m", "snakemake", "--snakefile", root / "Snakefile", "--directory", folder]
    command += ["--cores", cores, "--nocolor", *arguments]
    if config is not None:
        folder.mkdir(parents=True, exist_ok=True)
        settings = folder / "settings.yaml"
        settings.write_text(yaml.safe_dump(plain(config), allow_unicode=True), "utf-8")
        command += ["--configfile", settings]
    return list(map(str, command))


def plain(value):
    """Turn paths into text, which is what YAML can hold."""
    if isinstance(value, dict):
        return {key: plain(inner) for key, inner in value.items()}
    return str(value) if isinstance(value, Path) else value


def start_snakemake(command, marker=None, **options):
    """Start a command in a session of its own; `marker` goes into the environment of it and of all its descendants."""
    environment = {key: value for key, value in os.environ.items() if not key.startswith("SNAKEMAKE_")}
    if marker:
        environment["ROISTREAM_TEST"] = marker
    return subprocess.Popen(
        command,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        encoding="utf-8",
        errors="replace",
        start_new_session=True,
        **options,
    )


def finish(process):
    """Wait for the end of a process, and end the whole session of what hangs."""
    try:
        output, _ = process.communicate(timeout=TIMEOUT_S)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        output, _ = process.communicate()
        pytest.fail(f"hung for {TIMEOUT_S} s:\n{output}")
    return Ended(process.returncode, output)


def snakemake(folder, *arguments, config=None, cores=2, root=ROOT, **options):
    """Run Snakemake in `folder` to its end."""
    return finish(
        start_snakemake(snakemake_command(folder, *arguments, config=config, cores=cores, root=root), **options)
    )


@dataclass(frozen=True)
class Job:
    """A job as a dry run announces it; its command only with --printshellcmds."""

    rule: str
    details: dict
    command: str | None

    def files(self, kind):
        """List its input, output or log files."""
        return self.details[kind].split(", ")

    @property
    def wildcards(self):
        return dict(pair.split("=") for pair in self.details.get("wildcards", "").split(", ") if pair)

    @property
    def image(self):
        return self.wildcards.get("image")


def plan(folder, *arguments, **options):
    """Make a dry run and list the jobs that it plans, without the target."""
    ended = snakemake(folder, "--dry-run", *arguments, **options)
    assert ended.status == 0, ended.output
    jobs = [
        Job(announced[1], dict(re.findall(r"^    (\w+): (.*)$", announced[2], re.MULTILINE)), announced[3])
        for announced in re.finditer(
            r"^(?:local)?rule (\w+):\n((?:    .*\n)+)(?:Shell command: (.*)\n)?", ended.output, re.MULTILINE
        )
    ]
    total = re.search(r"^total +(\d+)$", ended.output, re.MULTILINE)
    assert len(jobs) == (int(total[1]) if total else 0), ended.output
    assert jobs or "Nothing to be done" in ended.output
    return [job for job in jobs if job.rule not in ("all", "timeseries")]


def side_by_side(function, cases):
    """Call a function, which waits for a child process, for each case; two at a time. Gives results by case."""
    with ThreadPoolExecutor(2) as pool:
        return dict(zip(cases, pool.map(function, cases), strict=True))


def counts(jobs):
    """Count the jobs of each rule."""
    return dict(Counter(job.rule for job in jobs))


def copy_project(folder):
    """Copy what the workflow consists of; modification times too, at which Snakemake looks."""
    folder.mkdir(parents=True)
    for name in ("Snakefile", "config.yaml"):
        shutil.copy2(ROOT / name, folder)
    for name in ("workflow", "scripts", "envs"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    return folder


def files_below(folder):
    """List all files, relative to `folder`."""
    return {path.relative_to(folder) for path in folder.rglob("*") if not path.is_dir()}


def assert_no_traceback(folder, ended):
    """Look for tracebacks in the output and in every log."""
    assert "Traceback" not in ended.output
    for log in [*folder.glob("logs/**/*.log"), *folder.glob(".snakemake/log/*")]:
        assert "Traceback" not in log.read_text("utf-8"), log


COMPLETE = {
    "dataset": "Daten 1/runs.tsv",
    "atlas": "Daten 1/atlas.nii.gz",
    "atlas_labels": "Daten 1/labels.tsv",
    "regions": [5, 1, 13],
    "n_jobs": 1,
}
"""The config of the complete run; paths are relative to its working directory. One worker: imports take most of the time."""


@dataclass(frozen=True)
class CompleteRun:
    """A run to look at: `given` are the files that were there before it."""

    folder: Path
    data: SmallData
    given: set
    ended: Ended

    def results(self, image):
        return self.folder / "results" / image


@pytest.fixture(scope="session")
def complete_run(tmp_path_factory):
    """Run all strategies on two images, in a folder that is not the project's, with a space and an umlaut in its name."""
    folder = tmp_path_factory.mktemp("complete") / "Übung 1"
    data = save_small_data(folder / "Daten 1")
    command = snakemake_command(folder, config=COMPLETE, cores=2)
    given = files_below(folder)
    return CompleteRun(folder, data, given, finish(start_snakemake(command, cwd=tmp_path_factory.getbasetemp())))


@pytest.fixture(scope="session")
def simulated_run(tmp_path_factory):
    """Run the embedded default, made small; look but do not touch."""
    folder = tmp_path_factory.mktemp("simulated")
    ended = snakemake(folder, "--config", "n_subjects=2", "n_volumes=3", "strategies=[numpy_path]")
    assert ended.status == 0, ended.output
    return folder
