# The validated config, turned into the tables and functions that the rules use.

import errno
import math
import os
import re
import shlex
import sys
from contextlib import contextmanager
from functools import cache
from pathlib import Path

import yaml

ROOT = Path(workflow.basedir)
SCRIPTS = ROOT / "scripts"
sys.path.insert(0, str(SCRIPTS))

from roistream.samples import adhd
from roistream.study.configuration import check_cleaning, check_configuration, check_inputs, chosen_strategies, typed
from roistream.errors import UserError
from roistream.memory.predict import predict_peak_mib
from roistream.provenance import code_digest
from roistream.regions.atlas import read_label_names, read_labels, select_labels
from roistream.regions.coverage import read_regions
from roistream.study.runs import Run, read_runs_table
from roistream.strategies import STRATEGIES as REGISTRY
from roistream.images.image import describe
from roistream.images.series import inspect_file, open_series

# Shell commands find our programs, and run them in the interpreter that runs Snakemake, also when nothing is activated. A
# job's conda environment, if Snakemake makes one, comes before both.
os.environ.update(PATH=os.pathsep.join([str(SCRIPTS), str(Path(sys.executable).parent), *os.get_exec_path()]))


@contextmanager
def users_mistakes():
    """Stop with one sentence; a WorkflowError would add where in this file it was raised, which helps no user."""
    try:
        yield
    except UserError as error:
        sys.exit(f"ERROR: {error}")


def schema(name):
    """Read a schema."""
    return yaml.safe_load((ROOT / f"workflow/schemas/{name}.schema.yaml").read_text("utf-8"))


def find_runs():
    """List the runs of each image, in order."""
    if config["dataset"] not in ("simulated", "adhd"):
        # Opening the runs is for the main process; jobs parse this file again.
        table = read_runs_table(config["dataset"], schema("runs"), inspect_files=workflow.is_main_process)
    else:
        folder = Path("resources", config["dataset"])
        table = [
            Run(
                image="large_fmri",
                path=folder / adhd.run_path(subject),
                confounds=folder / adhd.confounds_path(subject),
                n_volumes=config["dataset"] == "simulated" and config["n_volumes"] or adhd.run_length(subject),
                t_r=adhd.T_R,
            )
            for subject in SUBJECTS
        ]
    return {image: [run for run in table if run.image == image] for image in dict.fromkeys(run.image for run in table)}


def find_names():
    """List the requested labels in order, with the name of each region."""
    if config["atlas"] in ("simulated", "basc"):
        names = {label: f"region-{label}" for label in range(1, config["resolution"] + 1)}
    elif config["atlas_labels"]:
        names = read_label_names(config["atlas_labels"])
    else:
        names = {label: f"region-{label}" for label in read_labels(config["atlas"])}
    labels = select_labels(config["regions"], list(names), config["atlas"])
    if config["empty_regions"] == "error":
        absent = [label for label in labels if label not in names]
        if absent:
            raise UserError(
                f"regions: the atlas {config['atlas']} has no label {absent[0]}; leave it out, "
                "or set 'empty_regions: keep' for a column of NaN."
            )
    return {label: names.get(label, f"region-{label}") for label in labels}


def image_of(wildcards):
    """Give what a strategy reads: the runs themselves, or one file, compressed or the copy that can be mapped."""
    strategy = REGISTRY[wildcards.strategy]
    if strategy.reads_series:
        return [str(run.path) for run in RUNS[wildcards.image]]
    ending = "nii" if strategy.uncompressed else "nii.gz"
    return [f"results/{wildcards.image}/{wildcards.image}_bold.{ending}"]


def run_table_of(wildcards):
    """Give the table of runs that a concatenated image needs, to be cleaned run by run."""
    one_file = not REGISTRY[wildcards.strategy].reads_series
    return [f"results/{wildcards.image}/runs.tsv"] if one_file and len(RUNS[wildcards.image]) > 1 else []


def masks_of(wildcards):
    """List the masks that a strategy reads; without any it reads the atlas."""
    folder = f"results/{wildcards.image}/masks"
    needed = LABELS if REGISTRY[wildcards.strategy].reads_masks else []
    return [f"{folder}/region-{label}_mask.nii.gz" for label in needed]


def atlas_of(wildcards):
    """Give the atlas on the image's grid to a strategy that reads no masks."""
    return [] if REGISTRY[wildcards.strategy].reads_masks else [f"results/{wildcards.image}/atlas_dseg.nii.gz"]


def regions_option(wildcards):
    """Word where a strategy finds its regions."""
    words = ["--masks", *masks] if (masks := masks_of(wildcards)) else ["--atlas", *atlas_of(wildcards)]
    return " ".join(words)


def workers_of(wildcards):
    """Tell how many cores an extraction uses: a strategy without workers is one process.

    `stream` has threads that read ahead and write, but is busy on about 1.2 cores: two thirds of its time are spent in one of
    them, which decompresses.
    """
    return config["n_jobs"] if REGISTRY[wildcards.strategy].uses_workers else 1


def confounds_of(wildcards):
    """List the tables of confounds that an extraction needs, one for each run."""
    return [run.confounds for run in RUNS[wildcards.image]] if config["cleaning"].get("confounds") else []


def cleaning_options(wildcards):
    """Word the config key ``cleaning`` as options of extract_regions.py.

    A function of the wildcards alone: for Snakemake a parameter that is made from a job's input is no reason to run again.
    """
    words = []
    for key, value in config["cleaning"].items():
        name = key.replace("_", "-")
        if key in ("confounds", "per_run") or value is None:
            continue
        if isinstance(value, bool):
            words.append(f"--{name}" if value else f"--no-{name}")
        elif isinstance(value, list):
            words += [f"--{name}", *map(shlex.quote, value)]
        else:
            words += [f"--{name}", str(value)]
    if tables := confounds_of(wildcards):
        words += ["--confounds", *(shlex.quote(str(table)) for table in tables)]
    if not config["cleaning"].get("per_run", True):
        words.append("--no-per-run")
    elif table := run_table_of(wildcards):
        words += ["--runs", *table]
    return " ".join(words)


def overhead_mib():
    """Look up what a cluster's job takes beside the program of its rule: a profile tells, see workflow/profiles."""
    given = workflow.resource_settings.default_resources
    return int(dict(pair.split("=", 1) for pair in given.args).get("job_overhead", 0)) if given else 0


def request_mb(peak_mib, attempt):
    """Ask for a peak, and for half of it more with each further attempt. What ``mem_mb`` counts are MiB to a scheduler."""
    return math.ceil(peak_mib * (1 + attempt) / 2) + OVERHEAD_MIB


def memory_of(peak_mib, mib_per_million_voxels=0):
    """Make the request of a step that takes as much for every image, or more for a finer grid (docs/scaling.md)."""

    def mem_mb(wildcards, attempt):
        finest = max(ATLAS_VOXELS, voxels_of(wildcards.image)) if mib_per_million_voxels else 0
        return request_mb(peak_mib + mib_per_million_voxels * finest / 1e6, attempt)

    return mem_mb


@cache
def voxels_of(image):
    """Count the voxels of a volume; those of ADHD are known before the runs are there."""
    if config["dataset"] in ("simulated", "adhd"):
        return math.prod(adhd.GRID)
    return inspect_file(RUNS[image][0].path).n_voxels


def extraction_memory(wildcards, input, attempt, threads):
    """Make the request of an extraction, when the image and its regions are there: until then Snakemake calls it TBD."""
    files = image_of(wildcards)
    if REGISTRY[wildcards.strategy].uncompressed:  # its copy is made of this one, with the same header
        files = [f"results/{wildcards.image}/{wildcards.image}_bold.nii.gz"]
    if not all(map(os.path.exists, files)):
        # Of an input, or Snakemake takes it for a mistake; the image is none of the strategy that reads a copy.
        raise FileNotFoundError(errno.ENOENT, "is not there yet", input.regions)
    n_voxels = [region.n_voxels for region in read_regions(input.regions)]
    return request_mb(
        predict_peak_mib(wildcards.strategy, open_series(files), n_voxels, threads, config["cleaning"]), attempt
    )


def code_of(script):
    """Make a job's result depend on its script and on the modules that it imports."""
    return code_digest(SCRIPTS / script)


with users_mistakes():
    config.update(typed(config))
    check_configuration(config, schema("config"))
    check_inputs(config)
    SUBJECTS = adhd.SUBJECT_IDS[: config["n_subjects"]]
    RUNS = find_runs()
    NAMES = find_names()
    STRATEGIES = chosen_strategies(config["strategies"])
    ATLAS_VOXELS = 0
    if config["atlas"] not in ("simulated", "basc"):
        ATLAS_VOXELS = describe(Path(config["atlas"]), 3)[0].layout.n_voxels
    check_cleaning(config["cleaning"], STRATEGIES, [run for runs in RUNS.values() for run in runs])

IMAGES = list(RUNS)
LABELS = list(NAMES)
# Whether any strategy reads mask files.
MASKED = any(REGISTRY[strategy].reads_masks for strategy in STRATEGIES)
# A comparison over all images is for more than one.
STUDY = expand("results/study_memory.{ending}", ending=["tsv", "png", "svg"] if len(IMAGES) > 1 else [])
ATLAS = {
    "simulated": f"resources/simulated/atlas_scale{config['resolution']:03}_dseg.nii.gz",
    "basc": f"resources/basc/basc_scale{config['resolution']:03}_dseg.nii.gz",
}.get(config["atlas"], config["atlas"])
OVERHEAD_MIB = overhead_mib()


wildcard_constraints:
    image="|".join(map(re.escape, IMAGES)),
    strategy="|".join(STRATEGIES),
    subject="|".join(adhd.SUBJECT_IDS),
