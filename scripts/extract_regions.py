#!/usr/bin/env python3
"""Extract the time series of regions from a 4D image with one of the strategies.

Knows nothing of measuring and works from a plain shell: python scripts/extract_regions.py --help
"""

import argparse
import csv
import errno
import json
import logging
import zlib
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np

from roistream.cleaning.options import Cleaning, prepare_cleaning
from roistream.command_line import (
    add_confound_columns_option,
    add_extraction_options,
    add_memory_option,
    parse_extraction_options,
)
from roistream.errors import UserError
from roistream.images.image import Image, inspect
from roistream.images.volumes import read_blocks
from roistream.memory.limits import memory_limits
from roistream.memory.predict import predict_peaks_mib, tell_shortage
from roistream.outputs import whole_file
from roistream.regions.coverage import Region, read_regions
from roistream.regions.masks import Mask, read_voxels
from roistream.reporting import reporting
from roistream.strategies import STRATEGIES
from roistream.study.runs import read_run_lengths

logger = logging.getLogger("roistream")


def extract_regions(
    strategy: str,
    image: Path,
    masks: Sequence[Path],
    out: Path,
    n_jobs: int = 1,
    regions: Path | None = None,
    runs: Path | None = None,
    confounds: Sequence[Path] = (),
    confound_columns: Sequence[str] | None = None,
    cleaning: dict | None = None,
    memory_shortage: str = "error",
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
    runs : path, optional
        ``runs.tsv`` of a concatenated image; its runs are then cleaned each by itself.
    confounds : sequence of path
        One table for each run, to be regressed out.
    confound_columns : sequence of str, optional
        Names or shell-style patterns of the columns to use; by default all.
    cleaning : dict, optional
        Further options, see `roistream.cleaning.options.Cleaning`; none by default.
    memory_shortage : {"error", "warn"}
        What to do when the strategy will take more memory than is available.

    Raises
    ------
    UserError
        The image, a mask, a table or an option is unusable, or memory will not suffice.
    """
    source = inspect(image)
    if cleaning and cleaning.get("smoothing_fwhm") and not STRATEGIES[strategy].smooths:
        able = ", ".join(name for name, entry in STRATEGIES.items() if entry.smooths)
        raise UserError(f"The strategy {strategy} cannot smooth; leave out smoothing_fwhm, or use one of {able}.")
    run_lengths = read_run_lengths(runs) if runs else None
    prepared = prepare_cleaning(source, cleaning or {}, run_lengths, confounds, confound_columns)
    stems = [mask.name.removesuffix(".gz").removesuffix(".nii").removesuffix("_mask") for mask in masks]
    if len(set(stems)) < len(stems):
        raise UserError("Two masks have the same file name; name each mask after its region.")
    names = [region.name for region in regions_of(regions, masks)] if regions else stems
    located = [Mask(mask, read_voxels(mask, source.grid, source.affine)) for mask in masks]
    filled = [mask for mask in located if mask.voxels.size]
    if len(filled) < len(located) and not regions:
        empty = next(mask.path for mask in located if not mask.voxels.size)
        raise UserError(f"{empty} is empty; leave it out.")
    options = {**(cleaning or {}), "confounds": bool(confounds)}
    predicted = predict_peaks_mib(source, [mask.voxels.size for mask in located], n_jobs, options)
    shortage = tell_shortage(strategy, predicted, n_jobs, source.mib, memory_limits())
    if shortage and memory_shortage == "error":
        raise UserError(f"{shortage}, or go on all the same by --memory-shortage warn (config key memory_shortage).")
    if shortage:
        logger.warning("%s.", shortage)
    # A second run into the same folder: what is there is about to be replaced, and no longer a result.
    (out / "extraction.json").unlink(missing_ok=True)
    extracted = run_strategy(strategy, source, filled, n_jobs, prepared, out)
    nothing = np.empty((source.n_volumes, 0), np.float32)
    arrays = (next(extracted) if mask.voxels.size else nothing for mask in located)
    means = write_time_series(arrays, [out / f"{stem}_timeseries.npy" for stem in stems])
    write_means(means, names, out / "timeseries.tsv")
    summary = {
        "strategy": strategy,
        "n_jobs": n_jobs,
        "n_regions": len(masks),
        "n_volumes": source.n_volumes,
        "image_mib": round(source.mib, 3),
        "predicted_mib": round(predicted[strategy], 1),
    }
    with whole_file(out / "extraction.json") as partial:
        partial.write_text(json.dumps(summary, indent=2) + "\n")
    logger.info("%s: %d regions of %d volumes with %d job(s).", strategy, len(masks), source.n_volumes, n_jobs)


def run_strategy(
    strategy: str, source: Image, masks: Sequence[Mask], n_jobs: int, cleaning: Cleaning, folder: Path
) -> Iterator[np.ndarray]:
    """Run a strategy; when it fails on a damaged image, say so as the block reader does."""
    if not masks:
        return
    entry = STRATEGIES[strategy]
    try:
        yield from entry.load()(source.path, masks, n_jobs, cleaning, *([folder] if entry.streams else []))
    except (EOFError, OSError, ValueError, zlib.error) as error:
        # What has nothing to do with the image is no reason to read it once more.
        if getattr(error, "errno", None) not in (errno.ENOMEM, errno.ENOSPC):
            for _ in read_blocks(source):
                pass
        raise


def regions_of(table: Path, masks: Sequence[Path]) -> list[Region]:
    """Read the table of regions and check that it belongs to the masks."""
    regions = read_regions(table)
    expected = [f"region-{region.label}_mask.nii.gz" for region in regions]
    if [mask.name for mask in masks] != expected:
        raise UserError(
            f"{table} does not list the regions of the masks in their order; give the table made with them."
        )
    return regions


def write_time_series(arrays: Iterable[np.ndarray], paths: Sequence[Path]) -> list[np.ndarray]:
    """Write each region's array; one that lies in a file of its own already is moved.

    Returns
    -------
    list of numpy.ndarray
        float64, ``(n_volumes,)``: the mean over each region's voxels, NaN for a region without any.
    """
    means = []
    for array, path in zip(arrays, paths, strict=True):
        n_volumes, n_voxels = array.shape
        # einsum sums in float64 as mean does, in half of the time.
        total = np.einsum("ij->i", array, dtype=np.float64)
        means.append(total / n_voxels if n_voxels else np.full(n_volumes, np.nan))
        if isinstance(array, np.memmap):
            Path(array.filename).replace(path)
        else:
            with whole_file(path) as partial:
                np.save(partial, array)
        del array  # before the next one is made
    return means


def write_means(means: Sequence[np.ndarray], names: Sequence[str], path: Path) -> None:
    """Write the means: one row for each volume, one column for each region.

    9 significant digits tell any two float32 apart; NaN is ``nan``.
    """
    with whole_file(path) as partial, partial.open("w", newline="", encoding="utf-8") as stream:
        csv.writer(stream, delimiter="\t", lineterminator="\n").writerow(names)
        line = "\t".join(["%.9g"] * len(means)) + "\n"
        stream.writelines(line % tuple(row) for row in np.transpose(means).tolist())


def parse_arguments() -> dict:
    """Read the command line into the parameters of `extract_regions`."""
    parser = argparse.ArgumentParser(description="Extract the time series of regions from a 4D image.")
    parser.add_argument(
        "--strategy", required=True, choices=list(STRATEGIES), metavar="NAME", help=", ".join(STRATEGIES)
    )
    add_extraction_options(parser)
    parser.add_argument("--out", required=True, type=Path, help="folder of the results")
    parser.add_argument("--regions", type=Path, help="regions.tsv of the masks: names, and which may be empty")
    parser.add_argument("--runs", type=Path, help="runs.tsv of the image: clean each run by itself")
    add_confound_columns_option(parser)
    add_memory_option(parser)
    return parse_extraction_options(parser)


if __name__ == "__main__":
    arguments = parse_arguments()
    with reporting():
        extract_regions(**arguments)
