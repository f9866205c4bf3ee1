"""What the jobs of a plan are asked for, as options of their programs."""

from typing import Any

from roistream.errors import UserError
from roistream.study.denoising_options import DENOISING_OPTIONS
from roistream.study.plan import Plan
from roistream.study.run import join_volumes
from roistream.study.spaces import contradiction


def compared_options(plan: Plan, image: str) -> dict[str, Any]:
    """Give the cleaning of an image of the comparison.

    Raises
    ------
    UserError
        It has options that only the target ``timeseries`` knows.
    """
    given = [key for key in DENOISING_OPTIONS if plan.config["cleaning"].get(key) is not None]
    if given:
        raise UserError(
            f"cleaning: {given[0]} is for the target timeseries; leave it out for the comparison of strategies, or ask for "
            "'snakemake timeseries'."
        )
    return {**plan.cleaning_options(image), "confounds": plan.confounds_of(image)}


def study_options(plan: Plan, image: str) -> dict[str, Any]:
    """Give what an image of a study is cleaned with and restricted to."""
    options, runs = plan.cleaning_options(image), plan.runs_of(image)
    options["drop_first"] = options.get("drop_first") or None
    thresholds = options.get("leave_out_above") or {}
    options["leave_out_above"] = [f"{column}={value}" for column, value in thresholds.items()]
    if not options.get("strategy"):
        options["confounds"] = plan.confounds_of(image)
    if any(run.sample_mask for each in plan.study.values() for run in each):
        options["sample_masks"] = [run.sample_mask or "all" for run in join_volumes(runs)]
    told = [contradiction(plan.atlas_space, run.path, image) for run in runs]
    return {
        **options,
        "masks": plan.masks_of(image),
        "min_coverage": plan.config["min_coverage"] or None,
        "remarks": list(dict.fromkeys(filter(None, told))),
    }
