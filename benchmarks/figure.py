"""The figure of the report."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import matplotlib.style
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine

from benchmarks.rows import middle, named, seconds
from roistream.figures.style import GRID, INK, STYLE, count, format_value, strategy_colour
from roistream.strategies import STRATEGIES

NEUTRAL = "#777777"


@matplotlib.style.context(STYLE)
def write_figure(results: dict, png: Path, svg: Path) -> None:
    """Draw the figure once and save it as PNG and SVG, the same bytes for the same results."""
    figure = draw_figure(results)
    figure.savefig(png, format="png", metadata={"Software": None})
    caption = figure.get_suptitle().replace("\n", " ")
    figure.savefig(svg, format="svg", metadata={"Date": None, "Creator": None, "Title": caption})


@matplotlib.style.context(STYLE)
def draw_figure(results: dict) -> Figure:
    """Draw peaks and wall times of averaging an atlas and of the reference's methods, and the growth of `stream`.

    Parameters
    ----------
    results : dict
        What ``benchmark.json`` holds.

    Returns
    -------
    matplotlib.figure.Figure
        With five axes.
    """
    image, size = results["image"], results["size"]
    means, strategies = label_lines(results), strategy_lines(results)
    layout = ConstrainedLayoutEngine(w_pad=0.1, h_pad=0.08, wspace=0.02, hspace=0.04)
    figure = Figure(figsize=(13, 8), dpi=150, layout=layout)
    FigureCanvasAgg(figure)
    figure.suptitle(
        "Memory and time of region time series\nfrom images of 61 × 73 × 61 voxels",
        fontsize=13,
        fontweight="bold",
        color=INK,
    )
    left, right = figure.subfigures(1, 2, squeeze=False, width_ratios=(2.3, 1)).ravel()
    panels = left.subplots(2, 2, height_ratios=(len(means) + 1, len(strategies) + 1), sharex="col")
    regions, jobs = count(size["n_regions"], "region"), count(size["n_jobs"], "job")
    for row, lines, what in (
        (panels[0], means, f"The mean of each region, {image['n_volumes']:,} volumes\n"),
        (panels[1], strategies, f"Every voxel of {regions} by {jobs}, {image['n_volumes']:,} volumes\n"),
    ):
        keys, names = ("peak_pss_mib", "wall_s"), (f"{what}peak memory", "wall time")
        for axes, key, name in zip(row, keys, names, strict=True):
            draw_dots(axes, lines, key)
            axes.set_xlim(*reach([*means, *strategies], key))
            finish(axes, name)
            axes.set_title("← lower is better", loc="right", fontsize=9, color=INK)
        row[0].set_yticks(range(len(lines)), [line.name for line in lines])
        row[1].set_yticks(range(len(lines)), [""] * len(lines))
        for label, line in zip(row[0].get_yticklabels(), lines, strict=True):
            label.set_fontweight("bold" if line.ours else "normal")
    for axes, name in zip(panels[1], ("PSS of the process tree, MiB (log scale)", "seconds (log scale)"), strict=True):
        axes.set_xlabel(name, color=INK)
    growth_axes = right.subplots()
    draw_growth(growth_axes, results["growth"])
    finish(growth_axes, f"stream on longer images\nevery voxel of {regions}")
    growth_axes.set_xlabel("raw size of the image, MiB", color=INK)
    return figure


@dataclass(frozen=True)
class Line:
    """A line of a panel: its name, the measured row, its colour, and whether it is what we would have people use."""

    name: str
    row: dict
    colour: str
    ours: bool = False


def label_lines(results: dict) -> list[Line]:
    """List what is drawn of the means of an atlas: without and with cleaning, other programs, decompression alone."""
    rows, cleaned = named(results["label_means"]), named(results["label_cleaning"])
    ours = strategy_colour("stream")
    lines = [
        Line("roistream, 64 regions", rows["extract_timeseries.py, 64 labels"], ours, ours=True),
        Line("… 444 regions", rows["extract_timeseries.py, 444 labels"], ours),
        Line("… 64 regions, cleaned", cleaned["extract_timeseries.py"], ours),
        Line("NiftiLabelsMasker, 64 regions", rows["NiftiLabelsMasker, 64 labels"], NEUTRAL),
        Line("… cleaned", cleaned["NiftiLabelsMasker"], NEUTRAL),
    ]
    for name, row in (
        ("Workbench, 1 region", "wb_command -volume-stats, 1 region"),
        ("MRtrix3, 1 region", "mrstats -mask, 1 region"),
        ("igzip -dc, no region", "igzip -dc"),
    ):
        if row in rows:
            lines.append(Line(name, rows[row], NEUTRAL))
    return lines


def strategy_lines(results: dict) -> list[Line]:
    """List the strategies."""
    rows = named(results["strategies"])
    return [Line(name, rows[name], strategy_colour(name), name == "stream") for name in STRATEGIES]


def draw_dots(axes: Axes, lines: Sequence[Line], key: str) -> None:
    """Draw a dot for each method at its median, with its value and a line from minimum to maximum.

    Dots, not bars: on a logarithmic axis the length of a bar has no meaning.
    """
    axes.set_xscale("log")
    axes.set_ylim(len(lines) - 0.5, -0.5)
    axes.grid(axis="x", color=GRID, linewidth=0.8)
    for position, line in enumerate(lines):
        values = [run[key] or 0.0 for run in line.row["runs"]]
        axes.axhline(position, color=GRID, linewidth=0.8, zorder=0)
        axes.plot([min(values), max(values)], [position, position], color=line.colour, linewidth=2.5)
        face = "white" if line.colour == NEUTRAL else line.colour
        place = middle(line.row, key)
        axes.plot(place, position, marker="o", markersize=9, color=line.colour, markerfacecolor=face)
        axes.annotate(
            seconds(place) if key == "wall_s" else format_value(place),
            (max(values), position),
            (9, 0),
            textcoords="offset points",
            verticalalignment="center",
            color=INK,
            fontweight="bold" if line.ours else "normal",
            bbox={"facecolor": "white", "edgecolor": "none", "pad": 0.5},
        )
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:,.10g}")


def reach(lines: Sequence[Line], key: str) -> tuple[float, float]:
    """Give the ends of a logarithmic axis for all panels above each other, with room for the values."""
    every = [run[key] for line in lines for run in line.row["runs"] if run[key]]
    return min(every) / 1.5, max(every) * 8


def finish(axes: Axes, name: str) -> None:
    """Give a panel its title, and take away what it does not need."""
    axes.set_title(name, loc="left", fontsize=10, fontweight="bold", color=INK)
    axes.tick_params(which="both", colors=INK, length=0)
    axes.set_axisbelow(True)
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.spines["bottom"].set_color(INK)


def draw_growth(axes: Axes, rows: Sequence[dict]) -> None:
    """Draw the peak of `stream`, the size of its output and the image's own size over the image's size."""
    fewest = min(row["n_regions"] for row in rows)
    rows = sorted((row for row in rows if row["n_regions"] == fewest), key=lambda row: row["n_volumes"])
    sizes = [row["image_mib"] for row in rows]
    peaks, outputs = ([middle(row, key) for row in rows] for key in ("peak_pss_mib", "output_mib"))
    top = 1.35 * max(peaks + outputs)
    axes.grid(axis="y", color=GRID, linewidth=0.8)
    axes.plot([0, top], [0, top], color=NEUTRAL, linestyle="--", linewidth=1.5)
    axes.annotate(
        "the image's\nown size", (top, top), (5, -3), textcoords="offset points", verticalalignment="top", color=INK
    )
    colour = strategy_colour("stream")
    axes.plot(sizes, outputs, color=colour, marker="o", markersize=7, linestyle=":", markerfacecolor="white")
    axes.plot(sizes, peaks, color=colour, marker="o", markersize=9, linewidth=2)
    for values, height, weight in ((peaks, -17, "bold"), (outputs, 9, "normal")):
        # The first two lie too close together for two labels each.
        for size, value in [*zip(sizes, values, strict=True)][0 if values is peaks else 1 :]:
            axes.annotate(
                format_value(value),
                (size, value),
                (0, height),
                textcoords="offset points",
                horizontalalignment="center",
                color=INK,
                fontweight=weight,
            )
    for name, values, height, side in (
        ("peak memory", peaks, 11, "left"),
        ("the time series,\nwritten while reading", outputs, 24, "right"),
    ):
        place = ((sizes[-2] + sizes[-1]) / 2, (values[-2] + values[-1]) / 2)
        axes.annotate(
            name,
            place,
            (0, height),
            textcoords="offset points",
            horizontalalignment=side,
            verticalalignment="center",
            color=INK,
        )
    axes.set_xticks(sizes, [f"{size:,.0f}\n{row['n_volumes']:,} vol." for size, row in zip(sizes, rows, strict=True)])
    axes.set_xlim(0, 1.12 * sizes[-1])
    axes.set_ylim(-0.12 * top, top)
    axes.set_ylabel("MiB", color=INK)
    axes.yaxis.set_major_formatter(lambda value, _: f"{value:,.10g}" if value >= 0 else "")
