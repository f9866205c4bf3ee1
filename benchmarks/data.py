"""What the experiments work on: made by the workflow itself, once, and kept for the next time."""

import csv
import logging
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from benchmarks.bench import SCRIPTS, Bench, Command
from roistream.errors import UserError
from roistream.strategies import STRATEGIES

logger = logging.getLogger("roistream")


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
    atlas, resampled : path
        64 labels, on their own grid and on the image's.
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
    atlas: Path
    resampled: Path
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
    image = folder / results / "large_fmri_bold.nii.gz"
    with (folder / targets[0]).open(newline="") as stream:
        rows = list(csv.DictReader(stream, delimiter="\t"))
    runs = [folder / row["run"] for row in rows]

    def other_length(folder: str, parts: Sequence[Path]) -> Path:
        path = bench.workdir / folder / image.name
        if outdated(path, image):
            make(bench.function("concatenate_runs", runs=parts, image=path, run_lengths=path.with_name("runs.tsv")))
        return path

    def decompressed(folder: str, compressed: Path) -> Path:
        path = bench.workdir / folder / image.name.removesuffix(".gz")
        if outdated(path, compressed):
            make(bench.function("decompress_image", compressed=compressed, plain=path))
        return path

    longer = {factor: other_length(f"times-{factor}", runs * factor) for factor in size.factors}
    shorter = {}
    for n_runs in (1, len(runs) // 2):
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
        atlas=folder / "resources/simulated/atlas_scale064_dseg.nii.gz",
        resampled=folder / results / "atlas_dseg.nii.gz",
        masks=[folder / results / f"masks/region-{label}_mask.nii.gz" for label in range(1, 65)],
        finer_masks=[finer / results / f"masks/region-{label}_mask.nii.gz" for label in range(1, 445)],
    )


def run_workflow(folder: Path, targets: Sequence[Path], **config) -> None:
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
        make(bench.function("decompress_image", compressed=image, plain=plain))
        yield plain
    finally:
        plain.unlink(missing_ok=True)
