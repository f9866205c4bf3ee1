"""Measure commands in turn, several times, under the same conditions; what `benchmarks` is built from."""

import filecmp
import importlib.metadata
import json
import logging
import math
import os
import platform
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from roistream.errors import UserError
from roistream.memory.measure import measure

logger = logging.getLogger("roistream")

SCRIPTS = Path(__file__).resolve().parents[1] / "scripts"
FACTS = ("strategy", "n_jobs", "n_regions", "n_volumes", "image_mib", "predicted_mib")
"""What is kept of an extraction's summary; it also names files of this machine."""
PACKAGES = ("numpy", "scipy", "nibabel", "nilearn", "joblib", "isal", "snakemake")

INTERVAL_S, SELDOM_S = 0.05, 0.5
SELDOM = ("nifti_masker_path", "nifti_masker_in_memory", "numpy_path")
"""How often memory is looked at. The workers of some strategies each hold an image, and need all cores: a look at so much
memory takes a good part of a second of one core, and would often enough prolong what it looks at."""


@dataclass(frozen=True)
class Size:
    """How much is measured.

    Attributes
    ----------
    n_subjects : int
        Subjects, whose runs are concatenated.
    n_volumes : int or None
        Volumes of each run; None for the lengths of the ADHD runs.
    n_regions, n_jobs : int
        Regions to extract, and workers that do it, unless an experiment says otherwise.
    factors : tuple of int
        How many times longer the longer images are.
    n_images, study_volumes : int
        Images of the study that is carried out, and volumes of each.
    planned : tuple of int
        Images of the studies that are only planned.
    """

    n_subjects: int
    n_volumes: int | None
    n_regions: int
    n_jobs: int
    factors: tuple[int, ...]
    n_images: int
    study_volumes: int
    planned: tuple[int, ...]


FULL = Size(
    6, n_volumes=None, n_regions=6, n_jobs=6, factors=(4, 10), n_images=12, study_volumes=176, planned=(1000, 10_000)
)
QUICK = Size(4, n_volumes=6, n_regions=2, n_jobs=2, factors=(2, 3), n_images=3, study_volumes=6, planned=(2, 3))


@dataclass(frozen=True)
class Limit:
    """A hard limit: address space of each process in MiB, and seconds for all of them."""

    address_space_mib: int
    seconds: int


@dataclass(frozen=True)
class Command:
    """A command to measure.

    Attributes
    ----------
    words : sequence
        Program and arguments.
    reads : sequence of path
        Files to have in the page cache before it starts.
    writes : path
        The folder of its results, made anew before it starts.
    interval_s : float
        Pause between two looks at its memory, in seconds.
    """

    words: Sequence
    reads: Sequence[Path]
    writes: Path
    interval_s: float = INTERVAL_S


@dataclass(frozen=True)
class Bench:
    """How and where to measure.

    Attributes
    ----------
    workdir : path
        Where data and results lie.
    repeats : int
        How often everything is measured.
    size : Size
        How much of everything.
    """

    workdir: Path
    repeats: int
    size: Size

    def rounds(
        self,
        title: str,
        commands: dict[str, Command],
        limit: Limit | None = None,
        repeats: int | None = None,
        unwatched: bool = False,
    ) -> list[dict]:
        """Measure all commands in turn, then all of them again, so that a drift of the machine hits all alike.

        Parameters
        ----------
        title : str
            Of the experiment, for the log.
        commands : dict
            The commands by the names of their rows in the report.
        limit : Limit, optional
            Measure once, under this limit; a command may then fail.
        repeats : int, optional
            How often everything is measured, if not so often as the rest.
        unwatched : bool
            Take the wall from a run of its own, before the one whose memory is looked at: twenty looks in a second take a
            part of a core, and prolong a command of a second or two that has work for all of them.

        Returns
        -------
        list of dict
            A row for each command: ``name``, what an extraction says of itself, and ``runs``.

        Raises
        ------
        UserError
            A command failed.
        """
        rows: dict[str, dict[str, Any]] = {name: {"name": name, "runs": []} for name in commands}
        repeats = 1 if limit else repeats or self.repeats
        for repeat in range(repeats):
            for name, command in commands.items():
                wall_s = self.time_once(command) if unwatched else None
                run = self.measure_once(command, limit) | ({"wall_s": rounded(wall_s)} if wall_s else {})
                if run["exit_status"] and not limit:
                    raise UserError(f"{title}: {name} failed with exit status {run['exit_status']}: {run['message']}")
                rows[name] |= facts_of(command.writes)
                rows[name]["runs"].append(run)
                peak, wall = run["peak_pss_mib"] or math.nan, run["wall_s"]
                logger.info("%s, round %d/%d: %s: %.1f MiB, %.2f s.", title, repeat + 1, repeats, name, peak, wall)
        return list(rows.values())

    def time_once(self, command: Command) -> float:
        """Give the seconds that one command takes while nobody looks at it; what it says is seen in the measured run."""
        make_ready(command)
        start_s = time.monotonic()
        subprocess.run(list(map(str, command.words)), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        return time.monotonic() - start_s

    def measure_once(self, command: Command, limit: Limit | None) -> dict:
        """Measure one command once."""
        make_ready(command)
        log = command.writes / "stderr.log"
        shell = 'exec "$@" >/dev/null 2>"$0"'
        if limit:
            shell = f'ulimit -v {limit.address_space_mib * 1024} && exec timeout -k 10 {limit.seconds} "$@" >/dev/null 2>"$0"'
        measured = measure(["/bin/sh", "-c", shell, str(log), *map(str, command.words)], command.interval_s)
        said = log.read_text(errors="replace").replace(f"{self.workdir}/", "")
        loud = [line for line in said.splitlines() if line.strip() and not line.startswith("INFO: ")]
        return {
            "peak_pss_mib": rounded(measured.peak_pss_mib),
            "peak_rss_mib": rounded(measured.peak_rss_mib),
            "peak_shm_mib": rounded(measured.peak_shm_mib),
            "wall_s": rounded(measured.wall_s),
            "output_mib": rounded(sum(path.stat().st_size for path in command.writes.glob("*.np[yz]")) / 2**20),
            "exit_status": measured.exit_status,
            "message": loud[-1] if loud else "",
            "n_lines": len(loud),
        }

    def extraction(
        self, strategy: str, image: Path, masks: Sequence[Path], n_jobs: int | None = None, options: Sequence = ()
    ) -> Command:
        """Word the extraction of regions."""
        out = self.folder(f"{strategy}-{image.parent.name}-{len(masks)}")
        words = [sys.executable, SCRIPTS / "extract_regions.py", "--strategy", strategy, "--image", image]
        words += ["--masks", *masks, "--out", out, "--n-jobs", n_jobs or self.size.n_jobs, *options]
        return Command(words, [image], out, SELDOM_S if strategy in SELDOM else INTERVAL_S)

    def script(self, name: str, reads: Sequence[Path], *options: object) -> Command:
        """Word the call of the script of a rule; its results go below the folder of its name."""
        return Command([sys.executable, SCRIPTS / f"{name}.py", *options], reads, self.folder(name))

    def folder(self, name: str) -> Path:
        """Give the folder of a command's results."""
        return self.workdir / "out" / name


def facts_of(folder: Path) -> dict:
    """Read what an extraction says of its size; nothing of other programs."""
    summary, sidecar = folder / "extraction.json", folder / "image_stat-mean_timeseries.json"
    if summary.exists():
        said = json.loads(summary.read_text())
        return {key: said[key] for key in FACTS}
    if sidecar.exists():
        said = json.loads(sidecar.read_text())
        return {"n_jobs": 1, "n_volumes": said["NumberOfVolumes"], "predicted_mib": said["PredictedPeakMiB"]}
    return {}


def make_ready(command: Command) -> None:
    """Have a command's input in the page cache, its folder empty, and nothing left to be written to the disk."""
    shutil.rmtree(command.writes, ignore_errors=True)
    command.writes.mkdir(parents=True)
    for path in command.reads:
        read_once(path)
    os.sync()


def read_once(path: Path) -> None:
    """Read a file from end to end, so that it is in the page cache."""
    with path.open("rb", buffering=0) as stream:
        while stream.read(2**20):
            pass


def rounded(number: float) -> float | None:
    """Three decimals; None, which JSON can tell, for NaN, which it cannot."""
    return None if math.isnan(number) else round(number, 3)


def describe_machine() -> dict:
    """Tell what the figures depend on, without the name of the machine."""
    models = [line for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("model name")]
    return {
        "cpu": models[0].partition(":")[2].strip() if models else platform.machine(),
        "cores": len(os.sched_getaffinity(0)),
        "memory_gib": round(psutil.virtual_memory().total / 2**30, 1),
        "system": f"Linux {platform.release().partition('-')[0]}",
        "python": platform.python_version(),
        **{package: importlib.metadata.version(package) for package in PACKAGES},
    }


def same_time_series(first: Path, second: Path) -> bool:
    """Tell whether two folders hold the same regions' time series, to the last bit."""
    names = sorted(path.name for path in first.glob("*.npy"))
    if not names or names != sorted(path.name for path in second.glob("*.npy")):
        return False
    return all(filecmp.cmp(first / name, second / name, shallow=False) for name in names)
