#!/usr/bin/env python3
"""Put the strategies' memory summaries into one table and one figure."""

import argparse
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))  # this version's library, in any environment

from roistream.command_line import add_log_option
from roistream.figures.comparison import write_figure
from roistream.memory.summaries import read_summaries, write_table
from roistream.outputs import files_of_labels, remove_files, whole_file
from roistream.reporting import reporting
from roistream.strategies import REGISTRY


def compare_memory(summaries: Sequence[Path], table: Path, png: Path, svg: Path, image: str) -> None:
    """Compare peak memory and wall time of the strategies that extracted the same regions from one image.

    What an earlier run has left beside the table of other strategies is removed.

    Parameters
    ----------
    summaries : sequence of path
        The ``memory.json`` of each strategy; their order is the order of rows and bars.
    table : path
        TSV to write: one row for each strategy, the columns of `roistream.memory.summaries.Summary`.
    png, svg : path
        The figure to write, in two formats.
    image : str
        The image's name, for the figure's title.

    Raises
    ------
    roistream.errors.UserError
        When a summary is unreadable, incomplete, of an unknown strategy, or disagrees with the first.
    """
    rows = read_summaries(summaries)
    remove_others(table.parent, image, [row.strategy for row in rows])
    with whole_file(table) as whole_table, whole_file(png) as whole_png, whole_file(svg) as whole_svg:
        write_table(rows, whole_table)
        write_figure(rows, image, whole_png, whole_svg)


def remove_others(folder: Path, image: str, compared: Sequence[str]) -> None:
    """Remove the results of strategies that are not compared, and a concatenated image that none of them reads."""
    for name in set(REGISTRY) - set(compared):
        results = folder / name
        written = [results / file for file in ("extraction.json", "memory.json", "memory.tsv", "timeseries.tsv")]
        remove_files({*filter(Path.exists, written), *files_of_labels(results, "_timeseries.npy")})
        with suppress(OSError):  # it holds files of others, or there is none
            results.rmdir()
    if all(REGISTRY[name].reads_series for name in compared):
        copies = [folder / f"{image}_bold.nii.gz", folder / "runs.tsv"]
        remove_files(path for path in copies if path.exists() or path.is_symlink())


def parse_arguments() -> dict:
    """Read the command line into the parameters of `compare_memory`, and ``log``."""
    parser = argparse.ArgumentParser(description="Compare the memory and wall time of the strategies on one image.")
    parser.add_argument(
        "--summaries",
        required=True,
        type=Path,
        nargs="+",
        metavar="JSON",
        help="memory.json of each strategy, in order",
    )
    parser.add_argument("--image", required=True, metavar="NAME", help="name of the image, for the title")
    parser.add_argument("--table", required=True, type=Path, metavar="TSV", help="table to write")
    parser.add_argument("--png", required=True, type=Path, help="figure to write")
    parser.add_argument("--svg", required=True, type=Path, help="the same figure to write, as vectors")
    add_log_option(parser)
    return vars(parser.parse_args())


if __name__ == "__main__":
    arguments = parse_arguments()
    with reporting(arguments.pop("log")):
        compare_memory(**arguments)
