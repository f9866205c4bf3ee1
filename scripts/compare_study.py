#!/usr/bin/env python3
"""Put the memory summaries of all images and strategies into one table and one figure."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))  # this version's library, in any environment

from roistream.command_line import add_log_option
from roistream.figures.study_memory import write_study_figure
from roistream.memory.summaries import read_summary, write_table
from roistream.outputs import whole_file
from roistream.reporting import reporting
from roistream.study.tables import list_images


def compare_study(summaries: Sequence[Path], images: Sequence[str], table: Path, png: Path, svg: Path) -> None:
    """Compare peak memory and wall time of the strategies over all images of a study.

    Parameters
    ----------
    summaries : sequence of path
        The ``memory.json`` of each image and strategy; their order is the order of rows.
    images : sequence of str
        The image of each summary.
    table : path
        TSV to write: ``image``, and the columns of `roistream.memory.summaries.Summary`.
    png, svg : path
        The figure to write, in two formats.

    Raises
    ------
    roistream.errors.UserError
        When a summary is unreadable, incomplete or of an unknown strategy.
    """
    rows = [read_summary(path) for path in summaries]
    with whole_file(table) as whole_table, whole_file(png) as whole_png, whole_file(svg) as whole_svg:
        write_table(rows, whole_table, images)
        write_study_figure(rows, whole_png, whole_svg)


def parse_arguments() -> dict:
    """Read the command line into the parameters of `compare_study`, and ``log``.

    Images and strategies are named, not their files: a command line has no room for those of thousands of images.
    """
    parser = argparse.ArgumentParser(
        description="Compare the memory and wall time of the strategies over all images of a study."
    )
    parser.add_argument("--results", required=True, type=Path, help="folder that has IMAGE/STRATEGY/memory.json")
    parser.add_argument("--strategies", required=True, nargs="+", metavar="NAME", help="strategies, in order")
    images = parser.add_mutually_exclusive_group(required=True)
    images.add_argument("--images", nargs="+", metavar="NAME", help="images, in order")
    images.add_argument("--runs-table", type=Path, metavar="TSV", help="the runs table that names them")
    parser.add_argument("--table", required=True, type=Path, metavar="TSV", help="table to write")
    parser.add_argument("--png", required=True, type=Path, help="figure to write")
    parser.add_argument("--svg", required=True, type=Path, help="the same figure to write, as vectors")
    add_log_option(parser)
    return vars(parser.parse_args())


if __name__ == "__main__":
    arguments = parse_arguments()
    with reporting(arguments.pop("log")):
        results, strategies = arguments.pop("results"), arguments.pop("strategies")
        named, runs_table = arguments.pop("images"), arguments.pop("runs_table")
        rows = [(image, name) for image in (list_images(runs_table) if runs_table else named) for name in strategies]
        arguments["images"] = [image for image, _ in rows]
        compare_study(summaries=[results / image / name / "memory.json" for image, name in rows], **arguments)
