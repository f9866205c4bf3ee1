"""The memory and time of many images: the distribution for each strategy, against the size of the image and the prediction.

The counterpart of `roistream.figures.comparison` for a whole study. What a reader wants to know is what to ask a scheduler
for: so each strategy has a row with all images as points, and the median and the maximum as numbers.
"""

from collections.abc import Sequence
from pathlib import Path
from statistics import median

import matplotlib.style
import matplotlib.ticker
import numpy as np
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine

from roistream.figures.style import (
    GRID,
    INK,
    STYLE,
    count,
    count_range,
    format_value,
    save_figure,
    strategy_colour,
    tick_labels,
)
from roistream.memory.summaries import Summary
from roistream.strategies import REGISTRY

MANY_POINTS = 1000
"""From here on points become pixels in the SVG, too: as shapes they would make it slow to open."""

LEAST = 0.01
"""What an axis shows of a value that a logarithm cannot."""


@matplotlib.style.context(STYLE)
def write_study_figure(summaries: Sequence[Summary], png: str | Path, svg: str | Path) -> None:
    """Draw the study once and save it as PNG and SVG, the same bytes for the same summaries.

    Parameters
    ----------
    summaries : sequence of Summary
        One for each image and strategy. Strategies are drawn in the order in which they come.
    png, svg : path
        The files to write. The SVG keeps text as text.
    """
    save_figure(draw_study(summaries), png, svg)


@matplotlib.style.context(STYLE)
def draw_study(summaries: Sequence[Summary]) -> Figure:
    """Draw peak memory and wall time of each strategy over all images, and what the peak depends on.

    Parameters
    ----------
    summaries : sequence of Summary
        One for each image and strategy.

    Returns
    -------
    matplotlib.figure.Figure
        With four axes: the distributions of peak memory and wall time by strategy, and the peak against the size of the
        image and against its prediction; the last is left out where nothing was predicted.
    """
    by_strategy: dict[str, list[Summary]] = {}
    for summary in summaries:
        by_strategy.setdefault(summary.strategy, []).append(summary)
    predicted = any(summary.predicted_mib is not None for summary in summaries)
    rows_inches = 0.8 + 0.4 * len(by_strategy)
    layout = ConstrainedLayoutEngine(w_pad=0.1, h_pad=0.1, wspace=0.03, hspace=0.03)
    figure = Figure(figsize=(11.5, rows_inches + 5.4), dpi=150, layout=layout)
    FigureCanvasAgg(figure)
    figure.suptitle(study_title(summaries, len(by_strategy)), fontsize=13, fontweight="bold", color=INK)
    above, below = figure.subfigures(2, 1, squeeze=False, height_ratios=(rows_inches + 0.3, 4.4)).ravel()
    memory_axes, time_axes = above.subplots(1, 2, sharey=True)
    draw_distributions(memory_axes, by_strategy, "peak_pss_mib")
    draw_distributions(time_axes, by_strategy, "wall_s")
    finish(memory_axes, "Peak memory", "PSS, MiB")
    finish(time_axes, "Wall time", "seconds")
    time_axes.tick_params(labelleft=False)
    panels = below.subplots(1, 2 if predicted else 1, squeeze=False)[0]
    draw_against(panels[0], by_strategy, "image_mib")
    panels[0].set_ylabel("peak PSS, MiB")
    finish(panels[0], "Peak memory against image size", "image, MiB uncompressed")
    if len(by_strategy) > 1:
        panels[0].set_title("colours as above", loc="right", fontsize=9, color=INK)
    if predicted:
        draw_against(panels[1], by_strategy, "predicted_mib")
        draw_diagonal(panels[1])
        panels[1].set_ylabel("peak PSS, MiB")
        finish(panels[1], "Peak memory against its prediction", "predicted, MiB")
    return figure


def draw_distributions(axes: Axes, by_strategy: dict[str, list[Summary]], key: str) -> None:
    """Draw a row for each strategy: a point for each image, a line at the median, and median and maximum in numbers.

    Parameters
    ----------
    axes : matplotlib.axes.Axes
        Where to draw.
    by_strategy : dict
        The summaries of each strategy; the first is drawn uppermost.
    key : str
        What to draw: an attribute of `Summary`.
    """
    axes.set_xscale("log")
    for row, (strategy, summaries) in enumerate(by_strategy.items()):
        values = [max(getattr(summary, key), LEAST) for summary in summaries]
        # Points that would cover each other spread over the row, evenly but in no order; a few stay near its middle.
        spread = 0.6 * min(1, len(values) / 50)
        heights = row + spread * ((np.arange(len(values)) * 0.618034 + 0.5) % 1 - 0.5)
        draw_points(axes, values, heights, strategy)
        middle = median(values)
        for colour, width in (("white", 3), (INK, 1.6)):
            axes.plot([middle, middle], [row - 0.38, row + 0.38], color=colour, linewidth=width, zorder=3)
        write_beside(axes, row, format_value(middle), format_value(max(values)))
    write_beside(axes, -0.75, "median", "max")
    axes.set_yticks(range(len(by_strategy)), tick_labels([summaries[0] for summaries in by_strategy.values()]))
    axes.set_ylim(len(by_strategy) - 0.5, -0.5)
    axes.set_xlim(limits([getattr(summary, key) for summaries in by_strategy.values() for summary in summaries]))


def write_beside(axes: Axes, row: float, *columns: str) -> None:
    """Write the columns of a table to the right of a row."""
    for column, text in enumerate(columns, start=1):
        axes.annotate(
            text,
            (1, row),
            (column * 52, 0),
            xycoords=("axes fraction", "data"),
            textcoords="offset points",
            ha="right",
            va="center",
            color=INK,
            annotation_clip=False,
        )


def draw_against(axes: Axes, by_strategy: dict[str, list[Summary]], key: str) -> None:
    """Draw the peak of each image against something else that is known of it, both on logarithmic axes.

    Parameters
    ----------
    axes : matplotlib.axes.Axes
        Where to draw.
    by_strategy : dict
        The summaries of each strategy.
    key : str
        What to draw against: an attribute of `Summary`; images without it are left out.
    """
    axes.set_xscale("log")
    axes.set_yscale("log")
    known = {
        strategy: [summary for summary in summaries if getattr(summary, key) is not None]
        for strategy, summaries in by_strategy.items()
    }
    for strategy, summaries in known.items():
        xs = [max(getattr(summary, key), LEAST) for summary in summaries]
        draw_points(axes, xs, [max(summary.peak_pss_mib, LEAST) for summary in summaries], strategy)
    shown = [summary for summaries in known.values() for summary in summaries]
    axes.set_xlim(limits([getattr(summary, key) for summary in shown]))
    axes.set_ylim(limits([summary.peak_pss_mib for summary in shown]))


def draw_points(axes: Axes, xs: Sequence[float], ys: Sequence[float] | np.ndarray, strategy: str) -> None:
    """Draw the images of one strategy; the more there are, the lighter."""
    few = len(xs) < 20
    axes.plot(
        xs,
        ys,
        marker="o",
        linestyle="none",
        markersize=6 if few else 3.5,
        markeredgewidth=0,
        color=strategy_colour(strategy),
        alpha=0.85 if few else 0.5 if len(xs) < 300 else 0.3,
        rasterized=len(xs) > MANY_POINTS,
        label=REGISTRY[strategy].label,
        clip_on=False,
    )


def draw_diagonal(axes: Axes) -> None:
    """Draw where a peak is as it was predicted; above it the prediction was too low."""
    low = min(*axes.get_xlim(), *axes.get_ylim())
    high = max(*axes.get_xlim(), *axes.get_ylim())
    axes.plot([low, high], [low, high], color=INK, linewidth=1, linestyle="--", zorder=1)
    axes.set_xlim(low, high)
    axes.set_ylim(low, high)
    axes.text(0.03, 0.95, "above the line: more than predicted", transform=axes.transAxes, va="top", color=INK)


def limits(values: Sequence[float]) -> tuple[float, float]:
    """Give the ends of a logarithmic axis: beyond the values, and at least a factor of four apart."""
    low, high = max(min(values), LEAST), max(*values, LEAST)
    margin = max(1.15, (4 / (high / low)) ** 0.5)
    return low / margin, high * margin


def finish(axes: Axes, name: str, unit: str) -> None:
    """Give a panel its title, unit and grid."""
    axes.set_title(name, loc="left", fontsize=11, fontweight="bold", color=INK)
    axes.set_xlabel(name_scale(axes.xaxis, unit), color=INK)
    axes.set_ylabel(name_scale(axes.yaxis, axes.get_ylabel()), color=INK)
    axes.tick_params(colors=INK, which="both", length=0)
    axes.tick_params(axis="x", pad=8)  # in the corner two labels may meet
    axes.grid(color=GRID, linewidth=0.8)
    axes.set_axisbelow(True)
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.spines["bottom"].set_color(INK)
    for axis in (axes.xaxis, axes.yaxis):
        if axis.get_scale() == "log":
            low, high = axis.get_view_interval()
            steps = (1, 2, 5) if high / low < 300 else (1,)  # labels side by side must not meet
            axis.set_major_locator(matplotlib.ticker.LogLocator(subs=steps))
            axis.set_major_formatter(lambda value, _: f"{value:,.10g}")
            axis.set_minor_locator(matplotlib.ticker.NullLocator())


def name_scale(axis: Axis, name: str) -> str:
    """Say of an axis that it is logarithmic, if it is."""
    return f"{name} (log scale)" if name and axis.get_scale() == "log" else name


def study_title(summaries: Sequence[Summary], n_strategies: int) -> str:
    """Say what was compared: regions, images, their volumes, parallel jobs."""
    regions = count_range([summary.n_regions for summary in summaries], "region")
    volumes = count_range([summary.n_volumes for summary in summaries], "volume")
    jobs = count_range([summary.n_jobs for summary in summaries], "parallel job")
    images = count(len(summaries) // n_strategies, "image")
    return f"Peak memory and wall time of extracting {regions}\nfrom {images} of {volumes} each, {jobs}"
