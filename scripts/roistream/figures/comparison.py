"""The figure that compares strategies by their memory summaries.

It stands without a caption: its title says what was extracted and by how many jobs, every bar carries its
value, and one hue stands for one family of strategies in every figure, whichever strategies were chosen. A strategy
that has no other beside it is held against the size of the image.
"""

import math
import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import matplotlib.style
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.container import BarContainer
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

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

HATCH = "//////"
BEHIND = {"facecolor": "white", "edgecolor": "none", "pad": 0.5}
"""What lies behind a value."""

# A strategy has a slot of 1 on the axis of either panel. How wide it is on paper depends on the widest text: labels
# must fit side by side below the bars, and values above the two bars of a pair.
MEMORY_BAR = 0.445
TIME_BAR = 0.62
INCHES_PER_LETTER = 0.073
INCHES_PER_DIGIT = 0.086


@matplotlib.style.context(STYLE)
def write_figure(summaries: Sequence[Summary], image: str, png: str | Path, svg: str | Path) -> None:
    """Draw the comparison once and save it as PNG and SVG, the same bytes for the same summaries.

    Parameters
    ----------
    summaries : sequence of Summary
        One bar group for each, in this order.
    image : str
        The image's name, for the title.
    png, svg : path
        The files to write. The SVG keeps text as text.
    """
    save_figure(draw_figure(summaries, image), png, svg)


def draw_figure(summaries: Sequence[Summary], image: str) -> Figure:
    """Draw the comparison, or the only strategy there is."""
    return draw_comparison(summaries, image) if len(summaries) > 1 else draw_single(summaries[0], image)


@matplotlib.style.context(STYLE)
def draw_comparison(summaries: Sequence[Summary], image: str) -> Figure:
    """Draw peak memory and wall time of several strategies side by side.

    Parameters
    ----------
    summaries : sequence of Summary
        One bar group for each, in this order.
    image : str
        The image's name, for the title.

    Returns
    -------
    matplotlib.figure.Figure
        With two axes, memory and time, and a canvas that renders without a display.
    """
    labels = tick_labels(summaries)
    label_inches = INCHES_PER_LETTER * max(len(line) for label in labels for line in label.split("\n")) + 0.06
    peaks = [peak for summary in summaries for peak in (summary.peak_pss_mib, summary.peak_rss_mib)]
    value_inches = INCHES_PER_DIGIT * max(len(format_value(peak)) for peak in peaks)
    memory_slot = max(1.0, label_inches, value_inches / MEMORY_BAR)
    time_slot = max(0.8, label_inches)
    memory_inches = max(3.4, memory_slot * len(summaries))
    time_inches = max(2.4, time_slot * len(summaries))

    heading = f"Peak memory and wall time of extracting {count(summaries[0].n_regions, 'region')}"
    figure = start_figure(memory_inches + time_inches + 1.6, 5.4, heading, summaries, image)
    memory_axes, time_axes = figure.subplots(1, 2, width_ratios=(memory_inches, time_inches))
    draw_memory(memory_axes, summaries, legend_columns=3 if memory_inches > 6.5 else 1)
    draw_time(time_axes, summaries)
    panels = (
        (memory_axes, "Peak memory", "MiB", memory_inches / memory_slot),
        (time_axes, "Wall time", "seconds", time_inches / time_slot),
    )
    for axes, name, unit, slots in panels:
        axes.set_title(name, loc="left", fontsize=11, fontweight="bold", color=INK)
        axes.set_title("↓ lower is better", loc="right", fontsize=9, color=INK)
        axes.set_ylabel(unit, color=INK)
        axes.set_xticks(range(len(summaries)), labels)
        middle = (len(summaries) - 1) / 2
        axes.set_xlim(middle - slots / 2 - 0.05, middle + slots / 2 + 0.05)
        finish(axes, "y")
        axes.spines[["top", "right", "left"]].set_visible(False)
        axes.spines["bottom"].set_color(INK)
    return figure


@matplotlib.style.context(STYLE)
def draw_single(summary: Summary, image: str) -> Figure:
    """Draw the peak of the only strategy, its prediction where it is known, and what the image itself would take.

    Parameters
    ----------
    summary : Summary
        What was measured.
    image : str
        The image's name, for the title.

    Returns
    -------
    matplotlib.figure.Figure
        With one axes, and a canvas that renders without a display.
    """
    colour = strategy_colour(summary.strategy)
    bars: list[tuple[str, float | None, dict[str, Any]]] = [
        ("the image, uncompressed", summary.image_mib, {"color": "#bbbbbb"}),
        ("predicted peak", summary.predicted_mib, {"color": "white", "edgecolor": INK, "linestyle": "--"}),
        ("peak PSS\n(shared pages counted once)", summary.peak_pss_mib, {"color": colour}),
        (
            "peak RSS\n(summed over processes)",
            summary.peak_rss_mib,
            {"color": "white", "edgecolor": colour, "hatch": HATCH},
        ),
    ]
    known = [(name, mib, look) for name, mib, look in bars if mib is not None]
    heading = f"Memory of extracting {count(summary.n_regions, 'region')} by {REGISTRY[summary.strategy].label}"
    figure = start_figure(8.5, 1.8 + 0.55 * len(known), heading, [summary], image, f"{format_value(summary.wall_s)} s")
    axes = figure.subplots()
    for position, (_, mib, look) in enumerate(known):
        label_bars(
            axes, axes.barh(position, mib, 0.7, **look), fontweight="bold" if position == len(known) - 2 else "normal"
        )
    axes.set_yticks(range(len(known)), [name for name, *_ in known])
    axes.set_ylim(len(known) - 0.5, -0.5)
    axes.set_xlim(0, max(*(mib for _, mib, _ in known), 1) * 1.15)
    axes.set_xlabel("MiB", color=INK)
    finish(axes, "x")
    axes.spines[["top", "right", "bottom"]].set_visible(False)
    axes.spines["left"].set_color(INK)
    return figure


def start_figure(
    width: float, height: float, heading: str, summaries: Sequence[Summary], image: str, *more: str
) -> Figure:
    """Begin a figure of this size in inches, with its title: what was extracted, from what, how, and whatever more there is."""
    layout = ConstrainedLayoutEngine(w_pad=0.1, h_pad=0.1, wspace=0.03)
    figure = Figure(figsize=(width, height), dpi=150, layout=layout)
    FigureCanvasAgg(figure)
    first = summaries[0]
    jobs = count_range([summary.n_jobs for summary in summaries], "parallel job")
    source = f"from {count(first.n_volumes, 'volume')} of {image} ({format_value(first.image_mib)} MiB)"
    lines = (heading, ", ".join([source, jobs, *more]))
    figure.suptitle(
        "\n".join(textwrap.fill(line, int(8.5 * width)) for line in lines),
        fontsize=13,
        fontweight="bold",
        color=INK,
        parse_math=False,  # the image's name is the user's: a dollar sign in it starts no formula
    )
    return figure


def finish(axes: Axes, axis: Literal["x", "y"]) -> None:
    """Give the axis of values its numbers and grid."""
    axes.locator_params(axis=axis, nbins=6)
    getattr(axes, f"{axis}axis").set_major_formatter(lambda value, _: f"{value:,.10g}")
    axes.tick_params(colors=INK, length=0)
    axes.grid(axis=axis, color=GRID, linewidth=0.8)
    axes.set_axisbelow(True)


def draw_memory(axes: Axes, summaries: Sequence[Summary], legend_columns: int) -> None:
    """Draw the peaks: PSS solid, RSS hatched beside it, a line across the PSS at the predicted peak where it is known.

    Parameters
    ----------
    axes : matplotlib.axes.Axes
        Where to draw.
    summaries : sequence of Summary
        One pair of bars for each.
    legend_columns : int
        Columns of the legend, which lies above the bars.
    """
    positions = range(len(summaries))
    colours = [strategy_colour(summary.strategy) for summary in summaries]
    pss = axes.bar(
        [position - MEMORY_BAR / 2 for position in positions],
        [summary.peak_pss_mib for summary in summaries],
        0.95 * MEMORY_BAR,
        color=colours,
    )
    rss = axes.bar(
        [position + MEMORY_BAR / 2 for position in positions],
        [summary.peak_rss_mib for summary in summaries],
        0.95 * MEMORY_BAR,
        color="white",
        edgecolor=colours,
        hatch=HATCH,
    )
    entries: list[tuple[Artist, str]] = [
        (Patch(color="#777777"), "PSS (shared pages counted once)"),
        (Patch(facecolor="white", edgecolor="#777777", hatch=HATCH), "RSS (summed over processes)"),
    ]
    if predicted := [summary.predicted_mib for summary in summaries if summary.predicted_mib is not None]:
        entries.append((Line2D([], [], color=INK, linewidth=2), "predicted peak"))
    tallest = max(*(max(s.peak_pss_mib, s.peak_rss_mib) for s in summaries), *predicted, 1)
    rows = math.ceil(len(entries) / legend_columns)
    top = tallest * (1.12 + 0.06 * rows)
    axes.set_ylim(0, top)
    label_bars(axes, rss)
    for bar, summary in zip(pss, summaries, strict=True):
        height = summary.peak_pss_mib
        if summary.predicted_mib is not None:
            # As wide as its bar, so that nobody takes it for the neighbour's.
            ends = [bar.get_x(), bar.get_x() + bar.get_width()]
            for colour, width in (("white", 4), (INK, 2)):
                axes.plot(ends, [summary.predicted_mib] * 2, color=colour, linewidth=width, solid_capstyle="butt")
            # The value goes above a line that would cross it.
            if height <= summary.predicted_mib < height + 0.08 * top:
                height = summary.predicted_mib
        place = (bar.get_x() + bar.get_width() / 2, height)
        write_value(axes, summary.peak_pss_mib, place)
    axes.legend(
        *zip(*entries, strict=True),
        loc="upper right",
        ncols=legend_columns,
        labelcolor=INK,
        edgecolor="none",
        framealpha=1,
        borderpad=0.2,
        borderaxespad=0,
    )


def draw_time(axes: Axes, summaries: Sequence[Summary]) -> None:
    """Draw the wall times, in the colours of the strategies.

    Parameters
    ----------
    axes : matplotlib.axes.Axes
        Where to draw.
    summaries : sequence of Summary
        One bar for each.
    """
    bars = axes.bar(
        range(len(summaries)),
        [summary.wall_s for summary in summaries],
        TIME_BAR,
        color=[strategy_colour(summary.strategy) for summary in summaries],
    )
    label_bars(axes, bars, fontweight="bold")
    axes.set_ylim(0, max(*(summary.wall_s for summary in summaries), 0.1) * 1.12)


def write_value(axes: Axes, value: float, place: tuple[float, float]) -> None:
    """Write a value above a place."""
    axes.annotate(
        format_value(value),
        place,
        (0, 3),
        textcoords="offset points",
        horizontalalignment="center",
        verticalalignment="bottom",
        color=INK,
        fontweight="bold",
        bbox=BEHIND,
    )


def label_bars(axes: Axes, bars: BarContainer, **text_properties: Any) -> None:
    """Write the value at the end of every bar, however small the bar is."""
    axes.bar_label(bars, fmt=format_value, padding=3, color=INK, bbox=BEHIND, **text_properties)
