"""Measure speed and memory of the strategies and of the workflow's other parts, against the bars they must hold.

    python -m benchmarks --out docs      (or: make benchmark)

Every figure comes from a fresh process that `roistream.memory.measure` watches from outside. Each experiment below is
a function that gives the runs of its commands; `benchmarks.report` knows the bars and words the report.

This program itself must not load numpy and the like before everything is measured: a page of a library that two
processes use counts for each of them by half, and the measured ones would look smaller than they are.
"""

import argparse
import csv
import datetime
import json
import logging
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

import psutil

from benchmarks.bench import SCRIPTS, Bench, Command, Limit, Size, describe_machine, same_time_series
from roistream.errors import UserError
from roistream.outputs import whole_file
from roistream.reporting import reporting
from roistream.strategies import STRATEGIES

logger = logging.getLogger("roistream")

FULL = Size(n_subjects=6, n_volumes=None, n_regions=6, n_jobs=6, factors=(4, 10))
QUICK = Size(n_subjects=4, n_volumes=6, n_regions=2, n_jobs=2, factors=(2, 3))

CLEANING = ("--smoothing-fwhm=6", "--detrend", "--high-pass=0.01", "--standardize=zscore_sample")
CLEANING_JOBS = 2
"""NiftiMasker takes more than 3 GiB for each of them."""

LIMIT = Limit(address_space_mib=1024, seconds=600)
LIMIT_JOBS = 2

LABELS_MASKER = """
import sys, numpy
from nilearn.maskers import NiftiLabelsMasker
image, atlas, out = sys.argv[1:]
numpy.save(out, NiftiLabelsMasker(atlas, standardize=None, reports=False).fit_transform(image))
"""

CONCAT_IMGS = """
import sys
from nilearn.image import concat_imgs
concat_imgs(sys.argv[2:]).to_filename(sys.argv[1])
"""


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


def strategies(bench: Bench, data: Data) -> list[dict]:
    """Let every strategy extract the regions; beside them plain decompression as the floor, and nilearn's own single pass."""
    commands = {
        f"{program} -dc": Command([path, "-dc", data.image], [data.image], bench.folder(program))
        for program in ("gzip", "igzip")
        if (path := shutil.which(program))
    }
    out = bench.folder("labels_masker")
    words = [sys.executable, "-c", LABELS_MASKER, data.image, data.resampled, out / "means.npy"]
    commands["NiftiLabelsMasker"] = Command(words, [data.image], out)
    for name in STRATEGIES:
        commands[name] = bench.extraction(name, data.readable(name), data.masks[: bench.size.n_regions])
    rows = bench.rounds("strategies", commands)
    folders = [commands[name].writes for name in STRATEGIES]
    for row in rows:
        if row["name"] in STRATEGIES:
            row["identical"] = same_time_series(folders[0], commands[row["name"]].writes)
    return rows


def growth(bench: Bench, data: Data) -> list[dict]:
    """Let `stream` work on ever longer images and ever more regions."""
    few = data.masks[: bench.size.n_regions]
    cases = [(1, data.image, few), *[(factor, image, few) for factor, image in data.longer.items()]]
    cases += [(1, data.image, data.masks), (1, data.image, data.finer_masks)]
    commands = {
        f"{factor * data.n_volumes:,} volumes, {len(masks)} regions": bench.extraction("stream", image, masks)
        for factor, image, masks in cases
    }
    return bench.rounds("growth", commands)


def cleaning(bench: Bench, data: Data) -> list[dict]:
    """Smooth and clean, each run by itself, with `stream` and with NiftiMasker."""
    # A quick trial's runs are too short to be filtered by themselves.
    options = CLEANING if bench.size is QUICK else (*CLEANING, "--runs", data.run_lengths)
    few = data.masks[: bench.size.n_regions]
    commands = {
        name: bench.extraction(name, data.image, few, CLEANING_JOBS, options)
        for name in ("nifti_masker_path", "stream")
    }
    rows = bench.rounds("cleaning", commands)
    rows[1]["identical"] = same_time_series(*[command.writes for command in commands.values()])
    return rows


def concatenation(bench: Bench, data: Data) -> list[dict]:
    """Put the runs into one image, by nilearn's function and by our own."""
    out = bench.folder("concat_imgs")
    words = [sys.executable, "-c", CONCAT_IMGS, out / "image.nii.gz", *data.runs]
    outputs = {"image": "image.nii.gz", "run_lengths": "runs.tsv"}
    commands = {
        "concat_imgs": Command(words, data.runs, out),
        "concatenate_runs": bench.function("concatenate_runs", data.runs, outputs, runs=data.runs),
    }
    return bench.rounds("concatenation", commands)


def address_space(bench: Bench, data: Data) -> list[dict]:
    """Let every strategy work on the longest image when no process may have more than 1 GiB of address space."""
    factor, image = max(data.longer.items())
    commands = {}
    with temporary_copy(bench, image, factor * data.mib) as plain:
        for name, strategy in STRATEGIES.items():
            if source := plain if strategy.uncompressed else image:
                commands[name] = bench.extraction(name, source, data.masks[: bench.size.n_regions], LIMIT_JOBS)
        rows = bench.rounds("address space", commands, LIMIT)
    size = {"image_mib": round(factor * data.mib, 1), "n_volumes": factor * data.n_volumes}
    return [row | size for row in rows]


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


def prediction(bench: Bench, data: Data) -> list[dict]:
    """Let every strategy work on three lengths of image with two numbers of workers, to hold the prediction against it."""
    commands = {}
    for n_jobs in (2, bench.size.n_jobs):
        for compressed, plain in (*data.shorter.values(), (data.image, data.plain)):
            for name, strategy in STRATEGIES.items():
                image = plain if strategy.uncompressed else compressed
                row = f"{name}, {image.parent.name}, {n_jobs} jobs"
                commands[row] = bench.extraction(name, image, data.masks[: bench.size.n_regions], n_jobs)
    return bench.rounds("prediction", commands, repeats=1)


def rules(bench: Bench, data: Data) -> list[dict]:
    """Call the functions of the other rules' scripts; the downloads need the internet and are left out."""
    names = {label: f"region-{label}" for label in range(1, len(data.masks) + 1)}
    entries = dict.fromkeys(("n_jobs", "n_regions", "n_volumes", "image_mib"), 1)
    entries |= dict.fromkeys(("peak_pss_mib", "peak_rss_mib", "peak_shm_mib", "wall_s"), 1.0)
    summaries = []
    for name in STRATEGIES:
        summaries.append(bench.workdir / f"memory-{name}.json")
        summaries[-1].write_text(json.dumps({"strategy": name, **entries}))
    calls = [
        (
            "simulate_adhd",
            [],
            {"run": "run.nii.gz", "confounds": "confounds.csv"},
            {"subject": data.runs[0].parent.name, "n_volumes": bench.size.n_volumes, "seed": 0},
        ),
        ("simulate_atlas", [], {"atlas": "atlas.nii.gz"}, {"n_parcels": len(names), "seed": 0}),
        (
            "place_atlas",
            [],
            {"out": "atlas.nii.gz", "table": "regions.tsv", "coverage": "coverage.npy"},
            {"atlas": data.atlas, "like": data.image},
        ),
        (
            "split_masks",
            [],
            {"masks": [mask.name for mask in data.masks], "regions": "regions.tsv"},
            {"atlas": data.atlas, "resampled": data.resampled, "names": names, "empty_regions": "error"},
        ),
        ("decompress_image", [data.image], {"plain": "image.nii"}, {"compressed": data.image}),
        (
            "compare_memory",
            [],
            {"table": "comparison.tsv", "png": "comparison.png", "svg": "comparison.svg"},
            {"summaries": summaries, "image": "large_fmri"},
        ),
    ]
    return bench.rounds(
        "rules", {name: bench.function(name, reads, outputs, **rest) for name, reads, outputs, rest in calls}
    )


EXPERIMENTS = (strategies, growth, cleaning, concatenation, prediction, address_space, rules)


def check_memory(bench: Bench, data: Data) -> None:
    """Refuse to start what the out-of-memory killer would end."""
    needed, available = bench.size.n_jobs * 2.3 * data.mib, psutil.virtual_memory().available / 2**20
    if needed > available:
        raise UserError(
            f"NiftiMasker with {bench.size.n_jobs} jobs needs about {needed:,.0f} MiB, but only {available:,.0f} are available; "
            "end other programs, or use a larger machine."
        )


def benchmark(workdir: Path, out: Path, repeats: int, quick: bool) -> None:
    """Prepare the data, run all experiments and write the report.

    Parameters
    ----------
    workdir : path
        Where data and results lie; data are kept for the next time.
    out : path
        Folder for ``benchmark.json``, ``.md``, ``.png`` and ``.svg``.
    repeats : int
        How often everything is measured.
    quick : bool
        A trial of this program: 6 volumes of each subject, measured once.

    Raises
    ------
    UserError
        The data cannot be made, memory does not suffice, or a command failed that must not.
    """
    bench = Bench(workdir / "quick", 1, QUICK) if quick else Bench(workdir / "full", repeats, FULL)
    data = prepare(bench)
    check_memory(bench, data)
    results = {
        "quick": quick,
        "date": datetime.date.today().isoformat(),
        "repeats": bench.repeats,
        "size": asdict(bench.size),
        "cleaning_options": {"words": " ".join(CLEANING), "n_jobs": CLEANING_JOBS, "per_run": not quick},
        "limit": {**asdict(LIMIT), "n_jobs": LIMIT_JOBS},
        "machine": describe_machine(),
        "image": {
            "n_volumes": data.n_volumes,
            "raw_mib": round(data.mib, 1),
            "file_mib": round(data.image.stat().st_size / 2**20, 1),
        },
    }
    for experiment in EXPERIMENTS:
        results[experiment.__name__] = experiment(bench, data)
    shutil.rmtree(bench.folder(""))
    with whole_file(out / "benchmark.json") as partial:
        partial.write_text(json.dumps(results, indent=1) + "\n")
    report(out)


def report(out: Path) -> None:
    """Write the report from its ``benchmark.json``."""
    from benchmarks.report import write_report  # loads numpy

    write_report(json.loads((out / "benchmark.json").read_text()), out)


def parse_arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description="Measure speed and memory, and write the report.")
    parser.add_argument("--repeats", type=int, default=3, help="how often everything is measured (%(default)s)")
    parser.add_argument("--out", type=Path, default=Path("docs"), help="folder of the report (%(default)s)")
    parser.add_argument("--workdir", type=Path, default=Path(".benchmark"), help="folder of the data (%(default)s)")
    parser.add_argument("--quick", action="store_true", help="a trial: 6 volumes of each subject, measured once")
    parser.add_argument("--report-only", action="store_true", help="write the report anew from its benchmark.json")
    arguments = parser.parse_args()
    if arguments.repeats < 1:
        parser.error("argument --repeats: give a number of at least 1")
    return arguments


if __name__ == "__main__":
    arguments = parse_arguments()
    with reporting():
        if arguments.report_only:
            report(arguments.out)
        else:
            benchmark(arguments.workdir, arguments.out, arguments.repeats, arguments.quick)
