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


def words_of(options):
    """Word options of which there may be thousands: the runs of an image that consists of single volumes."""
    return options_within_limits(options, place("resources/arguments"))


def placed_atlas(ending):
    """Make the function that gives a file of the atlas on the grid of an image."""
    return lambda wildcards: f"{PLAN.placed_atlas(wildcards.image)}_{ending}"


def order_of(images):
    """Make a table's rows depend on the order of the images, in few digits: there may be thousands of them."""
    return hashlib.sha256("\n".join(images).encode()).hexdigest()[:16]


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


wildcard_constraints:
    image="[^/]+",
    grid="[0-9a-f]{12}",
    batch="[0-9]+-of-[0-9]+",
    strategy="|".join(STRATEGIES),
    subject="|".join(adhd.SUBJECT_IDS),
