"""The text of the report."""

from collections.abc import Iterable, Sequence

from benchmarks.bars import judge, predicted_error
from benchmarks.rows import FLOORS, mebibytes, middle, named, spread
from roistream.figures.style import count
from roistream.strategies import STRATEGIES

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
