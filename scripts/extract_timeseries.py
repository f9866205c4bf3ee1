#!/usr/bin/env python3
"""Extract one signal for each region from the runs of an image, in one pass and flat memory.

The signals are those of nilearn's NiftiLabelsMasker, to the last bit; of maps and spheres those of its maskers for them. The
runs are read one after the other, never copied.
"""

import gc

gc.disable()  # until all is imported: nothing of that is garbage, and to look for it is a tenth of the start

import argparse
import logging
import sys
import time
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent))  # this version's library, in any environment

from roistream.cleaning.denoised import check_enough, denoise
from roistream.cleaning.prepare import prepare_cleaning
from roistream.command_line import add_log_option, parse
from roistream.errors import UserError
from roistream.extraction_options import (
    add_cleaning_options,
    add_confound_columns_option,
    add_memory_option,
    add_region_options,
    take_cleaning,
)
from roistream.images.image import tell
from roistream.images.repetition_time import log_source
from roistream.images.series import files_by_run, open_series
from roistream.images.unchanged import Unchanged
from roistream.memory.limits import check_memory
from roistream.memory.predict_timeseries import Weights, predict_timeseries_mib
from roistream.regions.kinds import LEAST_SQUARES, refuse_voxels, statistics_of_kind
from roistream.regions.labels import STATISTICS
from roistream.regions.placed import PlacedAtlas
from roistream.reporting import reporting
from roistream.study.brain_masks import read_brain_masks
from roistream.study.denoising_options import add_denoising_options, add_mask_options, take_denoising
from roistream.study.extraction import clean, extract
from roistream.study.left_out import describe_left_out, filter_remarks, may_leave_out
from roistream.study.placing import place, read
from roistream.study.repetition import tell_repetition
from roistream.study.timeseries import (
    describe,
    remove_others,
    tell_oddities,
    write_coverage,
    write_sidecar,
    write_signals,
)

gc.freeze()  # nor will it be, at the end either
gc.enable()
logger = logging.getLogger("roistream")


def extract_timeseries(
    runs: Sequence[Path],
    atlas: Path,
    out: str,
    placed: Sequence[Path] = (),
    regions: int | str | Sequence[int] = "all",
    labels: Path | None = None,
    empty_regions: str = "error",
    missing_orientation: str = "error",
    statistics: Sequence[str] = ("mean",),
    save_voxels: bool = False,
    confounds: Sequence[Path] = (),
    confound_columns: Sequence[str] | None = None,
    unmatched_patterns: str = "error",
    per_run: bool = True,
    cleaning: dict | None = None,
    denoising: dict | None = None,
    sample_masks: Sequence[str] = (),
    masks: Sequence[Path] = (),
    min_coverage: float = 0.0,
    memory_shortage: str = "error",
    remarks: Sequence[str] = (),
) -> None:
    """Extract the regions of an atlas, and write signals, coverage and a sidecar.

    Parameters
    ----------
    runs : sequence of path
        The runs of the image, 4D or single volumes, in order.
    atlas : path
        3D label image, 4D image of maps, or table of spheres; or what place_atlas.py has made of it, if `placed` is given.
    out : str
        How the paths of all results begin.
    placed : sequence of path
        The table of regions and the coverage that place_atlas.py has written with the atlas.
    regions, labels, empty_regions, missing_orientation
        Which regions of an atlas that is not placed yet, see `roistream.regions.placed.put_on_grid`.
    statistics : sequence of str
        Some of `roistream.regions.labels.STATISTICS`; maps and spheres have one, see `roistream.regions.kinds`.
    save_voxels : bool
        Write the series of every voxel of the regions of a label image, too.
    confounds : sequence of path
        One table for each run, to be regressed out.
    confound_columns : sequence of str, optional
        Names or shell-style patterns of the columns to use; by default all.
    unmatched_patterns : {"error", "warn"}
        What to do with a pattern that matches no column of these tables.
    per_run : bool
        Clean each run by itself.
    cleaning : dict, optional
        Further options, see `roistream.cleaning.options.Cleaning`; none by default.
    denoising : dict, optional
        Strategy and volumes to leave out, see `roistream.study.denoising_options.DENOISING_OPTIONS`; none by default.
    sample_masks : sequence of str
        For each run the volumes that are kept, see `roistream.cleaning.left_out.parse_sample_mask`; by default all.
    masks : sequence of path
        Brain masks, to whose common voxels the regions are restricted.
    min_coverage : float
        Regions with less coverage get a column of ``n/a``.
    memory_shortage : {"error", "warn"}
        What to do when the extraction will take more memory than is available.
    remarks : sequence of str
        What is known to be odd about the image, for the sidecar.

    Raises
    ------
    UserError
        A run, the atlas, a table or an option is unusable, or memory will not suffice.
    """
    begin = time.monotonic()
    tell_repetition(runs, confounds)
    inputs = Unchanged(runs)
    source = open_series(runs)
    tell(source.remarks)
    options, choice = cleaning or {}, denoising or {}
    denoised = denoise(source, {**options, **choice}, confounds, confound_columns, unmatched_patterns, sample_masks)
    firsts = [files[0].path for files in files_by_run(source.runs)]
    short = check_enough(firsts, denoised.left_out, choice.get("min_volumes"), choice.get("too_few_volumes", "error"))
    prepared = prepare_cleaning(
        *(source, options, source.run_lengths if per_run else None, denoised.tables, confound_columns),
        left_out=denoised.left_out,
    )
    remarks = [*filter_remarks(prepared), *remarks]
    used = {**options, "confounds": bool(denoised.tables), "strategy": choice.get("strategy"), "masks": masks}
    on_grid = (
        read(atlas, *placed) if placed else place(atlas, source, regions, labels, empty_regions, missing_orientation)
    )
    check_grid(on_grid.grid, source.grid, atlas)
    statistics = statistics_of_kind(on_grid.kind, statistics)
    refuse_voxels(on_grid.kind, save_voxels)
    weights = None if isinstance(on_grid, PlacedAtlas) else Weights(*on_grid.sizes)
    predicted = predict_timeseries_mib(source, len(on_grid.regions), len(statistics), used, save_voxels, weights)
    check_memory(predicted, "This extraction", memory_shortage)
    mask = read_brain_masks(masks, source) if masks else None
    if mask is not None:
        on_grid = on_grid.restrict(mask)
    names = [region.name for region in on_grid.regions]
    made_with = {
        **{name: value for name, value in options.items() if not name.startswith("t_r")},
        # What was said of this image alone is none of the configuration.
        "t_r": None if options.get("t_r_source") else options.get("t_r"),
        **{name: value for name, value in choice.items() if name not in ("min_volumes", "too_few_volumes")},
        "confounds": [str(table.path) for table in denoised.tables],
        "confound_columns": list(confound_columns) if confound_columns else None,
        "per_run": per_run,
        "sample_masks": list(sample_masks),
        "masks": list(map(str, masks)),
        "min_coverage": min_coverage,
    }
    remove_others(out, source, on_grid, made_with, prepared.t_r)
    with ExitStack() as stack:
        stack.enter_context(inputs)
        voxels = None
        if save_voxels and isinstance(on_grid, PlacedAtlas):
            from roistream.study.voxels import voxel_file, write_voxel_table

            positions = on_grid.positions()
            write_voxel_table(positions, on_grid.regions, source.grid, source.affine, Path(f"{out}_voxels.tsv"))
            path = Path(f"{out}_voxels.npy")
            voxels = stack.enter_context(voxel_file(path, positions, source.n_volumes, source.dtype, prepared))
        found = extract(
            source,
            on_grid.prepare(statistics, source.n_volumes),
            prepared.smoothing_fwhm,
            voxels,
            prepared.parts(source.n_volumes),
            mask,
        )
        inputs.check()
    tell_oddities(found, on_grid.regions, prepared)
    write_coverage(found.coverage, names, Path(f"{out}_stat-coverage_bold.tsv"))
    low, volumes = found.coverage < min_coverage, None
    more: dict[str, Any] = {"MeanFramewiseDisplacement": denoised.displacement}
    if min_coverage:
        more["RegionsLowCoverage"] = [name for name, is_low in zip(names, low, strict=True) if is_low]
    if may_leave_out(choice, sample_masks):
        volumes = prepared.kept_volumes(source.n_volumes)
        more |= describe_left_out(denoised, short)
    for statistic in statistics:
        signals = clean(found.signals.pop(statistic), on_grid.wanted, prepared)
        signals[:, low] = np.nan
        write_signals(signals, names, Path(f"{out}_stat-{statistic}_timeseries.tsv"), volumes)
        sidecar = describe(source, on_grid, found, statistic, made_with, prepared, predicted, begin, remarks, more)
        sidecar["DataType"] = str(signals.dtype)  # whose digits the table has
        write_sidecar(sidecar, Path(f"{out}_stat-{statistic}_timeseries.json"))
    logger.info("%d region(s), %d volume(s) of %d run(s).", len(names), source.n_volumes, len(source.runs))
    log_source(prepared.t_r, prepared.t_r_source)


def check_grid(placed_on: tuple[int, ...], grid: tuple[int, ...], atlas: Path) -> None:
    """Refuse an atlas that is said to be placed, but lies on another grid."""
    if placed_on != tuple(grid):
        raise UserError(f"{atlas} has the grid {placed_on}, the runs have {tuple(grid)}; place it like these runs.")


def parse_arguments() -> dict:
    """Read the command line into the parameters of `extract_timeseries`."""
    parser = argparse.ArgumentParser(description="Extract one signal for each region of an atlas, in flat memory.")
    parser.add_argument("--runs", required=True, type=Path, nargs="+", help="4D NIfTI, or single volumes, in order")
    parser.add_argument(
        "--atlas",
        required=True,
        type=Path,
        help="3D label image, 4D image of maps, or table of spheres (x y z radius name)",
    )
    parser.add_argument(
        "--placed",
        type=Path,
        nargs=2,
        default=(),
        metavar=("REGIONS.tsv", "COVERAGE.npy"),
        help="the atlas has been put on the grid of the runs by place_atlas.py, which also wrote these",
    )
    add_region_options(parser)
    parser.add_argument("--out", required=True, help="how the paths of all results begin")
    parser.add_argument(
        "--statistics",
        nargs="+",
        choices=(*STATISTICS, LEAST_SQUARES),
        default=("mean",),
        metavar="NAME",
        help=f"{', '.join(STATISTICS)}; of maps {LEAST_SQUARES} (default: mean, or that)",
    )
    parser.add_argument("--save-voxels", action="store_true", help="also write the series of every voxel")
    parser.add_argument(
        "--per-run", action=argparse.BooleanOptionalAction, default=True, help="clean each run by itself"
    )
    add_cleaning_options(parser)
    add_confound_columns_option(parser)
    add_denoising_options(parser)
    add_mask_options(parser)
    add_memory_option(parser)
    parser.add_argument("--remarks", nargs="+", default=(), metavar="TEXT", help="sentences for the sidecar")
    add_log_option(parser)
    return take_denoising(take_cleaning(parser, parse(parser)))


if __name__ == "__main__":
    arguments = parse_arguments()
    with reporting(arguments.pop("log")):
        extract_timeseries(**arguments)
