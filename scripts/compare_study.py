"""Rule compare_study: put the memory summaries of all images and strategies into one table and one figure."""

from collections.abc import Sequence
from pathlib import Path

from roistream.figures.study_memory import write_study_figure
from roistream.memory.summaries import read_summary, write_table
from roistream.outputs import whole_file
from roistream.reporting import reporting


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


if __name__ == "__main__":
    with reporting(snakemake.log[0]):
        compare_study(
            summaries=snakemake.input.summaries,
            images=snakemake.params.images,
            table=snakemake.output.table,
            png=snakemake.output.png,
            svg=snakemake.output.svg,
        )
