"""The figure of the report."""

from collections.abc import Sequence
from pathlib import Path

import matplotlib.style
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from benchmarks.rows import FLOORS, middle, named, seconds
from roistream.figures.style import GRID, INK, STYLE, count, format_value, strategy_colour
from roistream.strategies import STRATEGIES

PEER = "NiftiLabelsMasker"
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
    """Draw peaks and wall times of all methods, and the growth of `stream`.

    Parameters
    ----------
    results : dict
        What ``benchmark.json`` holds.

    Returns
    -------
    matplotlib.figure.Figure
        With three axes.
    """
    image, size = results["image"], results["size"]
    figure = Figure(figsize=(13, 4.8), dpi=150, layout="constrained")
    FigureCanvasAgg(figure)
    figure.get_layout_engine().set(w_pad=0.1, h_pad=0.1, wspace=0.02)
    figure.suptitle(
        f"{count(size['n_regions'], 'region')} from {image['n_volumes']:,} volumes"
        f" ({image['raw_mib']:,.0f} MiB, {image['file_mib']:,.0f} MiB as .nii.gz) with {count(size['n_jobs'], 'parallel job')}",
        fontsize=13,
        fontweight="bold",
        color=INK,
    )
    memory_axes, time_axes, growth_axes = figure.subplots(1, 3, width_ratios=(1, 1, 1))
    rows = named(results["strategies"])
    order = [*STRATEGIES, *[name for name in (PEER, *reversed(FLOORS)) if name in rows]]
    draw_dots(memory_axes, [rows[name] for name in order], "peak_pss_mib")
    draw_dots(time_axes, [rows[name] for name in order], "wall_s")
    memory_axes.set_yticks(range(len(order)), order)
    time_axes.set_yticks(range(len(order)), [""] * len(order))
    for label in memory_axes.get_yticklabels():
        label.set_fontweight("bold" if label.get_text() == "stream" else "normal")
    for name in [name for name in FLOORS if name in rows][:1]:
        time_axes.axvline(middle(rows[name], "wall_s"), color=NEUTRAL, linewidth=1.5, linestyle="--", zorder=0)
    draw_growth(growth_axes, results["growth"])
    for axes, name, unit in (
        (memory_axes, "Peak memory", "PSS of the process tree, MiB (log scale)"),
        (time_axes, "Wall time", "seconds (log scale)"),
        (growth_axes, "stream on longer images", "raw size of the image, MiB"),
    ):
        axes.set_title(name, loc="left", fontsize=11, fontweight="bold", color=INK)
        if axes is not growth_axes:
            axes.set_title("← lower is better", loc="right", fontsize=9, color=INK)
        axes.set_xlabel(unit, color=INK)
        axes.tick_params(which="both", colors=INK, length=0)
        axes.set_axisbelow(True)
        axes.spines[["top", "right", "left"]].set_visible(False)
        axes.spines["bottom"].set_color(INK)
    return figure


def draw_dots(axes: Axes, rows: Sequence[dict], key: str) -> None:
    """Draw a dot for each method at its median, with its value and a line from minimum to maximum.

    Dots, not bars: on a logarithmic axis the length of a bar has no meaning.
    """
    axes.set_xscale("log")
    axes.set_ylim(len(rows) - 0.5, -0.5)
    axes.grid(axis="x", color=GRID, linewidth=0.8)
    for position, row in enumerate(rows):
        known = row["name"] in STRATEGIES
        colour = strategy_colour(row["name"]) if known else NEUTRAL
        values = [run[key] or 0.0 for run in row["runs"]]
        axes.axhline(position, color=GRID, linewidth=0.8, zorder=0)
        axes.plot([min(values), max(values)], [position, position], color=colour, linewidth=2.5)
        axes.plot(
            middle(row, key),
            position,
            marker="o",
            markersize=9,
            color=colour,
            markerfacecolor=colour if known else "white",
        )
        axes.annotate(
            seconds(middle(row, key)) if key == "wall_s" else format_value(middle(row, key)),
            (max(values), position),
            (9, 0),
            textcoords="offset points",
            verticalalignment="center",
            color=INK,
            fontweight="bold" if row["name"] == "stream" else "normal",
            bbox={"facecolor": "white", "edgecolor": "none", "pad": 0.5},
        )
    every = [run[key] for row in rows for run in row["runs"] if run[key]]
    axes.set_xlim(min(every) / 1.5, max(every) * 6)
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:,.10g}")


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
