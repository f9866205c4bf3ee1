# The plan that the checked config makes, and the functions by which the rules ask for parts of it.

import errno
import hashlib
import logging
import math
import os
import shlex
import subprocess
import sys
from contextlib import contextmanager
from functools import cache
from pathlib import Path

import yaml
from snakemake.settings.types import DeploymentMethod

# Not workflow.basedir, which is another's where this workflow is a module.
ROOT = Path(workflow.current_basedir.get_path_or_uri(secret_free=False)).parents[1]
SCRIPTS = ROOT / "scripts"
if not SCRIPTS.is_dir():
    sys.exit(f"ERROR: {ROOT} has no folder scripts; use roistream from a clone, by the path of its Snakefile.")
if "{" in str(ROOT):
    sys.exit(f"ERROR: {ROOT} has braces in its name, in which Snakemake looks for wildcards; move roistream elsewhere.")
sys.path.insert(0, str(SCRIPTS))
# Another version, which somebody has imported before, is not the one that these rules belong to.
for name in [name for name in sys.modules if name.partition(".")[0] == "roistream"]:
    if not Path(getattr(sys.modules[name], "__file__", None) or "").is_relative_to(SCRIPTS):
        del sys.modules[name]

from roistream.cleaning.denoising import sidecar_of
from roistream.command_line import options_of, options_within_limits
from roistream.errors import UserError
from roistream.lifetime import STARTED_BY, this_process
from roistream.outputs import check_writable
from roistream.paths import brace_free
from roistream.provenance import code_digest
from roistream.samples import adhd
from roistream.strategies import REGISTRY
from roistream.study import derivatives
from roistream.study.batches import in_batches
from roistream.study.job_options import compared_options, study_options
from roistream.study.plan import SAMPLES, make_plan

# Says where a file of ours lies: below a prefix where this workflow is a module. It has to be asked for while this is parsed.
place = workflow.modifier.modify_path

if workflow.modifier.is_main_snakefile():
    # Short, for Snakemake repeats it with each failure; and a brace would be a placeholder.
    shell.prefix(
        f"source {shlex.quote(str(ROOT / 'workflow/job.sh'))} {this_process()}; ".replace("{", "{{").replace("}", "}}")
    )
else:
    os.environ[STARTED_BY] = this_process()  # a prefix would be one for the rules of others, too
# Snakemake's log may lie on the disk of which a job has just said that it is full.
logging.raiseExceptions = False

if workflow.is_main_process and not logging.getLogger("roistream").handlers:
    told = logging.StreamHandler()
    told.setFormatter(logging.Formatter("%(levelname)s: %(message)s"))
    logging.getLogger("roistream").addHandler(told)


@contextmanager
def users_mistakes():
    """Stop with one sentence; a WorkflowError would add where in this file it was raised, which helps no user."""
    try:
        yield
    except (UserError, OSError) as error:
        sys.exit(f"ERROR: {error}")


def schema(name):
    """Read a schema."""
    return yaml.safe_load((ROOT / f"workflow/schemas/{name}.schema.yaml").read_text("utf-8"))


def given(path):
    """Make an input of a path that is complete: it is not put below a module's prefix, and has no wildcards."""
    return local(brace_free(path, place("resources/links")))


def image_of(wildcards):
    """Give what a strategy reads: the runs themselves, or one file, compressed or the copy that can be mapped."""
    strategy = REGISTRY[wildcards.strategy]
    if strategy.reads_series:
        return runs_of(wildcards)
    ending = "nii" if strategy.uncompressed else "nii.gz"
    return [str(place(f"results/{wildcards.image}/{wildcards.image}_bold.{ending}"))]


def image_input(wildcards):
    """Make an input of what a strategy reads."""
    return [given(path) for path in image_of(wildcards)]


def run_table_of(wildcards):
    """Give the table of runs that a concatenated image needs, to be cleaned run by run."""
    one_file = not REGISTRY[wildcards.strategy].reads_series
    return [place(f"results/{wildcards.image}/runs.tsv")] if one_file and len(PLAN.runs_of(wildcards.image)) > 1 else []


def masks_of(wildcards):
    """List the masks that a strategy reads; without any it reads the atlas."""
    folder = f"results/{wildcards.image}/masks"
    needed = LABELS if REGISTRY[wildcards.strategy].reads_masks else []
    return [place(f"{folder}/region-{label}_mask.nii.gz") for label in needed]


def atlas_of(wildcards):
    """Give the atlas on the image's grid to a strategy that reads no masks."""
    return [] if REGISTRY[wildcards.strategy].reads_masks else [place(f"results/{wildcards.image}/atlas_dseg.nii.gz")]


def regions_option(wildcards):
    """Word where a strategy finds its regions; the folder of the masks stands for all of them."""
    masks = place(f"results/{wildcards.image}/masks") if masks_of(wildcards) else None
    return options_of({"masks": masks, "atlas": atlas_of(wildcards)})


def workers_of(wildcards):
    """Tell how many cores an extraction uses: a strategy without workers is one process.

    `stream` has threads that read ahead and write, but is busy on about 1.2 cores: two thirds of its time are spent in one of
    them, which decompresses.
    """
    return PLAN.config["n_jobs"] if REGISTRY[wildcards.strategy].uses_workers else 1


def confounds_of(wildcards):
    """List the tables of confounds that an extraction needs, one for each run."""
    return PLAN.confounds_of(wildcards.image)


def confounds_input(wildcards):
    """Make an input of the tables of confounds."""
    return [given(path) for path in confounds_of(wildcards)]


def sidecars_input(wildcards):
    """Make an input of the sidecars that a denoising strategy reads beside tables of confounds."""
    sidecars = map(sidecar_of, confounds_of(wildcards) if PLAN.config["cleaning"].get("strategy") else [])
    return [given(path) for path in sidecars if path.exists()]


def masks_input(wildcards):
    """Make an input of the brain masks of the runs of an image."""
    return [given(path) for path in PLAN.masks_of(wildcards.image)]


def runs_of(wildcards):
    """List the runs of an image, in order."""
    return [str(run.path) for run in PLAN.runs_of(wildcards.image)]


def runs_input(wildcards):
    """Make an input of the runs of an image."""
    return [given(path) for path in runs_of(wildcards)]


def run_on(wildcards, output):
    """Find a run on a grid; a function of the output, see `program`."""
    return str(PLAN.run_on(wildcards.grid))


def run_to_make(wildcards):
    """Find the run on a grid that has to be made before its header can be read, if any."""
    return ancient(given(PLAN.run_on(wildcards.grid))) if PLAN.config["dataset"] in SAMPLES else []


def words_of(options):
    """Word options of which there may be thousands: the runs of an image that consists of single volumes."""
    return options_within_limits(options, place("resources/arguments"))


def cleaning_options(wildcards):
    """Word the config key ``cleaning`` as options of extract_regions.py.

    A function of the wildcards alone: for Snakemake a parameter that is made from a job's input is no reason to run again.
    """
    with users_mistakes():
        options = compared_options(PLAN, wildcards.image)
    if options.pop("per_run", True):
        options["runs"] = run_table_of(wildcards)
    else:
        options["per_run"] = False
    return words_of(options)


def timeseries_options(wildcards):
    """Word the runs of an image, in order, and what is asked for as options of extract_timeseries.py."""
    return words_of(
        {
            "runs": runs_of(wildcards),
            "statistics": PLAN.config["statistics"],
            "save_voxels": PLAN.config["save_voxels"] or None,
            **study_options(PLAN, wildcards.image),
            "memory_shortage": PLAN.config["memory_shortage"],
        }
    )


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
        finest = PLAN.finest(wildcards.image) if mib_per_million_voxels else 0
        return request_mb(peak_mib + mib_per_million_voxels * finest / 1e6, attempt)

    return mem_mb


def extraction_memory(wildcards, input, attempt, threads):
    """Make the request of an extraction, when the image and its regions are there: until then Snakemake calls it TBD."""
    files = image_of(wildcards)
    if REGISTRY[wildcards.strategy].uncompressed:  # its copy is made of this one, with the same header
        files = [place(f"results/{wildcards.image}/{wildcards.image}_bold.nii.gz")]
    if not all(map(os.path.exists, [*files, input.regions])):
        # Of an input, or Snakemake takes it for a mistake; the image is none of the strategy that reads a copy.
        raise FileNotFoundError(errno.ENOENT, "is not there yet", input.regions)
    return request_mb(PLAN.extraction_mib(wildcards.strategy, files, input.regions, threads), attempt)


def timeseries_memory(wildcards, input, attempt):
    """Make the request of the extraction of an image of a study, when its runs are there: until then it is TBD."""
    for run in input.runs:
        if not Path(run).exists():
            raise FileNotFoundError(errno.ENOENT, "is not there yet", run)
    return request_mb(PLAN.timeseries_mib(wildcards.image), attempt)


def placing_memory(wildcards, attempt):
    """Make the request of putting the atlas on a grid: it and the grid are held in memory."""
    return request_mb(50 + 60 * PLAN.finest_on(wildcards.grid) / 1e6, attempt)


def placed_atlas(ending):
    """Make the function that gives a file of the atlas on the grid of an image."""
    return lambda wildcards: f"{PLAN.placed_atlas(wildcards.image)}_{ending}"


def compared_images(wildcards):
    """Word which images a comparison over all images has."""
    if PLAN.config["dataset"] in SAMPLES:
        return options_of({"images": list(PLAN.runs)})
    return options_of({"runs_table": PLAN.config["dataset"]})


def order_of(images):
    """Make a table's rows depend on the order of the images, in few digits: there may be thousands of them."""
    return hashlib.sha256("\n".join(images).encode()).hexdigest()[:16]


def summary_options(parquet):
    """Word which study is summarised, and whether it is there in Parquet, as options of summarise_study.py."""
    dataset = PLAN.config["dataset"]
    from_sample = dataset in SAMPLES
    return options_of(
        {
            "study": place(str(derivatives.FOLDER)),
            "logs": place("logs/extract_timeseries"),
            "atlas_name": PLAN.atlas_name,
            "statistic": PLAN.config["statistics"][0],
            "images": list(PLAN.study) if from_sample else None,
            "source": dataset if from_sample else None,
            "runs_table": None if from_sample else dataset,
            **matrix_options(),
            "records": place("resources/connectivity"),
            "parquet": parquet or None,
            "atlas_sidecar": PLAN.atlas_sidecar,
        }
    )


def matrix_options():
    """Give which matrices are asked for as options of connect_regions.py."""
    return {
        "kinds": PLAN.config["connectivity"],
        "estimator": PLAN.config["covariance_estimator"],
        "fisher_z": PLAN.config["fisher_z"] or None,
    }


def signals_of_batch(wildcards):
    """List the sidecars of the signals of a batch of images."""
    statistic = PLAN.config["statistics"][0]
    return [
        f"{derivatives.image_prefix(image, PLAN.atlas_name)}_stat-{statistic}_timeseries.json"
        for image in BATCHES[wildcards.batch]
    ]


def connection_options(images):
    """Word which matrices some images get as options of connect_regions.py."""
    return options_of(
        {
            "study": place(str(derivatives.FOLDER)),
            "atlas_name": PLAN.atlas_name,
            "statistic": PLAN.config["statistics"][0],
            **matrix_options(),
            "images": images,
        }
    )


def connection_memory(wildcards, attempt):
    """Make the request of the matrices of a batch: nilearn, and some copies of a matrix of all regions."""
    return request_mb(250 + 10 * 8 * len(PLAN.names) ** 2 / 2**20, attempt)


def parquet_options(wildcards):
    """Word of what the Parquet files are made as options of write_parquet.py."""
    from_sample = PLAN.config["dataset"] in SAMPLES
    return options_of(
        {
            "study": place(str(derivatives.FOLDER)),
            "atlas_name": PLAN.atlas_name,
            "statistic": PLAN.config["statistics"][0],
            "images": list(PLAN.study) if from_sample else None,
            "runs_table": None if from_sample else PLAN.config["dataset"],
            "kinds": PLAN.config["connectivity"],
            "fisher_z": PLAN.config["fisher_z"] or None,
        }
    )


def parquet_memory(wildcards, attempt):
    """Make the request of the Parquet files: 4 KiB for each column of connectivity, a group of rows, and notes on all groups."""
    n_pairs = len(PLAN.config["connectivity"]) * len(PLAN.names) ** 2 / 2
    return request_mb(150 + n_pairs * (4096 + 240 * math.sqrt(len(PLAN.study))) / 2**20, attempt)


def derive_what_is_there(pending, batches):
    """Make matrices and Parquet files without the images that have failed, but not while some have still to be tried.

    Parameters
    ----------
    pending : set of str
        Images without results.
    batches : list of str
        Batches of images whose matrices have not been made.

    Returns
    -------
    bool
        Whether the Parquet files have been made.
    """
    logs = {image: f"logs/extract_timeseries/{derivatives.image_folder(image)}/{image}.log" for image in pending}
    untried = {image for image, log in logs.items() if not Path(log).exists()}
    commands = []
    for batch in batches:
        images = [image for image in BATCHES[batch] if image not in pending]
        if images and not untried.intersection(BATCHES[batch]):
            log = options_of({"log": f"logs/connect_regions/{batch}.log"})
            commands.append(f"{program('connect_regions.py')(None, None)} {connection_options(images)} {log}")
    parquet = PLAN.config["parquet"] and not untried and pending < set(PLAN.study)
    if parquet:
        left_out = options_of({"pending": sorted(pending), "log": "logs/write_parquet.log"})
        commands.append(f"{program('write_parquet.py')(None, None)} {parquet_options(None)} {left_out}")
    for command in commands:
        subprocess.run(["bash", "-c", command], check=False)
    return parquet


def summarise_what_is_there():
    """Let study.tsv say, when some images of a study have failed, which they are and why.

    Its files get a time before that of their inputs: it is not what the rule would have made, and the rule will make it anew.
    """
    if "extract_timeseries" not in {job.rule.name for job in workflow.dag.jobs} or not Path(FIRST_REGIONS).exists():
        return
    jobs = list(workflow.dag.needrun_jobs())
    pending = [job.wildcards.image for job in jobs if job.rule.name == "extract_timeseries"]
    batches = [job.wildcards.batch for job in jobs if job.rule.name == "connect_regions"]
    parquet = derive_what_is_there(set(pending), batches)
    command = (
        f"{program('summarise_study.py')(None, None)} --regions {shlex.quote(FIRST_REGIONS)} {summary_options(parquet)}"
        f" {words_of({'pending': pending})}"
    )
    subprocess.run(["bash", "-c", f"{command} --log logs/summarise_study.log"], check=False)
    before = Path(FIRST_REGIONS).stat().st_mtime - 1
    for path in [*SUMMARY, *PARQUET]:
        if Path(path).exists():
            os.utime(path, (before, before))


def program(script):
    """Word the start of a shell command that runs a script: by the interpreter that runs Snakemake, also when nothing is
    activated, or by that of the conda environment that Snakemake has made for the job.

    A function of the output: what Snakemake takes for derived from it is no reason to run again when the project has moved.
    """
    with_conda = DeploymentMethod.CONDA in workflow.deployment_settings.deployment_method
    words = shlex.join(["python" if with_conda else sys.executable, str(SCRIPTS / script)])
    return lambda wildcards, output: words


def code_of(*scripts):
    """Make a job's result depend on its scripts and on the modules that they import; only where there is such a job."""
    return lambda wildcards: [digest_of(script) for script in scripts]


@cache
def digest_of(script):
    """Digest a script and the modules that it imports."""
    return code_digest(SCRIPTS / script)


with users_mistakes():
    if workflow.is_main_process:
        check_writable(
            [place(folder) for folder in (".", "results", "derivatives", str(derivatives.FOLDER), "resources", "logs")]
        )
    PLAN = make_plan(
        {**yaml.safe_load((ROOT / "config.yaml").read_text("utf-8")), **config},
        {name: schema(name) for name in ("config", "runs")},
        check=workflow.is_main_process,
        place=place,
        files=[ROOT / "config.yaml", *workflow.configfiles],
        words=workflow.config_settings.config_args or [],
    )
    NAMES, STRATEGIES = PLAN.names, PLAN.strategies

LABELS = list(NAMES)
# Whether any strategy reads mask files.
MASKED = any(REGISTRY[strategy].reads_masks for strategy in STRATEGIES)
# A comparison over all images is for more than one.
STUDY = expand("results/study_memory.{ending}", ending=["tsv", "png", "svg"] if len(PLAN.runs) > 1 else [])
OVERHEAD_MIB = overhead_mib()
# The images of a study whose matrices one job makes.
BATCHES = in_batches(PLAN.study) if PLAN.config["connectivity"] else {}


wildcard_constraints:
    image="[^/]+",
    grid="[0-9a-f]{12}",
    batch="[0-9]+-of-[0-9]+",
    strategy="|".join(STRATEGIES),
    subject="|".join(adhd.SUBJECT_IDS),
