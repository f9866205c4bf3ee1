"""A study at a glance: one row for each image, made or not, read from the sidecars of its results."""

import csv
import logging
from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from roistream.outputs import whole_file
from roistream.study.derivatives import RESULTS, image_prefix, read_sidecar

logger = logging.getLogger("roistream")

MISSING = "n/a"

WITH_RESULTS = ("done", "short")
"""What the status of an image is that has current results."""


@dataclass(frozen=True)
class StudyRow:
    """One image of a study; the fields are the columns of ``study.tsv``.

    Attributes
    ----------
    image : str
        What its files are called.
    status : str
        ``done``; ``short``: done, but a run keeps fewer volumes than ``min_volumes``; ``missing``: there are no results;
        ``outdated``: those that are there are of another configuration or of other inputs.
    n_volumes : int or None
        Volumes of all its runs.
    n_volumes_kept : int or None
        Those that are not left out.
    mean_framewise_displacement : float or None
        In mm, over all volumes, where the confounds tell.
    t_r : float or None
        Repetition time in seconds.
    n_regions, n_regions_missing, n_regions_low_coverage : int or None
        Regions asked for; those without a voxel in the image, or without data in it; those with less than ``min_coverage``.
    least_coverage : float or None
        The smallest coverage of a region that the atlas has.
    n_values_not_finite, n_constant_voxels, n_constant_regions : int or None
        Values that count as 0; voxels with data, and regions, that have one value throughout a run.
    predicted_mib, peak_mib : float or None
        Peak memory of the job.
    seconds : float or None
        From the start of the job to its last result.
    reason : str
        Why there are no results: the last words of the job's log.
    remarks : str
        What is odd about the headers of the runs and about the atlas.
    """

    image: str
    status: str
    n_volumes: int | None = None
    n_volumes_kept: int | None = None
    mean_framewise_displacement: float | None = None
    t_r: float | None = None
    n_regions: int | None = None
    n_regions_missing: int | None = None
    n_regions_low_coverage: int | None = None
    least_coverage: float | None = None
    n_values_not_finite: int | None = None
    n_constant_voxels: int | None = None
    n_constant_regions: int | None = None
    predicted_mib: float | None = None
    peak_mib: float | None = None
    seconds: float | None = None
    reason: str = ""
    remarks: str = ""


COLUMNS = [field.name for field in fields(StudyRow)]

KEYS = {
    "n_volumes": "NumberOfVolumes",
    "n_volumes_kept": "NumberOfVolumesKept",
    "mean_framewise_displacement": "MeanFramewiseDisplacement",
    "t_r": "RepetitionTime",
    "n_regions": "NumberOfRegions",
    "n_regions_missing": "RegionsMissing",
    "n_regions_low_coverage": "RegionsLowCoverage",
    "least_coverage": "LeastCoverage",
    "n_values_not_finite": "ValuesNotFinite",
    "n_constant_voxels": "ConstantVoxels",
    "n_constant_regions": "ConstantRegions",
    "predicted_mib": "PredictedPeakMiB",
    "peak_mib": "MeasuredPeakMiB",
    "seconds": "Seconds",
}
"""Where a sidecar has what a column tells."""


def summarise_image(image: str, sidecar: Path, log: Path, pending: bool = False) -> StudyRow:
    """Make the row of one image from its sidecar, or from the log that says why there is none.

    Of an image that is `pending`, to be extracted again, the sidecar tells nothing that still holds.
    """
    if not sidecar.exists():
        return StudyRow(image, "missing", reason=last_error(log))
    if pending:
        return StudyRow(image, "outdated", reason="not made again yet since configuration or inputs have changed")
    content = read_sidecar(sidecar)
    found: dict[str, Any] = {column: content.get(key) for column, key in KEYS.items()}
    found = {key: len(value) if isinstance(value, list) else value for key, value in found.items()}
    too_few = content.get("TooFewVolumes", [])
    remarks = [" ".join(remark.split()) for remark in [*too_few, *content.get("Remarks", [])]]
    return StudyRow(image, "short" if too_few else "done", **found, remarks="; ".join(remarks))


def last_error(log: Path) -> str:
    """Find the last error in a log; nothing where it has none."""
    try:
        lines = log.read_text("utf-8", errors="replace").splitlines()
    except OSError:
        return "not begun"
    errors = [line.removeprefix("ERROR: ") for line in lines if line.startswith("ERROR: ")]
    return errors[-1] if errors else f"ended without a word, as when memory runs out and the kernel kills it, see {log}"


def write_study(rows: Sequence[StudyRow], path: Path) -> None:
    """Write ``study.tsv``."""
    with whole_file(path) as partial, partial.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream, delimiter="\t", lineterminator="\n")
        writer.writerow(COLUMNS)
        for row in rows:
            writer.writerow([word(getattr(row, column)) for column in COLUMNS])


def word(value: float | str | None) -> str:
    """Word a cell; what is not known is ``n/a``."""
    if value is None or value == "":
        return MISSING
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def remove_outdated(study: Path, atlas: str, images: Sequence[str]) -> list[Path]:
    """Remove results of images that are not in the study, if they were made with another configuration.

    Results under the names of the study's own images are replaced by the jobs that make them anew. Those of other images
    stay where they were made with the same configuration; else they would lie beside what is current as if they belonged to it.

    Parameters
    ----------
    study : path
        The folder of the dataset.
    atlas : str
        What file names call the atlas; results of other atlases are told apart by it, and stay.
    images : sequence of str
        The study's images.

    Returns
    -------
    list of pathlib.Path
        What has been removed.
    """
    root = study.parent.parent
    current = {root / image_prefix(image, atlas) for image in images}
    made_with: dict[Path, set[str]] = {}
    for sidecar in study.glob(f"**/*_atlas-{atlas}_stat-*_timeseries.json"):
        prefix = sidecar.with_name(sidecar.name.split("_stat-")[0])
        made_with.setdefault(prefix, set()).add(read_sidecar(sidecar)["Fingerprint"])
    fingerprints = set().union(*(made_with[prefix] for prefix in current & set(made_with)))
    if not fingerprints:  # nothing tells which configuration is the current one
        return []
    removed = []
    for prefix in sorted(set(made_with) - current):
        if made_with[prefix] <= fingerprints:
            continue
        for path in prefix.parent.glob(f"{prefix.name}_*"):
            if path.name.endswith(RESULTS):
                path.unlink()
                removed.append(path)
    if removed:
        logger.warning(
            "%d file(s) of images that are not in this study were made with another configuration and have been removed, "
            "the first is %s.",
            len(removed),
            removed[0],
        )
    return removed
