"""The figure of a study: how much of its regions each image holds, and what each took."""

from collections.abc import Sequence
from pathlib import Path

import matplotlib.style
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from roistream.figures.style import GRID, INK, SHADES, STYLE, count
from roistream.study.summary import WITH_RESULTS, StudyRow

BLUE, ORANGE = SHADES[0][0], SHADES[1][0]


@matplotlib.style.context(STYLE)
def write_study_figure(rows: Sequence[StudyRow], atlas: str, png: str | Path) -> None:
    """Draw a study and save it as PNG.

    Parameters
    ----------
    rows : sequence of StudyRow
        One for each image, done or not.
    atlas : str
        What the results call the atlas, for the title.
    png : path
        The file to write.
    """
    draw_study(rows, atlas).savefig(png, metadata={"Software": None})


@matplotlib.style.context(STYLE)
def draw_study(rows: Sequence[StudyRow], atlas: str) -> Figure:
    """Draw three panels: least coverage, peak memory beside its prediction, and seconds, each sorted over the images.

    Returns
    -------
    matplotlib.figure.Figure
        Each image is a point; the images of a panel are sorted by what it shows.
    """
    done = [row for row in rows if row.status in WITH_RESULTS]
    figure = Figure(figsize=(11, 3.6), dpi=150)
    FigureCanvasAgg(figure)
    figure.suptitle(study_title(rows, atlas), fontsize=12, fontweight="bold", color=INK)
    # Places by hand: to have them worked out took as long as drawing, at the end of every study.
    places = {"left": 0.06, "right": 0.985, "bottom": 0.15, "top": 0.8, "wspace": 0.18}
    coverage, memory, time = figure.subplots(1, 3, gridspec_kw=places)
    draw_sorted(coverage, [row.least_coverage for row in done], "least coverage of a region")
    coverage.set_xlim(-0.03, 1.03)
    draw_sorted(memory, [row.predicted_mib for row in done], "predicted", ORANGE)
    draw_sorted(memory, [row.peak_mib for row in done], "measured")
    memory.set_xlim(0, 1.08 * memory.get_xlim()[1])
    if done:
        memory.legend(frameon=False, loc="best")
    draw_sorted(time, [row.seconds for row in done], "seconds")
    time.set_xlim(0, 1.08 * time.get_xlim()[1])
    finish(coverage, "Least coverage", "share of a region's atlas voxels with data")
    finish(memory, "Peak memory of the job", "MiB")
    finish(time, "Time of the job", "seconds")
    coverage.set_ylabel("images, sorted", color=INK)
    return figure


def draw_sorted(axes: Axes, values: Sequence[float | None], label: str, colour: str = BLUE) -> None:
    """Draw a point for each image, from the smallest value below to the largest above."""
    known = sorted(value for value in values if value is not None)
    few = len(known) < 50
    axes.plot(
        known,
        range(1, len(known) + 1),
        marker="o",
        linestyle="none",
        markersize=6 if few else 3,
        markeredgewidth=0,
        color=colour,
        alpha=0.85,
        label=label,
        clip_on=not known,  # a line without points and without a clip has a place in the corner of the figure
    )


def finish(axes: Axes, name: str, unit: str) -> None:
    """Give a panel its title, unit and grid."""
    axes.set_title(name, loc="left", fontsize=11, fontweight="bold", color=INK)
    axes.set_xlabel(unit, color=INK)
    axes.set_ylim(bottom=0)
    if not any(np.size(line.get_xdata()) for line in axes.lines):
        axes.set(xlim=(0, 1), ylim=(0, 1))
    axes.xaxis.set_major_locator(MaxNLocator(5))
    axes.yaxis.set_major_locator(MaxNLocator(5, integer=True))
    axes.tick_params(colors=INK, which="both", length=0)
    axes.grid(color=GRID, linewidth=0.8)
    axes.set_axisbelow(True)
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.spines["bottom"].set_color(INK)


def study_title(rows: Sequence[StudyRow], atlas: str) -> str:
    """Say what was extracted, and of how many images there are results."""
    done = [row for row in rows if row.status in WITH_RESULTS]
    regions = f"{count(done[0].n_regions or 0, 'region')} of {atlas}" if done else atlas
    missing = len(rows) - len(done)
    return f"{regions} in {count(len(rows), 'image')}" + (f", {missing} of them without results" if missing else "")
