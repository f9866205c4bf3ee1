"""What the experiments work on: made by the workflow itself, once, and kept for the next time."""

import csv
import logging
import os
import shutil
import subprocess
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from benchmarks.bench import SCRIPTS, Bench, Command
from roistream.errors import UserError
from roistream.strategies import STRATEGIES

logger = logging.getLogger("roistream")

IMAGE = "large_fmri_bold.nii.gz"


@dataclass(frozen=True)
class Atlas:
    """An atlas: as its authors give it, and what `place_atlas.py` makes of it on the image's grid."""

    original: Path
    labels: Path
    regions: Path
    coverage: Path


@dataclass(frozen=True)
class Data:
    """What the experiments work on.

    Attributes
    ----------
    n_volumes : int
        Volumes of the image.
    runs : list of path
        The subjects' runs.
    image, run_lengths : path
        Their concatenation, and where each run lies in it.
    plain : path
        The same image without compression.
    longer : dict
        Images several times as long, by that number.
    shorter : dict
        Images of the first runs only, by their number, compressed and plain.
    confounds : path
        The subjects' confounds, one below the other: a table for the image.
    half : path
        The concatenation of the first half of the runs.
    study : list of path
        Runs of a study in which each is an image.
    planned : dict
        Folders of studies of many tiny images, by the number of images and of labels.
    atlas, finer_atlas : Atlas
        With 64 and with 444 labels.
    masks, finer_masks : list of path
        Of all 64 labels, and of all of an atlas with 444.
    """

    n_volumes: int
    runs: list[Path]
    image: Path
    run_lengths: Path
    plain: Path
    longer: dict[int, Path]
    shorter: dict[int, tuple[Path, Path]]
    confounds: Path
    half: Path
    study: list[Path]
    planned: dict[tuple[int, int], Path]
    atlas: Atlas
    finer_atlas: Atlas
    masks: list[Path]
    finer_masks: list[Path]

    @property
    def mib(self) -> float:
        """Size of the raw image in MiB."""
        return self.plain.stat().st_size / 2**20

    def readable(self, strategy: str) -> Path:
        """Give the image as the strategy needs it."""
        return self.plain if STRATEGIES[strategy].uncompressed else self.image


def prepare(bench: Bench) -> Data:
    """Let the workflow make image and masks, and make the longer and the plain image; take what is there already."""
    folder, finer = bench.workdir / "workflow", bench.workdir / "workflow-444"
    size = bench.size
    n_volumes = size.n_volumes or "null"
    results = Path("results", "large_fmri")
    targets = [results / "runs.tsv", results / "regions.tsv"]
    run_workflow(folder, targets, n_subjects=size.n_subjects, n_volumes=n_volumes, resolution=64, regions="all")
    # The masks depend on the image's grid alone: two volumes will do.
    run_workflow(finer, targets[1:], n_subjects=1, n_volumes=2, resolution=444, regions="all")
    image = folder / results / IMAGE
    rows = read_rows(folder / targets[0])
    runs = [folder / row["run"] for row in rows]

    def other_length(folder: str, parts: Sequence[Path]) -> Path:
        path = bench.workdir / folder / IMAGE
        if outdated(path, image):
            make(concatenate_runs(bench, parts, path.parent))
        return path

    def decompressed(folder: str, compressed: Path) -> Path:
        path = bench.workdir / folder / image.name.removesuffix(".gz")
        if outdated(path, compressed):
            make(bench.script("decompress_image", [], compressed, path))
        return path

    longer = {factor: other_length(f"times-{factor}", runs * factor) for factor in size.factors}
    shorter = {}
    half = len(runs) // 2
    for n_runs in (1, half):
        compressed = other_length(f"runs-{n_runs}", runs[:n_runs])
        shorter[n_runs] = compressed, decompressed(f"runs-{n_runs}", compressed)
    return Data(
        n_volumes=sum(int(row["n_volumes"]) for row in rows),
        runs=runs,
        image=image,
        run_lengths=folder / targets[0],
        plain=decompressed("plain", image),
        longer=longer,
        shorter=shorter,
        confounds=join_tables(map(confounds_of, runs), bench.workdir / "confounds.tsv"),
        half=shorter[half][0],
        study=prepare_study(bench),
        planned=prepare_plans(bench),
        atlas=place_atlas(folder / "resources/simulated/atlas_scale064_dseg.nii.gz", image, bench.workdir / "placed"),
        finer_atlas=place_atlas(
            finer / "resources/simulated/atlas_scale444_dseg.nii.gz", image, bench.workdir / "placed"
        ),
        masks=[folder / results / f"masks/region-{label}_mask.nii.gz" for label in range(1, 65)],
        finer_masks=[finer / results / f"masks/region-{label}_mask.nii.gz" for label in range(1, 445)],
    )


def prepare_study(bench: Bench) -> list[Path]:
    """Simulate the runs of a study, all of the same length."""
    folder, size = bench.workdir / "workflow-study", bench.size
    table = Path("results/large_fmri/runs.tsv")
    run_workflow(folder, [table], n_subjects=size.n_images, n_volumes=size.study_volumes)
    return [folder / row["run"] for row in read_rows(folder / table)]


def read_rows(table: Path) -> list[dict]:
    """Read a table (TSV)."""
    with table.open(newline="") as stream:
        return list(csv.DictReader(stream, delimiter="\t"))


def prepare_plans(bench: Bench) -> dict[tuple[int, int], Path]:
    """Make the studies that are only planned, by a process of its own, which may load numpy."""
    planned = {}
    for n_images, n_labels in [*[(n_images, 444) for n_images in bench.size.planned], (bench.size.planned[0], 6)]:
        folder = bench.workdir / f"planned-{n_images}-{n_labels}"
        if not (folder / "runs.tsv").exists():
            make(Command([sys.executable, "-m", "benchmarks.many_images", folder, n_images, n_labels], [], folder))
        planned[n_images, n_labels] = folder
    return planned


def place_atlas(atlas: Path, image: Path, folder: Path) -> Atlas:
    """Put an atlas on the image's grid."""
    stem = atlas.name.removesuffix("_dseg.nii.gz")
    placed = Atlas(atlas, *[folder / f"{stem}_{end}" for end in ("dseg.nii.gz", "regions.tsv", "coverage.npy")])
    if outdated(placed.coverage, image):
        folder.mkdir(exist_ok=True)
        words = [sys.executable, SCRIPTS / "place_atlas.py", "--atlas", atlas, "--like", image]
        words += ["--out", placed.labels, "--table", placed.regions, "--coverage", placed.coverage]
        make(Command(words, [], folder))
    return placed


def confounds_of(run: Path) -> Path:
    """Find the confounds of a simulated run."""
    [table] = run.parent.glob("*_regressors.csv")
    return table


def join_tables(tables: Iterable[Path], path: Path) -> Path:
    """Write tables of the same columns one below the other."""
    first, *others = [table.read_text().splitlines() for table in tables]
    path.write_text("\n".join([*first, *[row for table in others for row in table[1:]]]) + "\n")
    return path


def concatenate_runs(bench: Bench, runs: Sequence[Path], folder: Path | None = None) -> Command:
    """Word the concatenation of runs, into a folder of its own by default."""
    out = folder or bench.folder("concatenate_runs")
    options = ["--runs", *runs, "--image", out / IMAGE, "--run-lengths", out / "runs.tsv"]
    return bench.script("concatenate_runs", runs, *options)


def run_workflow(folder: Path, targets: Sequence[Path], **config: object) -> None:
    """Run Snakemake with the embedded default's config but for a few keys."""
    logger.info("Preparing the data in %s.", folder)
    folder.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, "-m", "snakemake", "--snakefile", SCRIPTS.parent / "Snakefile", "--directory", folder]
    command += ["--cores", os.cpu_count(), "--config", *[f"{key}={value}" for key, value in config.items()]]
    log = folder / "snakemake.log"
    with log.open("w") as stream:
        ended = subprocess.run(
            list(map(str, [*command, "--", *targets])), stdin=subprocess.DEVNULL, stdout=stream, stderr=stream
        )
    if ended.returncode:
        raise UserError(f"The workflow could not make the data to measure on; see {log}.")


def make(command: Command) -> None:
    """Run a command without measuring it."""
    subprocess.run(list(map(str, command.words)), check=True)


def outdated(path: Path, source: Path) -> bool:
    """Tell whether a file is missing or older than what it is made from."""
    return not path.exists() or path.stat().st_mtime < source.stat().st_mtime


@contextmanager
def temporary_copy(bench: Bench, image: Path, mib: float) -> Iterator[Path | None]:
    """Make an uncompressed copy for a while; None where the disk has no room for it."""
    plain = bench.workdir / "plain-long" / image.name.removesuffix(".gz")
    if shutil.disk_usage(bench.workdir).free < 1.2 * mib * 2**20:
        logger.warning("No room on the disk for %s; what needs it is left out.", plain)
        yield None
        return
    try:
        make(bench.script("decompress_image", [], image, plain))
        yield plain
    finally:
        plain.unlink(missing_ok=True)
