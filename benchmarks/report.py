"""The report of `benchmarks`: bars, tables and figure, all from its ``benchmark.json``.

An experiment is a list of rows, one for each measured command: its ``name``, facts about it, and ``runs`` with what each
repeat took (``peak_pss_mib``, ``peak_rss_mib``, ``peak_shm_mib``, ``wall_s``, ``output_mib``, ``exit_status``, ``message``).
A figure is the median of the repeats; beside it in brackets are the smallest and the largest.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import matplotlib.style
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from roistream.figures.style import GRID, INK, STYLE, count, format_value, strategy_colour
from roistream.outputs import whole_file
from roistream.strategies import STRATEGIES

REFERENCE_FAMILIES = ("nifti_masker", "numpy_indexing", "shared_segment")
REFERENCES = tuple(name for name, strategy in STRATEGIES.items() if strategy.family in REFERENCE_FAMILIES)
"""The methods of nilearn's example ``plot_mask_large_fmri``."""

FLOORS = ("igzip -dc", "gzip -dc")
PEER = "NiftiLabelsMasker"
NEUTRAL = "#777777"

INTRODUCTION = """\
# Benchmark

{warning}![Peak memory and wall time of the strategies, and how the peak of stream grows](benchmark.png)

Made by `make benchmark` on {date}; the raw figures are in [benchmark.json](benchmark.json).

**How it was measured.** Every figure comes from a fresh process, which is watched from outside together with all its
children: PSS (pages that processes share count once), RSS (they count once for each), growth of /dev/shm, and wall time
from the start of the process until its end.
{repeats}

**On what.** {n_volumes:,} volumes of 61 × 73 × 61 float32, {raw_mib:,.0f} MiB raw and {file_mib:,.0f} MiB as `.nii.gz`:
the embedded default's simulated subjects, {n_subjects} of them, with runs as long as those of the ADHD data.

**What to keep in mind.**

- All input was in the page cache. From a slow disk or over a network every method takes longer, by the same seconds.
- Memory is looked at every 50 ms, and every 500 ms where all workers hold an image of their own (`nifti_masker_path`,
  `nifti_masker_in_memory`, `numpy_path`). A shorter peak may be missed. A look at a GiB takes about 13 ms of one core:
  wall times of those three are too long by up to a tenth, which is why they are looked at less often.
- `mmap` works on an uncompressed copy, and the making of that copy ([below](#the-other-steps-of-the-workflow)) is not
  in its wall time.
- `NiftiLabelsMasker` does less than the strategies, one mean for each region, but of all 64 regions in one pass.
- The simulated data compress as the real ones do: zeros outside the brain, noise inside. Data that compress better are
  decompressed faster.
- A page of a library that other programs have loaded, too, counts for each of them in part: beside other Python
  programs PSS is some MiB less than on a machine that does nothing else.
- On another machine wall times are others; peaks hardly are.
- Growth of /dev/shm is that of the whole machine, by whatever program.

| | |
| --- | --- |
{machine}
"""


@dataclass(frozen=True)
class Bar:
    """A figure, what is asked of it, what was measured, and whether that is enough (None: not measured)."""

    figure: str
    asked: str
    measured: str
    holds: bool | None


def write_report(results: dict, out: Path) -> None:
    """Write ``benchmark.md``, ``.png`` and ``.svg``.

    Parameters
    ----------
    results : dict
        What ``benchmark.json`` holds.
    out : path
        The folder.
    """
    with whole_file(out / "benchmark.md") as partial:
        partial.write_text(word_report(results), encoding="utf-8")
    with whole_file(out / "benchmark.png") as png, whole_file(out / "benchmark.svg") as svg:
        write_figure(results, png, svg)


def middle(row: dict, key: str) -> float:
    """Give the median of the repeats; 0 for what was too short for a look at its memory."""
    return median(run[key] or 0.0 for run in row["runs"])


def spread(row: dict, key: str) -> str:
    """Word median and range of the repeats; the unit is the key's."""
    values = [run[key] or 0.0 for run in row["runs"]]
    word = seconds if key == "wall_s" else mebibytes
    return word(median(values)) + (f" ({word(min(values))}–{word(max(values))})" if len(values) > 1 else "")


def mebibytes(value: float) -> str:
    """Round a size in MiB for reading."""
    return f"{value:,.0f}" if value >= 200 else f"{value:.1f}"


def seconds(value: float) -> str:
    """Round a time in seconds for reading."""
    return f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def named(rows: Iterable[dict]) -> dict[str, dict]:
    """Give the rows of an experiment by their names."""
    return {row["name"]: row for row in rows}


def judge(results: dict) -> list[Bar]:
    """Hold the figures against the bars.

    Parameters
    ----------
    results : dict
        What ``benchmark.json`` holds.

    Returns
    -------
    list of Bar
        In the order of the report.
    """
    return [*judge_strategies(results), *judge_growth(results), *judge_others(results)]


def judge_strategies(results: dict) -> list[Bar]:
    """Judge memory and wall of `stream` against the other strategies and against plain decompression."""
    rows = named(results["strategies"])
    peak, wall = (middle(rows["stream"], key) for key in ("peak_pss_mib", "wall_s"))
    best = min(REFERENCES, key=lambda name: middle(rows[name], "peak_pss_mib"))
    fastest = min((name for name in STRATEGIES if name != "stream"), key=lambda name: middle(rows[name], "wall_s"))
    references = [("the best reference method", best, 10), ("nifti_masker_path", "nifti_masker_path", 100)]
    bars = [Bar("peak PSS of `stream`, whole process tree", "≤ 110 MiB", f"{mebibytes(peak)} MiB", peak <= 110)]
    for called, name, times in references:
        other = middle(rows[name], "peak_pss_mib")
        measured = f"1/{other / peak:.1f} of {mebibytes(other)} MiB (`{name}`)"
        bars.append(Bar(f"… against {called}", f"≤ 1/{times}", measured, peak <= other / times))
    if "igzip -dc" in rows:
        floor = middle(rows["igzip -dc"], "wall_s")
        measured, holds = f"{wall / floor:.2f} × ({seconds(wall)} s, {seconds(floor)} s)", wall <= 1.6 * floor
    else:
        measured, holds = "igzip is not installed", None
    bars.append(Bar("wall of `stream` from the .nii.gz", "≤ 1.6 × `igzip -dc`", measured, holds))
    other = middle(rows[fastest], "wall_s")
    measured = f"{seconds(wall)} s, next `{fastest}` {seconds(other)} s"
    bars.append(Bar("… against the other strategies", "faster than every one", measured, wall < other))
    different = [name for name in STRATEGIES if not rows[name]["identical"]]
    measured = "all identical" if not different else "another result: " + ", ".join(different)
    bars.append(Bar("time series of all strategies", "identical, bit by bit", measured, not different))
    return bars


def judge_growth(results: dict) -> list[Bar]:
    """Judge how `stream` takes more volumes and more regions."""
    rows = results["growth"]
    first = rows[0]
    longest = max(rows, key=lambda row: row["n_volumes"])
    most = max(rows, key=lambda row: row["n_regions"])
    growth, output = (middle(longest, key) - middle(first, key) for key in ("peak_pss_mib", "output_mib"))
    times = middle(most, "wall_s") / middle(first, "wall_s")
    return [
        Bar(
            f"peak of `stream` from {first['n_volumes']:,} to {longest['n_volumes']:,} volumes "
            f"({longest['image_mib'] / 1024:.1f} GiB raw)",
            "grows by the output's size, + ≤ 10 MiB",
            f"+ {mebibytes(growth)} MiB; output + {mebibytes(output)} MiB; difference {growth - output:+.1f} MiB",
            growth <= output + 10,
        ),
        Bar(
            f"wall of `stream` for {most['n_regions']} regions against {first['n_regions']}",
            "≤ 1.5 ×",
            f"{times:.2f} × ({seconds(middle(most, 'wall_s'))} s, {seconds(middle(first, 'wall_s'))} s)",
            times <= 1.5,
        ),
    ]


def judge_others(results: dict) -> list[Bar]:
    """Judge cleaning, concatenation and the limit of address space."""
    bars = []
    for figure, ours, other, most_mib in (
        ("smoothing and cleaning: `stream`", "stream", "nifti_masker_path", 300),
        ("concatenation of the runs", "concatenate_runs", "concat_imgs", 120),
    ):
        rows = named(results["cleaning" if ours == "stream" else "concatenation"])
        peak = middle(rows[ours], "peak_pss_mib")
        walls = [middle(rows[name], "wall_s") for name in (other, ours)]
        measured = f"{walls[0] / walls[1]:.1f} × ({seconds(walls[1])} s, {seconds(walls[0])} s)"
        bars.append(Bar(figure, f"≤ {most_mib} MiB", f"{mebibytes(peak)} MiB", peak <= most_mib))
        bars.append(Bar(f"… against `{other}`", "≥ 4 × less wall", measured, walls[0] >= 4 * walls[1]))
        if ours == "stream":
            same = rows[ours]["identical"]
            bars.append(Bar("… its time series", "identical, bit by bit", "identical" if same else "others", same))
    errors = [predicted_error(row) for row in results["prediction"]]
    measured = f"{min(errors):+.0%} to {max(errors):+.0%} in {len(errors)} cases"
    bars.append(
        Bar(
            "predicted peak against the measured one",
            "−5 % to +40 %",
            measured,
            round(min(errors), 4) >= -0.05 and round(max(errors), 4) <= 0.4,
        )
    )
    limited = named(results["address_space"])
    size = f"{limited['stream']['image_mib'] / 1024:.1f} GiB image, address space limited to 1 GiB"
    failed = [name for name, row in limited.items() if row["runs"][0]["exit_status"] and name != "stream"]
    unclear = [name for name in failed if not one_sentence(limited[name]["runs"][0])]
    finished = limited["stream"]["runs"][0]["exit_status"] == 0
    measured = f"{len(failed)} fail, " + (f"not so: {', '.join(unclear)}" if unclear else "each with one sentence")
    bars.append(Bar(f"{size}: `stream`", "finishes", "finishes" if finished else "fails", finished))
    bars.append(Bar("… the other strategies", "failures are one clear sentence", measured, not unclear))
    return bars


def predicted_error(row: dict) -> float:
    """Give by which share of the measured peak (PSS) the predicted one is above it."""
    return row["predicted_mib"] / middle(row, "peak_pss_mib") - 1


def one_sentence(run: dict) -> bool:
    """Tell whether a failed run said one line and no more, worded for a user."""
    return run["exit_status"] == 1 and run["n_lines"] == 1 and run["message"].startswith("ERROR: ")


def word_report(results: dict) -> str:
    """Word the whole report in Markdown."""
    machine = results["machine"]
    repeats = results["repeats"]
    sections = [
        INTRODUCTION.format(
            warning="**A quick trial of the program on tiny data: the figures mean nothing.**\n\n"
            if results["quick"]
            else "",
            date=results["date"],
            repeats="Everything was measured once."
            if repeats == 1
            else f"Everything was measured {repeats} times in turn; figures are medians, in brackets minimum and maximum.",
            machine="\n".join(f"| {name.replace('_gib', ', GiB')} | {value} |" for name, value in machine.items()),
            **results["image"],
            n_subjects=results["size"]["n_subjects"],
        ),
        "## The bars\n\n"
        + table(
            ["figure", "bar", "measured", "holds"],
            [
                [bar.figure, bar.asked, bar.measured, {True: "yes", False: "**no**"}.get(bar.holds, "–")]
                for bar in judge(results)
            ],
        ),
        word_strategies(results),
        word_growth(results),
        *word_others(results),
    ]
    return "\n".join(sections)


def table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Word a table in Markdown, the first column to the left, numbers to the right."""
    rows = [[cell.replace("|", "\\|") for cell in row] for row in rows]
    numeric = [number > 0 and all(row[number][:1].isdigit() for row in rows) for number in range(len(columns))]
    rule = ["---:" if right else "---" for right in numeric]
    return "".join(f"| {' | '.join(row)} |\n" for row in [columns, rule, *rows])


def code(name: str) -> str:
    """Set a name of the program in its own type."""
    return f"`{name}`"


def word_strategies(results: dict) -> str:
    """Word the first experiment."""
    rows, size = results["strategies"], results["size"]
    floor = next((row for name in FLOORS for row in rows if row["name"] == name), rows[0])
    cells = [
        [
            code(row["name"]),
            *[spread(row, key) for key in ("peak_pss_mib", "peak_rss_mib", "peak_shm_mib", "wall_s")],
            f"{middle(row, 'wall_s') / middle(floor, 'wall_s'):.1f} ×",
        ]
        for row in rows
    ]
    columns = ["method", "peak PSS, MiB", "peak RSS, MiB", "/dev/shm, MiB", "wall, s", f"wall / `{floor['name']}`"]
    return (
        f"## All strategies: {count(size['n_regions'], 'region')}, {count(size['n_jobs'], 'job')}\n\n"
        "`gzip -dc` and `igzip -dc` decompress the same image to `/dev/null`: the floor for whoever reads a `.nii.gz`.\n\n"
        + table(columns, cells)
    )


def word_growth(results: dict) -> str:
    """Word the second experiment."""
    cells = [
        [
            row["name"],
            mebibytes(row["image_mib"]),
            *[spread(row, "peak_pss_mib"), mebibytes(middle(row, "output_mib"))],
            mebibytes(middle(row, "peak_pss_mib") - middle(row, "output_mib")),
            spread(row, "wall_s"),
        ]
        for row in results["growth"]
    ]
    columns = ["`stream` on", "raw image, MiB", "peak PSS, MiB", "output, MiB", "peak − output, MiB", "wall, s"]
    return "## Longer images, more regions\n\n" + table(columns, cells)


def word_prediction(results: dict) -> str:
    """Word the experiment on predicted memory, a line for each case."""
    cells = [
        [
            row["name"],
            f"{row['n_volumes']:,}",
            str(row["n_jobs"]),
            mebibytes(row["predicted_mib"]),
            spread(row, "peak_pss_mib"),
            f"{predicted_error(row):+.0%}",
        ]
        for row in results["prediction"]
    ]
    columns = ["", "volumes", "jobs", "predicted, MiB", "measured PSS, MiB", "predicted above"]
    return (
        "## Predicted memory\n\n"
        "What `scripts/roistream/prediction.py` says from the header, the regions' voxels and the number of jobs, before\n"
        "anything is loaded, against what was then measured once.\n\n" + table(columns, cells)
    )


def word_others(results: dict) -> list[str]:
    """Word the remaining experiments, each with its heading."""
    columns = ["", "peak PSS, MiB", "peak RSS, MiB", "wall, s"]
    keys = ("peak_pss_mib", "peak_rss_mib", "wall_s")

    def figures(rows: list[dict]) -> str:
        return table(columns, [[code(row["name"]), *[spread(row, key) for key in keys]] for row in rows])

    options, limit = results["cleaning_options"], results["limit"]
    limited = results["address_space"]
    outcomes = [
        [
            code(row["name"]),
            {0: "finishes", 124: "is not done in time"}.get(row["runs"][0]["exit_status"], "fails"),
            spread(row, "peak_pss_mib"),
            spread(row, "wall_s"),
            row["runs"][0]["message"] or "–",
        ]
        for row in limited
    ]
    left_out = [name for name in STRATEGIES if name not in named(limited)]
    note = f"Left out for want of disk space: {', '.join(left_out)}.\n\n" if left_out else ""
    per_run = ", each run by itself" if options["per_run"] else ""
    return [
        f"## Smoothing and cleaning: {count(results['size']['n_regions'], 'region')}, {count(options['n_jobs'], 'job')}\n\n"
        f"`{options['words']}`{per_run}.\n\n" + figures(results["cleaning"]),
        "## Concatenation of the runs\n\n" + figures(results["concatenation"]),
        word_prediction(results),
        f"## Too little memory: {limit['address_space_mib']} MiB of address space, {limit['n_jobs']} jobs\n\n"
        f"The image has {limited[0]['n_volumes']:,} volumes, {limited[0]['image_mib']:,.0f} MiB raw. No process may have more\n"
        f"address space than that (`ulimit -v`), nor the command more than {limit['seconds']} s.\n\n{note}"
        + table(["strategy", "", "peak PSS, MiB", "wall, s", "what it says"], outcomes),
        "## The other steps of the workflow\n\n"
        "The functions of the rules' scripts, each in a fresh process, without Snakemake.\n\n"
        + figures([*results["rules"], named(results["concatenation"])["concatenate_runs"]]),
    ]


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
