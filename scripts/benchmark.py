"""Measure speed and memory of the strategies and of the workflow's other parts, against the bars they must hold.

    python scripts/benchmark.py --out docs      (or: make benchmark)

Every figure comes from a fresh process that `roistream.memory.measure` watches from outside. Each experiment below is
a function that gives the runs of its commands; `roistream.benchmark_report` knows the bars and words the report.
"""

import argparse
import datetime
import importlib.metadata
import json
import logging
import math
import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import psutil

from concatenate_runs import concatenate_runs
from decompress_image import decompress_image
from roistream import adhd
from roistream.benchmark_report import write_report
from roistream.errors import UserError
from roistream.memory import measure
from roistream.outputs import whole_file
from roistream.reporting import reporting
from roistream.strategies import STRATEGIES
from roistream.volumes import inspect

logger = logging.getLogger("roistream")

SCRIPTS = Path(__file__).resolve().parent
PACKAGES = ("numpy", "scipy", "nibabel", "nilearn", "joblib", "isal", "snakemake")

N_SUBJECTS = 6
N_REGIONS = 6
N_JOBS, QUICK_JOBS = 6, 2
INTERVAL_S, SELDOM_S = 0.05, 0.5
SELDOM = ("nifti_masker_path", "nifti_masker_in_memory", "numpy_path")
"""How often memory is looked at. The workers of some strategies each hold an image, and need all cores: a look at so much
memory takes a good part of a second of one core, and would often enough prolong what it looks at."""

FACTORS, QUICK_FACTORS = (4, 10), (2, 3)
"""How many times longer the longer images are."""

CLEANING = ("--smoothing-fwhm=6", "--detrend", "--high-pass=0.01", "--standardize=zscore_sample")
CLEANING_JOBS = 2
"""NiftiMasker takes more than 3 GiB for each of them."""

LIMIT_MIB = 1024
LIMIT_JOBS = 2
LIMIT_S = 600
"""Address space of each process, workers and seconds in the experiment with a hard limit."""

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
    runs : list of path
        The subjects' runs.
    image, run_lengths : path
        Their concatenation, and where each run lies in it.
    plain : path
        The same image without compression.
    longer : dict
        Images several times as long, by that number.
    atlas, resampled : path
        64 labels, on their own grid and on the image's.
    masks, finer_masks : list of path
        Of all 64 labels, and of all of an atlas with 444.
    """

    runs: list[Path]
    image: Path
    run_lengths: Path
    plain: Path
    longer: dict[int, Path]
    atlas: Path
    resampled: Path
    masks: list[Path]
    finer_masks: list[Path]

    def readable(self, strategy: str) -> Path:
        """Give the image as the strategy needs it."""
        return self.plain if STRATEGIES[strategy].uncompressed else self.image


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
    """How and where to measure: work folder, number of repeats, and whether this is only a trial of the program."""

    workdir: Path
    repeats: int
    quick: bool

    @property
    def n_jobs(self) -> int:
        """Workers of an extraction, unless an experiment has its own number."""
        return QUICK_JOBS if self.quick else N_JOBS

    def rounds(self, title: str, commands: dict[str, Command], limited: bool = False) -> list[dict]:
        """Measure all commands in turn, then all of them again, so that a drift of the machine hits all alike.

        Parameters
        ----------
        title : str
            Of the experiment, for the log.
        commands : dict
            The commands by the names of their rows in the report.
        limited : bool
            Measure once, under a hard limit of address space and time; a command may then fail.

        Returns
        -------
        list of dict
            A row for each command: ``name``, the entries of its ``extraction.json`` if it writes one, and ``runs``.

        Raises
        ------
        UserError
            A command failed.
        """
        rows = {name: {"name": name, "runs": []} for name in commands}
        repeats = 1 if limited else self.repeats
        for repeat in range(repeats):
            for name, command in commands.items():
                run = self.measure_once(command, limited)
                if run["exit_status"] and not limited:
                    raise UserError(f"{title}: {name} failed with exit status {run['exit_status']}: {run['message']}")
                facts = command.writes / "extraction.json"
                if facts.exists():
                    rows[name] |= json.loads(facts.read_text())
                rows[name]["runs"].append(run)
                peak, wall = run["peak_pss_mib"] or math.nan, run["wall_s"]
                logger.info("%s, round %d/%d: %s: %.1f MiB, %.2f s.", title, repeat + 1, repeats, name, peak, wall)
        return list(rows.values())

    def measure_once(self, command: Command, limited: bool) -> dict:
        """Measure one command once, with its input in the page cache and nothing left to be written to the disk."""
        shutil.rmtree(command.writes, ignore_errors=True)
        command.writes.mkdir(parents=True)
        for path in command.reads:
            read_once(path)
        os.sync()
        log = command.writes / "stderr.log"
        shell = 'exec "$@" >/dev/null 2>"$0"'
        if limited:
            shell = f'ulimit -v {LIMIT_MIB * 1024} && exec timeout -k 10 {LIMIT_S} "$@" >/dev/null 2>"$0"'
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
        words += ["--masks", *masks, "--out", out, "--n-jobs", n_jobs or self.n_jobs, *options]
        return Command(words, [image], out, SELDOM_S if strategy in SELDOM else INTERVAL_S)

    def function(self, name: str, reads: Sequence[Path] = (), outputs: dict | None = None, **arguments) -> Command:
        """Word the call of the function of a rule's script; `outputs` are arguments too, names in the folder of its results."""
        out = self.folder(name)
        for key, names in (outputs or {}).items():
            arguments[key] = out / names if isinstance(names, str) else [out / each for each in names]
        code = f"import sys; sys.path.insert(0, {str(SCRIPTS)!r}); from pathlib import PosixPath; "
        code += f"from {name} import {name}; {name}(**{arguments!r})"
        return Command([sys.executable, "-c", code], reads, out)

    def folder(self, name: str) -> Path:
        """Give the folder of a command's results."""
        return self.workdir / "out" / name


def prepare(bench: Bench) -> Data:
    """Let the workflow make image and masks, and make the longer and the plain image; take what is there already."""
    folder, finer = bench.workdir / "workflow", bench.workdir / "workflow-444"
    n_volumes = 6 if bench.quick else "null"
    results = Path("results", "large_fmri")
    targets = [results / "runs.tsv", results / "regions.tsv"]
    run_workflow(folder, targets, n_subjects=N_SUBJECTS, n_volumes=n_volumes, resolution=64, regions="all")
    # The masks depend on the image's grid alone: two volumes will do.
    run_workflow(finer, targets[1:], n_subjects=1, n_volumes=2, resolution=444, regions="all")
    image = folder / results / "large_fmri_bold.nii.gz"
    runs = [folder / "resources/simulated" / adhd.run_path(subject) for subject in adhd.SUBJECT_IDS[:N_SUBJECTS]]
    longer = {}
    for factor in QUICK_FACTORS if bench.quick else FACTORS:
        longer[factor] = bench.workdir / f"times-{factor}" / image.name
        if outdated(longer[factor], image):
            logger.info("Making %s.", longer[factor])
            concatenate_runs(runs * factor, longer[factor], longer[factor].with_name("runs.tsv"))
    plain = bench.workdir / "plain" / image.name.removesuffix(".gz")
    if outdated(plain, image):
        decompress_image(image, plain)
    return Data(
        runs=runs,
        image=image,
        run_lengths=folder / targets[0],
        plain=plain,
        longer=longer,
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


def outdated(path: Path, source: Path) -> bool:
    """Tell whether a file is missing or older than what it is made from."""
    return not path.exists() or path.stat().st_mtime < source.stat().st_mtime


def strategies(bench: Bench, data: Data) -> list[dict]:
    """Every strategy on six regions; beside them plain decompression as the floor, and nilearn's own single pass."""
    commands = {
        f"{program} -dc": Command([path, "-dc", data.image], [data.image], bench.folder(program))
        for program in ("gzip", "igzip")
        if (path := shutil.which(program))
    }
    out = bench.folder("labels_masker")
    words = [sys.executable, "-c", LABELS_MASKER, data.image, data.resampled, out / "means.npy"]
    commands["NiftiLabelsMasker"] = Command(words, [data.image], out)
    for name in STRATEGIES:
        commands[name] = bench.extraction(name, data.readable(name), data.masks[:N_REGIONS])
    rows = bench.rounds("strategies", commands)
    folders = [commands[name].writes for name in STRATEGIES]
    for row in rows:
        if row["name"] in STRATEGIES:
            row["difference"] = max_difference(folders[0], commands[row["name"]].writes)
    return rows


def growth(bench: Bench, data: Data) -> list[dict]:
    """`stream` on ever longer images and ever more regions."""
    six = data.masks[:N_REGIONS]
    cases = [(data.image, six), *[(image, six) for image in data.longer.values()]]
    cases += [(data.image, data.masks), (data.image, data.finer_masks)]
    commands = {
        f"{inspect(image).n_volumes:,} volumes, {len(masks)} regions": bench.extraction("stream", image, masks)
        for image, masks in cases
    }
    return bench.rounds("growth", commands)


def cleaning(bench: Bench, data: Data) -> list[dict]:
    """Smoothing and temporal cleaning, each run by itself, by `stream` and by NiftiMasker."""
    # A quick trial's runs are too short to be filtered by themselves.
    options = CLEANING if bench.quick else (*CLEANING, "--runs", data.run_lengths)
    six = data.masks[:N_REGIONS]
    commands = {
        name: bench.extraction(name, data.image, six, CLEANING_JOBS, options)
        for name in ("nifti_masker_path", "stream")
    }
    rows = bench.rounds("cleaning", commands)
    rows[1]["difference"] = max_difference(*[command.writes for command in commands.values()])
    return rows


def concatenation(bench: Bench, data: Data) -> list[dict]:
    """Put the six runs into one image, by nilearn's function and by our own."""
    out = bench.folder("concat_imgs")
    words = [sys.executable, "-c", CONCAT_IMGS, out / "image.nii.gz", *data.runs]
    outputs = {"image": "image.nii.gz", "run_lengths": "runs.tsv"}
    commands = {
        "concat_imgs": Command(words, data.runs, out),
        "concatenate_runs": bench.function("concatenate_runs", data.runs, outputs, runs=data.runs),
    }
    return bench.rounds("concatenation", commands)


def address_space(bench: Bench, data: Data) -> list[dict]:
    """Every strategy on the longest image, when no process may have more than 1 GiB of address space."""
    image = data.longer[max(data.longer)]
    commands = {}
    with temporary_copy(image, bench.workdir / "plain-long" / image.name.removesuffix(".gz")) as plain:
        for name, strategy in STRATEGIES.items():
            if source := plain if strategy.uncompressed else image:
                commands[name] = bench.extraction(name, source, data.masks[:N_REGIONS], LIMIT_JOBS)
        rows = bench.rounds("address space", commands, limited=True)
    size = {"image_mib": round(inspect(image).mib), "n_volumes": inspect(image).n_volumes}
    return [row | size for row in rows]


@contextmanager
def temporary_copy(image: Path, plain: Path) -> Iterator[Path | None]:
    """Make an uncompressed copy for a while; None where the disk has no room for it."""
    plain.parent.mkdir(exist_ok=True)
    if shutil.disk_usage(plain.parent).free < 1.2 * inspect(image).mib * 2**20:
        logger.warning("No room on the disk for %s; what needs it is left out.", plain)
        yield None
        return
    try:
        decompress_image(image, plain)
        yield plain
    finally:
        plain.unlink(missing_ok=True)


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
            {"subject": adhd.SUBJECT_IDS[0], "n_volumes": 6 if bench.quick else None, "seed": 0},
        ),
        ("simulate_atlas", [], {"atlas": "atlas.nii.gz"}, {"n_parcels": len(names), "seed": 0}),
        ("resample_atlas", [], {"resampled": "atlas.nii.gz"}, {"atlas": data.atlas, "image": data.image}),
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


EXPERIMENTS = (strategies, growth, cleaning, concatenation, address_space, rules)


def max_difference(first: Path, second: Path) -> float | None:
    """Compare the regions' time series in two folders.

    Returns
    -------
    float or None
        0 if they are the same to the last bit, else the largest difference; None if the regions or shapes differ.
    """
    names = sorted(path.name for path in first.glob("*.npy"))
    if not names or names != sorted(path.name for path in second.glob("*.npy")):
        return None
    largest = 0.0
    for name in names:
        one, other = np.load(first / name), np.load(second / name)
        if one.shape != other.shape or one.dtype != other.dtype:
            return None
        if one.tobytes() != other.tobytes():
            # Differing bits count as a difference, also those of -0 and 0.
            largest = max(largest, float(np.abs(one - other).max()), float(np.finfo(one.dtype).tiny))
    return largest


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


def check_memory(image: Path, n_jobs: int) -> None:
    """Refuse to start what the out-of-memory killer would end an hour later."""
    needed, available = n_jobs * 2.3 * inspect(image).mib, psutil.virtual_memory().available / 2**20
    if needed > available:
        raise UserError(
            f"NiftiMasker with {n_jobs} jobs needs about {needed:,.0f} MiB, but only {available:,.0f} are available; "
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
    bench = Bench(workdir / ("quick" if quick else "full"), 1 if quick else repeats, quick)
    data = prepare(bench)
    check_memory(data.image, bench.n_jobs)
    results = {
        "quick": quick,
        "date": datetime.date.today().isoformat(),
        "repeats": bench.repeats,
        "n_jobs": bench.n_jobs,
        "cleaning_options": {"words": " ".join(CLEANING), "n_jobs": CLEANING_JOBS, "per_run": not quick},
        "limit": {"address_space_mib": LIMIT_MIB, "n_jobs": LIMIT_JOBS, "seconds": LIMIT_S},
        "machine": describe_machine(),
        "image": {
            "n_volumes": inspect(data.image).n_volumes,
            "raw_mib": round(inspect(data.image).mib, 1),
            "file_mib": round(data.image.stat().st_size / 2**20, 1),
        },
    }
    for experiment in EXPERIMENTS:
        results[experiment.__name__] = experiment(bench, data)
    shutil.rmtree(bench.folder(""))
    with whole_file(out / "benchmark.json") as partial:
        partial.write_text(json.dumps(results, indent=1) + "\n")
    write_report(results, out)


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
            write_report(json.loads((arguments.out / "benchmark.json").read_text()), arguments.out)
        else:
            benchmark(arguments.workdir, arguments.out, arguments.repeats, arguments.quick)
