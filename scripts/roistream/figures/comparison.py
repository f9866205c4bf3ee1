"""The figure that compares strategies by their memory summaries.

It stands without a caption: its title says what was extracted and by how many jobs, every bar carries its
value, and one hue stands for one family of strategies in every figure, whichever strategies were chosen.
"""

import math
import textwrap
from collections.abc import Sequence
from pathlib import Path

import matplotlib.style
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.container import BarContainer
from matplotlib.figure import Figure
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

HATCH = "//////"

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
    save_figure(draw_comparison(summaries, image), png, svg)


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

    figure = Figure(figsize=(memory_inches + time_inches + 1.6, 5.4), dpi=150, layout="constrained")
    FigureCanvasAgg(figure)
    figure.get_layout_engine().set(w_pad=0.1, h_pad=0.1, wspace=0.03)
    figure.suptitle(
        title(summaries, image, letters_per_line=int(8.5 * figure.get_figwidth())),
        fontsize=13,
        fontweight="bold",
        color=INK,
        parse_math=False,  # the image's name is the user's: a dollar sign in it starts no formula
    )
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
        axes.locator_params(axis="y", nbins=6)
        axes.yaxis.set_major_formatter(lambda value, _: f"{value:,.10g}")
        axes.tick_params(colors=INK, length=0)
        axes.grid(axis="y", color=GRID, linewidth=0.8)
        axes.set_axisbelow(True)
        axes.spines[["top", "right", "left"]].set_visible(False)
        axes.spines["bottom"].set_color(INK)
    return figure


def draw_memory(axes: Axes, summaries: Sequence[Summary], legend_columns: int) -> None:
    """Draw the peaks: PSS solid, RSS hatched beside it, a pointer at the predicted peak where it is known.

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
    label_bars(axes, pss, fontweight="bold")
    label_bars(axes, rss)
    entries = [
        (Patch(color="#777777"), "PSS (shared pages counted once)"),
        (Patch(facecolor="white", edgecolor="#777777", hatch=HATCH), "RSS (summed over processes)"),
    ]
    known = [(position, summary) for position, summary in enumerate(summaries) if summary.predicted_mib is not None]
    if known:
        # Left of the bar, pointing at it: there it never hides a value, not even when it is exactly right.
        (pointer,) = axes.plot(
            [position - MEMORY_BAR - 0.025 for position, _ in known],
            [summary.predicted_mib for _, summary in known],
            marker=">",
            markersize=6,
            color=INK,
            linestyle="none",
            clip_on=False,
            zorder=3,
        )
        entries.append((pointer, "predicted peak"))
    tallest = max(max(s.peak_pss_mib, s.peak_rss_mib, s.predicted_mib or 0) for s in summaries)
    rows = math.ceil(len(entries) / legend_columns)
    axes.set_ylim(0, max(tallest, 1) * (1.12 + 0.06 * rows))
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


def label_bars(axes: Axes, bars: BarContainer, **text_properties: str) -> None:
    """Write the value above every bar, however small the bar is."""
    background = {"facecolor": "white", "edgecolor": "none", "pad": 0.5}
    axes.bar_label(bars, fmt=format_value, padding=2, color=INK, bbox=background, **text_properties)


def title(summaries: Sequence[Summary], image: str, letters_per_line: int) -> str:
    """Say what was compared: regions, volumes, the image and its size, parallel jobs."""
    first = summaries[0]
    jobs = count_range([summary.n_jobs for summary in summaries], "parallel job")
    size = f"{format_value(first.image_mib)} MiB"
    lines = (
        f"Peak memory and wall time of extracting {count(first.n_regions, 'region')}",
        f"from {count(first.n_volumes, 'volume')} of {image} ({size}), {jobs}",
    )
    return "\n".join(textwrap.fill(line, letters_per_line) for line in lines)
