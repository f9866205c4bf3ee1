"""Rule compare_memory: put the strategies' memory summaries into one table and one figure."""

from collections.abc import Sequence
from pathlib import Path

from roistream.figures.comparison import write_figure
from roistream.memory.summaries import read_summaries, write_table
from roistream.outputs import whole_file
from roistream.reporting import reporting


def compare_memory(summaries: Sequence[Path], table: Path, png: Path, svg: Path, image: str) -> None:
    """Compare peak memory and wall time of the strategies that extracted the same regions from one image.

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
    with whole_file(table) as whole_table, whole_file(png) as whole_png, whole_file(svg) as whole_svg:
        write_table(rows, whole_table)
        write_figure(rows, image, whole_png, whole_svg)


if __name__ == "__main__":
    with reporting(snakemake.log[0]):
        compare_memory(
            summaries=snakemake.input.summaries,
            table=snakemake.output.table,
            png=snakemake.output.png,
            svg=snakemake.output.svg,
            image=snakemake.wildcards.image,
        )
