#!/usr/bin/env python3
"""Predict what each strategy would take to extract regions, before anything is run.

    python scripts/predict_memory.py --image IMG --masks M… --n-jobs N [cleaning options]

Reads headers and masks only.
"""

import argparse
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent))  # this version's library, in any environment

from roistream.cleaning.prepare import check_filter
from roistream.extraction_options import add_extraction_options, parse_extraction_options
from roistream.images.series import Series, open_series, repetition_time
from roistream.memory.limits import memory_limits
from roistream.memory.predict import fits, predict_peaks_mib
from roistream.regions.coverage import read_regions
from roistream.regions.masks import locate_labels, read_voxels
from roistream.regions.requested import list_masks
from roistream.reporting import reporting
from roistream.strategies import REGISTRY


def predict_memory(
    image: Sequence[Path],
    masks: Sequence[Path] = (),
    atlas: Path | None = None,
    regions: Path | None = None,
    n_jobs: int = 1,
    confounds: Sequence[Path] = (),
    cleaning: dict | None = None,
) -> str:
    """Word a table of the predicted peaks of all strategies.

    Parameters
    ----------
    image : sequence of path
        4D image, or its runs.
    masks : sequence of path
        Binary masks on its grid.
    atlas, regions : path, optional
        Instead of masks a label image on its grid, and the table of the labels to extract.
    n_jobs : int
        Parallel workers.
    confounds : sequence of path
        Only whether there are any is of interest.
    cleaning : dict, optional
        Cleaning options, see `roistream.cleaning.options.Cleaning`; none by default.

    Returns
    -------
    str
        Tab-separated: strategy, peak PSS of the process tree in MiB, and whether that fits into this machine (or control
        group, or SLURM job); then what is available.

    Raises
    ------
    UserError
        The image or a mask is unusable, or the filter is for a run.
    """
    source = open_series(image)
    if atlas and regions:
        labels = [region.label for region in read_regions(regions)]
        n_voxels = [voxels.size for voxels in locate_labels(atlas, labels, source.grid, source.affine)]
    else:
        n_voxels = [read_voxels(mask, source.grid, source.affine).size for mask in list_masks(masks, regions)]
    refuse_filter(source, cleaning or {})
    options = {"smoothing_fwhm": None, **(cleaning or {}), "confounds": bool(confounds)}
    predicted = predict_peaks_mib(source, n_voxels, n_jobs, options)
    limits = memory_limits()
    lines = ["strategy\tpredicted_mib\tfits"]
    for name in REGISTRY:
        if name not in predicted:
            reason = "needs one file" if REGISTRY[name].smooths or not options["smoothing_fwhm"] else "cannot smooth"
            lines.append(f"{name}\tn/a\t{reason}")
        else:
            keeps = "yes" if fits(name, predicted[name], n_jobs, source.mib, limits) else "no"
            lines.append(f"{name}\t{predicted[name]:.0f}\t{keeps if limits else 'unknown'}")
    lines += [f"# {limit.mib:.0f} MiB are available: {limit.limited_by}" for limit in limits]
    return "\n".join(lines)


def refuse_filter(source: Series, cleaning: Mapping[str, Any]) -> None:
    """Refuse a filter that an extraction would refuse, with the same sentence: its memory is of no interest."""
    time = repetition_time(source.runs, cleaning.get("t_r"), cleaning.get("t_r_source"))
    check_filter(cleaning.get("low_pass"), cleaning.get("high_pass"), time, min(source.run_lengths), source.path)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Predict the peak memory of each strategy before anything is run.")
    add_extraction_options(parser)
    options = parse_extraction_options(parser)
    with reporting():
        print(predict_memory(**options))
