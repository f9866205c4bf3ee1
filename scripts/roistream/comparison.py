"""Compare strategies by their memory summaries: read and check them, write the table, draw the figure.

The figure stands without a caption: its title says what was extracted and by how many jobs, every bar carries its
value, and one hue stands for one family of strategies in every figure, whichever strategies were chosen.
"""

import csv
import json
import math
import textwrap
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields
from pathlib import Path

import matplotlib.style
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_hex, to_rgb
from matplotlib.container import BarContainer
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from roistream.errors import UserError
from roistream.strategies import STRATEGIES

# One (dark, light) pair for each family: Okabe and Ito's hues, the shades far apart in luminance, so that a pair is
# told apart without colour vision and in print. More families than pairs start over; the names below the bars tell.
SHADES = (
    ("#004d80", "#56b4e9"),  # blue
    ("#b04a00", "#f2a154"),  # vermilion, orange
    ("#008a66", "#84dcc2"),  # bluish green
    ("#b8609a", "#ecc0db"),  # reddish purple
    ("#333333", "#a0a0a0"),  # black, grey
)
INK = "#333333"
GRID = "#dddddd"
HATCH = "//////"

# The same text gives the same file: no identifiers made up at random and no local matplotlibrc.
STYLE = ["default", {"svg.fonttype": "none", "svg.hashsalt": "roistream", "hatch.linewidth": 1.2, "font.size": 9}]

# A strategy has a slot of 1 on the axis of either panel. How wide it is on paper depends on the widest text: labels
# must fit side by side below the bars, and values above the two bars of a pair.
MEMORY_BAR = 0.445
TIME_BAR = 0.62
INCHES_PER_LETTER = 0.073
INCHES_PER_DIGIT = 0.086


@dataclass(frozen=True)
class Summary:
    """One strategy's ``memory.json``; the fields are also the columns of the table.

    Attributes
    ----------
    strategy : str
        A name in `roistream.strategies.STRATEGIES`.
    n_jobs, n_regions, n_volumes : int
        Parallel workers, extracted regions and volumes of the image.
    image_mib : float
        Size of the image's data in MiB.
    peak_pss_mib, peak_rss_mib, peak_shm_mib : float
        Peaks in MiB of the process tree's proportional and resident set sizes and of the growth of /dev/shm.
    predicted_mib : float or None
        The peak in MiB predicted from the header, None when there is no prediction.
    wall_s : float
        Wall time in seconds.
    """

    strategy: str
    n_jobs: int
    n_regions: int
    n_volumes: int
    image_mib: float
    peak_pss_mib: float
    peak_rss_mib: float
    peak_shm_mib: float
    predicted_mib: float | None
    wall_s: float


COLUMNS = tuple(field.name for field in fields(Summary))
COUNTS = ("n_jobs", "n_regions", "n_volumes")


def read_summary(path: str | Path) -> Summary:
    """Read and check one strategy's ``memory.json``.

    Parameters
    ----------
    path : path
        JSON object with the keys of `Summary`; ``predicted_mib`` may be null or absent, other keys are ignored.

    Returns
    -------
    Summary

    Raises
    ------
    UserError
        When the file cannot be read, a key is missing or has an impossible value, or the strategy is not known.
    """
    remedy = "delete the file to have the strategy measured again."
    try:
        content = json.loads(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise UserError(f"The memory summary {path} cannot be read: {error.strerror}.") from error
    except ValueError as error:
        raise UserError(f"The memory summary {path} is not valid JSON ({error}); {remedy}") from error
    if not isinstance(content, dict):
        raise UserError(f"The memory summary {path} does not hold a JSON object; {remedy}")
    content.setdefault("predicted_mib", None)
    missing = [key for key in COLUMNS if key not in content]
    if missing:
        raise UserError(f"The memory summary {path} lacks {', '.join(missing)}; {remedy}")
    if content["strategy"] not in list(STRATEGIES):  # a list, for JSON may hold a value that no dict can look up
        raise UserError(
            f"The memory summary {path} names the unknown strategy {content['strategy']!r}; "
            f"the strategies are {', '.join(STRATEGIES)}."
        )
    for key in COLUMNS[1:]:
        value = content[key]
        if key in COUNTS:
            valid = type(value) is int and value >= 1
        else:
            valid = type(value) in (int, float) and math.isfinite(value) and value >= 0
        if not valid and not (key == "predicted_mib" and value is None):
            raise UserError(f"The memory summary {path} has the impossible {key} {value!r}; {remedy}")
    return Summary(**{key: content[key] for key in COLUMNS})


def read_summaries(paths: Iterable[str | Path]) -> list[Summary]:
    """Read the summaries of several strategies that extracted the same regions from the same image.

    Parameters
    ----------
    paths : iterable of path
        One ``memory.json`` for each strategy.

    Returns
    -------
    list of Summary
        In the order of `paths`.

    Raises
    ------
    UserError
        As `read_summary`; also when a strategy comes twice, or when the summaries disagree in the number of volumes,
        the number of regions or the size of the image (in whole MiB).
    """
    paths = list(paths)
    summaries = [read_summary(path) for path in paths]
    first = summaries[0]
    seen: dict[str, str | Path] = {}
    for path, summary in zip(paths, summaries, strict=True):
        if summary.strategy in seen:
            raise UserError(
                f"The memory summary {path} is the second of strategy {summary.strategy} after "
                f"{seen[summary.strategy]}; give one of them."
            )
        seen[summary.strategy] = path
        for key in ("n_volumes", "n_regions", "image_mib"):
            value, expected = getattr(summary, key), getattr(first, key)
            if round(value) != round(expected):
                raise UserError(
                    f"The memory summary {path} has {key} {value} where {paths[0]} has {expected}; "
                    "delete the outdated one to have its strategy measured again."
                )
    return summaries


def write_table(summaries: Iterable[Summary], path: str | Path, images: Iterable[str] | None = None) -> None:
    """Write one row for each summary, tab-separated, in the order given.

    Parameters
    ----------
    summaries : iterable of Summary
        The rows.
    path : path
        The file to write. An unknown prediction reads ``n/a``, as in BIDS tables.
    images : iterable of str, optional
        The image of each summary, for a first column ``image``.
    """
    rows = [
        ["n/a" if value is None else value for value in (getattr(summary, column) for column in COLUMNS)]
        for summary in summaries
    ]
    header = list(COLUMNS)
    if images is not None:
        header = ["image", *header]
        rows = [[image, *row] for image, row in zip(images, rows, strict=True)]
    with Path(path).open("w", encoding="utf-8", newline="") as file:
        csv.writer(file, delimiter="\t", lineterminator="\n").writerows([header, *rows])


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


def save_figure(figure: Figure, png: str | Path, svg: str | Path) -> None:
    """Save a figure as PNG and SVG, without anything that changes from one time to the next."""
    figure.savefig(png, format="png", metadata={"Software": None})
    caption = figure.get_suptitle().replace("\n", " ")
    figure.savefig(svg, format="svg", metadata={"Date": None, "Creator": None, "Title": caption})


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


def format_value(value: float) -> str:
    """Round a value for reading: whole with thousands separators, one decimal below 10."""
    return f"{value:.1f}" if round(value, 1) < 10 else f"{value:,.0f}"


def strategy_colour(name: str) -> str:
    """Give the colour of a strategy: a hue for its family, a shade for its place in the family.

    Hue and shade come from the registry, not from the strategies of one figure, so a strategy keeps its colour.
    """
    families = list(dict.fromkeys(strategy.family for strategy in STRATEGIES.values()))
    family = STRATEGIES[name].family
    members = [strategy.name for strategy in STRATEGIES.values() if strategy.family == family]
    dark, light = (to_rgb(colour) for colour in SHADES[families.index(family) % len(SHADES)])
    share = members.index(name) / max(len(members) - 1, 1)
    return to_hex([(1 - share) * low + share * high for low, high in zip(dark, light, strict=True)])


def tick_labels(summaries: Sequence[Summary]) -> list[str]:
    """Give the display names, broken after the family; with the number of jobs when that differs."""
    labels = [STRATEGIES[summary.strategy].label.replace(", ", "\n") for summary in summaries]
    if len({summary.n_jobs for summary in summaries}) > 1:
        labels = [f"{label}\n({count(s.n_jobs, 'job')})" for label, s in zip(labels, summaries, strict=True)]
    return labels


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


def count(number: int, noun: str) -> str:
    """Give a number with its noun, in the plural where it belongs."""
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"


def count_range(numbers: Sequence[int], noun: str) -> str:
    """Give numbers with their noun: the one that they all are, or the least and the greatest."""
    least, greatest = min(numbers), max(numbers)
    return count(greatest, noun) if least == greatest else f"{least:,} to {greatest:,} {noun}s"
