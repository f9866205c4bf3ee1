"""A real SLURM on this machine, small images, and what the scheduler remembers of the jobs."""

import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import yaml

from conftest import AFFINE, ROOT, save_run
from workflow.conftest import finish, snakemake, start_snakemake, write_table

REQUIRED = os.environ.get("ROISTREAM_REQUIRE_CLUSTER") == "1"
"""Where a cluster has to be there, as in CI, the lack of it is a failure."""

SCRIPT = Path(__file__).parent / "cluster.sh"
PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "squeue", "scancel")
PROFILES = ROOT / "workflow" / "profiles"

OVERHEAD_MIB = int(
    dict(pair.split("=") for pair in yaml.safe_load((PROFILES / "slurm/config.yaml").read_text())["default-resources"])[
        "job_overhead"
    ]
)

QUICK = {
    "slurm": ["--slurm-no-account", "--slurm-init-seconds-before-status-checks", 3],
    "cluster-generic": ["--seconds-between-status-checks", 2],
}
"""What this cluster has not, and how often a test looks; everything else is as the profile says."""

TOGETHER = 10
"""Images whose short jobs share a submission, by the profile; they run one after the other in it."""

GRID = (10, 11, 9)
REGIONS = 6


@pytest.fixture(scope="session")
def slurm(tmp_path_factory):
    """Start SLURM, and stop it in the end."""
    missing = [program for program in PROGRAMS if not shutil.which(program)]
    lack = f"{missing[0]} is missing: tests/cluster/cluster.sh install" if missing else None
    if os.geteuid() != 0:
        lack = "SLURM is started as root only"
    if lack:
        (pytest.fail if REQUIRED else pytest.skip)(lack)
    folder = tmp_path_factory.mktemp("slurm")
    started = subprocess.run([SCRIPT, "up", folder], capture_output=True, text=True, timeout=300, check=False)
    if started.returncode and not REQUIRED and "another cluster's" in started.stderr:
        pytest.skip(started.stderr)
    assert started.returncode == 0, started.stderr
    yield folder
    subprocess.run([SCRIPT, "down", folder], timeout=300, check=True)


@dataclass(frozen=True)
class Submission:
    """A job as SLURM remembers it. Name and comment tell the run and what was submitted."""

    id: str
    name: str
    comment: str
    state: str
    mem_mib: int
    cpus: int
    start: datetime | None
    end: datetime | None

    def overlaps(self, other):
        return self.start < other.end and other.start < self.end


WIDTH = 200
"""Of a column in the list of jobs."""


def submissions(name):
    """List the jobs of a name, those that have ended too, in the order of their submission."""
    fields = ("JobID", "Name", "Comment", "State", "MinMemory", "NumCPUs", "StartTime", "EndTime")
    columns = ",".join(f"{field}:{WIDTH}" for field in fields)
    listed = subprocess.run(
        ["squeue", "--noheader", "--states=all", f"--name={name}", "--sort=i", "--Format", columns],
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    ).stdout.splitlines()
    rows = [[line[WIDTH * k : WIDTH * (k + 1)].strip() for k in range(len(fields))] for line in listed]
    return [
        Submission(
            *row[:4],
            mebibytes(row[4]),
            int(row[5]),
            *(None if t == "N/A" else datetime.fromisoformat(t) for t in row[6:]),
        )
        for row in rows
    ]


def mebibytes(text):
    """Read SLURM's numbers, which have a unit."""
    number, unit = re.fullmatch(r"([0-9.]+)([MG])", text).groups()
    return round(float(number) * {"M": 1, "G": 1024}[unit])


def run_names(output):
    """List the names that SLURM knows the jobs of a run by, from what Snakemake has printed."""
    return re.findall(r"SLURM run ID: (\S+)", output)


def submissions_of(ended):
    [name] = run_names(ended.output)
    return submissions(name)


def command(folder, profile, *arguments, root=ROOT):
    """Word a run of the study in `folder` through a profile."""
    words = [sys.executable, "-m", "snakemake", "--snakefile", root / "Snakefile", "--nocolor"]
    words += ["--directory", folder, "--configfile", folder / "study.yaml", "--profile", PROFILES / profile]
    return list(map(str, [*words, *QUICK[profile], *arguments]))


def run(folder, profile, *arguments):
    """Run the study in `folder` through a profile, to its end."""
    return finish(start_snakemake(command(folder, profile, *arguments)))


def save_study(folder, n_images, strategies=("stream",)):
    """Save small images as float32 and as scaled int16, of varying lengths, an atlas on their grid, and the config."""
    folder.mkdir(parents=True)
    rng = np.random.default_rng(n_images)
    rows = []
    for number in range(n_images):
        values = 100 + rng.standard_normal((*GRID, 5 + number % 7))
        if number % 2:
            run = nib.Nifti1Image((values * 50).astype(np.int16), AFFINE)
            run.header.set_xyzt_units("mm", "sec")
            run.header["pixdim"][4] = 2
            run.header.set_slope_inter(0.02, 3)
            run.to_filename(folder / f"run-{number}.nii.gz")
        else:
            save_run(folder / f"run-{number}.nii.gz", values.astype(np.float32))
        rows.append((f"sub-{number:02}", f"run-{number}.nii.gz"))
    write_table(folder / "runs.tsv", rows)
    labels = np.zeros(GRID, np.int16)
    labels[1:9, 1:10, 1:8] = rng.integers(1, REGIONS + 1, (8, 9, 7))
    nib.Nifti1Image(labels, AFFINE).to_filename(folder / "atlas.nii.gz")
    write_config(folder, strategies=list(strategies))
    return folder


def write_config(folder, **changes):
    config = {"dataset": "runs.tsv", "atlas": "atlas.nii.gz", "regions": REGIONS, "n_jobs": 1, **changes}
    (folder / "study.yaml").write_text(yaml.safe_dump(config), "utf-8")


def local_copy(folder, copy, *arguments):
    """Run the study of `folder` in a copy, on this machine."""
    made = shutil.ignore_patterns("results", "derivatives", "resources", "logs", ".snakemake")
    shutil.copytree(folder, copy, ignore=made)
    ended = snakemake(copy, *arguments, "--configfile", copy / "study.yaml")
    assert ended.status == 0, ended.output
    return copy


def time_series(folder):
    """Read all time series below a folder, by their paths in it."""
    return {path.relative_to(folder): np.load(path) for path in sorted(folder.glob("results/*/*/*_timeseries.npy"))}


def assert_same_results(folder, expected):
    ours, theirs = time_series(folder), time_series(expected)
    assert ours.keys() == theirs.keys() != set()
    assert [path for path in ours if not np.array_equal(ours[path], theirs[path])] == []
    for table in expected.glob("results/*/*/timeseries.tsv"):
        assert (folder / table.relative_to(expected)).read_bytes() == table.read_bytes()
    assert list(folder.glob("results/**/.partial-*")) == []
    comparisons = {path.relative_to(folder) for path in folder.glob("results/*/memory_comparison.*")}
    assert comparisons == {path.relative_to(expected) for path in expected.glob("results/*/memory_comparison.*")}


def assert_same_study(folder, expected):
    """Compare the derivatives of two runs: the same files, and the same bytes in all tables of images."""
    ours, theirs = (
        {path.relative_to(below) for path in below.glob("derivatives/**/*") if path.is_file()}
        for below in (folder, expected)
    )
    assert ours == theirs != set()
    tables = [path for path in theirs if path.suffix == ".tsv" and path.name != "study.tsv"]
    assert [path for path in tables if (folder / path).read_bytes() != (expected / path).read_bytes()] == []
    assert "\tmissing\t" not in (folder / "derivatives/roistream/study.tsv").read_text("utf-8")
