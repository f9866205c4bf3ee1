#!/usr/bin/env python3
"""Extract the time series of regions from a 4D image with one of the strategies.

Knows nothing of measuring and works from a plain shell: python scripts/extract_regions.py --help
"""

import argparse
import csv
import logging
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent))  # this version's library, in any environment

from roistream import __version__
from roistream.cleaning.options import Cleaning
from roistream.cleaning.prepare import prepare_cleaning
from roistream.errors import UserError
from roistream.extraction_options import (
    CLEANING_OPTIONS,
    add_confound_columns_option,
    add_extraction_options,
    add_memory_option,
    parse_extraction_options,
)
from roistream.images.image import Image, inspect, tell
from roistream.images.repetition_time import log_source
from roistream.images.series import Series, open_series
from roistream.images.unchanged import Unchanged
from roistream.memory.limits import memory_limits
from roistream.memory.predict import predict_peaks_mib, tell_shortage
from roistream.outputs import as_json, files_of_labels, remove_files, whole_file
from roistream.regions.masks import Mask
from roistream.regions.requested import digest_of, locate_atlas, locate_masks
from roistream.reporting import reporting
from roistream.strategies import REGISTRY, Strategy
from roistream.strategies.workers import check_workers, explaining_bus_errors
from roistream.study.repetition import tell_repetition
from roistream.study.run_lengths import read_run_lengths

logger = logging.getLogger("roistream")

MEAN_BYTES = 2**20
"""Budget of the values that are averaged at a time."""


def extract_regions(
    strategy: str,
    image: Sequence[Path],
    out: Path,
    masks: Sequence[Path] = (),
    atlas: Path | None = None,
    n_jobs: int = 1,
    regions: Path | None = None,
    runs: Path | None = None,
    per_run: bool = True,
    confounds: Sequence[Path] = (),
    confound_columns: Sequence[str] | None = None,
    unmatched_patterns: str = "error",
    cleaning: dict | None = None,
    memory_shortage: str = "error",
) -> None:
    """Extract regions and write their time series, their means and a summary.

    Parameters
    ----------
    strategy : str
        A name of the registry.
    image : sequence of path
        A 4D image; or its runs, for a strategy that reads series (see `roistream.images.series`).
    out : path
        Folder for ``<region>_timeseries.npy`` (float32, ``(n_volumes, n_voxels)``), ``timeseries.tsv`` (region means) and
        ``extraction.json``, which is written last. Arrays of other regions that an earlier extraction has left there are
        removed.
    masks : sequence of path
        Binary masks on the image's grid, named ``<region>_mask.nii.gz``.
    atlas : path, optional
        Instead of masks, for a strategy that does without their files: a label image on the image's grid.
    n_jobs : int
        Parallel workers.
    regions : path, optional
        ``regions.tsv``: the labels of `atlas` to extract, or in the order of the masks; gives the columns of
        ``timeseries.tsv`` their names. A region that it calls empty gets an array without voxels and a column of NaN;
        without it an empty mask is an error.
    runs : path, optional
        ``runs.tsv`` of a concatenated image, which tells its runs.
    per_run : bool
        Clean each run by itself; else all as one.
    confounds : sequence of path
        One table for each run, to be regressed out.
    confound_columns : sequence of str, optional
        Names or shell-style patterns of the columns to use; by default all.
    unmatched_patterns : {"error", "warn"}
        What to do with a pattern that matches no column of these tables.
    cleaning : dict, optional
        Further options, see `roistream.cleaning.options.Cleaning`; none by default.
    memory_shortage : {"error", "warn"}
        What to do when the strategy will take more memory than is available.

    Raises
    ------
    UserError
        The image, a mask, a table or an option is unusable, or memory will not suffice.
    """
    entry = REGISTRY[strategy]
    check_abilities(entry, image, atlas, cleaning or {})
    tell_repetition(image, confounds)
    inputs = Unchanged(image)
    source = open_series(image) if entry.reads_series else inspect(image[0])
    tell(source.remarks)
    run_lengths = (read_run_lengths(runs) if runs else source.run_lengths) if per_run else None
    prepared = prepare_cleaning(source, cleaning or {}, run_lengths, confounds, confound_columns, unmatched_patterns)
    located, stems, names = (
        locate_atlas(source, atlas, regions) if atlas and regions else locate_masks(source, masks, regions)
    )
    options = {**(cleaning or {}), "confounds": bool(confounds)}
    predicted = predict_peaks_mib(source, [mask.voxels.size for mask in located], n_jobs, options)
    shortage = tell_shortage(strategy, predicted, n_jobs, source.mib, memory_limits())
    if shortage and memory_shortage == "error":
        raise UserError(f"{shortage}, or go on all the same by --memory-shortage warn (config key memory_shortage).")
    if shortage:
        logger.warning("%s.", shortage)
    # A second run into the same folder: what is there is about to be replaced, and no longer a result.
    (out / "extraction.json").unlink(missing_ok=True)
    paths = [out / f"{stem}_timeseries.npy" for stem in stems]
    remove_files(files_of_labels(out, "_timeseries.npy") - set(paths))
    with_voxels = [mask for mask in located if mask.voxels.size]
    extracted = run_strategy(entry, source, with_voxels, n_jobs, prepared, out, inputs)
    nothing = np.empty((source.n_volumes, 0), np.float32)
    arrays = (next(extracted) if mask.voxels.size else nothing for mask in located)
    means = write_time_series(arrays, paths)
    write_means(means, names, out / "timeseries.tsv")
    summary = {
        "strategy": strategy,
        "n_jobs": n_jobs,
        "n_regions": len(located),
        "n_volumes": source.n_volumes,
        "image_mib": round(source.mib, 3),
        "predicted_mib": round(predicted[strategy], 1),
        # What it was made with.
        "sources": list(map(str, image)),
        "run_lengths": run_lengths or [source.n_volumes],
        "regions_digest": digest_of(names, located),
        "cleaning": {name: getattr(prepared, name) for name in CLEANING_OPTIONS},
        "t_r_remarks": prepared.t_r_remarks,
        "per_run": per_run,
        "confounds": list(map(str, confounds)),
        "confound_columns": confound_columns,
        "confound_regressors": list(dict.fromkeys(name for removal in prepared.removals for name in removal.names)),
        "degrees_of_freedom": [removal.n_left for removal in prepared.removals],
        "n_constant_voxels": sum(mask.seen.get("n_constant_voxels", 0) for mask in located),
        "version": __version__,
    }
    with whole_file(out / "extraction.json") as partial:
        partial.write_text(as_json(summary), encoding="utf-8")
    logger.info("%s: %d regions of %d volumes with %d job(s).", strategy, len(located), source.n_volumes, n_jobs)
    log_source(prepared.t_r, prepared.t_r_source)


def check_abilities(entry: Strategy, image: Sequence[Path], atlas: Path | None, cleaning: Mapping[str, Any]) -> None:
    """Refuse what a strategy cannot do."""

    def able(ability: str) -> str:
        return ", ".join(name for name, other in REGISTRY.items() if getattr(other, ability))

    if cleaning.get("smoothing_fwhm") and not entry.smooths:
        raise UserError(
            f"The strategy {entry.name} cannot smooth; leave out smoothing_fwhm, or use one of {able('smooths')}."
        )
    if len(image) > 1 and not entry.reads_series:
        raise UserError(
            f"The strategy {entry.name} needs one file, but {len(image)} are given; concatenate them (concatenate_runs.py), "
            f"or use {able('reads_series')}."
        )
    if atlas and entry.reads_masks:
        raise UserError(
            f"The strategy {entry.name} needs a file for each mask; give --masks instead of --atlas {atlas}."
        )


def run_strategy(
    entry: Strategy,
    source: Image | Series,
    masks: Sequence[Mask],
    n_jobs: int,
    cleaning: Cleaning,
    folder: Path,
    inputs: Unchanged,
) -> Iterator[np.ndarray]:
    """Run a strategy. Before it gives the first array it has read all, and `inputs` must be what they were."""
    if not masks:
        return
    if entry.uses_workers:
        check_workers(n_jobs)
    with inputs, explaining_bus_errors(source):
        arrays = iter(entry.load()(source, masks, n_jobs, cleaning, *([folder] if entry.streams else [])))
        first = next(arrays)
    inputs.check()
    yield first
    del first
    yield from arrays


def write_time_series(arrays: Iterable[np.ndarray], paths: Sequence[Path]) -> list[np.ndarray]:
    """Write each region's array; one that lies in a file of its own already is moved.

    Returns
    -------
    list of numpy.ndarray
        float64, ``(n_volumes,)``: the mean over each region's voxels, NaN for a region without any.
    """
    means = []
    for array, path in zip(arrays, paths, strict=True):
        means.append(mean_of(array))
        if isinstance(array, np.memmap):
            Path(str(array.filename)).replace(path)
        else:
            with whole_file(path) as partial, partial.open("wb") as stream:
                # Not np.save, which does not say why a disk takes no more.
                np.lib.format.write_array_header_1_0(stream, np.lib.format.header_data_from_array_1_0(array))
                stream.write(array)
        del array  # before the next one is made
    return means


def mean_of(array: np.ndarray) -> np.ndarray:
    """Average over voxels, some volumes at a time.

    A map is read piece by piece: its pages, once touched, would count as this process's memory, and a region of a long image
    has more of them than all else takes.
    """
    n_volumes, n_voxels = array.shape
    if not n_voxels:
        return np.full(n_volumes, np.nan)
    total = np.empty(n_volumes)
    n_rows = max(1, MEAN_BYTES // (n_voxels * array.itemsize))
    for first in range(0, n_volumes, n_rows):
        rows = array[first : first + n_rows]
        if isinstance(array, np.memmap):
            offset = array.offset + first * n_voxels * array.itemsize
            rows = np.fromfile(str(array.filename), array.dtype, rows.size, offset=offset).reshape(rows.shape)
        # einsum sums in float64 as mean does, in half of the time.
        np.einsum("ij->i", rows, dtype=np.float64, out=total[first : first + n_rows])
    return total / n_voxels


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
    parser.add_argument("--strategy", required=True, choices=list(REGISTRY), metavar="NAME", help=", ".join(REGISTRY))
    add_extraction_options(parser)
    parser.add_argument("--out", required=True, type=Path, help="folder of the results")
    parser.add_argument("--runs", type=Path, help="runs.tsv of a concatenated image: which runs it has")
    parser.add_argument(
        "--per-run",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="clean each run by itself, or all as one (default: each by itself)",
    )
    add_confound_columns_option(parser)
    add_memory_option(parser)
    return parse_extraction_options(parser)


if __name__ == "__main__":
    arguments = parse_arguments()
    with reporting():
        extract_regions(**arguments)
