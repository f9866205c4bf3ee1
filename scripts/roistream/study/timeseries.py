"""The results of one image of a study: tables of signals, coverage, and a sidecar that says what they were made of and with."""

from __future__ import annotations

import csv
import glob
import hashlib
import json
import logging
import platform
import re
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from roistream import __version__
from roistream.cleaning.denoising import OPTIONS
from roistream.cleaning.options import Cleaning, outcome
from roistream.images.series import Series
from roistream.outputs import as_json, whole_file
from roistream.regions.coverage import Region
from roistream.regions.placed import PlacedAtlas
from roistream.study.derivatives import RESULTS, read_sidecar
from roistream.study.extraction import Extraction

if TYPE_CHECKING:
    from roistream.regions.placed_maps import PlacedMaps

VOLUME = "volume"
"""The column that tells which volume a row is, where volumes may be left out."""

logger = logging.getLogger("roistream")


def write_signals(signals: np.ndarray, names: Sequence[str], path: Path, volumes: np.ndarray | None = None) -> None:
    """Write a table of signals: a row for each volume that is kept, a column for each region, ``n/a`` for NaN.

    Numbers have as many digits as tell any two values of their type apart.

    Parameters
    ----------
    signals : numpy.ndarray
        float32 or float64, ``(n_volumes, n_regions)``.
    names : sequence of str
        The columns.
    path : path
        The TSV to write.
    volumes : numpy.ndarray, optional
        int, which volume of the image each row is: the first column, ``volume``.
    """
    line = "\t".join(["%.9g" if signals.dtype == np.float32 else "%r"] * len(names)) + "\n"
    counted = [] if volumes is None else [VOLUME]
    missing = np.isnan(signals).any()
    with whole_file(path) as partial, partial.open("w", newline="", encoding="utf-8") as stream:
        csv.writer(stream, delimiter="\t", lineterminator="\n").writerow([*counted, *names])
        for number, row in enumerate(signals):
            text = line % tuple(row.tolist())
            if volumes is not None:
                stream.write(f"{volumes[number]}\t")
            stream.write(re.sub(r"\bnan\b", "n/a", text) if missing else text)


def write_coverage(coverage: np.ndarray, names: Sequence[str], path: Path) -> None:
    """Write a table of one row: for each region the share of its atlas voxels, or of its weight, that is covered."""
    with whole_file(path) as partial, partial.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream, delimiter="\t", lineterminator="\n")
        writer.writerow(names)
        writer.writerow(["n/a" if np.isnan(share) else f"{share:.6g}" for share in coverage.tolist()])


def describe_sources(source: Series) -> list[dict[str, Any]]:
    """Describe the runs of an image: where they are, their volumes, a digest of their headers, their sizes."""
    described, first = [], 0
    for run in source.runs:
        described.append(
            {
                "Run": str(run.path),
                "FirstVolume": first,
                "NumberOfVolumes": run.n_volumes,
                "HeaderSha256": hashlib.sha256(run.header.start).hexdigest(),
                "FileSize": run.data_path.stat().st_size,
            }
        )
        first += run.n_volumes
    return described


def software_versions() -> dict[str, str]:
    """Give the versions of what has made the numbers; of nilearn only if it was used."""
    loaded = [name for name in ("numpy", "isal", "nibabel", "scipy", "nilearn") if name in sys.modules]
    return {
        "roistream": __version__,
        "python": platform.python_version(),
        **{name: sys.modules[name].__version__ for name in loaded},
    }


def describe(
    source: Series,
    placed: PlacedAtlas | PlacedMaps,
    found: Extraction,
    statistic: str,
    made_with: Mapping[str, Any],
    cleaning: Cleaning,
    predicted_mib: float,
    begin: float,
    remarks: Sequence[str] = (),
    more: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Make the content of a sidecar.

    Parameters
    ----------
    source : Series
        The runs.
    placed : PlacedAtlas or PlacedMaps
        The atlas on their grid.
    found : Extraction
        What the pass has given.
    statistic : str
        The statistic of this table.
    made_with : mapping
        The options of cleaning, as they were asked for.
    cleaning : Cleaning
        What they are for this image.
    predicted_mib : float
        Predicted peak memory.
    begin : float
        When the extraction began, by ``time.monotonic``.
    remarks : sequence of str
        Sentences on what is odd beside the files.
    more : mapping, optional
        Further entries.
    """
    names = np.array([region.name for region in placed.regions], object)
    confounds = dict.fromkeys(name for removal in cleaning.removals for name in removal.names)
    return {
        "Sources": [str(run.path) for run in source.runs],
        "AtlasKind": placed.kind,
        "AtlasSource": placed.source,
        "Statistic": statistic,
        "SamplingFrequency": 1 / cleaning.t_r if cleaning.t_r else None,
        "RepetitionTime": cleaning.t_r,
        "RepetitionTimeSource": cleaning.t_r_source,
        "RepetitionTimeRemarks": list(cleaning.t_r_remarks) or None,
        "NumberOfVolumes": source.n_volumes,
        "NumberOfRegions": len(placed.regions),
        "Runs": describe_sources(source),
        "Cleaning": used_options(made_with),
        "ConfoundRegressors": list(confounds) or None,
        "DegreesOfFreedom": [removal.n_left for removal in cleaning.removals] or None,
        "RegionsMissing": names[found.without_data].tolist(),
        "LeastCoverage": least(found.coverage),
        "ValuesNotFinite": found.values_not_finite,
        "ConstantVoxels": found.constant_voxels,
        "ConstantRegions": names[found.constant_regions[statistic]].tolist(),
        **(more or {}),
        "Remarks": [*source.remarks, *placed.remarks, *remarks],
        "Fingerprint": fingerprint(made_with, placed.regions, placed.kind),
        "SoftwareVersions": software_versions(),
        "PredictedPeakMiB": round(predicted_mib, 1),
        "MeasuredPeakMiB": rounded(peak_memory_mib()),
        "Seconds": rounded(time.monotonic() - begin),
    }


def least(coverage: np.ndarray) -> float | None:
    """Give the smallest coverage of a region that the atlas has."""
    known = coverage[~np.isnan(coverage)]
    return round(float(known.min()), 6) if known.size else None


def rounded(value: float | None) -> float | None:
    """Round to what a reader needs."""
    return None if value is None else round(value, 2)


def tell_oddities(found: Extraction, regions: Sequence[Region], cleaning: Cleaning) -> None:
    """Tell in the log what a reader of the numbers should know of the image."""
    for statistic, values in found.signals.items():
        for region, number in zip(regions, np.count_nonzero(np.isinf(values), axis=0), strict=True):
            if number:
                logger.warning(
                    "Region %d (%s): its %s is beyond the range of %s in %d volume(s).",
                    *(region.label, region.name, statistic, values.dtype, number),
                )
    partly = ~found.without_data & (found.coverage < 1)
    if partly.any():
        smallest = int(np.argmin(np.where(partly, found.coverage, 2)))
        logger.warning(
            "%d of %d regions lie or hold data in a part only, least of all %s: %.3f; the table of coverage has all.",
            np.count_nonzero(partly),
            len(regions),
            regions[smallest].name,
            found.coverage[smallest],
        )
    of_regions = zip(regions, found.n_voxels.tolist(), found.without_data, found.n_not_finite, strict=True)
    for region, n_voxels, none, n_not_finite in of_regions:
        name = f"Region {region.label} ({region.name})"
        if none and region.n_voxels and not n_voxels:
            logger.warning("%s has no voxel inside of the brain mask; its column is n/a.", name)
        elif none and region.n_voxels:
            logger.warning("%s has no data in this image: all its voxels are 0 or not finite; its column is n/a.", name)
        elif none:
            logger.warning("%s has no voxel in this image; its column is n/a.", name)
        if n_not_finite:
            logger.warning("%s: %d values were not finite and count as 0.", name, n_not_finite)
    for statistic, constant in found.constant_regions.items():
        for region in (region for region, is_constant in zip(regions, constant, strict=True) if is_constant):
            logger.warning(
                "Region %d (%s): its %s is constant over a run%s.",
                region.label,
                region.name,
                statistic,
                outcome(cleaning),
            )
    if n_constant := found.constant_voxels:
        n_regions = np.count_nonzero(found.n_constant)
        logger.warning("%d voxels of %d region(s) are constant over a run.", n_constant, n_regions)


def used_options(made_with: Mapping[str, Any]) -> dict[str, Any]:
    """Keep the options that do something; one of a denoising strategy does wherever it is given."""
    nothing: tuple[Any, ...] = (None, [], {}, False)
    return {
        key: value for key, value in made_with.items() if value not in nothing or (key in OPTIONS and value is not None)
    }


def fingerprint(made_with: Mapping[str, Any], regions: Sequence[Region], kind: str = "labels") -> str:
    """Make 16 hexadecimal digits of the configuration that results were made with, by which those of another are told apart.

    Which confounds and runs they were is an image's own; what the atlas and the cleaning are is the study's.
    """
    given = {key: bool(made_with.get(key)) for key in ("confounds", "masks", "sample_masks")}
    # Results of before have no such keys: what is not given is left out.
    cleaning = {
        **used_options(made_with),
        **{key: value for key, value in given.items() if value or key == "confounds"},
    }
    atlas: list[Any] = [[region.label, region.name, region.n_voxels_atlas] for region in regions]
    atlas += [] if kind == "labels" else [kind]
    return hashlib.sha256(json.dumps([cleaning, atlas], sort_keys=True).encode()).hexdigest()[:16]


def remove_others(
    out: str, source: Series, placed: PlacedAtlas | PlacedMaps, made_with: Mapping[str, Any], t_r: float | None
) -> None:
    """Remove what was made before of this image, unless it was made of the same runs with the same configuration and TR.

    Else a statistic or the voxels that are not asked for any more would lie beside what is current as if they belonged to it.

    Parameters
    ----------
    out : str
        How the paths of all results begin.
    source : Series
        The runs.
    placed : PlacedAtlas or PlacedMaps
        The atlas.
    made_with : mapping
        The options of cleaning.
    t_r : float, optional
        The TR of the image.
    """
    folder, beginning = Path(out).parent, Path(out).name
    made = [path for path in folder.glob(f"{glob.escape(beginning)}_*") if path.name.endswith(RESULTS)]
    sidecars = [read_sidecar(path) for path in made if path.name.endswith("timeseries.json")]
    current = (fingerprint(made_with, placed.regions, placed.kind), describe_sources(source), t_r)
    if sidecars and all(
        (sidecar["Fingerprint"], sidecar["Runs"], sidecar.get("RepetitionTime")) == current for sidecar in sidecars
    ):
        return
    for path in made:
        path.unlink()
        logger.info("Removed %s, which was made with another configuration or of other runs.", path)


def peak_memory_mib() -> float | None:
    """Ask the kernel for the largest resident memory that this process has had, in MiB; None where it does not tell."""
    try:
        lines = Path("/proc/self/status").read_text().splitlines()
    except OSError:
        return None
    return next((int(line.split()[1]) / 1024 for line in lines if line.startswith("VmHWM:")), None)


def write_sidecar(content: Mapping[str, Any], path: Path) -> None:
    """Write a sidecar; what is not known is left out."""
    known = {key: value for key, value in content.items() if value is not None}
    with whole_file(path) as partial:
        partial.write_text(as_json(known), encoding="utf-8")
