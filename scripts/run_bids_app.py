#!/usr/bin/env python3
"""Extract the regions of a BIDS dataset, as a BIDS App: list its runs, configure the workflow, and run it.

roistream BIDS_DIR OUTPUT_DIR participant --atlas atlas.nii.gz

The workflow is that of the target `timeseries`. It keeps its own files in a work folder, by which the same command goes on where
it was; the results are what it calls derivatives/roistream there, a link to OUTPUT_DIR.
"""

import argparse
import fcntl
import os
import sys
from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import yaml

sys.path.insert(0, str(Path(__file__).resolve().parent))  # this version's library, in any environment

from list_bids_runs import list_bids_runs
from roistream.command_line import positive
from roistream.errors import UserError
from roistream.outputs import check_writable, whole_file
from roistream.paths import absolute
from roistream.reporting import reporting
from roistream.study import derivatives
from roistream.study.fetching import OURS, is_fetched
from roistream.study.matrices import MEASURES
from roistream.study.names import ACQUISITION, NO_VALUE, VERSIONS
from roistream.study.settings import read_file

ROOT = Path(__file__).resolve().parents[1]
"""The workflow, in a checkout or in an installed package."""

ALIASES = {
    "subject": ["--participant-label", "--participant_label"],
    "session": ["--session-label", "--session_label", "--session-id"],
    "task": ["--task-label", "--task-id", "--task_id"],
}
"""How BIDS Apps call filters."""

PATHS = ("atlas", "atlas_labels", "data_dir")
"""Config keys that name files, relative to where the command is given."""


def run_bids_app(
    dataset: Path,
    output: Path,
    work: Path,
    filters: Mapping[str, Sequence[str]],
    settings: Mapping[str, Any],
    config: Path | None = None,
    n_cpus: int = 1,
    mem_mb: int | None = None,
    dry_run: bool = False,
    leave_out_incomplete: bool = False,
) -> None:
    """Set up the work folder; then this process becomes Snakemake, whose exit status is that of the command.

    Parameters
    ----------
    dataset : path
        A folder of fMRIPrep, or a raw BIDS dataset.
    output : path
        The folder of the results, a BIDS derivatives dataset.
    work : path
        Where lists, logs and the placed atlas lie. One command at a time may work in it.
    filters : mapping
        See `roistream.study.bids.select_runs`.
    settings : mapping
        Keys of the configuration that were given as options.
    config : path, optional
        A config file with others.
    n_cpus : int
        Images at a time.
    mem_mb : int, optional
        MiB that the jobs may take together.
    dry_run : bool
        Check everything, and show what would be done.
    leave_out_incomplete : bool
        See `roistream.study.bids.select_runs`.

    Raises
    ------
    UserError
        The dataset has no such runs, something is not there, or another command is at work.
    """
    if find_spec("snakemake") is None:
        raise UserError("Snakemake is not installed; install roistream with it: pip install 'roistream[workflow]'.")
    given = read_config(config) if config else {}
    if "dataset" in given:
        raise UserError(f"{config}: the dataset is {dataset}, as the command line says; take the key 'dataset' out.")
    settings = located({**{key: given[key] for key in PATHS if given.get(key)}, **settings})
    if "atlas" not in settings:
        raise UserError(
            "No atlas is given; add --atlas, the path of a label image, of maps (4D) or of a table of spheres."
        )
    check_writable([output, work])
    work.mkdir(parents=True, exist_ok=True)
    lock(work)
    link(absolute(output), work / derivatives.FOLDER)
    cleaning = {**given.get("cleaning", {}), **settings.get("cleaning", {})}
    with_confounds = bool(cleaning.get("confounds") or cleaning.get("strategy"))
    list_bids_runs(
        dataset,
        work / "runs.tsv",
        filters,
        with_confounds=with_confounds,
        leave_out_incomplete=leave_out_incomplete,
    )
    with whole_file(work / "config.yaml") as partial:
        regions = {} if "regions" in given else {"regions": "all"}  # not the few of the embedded example
        settings = {"dataset": "runs.tsv", **regions, **settings}
        partial.write_text(yaml.safe_dump(settings, allow_unicode=True, sort_keys=False), "utf-8")
    files = [absolute(config)] if config else []
    command = [
        *(sys.executable, "-m", "snakemake", "timeseries", "--snakefile", ROOT / "Snakefile", "--directory", work),
        *("--cores", n_cpus, "--keep-going", "--rerun-incomplete", "--nolock"),
        *(["--resources", f"mem_mb={mem_mb}"] if mem_mb else []),
        *(["--dry-run"] if dry_run else []),
        *("--configfile", *files, work / "config.yaml"),
    ]
    if "XDG_CACHE_HOME" not in os.environ and not os.access(Path.home(), os.W_OK):  # as in a container
        os.environ["XDG_CACHE_HOME"] = str(work / "cache")
    sys.stdout.flush()
    sys.stderr.flush()
    os.execv(sys.executable, list(map(str, command)))


def read_config(path: Path) -> Mapping[str, Any]:
    """Read a config file, as its author wrote it."""
    if not path.is_file():
        raise UserError(f"--config: {path} is no file; check the path.")
    found = read_file(path)
    if not found:
        raise UserError(f"--config: {path} has no keys of a configuration; see config.yaml of roistream.")
    return found


def located(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Make the paths of a configuration absolute: they are relative to where the command is given, not to the work folder."""
    return {
        key: str(absolute(Path(value))) if key in PATHS and not (key == "atlas" and is_no_file(value)) else value
        for key, value in settings.items()
    }


def is_no_file(atlas: str) -> bool:
    """Tell whether an atlas is made by the workflow, or fetched."""
    return atlas in OURS or is_fetched(atlas)


def lock(work: Path) -> None:
    """Keep others out of the work folder until this process ends, in whatever way, also as Snakemake."""
    descriptor = os.open(work / ".running", os.O_RDWR | os.O_CREAT, 0o666)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        raise UserError(
            f"{work}: another roistream is at work there; wait for it, or give another folder by -w."
        ) from error
    os.set_inheritable(descriptor, True)


def link(output: Path, results: Path) -> None:
    """Let what the workflow calls its results be the output folder."""
    output.mkdir(parents=True, exist_ok=True)
    results.parent.mkdir(parents=True, exist_ok=True)
    if not results.is_symlink() and not results.exists():
        results.symlink_to(output, target_is_directory=True)
    if not results.samefile(output):
        raise UserError(
            f"{results.parents[1]} was used for the results in {results.resolve()}; give another folder by -w."
        )


def parse_arguments() -> dict:
    """Read the command line into the parameters of `run_bids_app`."""
    parser = argparse.ArgumentParser(
        description="Extract the regions of an atlas from all runs of a BIDS dataset, as a BIDS App."
    )
    parser.add_argument("dataset", type=Path, metavar="BIDS_DIR", help="a folder of fMRIPrep, or a raw BIDS dataset")
    parser.add_argument("output", type=Path, metavar="OUTPUT_DIR", help="the folder of the results, made if need be")
    parser.add_argument("level", choices=["participant"], help="the level of the analysis")
    parser.add_argument(
        "--atlas",
        help="path of a 3D label image, a 4D image of maps or a table of spheres, or one to be fetched, such as schaefer2018",
    )
    parser.add_argument("--atlas-labels", metavar="TSV", help="columns index and name")
    parser.add_argument("--strategy", help="of denoising, the config key of that name in 'cleaning'")
    parser.add_argument("--connectivity", nargs="+", choices=MEASURES, metavar="KIND", help=", ".join(MEASURES))
    parser.add_argument("--config", type=Path, metavar="YAML", help="a config file with further keys")
    parser.add_argument("--n-cpus", "--n_cpus", "--nprocs", type=positive, default=1, metavar="N", help="default: 1")
    parser.add_argument("--mem-mb", "--mem_mb", type=positive, metavar="MIB", help="memory of all jobs together")
    parser.add_argument("-w", "--work-dir", "--work_dir", dest="work", type=Path, default=Path("work"))
    parser.add_argument("-n", "--dry-run", action="store_true", help="check everything, and show what would be done")
    parser.add_argument(
        "--leave-out-incomplete",
        action="store_true",
        help="leave out runs that have no table of confounds where others have one; each is named in the log",
    )
    filters = parser.add_argument_group("filters", f"the values wanted; '{NO_VALUE}' for files without the entity")
    for entity in (*ACQUISITION, *VERSIONS):
        filters.add_argument(*ALIASES.get(entity, []), f"--{entity}", dest=entity, nargs="+", metavar="VALUE")
    arguments = vars(parser.parse_args())
    del arguments["level"]
    given = {entity: arguments.pop(entity) for entity in (*ACQUISITION, *VERSIONS)}
    arguments["filters"] = {entity: values for entity, values in given.items() if values}
    settings = {key: arguments.pop(key) for key in ("atlas", "atlas_labels", "connectivity")}
    if strategy := arguments.pop("strategy"):
        settings["cleaning"] = {"strategy": strategy}
    return {**arguments, "settings": {key: value for key, value in settings.items() if value}}


if __name__ == "__main__":
    arguments = parse_arguments()
    with reporting():
        run_bids_app(**{**arguments, "work": absolute(arguments["work"]) / "roistream"})
