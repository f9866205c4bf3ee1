"""Which runs a configuration names: those of a sample, or of a runs table; sorted by the images that they make."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from roistream.errors import UserError
from roistream.images.grids import grid_id
from roistream.images.repetition_time import Statement, said_by_somebody, settle
from roistream.samples import adhd
from roistream.study import derivatives
from roistream.study.confound_checks import check_known_columns
from roistream.study.run import Run
from roistream.study.runs import read_runs_table

SAMPLES = ("simulated", "adhd")
COMPARED = "large_fmri"
"""The one image that the comparison makes of the subjects of a sample."""


def list_runs(
    config: Mapping[str, Any], schema: Mapping[str, Any], check: bool, place: Callable[[str], str]
) -> tuple[dict[str, list[Run]], dict[str, list[Run]]]:
    """List the runs of the images of both targets: `Plan.runs` and `Plan.study`."""
    if config["dataset"] in SAMPLES:
        table = sample_runs(config, place)
        if check and config["cleaning"].get("strategy"):
            raise UserError(
                f"cleaning: a strategy is made of fMRIPrep's files, and the dataset {config['dataset']} has none; leave it out, "
                "or set 'dataset' to a runs table."
            )
        if check and config["cleaning"].get("confounds"):
            check_known_columns(
                adhd.REGRESSORS, config["cleaning"].get("confound_columns"), f"of the {config['dataset']} data"
            )
        study = [Run(**{**vars(run), "image": f"sub-{subject}_task-rest"}) for subject, run in table.items()]
        runs = list(table.values())
    else:
        study = runs = read_runs_table(config["dataset"], schema, check, config["cleaning"])
    images = by_image(study)
    if check:
        derivatives.check_names(list(images))
    return by_image(runs), {derivatives.image_stem(image): runs for image, runs in images.items()}


def sample_runs(config: Mapping[str, Any], place: Callable[[str], str] = str) -> dict[str, Run]:
    """List the runs of a sample by subjects; all is known of them before they are there."""
    folder = f"resources/{config['dataset']}"
    simulated_length = config["n_volumes"] if config["dataset"] == "simulated" else None
    return {
        subject: Run(
            image=COMPARED,
            path=Path(place(f"{folder}/{adhd.run_path(subject)}")),
            confounds=Path(place(f"{folder}/{adhd.confounds_path(subject)}")),
            n_volumes=simulated_length or adhd.run_length(subject),
            t_r=config["cleaning"].get("t_r") or adhd.T_R,
            time=settle(said_by_somebody(config["cleaning"].get("t_r")), Statement("sample", adhd.T_R)),
            grid=grid_id(adhd.GRID, adhd.AFFINE),
        )
        for subject in adhd.SUBJECT_IDS[: config["n_subjects"]]
    }


def by_image(runs: Sequence[Run]) -> dict[str, list[Run]]:
    """Sort runs by their images, in order."""
    images: dict[str, list[Run]] = {}
    for run in runs:
        images.setdefault(run.image, []).append(run)
    return images
