"""Extract the time series of regions from a 4D image with one of the strategies.

Knows nothing of measuring and works from a plain shell: python scripts/extract_regions.py --help
"""

import argparse
import csv
import json
import logging
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from roistream.cleaning import Cleaning
from roistream.errors import UserError
from roistream.outputs import whole_file
from roistream.regions import Region, read_mask, read_regions
from roistream.reporting import reporting
from roistream.strategies import STRATEGIES
from roistream.volumes import inspect

logger = logging.getLogger("roistream")


def extract_regions(
    strategy: str,
    image: Path,
    masks: Sequence[Path],
    out: Path,
    n_jobs: int = 1,
    regions: Path | None = None,
    cleaning: Cleaning | None = None,
) -> None:
    """Extract regions and write their time series, their means and a summary.

    Parameters
    ----------
    strategy : str
        A name of the registry.
    image : path
        4D image.
    masks : sequence of path
        Binary masks on its grid, named ``<region>_mask.nii.gz``.
    out : path
        Folder for ``<region>_timeseries.npy`` (float32, ``(n_volumes, n_voxels)``), ``timeseries.tsv`` (region means) and
        ``extraction.json``, which is written last.
    n_jobs : int
        Parallel workers.
    regions : path, optional
        ``regions.tsv``, in the order of the masks; gives the columns of ``timeseries.tsv`` their names. A region that it
        calls empty gets an array without voxels and a column of NaN; without it an empty mask is an error.
    cleaning : Cleaning, optional
        Signal cleaning; none by default.

    Raises
    ------
    UserError
        The image, a mask or the table is unusable.
    """
    source = inspect(image)
    stems = [mask.name.removesuffix(".gz").removesuffix(".nii").removesuffix("_mask") for mask in masks]
    if len(set(stems)) < len(stems):
        raise UserError("Two masks have the same file name; name each mask after its region.")
    names = [region.name for region in regions_of(regions, masks)] if regions else stems
    empty = [not read_mask(mask, source.grid, source.affine).any() for mask in masks]
    for mask, is_empty in zip(masks, empty, strict=True):
        if is_empty and not regions:
            raise UserError(f"{mask} is empty; leave it out.")
    filled = [mask for mask, is_empty in zip(masks, empty, strict=True) if not is_empty]
    extracted = iter(STRATEGIES[strategy].load()(image, filled, n_jobs, cleaning or Cleaning()))
    arrays = [np.empty((source.n_volumes, 0), np.float32) if is_empty else next(extracted) for is_empty in empty]
    for stem, array in zip(stems, arrays, strict=True):
        with whole_file(out / f"{stem}_timeseries.npy") as partial:
            np.save(partial, array)
    write_means(arrays, names, out / "timeseries.tsv")
    summary = {
        "strategy": strategy,
        "n_jobs": n_jobs,
        "n_regions": len(masks),
        "n_volumes": source.n_volumes,
        "image_mib": round(source.mib, 3),
    }
    with whole_file(out / "extraction.json") as partial:
        partial.write_text(json.dumps(summary, indent=2) + "\n")
    logger.info("%s: %d regions of %d volumes with %d job(s).", strategy, len(masks), source.n_volumes, n_jobs)


def regions_of(table: Path, masks: Sequence[Path]) -> list[Region]:
    """Read the table of regions and check that it belongs to the masks."""
    regions = read_regions(table)
    expected = [f"region-{region.label}_mask.nii.gz" for region in regions]
    if [mask.name for mask in masks] != expected:
        raise UserError(f"{table} does not list the regions of the masks in their order; give the table made with them.")
    return regions


def write_means(arrays: Sequence[np.ndarray], names: Sequence[str], path: Path) -> None:
    """Write the mean of each region: one row for each volume, one column for each region.

    Means are taken in float64 and written with 9 significant digits, which tell any two float32 apart; a region without
    voxels has ``nan``.
    """
    means = [
        array.mean(axis=1, dtype=np.float64) if array.shape[1] else np.full(len(array), np.nan) for array in arrays
    ]
    with whole_file(path) as partial, partial.open("w", newline="") as stream:
        writer = csv.writer(stream, delimiter="\t", lineterminator="\n")
        writer.writerow(names)
        writer.writerows([f"{value:.9g}" for value in row] for row in zip(*means, strict=True))


def parse_arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description="Extract the time series of regions from a 4D image.")
    parser.add_argument("--strategy", required=True, choices=list(STRATEGIES), metavar="NAME", help=", ".join(STRATEGIES))
    parser.add_argument("--image", required=True, type=Path, help="4D NIfTI")
    parser.add_argument("--masks", required=True, type=Path, nargs="+", help="binary masks on the image's grid")
    parser.add_argument("--out", required=True, type=Path, help="folder of the results")
    parser.add_argument("--n-jobs", type=int, default=1, help="parallel workers (default: 1)")
    parser.add_argument("--regions", type=Path, help="regions.tsv of the masks: names, and which may be empty")
    arguments = parser.parse_args()
    if arguments.n_jobs < 1:
        parser.error("argument --n-jobs: give a number of at least 1")
    return arguments


if __name__ == "__main__":
    arguments = parse_arguments()
    with reporting():
        extract_regions(**vars(arguments))
